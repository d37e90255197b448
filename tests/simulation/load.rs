//! A steady load on all services of a stage while something breaks: users sign up, pay and spend, each asked for again
//! until it is acknowledged; and what must be there in the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use reqwest::header::RETRY_AFTER;
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
/// What the ids of users begin with whom the load does not know of.
pub const BYSTANDER: &str = "bystander";
const PAUSE_BEFORE_RETRY: Duration = Duration::from_millis(20);
/// The longest until every service takes what is written again, once nothing hinders it any more.
pub const RECOVERY: Duration = Duration::from_secs(15);
/// How often the database is asked meanwhile what it is at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long clients wait for an answer: some longer than anything is allowed to take, some as impatient as a provider that
/// asks again while the first delivery is still under way.
const PATIENCE: [Duration; 2] = [Duration::from_secs(20), Duration::from_millis(1500)];

/// The place of those who wait that long.
const PATIENT: usize = 0;

/// Clients that never give up.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    stage: Arc<Stage>,
    clients: [Client; PATIENCE.len()],
    stopping: AtomicBool,
    unavailable: AtomicUsize,
    /// Without a whole answer, by how long the client waits for one.
    broken: [AtomicUsize; PATIENCE.len()],
    /// How much each service acknowledged.
    acknowledged: Vec<AtomicUsize>,
    seen: Mutex<Seen>,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Users whose whole story is acknowledged.
    pub users: Vec<String>,
    /// Bodies of deliveries that were acknowledged.
    pub bodies: BTreeSet<Vec<u8>>,
    /// Requests answered with 503, and those without a whole answer.
    pub unavailable: usize,
    pub broken: usize,
    /// Those of clients that wait longer than anything may take: nobody answered them, not even that it can not.
    pub unanswered: usize,
}

