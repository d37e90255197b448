//! Subscriptions that name nobody: their user is whoever paid for them, known before or after.

use std::sync::Arc;
use std::time::Duration;

use credit_ledger::config::Config;
use credit_ledger::ledger::Source;
use credit_ledger::provider::Catalog;
use credit_ledger::provider::sample::stripe::StripeSale;
use credit_ledger::upkeep::retry;
use futures_util::future::join;
use serde_json::json;
use tokio_postgres::Client;

use super::{only_told, operator, until, upkeep_every};
use crate::support::deliveries::{created, sale, told, user};
use crate::support::integrity::assert_log_is_whole;
use crate::support::{Options, TestApp};

const PLAN: &str = r#"
    { "sku": "pro_monthly", "credits": 1000, "prices": [{ "currency": "USD", "amount_minor": 2000 }],
      "plan": "pro", "stripe_price_ids": ["price_pro"] }"#;

fn selling_a_plan() -> Options {
    selling_it_and(only_told())
}

fn selling_it_and(options: Options) -> Options {
    Options {
        configure: Arc::new(move |config: &mut Config| {
            (options.configure)(config);
            let pack = serde_json::from_str(PLAN).unwrap();
            config.rules.catalog = Catalog::new(vec![pack]).unwrap();
        }),
        ..Options::default()
    }
}

/// A subscription whose own metadata names nobody.
fn subscription() -> StripeSale {
    StripeSale {
        amount_minor: 2000,
        sku: None,
        price_id: Some("price_pro".to_owned()),
        ..sale(None)
    }
}

fn paid_for_by(subscription: &StripeSale, user_id: &str) -> StripeSale {
    StripeSale {
        user_id: Some(user_id.to_owned()),
        ..subscription.clone()
    }
}

async fn until_plan(app: &TestApp, user_id: &str, plan: &str) {
    let condition = "select exists (select from users where user_id = $1 and plan = $2)";
    until(app, condition, &[&user_id, &plan]).await;
}

#[tokio::test]
async fn a_subscription_that_comes_before_its_payment_waits_for_whoever_pays() {
    let app = TestApp::start_with(selling_a_plan()).await;
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    let (one, other) = (subscription(), subscription());
    for sale in [&one, &other] {
        app.deliver(Source::Stripe, &told("customer.subscription.created", sale))
            .await
            .assert_ok(&json!({"status": "parked"}));
    }
    app.idle().await;
    until_plan(&app, "user_1", "free").await;
    let paid = paid_for_by(&one, "user_1");
    app.deliver(Source::Stripe, &told("invoice.paid", &paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    until_plan(&app, "user_1", "pro").await;
    app.idle().await;
    let rows = "select outcome, attempts, reason, waits_for from inbox
                 where convert_from(body, 'UTF8') like '%customer.subscription.created%' order by outcome";
    let rows = app.sql().await.query(rows, &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].get(0), rows[0].get(1)), ("parked", 1));
    let subject = format!("stripe:{}", other.subscription_id());
    assert_eq!(rows[0].get::<_, String>(2), format!("no_user: {subject}"));
    assert_eq!(rows[0].get::<_, String>(3), subject);
    assert_eq!((rows[1].get(0), rows[1].get(1)), ("recorded", 2));
    app.assert_audit_is_clean().await;
    assert_log_is_whole(&app).await;
    app.stop().await;
}

/// A period was paid that names nobody; upkeep looks often.
async fn unnamed_period() -> (TestApp, StripeSale) {
    let often = upkeep_every(Duration::from_millis(100));
    let app = TestApp::start_with(selling_it_and(often)).await;
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    let subscription = subscription();
    app.deliver(Source::Stripe, &told("invoice.paid", &subscription))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.idle().await;
    (app, subscription)
}

/// As if somebody else had found out, and had nothing to wake yet.
async fn claim_silently(sql: &Client) {
    let claim = "update purchases set user_id = 'user_1' where subscription_id is not null";
    assert_eq!(sql.execute(claim, &[]).await.unwrap(), 1);
}

