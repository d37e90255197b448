//! A service is killed while it does what follows commits, or what waits for its time: another, or the same again, does it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::SamplePayment;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::link::{Point, Then};
use super::super::load::{RECOVERY, ask, signed};
use super::super::stage::{Cluster, Setup, Stage};
use super::making::assert_read_models_are_right;
use crate::support::app::SERVICE_KEY;
use crate::support::deliveries::{captured, created, payment, unique, user};
use crate::support::eventually;
use crate::support::integrity::assert_database_is_whole;
use crate::support::search::columns_with;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_while_it_keeps_house_leaves_nothing_undone() {
    let cluster = Cluster::start().await;
    let setup = Setup {
        instances: 2,
        settings: vec![],
    };
    let stage = Stage::set(&cluster, cluster.database().await, &setup).await;
    stage.ready().await;
    let house = House {
        stage: &stage,
        client: Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build()
            .unwrap(),
    };
    for point in [
        "from outbox",
        "p.captured and p.user_id is null",
        "append_batch",
        "delete from outbox",
    ] {
        house.match_a_payer(point).await;
    }
    for point in [
        "from outbox",
        "own.profile",
        "set erased_at",
        "order by key, source",
        "append_batch",
        "delete from outbox",
    ] {
        house.erase_a_user(point).await;
    }
    for point in ["due_at_s <= $1", "append_batch"] {
        house.let_credits_end(point).await;
    }
    stage.assert_nobody_fell();
    assert_database_is_whole(&stage.database).await;
    assert_read_models_are_right(&stage.database).await;
    drop(stage);
    cluster.end().await;
}

struct House<'a> {
    stage: &'a Arc<Stage>,
    client: Client,
}

impl House<'_> {
    /// A payment that names nobody, whose payer signs up.
    async fn match_a_payer(&self, point: &'static str) {
        let name = unique("user_");
        let buyer = user(&name);
        let paid = SamplePayment {
            email: buyer.email.clone(),
            ..payment(None)
        };
        self.deliver(Source::Razorpay, &captured(&paid)).await;
        let killed = self.kill_behind_commit(point).await;
        self.deliver(Source::Clerk, &created(&buyer)).await;
        self.came(killed, point).await;
        eventually("the payer is found", async || {
            (self.user(&name).await["balance"] == 520).then_some(())
        })
        .await;
    }

    async fn erase_a_user(&self, point: &'static str) {
        let name = unique("user_");
        let trace = format!("{name}@example.com");
        self.deliver(Source::Clerk, &created(&user(&name))).await;
        let paid = SamplePayment {
            email: Some(trace.clone()),
            ..payment(Some(&name))
        };
        self.deliver(Source::Razorpay, &captured(&paid)).await;
        let killed = self.kill_behind_commit(point).await;
        let path = format!("/v1/users/{name}");
        self.insist(&path, |url| self.client.request(Method::DELETE, url))
            .await;
        self.came(killed, point).await;
        eventually("the user is erased", async || {
            (self.user(&name).await["erased"] == true).then_some(())
        })
        .await;
        let sql = self.stage.sql().await;
        let left = columns_with(&sql, &trace).await;
        assert!(left.is_empty(), "{left:?}");
    }

    async fn let_credits_end(&self, point: &'static str) {
        let name = unique("user_");
        let ends = self.stage.now() + TimeDelta::days(1);
        let ends = ends.to_rfc3339_opts(SecondsFormat::Secs, true);
        let grant = json!({"amount": 50, "reason": "sorry", "expires_at": ends});
        let path = format!("/v1/users/{name}/grants");
        let key = unique("grant_");
        self.insist(&path, |url| {
            let request = self.client.post(url).header("Idempotency-Key", &key);
            request.json(&grant)
        })
        .await;
        self.all_is_done().await;
        let (came, killed) = unbounded_channel();
        arm(self.stage, point, &came);
        self.stage.pass(TimeDelta::days(2));
        self.came(killed, point).await;
        let sql = self.stage.sql().await;
        let ended =
            "select count(*) from events where aggregate_id = $1 and event_type = 'CreditsExpired'";
        eventually("the credits end", async || {
            let ended: i64 = sql.query_one(ended, &[&name]).await.unwrap().get(0);
            (ended == 1).then_some(())
        })
        .await;
    }

    /// Whoever comes first to the point once the next batch is committed is killed. What is asked for is a batch itself:
    /// only behind it is what follows.
    async fn kill_behind_commit(&self, point: &'static str) -> UnboundedReceiver<()> {
        self.all_is_done().await;
        let (came, killed) = unbounded_channel();
        for link in &self.stage.links {
            let (stage, came) = (Arc::downgrade(self.stage), came.clone());
            let committed = Point::Committed("append_batch");
            drop(link.arm(committed, Then::Pass, move || {
                if let Some(stage) = stage.upgrade() {
                    arm(&stage, point, &came);
                }
            }));
        }
        killed
    }

    /// Waits until the first of them came; nobody is killed after that.
    async fn came(&self, mut killed: UnboundedReceiver<()>, point: &str) {
        let came = tokio::time::timeout(RECOVERY, killed.recv()).await;
        assert!(matches!(came, Ok(Some(()))), "nobody came to {point}");
        disarm(self.stage);
    }

    /// Nothing follows any more from what was before.
    async fn all_is_done(&self) {
        let sql = self.stage.sql().await;
        eventually("the outbox is empty", async || {
            let left = "select not exists (select from outbox)";
            let done: bool = sql.query_one(left, &[]).await.unwrap().get(0);
            done.then_some(())
        })
        .await;
    }

    async fn deliver(
        &self,
        source: Source,
        delivery: &credit_ledger::provider::sign::SignedDelivery,
    ) {
        let path = format!("/webhooks/{source}");
        self.insist(&path, |url| signed(&self.client, url, delivery))
            .await;
    }

    async fn user(&self, name: &str) -> Value {
        let path = format!("/v1/users/{name}");
        self.insist(&path, |url| self.client.get(url)).await
    }

    /// Asks one after the other until one says yes.
    async fn insist(&self, path: &str, make: impl Fn(String) -> RequestBuilder) -> Value {
        let turn = Cell::new(0);
        eventually("somebody answers", async || {
            turn.set(turn.get() + 1);
            let address = self.stage.address(turn.get())?;
            let request = make(format!("http://{address}{path}"));
            let said = ask(request.bearer_auth(SERVICE_KEY)).await?;
            (said.0 == StatusCode::OK).then_some(said.1)
        })
        .await
    }
}

/// Whoever comes to the point next is killed, and nobody anywhere else.
fn arm(stage: &Stage, point: &'static str, came: &UnboundedSender<()>) {
    disarm(stage);
    for (link, instance) in stage.links.iter().zip(&stage.instances) {
        let (kill, came) = (instance.signaller(Signal::KILL), came.clone());
        drop(link.arm(Point::Asked(point), Then::Pass, move || {
            kill();
            let _ = came.send(());
        }));
    }
}

fn disarm(stage: &Stage) {
    for link in &stage.links {
        link.disarm();
    }
}
