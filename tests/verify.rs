//! Verify-payment over HTTP, alone and in a race with the webhook.

mod orders;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{SamplePayment, razorpay_payment};
use credit_ledger::provider::sign;
use futures_util::StreamExt as _;
use futures_util::future::join3;
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;
use wiremock::matchers::method;
use wiremock::{Mock, Request};

use crate::support::app::{Answer, RAZORPAY_KEY_SECRET, SERVICE_KEY, answer};
use crate::support::deliveries::{captured, checkout, created, payment, user};
use crate::support::razorpay_api::RazorpayApi;
use crate::support::{Options, TestApp, tokens};

/// Longer than any test takes, so that only what is waited for can end it.
const LONG_WAIT: Duration = Duration::from_secs(25);
const NO_WAIT: Duration = Duration::ZERO;

async fn verify(app: &TestApp, user_id: &str, payment: &SamplePayment) -> Answer {
    let (order_id, payment_id, signature) = checkout(payment);
    app.verify(user_id, &order_id, &payment_id, &signature)
        .await
}

fn body_of(payment: &SamplePayment) -> Value {
    let (order_id, payment_id, signature) = checkout(payment);
    json!({
        "razorpay_order_id": order_id,
        "razorpay_payment_id": payment_id,
        "razorpay_signature": signature,
    })
}

async fn post(app: &TestApp, token: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.client.post(app.url("/v1/payments/verify"));
    answer(request.bearer_auth(token).body(body)).await
}

/// The whole answer, to the letter of the contract.
#[track_caller]
fn assert_verified(
    answer: &Answer,
    payment: &SamplePayment,
    balance: i64,
    already_processed: bool,
) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({
        "success": true,
        "purchase_id": format!("razorpay:{}", payment.payment_id),
        "status": "captured",
        "credits_added": 500,
        "balance": balance,
        "already_processed": already_processed,
    });
    assert_eq!(answer.body, expected);
}

#[track_caller]
fn assert_pending(answer: &Answer) {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body, json!({"success": false, "status": "pending"}));
    assert_eq!(answer.headers["retry-after"], "2");
}

/// There is no money, and nothing to wait for.
#[track_caller]
fn assert_over(answer: &Answer, status: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, json!({"success": false, "status": status}));
}

async fn assert_nothing_is_recorded(app: &TestApp) {
    assert_eq!(
        app.count("select (select count(*) from events) + (select count(*) from inbox)")
            .await,
        0
    );
}

#[tokio::test]
async fn the_webhook_came_first() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    app.deliver(Source::Clerk, &created(&user("user_1")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    for _ in 0..2 {
        assert_verified(&verify(&app, "user_1", &paid).await, &paid, 520, true);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn the_frontend_came_first_and_the_api_knows_the_payment() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(LONG_WAIT)).await;
    for named in [true, false] {
        let user_id = if named { "user_1" } else { "user_2" };
        let paid = payment(named.then_some(user_id));
        api.has(&paid, "captured").await;
        assert_verified(&verify(&app, user_id, &paid).await, &paid, 500, false);
        assert_verified(&verify(&app, user_id, &paid).await, &paid, 500, true);
        app.deliver(Source::Razorpay, &captured(&paid))
            .await
            .assert_ok(&json!({"status": "duplicate"}));
        assert_verified(&verify(&app, user_id, &paid).await, &paid, 500, true);
        assert_eq!(app.events("user", user_id).await, ["CreditsPurchased"]);
    }
    // The answer of the API is kept as a delivery is.
    let kept = "select count(*) from inbox where key like 'api:%' and outcome = 'recorded' and secret = 'api'";
    assert_eq!(app.count(kept).await, 2);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn the_api_knows_of_no_money_yet() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(NO_WAIT)).await;
    for status in ["created", "authorized", "status_of_tomorrow"] {
        let paid = payment(Some("user_1"));
        api.has(&paid, status).await;
        assert_pending(&verify(&app, "user_1", &paid).await);
    }
    // Nothing comes of waiting for this.
    let failed = payment(Some("user_1"));
    api.has(&failed, "failed").await;
    assert_over(&verify(&app, "user_1", &failed).await, "failed");
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}

/// A payment that failed may still be captured late: the webhook then counts.
#[tokio::test]
async fn a_failed_payment_may_be_captured_after_all() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(NO_WAIT)).await;
    let paid = payment(Some("user_1"));
    api.has(&paid, "failed").await;
    verify(&app, "user_1", &paid)
        .await
        .assert_ok(&json!({"success": false, "status": "failed"}));
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_verified(&verify(&app, "user_1", &paid).await, &paid, 500, true);
    app.stop().await;
}