/// Lets work begin, and somebody else find out who pays when it has looked and its batch waits for the inbox.
async fn claim_while<T>(app: &TestApp, work: impl Future<Output = T>) -> T {
    let (mut holder, other) = (app.sql().await, app.sql().await);
    let held = holder.transaction().await.unwrap();
    let lock = "lock table inbox in exclusive mode";
    held.batch_execute(lock).await.unwrap();
    let claimed = async {
        // To insert, or to lock what is tried again.
        let waits =
            "select exists (select from pg_locks where relation = 'inbox'::regclass and not granted
                                       and mode in ('RowExclusiveLock', 'RowShareLock'))";
        until(app, waits, &[]).await;
        claim_silently(&other).await;
        held.rollback().await.unwrap();
    };
    join(work, claimed).await.0
}

/// Who pays becomes known after the delivery has looked and before it is stored: then there was nothing to wake.
#[tokio::test]
async fn whoever_pays_while_a_subscription_is_being_stored_is_not_missed() {
    let (app, subscription) = unnamed_period().await;
    let told = told("customer.subscription.created", &subscription);
    let answer = claim_while(&app, app.deliver(Source::Stripe, &told)).await;
    answer.assert_ok(&json!({"status": "parked"}));
    until_plan(&app, "user_1", "pro").await;
    app.stop().await;
}

/// The same when it is tried again.
#[tokio::test]
async fn whoever_pays_while_a_subscription_is_tried_again_is_not_missed() {
    let (app, subscription) = unnamed_period().await;
    let told = told("customer.subscription.created", &subscription);
    let answer = app.deliver(Source::Stripe, &told).await;
    answer.assert_ok(&json!({"status": "parked"}));
    let shared = app.app();
    let operator = operator();
    let retried = Box::pin(retry::all(&shared, 1, &operator));
    let tally = claim_while(&app, retried).await;
    assert_eq!(tally.unwrap().parked, 1);
    drop(shared);
    until_plan(&app, "user_1", "pro").await;
    app.stop().await;
}

/// Whoever stored it was killed before it looked again; the provider, who had no answer, sends it again.
#[tokio::test]
async fn a_subscription_that_is_sent_again_looks_again() {
    let (app, subscription) = unnamed_period().await;
    let told = told("customer.subscription.created", &subscription);
    let answer = app.deliver(Source::Stripe, &told).await;
    answer.assert_ok(&json!({"status": "parked"}));
    claim_silently(&app.sql().await).await;
    let answer = app.deliver(Source::Stripe, &told).await;
    answer.assert_ok(&json!({"status": "duplicate"}));
    until_plan(&app, "user_1", "pro").await;
    app.stop().await;
}

#[tokio::test]
async fn a_subscription_that_was_paid_for_is_its_payers_at_once() {
    let app = TestApp::start_with(selling_a_plan()).await;
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    let subscription = subscription();
    let paid = paid_for_by(&subscription, "user_1");
    app.deliver(Source::Stripe, &told("invoice.paid", &paid))
        .await;
    app.deliver(
        Source::Stripe,
        &told("customer.subscription.created", &subscription),
    )
    .await
    .assert_ok(&json!({"status": "recorded"}));
    until_plan(&app, "user_1", "pro").await;
    assert_eq!(app.balance("user_1").await, 1020);
    app.stop().await;
}

/// Three steps that each wait for the one before: the address is proven, so the payment finds its user, so the
/// subscription does.
#[tokio::test]
async fn a_subscription_waits_for_a_payment_that_waits_for_its_user() {
    let app = TestApp::start_with(selling_a_plan()).await;
    let subscription = StripeSale {
        email: user("user_1").email,
        ..subscription()
    };
    app.deliver(
        Source::Stripe,
        &told("customer.subscription.created", &subscription),
    )
    .await
    .assert_ok(&json!({"status": "parked"}));
    app.deliver(Source::Stripe, &told("invoice.paid", &subscription))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.idle().await;
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    until_plan(&app, "user_1", "pro").await;
    assert_eq!(app.balance("user_1").await, 1020);
    app.idle().await;
    assert_eq!(
        app.count("select count(*) from inbox where outcome = 'parked'")
            .await,
        0
    );
    app.assert_audit_is_clean().await;
    assert_log_is_whole(&app).await;
    app.stop().await;
}
