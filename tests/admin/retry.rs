//! An operator tries a delivery again.

use std::sync::Arc;

use credit_ledger::ledger::{Credits, Source};
use serde_json::json;

use super::look::park;
use crate::support::deliveries::{captured, created, payment, razorpay, unique, user};
use crate::support::{Options, TestApp, integrity};

fn path(source: &str, event_id: &str) -> String {
    format!("/v1/admin/inbox/{source}/{event_id}/retry")
}

#[tokio::test]
async fn a_delivery_that_still_can_not_be_read_waits_on() {
    let app = TestApp::start().await;
    let event_id = park(&app).await;
    let why = json!({"reason": "ticket 1"});
    for attempts in [2, 3] {
        let answer = app.post_as_operator(&path("clerk", &event_id), &why).await;
        answer.assert_ok(&json!({"status": "parked", "event_id": event_id}));
        assert!(!answer.headers.contains_key("idempotency-hit"));
        let list = app.get_as_operator("/v1/admin/inbox").await;
        assert_eq!(list.body["items"][0]["attempts"], attempts);
        assert!(list.body["items"][0]["next_attempt_at"].is_string());
    }
    app.stop().await;
}

/// The account was full; now there is room. By the provider's event id, and then by the inbox key.
#[tokio::test]
async fn a_delivery_that_a_rule_refused_is_recorded_once_the_rule_agrees() {
    let options = |bonus: i64| Options {
        configure: Arc::new(move |config| {
            config.rules.signup.bonus_credits = Credits::new(bonus).unwrap();
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(options(Credits::MAX)).await;
    app.deliver(Source::Razorpay, &captured(&payment(Some("user_1"))))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let sign_up = created(&user("user_1"));
    app.deliver(Source::Clerk, &sign_up)
        .await
        .assert_ok(&json!({"status": "parked"}));
    let event_id = sign_up.headers[0].1.clone();
    let list = app.get_as_operator("/v1/admin/inbox").await;
    assert_eq!(list.body["items"][0]["event_id"], event_id);

    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, options(20)).await;
    let why = json!({"reason": "the bonus was a typing mistake"});
    let answer = app.post_as_operator(&path("clerk", &event_id), &why).await;
    answer.assert_ok(&json!({"status": "recorded", "event_id": event_id}));
    assert_eq!(app.balance("user_1").await, 520);
    let sql = "select count(*) from events where source = 'clerk' and metadata->>'actor' = 'admin'
                  and metadata->>'reason' = 'the bonus was a typing mistake' and metadata->>'inbox' is not null";
    assert_eq!(app.count(sql).await, 2);
    // It does not wait any more: its present status, and nothing happens.
    let again = app.post_as_operator(&path("clerk", &event_id), &why).await;
    again.assert_ok(&json!({"status": "recorded", "event_id": event_id}));
    assert_eq!(again.headers["idempotency-hit"], "true");
    assert_eq!(app.count(sql).await, 2);
    integrity::assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Razorpay's event id is not signed and may hold anything that a header can; its inbox key is the digest of the bytes.
#[tokio::test]
async fn a_delivery_is_named_by_its_event_id_or_by_its_key() {
    let app = TestApp::start().await;
    let event_id = "evt/with a slash+%41";
    let body = json!({"id": unique("x"), "event": "payment.captured", "payload": {}});
    app.deliver(Source::Razorpay, &razorpay(event_id, body.to_string()))
        .await
        .assert_ok(&json!({"status": "parked"}));
    let list = app.get_as_operator("/v1/admin/inbox").await;
    let key = list.body["items"][0]["key"].as_str().unwrap();
    let why = json!({"reason": "ticket 1"});
    for name in [key, "evt%2Fwith%20a%20slash+%2541"] {
        app.post_as_operator(&path("razorpay", name), &why)
            .await
            .assert_ok(&json!({"status": "parked", "event_id": event_id}));
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_there_or_has_no_reason_is_refused() {
    let app = TestApp::start().await;
    let event_id = park(&app).await;
    let why = json!({"reason": "ticket 1"});
    for (source, id, status, code) in [
        ("clerk", "msg_unknown", 404, "delivery_not_found"),
        ("razorpay", event_id.as_str(), 404, "delivery_not_found"),
        ("paypal", &event_id, 404, "unknown_provider"),
        ("admin", &event_id, 404, "unknown_provider"),
        ("clerk", "a%00b", 400, "invalid_request"),
    ] {
        app.post_as_operator(&path(source, id), &why)
            .await
            .assert_problem(status, code);
    }
    for body in [
        json!({}),
        json!({"reason": ""}),
        json!({"reason": "good", "force": true}),
    ] {
        app.post_as_operator(&path("clerk", &event_id), &body)
            .await
            .assert_problem(400, "invalid_request");
    }
    app.post_as_operator(&path("clerk", &event_id), &json!([]))
        .await
        .assert_problem(400, "malformed");
    let list = app.get_as_operator("/v1/admin/inbox").await;
    assert_eq!(list.body["items"][0]["attempts"], 1);
    app.stop().await;
}