/// What is recorded is the answer, whatever has become of the money since: the webhook will tell.
#[tokio::test]
async fn a_recorded_payment_may_be_refunded_since() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(NO_WAIT)).await;
    let paid = payment(Some("user_1"));
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    api.has(&paid, "refunded").await;
    assert_verified(&verify(&app, "user_1", &paid).await, &paid, 500, true);
    app.stop().await;
}

/// Money that came and went back again is recorded as both, whether or not the webhook was first.
#[tokio::test]
async fn a_payment_that_was_given_back_gives_no_credits() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(NO_WAIT)).await;
    for (user_id, webhook_first) in [(Some("user_1"), false), (None, false), (None, true)] {
        let paid = payment(user_id);
        if webhook_first {
            app.deliver(Source::Razorpay, &captured(&paid))
                .await
                .assert_ok(&json!({"status": "recorded"}));
        }
        api.has(&paid, "refunded").await;
        for _ in 0..2 {
            assert_over(&verify(&app, "user_1", &paid).await, "refunded");
        }
        assert_eq!(app.balance("user_1").await, 0);
        let other = verify(&app, "user_2", &paid).await;
        other.assert_problem(403, "not_your_purchase");
        let types = app
            .events("purchase", &format!("razorpay:{}", paid.payment_id))
            .await;
        assert_eq!(types[0], "PaymentCaptured");
        assert!(types.contains(&"PaymentRefunded".to_owned()), "{types:?}");
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn the_api_is_not_believed_when_it_speaks_of_something_else() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(NO_WAIT)).await;
    let paid = payment(Some("user_1"));
    let good = razorpay_payment(&paid, "captured");
    let changes = [
        ("order_id", json!("order_other")),
        ("order_id", json!(null)),
        ("id", json!("pay_other")),
        ("id", json!(null)),
        ("status", json!(null)),
        ("amount", json!("49900")),
        ("currency", json!(null)),
    ];
    for (name, value) in changes {
        api.0.reset().await;
        let mut other = good.clone();
        other[name] = value;
        api.answer(
            &paid.payment_id,
            ResponseTemplate::new(200).set_body_json(other),
        )
        .await;
        assert_pending(&verify(&app, "user_1", &paid).await);
    }
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn an_api_that_is_of_no_use_means_pending() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(NO_WAIT)).await;
    let unknown = json!({"error": {"description": "The id provided does not exist"}});
    let paid = payment(Some("user_1"));
    let good = razorpay_payment(&paid, "captured");
    let large = format!("{good}{}", " ".repeat(256 * 1024));
    for (what, template) in [
        ("400", ResponseTemplate::new(400).set_body_json(unknown)),
        ("401", ResponseTemplate::new(401)),
        ("404", ResponseTemplate::new(404)),
        ("429", ResponseTemplate::new(429)),
        ("500", ResponseTemplate::new(500)),
        (
            "302",
            ResponseTemplate::new(302).insert_header("location", "/v1/payments/x"),
        ),
        (
            "garbage",
            ResponseTemplate::new(200).set_body_string("<html>"),
        ),
        (
            "a list",
            ResponseTemplate::new(200).set_body_json(json!([good])),
        ),
        (
            "no text",
            ResponseTemplate::new(200).set_body_bytes(vec![0xff; 10]),
        ),
        (
            "too large",
            ResponseTemplate::new(200).set_body_string(large),
        ),
        (
            "slow",
            ResponseTemplate::new(200)
                .set_body_json(&good)
                .set_delay(Duration::from_secs(20)),
        ),
    ] {
        api.0.reset().await;
        api.answer(&paid.payment_id, template).await;
        let started = Instant::now();
        let answer = verify(&app, "user_1", &paid).await;
        assert_eq!(answer.status, 202, "{what}: {answer:?}");
        assert_pending(&answer);
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{what} took {:?}",
            started.elapsed()
        );
    }
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn neither_webhook_nor_api_means_pending() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    let started = Instant::now();
    assert_pending(&verify(&app, "user_1", &paid).await);
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "it did not wait"
    );
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}

