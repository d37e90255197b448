//! A service is killed while it does what follows commits, or what waits for its time: another, or the same again, does it.

use std::cell::Cell;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::SamplePayment;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::link::{Point, Then};
use super::super::load::{ask, signed};
use super::super::stage::{Cluster, Setup, Stage};
use super::AT_ONCE;
use super::making::assert_read_models_are_right;
use crate::support::app::SERVICE_KEY;
use crate::support::deliveries::{captured, created, payment, unique, user};
use crate::support::eventually;
use crate::support::integrity::assert_database_is_whole;
use crate::support::search::columns_with;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_while_it_keeps_house_leaves_nothing_undone() {
    let _turn = AT_ONCE.acquire().await.unwrap();
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
    stage: &'a Stage,
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
        self.deliver_and_kill(point, Source::Clerk, &created(&buyer))
            .await;
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
        let killed = self.kill_at(point);
        let path = format!("/v1/users/{name}");
        self.insist(&path, |url| self.client.request(Method::DELETE, url))
            .await;
        came(killed, point).await;
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
        let killed = self.kill_at(point);
        self.stage.pass(TimeDelta::days(2));
        came(killed, point).await;
        let sql = self.stage.sql().await;
        let ended =
            "select count(*) from events where aggregate_id = $1 and event_type = 'CreditsExpired'";
        eventually("the credits end", async || {
            let ended: i64 = sql.query_one(ended, &[&name]).await.unwrap().get(0);
            (ended == 1).then_some(())
        })
        .await;
    }

    /// Whoever comes to the point first is killed.
    fn kill_at(&self, point: &'static str) -> Vec<tokio::sync::oneshot::Receiver<()>> {
        let services = self.stage.links.iter().zip(&self.stage.instances);
        services
            .map(|(link, instance)| {
                let kill = instance.signaller(Signal::KILL);
                link.arm(Point::Asked(point), Then::Pass, kill)
            })
            .collect()
    }

    async fn deliver_and_kill(
        &self,
        point: &'static str,
        source: Source,
        delivery: &credit_ledger::provider::sign::SignedDelivery,
    ) {
        let killed = self.kill_at(point);
        self.deliver(source, delivery).await;
        came(killed, point).await;
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

/// Waits until the first of them came.
async fn came(killed: Vec<tokio::sync::oneshot::Receiver<()>>, point: &str) {
    let first = futures_util::future::select_ok(killed);
    let came = tokio::time::timeout(Duration::from_secs(15), first).await;
    assert!(
        came.is_ok_and(|came| came.is_ok()),
        "nobody came to {point}"
    );
}
