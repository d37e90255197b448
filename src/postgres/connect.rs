//! What a session is told when it starts. Owns the start-up parameters and which task drives a connection; never decides
//! which server.

use std::{
    fmt::Write as _,
    future::poll_fn,
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The function of PostgreSQL in which a commit waits for synchronous standbys. What it warns of is that the commit is known
/// to none, as an operator has ended its waiting (`pg_cancel_backend`). The text of a warning depends on the server's language.
const WAITS_FOR_STANDBY: &str = "SyncRepWaitForLSN";

/// For a session whose commits are told to somebody, before it commits: whatever the server's default is, they stay.
pub const COMMIT_DURABLY: &str = include_str!("sql/commit_durably.sql");

/// Settings of one session. They travel in the start-up packet (`options`), so they hold from the first statement
/// on, and cost no round trip. A pooler between us and the server must pass them on: `DATABASE_URL` should name the
/// server itself, or a pooler in session mode that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Seen in `pg_stat_activity`.
    pub application_name: String,
    /// The longest a statement may run. `None`: as the server is set.
    pub statement_timeout: Option<Duration>,
    /// The longest a statement may wait for a lock. `None`: as the server is set.
    pub lock_timeout: Option<Duration>,
    /// The longest a transaction may do nothing before the server ends the session. `None`: as the server is set.
    pub idle_in_transaction_session_timeout: Option<Duration>,
    /// The longest to wait for a connection, TLS and log-in included.
    pub connect_timeout: Duration,
    /// The longest that sent bytes may stay unacknowledged before the kernel gives the connection up. TCP only.
    pub tcp_user_timeout: Option<Duration>,
    /// When an idle connection is first probed. TCP only.
    pub keepalives_idle: Duration,
    /// How often it is probed after that. TCP only.
    pub keepalives_interval: Duration,
    /// How many probes may stay unanswered. TCP only.
    pub keepalives_retries: u32,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            application_name: "credit-ledger".to_owned(),
            statement_timeout: None,
            lock_timeout: None,
            idle_in_transaction_session_timeout: None,
            connect_timeout: Duration::from_secs(5),
            tcp_user_timeout: Some(Duration::from_secs(10)),
            keepalives_idle: Duration::from_secs(30),
            keepalives_interval: Duration::from_secs(10),
            keepalives_retries: 3,
        }
    }
}

impl ConnectOptions {
    /// Puts these settings, and the role, on top of what the URL says.
    pub(super) fn apply(&self, config: &mut Config, role: Option<&str>) {
        config
            .application_name(&self.application_name)
            .connect_timeout(self.connect_timeout)
            .keepalives_idle(self.keepalives_idle)
            .keepalives_interval(self.keepalives_interval)
            .keepalives_retries(self.keepalives_retries);
        if let Some(timeout) = self.tcp_user_timeout {
            config.tcp_user_timeout(timeout);
        }
        let mut options = config.get_options().unwrap_or_default().to_owned();
        for (name, value) in self.session_settings(role) {
            // Writing to a String can not fail. Later settings win over those of the URL.
            let _ = write!(options, " -c {name}={value}");
        }
        config.options(options.trim_start());
    }

    /// Names and values; none needs escaping: numbers, and role names of ours.
    pub(super) fn session_settings(&self, role: Option<&str>) -> Vec<(&'static str, String)> {
        [
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
            (
                "idle_in_transaction_session_timeout",
                self.idle_in_transaction_session_timeout,
            ),
        ]
        .into_iter()
        .filter_map(|(name, timeout)| Some((name, timeout?.as_millis().to_string())))
        .chain(role.map(|role| ("role", role.to_owned())))
        // All tables are in public: no schema of the login's name may come before it.
        .chain([("search_path", "public".to_owned())])
        .collect()
    }
}

/// Settings of a pool of sessions.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The most connections the pool opens.
    pub max_size: usize,
    /// The longest to wait for a free connection.
    pub wait_timeout: Duration,
    /// Of each session. Its `connect_timeout` also bounds the making of a connection.
    pub connect: ConnectOptions,
}

