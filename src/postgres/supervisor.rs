//! The thread that keeps the private cluster running. Owns the manager's lock, `initdb` and the `postgres` child;
//! never talks SQL and never runs on a thread of the async runtime.
//!
//! One process manages a cluster: the one that holds `manager.lock`. The others only connect, and keep trying to
//! take the lock over, which they get the moment the manager is gone. The manager starts `postgres` again whenever
//! it ends. A start may fail for some seconds after a kill -9 of the old server (its pid lives on as a zombie, its
//! backends still hold the shared memory), so starting is always a loop.
//!
//! On Linux the child asks to be stopped when the thread that started it dies (`PR_SET_PDEATHSIG`), so a kill -9 of
//! this process leaves no orphan; that is why this is a thread of its own that lives as long as the cluster is
//! wanted. macOS has nothing like it: there an orphan stays, and the next manager adopts it (watches it, and stops
//! it when it stops itself).
//!
//! As the first process of a container (pid 1) we reap our own child, but not the backends of a server that was
//! killed: run such a container with an init (`docker run --init`).

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::PathBuf,
    process::{Child, ExitStatus},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rustix::process::Pid;
use tokio::sync::oneshot;

use super::{
    account::{Account, LOCALE},
    binaries::Binaries,
    error::{PostgresError, error_chain},
    layout::{Layout, SOCKET_PORT, log_tail},
    memory,
    process::{STOP_STEPS, kill_and_reap, open_log, spawn, stop_child, wait},
};

/// The superuser of the private cluster, reachable over its socket only.
pub(super) const SUPERUSER: &str = "credit_ledger";

/// How often the child and the wish to stop are looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often a process that is not the manager tries to become it.
const TAKEOVER_POLL: Duration = Duration::from_millis(250);
/// How often an adopted server is looked at: each look is a connection.
const ADOPTED_POLL: Duration = Duration::from_secs(1);
/// Pauses between starts that fail at once: doubled from the first to the last.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(200);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A server that ran this long was well: the next pause is the shortest again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// The longest `initdb` may take (0.5 s is usual).
pub(super) const INIT_TIMEOUT: Duration = Duration::from_mins(2);
/// The server's settings. Those that guard the data are the defaults and are said all the same. The log must hold
/// no data of the ledger: no statements, no details.
const SERVER_SETTINGS: [&str; 9] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "max_connections=100",
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
    "logging_collector=off",
];

/// What the thread tells the rest of the process.
#[derive(Debug, Default)]
pub(super) struct Status {
    is_manager: AtomicBool,
    problem: Mutex<Option<String>>,
}

impl Status {
    pub(super) fn is_manager(&self) -> bool {
        self.is_manager.load(Ordering::Acquire)
    }

    /// The last thing that went wrong, if any.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn report(&self, problem: String) {
        tracing::warn!(%problem, "the private PostgreSQL is down");
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }
}

/// Was the thread asked to stop?
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    GoOn,
    Stop,
}

/// Told once, when the thread has either joined a cluster or made sure that there is one to start.
type Ready = Option<oneshot::Sender<Result<(), PostgresError>>>;

#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) layout: Layout,
    pub(super) account: Account,
    /// `PG_BIN_DIR`.
    pub(super) bin_dir: Option<PathBuf>,
    /// Stops the thread when the other end is dropped.
    pub(super) stop: mpsc::Receiver<()>,
    pub(super) status: Arc<Status>,
}

impl Supervisor {
    /// Runs until stopped; the child is gone when this returns.
    pub(super) fn run(self, ready: oneshot::Sender<Result<(), PostgresError>>) {
        let mut ready = Some(ready);
        let lock = match self.open_lock() {
            Ok(lock) => lock,
            Err(error) => return announce(&mut ready, Err(error)),
        };
        loop {
            let pause = match lock.try_lock() {
                Ok(()) => match self.manage(&mut ready) {
                    Ok(()) => return,
                    Err(error) if ready.is_some() => return announce(&mut ready, Err(error)),
                    Err(error) => {
                        // Somebody else may be able to do it.
                        self.status.is_manager.store(false, Ordering::Release);
                        self.status.report(error_chain(&error));
                        if let Err(error) = lock.unlock() {
                            return self.status.report(format!(
                                "the manager's lock can not be given up: {error}"
                            ));
                        }
                        RESTART_PAUSE_MAX
                    }
                },
                Err(TryLockError::WouldBlock) => {
                    announce(&mut ready, Ok(()));
                    TAKEOVER_POLL
                }
                Err(TryLockError::Error(source)) => {
                    return announce(
                        &mut ready,
                        Err(PostgresError::file("lock", &self.layout.lock(), source)),
                    );
                }
            };
            if self.pause(pause) == Wish::Stop {
                return;
            }
        }
    }

    /// Starts the server, again and again, until asked to stop.
    fn manage(&self, ready: &mut Ready) -> Result<(), PostgresError> {
        let binaries = self.prepare_cluster()?;
        self.status.is_manager.store(true, Ordering::Release);
        let mut pause = RESTART_PAUSE_MIN;
        loop {
            let started = Instant::now();
            let mut child = self.start(&binaries)?;
            announce(ready, Ok(()));
            let Some(ended) = self.watch(&mut child) else {
                stop_child(&mut child);
                self.stop_adopted();
                return Ok(());
            };
            self.status.report(format!(
                "postgres ended: {}; log: {}",
                ended,
                log_tail(&self.layout.log())
            ));
            if started.elapsed() >= HEALTHY_AFTER {
                pause = RESTART_PAUSE_MIN;
            }
            if self.watch_adopted() == Wish::Stop || self.pause(pause) == Wish::Stop {
                return Ok(());
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
        }
    }

    fn open_lock(&self) -> Result<File, PostgresError> {
        let path = self.layout.lock();
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| PostgresError::file("open", &path, e))
    }

