//! Parked deliveries tried again.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::ledger::command::CapturePayment;
use credit_ledger::ledger::{
    Command, Currency, Money, PurchaseId, Source, SubscriptionKey, UserId,
};
use credit_ledger::provider::sample::{self, SamplePayment};
use credit_ledger::provider::sign::SignedDelivery;
use credit_ledger::store::{Delivered, Origin, Outcome, Retry, Unit, Work};
use credit_ledger::upkeep::{UpkeepError, retry};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{only_told, operator, restless, until};
use crate::support::deliveries::{
    captured, created, order_paid, payment, razorpay, some_time, unique, user,
};
use crate::support::integrity::assert_log_is_whole;
use crate::support::{Options, TestApp, eventually};

/// A delivery's row in the inbox.
#[derive(Debug, PartialEq)]
struct Row {
    outcome: String,
    reason: Option<String>,
    waits_for: Option<String>,
    attempts: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    led_to: usize,
}

async fn row(app: &TestApp, key: &str) -> Row {
    let sql = "select outcome, reason, waits_for, attempts, next_attempt_at, cardinality(positions) as led_to
                 from inbox where key = $1";
    let row = app.sql().await.query_one(sql, &[&key]).await.unwrap();
    Row {
        outcome: row.get("outcome"),
        reason: row.get("reason"),
        waits_for: row.get("waits_for"),
        attempts: row.get("attempts"),
        next_attempt_at: row.get("next_attempt_at"),
        led_to: usize::try_from(row.get::<_, i32>("led_to")).unwrap(),
    }
}

async fn until_attempts(app: &TestApp, key: &str, attempts: i32) -> Row {
    eventually("it is tried again", async || {
        let row = row(app, key).await;
        (row.attempts >= attempts).then_some(row)
    })
    .await
}

fn key_of(delivery: &SignedDelivery) -> String {
    hex::encode(Sha256::digest(&delivery.body))
}

/// Stores a good delivery of Razorpay as an earlier release might have: parked. Gives its key.
async fn park(app: &TestApp, delivery: &SignedDelivery, waits_for: Option<&str>) -> String {
    let key = key_of(delivery);
    let delivered = Delivered {
        source: Source::Razorpay,
        key: key.clone(),
        provider_event_id: unique("evt"),
        body_sha256: Sha256::digest(&delivery.body).into(),
        body: delivery.body.clone(),
        headers_json: "{}".to_owned(),
        secret: "00000000".to_owned(),
        received_at: app.now(),
    };
    let unit = Unit {
        origin: Origin::Delivery(Arc::new(delivered)),
        work: Work::Park {
            reason: "not understood".to_owned(),
            waits_for: waits_for.and_then(SubscriptionKey::parse),
        },
    };
    assert_eq!(app.app().ledger.execute(unit).await, Ok(Outcome::Parked));
    key
}

fn paid(user_id: &str) -> SamplePayment {
    payment(Some(user_id))
}

