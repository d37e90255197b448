//! A round of the simulation: a world of providers, frontends, backends, operators and auditors around real services,
//! while everything breaks; and what must hold all the while and in the end.

mod actors;
mod apis;
mod auditor;
mod backend;
pub mod books;
mod chaos;
mod check;
mod frontend;
mod operator;
pub mod plan;
pub mod providers;
mod sequence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::stage::{Cluster, Setup, Stage};
use actors::Actors;
use apis::Apis;
use books::{Books, Figures};
use plan::Plan;

/// Longer than a service may take to answer, one that stands still for some seconds, too.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Where it may take longer.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a round may take to come to rest once nothing breaks any more.
const REST: Duration = Duration::from_secs(90);

/// A round that is being played.
pub struct World {
    plan: Plan,
    stage: Arc<Stage>,
    apis: Apis,
    client: Client,
    books: Books,
    began: Instant,
    /// Providers sign with the secret of this number.
    secret: AtomicUsize,
    /// Everybody has done what they had to.
    over: AtomicBool,
}

/// Plays a round to its end, and says what there was of everything.
pub async fn play(cluster: &Arc<Cluster>, plan: Plan) -> Figures {
    let apis = Apis::start(providers::known_to_apis(&plan)).await;
    let setup = Setup {
        instances: plan.instances,
        settings: providers::settings(&plan, &apis),
    };
    let stage = Stage::set(cluster, cluster.database().await, &setup).await;
    stage.ready().await;
    let client = Client::builder().no_proxy().timeout(REQUEST_TIMEOUT);
    let world = Arc::new(World {
        stage,
        apis,
        client: client.build().unwrap(),
        books: Books::default(),
        began: Instant::now(),
        secret: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        plan,
    });
    let (mut watchers, mut actors) = (Actors::default(), Actors::default());
    watchers.spawn(
        "auditor".to_owned(),
        auditor::look_all_the_time(Arc::clone(&world)),
    );
    watchers.spawn("operator".to_owned(), operator::work(Arc::clone(&world)));
    providers::tell(&world, &mut actors);
    frontend::return_from_checkout(&world, &mut actors);
    backend::use_credits(&world, &mut actors);
    chaos::break_things(&world, cluster).await;
    world.stage.mend();
    actors.end_within(REST).await;
    world.over.store(true, Ordering::Relaxed);
    watchers.end_within(REST).await;
    check::all_that_must_hold(&world).await;
    world.books.figures()
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Nobody answered, or not to the end.
    Nothing,
    /// The service can not now.
    Later,
    /// It said this, and whether that it had said it before.
    Answer(StatusCode, Value, bool),
}

impl World {
    /// Any service that says where it is.
    fn some_service(&self, rng: &mut StdRng) -> Option<String> {
        let number = rng.random_range(0..self.stage.instances.len());
        let address = self.stage.address(number)?;
        Some(format!("http://{address}"))
    }

    /// Waits until so long after the beginning.
    async fn at(&self, after: Duration) {
        sleep_until(self.began + after).await;
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Asks once. An answer of the 5xx kind that is not `unavailable`, or does not say when to come again, is a finding whoever
    /// asked for whatever; so is none at all for whoever waits as long as anybody does.
    async fn ask(&self, request: RequestBuilder) -> Said {
        self.books.requests.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let unanswered = |error: reqwest::Error| {
            self.books.unanswered.fetch_add(1, Ordering::Relaxed);
            let in_vain = error.is_timeout() && began.elapsed() >= REQUEST_TIMEOUT;
            assert!(!in_vain, "not answered: {error}");
            Said::Nothing
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return unanswered(error),
        };
        let status = response.status();
        let retry_after = response.headers().contains_key(RETRY_AFTER);
        let hit = response.headers().contains_key("idempotency-hit");
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return unanswered(error),
        };
        // Who was frozen with half of what came unread says so without a word, by the HTTP library: ask again.
        if status == StatusCode::REQUEST_TIMEOUT && body.is_empty() {
            self.books.unanswered.fetch_add(1, Ordering::Relaxed);
            return Said::Nothing;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&body) else {
            panic!("{status} without JSON: {body:?}");
        };
        if status.is_server_error() {
            assert_eq!(
                (status.as_u16(), &body["code"], retry_after),
                (503, &"unavailable".into(), true),
                "{body}"
            );
            self.books.unavailable.fetch_add(1, Ordering::Relaxed);
            return Said::Later;
        }
        Said::Answer(status, body, hit)
    }

    /// Asks one service after the other until one answers. The request is the same each time.
    async fn insist(
        &self,
        rng: &mut StdRng,
        make: impl Fn(&str) -> RequestBuilder,
    ) -> (StatusCode, Value, bool) {
        loop {
            if let Some(service) = self.some_service(rng) {
                let request = make(&service);
                // Now and then whoever asks is gone before the answer comes.
                let request = match rng.random_range(0..20) {
                    0 => request.timeout(Duration::from_millis(rng.random_range(1..20))),
                    _ => request,
                };
                if let Said::Answer(status, body, hit) = self.ask(request).await {
                    return (status, body, hit);
                }
            }
            sleep(Duration::from_millis(rng.random_range(10..150))).await;
        }
    }
}
