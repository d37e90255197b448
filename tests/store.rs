//! The store by itself: what units come to, alone and side by side, how often a batch waits for PostgreSQL, and how
//! lanes of several instances take turns.

mod panics;
mod preparing;
mod round_trips;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use credit_ledger::app::system_clock;
use credit_ledger::ledger::command::RegisterUser;
use credit_ledger::ledger::event::ProfileVersion;
use credit_ledger::ledger::{Command, Credits, Personal, Profile, Salt, Source, UserId};
use credit_ledger::postgres::{ConnectOptions, Database};
use credit_ledger::store::{
    Answer, Delivered, Ledger, LedgerSettings, Origin, Outcome, Request, StoreError, Unit, Work,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use crate::support::deliveries::{captured, order_paid, payment, unique};
use crate::support::{TestApp, cluster};

fn delivered(key: &str) -> Origin {
    let body = format!("{{\"key\":\"{key}\"}}").into_bytes();
    Origin::Delivery(Arc::new(Delivered {
        source: Source::Clerk,
        key: key.to_owned(),
        provider_event_id: key.to_owned(),
        body_sha256: Sha256::digest(&body).into(),
        body,
        headers_json: "{}".to_owned(),
        secret: "00000000".to_owned(),
        received_at: crate::support::deliveries::some_time(),
    }))
}

fn register(key: &str, user_id: &str, plan: &str) -> Unit {
    let profile_version = ProfileVersion {
        updated_at_ms: 1,
        event_id: key.to_owned(),
    };
    Unit {
        origin: delivered(key),
        work: Work::Apply(Command::RegisterUser(RegisterUser {
            user_id: UserId::parse(user_id).unwrap(),
            profile: Personal::new(&Profile::default(), Salt([1; 16])),
            profile_version,
            plan: plan.to_owned(),
            bonus: Credits::new(20).unwrap(),
        })),
    }
}

async fn one_lane(database: &Database) -> (Ledger, Vec<JoinHandle<()>>) {
    let settings = LedgerSettings {
        lanes: 1,
        queue: 100,
        ..LedgerSettings::default()
    };
    let started = Ledger::start(database, settings, system_clock()).await;
    started.unwrap()
}

/// The lanes finish what they have and end.
async fn end(ledger: Ledger, lanes: Vec<JoinHandle<()>>) {
    drop(ledger);
    for lane in lanes {
        lane.await.unwrap();
    }
}

#[tokio::test]
async fn a_unit_that_can_not_be_stored_harms_no_other_and_is_kept() {
    let database = cluster::fresh_database().await;
    // So that all of them share a batch.
    let (ledger, lanes) = one_lane(&database).await;
    let mut units = vec![];
    for n in 0..20 {
        // PostgreSQL can not hold the character in a text.
        let plan = if n == 7 { "fr\0ee" } else { "free" };
        units.push(register(&format!("msg_{n}"), &format!("user_{n}"), plan));
    }
    let outcomes =
        futures_util::future::join_all(units.into_iter().map(|unit| ledger.execute(unit))).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = if n == 7 {
            Outcome::Parked
        } else {
            Outcome::Recorded
        };
        assert_eq!(outcome, Ok(expected), "unit {n}");
    }
    end(ledger, lanes).await;
    let client = database
        .connect_as_login(&credit_ledger::postgres::ConnectOptions::default())
        .await
        .unwrap();
    let row = client
        .query_one(
            "select outcome, reason, body from inbox where key = 'msg_7'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>("outcome"), "parked");
    assert_eq!(row.get::<_, &str>("reason"), "database_refused 22P05");
    assert_eq!(row.get::<_, &[u8]>("body"), b"{\"key\":\"msg_7\"}");
    let count: i64 = client
        .query_one("select count(*) from streams", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 19);
}

#[tokio::test]
async fn equal_units_in_one_batch_have_one_effect() {
    let database = cluster::fresh_database().await;
    let (ledger, _lanes) = one_lane(&database).await;
    let units = (0..50).map(|_| ledger.execute(register("msg_1", "user_1", "free")));
    let outcomes = futures_util::future::join_all(units).await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|one| **one == Ok(Outcome::Recorded))
            .count(),
        1
    );
    assert_eq!(
        outcomes
            .iter()
            .filter(|one| **one == Ok(Outcome::Duplicate))
            .count(),
        49
    );
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let database = cluster::fresh_database().await;
    let settings = LedgerSettings {
        lanes: 1,
        queue: 1,
        ..LedgerSettings::default()
    };
    let (ledger, _lanes) = Ledger::start(&database, settings, system_clock())
        .await
        .unwrap();
    // All are handed in before the lane runs once: this test has one thread.
    let units = (0..300).map(|n| ledger.execute(register(&format!("msg_{n}"), "user_1", "free")));
    let outcomes = futures_util::future::join_all(units).await;
    let refused = outcomes
        .iter()
        .filter(|one| matches!(one, Err(error) if error.to_string().contains("too much")))
        .count();
    let stored = outcomes.iter().filter(|one| one.is_ok()).count();
    assert_eq!(refused + stored, 300);
    assert!(
        refused > 0 && stored > 0,
        "{refused} refused, {stored} stored"
    );
}

