//! PostgreSQL's own `pgbench`: one insert and one upsert for each transaction, over the socket, without HTTP. What a
//! webhook costs the database at the very least when each has a transaction of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use credit_ledger::postgres::Database;
use hdrhistogram::Histogram;
use tokio::process::Command;

use super::access::Access;
use super::cell::Cell;
use super::delivery::Payments;
use super::load::{Measured, to_f64};
use super::stage::Stage;
use super::{processor, server};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/webhooks/sql/pgbench.sql"
);
/// How long it may take beyond the time it is told.
const PATIENCE: Duration = Duration::from_mins(1);
/// The slowest transaction that is told apart from slower ones.
const LATENCY_MAX_US: u64 = 60_000_000;

/// One transaction, as the log tells of it.
struct Logged {
    ended_us: u64,
    took_us: u64,
}

/// Runs it with so many clients on a database that has its tables. `before`: transactions that are there already.
///
/// # Errors
/// When it is not there, fails, or what is stored is not what it has logged.
pub async fn run(
    stage: &Stage<'_>,
    database: &Database,
    clients: usize,
    before: u64,
) -> anyhow::Result<Cell> {
    let folder = Folder::new(stage.server.folder().join("pgbench"))?;
    let used = processor::used(stage.server.folder());
    execute(stage, database, clients, &folder.0).await?;
    let after = processor::used(stage.server.folder());
    let logged = read(&folder.0)?;
    let measured = measured(stage, logged)?;
    let found = server::count(database, include_str!("sql/two_statements_found.sql")).await?;
    let stored = before + measured.stored;
    ensure!(
        found.recorded == stored && found.in_balances == stored,
        "pgbench: {stored} transactions were logged, {} are there, {} are in the balances",
        found.recorded,
        found.in_balances
    );
    Ok(Cell::new(measured, used, after))
}

async fn execute(
    stage: &Stage<'_>,
    database: &Database,
    clients: usize,
    folder: &Path,
) -> anyhow::Result<()> {
    let access = Access::of(database).await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let seconds = (stage.arguments.warm_up + stage.arguments.seconds).ceil();
    let body = String::from_utf8(Payments::new()?.sign(0)?.body.to_vec())?;
    let mut command = Command::new(access.program("pgbench")?);
    command
        .args(["-n", "-M", "prepared", "-l", "--log-prefix=transactions"])
        .args(["-h", &access.socket_dir, "-p", &access.port])
        .args(["-U", &access.user, "-f", SCRIPT])
        .args(["-c", &clients.to_string()])
        .args(["-j", &cores.min(clients).to_string()])
        .args(["-T", &format!("{seconds:.0}")])
        .args(["-D", &format!("body={body}"), database.name()])
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let limit = Duration::from_secs_f64(seconds) + PATIENCE;
    let output = tokio::time::timeout(limit, command.output())
        .await
        .context("pgbench does not end")??;
    ensure!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Reads what each of its threads has logged: client, number, µs, script, end in s, and µs of that second.
fn read(folder: &Path) -> anyhow::Result<Vec<Logged>> {
    let mut logged = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(entry?.path())?;
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, _, took_us, _, s, us, ..] = fields.as_slice() else {
                anyhow::bail!("pgbench has logged: {line}");
            };
            logged.push(Logged {
                took_us: took_us.parse()?,
                ended_us: s.parse::<u64>()? * 1_000_000 + us.parse::<u64>()?,
            });
        }
    }
    Ok(logged)
}

/// What ended in the measured time, counted as the load counts answers.
fn measured(stage: &Stage<'_>, logged: Vec<Logged>) -> anyhow::Result<Measured> {
    let measured = Duration::from_secs_f64(stage.arguments.seconds);
    let first = logged.iter().map(|one| one.ended_us).min();
    let begin_us = first.context("pgbench has logged nothing")?
        + u64::try_from(Duration::from_secs_f64(stage.arguments.warm_up).as_micros())?;
    let end_us = begin_us + u64::try_from(measured.as_micros())?;
    let stored = logged.len().try_into()?;
    let mut latencies_us = Histogram::<u64>::new_with_bounds(1, LATENCY_MAX_US, 3)?;
    for one in logged {
        if (begin_us..end_us).contains(&one.ended_us) {
            latencies_us.saturating_record(one.took_us.max(1));
        }
    }
    let ms = |quantile| {
        Duration::from_micros(latencies_us.value_at_quantile(quantile)).as_secs_f64() * 1e3
    };
    Ok(Measured {
        rate: to_f64(latencies_us.len()) / measured.as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        acknowledged: stored,
        stored,
        generator: Duration::ZERO,
    })
}

/// Where it logs, as long as that is needed.
struct Folder(PathBuf);

impl Folder {
    fn new(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