/// With no keys, and with an API that does not know yet: the webhook ends the wait.
#[tokio::test]
async fn the_webhook_comes_during_the_wait() {
    let api = RazorpayApi::start().await;
    for options in [
        Options {
            verify_wait: LONG_WAIT,
            ..Options::default()
        },
        api.options(LONG_WAIT),
    ] {
        let app = TestApp::start_with(options).await;
        let paid = payment(None);
        api.has(&paid, "authorized").await;
        let delivery = captured(&paid);
        let deliver = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            app.deliver(Source::Razorpay, &delivery).await
        };
        let started = Instant::now();
        let (verified, delivered) = tokio::join!(verify(&app, "user_1", &paid), deliver);
        delivered.assert_ok(&json!({"status": "recorded"}));
        assert_verified(&verified, &paid, 500, true);
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it did not notice"
        );
        assert_eq!(
            app.events("purchase", &format!("razorpay:{}", paid.payment_id))
                .await,
            ["PaymentCaptured", "PurchaseClaimed"]
        );
        app.assert_audit_is_clean().await;
        app.stop().await;
    }
}

/// Verify-payment with each of these (what it is, order, payment, signature) proves nothing.
async fn assert_proves_nothing(
    app: &TestApp,
    checkouts: impl IntoIterator<Item = (&str, String, String, String)>,
) {
    for (what, order, pay, signature) in checkouts {
        let answer = app.verify("user_1", &order, &pay, &signature).await;
        assert_eq!(
            answer.body["code"], "invalid_signature",
            "{what}: {answer:?}"
        );
        answer.assert_problem(400, "invalid_signature");
    }
    let unclaimed = "select count(*) from purchases where user_id is null";
    assert_eq!(app.count(unclaimed).await, 1);
}

/// An application that knows one purchase, which names nobody.
async fn with_unclaimed_purchase() -> (TestApp, SamplePayment) {
    let app = TestApp::start().await;
    let paid = payment(None);
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    (app, paid)
}

#[tokio::test]
async fn a_signature_that_does_not_hold_proves_nothing() {
    let (app, paid) = with_unclaimed_purchase().await;
    let (order, pay, good) = checkout(&paid);
    let other = payment(None);
    let other_order = other.order_id.clone().unwrap();
    let key = SecretString::from("another key");
    let foreign = sign::razorpay_checkout(&key, &order, &pay).unwrap();
    let flipped = if good.starts_with('0') { "1" } else { "0" };
    let over = |signature: &str| (order.clone(), pay.clone(), signature.to_owned());
    let own = [
        ("tampered", over(&format!("{flipped}{}", &good[1..]))),
        (
            "upper case",
            over(&format!("A{}", &good[1..].to_uppercase())),
        ),
        ("cut", over(&good[..62])),
        ("longer", over(&format!("{good}00"))),
        ("no hex", over(&"é".repeat(32))),
        ("another key", over(&foreign)),
        (
            "another payment",
            (order.clone(), other.payment_id, good.clone()),
        ),
        ("another order", (other_order, pay.clone(), good.clone())),
        ("exchanged", (pay.clone(), order.clone(), good.clone())),
    ];
    let all = own.map(|(what, (order, pay, signature))| (what, order, pay, signature));
    assert_proves_nothing(&app, all).await;
    // The very same with the right one is good.
    assert_verified(&verify(&app, "user_1", &paid).await, &paid, 500, true);
    app.stop().await;
}

/// Properly signed, and not what such a signature is for.
#[tokio::test]
async fn a_signature_of_something_else_proves_nothing() {
    let (app, paid) = with_unclaimed_purchase().await;
    let (order, pay, _) = checkout(&paid);
    let blank = format!(" {order}");
    let key = SecretString::from(RAZORPAY_KEY_SECRET);
    let signed = [
        ("exchanged", pay.as_str(), order.as_str()),
        ("a subscription", &pay, "sub_1"),
        ("a payment link", "plink_1|ref|paid", &pay),
        ("no order", "ord_1", &pay),
        ("no payment", &order, "rfnd_1"),
        ("a path", &order, "pay_1/../x"),
        ("a bar", &order, "pay_1|x"),
        ("control characters", &order, "pay_1\u{0}"),
        ("blanks", &blank, &pay),
    ]
    .map(|(what, order, pay)| {
        let signature = sign::razorpay_checkout(&key, order, pay).unwrap();
        (what, order.to_owned(), pay.to_owned(), signature)
    });
    assert_proves_nothing(&app, signed).await;
    app.stop().await;
}