#[tokio::test]
async fn a_purchase_that_finds_its_user_later_is_one_unit_over_two_shards() {
    let app = TestApp::start().await;
    let mut across_shards = 0;
    for n in 0..12 {
        let user_id = format!("user_{n}");
        let mut paid = payment(None);
        app.deliver(Source::Razorpay, &captured(&paid))
            .await
            .assert_ok(&json!({"status": "recorded"}));
        paid.user_id = Some(user_id.clone());
        app.deliver(Source::Razorpay, &order_paid(&paid))
            .await
            .assert_ok(&json!({"status": "recorded"}));
        assert_eq!(app.balance(&user_id).await, 500);
        let id = format!("razorpay:{}", paid.payment_id);
        assert_eq!(
            app.events("purchase", &id).await,
            ["PaymentCaptured", "PurchaseClaimed"]
        );
        let sql = format!(
            "select count(distinct shard) from events where aggregate_id in ('{id}', '{user_id}')"
        );
        across_shards += app.count(&sql).await - 1;
    }
    assert!(
        across_shards > 3,
        "some of them live in two shards: {across_shards}"
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn recorded_time_never_runs_backwards_in_a_shard() {
    let app = TestApp::start().await;
    for hours in [0, 3, -5, 1, -1] {
        app.move_clock(TimeDelta::hours(hours));
        for _ in 0..5 {
            app.deliver(
                Source::Razorpay,
                &captured(&payment(Some(&unique("user_")))),
            )
            .await;
        }
    }
    let sql = "select count(*) from (
                 select recorded_at < lag(recorded_at) over (partition by shard order by position) as backwards
                   from events) as steps
                where backwards";
    assert_eq!(app.count(sql).await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// A request that registers a user, with a digest of its own.
fn request(key: &str, digest: u8, user_id: &str) -> Unit {
    let mut unit = register("same profile", user_id, "free");
    unit.origin = Origin::Request(Arc::new(Request {
        principal: "service".to_owned(),
        idempotency_key: Some(key.to_owned()),
        digest: [digest; 32],
        fields: BTreeMap::from([
            ("same".to_owned(), "0".to_owned()),
            ("other".to_owned(), digest.to_string()),
        ]),
        answer: Box::new(|came| match came {
            Ok(came) => {
                let types = came.events.iter().map(|one| one.event.type_name());
                let body = json!({ "events": types.collect::<Vec<_>>() }).to_string();
                Answer { status: 200, body }
            }
            Err(error) => Answer {
                status: 409,
                body: json!({ "error": error.to_string() }).to_string(),
            },
        }),
    }));
    unit
}

fn reused() -> Outcome {
    let fields = vec!["other".to_owned()];
    Outcome::KeyReused { fields }
}

#[tokio::test]
async fn a_request_gets_its_first_answer_again() {
    let database = cluster::fresh_database().await;
    let (ledger, _lanes) = Ledger::start(&database, LedgerSettings::default(), system_clock())
        .await
        .unwrap();
    let answered = |events: &str, hit: bool| {
        let body = format!("{{\"events\":{events}}}");
        Ok(Outcome::Answered {
            answer: Answer { status: 200, body },
            hit,
        })
    };
    let both = r#"["UserRegistered","SignupBonusGranted"]"#;
    assert_eq!(
        ledger.execute(request("k1", 1, "user_1")).await,
        answered(both, false)
    );
    assert_eq!(
        ledger.execute(request("k1", 1, "user_1")).await,
        answered(both, true)
    );
    assert_eq!(
        ledger.execute(request("k1", 2, "user_1")).await,
        Ok(reused())
    );
    // Another key is another request; it adds nothing, and that is its answer.
    assert_eq!(
        ledger.execute(request("k2", 1, "user_1")).await,
        answered("[]", false)
    );
    assert_eq!(
        ledger.execute(request("k2", 1, "user_1")).await,
        answered("[]", true)
    );
}

#[tokio::test]
async fn twins_of_a_request_over_instances_get_one_answer() {
    let database = cluster::fresh_database().await;
    let settings = LedgerSettings::default();
    let (one, _lanes_of_one) = Ledger::start(&database, settings, system_clock())
        .await
        .unwrap();
    let (two, _lanes_of_two) = Ledger::start(&database, settings, system_clock())
        .await
        .unwrap();
    let twins =
        (0..40).map(|n| if n % 2 == 0 { &one } else { &two }.execute(request("k1", 1, "user_1")));
    let mut firsts = 0;
    for outcome in futures_util::future::join_all(twins).await {
        match outcome.unwrap() {
            Outcome::Answered { answer, hit } => {
                assert!(answer.body.contains("SignupBonusGranted"), "{answer:?}");
                firsts += usize::from(!hit);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(firsts, 1);
    // The same key under two requests that touch different users, side by side: one of them is told.
    let (left, right) = tokio::join!(
        one.execute(request("k2", 1, "user_2")),
        two.execute(request("k2", 2, "user_3"))
    );
    let reused = [&left, &right]
        .into_iter()
        .filter(|one| **one == Ok(reused()))
        .count();
    assert_eq!(reused, 1, "{left:?} {right:?}");
}

#[tokio::test]
async fn without_the_right_to_make_types_of_its_own_it_does_not_start() {
    let database = cluster::fresh_database().await;
    let login = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let revoke = format!(
        "revoke temporary on database {} from public",
        database.name()
    );
    login.batch_execute(&revoke).await.unwrap();
    let refused = Ledger::start(&database, LedgerSettings::default(), system_clock()).await;
    let Err(StoreError::Failed(reason)) = refused else {
        panic!("it started");
    };
    assert!(reason.contains("TEMPORARY"), "{reason}");
}
