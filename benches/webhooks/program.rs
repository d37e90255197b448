//! The service as a process of its own: the program itself, told by its environment.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use credit_ledger::postgres::Database;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::access::Access;
use super::delivery::SECRET;
use super::ours;
use super::stage::Target;

/// How long it may take to say where it listens, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// Instances that serve one database.
pub struct Programs {
    children: Vec<Child>,
    pub target: Target,
}

impl Programs {
    /// Starts so many, one after the other.
    ///
    /// # Errors
    /// When one does not come to serve.
    pub async fn start(database: &Database, instances: usize) -> anyhow::Result<Self> {
        let url = Access::of(database).await?.url(database);
        let mut children = Vec::new();
        let mut target = Target {
            addresses: vec![],
            processes: vec![],
        };
        for _ in 0..instances {
            let mut child = command(&url).spawn()?;
            let log = child.stderr.take().context("its log is not piped")?;
            let mut lines = BufReader::new(log).lines();
            let address = tokio::time::timeout(PATIENCE, address(&mut lines))
                .await
                .context("it does not say where it listens")??;
            // Reads on, so that the pipe never fills up.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            target.addresses.push(address.parse()?);
            target.processes.extend(child.id());
            children.push(child);
        }
        Ok(Self { children, target })
    }

    /// Tells all of them to stop, and waits until they have.
    ///
    /// # Errors
    /// When one does not end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for child in &self.children {
            let pid = child
                .id()
                .and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
            kill_process(
                pid.context("an instance has ended by itself")?,
                Signal::TERM,
            )?;
        }
        for child in &mut self.children {
            let status = tokio::time::timeout(PATIENCE, child.wait())
                .await
                .context("an instance does not end")??;
            ensure!(status.success(), "an instance ended with {status}");
        }
        Ok(())
    }
}

/// Ends with this value, whatever happens.
fn command(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_credit-ledger"));
    command
        .args(["--config", ours::FILE, "serve"])
        .env_clear()
        .envs(
            ours::TAKEN
                .iter()
                .chain(&["PATH"])
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env("DATABASE_URL", url)
        .env("LISTEN", "127.0.0.1:0")
        .env("RAZORPAY_WEBHOOK_SECRET", SECRET)
        .env("CLERK_WEBHOOK_SECRET", ours::CLERK_SECRET)
        .env("SERVICE_API_KEY", ours::API_KEY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Reads its log until it says where it listens.
async fn address(lines: &mut Lines<BufReader<ChildStderr>>) -> anyhow::Result<String> {
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        let rest = line.split_once("address=").map(|(_, rest)| rest);
        if let Some(address) = rest.and_then(|rest| rest.split(' ').next()) {
            return Ok(address.to_owned());
        }
        said = said + &line + "\n";
    }
    anyhow::bail!("an instance did not start: {said}")
}