    /// Makes sure that there are a cluster, programs of its version, and a directory for its socket.
    fn prepare_cluster(&self) -> Result<Binaries, PostgresError> {
        let binaries = Binaries::find(self.bin_dir.as_deref(), self.layout.cluster_major()?)?;
        self.layout.create_socket_dir(self.account)?;
        if self.layout.cluster_major()?.is_none() {
            self.init_cluster(&binaries)?;
        }
        Ok(binaries)
    }

    /// Makes a cluster under another name first: one that is half made is never taken for a good one.
    fn init_cluster(&self, binaries: &Binaries) -> Result<(), PostgresError> {
        let (unfinished, cluster) = (self.layout.unfinished_cluster(), self.layout.cluster());
        match std::fs::remove_dir_all(&unfinished) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(PostgresError::file("remove", &unfinished, e));
            }
            _ => {}
        }
        let log = open_log(&self.layout.init_log(), true)?;
        let mut command = self.account.command(&binaries.dir, "initdb");
        command
            .arg("--pgdata")
            .arg(&unfinished)
            .args([
                "--username",
                SUPERUSER,
                "--encoding",
                "UTF8",
                "--locale",
                LOCALE,
            ])
            .args([
                "--data-checksums",
                "--auth-local=trust",
                "--auth-host=reject",
            ]);
        let mut child = spawn(&mut command, log)?;
        let failed = |problem: String| PostgresError::Init {
            problem,
            log_tail: log_tail(&self.layout.init_log()),
        };
        match wait(&mut child, INIT_TIMEOUT) {
            Some(status) if status.success() => {}
            Some(status) => return Err(failed(status.to_string())),
            None => {
                kill_and_reap(&mut child);
                return Err(failed(format!(
                    "it did not end within {} s",
                    INIT_TIMEOUT.as_secs()
                )));
            }
        }
        std::fs::rename(&unfinished, &cluster)
            .map_err(|e| PostgresError::file("rename", &unfinished, e))?;
        File::open(&self.layout.root)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| PostgresError::file("flush", &self.layout.root, e))?;
        tracing::info!(cluster = %cluster.display(), version = binaries.major, "made a new database cluster");
        Ok(())
    }

    fn start(&self, binaries: &Binaries) -> Result<Child, PostgresError> {
        let log = open_log(&self.layout.log(), false)?;
        let mut command = self.account.command(&binaries.dir, "postgres");
        command
            .arg("-D")
            .arg(self.layout.cluster())
            .arg("-k")
            .arg(&self.layout.socket_dir);
        command.args(["-p", &SOCKET_PORT.to_string()]);
        for setting in SERVER_SETTINGS {
            command.args(["-c", setting]);
        }
        for (setting, mib) in [
            ("shared_buffers", memory::shared_buffers_mib()),
            ("max_wal_size", memory::max_wal_mib(&self.layout.root)),
        ] {
            command.arg("-c").arg(format!("{setting}={mib}MB"));
        }
        spawn(&mut command, log)
    }

    /// Waits for the child to end; `None` when asked to stop before.
    fn watch(&self, child: &mut Child) -> Option<ExitStatus> {
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            if self.pause(POLL) == Wish::Stop {
                return None;
            }
        }
    }

    /// After a failed start: is a server that we did not start running on our files? Then it is as good as ours
    /// until it ends.
    fn watch_adopted(&self) -> Wish {
        let Some(pid) = self.foreign_postmaster() else {
            return Wish::GoOn;
        };
        tracing::info!(
            pid = pid.as_raw_nonzero().get(),
            "adopted a running PostgreSQL"
        );
        while UnixStream::connect(self.layout.socket()).is_ok() {
            if self.pause(ADOPTED_POLL) == Wish::Stop {
                self.stop_adopted();
                return Wish::Stop;
            }
        }
        Wish::GoOn
    }

    /// Stops a server on our files that is not our child, if there is one: fast, then at once.
    fn stop_adopted(&self) {
        let Some(pid) = self.foreign_postmaster() else {
            return;
        };
        for (signal, limit) in STOP_STEPS {
            let end = Instant::now() + limit;
            if rustix::process::kill_process(pid, signal).is_err() {
                return;
            }
            while Instant::now() < end {
                if rustix::process::test_kill_process(pid).is_err() {
                    return;
                }
                std::thread::sleep(POLL);
            }
        }
    }

    /// The process named by `postmaster.pid`, if somebody answers at the socket.
    fn foreign_postmaster(&self) -> Option<Pid> {
        UnixStream::connect(self.layout.socket()).ok()?;
        let text = std::fs::read_to_string(self.layout.cluster().join("postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    fn pause(&self, time: Duration) -> Wish {
        match self.stop.recv_timeout(time) {
            Err(mpsc::RecvTimeoutError::Timeout) => Wish::GoOn,
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Wish::Stop,
        }
    }
}

fn announce(ready: &mut Ready, result: Result<(), PostgresError>) {
    if let Some(ready) = ready.take() {
        // Nobody listens any more when the opening was given up; the thread is stopped then.
        let _ = ready.send(result);
    }
}