impl PoolOptions {
    /// For short reads: nobody waits long, no statement runs long, no transaction is left open.
    pub fn for_reads(max_size: usize) -> Self {
        Self {
            max_size,
            wait_timeout: Duration::from_secs(5),
            connect: ConnectOptions {
                statement_timeout: Some(Duration::from_secs(10)),
                idle_in_transaction_session_timeout: Some(Duration::from_secs(30)),
                ..ConnectOptions::default()
            },
        }
    }
}

/// A connection, which reads and writes for its client: without it the client is not answered.
#[must_use = "the client is not answered without it"]
pub struct Driving(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Driving {
    /// Gives it a task of its own, which ends when the client is dropped.
    pub(super) fn by_itself(self) -> JoinHandle<()> {
        tokio::spawn(self.0)
    }

    /// Drives the connection in the task that works with the client, until the work is done; then it has a task of its own.
    ///
    /// For work that makes the client look up types of its own. To do that it asks again before it has taken all of the first
    /// answer, and the rest of that waits in a channel, which has room for it. But where another thread takes a piece just
    /// while the connection puts in the next, the channel counts as full though it is not, until one more piece is taken:
    /// which the client does only after its second answer, which is behind. In one task the two can not overlap. This can go
    /// when the client does not bound answers any more (<https://github.com/rust-postgres/rust-postgres/pull/1348>).
    pub async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        match select(pin!(work), self.0).await {
            Either::Left((done, driving)) => {
                Self(driving).by_itself();
                done
            }
            // The connection is lost, and the client knows.
            Either::Right(((), work)) => work.await,
        }
    }
}

/// Connects.
pub(super) async fn connect(
    config: &Config,
    tls: Option<&MakeRustlsConnect>,
) -> Result<(Client, Driving), tokio_postgres::Error> {
    Ok(if let Some(tls) = tls {
        let (client, connection) = config.connect(tls.clone()).await?;
        (client, Driving(Box::pin(drive(connection))))
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        (client, Driving(Box::pin(drive(connection))))
    })
}

/// How a pool connects: as everybody else.
pub(super) struct Driven(pub(super) Option<MakeRustlsConnect>);

/// What a pool is given: a session and its task.
type Connecting<'a> = Pin<
    Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>,
>;

impl deadpool_postgres::Connect for Driven {
    fn connect(&self, config: &Config) -> Connecting<'_> {
        let config = config.clone();
        Box::pin(async move {
            let (client, driving) = connect(&config, self.0.as_ref()).await?;
            Ok((client, driving.by_itself()))
        })
    }
}

async fn drive<S, T>(mut connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            // The commit's own answer comes after it, and would be a yes. Without it the outcome is not known: whoever
            // asked tries again, and waits for the standby again.
            Ok(AsyncMessage::Notice(notice)) if notice.routine() == Some(WAITS_FOR_STANDBY) => {
                tracing::error!(
                    "a commit's wait for a synchronous standby was cut off: it is not acknowledged"
                );
                return;
            }
            Ok(_) => {}
            Err(error) => {
                // Whoever uses the client gets an error of its own.
                let error = super::error_chain(&error);
                return tracing::debug!(error, "a database connection ended");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ConnectOptions;

    #[test]
    fn settings_follow_those_of_the_url_so_that_they_win() {
        let mut config = tokio_postgres::Config::new();
        config.options("-c geqo=off");
        let options = ConnectOptions {
            lock_timeout: Some(Duration::from_secs(5)),
            statement_timeout: Some(Duration::from_millis(250)),
            ..ConnectOptions::default()
        };
        options.apply(&mut config, Some("credit_ledger_app"));
        assert_eq!(
            config.get_options(),
            Some(
                "-c geqo=off -c statement_timeout=250 -c lock_timeout=5000 -c role=credit_ledger_app -c search_path=public"
            )
        );
    }

    #[test]
    fn nothing_more_is_said_when_nothing_is_set() {
        let mut config = tokio_postgres::Config::new();
        ConnectOptions::default().apply(&mut config, None);
        assert_eq!(config.get_options(), Some("-c search_path=public"));
        assert_eq!(config.get_application_name(), Some("credit-ledger"));
    }
}