#[tokio::test]
async fn a_request_must_be_what_the_contract_says() {
    let app = TestApp::start().await;
    let token = app.token("user_1");
    let good = body_of(&payment(Some("user_1")));
    for name in [
        "razorpay_order_id",
        "razorpay_payment_id",
        "razorpay_signature",
    ] {
        let mut missing = good.clone();
        missing.as_object_mut().unwrap().remove(name);
        let mut bodies = vec![missing];
        for value in [
            json!(null),
            json!(""),
            json!("  "),
            json!(7),
            json!([]),
            json!({"a": 1}),
            json!(true),
        ] {
            let mut changed = good.clone();
            changed[name] = value;
            bodies.push(changed);
        }
        for body in bodies {
            let answer = post(&app, &token, body.to_string()).await;
            answer.assert_problem(400, "invalid_request");
            assert!(
                answer.body["detail"].as_str().unwrap().contains(name),
                "{answer:?}"
            );
        }
    }
    let mut more = good.clone();
    more["user_id"] = json!("user_2");
    let answer = post(&app, &token, more.to_string()).await;
    answer.assert_problem(400, "invalid_request");
    assert!(
        answer.body["detail"].as_str().unwrap().contains("user_id"),
        "{answer:?}"
    );

    let deep = format!("{{\"a\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{} {}",
        b"{\"a\":\"\xff\"}",
        deep.as_bytes(),
    ];
    for body in bodies {
        post(&app, &token, body.to_vec())
            .await
            .assert_problem(400, "malformed");
    }
    let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.to_string().len()));
    post(&app, &token, padded(64 * 1024 + 1))
        .await
        .assert_problem(413, "payload_too_large");
    assert_pending(&post(&app, &token, padded(64 * 1024)).await);
    assert_nothing_is_recorded(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn somebody_must_be_signed_in_and_be_the_buyer() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let body = body_of(&paid).to_string();
    let nobody = app
        .client
        .post(app.url("/v1/payments/verify"))
        .body(body.clone());
    answer(nobody).await.assert_problem(401, "unauthenticated");
    let good = app.token("user_1");
    for token in ["garbage", SERVICE_KEY, &good[..good.len() - 4]] {
        post(&app, token, body.clone())
            .await
            .assert_problem(401, "unauthenticated");
    }
    let mut claims = tokens::clerk_claims("user_1", app.now());
    assert_eq!(
        post(&app, &tokens::rs256(&claims), body.clone())
            .await
            .status,
        200
    );
    claims["act"] = json!({"sub": "user_operator", "sid": "sess_2"});
    post(&app, &tokens::rs256(&claims), body)
        .await
        .assert_problem(403, "impersonation_refused");
    app.stop().await;
}

