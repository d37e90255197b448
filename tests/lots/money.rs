//! Refunds and disputes against lots.

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{self, SampleDispute, SamplePayment, SampleRefund};
use serde_json::{Value, json};

use super::{
    assert_whole, grant, grant_until, hold, last_entry, lots, number, release, remaining, slices,
    still,
};
use crate::support::TestApp;
use crate::support::deliveries::{captured, payment, razorpay, unique};

const USER: &str = "user_1";

pub async fn deliver(app: &TestApp, body: &Value) {
    app.deliver(
        Source::Razorpay,
        &razorpay(&unique("evt"), body.to_string()),
    )
    .await
    .assert_ok(&json!({"status": "recorded"}));
}

/// Pays for the pack of 500 credits.
pub async fn pay(app: &TestApp) -> SamplePayment {
    let mut paid = payment(Some(USER));
    paid.created_at = app.now();
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    paid
}

/// So much goes back, on top of what went back before.
pub async fn refund(app: &TestApp, paid: &SamplePayment, amount_minor: i64, before_minor: i64) {
    let refund = SampleRefund {
        refund_id: unique("rfnd_"),
        amount_minor,
        refunded_total_minor: before_minor + amount_minor,
    };
    let body = sample::razorpay_refund("refund.created", paid, &refund);
    deliver(app, &body).await;
}

#[tokio::test]
async fn a_refund_takes_the_lot_of_its_purchase_first() {
    let (app, now) = still().await;
    let first = pay(&app).await; // lot 1
    let second = pay(&app).await; // lot 2
    grant_until(&app, USER, 10, now + TimeDelta::days(1)).await;
    app.spend(USER, 110).await.assert_ok(&json!({"spent": 110}));
    assert_eq!(remaining(&app, USER).await, [(1, 400), (2, 500)]);

    // Half of the second: though the first burns before it.
    refund(&app, &second, 24_950, 0).await;
    let entry = last_entry(&app, USER).await;
    assert_eq!(
        entry["purchase_id"],
        json!(format!("razorpay:{}", second.payment_id))
    );
    assert_eq!(slices(&entry), [(2, 250)]);
    assert_eq!(remaining(&app, USER).await, [(1, 400), (2, 250)]);

    // All of the first: what it lacks comes of the others.
    refund(&app, &first, 49_900, 0).await;
    assert_eq!(slices(&last_entry(&app, USER).await), [(1, 400), (2, 100)]);
    assert_eq!(app.account(USER).await, [150, 0, 150, 0]);
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn what_no_lot_has_is_owed_and_repaid_first() {
    let (app, now) = still().await;
    let paid = pay(&app).await;
    let held = hold(&app, USER, 100, 60).await;
    app.spend(USER, 300).await.assert_ok(&json!({"spent": 300}));
    refund(&app, &paid, 49_900, 0).await;
    assert_eq!(app.account(USER).await, [100, 100, 0, 400]);
    assert_eq!(remaining(&app, USER).await, []);

    grant_until(&app, USER, 150, now + TimeDelta::days(1)).await;
    assert_eq!(app.account(USER).await, [100, 100, 0, 250]);
    release(&app, &held)
        .await
        .assert_ok(&json!({"released": 100, "available": 0}));
    assert_eq!(app.account(USER).await, [0, 0, 0, 150]);
    app.spend(USER, 1)
        .await
        .assert_problem(402, "insufficient_credits");

    grant_until(&app, USER, 170, now + TimeDelta::days(1)).await;
    assert_eq!(app.account(USER).await, [20, 0, 20, 0]);
    let lots = lots(&app, USER).await;
    let [lot] = lots.as_slice() else {
        panic!("{lots:?}");
    };
    assert_eq!((number(lot, "amount"), number(lot, "remaining")), (170, 20));
    assert_whole(&app).await;
    app.stop().await;
}

/// What ended unspent in the purchase's own lot counts as taken back.
#[tokio::test]
async fn a_refund_of_credits_that_ended_takes_no_others() {
    let (app, now) = still().await;
    let mut paid = payment(Some(USER));
    paid.sku = Some("credits_100".to_owned());
    paid.amount_minor = 9_900;
    paid.created_at = now;
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    grant(&app, USER, 50, &json!({})).await;
    app.spend(USER, 40).await.assert_ok(&json!({"spent": 40}));
    app.stop_clock(now + TimeDelta::days(365));
    assert_eq!(app.account(USER).await, [50, 0, 50, 0]);
    refund(&app, &paid, 9_900, 0).await;
    // 60 ended; the 40 that were used come of the grant.
    assert_eq!(app.account(USER).await, [10, 0, 10, 0]);
    assert_eq!(remaining(&app, USER).await, [(2, 10)]);
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_contested_neither_burns_nor_ends() {
    let (app, now) = still().await;
    let mut paid = payment(Some(USER));
    paid.sku = Some("credits_100".to_owned());
    paid.amount_minor = 9_900;
    paid.created_at = now;
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    grant(&app, USER, 50, &json!({})).await;
    let contested = SampleDispute {
        dispute_id: unique("disp_"),
        amount_minor: 7_920,
        phase: "chargeback",
    };
    let told = |step: &str| {
        sample::razorpay_dispute(&format!("payment.dispute.{step}"), &paid, &contested)
    };
    deliver(&app, &told("created")).await;
    assert_eq!(app.account(USER).await, [150, 80, 70, 0]);
    let lot = &lots(&app, USER).await[1];
    assert_eq!(
        (number(lot, "remaining"), number(lot, "contested")),
        (100, 80)
    );

    app.spend(USER, 30).await.assert_ok(&json!({"spent": 30}));
    assert_eq!(slices(&last_entry(&app, USER).await), [(1, 20), (2, 10)]);
    app.stop_clock(now + TimeDelta::days(365));
    assert_eq!(app.account(USER).await, [120, 80, 40, 0]);
    assert_eq!(remaining(&app, USER).await, [(1, 80), (2, 40)]);

    // It is won, and what was held back ends at once: its time is over.
    deliver(&app, &told("won")).await;
    assert_eq!(app.account(USER).await, [40, 0, 40, 0]);
    assert_eq!(remaining(&app, USER).await, [(2, 40)]);
    assert_whole(&app).await;
    app.stop().await;
}
