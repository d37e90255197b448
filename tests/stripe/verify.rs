//! Verify-payment by a checkout session, alone and beside the webhook.

use std::time::Duration;

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::stripe::{self as sample, StripeSale};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{comes_to, period, with_plan};
use crate::support::app::{Answer, answer};
use crate::support::deliveries::{created, sale, stripe_event, told, user};
use crate::support::stripe_api::StripeApi;
use crate::support::{Options, TestApp, eventually};

async fn post(app: &TestApp, user_id: &str, body: &Value) -> Answer {
    let request = app.client.post(app.url("/v1/payments/verify"));
    answer(request.bearer_auth(app.token(user_id)).json(body)).await
}

async fn verify(app: &TestApp, user_id: &str, sale: &StripeSale) -> Answer {
    post(
        app,
        user_id,
        &json!({"stripe_session_id": sale.session_id()}),
    )
    .await
}

/// The whole answer, to the letter of the contract.
#[track_caller]
fn assert_verified(answer: &Answer, purchase: &str, credits: i64, balance: i64, already: bool) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({
        "success": true,
        "purchase_id": format!("stripe:{purchase}"),
        "status": "captured",
        "credits_added": credits,
        "balance": balance,
        "already_processed": already,
    });
    assert_eq!(answer.body, expected);
}

#[track_caller]
fn assert_pending(answer: &Answer) {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body, json!({"success": false, "status": "pending"}));
    assert_eq!(answer.headers["retry-after"], "2");
}

async fn assert_nothing_is_recorded(app: &TestApp) {
    let sql = "select (select count(*) from events) + (select count(*) from inbox)";
    assert_eq!(app.count(sql).await, 0);
}