#[tokio::test]
async fn anothers_purchase_is_recorded_for_its_owner() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(LONG_WAIT)).await;
    let paid = payment(Some("user_1"));
    api.has(&paid, "captured").await;
    // The thief is first, so it is this call that records the payment.
    for _ in 0..2 {
        verify(&app, "user_2", &paid)
            .await
            .assert_problem(403, "not_your_purchase");
    }
    assert_eq!(
        (app.balance("user_1").await, app.balance("user_2").await),
        (500, 0)
    );
    assert_verified(&verify(&app, "user_1", &paid).await, &paid, 500, true);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_purchase_that_names_nobody_is_claimed_once() {
    let app = TestApp::start().await;
    let paid = payment(None);
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let users: Vec<String> = (0..8).map(|n| format!("user_{n}")).collect();
    let answers =
        futures_util::future::join_all(users.iter().map(|user| verify(&app, user, &paid))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers
        .iter()
        .zip(&users)
        .partition(|(answer, _)| answer.status == 200);
    assert_eq!(won.len(), 1, "{answers:?}");
    let (_, winner) = won[0];
    assert_verified(&verify(&app, winner, &paid).await, &paid, 500, true);
    for (answer, loser) in lost {
        answer.assert_problem(403, "not_your_purchase");
        assert_eq!(app.balance(loser).await, 0);
    }
    assert_eq!(
        app.events("purchase", &format!("razorpay:{}", paid.payment_id))
            .await,
        ["PaymentCaptured", "PurchaseClaimed"]
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn an_unpriced_purchase_gives_nothing_yet() {
    let app = TestApp::start().await;
    let mut paid = payment(None);
    paid.amount_minor += 1;
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    for _ in 0..2 {
        let answer = verify(&app, "user_1", &paid).await;
        answer.assert_ok(
            &json!({"success": true, "status": "captured", "credits_added": 0, "balance": 0}),
        );
    }
    assert_eq!(app.balance("user_1").await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn providers_that_are_not_set_up() {
    let options = Options {
        configure: Arc::new(|config| config.razorpay_api.key_secret = None),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    let token = app.token("user_1");
    for body in [
        body_of(&payment(None)),
        json!({"stripe_session_id": "cs_1"}),
    ] {
        let answer = post(&app, &token, body.to_string()).await;
        answer.assert_problem(503, "provider_not_configured");
        assert_eq!(answer.headers["retry-after"], "60");
    }
    app.stop().await;
}

/// While nobody else knows the payment, it is this call that records it, and it must say so every time.
#[tokio::test]
async fn who_records_says_so() {
    let api = RazorpayApi::start().await;
    let app = TestApp::start_with(api.options(LONG_WAIT)).await;
    for n in 1..=60 {
        let paid = payment(Some("user_1"));
        // Spread over the times at which the read model is looked at.
        let template =
            ResponseTemplate::new(200).set_body_json(razorpay_payment(&paid, "captured"));
        api.answer(
            &paid.payment_id,
            template.set_delay(Duration::from_millis(35 + n % 15)),
        )
        .await;
        assert_verified(
            &verify(&app, "user_1", &paid).await,
            &paid,
            500 * i64::try_from(n).unwrap(),
            false,
        );
    }
    app.stop().await;
}

const RACES: usize = 200;
const RACERS: usize = 10;

/// Two calls of the frontend and the webhook at the same time, in every order, for many payments, half of which name
/// nobody.
#[tokio::test]
async fn webhook_and_frontend_race_and_every_payment_counts_once() {
    let api = RazorpayApi::start().await;
    let payments: Vec<(String, SamplePayment)> = (0..RACES)
        .map(|n| {
            let user_id = format!("user_{}", n % RACERS);
            let named = n % 4 < 2;
            let paid = payment(named.then_some(user_id.as_str()));
            (user_id, paid)
        })
        .collect();
    let known: HashMap<String, Value> = payments
        .iter()
        .map(|(_, paid)| {
            (
                format!("/v1/payments/{}", paid.payment_id),
                razorpay_payment(paid, "captured"),
            )
        })
        .collect();
    Mock::given(method("GET"))
        .respond_with(move |request: &Request| {
            // Of the orders nothing more is known.
            known
                .get(request.url.path())
                .map_or(ResponseTemplate::new(404), |payment| {
                    ResponseTemplate::new(200).set_body_json(payment)
                })
        })
        .mount(&api.0)
        .await;
    let app = TestApp::start_with(api.options(LONG_WAIT)).await;

    let races = payments
        .iter()
        .enumerate()
        .map(|(n, (user_id, paid))| race(&app, n, user_id, paid));
    let recorded_by_frontend: Vec<usize> = futures_util::stream::iter(races)
        .buffer_unordered(16)
        .collect()
        .await;
    // Both orders did happen, or this proves little.
    let by_frontend: usize = recorded_by_frontend.iter().sum();
    assert!(
        (1..RACES).contains(&by_frontend),
        "the frontend was first {by_frontend} times"
    );

    let each = i64::try_from(RACES / RACERS * 500).unwrap();
    for n in 0..RACERS {
        assert_eq!(app.balance(&format!("user_{n}")).await, each, "user_{n}");
    }
    let payments = i64::try_from(RACES).unwrap();
    for event_type in ["PaymentCaptured", "CreditsPurchased"] {
        let all = format!("select count(*) from events where event_type = '{event_type}'");
        assert_eq!(app.count(&all).await, payments, "{event_type}");
    }
    let purchases =
        "select count(distinct aggregate_id) from events where event_type = 'PaymentCaptured'";
    assert_eq!(app.count(purchases).await, payments);
    let credited = "select count(distinct payload->>'purchase_id') from events where event_type = 'CreditsPurchased'";
    assert_eq!(app.count(credited).await, payments);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// One payment; how many of the calls say that they recorded it.
async fn race(app: &TestApp, n: usize, user_id: &str, paid: &SamplePayment) -> usize {
    let delivery = captured(paid);
    let webhook = async {
        // Sometimes first, sometimes together, sometimes while the answer of the API is on its way.
        tokio::time::sleep(Duration::from_millis([0, 0, 2, 8][n % 4])).await;
        app.deliver(Source::Razorpay, &delivery).await
    };
    let frontend = async {
        tokio::time::sleep(Duration::from_millis([8, 0, 0, 0][n % 4])).await;
        verify(app, user_id, paid).await
    };
    let (delivered, one, two) = join3(webhook, frontend, verify(app, user_id, paid)).await;
    let status = delivered.body["status"].as_str().unwrap_or_default();
    assert!(matches!(status, "recorded" | "duplicate"), "{delivered:?}");
    let mut recorded = 0;
    for answer in [&one, &two] {
        answer.assert_ok(&json!({"success": true, "status": "captured", "credits_added": 500}));
        recorded += usize::from(answer.body["already_processed"] == false);
    }
    assert!(
        recorded <= 1,
        "both calls say that they recorded it: {one:?} {two:?}"
    );
    recorded
}
