//! Bodies: of any size, slow, broken off, of the wrong form, or not to be understood.

use std::fmt::Write as _;

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample;
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::{Value, json};

use super::{ALL_EVENTS, assert_nothing_is_stored, assert_status, kept, razorpay_key};
use crate::support::deliveries::{captured, clerk, created, payment, razorpay, unique, user};
use crate::support::{TestApp, wire};

#[tokio::test]
async fn a_signed_body_that_is_no_object_is_malformed() {
    let app = TestApp::start().await;
    let bodies: [&[u8]; 9] = [
        b"",
        b" ",
        b"not json",
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"type\":\"user.created\"",
        b"{} {}",
        b"{\"type\":\"\xff\"}",
    ];
    for body in bodies {
        app.deliver(Source::Clerk, &clerk(&unique("msg_"), body))
            .await
            .assert_problem(400, "malformed");
        app.deliver(Source::Razorpay, &razorpay(&unique("evt"), body))
            .await
            .assert_problem(400, "malformed");
    }
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// A payment whose body is padded to a length with what JSON allows anywhere.
fn padded(bytes: usize) -> SignedDelivery {
    let mut body = sample::razorpay_payment_captured(&payment(Some("user_1"))).to_string();
    body.push_str(&" ".repeat(bytes - body.len()));
    razorpay(&unique("evt"), body)
}

#[tokio::test]
async fn a_body_may_have_one_mebibyte() {
    let app = TestApp::start().await;
    let large = app
        .deliver(Source::Razorpay, &padded(1024 * 1024 + 1))
        .await;
    large.assert_problem(413, "payload_too_large");
    assert_nothing_is_stored(&app).await;
    let fits = padded(1024 * 1024);
    app.deliver(Source::Razorpay, &fits)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let key = razorpay_key(&fits.body);
    assert_eq!(
        kept(&app, Source::Razorpay, &key).await.unwrap().body,
        fits.body
    );
    app.stop().await;
}

/// The same limit holds when nobody says beforehand how long the body will be.
#[tokio::test]
async fn a_body_in_chunks_has_the_same_limit() {
    let app = TestApp::start().await;
    let mut request =
        b"POST /webhooks/razorpay HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    request.extend(b"100001\r\n");
    request.extend(vec![b' '; 1024 * 1024 + 1]);
    let answer = wire::exchange(app.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"payload_too_large\""), "{answer}");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let app = TestApp::start().await;
    let request =
        b"POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{\"type\":";
    let answer = wire::exchange(app.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"request_timeout\""), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// A sender that goes away in the middle leaves nothing, even if what came is signed.
#[tokio::test]
async fn a_body_that_breaks_off_is_not_stored() {
    let app = TestApp::start().await;
    let good = captured(&payment(Some("user_1")));
    let mut request = format!(
        "POST /webhooks/razorpay HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n",
        good.body.len() + 1
    );
    for (name, value) in &good.headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    let mut bytes = format!("{request}\r\n").into_bytes();
    bytes.extend(&good.body);
    let answer = wire::break_off(app.address, &bytes).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// Nesting as deep as the limit of size allows breaks nothing: what is never asked for is never looked into.
#[tokio::test]
async fn deep_nesting_is_only_a_member_that_can_not_be_read() {
    let app = TestApp::start().await;
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    let parked = format!(r#"{{"event":"payment.captured","payload":{deep}}}"#);
    let answer = app
        .deliver(Source::Razorpay, &razorpay("evt_deep", parked))
        .await;
    assert_status(&answer, "parked", "evt_deep");
    let deep_object = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let mut body = sample::razorpay_payment_captured(&payment(None)).to_string();
    body = body
        .replace("\"notes\":[]", "\"notes\":DEEP")
        .replace("{\"sku\":\"credits_500\"}", "DEEP");
    assert!(body.contains("DEEP"));
    let body = body.replace("DEEP", &deep_object);
    let answer = app
        .deliver(Source::Razorpay, &razorpay("evt_notes", body))
        .await;
    assert_status(&answer, "recorded", "evt_notes");
    assert_eq!(
        app.count("select count(*) from purchases where user_id is null and sku = 'credits_500'")
            .await,
        1
    );
    app.stop().await;
}

/// Genuine deliveries, each with the field that it lacks.
fn unreadable() -> Vec<(Source, Value, &'static str)> {
    let sign_up = sample::clerk_user_created(&user("user_1"));
    let paid = sample::razorpay_payment_captured(&payment(Some("user_1")));
    let change = |body: &Value, pointer: &str, value: Value| {
        let mut body = body.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let entity = "/payload/payment/entity";
    let field = |name: &str| format!("{entity}/{name}");
    let mut cases = vec![
        (Source::Clerk, json!({}), "type"),
        (Source::Clerk, change(&sign_up, "/type", json!(7)), "type"),
        (
            Source::Clerk,
            change(&sign_up, "/data", json!(null)),
            "data.id",
        ),
        (
            Source::Clerk,
            change(&sign_up, "/data", json!([])),
            "data.id",
        ),
        (Source::Clerk, json!({"type": "user.deleted"}), "data.id"),
        (
            Source::Clerk,
            json!({"type": "user.updated", "data": {"id": "user_1"}}),
            "data.updated_at",
        ),
        (Source::Razorpay, json!({}), "event"),
        (
            Source::Razorpay,
            json!({"event": "order.paid"}),
            "payload.payment.entity",
        ),
        (
            Source::Razorpay,
            change(&paid, entity, json!("text")),
            "payload.payment.entity",
        ),
        (
            Source::Razorpay,
            change(&paid, &field("status"), json!(true)),
            "payload.payment.entity.status",
        ),
    ];
    for id in [
        json!(null),
        json!(""),
        json!("user 1"),
        json!("user\u{0}1"),
        json!("u".repeat(256)),
    ] {
        cases.push((Source::Clerk, change(&sign_up, "/data/id", id), "data.id"));
    }
    for id in [
        json!(null),
        json!("order_1"),
        json!("pay_"),
        json!("pay_1/2"),
        json!(1),
    ] {
        cases.push((
            Source::Razorpay,
            change(&paid, &field("id"), id),
            "payload.payment.entity.id",
        ));
    }
    for amount in [
        json!(null),
        json!("49900"),
        json!(499.5),
        json!(-1),
        json!(1e300),
    ] {
        cases.push((
            Source::Razorpay,
            change(&paid, &field("amount"), amount),
            "payload.payment.entity.amount",
        ));
    }
    for currency in [json!(null), json!("RUPEE"), json!("")] {
        cases.push((
            Source::Razorpay,
            change(&paid, &field("currency"), currency),
            "payload.payment.entity.currency",
        ));
    }
    cases
}

/// A genuine delivery that can not be read is kept with the field that it lacks.
#[tokio::test]
async fn what_can_not_be_read_is_parked() {
    let app = TestApp::start().await;
    let cases = unreadable();
    for (source, body, field) in &cases {
        let id = unique("id");
        let (delivery, key) = if *source == Source::Clerk {
            (clerk(&id, body.to_string()), id.clone())
        } else {
            (
                razorpay(&id, body.to_string()),
                razorpay_key(body.to_string().as_bytes()),
            )
        };
        assert_status(&app.deliver(*source, &delivery).await, "parked", &id);
        let row = kept(&app, *source, &key).await.unwrap();
        assert_eq!(row.outcome, "parked", "{body}");
        assert_eq!(
            row.reason,
            Some(format!("missing_fields: {field}")),
            "{body}"
        );
        assert_eq!(row.body, delivery.body);
        assert_status(&app.deliver(*source, &delivery).await, "duplicate", &id);
    }
    assert_eq!(app.count(ALL_EVENTS).await, 0);
    assert_eq!(
        app.count("select count(*) from inbox where outcome = 'parked'")
            .await,
        i64::try_from(cases.len()).unwrap()
    );
    app.stop().await;
}

/// A delivery that the store stumbles over harms no other and is not lost.
#[tokio::test]
async fn what_can_not_be_stored_is_parked_alone() {
    let app = TestApp::start().await;
    for user_id in ["user_1", "user_2"] {
        app.deliver(Source::Clerk, &created(&user(user_id)))
            .await
            .assert_ok(&json!({"status": "recorded"}));
    }
    // What no version of this program has written.
    let spoil =
        "update streams set state = '{\"balance\": \"many\"}' where aggregate_id = 'user_1'";
    assert_eq!(app.sql().await.execute(spoil, &[]).await.unwrap(), 1);
    let poison = captured(&payment(Some("user_1")));
    let good: Vec<_> = (0..20)
        .map(|_| captured(&payment(Some("user_2"))))
        .collect();
    let (poisoned, answers) = futures_util::future::join(
        app.deliver(Source::Razorpay, &poison),
        futures_util::future::join_all(good.iter().map(|one| app.deliver(Source::Razorpay, one))),
    )
    .await;
    poisoned.assert_ok(&json!({"status": "parked"}));
    for answer in answers {
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    let key = razorpay_key(&poison.body);
    let row = kept(&app, Source::Razorpay, &key).await.unwrap();
    assert_eq!((row.outcome.as_str(), row.body), ("parked", poison.body));
    assert_eq!(app.balance("user_2").await, 20 + 20 * 500);
    app.stop().await;
}