#[tokio::test]
async fn the_webhook_came_first() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let paid = sale(Some("user_1"));
    api.has_paid(&paid).await;
    comes_to(&app, &told("checkout.session.completed", &paid), "recorded").await;
    for _ in 0..2 {
        let answer = verify(&app, "user_1", &paid).await;
        assert_verified(&answer, &paid.payment_intent_id(), 500, 500, true);
    }
    assert_eq!(
        app.count("select count(*) from inbox where key like 'api:%'")
            .await,
        0
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn the_frontend_came_first() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let paid = sale(Some("user_1"));
    api.has_paid(&paid).await;
    let id = paid.payment_intent_id();
    assert_verified(&verify(&app, "user_1", &paid).await, &id, 500, 500, false);
    assert_verified(&verify(&app, "user_1", &paid).await, &id, 500, 500, true);
    for name in ["checkout.session.completed", "payment_intent.succeeded"] {
        comes_to(&app, &told(name, &paid), "duplicate").await;
    }
    // The answer of the API is kept as a delivery is.
    let kept = "select count(*) from inbox where key like 'api:%' and source = 'stripe' and outcome = 'recorded'";
    assert_eq!(app.count(kept).await, 1);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Many calls and many deliveries at once: one of them records, all are told the same.
#[tokio::test]
async fn calls_and_webhooks_race() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let paid = sale(Some("user_1"));
    api.has_paid(&paid).await;
    let calls = futures_util::future::join_all((0..8).map(|_| verify(&app, "user_1", &paid)));
    let names = ["checkout.session.completed", "payment_intent.succeeded"];
    let deliveries: Vec<_> = (0..8).map(|n| told(names[n % 2], &paid)).collect();
    let webhooks = futures_util::future::join_all(
        deliveries
            .iter()
            .map(|one| app.deliver(Source::Stripe, one)),
    );
    let (calls, webhooks) = tokio::join!(calls, webhooks);
    for answer in &calls {
        answer.assert_ok(&json!({"success": true, "credits_added": 500, "balance": 500}));
    }
    let by_call = calls
        .iter()
        .filter(|a| a.body["already_processed"] == false)
        .count();
    let by_webhook = webhooks
        .iter()
        .filter(|a| a.body["status"] == "recorded")
        .count();
    assert!(
        by_call <= 1 && by_call + by_webhook >= 1,
        "{by_call} {by_webhook}"
    );
    assert_eq!(app.events("user", "user_1").await, ["CreditsPurchased"]);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// A session's id can be passed on, so it gives nothing to who has it.
#[tokio::test]
async fn a_session_of_somebody_else_is_not_given_away() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let paid = sale(Some("user_1"));
    api.has_paid(&paid).await;
    verify(&app, "user_thief", &paid)
        .await
        .assert_problem(403, "not_your_purchase");
    assert_nothing_is_recorded(&app).await;
    comes_to(&app, &told("checkout.session.completed", &paid), "recorded").await;
    verify(&app, "user_thief", &paid)
        .await
        .assert_problem(403, "not_your_purchase");
    // Named in the metadata alone.
    let other = sale(Some("user_1"));
    let mut session = sample::session(&other, "paid");
    session["client_reference_id"] = json!(null);
    api.has(&session).await;
    verify(&app, "user_thief", &other)
        .await
        .assert_problem(403, "not_your_purchase");
    // Not even what becomes of it is told.
    let open = sale(Some("user_1"));
    api.has(&sample::session(&open, "unpaid")).await;
    verify(&app, "user_thief", &open)
        .await
        .assert_problem(403, "not_your_purchase");
    assert_eq!(app.balance("user_thief").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn a_session_that_names_nobody_is_recorded_and_not_claimed() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let mut paid = sale(None);
    paid.email = Some("user_1@example.com".to_owned());
    api.has_paid(&paid).await;
    for _ in 0..2 {
        assert_pending(&verify(&app, "user_thief", &paid).await);
        assert_pending(&verify(&app, "user_1", &paid).await);
    }
    assert_eq!(
        app.count("select count(*) from purchases where user_id is null")
            .await,
        1
    );
    // Whose it is becomes known by the payer's address.
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    eventually("matched by e-mail", async || {
        (app.balance("user_1").await == 520).then_some(())
    })
    .await;
    let answer = verify(&app, "user_1", &paid).await;
    assert_verified(&answer, &paid.payment_intent_id(), 500, 520, true);
    verify(&app, "user_thief", &paid)
        .await
        .assert_problem(403, "not_your_purchase");
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// What was recorded first named neither user nor pack: the session completes it.
#[tokio::test]
async fn a_session_completes_a_bare_payment() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    for named in [true, false] {
        let buyer = if named { "user_1" } else { "user_2" };
        let paid = sale(Some(buyer));
        api.has_paid(&paid).await;
        let mut bare = sample::payment_intent(&paid);
        bare["metadata"] = if named {
            json!({"user_id": buyer})
        } else {
            json!({})
        };
        comes_to(
            &app,
            &stripe_event("payment_intent.succeeded", &bare),
            "recorded",
        )
        .await;
        assert_eq!(app.balance(buyer).await, 0);
        let answer = verify(&app, buyer, &paid).await;
        assert_verified(&answer, &paid.payment_intent_id(), 500, 500, true);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn the_lines_of_a_session_say_what_was_bought() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(with_plan(api.options())).await;
    let paid = period(Some("user_1"));
    let mut session = sample::session(&paid, "paid");
    session["mode"] = json!("subscription");
    session["payment_intent"] = json!(null);
    session["invoice"] = json!(paid.invoice_id());
    session["subscription"] = json!(paid.subscription_id());
    api.has(&session).await;
    let answer = verify(&app, "user_1", &paid).await;
    assert_verified(&answer, &paid.invoice_id(), 1000, 1000, false);
    comes_to(&app, &told("invoice.paid", &paid), "duplicate").await;
    assert_eq!(app.balance("user_1").await, 1000);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn what_has_become_of_a_checkout_is_told() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let tell = async |change: &[(&str, Value)]| {
        let sale = sale(Some("user_1"));
        let mut session = sample::session(&sale, "unpaid");
        for (name, value) in change {
            session[*name] = value.clone();
        }
        api.has(&session).await;
        verify(&app, "user_1", &sale).await
    };
    assert_pending(&tell(&[("status", json!("open"))]).await);
    assert_pending(&tell(&[("status", json!("complete"))]).await);
    let failed = json!({"id": "pi_1", "status": "requires_payment_method"});
    for (change, status) in [
        (("status", json!("expired")), "expired"),
        (("payment_intent", failed), "failed"),
        (("mode", json!("setup")), "no_payment_required"),
    ] {
        let answer = tell(&[change]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, json!({"success": false, "status": status}));
    }
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn money_that_went_back_before_it_was_recorded_gives_nothing() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let paid = sale(Some("user_1"));
    let mut session = sample::session(&paid, "paid");
    session["payment_intent"] = sample::payment_intent(&paid);
    session["payment_intent"]["latest_charge"] = sample::charge(&paid, 599);
    api.has(&session).await;
    let answer = verify(&app, "user_1", &paid).await;
    assert_eq!(answer.body, json!({"success": false, "status": "refunded"}));
    assert_eq!(app.balance("user_1").await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn an_api_that_is_of_no_use_means_pending() {
    let api = StripeApi::start().await;
    let app = TestApp::start_with(api.options()).await;
    let paid = sale(Some("user_1"));
    let good = sample::session(&paid, "paid");
    let changed = |name: &str, value: Value| {
        let mut other = good.clone();
        other[name] = value;
        ResponseTemplate::new(200).set_body_json(other)
    };
    for (what, template) in [
        ("401", ResponseTemplate::new(401)),
        ("429", ResponseTemplate::new(429)),
        ("500", ResponseTemplate::new(500)),
        (
            "302",
            ResponseTemplate::new(302).insert_header("location", "/"),
        ),
        (
            "garbage",
            ResponseTemplate::new(200).set_body_string("<html>"),
        ),
        ("another session", changed("id", json!("cs_test_other"))),
        ("no session", changed("id", json!(null))),
        ("no amount", changed("amount_total", json!("599"))),
        ("no payment", changed("payment_intent", json!(null))),
        (
            "slow",
            ResponseTemplate::new(200)
                .set_body_json(&good)
                .set_delay(Duration::from_secs(20)),
        ),
    ] {
        api.0.reset().await;
        api.answer(&paid.session_id(), template).await;
        let answer = verify(&app, "user_1", &paid).await;
        assert_eq!(answer.status, 202, "{what}: {answer:?}");
        assert_pending(&answer);
    }
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_request_must_be_what_the_contract_says() {
    let api = StripeApi::start().await;
    let options = Options {
        configure: std::sync::Arc::new(|config| config.stripe_livemode = Some(true)),
        ..api.options()
    };
    let app = TestApp::start_with(options).await;
    for bad in [
        json!({"stripe_session_id": null}),
        json!({"stripe_session_id": ""}),
        json!({"stripe_session_id": "pi_1"}),
        json!({"stripe_session_id": "cs_"}),
        json!({"stripe_session_id": "cs_1/../../balance"}),
        json!({"stripe_session_id": "cs_1?expand[]=x"}),
        json!({"stripe_session_id": "cs_1", "razorpay_order_id": "order_1"}),
        json!({"stripe_session_id": "cs_1", "user_id": "user_1"}),
        // Nothing is known of it.
        json!({"stripe_session_id": "cs_1"}),
    ] {
        post(&app, "user_1", &bad)
            .await
            .assert_problem(400, "invalid_request");
    }
    // Of test mode, where live mode is taken.
    let test = sale(Some("user_1"));
    api.has_paid(&test).await;
    verify(&app, "user_1", &test)
        .await
        .assert_problem(400, "invalid_request");
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}
