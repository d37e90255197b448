//! A steady load on all services of a stage while something breaks: users sign up, pay and spend, each asked for again
//! until it is acknowledged; and what must be there in the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::stage::Stage;
use crate::support::app::SERVICE_KEY;
use crate::support::deliveries::{captured, created, payment, unique, user};
use crate::support::eventually;
use crate::support::integrity::assert_database_is_whole;

/// Bonus and pack, less what is spent.
const LEFT: i64 = 20 + 500 - SPENT;
const SPENT: i64 = 30;
const PAUSE_BEFORE_RETRY: Duration = Duration::from_millis(20);
/// Longer than anything is allowed to take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Clients that never give up.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    stage: Arc<Stage>,
    client: Client,
    stopping: AtomicBool,
    requests: AtomicUsize,
    unavailable: AtomicUsize,
    broken: AtomicUsize,
    seen: Mutex<Seen>,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Users whose whole story is acknowledged.
    pub users: Vec<String>,
    /// Bodies of deliveries that were acknowledged.
    pub bodies: BTreeSet<Vec<u8>>,
    /// When anything was acknowledged last.
    pub last: Option<Instant>,
    /// The longest time between two acknowledgements.
    pub gap: Duration,
    /// Answers that should not be.
    pub odd: Vec<String>,
    /// All requests, those answered with 503, and those without a whole answer.
    pub requests: usize,
    pub unavailable: usize,
    pub broken: usize,
}

impl Load {
    pub fn start(stage: &Arc<Stage>, clients: usize) -> Self {
        let shared = Arc::new(Shared {
            stage: Arc::clone(stage),
            client: Client::builder()
                .no_proxy()
                .timeout(REQUEST_TIMEOUT)
                .build()
                .unwrap(),
            stopping: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            unavailable: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        let start = |number| tokio::spawn(Arc::clone(&shared).tell_stories(number));
        let clients = (0..clients).map(start).collect();
        Self { shared, clients }
    }

    /// How many users' stories are acknowledged.
    pub fn done(&self) -> usize {
        self.shared.seen.lock().unwrap().users.len()
    }

    /// Waits until so many more are.
    pub async fn goes_on(&self, stories: usize) {
        let goal = self.done() + stories;
        eventually("the load goes on", async || {
            (self.done() >= goal).then_some(())
        })
        .await;
    }

    /// Lets all stories come to their end, and checks that everything acknowledged is there, once.
    pub async fn finish(self) -> Seen {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        let mut seen = self.shared.seen.lock().unwrap().clone();
        seen.requests = self.shared.requests.load(Ordering::Relaxed);
        seen.unavailable = self.shared.unavailable.load(Ordering::Relaxed);
        seen.broken = self.shared.broken.load(Ordering::Relaxed);
        self.shared.stage.assert_nobody_panicked();
        assert_all_is_there(&self.shared.stage, &seen).await;
        seen
    }
}

impl Shared {
    async fn tell_stories(self: Arc<Self>, number: usize) {
        let mut turn = number;
        while !self.stopping.load(Ordering::Relaxed) {
            let name = unique("user_");
            let deliveries = [
                (Source::Clerk, created(&user(&name))),
                (Source::Razorpay, captured(&payment(Some(&name)))),
            ];
            for (source, delivery) in deliveries {
                let path = format!("/webhooks/{source}");
                self.insist(&mut turn, &path, |url| self.delivery(url, &delivery))
                    .await;
                self.seen.lock().unwrap().bodies.insert(delivery.body);
            }
            let path = format!("/v1/users/{name}/spends");
            let spend = |url| {
                let request = self.client.post(url).bearer_auth(SERVICE_KEY);
                let request = request.header("Idempotency-Key", format!("spend_{name}"));
                request.json(&json!({"amount": SPENT}))
            };
            self.insist(&mut turn, &path, spend).await;
            self.seen.lock().unwrap().users.push(name);
        }
    }

    fn delivery(&self, url: String, delivery: &SignedDelivery) -> RequestBuilder {
        let mut request = self.client.post(url);
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        request.body(delivery.body.clone())
    }

    /// Asks one service after the other until one says yes.
    async fn insist(&self, turn: &mut usize, path: &str, make: impl Fn(String) -> RequestBuilder) {
        loop {
            *turn += 1;
            if let Some(address) = self.stage.address(*turn) {
                self.requests.fetch_add(1, Ordering::Relaxed);
                let said = ask(make(format!("http://{address}{path}"))).await;
                if self.hear(said) {
                    return;
                }
            }
            tokio::time::sleep(PAUSE_BEFORE_RETRY).await;
        }
    }

    fn hear(&self, said: Option<(StatusCode, Value)>) -> bool {
        let Some((status, body)) = said else {
            self.broken.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let mut seen = self.seen.lock().unwrap();
        if status == StatusCode::OK {
            let now = Instant::now();
            let gap = seen.last.map_or(Duration::ZERO, |last| now - last);
            (seen.gap, seen.last) = (seen.gap.max(gap), Some(now));
            return true;
        }
        if status == StatusCode::SERVICE_UNAVAILABLE && body["code"] == "unavailable" {
            self.unavailable.fetch_add(1, Ordering::Relaxed);
        } else {
            seen.odd.push(format!("{status} {body}"));
        }
        false
    }
}

/// The status and the body; none: there was no whole answer.
pub async fn ask(request: RequestBuilder) -> Option<(StatusCode, Value)> {
    let response = request.send().await.ok()?;
    Some((response.status(), response.json().await.ok()?))
}

async fn assert_all_is_there(stage: &Stage, seen: &Seen) {
    assert_eq!(seen.odd, Vec::<String>::new());
    let sql = stage.sql().await;
    let rows = sql.query("select body from inbox", &[]).await.unwrap();
    let stored: BTreeSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert!(seen.bodies.is_subset(&stored), "acknowledged and lost");
    let users = i64::try_from(seen.users.len()).unwrap();
    let sums = "select count(*), count(*) filter (where balance = $1) from balance";
    let row = sql.query_one(sums, &[&LEFT]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (users, users));
    let once = "select event_type, count(*), count(distinct aggregate_id) from events group by 1";
    for row in sql.query(once, &[]).await.unwrap() {
        let counts = (row.get::<_, i64>(1), row.get::<_, i64>(2));
        assert_eq!(counts, (users, users), "{}", row.get::<_, String>(0));
    }
    assert_database_is_whole(&stage.database).await;
}
