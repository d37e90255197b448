//! Payments whose notes are their order's: whose they are and what they buy must not depend on what came first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::provider::Catalog;
use credit_ledger::provider::sample::{self, SamplePayment};
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{
    LONG_WAIT, NO_WAIT, assert_nothing_is_recorded, assert_pending, assert_verified, verify,
};
use crate::support::deliveries::{captured, payment, razorpay, unique};
use crate::support::random::ORDERS;
use crate::support::razorpay_api::RazorpayApi;
use crate::support::{Options, TestApp};

/// A payment as its order's notes tell of it, and as its own do, which say nothing.
fn noted_on_the_order(user_id: &str) -> (SamplePayment, SamplePayment) {
    let full = payment(Some(user_id));
    let bare = SamplePayment {
        user_id: None,
        sku: None,
        ..full.clone()
    };
    (full, bare)
}

/// `order.paid` with the notes on the order alone.
fn order_paid(full: &SamplePayment) -> SignedDelivery {
    let mut body = sample::razorpay_order_paid(full);
    body["payload"]["payment"]["entity"]["notes"] = json!([]);
    razorpay(&unique("evt"), body.to_string())
}

/// Settings with a second pack at the price of the first, so that an amount alone buys nothing.
fn ambiguous(api: &RazorpayApi, verify_wait: Duration) -> Options {
    Options {
        configure: Arc::new(|config| {
            let mut packs = config.rules.catalog.packs().to_vec();
            let mut twin = packs[0].clone();
            "credits_500_twin".clone_into(&mut twin.sku);
            packs.push(twin);
            config.rules.catalog = Catalog::new(packs).unwrap();
        }),
        ..api.options(verify_wait)
    }
}

async fn record(app: &TestApp, delivery: &SignedDelivery) {
    app.deliver(Source::Razorpay, delivery)
        .await
        .assert_ok(&json!({"status": "recorded"}));
}

