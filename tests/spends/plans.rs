//! Plans.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;

use crate::support::TestApp;
use crate::support::app::{SERVICE_KEY, answer};

const PLAN: &str = "/v1/users/user_1/plan";

#[tokio::test]
async fn a_plan_and_what_comes_with_it_are_set_once() {
    let app = TestApp::start().await;
    let body = json!({"plan": "pro", "bonus_credits": 50});
    let set = app.put(PLAN, &body).await;
    set.assert_ok(&json!({}));
    assert_eq!(
        set.body,
        json!({"user_id": "user_1", "plan": "pro", "changed": true, "bonus_granted": 50, "balance": 50, "available": 50})
    );
    app.put(PLAN, &body)
        .await
        .assert_ok(&json!({"plan": "pro", "changed": false, "bonus_granted": 0, "balance": 50}));
    app.put(PLAN, &json!({"plan": "free"}))
        .await
        .assert_ok(&json!({"plan": "free", "changed": true, "bonus_granted": 0, "balance": 50}));
    app.get("/v1/users/user_1")
        .await
        .assert_ok(&json!({"plan": "free", "balance": 50}));
    // Nothing of a call without a key is kept.
    assert_eq!(app.count("select count(*) from requests").await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_key_that_is_sent_is_honoured() {
    let app = TestApp::start().await;
    let put = async |key: &str, plan: &str| {
        let request = app.request(Method::PUT, PLAN).bearer_auth(SERVICE_KEY);
        let body = json!({"plan": plan, "bonus_credits": 5});
        answer(request.header("idempotency-key", key).json(&body)).await
    };
    let first = put("k", "pro").await;
    first.assert_ok(&json!({"changed": true, "bonus_granted": 5}));
    put("other", "free")
        .await
        .assert_ok(&json!({"changed": true}));
    let again = put("k", "pro").await;
    assert!(again.is_hit());
    assert_eq!(again.body, first.body);
    app.get("/v1/users/user_1")
        .await
        .assert_ok(&json!({"plan": "free"}));
    put("k", "free")
        .await
        .assert_problem(409, "idempotency_key_reused");
    put("", "pro").await.assert_problem(400, "invalid_request");
    app.stop().await;
}

#[tokio::test]
async fn the_bonus_of_a_plan_may_end() {
    let app = TestApp::start().await;
    let ends = (app.now() + TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%SZ");
    let body = json!({"plan": "pro", "bonus_credits": 5, "bonus_expires_at": ends.to_string()});
    app.put(PLAN, &body)
        .await
        .assert_ok(&json!({"bonus_granted": 5, "available": 5}));
    app.move_clock(TimeDelta::hours(1));
    assert_eq!(app.account("user_1").await, [0, 0, 0, 0]);
    app.put(PLAN, &json!({"plan": "pro"}))
        .await
        .assert_ok(&json!({"changed": false, "balance": 0, "available": 0}));
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_plan_is_refused() {
    let app = TestApp::start().await;
    for body in [
        json!({}),
        json!({"plan": ""}),
        json!({"plan": "x".repeat(256)}),
        json!({"plan": "a\u{0}b"}),
        json!({"plan": "pro", "bonus_credits": -1}),
        json!({"plan": "pro", "bonus_expires_at": "2101-01-01T00:00:00Z"}),
        json!({"plan": "pro", "bonus_credits": 1, "bonus_expires_at": "2001-01-01T00:00:00Z"}),
        json!({"plan": "pro", "reason": "x"}),
    ] {
        let refused = app.put(PLAN, &body).await;
        refused.assert_problem(400, "invalid_request");
    }
    assert_eq!(app.count("select count(*) from events").await, 0);
    app.stop().await;
}
