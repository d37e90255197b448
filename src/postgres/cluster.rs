//! The private cluster as the rest sees it: started or joined, a socket to connect to, stopped when no longer
//! wanted. Owns the supervisor's thread; never runs a statement.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    account::Account,
    error::PostgresError,
    layout::{Layout, SOCKET_PORT, log_tail},
    supervisor::{INIT_TIMEOUT, SUPERUSER, Status, Supervisor},
};

/// How long a server that does not answer at all may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may replay its log after a crash: it is up, but takes no connections yet.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(10);

/// A private cluster that this process manages or has joined. Dropping it stops it without waiting; see
/// [`Cluster::stop`].
#[derive(Debug)]
pub(super) struct Cluster {
    layout: Layout,
    account: Account,
    status: Arc<Status>,
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug)]
struct Thread {
    /// Dropping it stops the thread.
    stop: mpsc::Sender<()>,
    handle: JoinHandle<()>,
}

impl Cluster {
    /// Makes the cluster if there is none and starts it, or joins the process that manages it. The server may not
    /// answer yet when this returns: connect with patience (see [`Cluster::patience`]).
    pub(super) async fn open(
        data_dir: PathBuf,
        bin_dir: Option<PathBuf>,
    ) -> Result<Self, PostgresError> {
        let account = Account::choose();
        let layout = tokio::task::spawn_blocking(move || Layout::prepare(&data_dir, account))
            .await
            .map_err(|_| PostgresError::SupervisorGone)??;
        let status = Arc::new(Status::default());
        let (stop, stopped) = mpsc::channel();
        let (ready, readied) = oneshot::channel();
        let supervisor = Supervisor {
            layout: layout.clone(),
            account,
            bin_dir,
            stop: stopped,
            status: Arc::clone(&status),
        };
        let handle = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervisor.run(ready))
            .map_err(|source| PostgresError::Spawn {
                program: PathBuf::from("a thread"),
                source,
            })?;
        let cluster = Self {
            layout,
            account,
            status,
            thread: Mutex::new(Some(Thread { stop, handle })),
        };
        readied.await.map_err(|_| PostgresError::SupervisorGone)??;
        Ok(cluster)
    }

    /// How to reach the cluster's server as its superuser, over its socket.
    pub(super) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.layout.socket_dir)
            .port(SOCKET_PORT)
            .user(SUPERUSER)
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        config
    }

    /// The socket is in a directory that only the right account can write to. Not yet there is an error too.
    pub(super) fn check_socket_dir(&self) -> Result<(), PostgresError> {
        self.layout.check_socket_dir(self.account)
    }

    /// How long to keep trying to connect: longer while the server replays its log, or a manager makes the cluster.
    pub(super) fn patience(&self, replaying: bool) -> Duration {
        if replaying {
            RECOVERY_TIMEOUT
        } else if self.layout.cluster().is_dir() {
            START_TIMEOUT
        } else {
            INIT_TIMEOUT
        }
    }

    /// The error for a server that did not come up.
    pub(super) fn start_failed(&self, waited: Duration, last: &str) -> PostgresError {
        let log = self.layout.log();
        PostgresError::Start {
            waited_s: waited.as_secs(),
            problem: self.status.problem().unwrap_or_else(|| last.to_owned()),
            log_tail: log_tail(&log),
            log,
        }
    }

    /// Does this process manage the cluster, or has it joined another that does?
    pub(super) fn is_manager(&self) -> bool {
        self.status.is_manager()
    }

    /// Where the files are.
    pub(super) fn root(&self) -> &Path {
        &self.layout.root
    }

    /// Stops the server if we manage it, and waits until it is gone (13 s at most). Later calls do nothing.
    pub(super) async fn stop(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(Thread { stop, handle }) = thread else {
            return;
        };
        drop(stop);
        let joined = tokio::task::spawn_blocking(move || handle.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the thread that looks after the private PostgreSQL panicked");
        }
    }
}
