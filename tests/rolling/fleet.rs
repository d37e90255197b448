//! Instances of the program itself on one database of the tests' cluster, and a client that spreads what it sends over
//! them as a load balancer does.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::postgres::Database;
use credit_ledger::provider::sign::SignedDelivery;
use reqwest::{Client, StatusCode};
use rustix::process::{Signal, kill_process};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::crash::service::{DataDir, Service};
use crate::support::{cluster, eventually};

/// How often the balancer asks who is ready.
const LOOK: Duration = Duration::from_millis(50);
/// How long a delivery is tried before somebody must have taken it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A database, and a folder for the instances on it.
pub struct Fleet {
    pub database: Database,
    pub data: DataDir,
}

impl Fleet {
    pub async fn new() -> Self {
        Self::on(cluster::fresh_database().await)
    }

    pub fn on(database: Database) -> Self {
        Self {
            database,
            data: DataDir::new(),
        }
    }

    /// The program with this database's URL.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let (root, _) = self.database.private_cluster().unwrap();
        let (name, socket) = (self.database.name(), root.join("socket"));
        let url = format!("postgres://credit_ledger@/{name}?host={}", socket.display());
        let mut command = self.data.program(arguments);
        command.env("DATABASE_URL", url).env("WORKERS", "2");
        command
    }

    /// Starts an instance while others go on.
    pub async fn serve(&self) -> Service {
        let program = self.program(&["serve"]);
        spawn_blocking(|| Service::start(program)).await.unwrap()
    }
}

/// One place of the balancer: an instance, while there is one.
struct Member {
    address: Mutex<Option<SocketAddr>>,
    ready: AtomicBool,
}

/// Sends to whoever says that it is ready.
pub struct Balancer {
    client: Client,
    members: Vec<Member>,
    next: AtomicUsize,
    /// How often nobody listened any more, so that another one was asked.
    pub refused: AtomicUsize,
    /// How often `503` was answered, and it was sent again.
    pub unavailable: AtomicUsize,
    /// Requests that were sent and not answered.
    pub unanswered: Mutex<Vec<String>>,
}

impl Balancer {
    /// With so many places, the first of which are taken by these.
    pub fn new(services: &[Service], places: usize) -> Self {
        let members = (0..places).map(|number| Member {
            address: Mutex::new(services.get(number).map(|service| service.address)),
            ready: AtomicBool::new(false),
        });
        Self {
            client: Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
            members: members.collect(),
            next: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            unavailable: AtomicUsize::new(0),
            unanswered: Mutex::new(vec![]),
        }
    }

    /// Puts another instance in a place.
    pub fn replace(&self, number: usize, service: &Service) {
        self.members[number].ready.store(false, Ordering::Relaxed);
        *self.members[number].address.lock().unwrap() = Some(service.address);
    }

    pub fn is_ready(&self, number: usize) -> bool {
        self.members[number].ready.load(Ordering::Relaxed)
    }

    /// Asks who is ready, for ever.
    pub async fn look(&self) {
        loop {
            for member in &self.members {
                let address = *member.address.lock().unwrap();
                let ready = match address {
                    Some(address) => self.asks_ready(address).await,
                    None => false,
                };
                member.ready.store(ready, Ordering::Relaxed);
            }
            sleep(LOOK).await;
        }
    }

    async fn asks_ready(&self, address: SocketAddr) -> bool {
        let url = format!("http://{address}/health/ready");
        let answer = self.client.get(url).timeout(Duration::from_secs(2)).send();
        answer
            .await
            .is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Delivers until an instance has taken it, as a provider behind a load balancer does. Gives what it said.
    pub async fn deliver(&self, source: Source, delivery: &SignedDelivery) -> serde_json::Value {
        let (end, mut last) = (Instant::now() + PATIENCE, None);
        while Instant::now() < end {
            let Some(address) = self.ready_member() else {
                sleep(LOOK / 10).await;
                continue;
            };
            let mut request = self
                .client
                .post(format!("http://{address}/webhooks/{source}"));
            for (name, value) in &delivery.headers {
                request = request.header(*name, value);
            }
            match request.body(delivery.body.clone()).send().await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    return answer.json().await.unwrap();
                }
                Ok(answer) => {
                    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                    assert!(answer.headers().contains_key("retry-after"));
                    last = answer.text().await.ok();
                    self.unavailable.fetch_add(1, Ordering::Relaxed);
                    sleep(LOOK).await;
                }
                Err(error) if error.is_connect() => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(LOOK / 10).await;
                }
                Err(error) => self.unanswered.lock().unwrap().push(format!("{error:?}")),
            }
        }
        panic!("nobody took it in {PATIENCE:?}: {last:?}");
    }

    fn ready_member(&self) -> Option<SocketAddr> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let ready = (0..count)
            .map(|step| &self.members[(start + step) % count])
            .find(|member| member.ready.load(Ordering::Relaxed))?;
        *ready.address.lock().unwrap()
    }
}

/// SIGTERM, while others go on; how it ended and how long that took.
pub async fn terminate(service: &mut Service) -> (ExitStatus, Duration) {
    let started = Instant::now();
    kill_process(service.pid(), Signal::TERM).unwrap();
    let status = eventually("it ends", || std::future::ready(service.ended())).await;
    (status, started.elapsed())
}