#[tokio::test]
async fn the_frontend_is_first_and_the_order_is_asked() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(ambiguous(&api, LONG_WAIT)).await;
    let (full, bare) = noted_on_the_order("user_1");
    api.has(&bare, "captured").await;
    api.has_order(&full).await;
    assert_verified(&verify(&app, "user_1", &bare).await, &bare, 500, false);
    // The bytes of both answers are kept.
    let sql = "select convert_from(body, 'UTF8') from inbox where outcome = 'recorded'";
    let body: String = app.sql().await.query_one(sql, &[]).await.unwrap().get(0);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["payment"], sample::razorpay_payment(&bare, "captured"));
    assert_eq!(body["order"], sample::razorpay_order(&full));
    for delivery in [captured(&bare), order_paid(&full)] {
        app.deliver(Source::Razorpay, &delivery)
            .await
            .assert_ok(&json!({"status": "duplicate"}));
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Both webhooks and a call of somebody else, in every order. A call alone may come too early to be answered, and
/// still the buyer has the credits in the end.
#[tokio::test]
async fn whose_it_is_does_not_depend_on_the_order_of_arrival() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(ambiguous(&api, LONG_WAIT)).await;
    for (n, arrivals) in ORDERS.into_iter().enumerate() {
        let buyer = format!("user_{n}");
        let (full, bare) = noted_on_the_order(&buyer);
        api.has(&bare, "captured").await;
        api.has_order(&full).await;
        for arrival in arrivals {
            match arrival {
                0 => assert!(app.deliver(Source::Razorpay, &captured(&bare)).await.status == 200),
                1 => assert!(
                    app.deliver(Source::Razorpay, &order_paid(&full))
                        .await
                        .status
                        == 200
                ),
                _ => verify(&app, "user_thief", &bare)
                    .await
                    .assert_problem(403, "not_your_purchase"),
            }
        }
        assert_eq!(app.balance(&buyer).await, 500, "{arrivals:?}");
        assert_verified(&verify(&app, &buyer, &bare).await, &bare, 500, true);
    }
    assert_eq!(app.balance("user_thief").await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn an_order_completes_the_price_of_a_recorded_purchase() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(ambiguous(&api, LONG_WAIT)).await;
    let (full, mut bare) = noted_on_the_order("user_1");
    bare.user_id = Some("user_1".to_owned());
    record(&app, &captured(&bare)).await;
    assert_eq!(app.balance("user_1").await, 0);
    api.has(&bare, "captured").await;
    // Somebody else's call changes nothing.
    verify(&app, "user_2", &bare)
        .await
        .assert_problem(403, "not_your_purchase");
    // Neither does an order of which nothing is known.
    let unpriced = json!({"success": true, "credits_added": 0, "balance": 0});
    verify(&app, "user_1", &bare).await.assert_ok(&unpriced);
    assert_eq!(app.count("select count(*) from inbox").await, 1);
    api.has_order(&full).await;
    for _ in 0..2 {
        assert_verified(&verify(&app, "user_1", &bare).await, &bare, 500, true);
    }
    let id = format!("razorpay:{}", full.payment_id);
    assert_eq!(
        app.events("purchase", &id).await,
        ["PaymentCaptured", "PurchasePriced"]
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn the_order_is_asked_only_when_it_may_say_more() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(LONG_WAIT)).await;
    let paid = payment(Some("user_1"));
    api.has(&paid, "captured").await;
    api.has_order(&paid).await;
    assert_verified(&verify(&app, "user_1", &paid).await, &paid, 500, false);
    assert_verified(&verify(&app, "user_1", &paid).await, &paid, 500, true);
    let asked = api.0.received_requests().await.unwrap();
    let asked: Vec<&str> = asked.iter().map(|request| request.url.path()).collect();
    assert_eq!(asked, [format!("/v1/payments/{}", paid.payment_id)]);
    app.stop().await;
}

/// An order that can not be asked may name somebody else, so the session has to wait for the webhook. If that names
/// nobody, the checkout's signature is proof enough.
#[tokio::test]
async fn an_order_that_can_not_be_asked_is_waited_for_once() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(NO_WAIT)).await;
    let (full, bare) = noted_on_the_order("user_1");
    let order_id = full.order_id.clone().unwrap();
    let mut other = sample::razorpay_order(&full);
    other["id"] = json!("order_other");
    let good = sample::razorpay_order(&full);
    let slow = Duration::from_secs(20);
    for (what, template) in [
        ("401", ResponseTemplate::new(401)),
        ("500", ResponseTemplate::new(500)),
        (
            "garbage",
            ResponseTemplate::new(200).set_body_string("<html>"),
        ),
        ("another", ResponseTemplate::new(200).set_body_json(other)),
        (
            "slow",
            ResponseTemplate::new(200)
                .set_body_json(good)
                .set_delay(slow),
        ),
    ] {
        api.0.reset().await;
        api.has(&bare, "captured").await;
        api.answer_order(&order_id, template).await;
        let started = Instant::now();
        let answer = verify(&app, "user_2", &bare).await;
        assert_eq!(answer.status, 202, "{what}: {answer:?}");
        assert_pending(&answer);
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
    }
    assert_nothing_is_recorded(&app).await;
    record(&app, &captured(&bare)).await;
    assert_verified(&verify(&app, "user_2", &bare).await, &bare, 500, true);
    let id = format!("razorpay:{}", full.payment_id);
    assert_eq!(
        app.events("purchase", &id).await,
        ["PaymentCaptured", "PurchaseClaimed"]
    );
    app.stop().await;
}

/// Whose it is, is known without the order, so nobody waits for it.
#[tokio::test]
async fn a_payment_that_names_its_user_is_recorded_without_its_order() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(LONG_WAIT)).await;
    let (full, mut bare) = noted_on_the_order("user_1");
    bare.user_id = Some("user_1".to_owned());
    api.has(&bare, "captured").await;
    let order_id = full.order_id.clone().unwrap();
    api.answer_order(&order_id, ResponseTemplate::new(500))
        .await;
    assert_verified(&verify(&app, "user_1", &bare).await, &bare, 500, false);
    app.stop().await;
}

/// Neither the payment nor its order names anybody: the session does.
#[tokio::test]
async fn an_order_without_notes_leaves_it_to_the_session() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(LONG_WAIT)).await;
    for (n, webhook_first) in [true, false].into_iter().enumerate() {
        let (_, bare) = noted_on_the_order("user_1");
        api.has(&bare, "captured").await;
        api.has_order(&bare).await;
        if webhook_first {
            record(&app, &captured(&bare)).await;
        }
        let balance = 500 * i64::try_from(n + 1).unwrap();
        assert_verified(
            &verify(&app, "user_2", &bare).await,
            &bare,
            balance,
            webhook_first,
        );
        let id = format!("razorpay:{}", bare.payment_id);
        assert_eq!(
            app.events("purchase", &id).await,
            ["PaymentCaptured", "PurchaseClaimed"]
        );
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}
