//! The operators' sweep: each kind is found, a dry run changes nothing, a run repairs what can be repaired and says who and
//! why, and a second one has nothing left to do.

mod command;
mod kinds;

use std::sync::Arc;
use std::time::Duration;

use credit_ledger::config::Config;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{SamplePayment, SampleUser};
use credit_ledger::provider::{Catalog, sign::SignedDelivery};
use credit_ledger::store::{Delivered, Origin, Outcome, Unit, Work};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::app::Answer;
use crate::support::deliveries::{
    captured, created, deleted, payment, razorpay, unique, updated, user,
};
use crate::support::{Options, TestApp};

/// Settings under which nothing is retried or matched by a timer.
fn options(configure: impl Fn(&mut Config) + Send + Sync + 'static) -> Options {
    Options {
        configure: Arc::new(move |config| {
            config.upkeep_every = Duration::from_hours(1);
            configure(config);
        }),
        ..Options::default()
    }
}

/// Before the operator mended anything: no bonus for sign-ups, nothing to sell.
fn broken() -> Options {
    options(|config| {
        config.rules.signup.bonus_credits = credit_ledger::ledger::Credits::ZERO;
        config.rules.catalog = Catalog::default();
    })
}

/// The catalog is there, with a second pack at the price of the first, so that an amount alone buys nothing.
fn ambiguous() -> Options {
    options(|config| {
        let mut packs = config.rules.catalog.packs().to_vec();
        let mut twin = packs[0].clone();
        "credits_500_twin".clone_into(&mut twin.sku);
        packs.push(twin);
        config.rules.catalog = Catalog::new(packs).unwrap();
    })
}

/// The service with the settings as they should be, on what the broken one left.
async fn mended(app: TestApp) -> TestApp {
    app.idle().await;
    let database = app.database.clone();
    app.stop().await;
    TestApp::start_on(database, options(|_| {})).await
}

async fn deliver(app: &TestApp, source: Source, delivery: &SignedDelivery) {
    app.deliver(source, delivery)
        .await
        .assert_ok(&json!({"status": "recorded"}));
}

async fn pay(app: &TestApp, paid: &SamplePayment) -> String {
    deliver(app, Source::Razorpay, &captured(paid)).await;
    format!("razorpay:{}", paid.payment_id)
}

fn owner(user_id: &str, email: &str) -> SampleUser {
    SampleUser {
        email: Some(email.to_owned()),
        ..user(user_id)
    }
}

/// A purchase that is nobody's although its payer is known by now: two users had proven to own the address, one of them
/// is gone, and nobody looked again, as in an earlier release. Its id.
async fn unclaimed(app: &TestApp, user_id: &str) -> String {
    let (email, gone) = (format!("{user_id}@shared.example"), unique("user_"));
    for one in [user_id, &gone] {
        deliver(app, Source::Clerk, &created(&owner(one, &email))).await;
    }
    let paid = SamplePayment {
        email: Some(email),
        ..payment(None)
    };
    let id = pay(app, &paid).await;
    deliver_unseen(app, Source::Clerk, &deleted(&gone)).await;
    id
}

/// Delivers while nobody looks at what follows.
async fn deliver_unseen(app: &TestApp, source: Source, delivery: &SignedDelivery) {
    app.idle().await;
    let sql = app.sql().await;
    let blind = "revoke select on outbox from credit_ledger_app";
    sql.batch_execute(blind).await.unwrap();
    deliver(app, source, delivery).await;
    let forget = "delete from outbox; grant select on outbox to credit_ledger_app";
    sql.batch_execute(forget).await.unwrap();
}

/// A good delivery that an earlier release could not read: its inbox key.
async fn parked(app: &TestApp, user_id: &str) -> String {
    park(app, &captured(&payment(Some(user_id)))).await
}

async fn park(app: &TestApp, delivery: &SignedDelivery) -> String {
    let body_sha256: [u8; 32] = Sha256::digest(&delivery.body).into();
    let key = hex::encode(body_sha256);
    let delivered = Delivered {
        source: Source::Razorpay,
        key: key.clone(),
        provider_event_id: unique("evt"),
        body: delivery.body.clone(),
        body_sha256,
        headers_json: "{}".to_owned(),
        secret: "00000000".to_owned(),
        received_at: app.now(),
    };
    let unit = Unit {
        origin: Origin::Delivery(Arc::new(delivered)),
        work: Work::Park {
            reason: "not understood".to_owned(),
            waits_for: None,
        },
    };
    assert_eq!(app.app().ledger.execute(unit).await, Ok(Outcome::Parked));
    key
}

/// A delivery that nothing can be made of: its event id.
async fn hopeless(app: &TestApp) -> String {
    let event_id = unique("evt");
    // Razorpay's deliveries are told apart by their bytes.
    let body =
        json!({"id": event_id, "entity": "event", "event": "payment.captured", "payload": {}});
    app.deliver(Source::Razorpay, &razorpay(&event_id, body.to_string()))
        .await
        .assert_ok(&json!({"status": "parked"}));
    event_id
}

async fn recover(app: &TestApp, query: &str, body: &Value) -> Answer {
    app.post_as_operator(&format!("/v1/admin/recover{query}"), body)
        .await
}

async fn dry_run(app: &TestApp) -> Answer {
    recover(app, "?dry_run=true", &json!({})).await
}

async fn repair(app: &TestApp) -> Answer {
    recover(app, "", &json!({"reason": "ticket 12"})).await
}

fn found(parked: u32, no_bonus: u32, unpriced: u32, unclaimed: u32) -> Value {
    json!({"parked": parked, "no_bonus": no_bonus, "unpriced": unpriced, "unclaimed": unclaimed})
}

/// What a report says of each thing: kind, id, action, result.
fn actions(report: &Answer) -> Vec<[String; 4]> {
    assert_eq!(report.status, 200, "{report:?}");
    let actions = report.body["actions"].as_array().unwrap();
    actions
        .iter()
        .map(|action| {
            ["kind", "id", "action", "result"].map(|name| action[name].as_str().unwrap().to_owned())
        })
        .collect()
}

fn texts(lines: &[[&str; 4]]) -> Vec<[String; 4]> {
    lines.iter().map(|line| line.map(str::to_owned)).collect()
}

/// Every row of every table, byte for byte, as one digest per table.
async fn tables(app: &TestApp) -> Vec<(String, String)> {
    let sql = app.sql().await;
    let names = "select relname::text from pg_class
                  where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname";
    let mut digests = Vec::new();
    for row in sql.query(names, &[]).await.unwrap() {
        let name: String = row.get(0);
        let digest = format!(
            "select coalesce(md5(string_agg(t::text, ';' order by t::text)), '') from public.\"{name}\" t"
        );
        let digest = sql.query_one(&digest, &[]).await.unwrap().get(0);
        digests.push((name, digest));
    }
    digests
}

/// The events that an operator caused: type, source, actor, reason.
async fn operators_events(app: &TestApp) -> Vec<[String; 4]> {
    let sql = "select event_type, source, metadata->>'actor', metadata->>'reason' from events
                where metadata->>'actor' is not null order by event_type, source";
    let rows = app.sql().await.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| [0, 1, 2, 3].map(|column| row.get(column)))
        .collect()
}

/// A user whose `user.created` never arrived.
async fn known_by_an_update(app: &TestApp, user_id: &str) {
    deliver(app, Source::Clerk, &updated(&user(user_id))).await;
}