#[tokio::test]
async fn a_parked_delivery_is_tried_again_when_its_time_has_come_and_waits_longer_each_time() {
    let app = TestApp::start_with(restless()).await;
    let mut body = sample::razorpay_payment_captured(&paid("user_1"));
    body["payload"]["payment"]["entity"]["amount"] = Value::Null;
    let delivery = razorpay(&unique("evt"), body.to_string());
    app.deliver(Source::Razorpay, &delivery)
        .await
        .assert_ok(&json!({"status": "parked"}));
    let key = key_of(&delivery);
    let first = row(&app, &key).await;
    assert_eq!(first.attempts, 1);
    let exact =
        "select next_attempt_at - received_at = interval '1 minute' from inbox where key = $1";
    until(&app, exact, &[&key]).await;

    for (tried, wait_minutes) in (2..).zip([5, 30, 120, 360, 1440, 1440]) {
        let due = row(&app, &key).await.next_attempt_at.unwrap();
        app.move_clock(due - app.now());
        let row = until_attempts(&app, &key, tried).await;
        assert_eq!(row.attempts, tried, "it is not tried before its time");
        assert_eq!(row.outcome, "parked");
        assert_eq!(row.reason, first.reason);
        let wait = row.next_attempt_at.unwrap() - app.now();
        let expected = TimeDelta::minutes(wait_minutes);
        assert!(
            wait <= expected && wait > expected - TimeDelta::seconds(30),
            "after {tried} tries: {wait}"
        );
    }
    assert_eq!(app.count("select count(*) from events").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn a_parked_delivery_that_can_be_understood_now_is_recorded_once() {
    let app = TestApp::start_with(restless()).await;
    let paid = paid("user_1");
    let key = park(&app, &captured(&paid), None).await;
    app.move_clock(TimeDelta::minutes(2));
    let row = until_attempts(&app, &key, 2).await;
    let recorded = Row {
        outcome: "recorded".to_owned(),
        reason: None,
        waits_for: None,
        attempts: 2,
        next_attempt_at: None,
        led_to: 2,
    };
    assert_eq!(row, recorded);
    assert_eq!(app.balance("user_1").await, 500);
    // What the log says of its cause is what it would have said had it been understood at once.
    let expected = json!({"inbox": key, "evidence": stored_evidence(&app, &key).await}).to_string();
    let sql = "select count(*) from events where source = 'razorpay' and metadata::text = $1";
    let said = app.sql().await.query_one(sql, &[&expected]).await.unwrap();
    assert_eq!(said.get::<_, i64>(0), 2);
    // And the same fact under another event adds nothing.
    app.deliver(Source::Razorpay, &order_paid(&paid))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    assert_eq!(app.balance("user_1").await, 500);
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn what_became_known_meanwhile_makes_a_parked_delivery_a_duplicate() {
    let app = TestApp::start_with(restless()).await;
    let paid = paid("user_1");
    let key = park(&app, &captured(&paid), None).await;
    app.deliver(Source::Razorpay, &order_paid(&paid)).await;
    app.move_clock(TimeDelta::minutes(2));
    let row = until_attempts(&app, &key, 2).await;
    assert_eq!(
        (row.outcome.as_str(), row.next_attempt_at),
        ("duplicate", None)
    );
    assert_eq!(app.balance("user_1").await, 500);
    assert_log_is_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn what_the_database_refuses_waits_until_a_mended_program_tries_again() {
    // PostgreSQL can not hold the character in a text.
    let broken = Options {
        configure: Arc::new(|config| config.rules.signup.plan = "fr\0ee".to_owned()),
        ..restless()
    };
    let app = TestApp::start_with(broken).await;
    let delivery = created(&user("user_1"));
    app.deliver(Source::Clerk, &delivery)
        .await
        .assert_ok(&json!({"status": "parked"}));
    let key: String = app
        .sql()
        .await
        .query_one("select key from inbox", &[])
        .await
        .unwrap()
        .get(0);
    let answered = retry::again(&app.app(), Source::Clerk, &key, operator()).await;
    assert_eq!(answered.unwrap(), Outcome::Parked);
    let row_then = row(&app, &key).await;
    assert_eq!(row_then.attempts, 2);
    assert_eq!(row_then.reason.as_deref(), Some("database_refused 22P05"));
    let database = app.database.clone();
    app.stop().await;

    let app = TestApp::start_on(database, restless()).await;
    app.move_clock(TimeDelta::minutes(6));
    let row_now = until_attempts(&app, &key, 3).await;
    assert_eq!(row_now.outcome, "recorded");
    assert_eq!(app.balance("user_1").await, 20);
    assert_log_is_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn what_a_delivery_waits_for_makes_it_due_at_once() {
    let app = TestApp::start_with(only_told()).await;
    let waiting = park(&app, &captured(&paid("user_1")), Some("stripe:sub_1")).await;
    let other = park(&app, &captured(&paid("user_1")), Some("razorpay:sub_1")).await;
    // The same subscription id of another provider is another subscription.
    let capture = CapturePayment {
        purchase_id: PurchaseId::parse("stripe:in_1").unwrap(),
        user_id: Some(UserId::parse("user_1").unwrap()),
        claimant: None,
        money: Money::new(500, Currency::parse("USD").unwrap()).unwrap(),
        order_id: None,
        price: None,
        paid_at_s: some_time().timestamp(),
        payer: None,
        merges: None,
        refunded_total_minor: 0,
        subscription_id: Some("sub_1".to_owned()),
        subscriber: None,
    };
    let unit = Unit {
        origin: Origin::System,
        work: Work::Apply(Command::CapturePayment(Box::new(capture))),
    };
    assert_eq!(app.app().ledger.execute(unit).await, Ok(Outcome::Recorded));
    let row_of_waiting = until_attempts(&app, &waiting, 2).await;
    assert_eq!(row_of_waiting.outcome, "recorded");
    assert_eq!(row_of_waiting.waits_for, None);
    app.idle().await;
    let row_of_other = row(&app, &other).await;
    assert_eq!(
        (row_of_other.attempts, row_of_other.outcome.as_str()),
        (1, "parked")
    );
    assert_eq!(row_of_other.waits_for.as_deref(), Some("razorpay:sub_1"));
    app.stop().await;
}

#[tokio::test]
async fn what_appears_while_a_delivery_is_tried_is_not_forgotten() {
    let app = TestApp::start_with(only_told()).await;
    let subscription = SubscriptionKey::new(Source::Stripe, "sub_1");
    let waits_for = Some(subscription.as_str());
    let key = park(&app, &captured(&paid("user_1")), waits_for).await;
    let shared = app.app();
    let stored = shared.backlog.delivery(Source::Razorpay, &key).await;
    let stored = stored.unwrap().unwrap();
    let unit = |attempts, due_at| Unit {
        origin: Origin::Retry(Arc::new(Retry {
            source: Source::Razorpay,
            key: key.clone(),
            provider_event_id: stored.delivered.provider_event_id.clone(),
            attempts,
            due_at,
            evidence: stored.delivered.evidence(),
            operator: None,
        })),
        work: Work::Park {
            reason: "still nobody".to_owned(),
            waits_for: Some(subscription.clone()),
        },
    };
    // It appears after whoever tries the delivery has looked, and before that try is written down. Not due at once, so
    // that the service's own first look, which may come late, leaves it alone.
    let appeared_at = app.now() + TimeDelta::seconds(30);
    shared
        .backlog
        .wake(&subscription, appeared_at)
        .await
        .unwrap();
    let outcome = shared.ledger.execute(unit(1, stored.due_at)).await;
    assert_eq!(outcome, Ok(Outcome::Parked));
    let woken = row(&app, &key).await;
    assert_eq!(
        (woken.attempts, woken.reason.as_deref()),
        (2, Some("still nobody"))
    );
    let due_at = woken.next_attempt_at.unwrap();
    assert!(
        (due_at - appeared_at).abs() < TimeDelta::milliseconds(1),
        "{due_at}"
    );
    // Nothing appeared during the next try: it waits its time.
    shared.ledger.execute(unit(2, Some(due_at))).await.unwrap();
    let row = row(&app, &key).await;
    assert!(row.next_attempt_at.unwrap() - appeared_at > TimeDelta::minutes(29));
    drop(shared);
    app.stop().await;
}

#[tokio::test]
async fn instances_that_try_the_same_deliveries_at_once_have_one_effect() {
    const DELIVERIES: usize = 60;
    let one = TestApp::start_with(restless()).await;
    let two = TestApp::start_on(one.database.clone(), restless()).await;
    let mut keys = Vec::new();
    for n in 0..DELIVERIES {
        let delivery = if n % 3 == 0 {
            // Can not be understood by anybody.
            let mut body = sample::razorpay_payment_captured(&paid("user_1"));
            body["payload"]["payment"]["entity"]["amount"] = Value::Null;
            razorpay(&unique("evt"), body.to_string())
        } else {
            captured(&paid("user_1"))
        };
        keys.push(park(&one, &delivery, None).await);
    }
    one.move_clock(TimeDelta::minutes(2));
    two.move_clock(TimeDelta::minutes(2));
    for key in &keys {
        until_attempts(&one, key, 2).await;
    }
    // Both go on looking; who came second changed nothing.
    let tried_twice = "select count(*) from inbox where attempts = 2";
    assert_eq!(
        one.count(tried_twice).await,
        i64::try_from(DELIVERIES).unwrap()
    );
    assert_eq!(one.balance("user_1").await, 500 * 40);
    let waiting =
        "select count(*) from inbox where outcome = 'parked' and next_attempt_at is not null";
    assert_eq!(one.count(waiting).await, 20);
    assert_log_is_whole(&one).await;
    one.assert_audit_is_clean().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn many_who_try_one_delivery_in_the_same_moment_have_one_effect() {
    let one = TestApp::start_with(only_told()).await;
    let two = TestApp::start_on(one.database.clone(), only_told()).await;
    let key = park(&one, &captured(&paid("user_1")), None).await;
    let (left, right) = (one.app(), two.app());
    let tries = (0..20).map(|n| {
        let app = if n % 2 == 0 { &left } else { &right };
        retry::again(app, Source::Razorpay, &key, operator())
    });
    let outcomes = futures_util::future::join_all(tries).await;
    let recorded = outcomes
        .iter()
        .flatten()
        .filter(|one| **one == Outcome::Recorded);
    assert_eq!(recorded.count(), 1);
    let duplicate = outcomes
        .iter()
        .flatten()
        .filter(|one| **one == Outcome::Duplicate);
    assert_eq!(duplicate.count(), 19);
    let row = row(&one, &key).await;
    assert_eq!((row.outcome.as_str(), row.attempts), ("recorded", 2));
    assert_eq!(one.balance("user_1").await, 500);
    drop((left, right));
    assert_log_is_whole(&one).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_operator_retries_one_or_all_and_the_history_says_who() {
    let app = TestApp::start_with(only_told()).await;
    let shared = app.app();
    let key = park(&app, &captured(&paid("user_1")), None).await;
    let event_id: String = app
        .sql()
        .await
        .query_one("select provider_event_id from inbox", &[])
        .await
        .unwrap()
        .get(0);
    let again = async |id: &str| retry::again(&shared, Source::Razorpay, id, operator()).await;
    assert_eq!(again(&event_id).await.unwrap(), Outcome::Recorded);
    assert_eq!(again(&event_id).await.unwrap(), Outcome::Duplicate);
    assert_eq!(again(&key).await.unwrap(), Outcome::Duplicate);
    let unknown = again("evt_unknown").await;
    assert!(
        matches!(unknown, Err(UpkeepError::UnknownDelivery)),
        "{unknown:?}"
    );
    let sql = "select distinct source, metadata::text as metadata from events";
    let rows = app.sql().await.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, &str>("source"), "razorpay");
    let metadata: Value = serde_json::from_str(rows[0].get("metadata")).unwrap();
    let expected = json!({"inbox": key, "evidence": stored_evidence(&app, &key).await, "actor": "ops@example.com", "reason": "ticket 7"});
    assert_eq!(metadata, expected);

    for _ in 0..3 {
        park(&app, &captured(&paid("user_2")), None).await;
    }
    let known = captured(&paid("user_2"));
    app.deliver(Source::Razorpay, &known).await;
    let two_of_them = retry::all(&shared, 2, &operator()).await.unwrap();
    assert_eq!((two_of_them.recorded, two_of_them.failed), (2, 0));
    let the_rest = retry::all(&shared, 100, &operator()).await.unwrap();
    assert_eq!(the_rest.recorded, 1);
    assert_eq!(
        retry::all(&shared, 100, &operator()).await.unwrap(),
        retry::Tally::default()
    );
    assert_eq!(app.balance("user_2").await, 2000);
    drop(shared);
    assert_log_is_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn an_answer_of_an_api_and_what_has_no_provider_wait_on() {
    let without = Options {
        configure: Arc::new(|config| {
            config.upkeep_every = std::time::Duration::from_hours(1);
            config.razorpay_webhook_secrets.clear();
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(without).await;
    let key = park(&app, &captured(&paid("user_1")), None).await;
    let again = retry::again(&app.app(), Source::Razorpay, &key, operator()).await;
    assert_eq!(again.unwrap(), Outcome::Parked);
    let row_then = row(&app, &key).await;
    assert_eq!(
        (row_then.attempts, row_then.reason.as_deref()),
        (2, Some("not understood"))
    );
    let database = app.database.clone();
    app.stop().await;

    let app = TestApp::start_on(database, only_told()).await;
    let answer = "update inbox set secret = 'api'";
    app.sql().await.batch_execute(answer).await.unwrap();
    let again = retry::again(&app.app(), Source::Razorpay, &key, operator()).await;
    assert_eq!(again.unwrap(), Outcome::Parked);
    assert_eq!(row(&app, &key).await.attempts, 3);
    app.stop().await;
}

/// The digest of what proves a stored delivery genuine.
async fn stored_evidence(app: &TestApp, key: &str) -> String {
    let stored = app.app().backlog.delivery(Source::Razorpay, key).await;
    stored.unwrap().unwrap().delivered.evidence()
}
