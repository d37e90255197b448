//! The program itself, as a child process with a database of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Database, DatabaseSettings};
use credit_ledger::provider::sign::SignedDelivery;
use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::app::{CLERK_SECRET, RAZORPAY_SECRET, SERVICE_KEY};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory for the data of some services, gone with the test.
pub struct DataDir(pub PathBuf);

/// A running `serve`.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    /// The line of the log that says where it serves, and what is set up.
    pub said: String,
    pub client: Client,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl DataDir {
    /// What a command says that ends with this code.
    #[track_caller]
    pub fn said(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {out}{err}"
        );
        format!("{out}{err}")
    }

    pub fn new() -> Self {
        let name = format!(
            "credit-ledger-crash-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The program with good settings, nothing else in its environment, and no settings file that lies around.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_credit-ledger"));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/settings.toml");
        command
            .env_clear()
            .current_dir(&self.0)
            .stdin(Stdio::null());
        for name in ["PATH", "PG_BIN_DIR", "LLVM_PROFILE_FILE"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .env("DATA_DIR", self.0.join("data"))
            .env("LISTEN", "127.0.0.1:0")
            .env("CLERK_WEBHOOK_SECRET", CLERK_SECRET)
            .env("RAZORPAY_WEBHOOK_SECRET", RAZORPAY_SECRET)
            .env("SERVICE_API_KEY", SERVICE_KEY)
            .arg("--config")
            .arg(file)
            .args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        finish(self.program(arguments))
    }

    pub fn serve(&self) -> Service {
        Service::start(self.program(&["serve"]))
    }

    /// The postmaster, as its pid file says.
    pub fn postmaster(&self) -> Option<Pid> {
        let text =
            std::fs::read_to_string(self.0.join("data/postgres/data/postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    /// A session of the superuser, over the socket. The cluster must be running.
    pub async fn sql(&self) -> tokio_postgres::Client {
        self.sql_in(None).await
    }

    /// The same in another database than the service's.
    pub async fn sql_of(&self, database: &str) -> tokio_postgres::Client {
        self.sql_in(Some(database.to_owned())).await
    }

    async fn sql_in(&self, database: Option<String>) -> tokio_postgres::Client {
        let settings = DatabaseSettings {
            data_dir: Some(self.0.join("data")),
            database,
            ..DatabaseSettings::default()
        };
        let database = Database::open(&settings).await.unwrap();
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await
            .unwrap();
        // Ends the thread that waits to take over the cluster; the session goes on.
        database.close().await;
        client
    }

    /// Sends a signal to all of them; how many there were.
    pub fn signal_postgres(&self, signal: Signal) -> usize {
        let processes = self.postgres_processes();
        for process in &processes {
            let number = process.file_name().unwrap().to_str().unwrap();
            // One that has just ended needs none.
            let _ = kill_process(Pid::from_raw(number.parse().unwrap()).unwrap(), signal);
        }
        processes.len()
    }

    /// Processes that run the cluster: their working directory is in it. Linux only; elsewhere none are found.
    pub fn postgres_processes(&self) -> Vec<PathBuf> {
        let processes = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let inside = |path: &PathBuf| {
            std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.0))
        };
        processes
            .filter(|path| inside(path) && !is_this_program(path))
            .collect()
    }
}

fn is_this_program(process: &Path) -> bool {
    std::fs::read_link(process.join("exe"))
        .is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_credit-ledger")))
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // A test that failed may leave a server that is still stopping.
        let end = Instant::now() + Duration::from_secs(5);
        while !self.postgres_processes().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command to its end, within a minute.
pub fn finish(mut command: Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes).unwrap();
    let status = wait(&mut child, Duration::from_mins(1));
    Output {
        status,
        stdout: bytes,
        stderr: reader.join().unwrap().unwrap(),
    }
}

fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < end, "it did not end within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reads to the end, so that the pipe never fills up; keeps each line and shows it to `see`.
fn read_on(
    pipe: impl std::io::Read + Send + 'static,
    log: Arc<Mutex<String>>,
    see: impl Fn(&str) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            let line = String::from_utf8_lossy(&line);
            see(&line);
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    })
}

impl Service {
    /// Starts it and waits until it says where it listens.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, address) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let readers = vec![
            read_on(stdout, Arc::clone(&log), |_| ()),
            read_on(stderr, Arc::clone(&log), move |line| {
                let address = line.split("address=").nth(1);
                if let Some(address) = address.and_then(|rest| rest.split(' ').next()) {
                    let _ = sender.send((address.to_owned(), line.to_owned()));
                }
            }),
        ];
        let (address, said) = match address.recv_timeout(Duration::from_mins(1)) {
            Ok((address, said)) => (address.parse().unwrap(), said),
            Err(problem) => panic!("it did not start: {problem}: {}", log.lock().unwrap()),
        };
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            child,
            address,
            said,
            client,
            log,
            readers,
        }
    }

    /// All that it has printed and logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The most memory that it has held, in MiB: `VmHWM`. Linux only; elsewhere 0.
    pub fn memory_max_mib(&self) -> u64 {
        if !cfg!(target_os = "linux") {
            return 0;
        }
        let status = std::fs::read_to_string(self.told_by_system("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.unwrap().parse::<u64>().unwrap() / 1024
    }

    /// How many files it has open, of which each connection is one. Linux only; elsewhere none.
    pub fn open_files(&self) -> Option<usize> {
        let files = std::fs::read_dir(self.told_by_system("fd"));
        cfg!(target_os = "linux").then(|| files.unwrap().count())
    }

    fn told_by_system(&self, what: &str) -> String {
        format!("/proc/{}/{what}", self.child.id())
    }

    /// All that it printed and logged in its life, which is over with this.
    pub fn whole_log(mut self) -> String {
        self.terminate();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// Posts a delivery; `None` when there was no whole answer.
    pub async fn deliver(
        &self,
        source: Source,
        delivery: &SignedDelivery,
    ) -> Option<(StatusCode, serde_json::Value)> {
        let mut request = self
            .client
            .post(format!("http://{}/webhooks/{source}", self.address));
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        let response = request.body(delivery.body.clone()).send().await.ok()?;
        Some((response.status(), response.json().await.ok()?))
    }

    pub async fn balance(&self, user_id: &str) -> serde_json::Value {
        let url = format!("http://{}/v1/users/{user_id}/balance", self.address);
        let response = self
            .client
            .get(url)
            .bearer_auth(SERVICE_KEY)
            .send()
            .await
            .unwrap();
        response.json::<serde_json::Value>().await.unwrap()["balance"].clone()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// kill -9, unless that was done already.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it as a debugger does: it holds what it holds.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        (
            wait(&mut self.child, Duration::from_secs(30)),
            started.elapsed(),
        )
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// kill -9 of the postmaster.
pub fn kill_postmaster(data: &DataDir) {
    kill_process(data.postmaster().unwrap(), Signal::KILL).unwrap();
}

/// Whether a process is there.
pub fn is_running(process: Pid) -> bool {
    test_kill_process(process).is_ok()
}
