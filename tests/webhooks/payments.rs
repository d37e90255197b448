//! What Razorpay's deliveries come to when they name nobody, fit no price, or tell it in two parts.

use std::sync::Arc;

use credit_ledger::ledger::Source;
use credit_ledger::provider::Catalog;
use credit_ledger::provider::sample;
use serde_json::json;

use super::ALL_CREDITS;
use crate::support::deliveries::{captured, order_paid, payment, razorpay, unique};
use crate::support::{Options, TestApp};

#[tokio::test]
async fn money_without_a_user_or_a_price_is_kept() {
    let app = TestApp::start().await;
    let mut dear = payment(Some("user_1"));
    dear.amount_minor += 1;
    let mut unknown = payment(Some("user_1"));
    unknown.sku = Some("credits_of_another_shop".to_owned());
    let mut other_currency = payment(Some("user_1"));
    other_currency.currency = "EUR".to_owned();
    let unclaimed = payment(None);
    for payment in [&dear, &unknown, &other_currency, &unclaimed] {
        app.deliver(Source::Razorpay, &captured(payment))
            .await
            .assert_ok(&json!({"status": "recorded"}));
        let id = format!("razorpay:{}", payment.payment_id);
        assert_eq!(app.events("purchase", &id).await, ["PaymentCaptured"]);
    }
    assert_eq!(app.count(ALL_CREDITS).await, 0);
    let states = "select count(*) from purchases where (user_id is null) <> (sku is null) and amount_minor > 0";
    assert_eq!(app.count(states).await, 4);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Money is a fact: a time that no calendar has does not put it aside.
#[tokio::test]
async fn a_strange_time_of_payment_does_not_keep_the_credits_away() {
    let app = TestApp::start().await;
    for (n, strange) in [
        1_795_000_000_000_i64,
        9_007_199_254_740_991,
        253_402_300_800,
    ]
    .into_iter()
    .enumerate()
    {
        let paid = payment(Some(&format!("user_{n}")));
        let mut body = sample::razorpay_payment_captured(&paid);
        body["payload"]["payment"]["entity"]["created_at"] = json!(strange);
        app.deliver(
            Source::Razorpay,
            &razorpay(&unique("evt"), body.to_string()),
        )
        .await
        .assert_ok(&json!({"status": "recorded"}));
        let page = app.get(&format!("/v1/users/user_{n}/purchases")).await;
        assert_eq!(page.body["items"][0]["credits"], 500, "{page:?}");
        assert_eq!(
            page.body["items"][0]["paid_at"], "2026-11-18T11:06:40.000000Z",
            "the envelope's time"
        );
    }
    app.stop().await;
}

/// The two events of one payment in both orders: the second adds what the first lacked, and only that.
#[tokio::test]
async fn the_order_adds_what_the_payment_lacked() {
    let app = TestApp::start().await;
    for (order_first, user_id) in [(false, "user_1"), (true, "user_2")] {
        let full = payment(Some(user_id));
        let bare = sample::SamplePayment {
            user_id: None,
            sku: None,
            ..full.clone()
        };
        // Notes are the order's alone.
        let mut paid = sample::razorpay_order_paid(&full);
        paid["payload"]["payment"]["entity"]["notes"] = json!([]);
        let order = razorpay(&unique("evt"), paid.to_string());
        let capture = captured(&bare);
        let id = format!("razorpay:{}", full.payment_id);
        let (first, second) = if order_first {
            (&order, &capture)
        } else {
            (&capture, &order)
        };
        app.deliver(Source::Razorpay, first)
            .await
            .assert_ok(&json!({"status": "recorded"}));
        let status = if order_first { "duplicate" } else { "recorded" };
        app.deliver(Source::Razorpay, second)
            .await
            .assert_ok(&json!({"status": status}));
        let events = app.events("purchase", &id).await;
        let expected: &[&str] = if order_first {
            &["PaymentCaptured"]
        } else {
            &["PaymentCaptured", "PurchaseClaimed"]
        };
        assert_eq!(events, expected);
        assert_eq!(app.balance(user_id).await, 500);
        assert_eq!(app.events("user", user_id).await, ["CreditsPurchased"]);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Two packs of one price: only a later delivery says which one was bought.
#[tokio::test]
async fn a_price_may_be_understood_later() {
    let catalog = r#"[
        {"sku": "credits_500", "credits": 500, "prices": [{"currency": "INR", "amount_minor": 49900}]},
        {"sku": "credits_600", "credits": 600, "prices": [{"currency": "INR", "amount_minor": 49900}]}
    ]"#;
    let catalog: Catalog = serde_json::from_str(catalog).unwrap();
    let options = Options {
        configure: Arc::new(move |config| config.rules.catalog = catalog.clone()),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    let mut paid = payment(Some("user_1"));
    paid.sku = None;
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(app.balance("user_1").await, 0);
    paid.sku = Some("credits_600".to_owned());
    app.deliver(Source::Razorpay, &order_paid(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(app.balance("user_1").await, 600);
    // Once priced, it stays.
    paid.sku = Some("credits_500".to_owned());
    app.deliver(Source::Razorpay, &order_paid(&paid))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    assert_eq!(app.balance("user_1").await, 600);
    app.assert_audit_is_clean().await;
    app.stop().await;
}
