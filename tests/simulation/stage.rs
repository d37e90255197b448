//! Where a simulation plays: a cluster of its own, a database, and services in front of it, each over a line that can
//! break.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::postgres::{ConnectOptions, Database, DatabaseSettings};
use credit_ledger::projection::rebuild;
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::instance::Instance;
use super::link::Link;
use super::load::ask;
use super::world::providers::{OF_CLERK, OF_RAZORPAY, OF_STRIPE};
use crate::support::app::{
    ADMIN_KEY, AUDIT_KEY, CLERK_SECRET, ISSUER, MINT, RAZORPAY_KEY_SECRET, RAZORPAY_SECRET,
    SERVICE_KEY, STRIPE_SECRET, STRIPE_SECRET_KEY,
};
use crate::support::eventually;
use crate::support::seals::key_pem;

static NUMBER: AtomicU32 = AtomicU32::new(0);
/// Clusters at once: each has services in front of it, and there may be few cores.
static AT_ONCE: Semaphore = Semaphore::const_new(3);

/// A new folder, for all of a stage. Not below the checkout: as root, PostgreSQL runs as another user.
pub fn new_folder() -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("credit-ledger-simulation-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A private cluster, supervised by this process; gone with this.
pub struct Cluster {
    pub folder: PathBuf,
    server: Database,
    /// What new databases are copies of.
    template: String,
    _turn: SemaphorePermit<'static>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::start_in(new_folder()).await
    }

    /// With its files below a folder of its own.
    pub async fn start_in(folder: PathBuf) -> Self {
        let turn = AT_ONCE.acquire().await.unwrap();
        let template = "template_of_all".to_owned();
        let settings = DatabaseSettings {
            url: None,
            data_dir: Some(folder.join("data")),
            bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
            database: Some(template.clone()),
        };
        let server = Database::open(&settings).await.unwrap();
        server.migrate().await.unwrap();
        rebuild::bring_up_to_date(&server).await.unwrap();
        Self {
            folder,
            server,
            template,
            _turn: turn,
        }
    }

    /// A new database, migrated and empty.
    pub async fn database(&self) -> Database {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = self.server.sibling(&format!("round_{number}"));
        assert!(database.create(Some(&self.template)).await.unwrap());
        database
    }

    /// The server's files.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data/postgres/data")
    }

    /// What the server says from its next start on, in a file beside its files.
    pub fn log_of_later_starts(&self) -> PathBuf {
        let (log, later) = (
            self.folder.join("data/postgres/postgres.log"),
            self.folder.join("later.log"),
        );
        std::fs::remove_file(&log).unwrap();
        std::os::unix::fs::symlink(&later, log).unwrap();
        later
    }

    /// The account and the group that own them.
    pub fn owner(&self) -> (u32, u32) {
        let found = std::fs::metadata(self.data()).unwrap();
        (found.uid(), found.gid())
    }

    /// A default for whoever commits in a database.
    pub async fn wait_for_no_standby(&self, database: &Database) {
        let options = ConnectOptions::default();
        let session = self.server.connect_as_login(&options).await.unwrap();
        let name = database.name();
        let set = format!("alter database \"{name}\" set synchronous_commit = local");
        session.batch_execute(&set).await.unwrap();
    }

    /// Moves the tables of a database that nobody uses.
    pub async fn move_to_disk(&self, database: &Database, folder: &Path) {
        let options = ConnectOptions::default();
        let session = self.server.connect_as_login(&options).await.unwrap();
        let name = database.name();
        let disk = format!("create tablespace disk location '{}'", folder.display());
        session.batch_execute(&disk).await.unwrap();
        let go = format!("alter database \"{name}\" set tablespace disk");
        session.batch_execute(&go).await.unwrap();
    }

    /// The folder of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("data/postgres/socket")
    }

    /// Who connects.
    pub async fn login(&self) -> String {
        let options = ConnectOptions::default();
        let session = self.server.connect_as_login(&options).await.unwrap();
        let row = session.query_one("select session_user::text", &[]).await;
        row.unwrap().get(0)
    }

    /// A new database with nothing in it.
    pub async fn empty_database(&self) -> Database {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = self.server.sibling(&format!("round_{number}"));
        assert!(database.create(None).await.unwrap());
        database
    }

    /// The postmaster, as its pid file says.
    pub fn postmaster(&self) -> Option<Pid> {
        let file = self.data().join("postmaster.pid");
        let text = std::fs::read_to_string(file).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    /// kill -9 of the postmaster. False while it is down.
    pub fn kill_postmaster(&self) -> bool {
        let pid = self.postmaster();
        pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    /// kill -9 of all its processes at once, as far as that goes. When only the postmaster is killed, sessions end by
    /// themselves, and the commits that they make at their end, of temporary objects, take along what others had committed
    /// and not yet written. False while it is down.
    pub async fn kill_all_processes(&self) -> bool {
        let options = ConnectOptions::default();
        let Ok(session) = self.server.connect_as_login(&options).await else {
            return false;
        };
        // Whose session that is: until it was made the server may have been started again.
        let Some(postmaster) = self.postmaster() else {
            return false;
        };
        // It must not notice, nor begin others.
        let _ = kill_process(postmaster, Signal::STOP);
        let others = "select pid from pg_stat_activity order by pid = pg_backend_pid()";
        let others = session.query(others, &[]).await.unwrap_or_default();
        for pid in others.iter().filter_map(|row| Pid::from_raw(row.get(0))) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = kill_process(postmaster, Signal::KILL);
        !others.is_empty()
    }

    /// Stops the server.
    pub async fn close(&self) {
        self.server.close().await;
    }

    /// Stops the server and takes its files away.
    pub async fn end(self) {
        self.close().await;
        eventually("its files are gone", async || {
            std::fs::remove_dir_all(&self.folder).ok()
        })
        .await;
    }
}

impl Drop for Cluster {
    /// What a test that failed leaves, as far as it can be taken away.
    fn drop(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        std::thread::scope(|scope| {
            // A thread of the runtime may not wait in it.
            scope.spawn(|| runtime.map(|runtime| runtime.block_on(self.server.close())));
        });
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How services are set up.
#[derive(Debug, Clone)]
pub struct Setup {
    pub instances: usize,
    /// Settings beside the good ones, by name; `{instance}` in a value is the number of the instance.
    pub settings: Vec<(String, String)>,
}

/// How far the world's clock is before the system's, and each service's before the world's.
#[derive(Default)]
struct Clocks {
    world: TimeDelta,
    skews: Vec<TimeDelta>,
}

/// A database with services in front of it.
pub struct Stage {
    pub database: Database,
    pub instances: Vec<Instance>,
    pub links: Vec<Link>,
    /// Nobody looks at them while they are moved.
    clocks: RwLock<Clocks>,
    pub folder: PathBuf,
    /// Where the server's socket is, and who may use it.
    socket: PathBuf,
    login: String,
    client: reqwest::Client,
}

impl Stage {
    /// Starts the services; they may not answer yet.
    pub async fn set(cluster: &Cluster, database: Database, setup: &Setup) -> Arc<Self> {
        Self::set_with(cluster, database, setup, |_| ()).await
    }

    /// Two services, which are ready, with these settings beside the good ones.
    pub async fn of_two(
        cluster: &Cluster,
        database: Database,
        settings: Vec<(String, String)>,
    ) -> Arc<Self> {
        let setup = Setup {
            instances: 2,
            settings,
        };
        let stage = Self::set(cluster, database, &setup).await;
        stage.ready().await;
        stage
    }

    /// The same, with something done to each line before anybody connects.
    pub async fn set_with(
        cluster: &Cluster,
        database: Database,
        setup: &Setup,
        prepare: impl Fn(&Link),
    ) -> Arc<Self> {
        let session = database
            .connect_as_login(&ConnectOptions::default())
            .await
            .unwrap();
        let sql = "select session_user::text, current_setting('unix_socket_directories')";
        let row = session.query_one(sql, &[]).await.unwrap();
        let (login, socket) = (
            row.get::<_, String>(0),
            PathBuf::from(row.get::<_, String>(1)),
        );
        let folder = cluster.folder.join(database.name());
        std::fs::create_dir_all(&folder).unwrap();
        let mut stage = Self {
            instances: Vec::new(),
            links: Vec::new(),
            clocks: RwLock::default(),
            folder,
            socket,
            login,
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(ANSWER)
                .build()
                .unwrap(),
            database,
        };
        for number in 0..setup.instances {
            let (link, url) = stage.line();
            prepare(&link);
            let mut settings = settings();
            settings.push(("DATABASE_URL".to_owned(), url));
            let others = setup.settings.iter().map(|(name, value)| {
                let value = value.replace("{instance}", &number.to_string());
                (name.clone(), value)
            });
            settings.extend(others);
            let name = format!("instance_{number}");
            let instance = Instance::start(&settings, &stage.folder, &name);
            stage.instances.push(instance);
            stage.links.push(link);
            let clocks = stage.clocks.get_mut().unwrap();
            clocks.skews.push(TimeDelta::zero());
        }
        Arc::new(stage)
    }

    /// A line of its own to the database, and its address, for whoever else works there.
    pub fn line(&self) -> (Link, String) {
        let link = Link::to(&self.socket);
        let (login, host) = (&self.login, link.folder().display());
        let url = format!("postgres://{login}@/{}?host={host}", self.database.name());
        (link, url)
    }

    /// Waits until all answer, and take what is written.
    pub async fn ready(&self) {
        for number in 0..self.instances.len() {
            eventually("an instance is ready", async || {
                self.is_ready(number).await.then_some(())
            })
            .await;
        }
    }

    /// Whether an instance says that work may be sent to it.
    pub async fn is_ready(&self, number: usize) -> bool {
        let Some(address) = self.instances[number].address() else {
            return false;
        };
        let url = format!("http://{address}/health/ready");
        let answer = self.client.get(url).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// What an instance says to the backend; again until it says something.
    pub async fn call(
        &self,
        number: usize,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        eventually("an instance answers", async || {
            let url = format!("http://{}{path}", self.address(number)?);
            let mut request = client.request(method.clone(), url).bearer_auth(SERVICE_KEY);
            if !body.is_null() {
                request = request.json(body).header("Idempotency-Key", path);
            }
            ask(request).await
        })
        .await
    }

    /// Where an instance answers, if it does.
    pub fn address(&self, number: usize) -> Option<SocketAddr> {
        self.instances[number % self.instances.len()].address()
    }

    /// What time it is in the world.
    pub fn now(&self) -> DateTime<Utc> {
        let world = self.clocks.read().unwrap().world;
        Utc::now() + world
    }

    /// Time passes for all.
    pub fn pass(&self, by: TimeDelta) {
        let mut clocks = self.clocks.write().unwrap();
        clocks.world += by;
        self.set_clocks(&clocks);
    }

    /// One clock is wrong by this.
    pub fn skew(&self, number: usize, by: TimeDelta) {
        let mut clocks = self.clocks.write().unwrap();
        clocks.skews[number] = by;
        self.set_clocks(&clocks);
    }

    fn set_clocks(&self, clocks: &Clocks) {
        for (instance, skew) in self.instances.iter().zip(&clocks.skews) {
            instance.set_clock(clocks.world + *skew);
        }
    }

    /// A session of the superuser, past all lines.
    pub async fn sql(&self) -> tokio_postgres::Client {
        let options = ConnectOptions::default();
        self.database.connect_as_login(&options).await.unwrap()
    }

    /// What each session of the server does or did last, and whom it waits for: for whoever wonders why a service is away.
    /// As far as the server can be asked at once.
    pub async fn sessions(&self) -> String {
        let asked = async {
            let options = ConnectOptions::default();
            let session = self.database.connect_as_login(&options).await.ok()?;
            let rows = session.query(SESSIONS, &[]).await.ok()?;
            let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            Some(lines.join("\n"))
        };
        let said = timeout(Duration::from_secs(1), asked).await;
        said.ok()
            .flatten()
            .unwrap_or_else(|| "it does not say".to_owned())
    }

    /// Nothing hinders anybody any more.
    pub fn mend(&self) {
        for link in &self.links {
            link.mend();
        }
        for (number, instance) in self.instances.iter().enumerate() {
            instance.signal(Signal::CONT);
            self.skew(number, TimeDelta::zero());
        }
    }

    /// Fails if any of them panicked, ended without being killed or told to, or wrote a secret or an address to its log.
    pub fn assert_nobody_fell(&self) {
        for instance in &self.instances {
            let log = instance.log();
            let bad = |line: &&str| NEVER_LOGGED.iter().any(|text| line.contains(text));
            let bad: Vec<&str> = log.lines().filter(bad).collect();
            assert_eq!(bad, Vec::<&str>::new());
            let killed = Some(Signal::KILL.as_raw());
            let fell = |end: &ExitStatus| end.code() != Some(0) && end.signal() != killed;
            let fell: Vec<_> = instance.ends().into_iter().filter(fell).collect();
            assert!(fell.is_empty(), "ended by itself: {fell:?}");
        }
    }
}

const SESSIONS: &str = "
    select concat_ws(' | ', pid, application_name, state, wait_event_type, wait_event, 'waits for ' || nullif(pg_blocking_pids(pid), '{}')::text,
        clock_timestamp() - state_change, left(regexp_replace(query, '\\s+', ' ', 'g'), 100))
    from pg_stat_activity
    where pid <> pg_backend_pid() and backend_type in ('client backend', 'autovacuum worker', 'checkpointer')
    order by state_change";

/// What no line of a log has in it.
const NEVER_LOGGED: [&str; 13] = [
    "panicked",
    "@example.com",
    CLERK_SECRET,
    OF_CLERK[1],
    RAZORPAY_SECRET,
    OF_RAZORPAY[1],
    RAZORPAY_KEY_SECRET,
    STRIPE_SECRET,
    OF_STRIPE[1],
    STRIPE_SECRET_KEY,
    SERVICE_KEY,
    ADMIN_KEY,
    AUDIT_KEY,
];

/// How long readiness may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Good settings.
fn settings() -> Vec<(String, String)> {
    let pem = key_pem();
    let settings = [
        ("LISTEN", "127.0.0.1:0"),
        ("CLERK_WEBHOOK_SECRET", CLERK_SECRET),
        ("RAZORPAY_WEBHOOK_SECRET", RAZORPAY_SECRET),
        ("RAZORPAY_KEY_SECRET", RAZORPAY_KEY_SECRET),
        ("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET),
        ("STRIPE_SECRET_KEY", STRIPE_SECRET_KEY),
        ("SERVICE_API_KEY", SERVICE_KEY),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("AUDIT_API_KEY", AUDIT_KEY),
        ("CLERK_JWT_KEY", MINT.public_pem()),
        ("CLERK_ISSUER", ISSUER),
        ("SEAL_KEY", &pem),
        ("SEAL_EVERY_MS", "500"),
        ("UPKEEP_EVERY_MS", "500"),
        ("MATCH_AFTER_MS", "200"),
        ("VERIFY_WAIT_MS", "300"),
        ("WORKERS", "1"),
    ];
    settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}
