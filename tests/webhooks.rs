//! Deliveries over HTTP: what each leads to, what is kept of it, and what is refused without a trace.

mod bodies;
mod payloads;
mod payments;
mod refunds;
mod refused;
mod users;

use credit_ledger::ledger::Source;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::TestApp;
use crate::support::app::Answer;
use crate::support::deliveries::{captured, created, payment, user};

#[tokio::test]
async fn a_sign_up_and_a_payment_become_credits() {
    let app = TestApp::start().await;
    let sign_up = created(&user("user_1"));
    app.deliver(Source::Clerk, &sign_up)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let again = app.deliver(Source::Clerk, &sign_up).await;
    again.assert_ok(&json!({"status": "duplicate", "idempotent": true}));
    assert_eq!(again.headers["idempotency-hit"], "true");
    let paid = captured(&payment(Some("user_1")));
    app.deliver(Source::Razorpay, &paid)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(app.balance("user_1").await, 520);
    assert_eq!(
        app.events("user", "user_1").await,
        ["UserRegistered", "SignupBonusGranted", "CreditsPurchased"]
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn many_deliveries_at_once_are_each_recorded() {
    let app = TestApp::start().await;
    let deliveries: Vec<_> = (0..50)
        .map(|n| captured(&payment(Some(&format!("user_{}", n % 5)))))
        .collect();
    let answers = futures_util::future::join_all(
        deliveries
            .iter()
            .map(|one| app.deliver(Source::Razorpay, one)),
    )
    .await;
    for answer in answers {
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    // The answer comes after the commit, so nothing has to be waited for.
    assert_eq!(app.count(ALL_CREDITS).await, 25_000);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// A row of the inbox.
#[derive(Debug, PartialEq)]
struct Kept {
    provider_event_id: String,
    body: Vec<u8>,
    /// As a JSON object.
    headers: String,
    secret: String,
    outcome: String,
    reason: Option<String>,
    deliveries: i32,
    /// The types of the events at the positions that it led to.
    led_to: Vec<String>,
}

async fn kept(app: &TestApp, source: Source, key: &str) -> Option<Kept> {
    let sql = "select provider_event_id, body, secret, outcome, reason, deliveries, cardinality(positions),
                      array(select e.event_type || ' ' || coalesce(e.provider_event_id, '')
                              from unnest(i.shards, i.positions) with ordinality as at(shard, position, nth)
                              join events e on e.shard = at.shard and e.position = at.position
                             order by nth),
                      body_sha256 = sha256(body), headers::text
                 from inbox i where source = $1 and key = $2";
    let row = app
        .sql()
        .await
        .query_opt(sql, &[&source.as_str(), &key])
        .await
        .unwrap()?;
    assert!(row.get::<_, bool>(8), "the digest is not the body's");
    let provider_event_id: String = row.get(0);
    let events: Vec<String> = row.get(7);
    assert_eq!(
        row.get::<_, i32>(6),
        i32::try_from(events.len()).unwrap(),
        "a position without its event"
    );
    let led_to = events.iter().map(|event| {
        let (event_type, caused_by) = event.split_once(' ').unwrap();
        assert_eq!(caused_by, provider_event_id);
        event_type.to_owned()
    });
    Some(Kept {
        led_to: led_to.collect(),
        provider_event_id,
        body: row.get(1),
        headers: row.get(9),
        secret: row.get(2),
        outcome: row.get(3),
        reason: row.get(4),
        deliveries: row.get(5),
    })
}

const ALL_CREDITS: &str = "select coalesce(sum(balance), 0)::bigint from balance";
const ALL_EVENTS: &str = "select count(*) from events";
const ALL_DELIVERIES: &str = "select count(*) from inbox";

/// The whole answer, to the letter of the contract.
#[track_caller]
fn assert_status(answer: &Answer, status: &str, event_id: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut expected = json!({"status": status, "event_id": event_id});
    if status == "duplicate" {
        expected["idempotent"] = json!(true);
    }
    assert_eq!(answer.body, expected);
    let hit = answer
        .headers
        .get("idempotency-hit")
        .map(|value| value.to_str().unwrap());
    assert_eq!(hit, (status == "duplicate").then_some("true"));
}

async fn assert_nothing_is_stored(app: &TestApp) {
    let sql = "select (select count(*) from inbox) + (select count(*) from events)
                    + (select count(*) from streams) + (select count(*) from personal)";
    assert_eq!(app.count(sql).await, 0);
}

/// What the inbox knows a delivery of Razorpay by: its event id is not signed, its body is.
fn razorpay_key(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}
