//! Where a simulation plays: a cluster of its own, a database, and services in front of it, each over a line that can
//! break.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::postgres::{ConnectOptions, Database, DatabaseSettings};
use credit_ledger::projection::rebuild;
use rustix::process::{Pid, Signal, kill_process};

use super::instance::Instance;
use super::link::Link;
use crate::support::app::{
    ADMIN_KEY, AUDIT_KEY, CLERK_SECRET, ISSUER, MINT, RAZORPAY_KEY_SECRET, RAZORPAY_SECRET,
    SERVICE_KEY, STRIPE_SECRET, STRIPE_SECRET_KEY,
};
use crate::support::eventually;
use crate::support::seals::key_pem;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A private cluster, supervised by this process; gone with this.
pub struct Cluster {
    pub folder: PathBuf,
    server: Database,
    /// What new databases are copies of.
    template: String,
}

impl Cluster {
    pub async fn start() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("credit-ledger-simulation-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
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
        }
    }

    /// A new database, migrated and empty.
    pub async fn database(&self) -> Database {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = self.server.sibling(&format!("round_{number}"));
        assert!(database.create(Some(&self.template)).await.unwrap());
        database
    }

    /// The postmaster, as its pid file says.
    pub fn postmaster(&self) -> Option<Pid> {
        let file = self.folder.join("data/postgres/data/postmaster.pid");
        let text = std::fs::read_to_string(file).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    /// kill -9 of the postmaster.
    pub fn kill_postmaster(&self) {
        if let Some(pid) = self.postmaster() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Stops the server and takes its files away.
    pub async fn end(self) {
        self.server.close().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How services are set up.
#[derive(Debug, Clone)]
pub struct Setup {
    pub instances: usize,
    /// Settings beside the good ones, by name.
    pub settings: Vec<(String, String)>,
}

/// A database with services in front of it.
pub struct Stage {
    pub database: Database,
    pub instances: Vec<Instance>,
    pub links: Vec<Link>,
    /// How far the world's clock is before the system's.
    world_ms: AtomicI64,
    skews_ms: Vec<AtomicI64>,
    folder: PathBuf,
}

impl Stage {
    /// Starts the services; they may not answer yet.
    pub async fn set(cluster: &Cluster, database: Database, setup: &Setup) -> Arc<Self> {
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
            world_ms: AtomicI64::new(0),
            skews_ms: Vec::new(),
            folder,
            database,
        };
        for number in 0..setup.instances {
            let link = Link::to(&socket);
            let host = link.folder().display();
            let url = format!("postgres://{login}@/{}?host={host}", stage.database.name());
            let mut settings = settings();
            settings.push(("DATABASE_URL".to_owned(), url));
            settings.extend(setup.settings.iter().cloned());
            let name = format!("instance_{number}");
            let instance = Instance::start(&settings, &stage.folder, &name);
            stage.instances.push(instance);
            stage.links.push(link);
            stage.skews_ms.push(AtomicI64::new(0));
        }
        Arc::new(stage)
    }

    /// Waits until all answer, and take what is written.
    pub async fn ready(&self) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for instance in &self.instances {
            eventually("an instance is ready", async || {
                let url = format!("http://{}/health/ready", instance.address()?);
                let answer = client.get(url).send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await;
        }
    }

    /// Where an instance answers, if it does.
    pub fn address(&self, number: usize) -> Option<SocketAddr> {
        self.instances[number % self.instances.len()].address()
    }

    /// What time it is in the world.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.world_ms.load(Ordering::Relaxed))
    }

    /// Time passes for all.
    pub fn pass(&self, by: TimeDelta) {
        self.world_ms
            .fetch_add(by.num_milliseconds(), Ordering::Relaxed);
        self.set_clocks();
    }

    /// One clock is wrong by this.
    pub fn skew(&self, number: usize, by: TimeDelta) {
        self.skews_ms[number].store(by.num_milliseconds(), Ordering::Relaxed);
        self.set_clocks();
    }

    fn set_clocks(&self) {
        let world_ms = self.world_ms.load(Ordering::Relaxed);
        for (instance, skew_ms) in self.instances.iter().zip(&self.skews_ms) {
            let moved_ms = world_ms + skew_ms.load(Ordering::Relaxed);
            instance.set_clock(TimeDelta::milliseconds(moved_ms));
        }
    }

    /// A session of the superuser, past all lines.
    pub async fn sql(&self) -> tokio_postgres::Client {
        let options = ConnectOptions::default();
        self.database.connect_as_login(&options).await.unwrap()
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

    /// Fails if any of them panicked.
    pub fn assert_nobody_panicked(&self) {
        for instance in &self.instances {
            let log = instance.log();
            let panics: Vec<&str> = log
                .lines()
                .filter(|line| line.contains("panicked"))
                .collect();
            assert_eq!(panics, Vec::<&str>::new());
        }
    }
}

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