impl Load {
    pub fn start(stage: &Arc<Stage>, clients: usize) -> Self {
        let shared = Arc::new(Shared {
            stage: Arc::clone(stage),
            clients: PATIENCE.map(|patience| {
                let client = Client::builder().no_proxy().timeout(patience);
                client.build().unwrap()
            }),
            stopping: AtomicBool::new(false),
            unavailable: AtomicUsize::new(0),
            broken: Default::default(),
            acknowledged: stage
                .instances
                .iter()
                .map(|_| AtomicUsize::new(0))
                .collect(),
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

    /// Waits, not for long, until every service acknowledges what comes, and says that it is ready.
    pub async fn recovers(&self) {
        let all: Vec<usize> = (0..self.shared.acknowledged.len()).collect();
        self.recovers_at(&all).await;
    }

    /// The same of some of them.
    pub async fn recovers_at(&self, numbers: &[usize]) {
        let began = Instant::now();
        let acknowledged = |number: usize| self.shared.acknowledged[number].load(Ordering::Relaxed);
        let stage = &self.shared.stage;
        let goals = numbers
            .iter()
            .map(|number| (*number, acknowledged(*number) + 5));
        let goals: Vec<(usize, usize)> = goals.collect();
        let mut look_at = LOOK_EVERY;
        loop {
            let mut missing = Vec::new();
            for (number, goal) in &goals {
                let taken = acknowledged(*number);
                if taken < *goal || !stage.is_ready(*number).await {
                    missing.push((*number, taken, *goal));
                }
            }
            if missing.is_empty() {
                return;
            }
            let waited = began.elapsed();
            if waited >= look_at {
                println!("after {waited:?}:\n{}", stage.sessions().await);
                look_at = began.elapsed() + LOOK_EVERY;
            }
            if waited >= RECOVERY {
                for (number, _, _) in &missing {
                    println!("{}", stage.instances[*number].last_lines());
                }
                panic!("after {waited:?} these are away (service, taken, wanted): {missing:?}");
            }
            tokio::time::sleep(PAUSE_BEFORE_RETRY).await;
        }
    }

    /// Lets all stories come to their end, and checks that everything acknowledged is there, once.
    pub async fn finish(self) -> Seen {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        let mut seen = self.shared.seen.lock().unwrap().clone();
        seen.unavailable = self.shared.unavailable.load(Ordering::Relaxed);
        let broken = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        seen.broken = self.shared.broken.iter().map(broken).sum();
        seen.unanswered = broken(&self.shared.broken[PATIENT]);
        self.shared.stage.assert_nobody_fell();
        assert_all_is_there(&self.shared.stage, &seen).await;
        seen
    }
}

impl Shared {
    async fn tell_stories(self: Arc<Self>, number: usize) {
        let mut turn = number;
        let kind = number % self.clients.len();
        let client = &self.clients[kind];
        while !self.stopping.load(Ordering::Relaxed) {
            let name = unique("user_");
            let deliveries = [
                (Source::Clerk, created(&user(&name))),
                (Source::Razorpay, captured(&payment(Some(&name)))),
            ];
            for (source, delivery) in deliveries {
                let path = format!("/webhooks/{source}");
                let make = |url| signed(client, url, &delivery);
                self.insist(kind, &mut turn, &path, make).await;
                self.seen.lock().unwrap().bodies.insert(delivery.body);
            }
            let path = format!("/v1/users/{name}/spends");
            let spend = |url| {
                let request = client.post(url).bearer_auth(SERVICE_KEY);
                let request = request.header("Idempotency-Key", format!("spend_{name}"));
                request.json(&json!({"amount": SPENT}))
            };
            self.insist(kind, &mut turn, &path, spend).await;
            self.seen.lock().unwrap().users.push(name);
        }
    }

    /// Asks one service after the other until one says yes.
    async fn insist(
        &self,
        kind: usize,
        turn: &mut usize,
        path: &str,
        make: impl Fn(String) -> RequestBuilder,
    ) {
        loop {
            *turn += 1;
            if let Some(address) = self.stage.address(*turn) {
                let said = hear(make(format!("http://{address}{path}"))).await;
                if self.note(kind, said) {
                    let number = *turn % self.acknowledged.len();
                    self.acknowledged[number].fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            tokio::time::sleep(PAUSE_BEFORE_RETRY).await;
        }
    }

    /// Whether it said yes. Fails if it said anything else than that it can not now.
    fn note(&self, kind: usize, said: Option<Heard>) -> bool {
        // Who was frozen with half of what came unread says so without a word, by the HTTP library.
        let nothing =
            |heard: &Heard| heard.status == StatusCode::REQUEST_TIMEOUT && heard.text.is_empty();
        let Some(heard) = said.filter(|heard| !nothing(heard)) else {
            self.broken[kind].fetch_add(1, Ordering::Relaxed);
            return false;
        };
        if heard.status == StatusCode::OK {
            return true;
        }
        assert!(heard.says_later(), "{heard:?}");
        self.unavailable.fetch_add(1, Ordering::Relaxed);
        false
    }
}

/// A delivery to this address.
pub fn signed(client: &Client, url: String, delivery: &SignedDelivery) -> RequestBuilder {
    let mut request = client.post(url);
    for (name, value) in &delivery.headers {
        request = request.header(*name, value);
    }
    request.body(delivery.body.clone())
}

/// A whole answer.
#[derive(Debug)]
struct Heard {
    status: StatusCode,
    retry_after: bool,
    text: String,
}

impl Heard {
    /// The body, null if it is no JSON.
    fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Whether it can not now, and says when to come again.
    fn says_later(&self) -> bool {
        let unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE && self.retry_after;
        unavailable && self.body()["code"] == "unavailable"
    }
}

/// None: there was no whole answer.
async fn hear(request: RequestBuilder) -> Option<Heard> {
    let response = request.send().await.ok()?;
    let status = response.status();
    let retry_after = response.headers().contains_key(RETRY_AFTER);
    let text = response.text().await.ok()?;
    Some(Heard {
        status,
        retry_after,
        text,
    })
}

/// The status and the body, null if it is no JSON; none: there was no whole answer.
pub async fn ask(request: RequestBuilder) -> Option<(StatusCode, Value)> {
    let heard = hear(request).await?;
    Some((heard.status, heard.body()))
}

async fn assert_all_is_there(stage: &Stage, seen: &Seen) {
    let sql = stage.sql().await;
    let rows = sql.query("select body from inbox", &[]).await.unwrap();
    let stored: BTreeSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert!(seen.bodies.is_subset(&stored), "acknowledged and lost");
    let users = i64::try_from(seen.users.len()).unwrap();
    let others = format!("{BYSTANDER}%");
    let sums = "select count(*), count(*) filter (where balance = $1) from balance where user_id not like $2";
    let row = sql.query_one(sums, &[&LEFT, &others]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (users, users));
    let once = "select event_type, count(*), count(distinct aggregate_id) from events \
                where aggregate_id not like $1 group by 1";
    for row in sql.query(once, &[&others]).await.unwrap() {
        let counts = (row.get::<_, i64>(1), row.get::<_, i64>(2));
        assert_eq!(counts, (users, users), "{}", row.get::<_, String>(0));
    }
    assert_database_is_whole(&stage.database).await;
}
