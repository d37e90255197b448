//! A service in a process of its own, which can be killed and paused and has a clock of its own; started again whenever
//! it ends, as whoever runs it would.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use credit_ledger::app::{Application, Clock};
use credit_ledger::config::Config;
use credit_ledger::postgres::install_crypto_provider;
use rustix::process::{Pid, Signal, kill_process};

/// Where a process finds how far its clock is moved.
const CLOCK: &str = "SIMULATION_CLOCK";
/// Set among its settings: a process compares its clock with the database's, as the program does. Otherwise not, so that
/// time can pass for all services of a stage.
pub const COMPARES_CLOCKS: &str = "SIMULATION_COMPARES_CLOCKS";
/// What it says before its address.
const SERVING: &str = "serving on ";
/// Lines of a log that tell enough of one that is away.
const LAST_LINES: usize = 60;
const PAUSE_BEFORE_RESTART: Duration = Duration::from_millis(100);

/// One service. It ends with this.
pub struct Instance {
    shared: Arc<Shared>,
    clock: ClockFile,
    runner: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Whether it is started again when it ends.
    wanted: AtomicBool,
    starts: AtomicUsize,
    log: PathBuf,
}

#[derive(Default)]
struct State {
    pid: Option<Pid>,
    address: Option<SocketAddr>,
    /// How it ended, each time that it had answered before.
    ends: Vec<ExitStatus>,
}

impl Instance {
    /// The program, but for where it reads the time: with these settings alone in its environment, logging to `log`.
    pub fn start(settings: &[(String, String)], folder: &Path, name: &str) -> Self {
        let clock = ClockFile::new(folder.join(format!("{name}.clock")));
        let (settings, clock_path) = (settings.to_vec(), clock.path.clone());
        let make = move || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["instance::serve", "--exact", "--nocapture"])
                .env_clear()
                .envs(std::env::var_os("PATH").map(|value| ("PATH", value)))
                .env(CLOCK, &clock_path)
                .envs(settings.iter().cloned());
            command
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wanted: AtomicBool::new(true),
            starts: AtomicUsize::new(0),
            log: folder.join(format!("{name}.log")),
        });
        let of_runner = Arc::clone(&shared);
        // The system ends the process with the thread that started it.
        let runner = std::thread::spawn(move || of_runner.keep_running(make));
        Self {
            shared,
            clock,
            runner: Some(runner),
        }
    }

    /// Where it answers, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.state.lock().unwrap().address
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.shared.starts.load(Ordering::Relaxed)
    }

    /// How it ended, each time that it had answered before: by itself it never does.
    pub fn ends(&self) -> Vec<ExitStatus> {
        self.shared.state.lock().unwrap().ends.clone()
    }

    pub fn pid(&self) -> Option<Pid> {
        self.shared.state.lock().unwrap().pid
    }

    /// Sends a signal, if it runs; whether it does.
    pub fn signal(&self, signal: Signal) -> bool {
        signal_to(self.pid(), signal)
    }

    /// What sends it this signal, from anywhere.
    pub fn signaller(&self, signal: Signal) -> impl FnOnce() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            signal_to(shared.state.lock().unwrap().pid, signal);
        }
    }

    /// Moves its clock against the system's.
    pub fn set_clock(&self, by: TimeDelta) {
        self.clock.set(by);
    }

    /// What it wrote last, for whoever wonders why it is away.
    pub fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// What all its lives wrote to the log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.shared.log).unwrap_or_default()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shared.wanted.store(false, Ordering::Relaxed);
        self.signal(Signal::KILL);
        if let Some(runner) = self.runner.take() {
            let _ = runner.join();
        }
    }
}

/// One that has just ended needs none.
fn signal_to(pid: Option<Pid>, signal: Signal) -> bool {
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

impl Shared {
    fn keep_running(&self, make: impl Fn() -> Command) {
        while self.wanted.load(Ordering::Relaxed) {
            let child = make()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            self.starts.fetch_add(1, Ordering::Relaxed);
            self.state.lock().unwrap().pid = Some(Pid::from_child(&child));
            if !self.wanted.load(Ordering::Relaxed) {
                signal_to(Some(Pid::from_child(&child)), Signal::KILL);
            }
            self.follow(child);
            std::thread::sleep(PAUSE_BEFORE_RESTART);
        }
    }

    /// Keeps its log until it ends.
    fn follow(&self, mut child: Child) {
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix(SERVING) {
                let address = rest.split(' ').next().unwrap_or_default();
                self.state.lock().unwrap().address = address.parse().ok();
            }
            let _ = writeln!(log, "{line}");
        }
        let status = child.wait().unwrap();
        let mut state = self.state.lock().unwrap();
        if state.address.is_some() {
            state.ends.push(status);
        }
        (state.pid, state.address) = (None, None);
        let _ = writeln!(log, "ended: {status}");
    }
}

/// How far a clock is moved, in milliseconds, where another process can read it.
struct ClockFile {
    path: PathBuf,
    file: File,
}

impl ClockFile {
    fn new(path: PathBuf) -> Self {
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        let clock = Self { path, file };
        clock.set(TimeDelta::zero());
        clock
    }

    fn set(&self, by: TimeDelta) {
        let bytes = by.num_milliseconds().to_le_bytes();
        self.file.write_all_at(&bytes, 0).unwrap();
    }
}

/// The system's clock, moved by what the file says now.
fn moved_clock(path: &Path) -> Clock {
    let file = File::open(path).unwrap();
    Arc::new(move || {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Utc::now() + TimeDelta::milliseconds(i64::from_le_bytes(bytes))
    })
}

/// Not a test: what [`Instance::start`] runs, as `credit-ledger serve` would. Without its clock it does nothing.
#[test]
fn serve() {
    let Some(clock) = std::env::var_os(CLOCK) else {
        return;
    };
    // Elsewhere it outlives a test that is killed.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter("info,credit_ledger=debug")
        .init();
    install_crypto_provider();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/settings.toml");
    let mut config = Config::load(Some(&file), |name| std::env::var(name).ok()).unwrap();
    if std::env::var_os(COMPARES_CLOCKS).is_none() {
        config.store.clocks_differ_max = None;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut told = signal(SignalKind::terminate()).unwrap();
        match Application::build(config, moved_clock(Path::new(&clock))).await {
            Ok(application) => {
                eprintln!("{SERVING}{}", application.address());
                let stop = async move {
                    told.recv().await;
                };
                application.run_until(stop).await.unwrap();
            }
            Err(error) => {
                eprintln!("it can not start: {error}");
                std::process::exit(1);
            }
        }
    });
}
