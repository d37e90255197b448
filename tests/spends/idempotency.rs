//! One answer for one key.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{ADMIN_KEY, Answer, SERVICE_KEY, answer};
use crate::support::{Options, TestApp};

const SPENDS: &str = "/v1/users/user_1/spends";

#[track_caller]
fn assert_repeats(again: &Answer, first: &Answer) {
    assert!(again.is_hit() && !first.is_hit(), "{again:?}");
    assert_eq!(again.status, first.status);
    assert_eq!(again.body, first.body);
    assert_eq!(again.headers["content-type"], first.headers["content-type"]);
}

#[tokio::test]
async fn the_first_answer_is_given_again() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let refused = app.post_under("big", SPENDS, &json!({"amount": 11})).await;
    refused.assert_problem(402, "insufficient_credits");
    let first = app.post_under("k", SPENDS, &json!({"amount": 4})).await;
    first.assert_ok(&json!({"spent": 4, "balance": 6}));
    app.grant("user_1", 100).await;
    // A refusal too, though now there would be enough.
    let again = app.post_under("big", SPENDS, &json!({"amount": 11})).await;
    again.assert_problem(402, "insufficient_credits");
    assert_repeats(&again, &refused);
    // However it is written, and whichever default is said.
    for body in [
        "{\"amount\":4}",
        " { \"reason\" : null, \"amount\" : 4 }\n",
        "{\"allow_partial\":false,\"amount\":4}",
    ] {
        let request = app.request(Method::POST, SPENDS).bearer_auth(SERVICE_KEY);
        let request = request.header("idempotency-key", "k").body(body);
        assert_repeats(&answer(request).await, &first);
    }
    assert_eq!(app.account("user_1").await, [106, 0, 106, 0]);
    app.stop().await;
}

#[tokio::test]
async fn a_key_is_remembered_over_a_restart() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let first = app.post_under("k", SPENDS, &json!({"amount": 4})).await;
    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, Options::default()).await;
    let again = app.post_under("k", SPENDS, &json!({"amount": 4})).await;
    assert_repeats(&again, &first);
    assert_eq!(app.account("user_1").await, [6, 0, 6, 0]);
    app.stop().await;
}

#[tokio::test]
async fn another_request_under_the_same_key_is_told_what_differs() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let body = json!({"amount": 4, "reason": "a picture", "reference": "job-1"});
    app.post_under("k", SPENDS, &body)
        .await
        .assert_ok(&json!({"spent": 4}));
    let changed = |changes: Value| {
        let mut body = body.clone();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (path, body, fields) in [
        (SPENDS, changed(json!({"amount": 5})), json!(["amount"])),
        (
            SPENDS,
            changed(json!({"reason": null, "allow_partial": true})),
            json!(["allow_partial", "reason"]),
        ),
        ("/v1/users/user_2/spends", body.clone(), json!(["route"])),
        (
            "/v1/users/user_1/holds",
            body.clone(),
            json!(["allow_partial", "expires_in_s", "route"]),
        ),
    ] {
        let reused = app.post_under("k", path, &body).await;
        reused.assert_problem(409, "idempotency_key_reused");
        assert_eq!(reused.body["fields"], fields, "{path} {body}");
        assert!(!reused.is_hit());
    }
    assert_eq!(app.account("user_1").await, [6, 0, 6, 0]);
    // What was sent is not kept, only digests of it.
    let row = app.sql().await;
    let query = "select fields::text from requests where idempotency_key = 'k'";
    let fields: String = row.query_one(query, &[]).await.unwrap().get(0);
    for value in ["picture", "job-1", "user_1", "POST"] {
        assert!(!fields.contains(value), "{fields}");
    }
    app.stop().await;
}

#[tokio::test]
async fn every_principal_has_keys_of_its_own() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    for api_key in [SERVICE_KEY, ADMIN_KEY] {
        let spent = app
            .post_under_as(api_key, "k", SPENDS, &json!({"amount": 4}))
            .await;
        spent.assert_ok(&json!({"spent": 4}));
        assert!(!spent.is_hit());
    }
    assert_eq!(app.account("user_1").await, [2, 0, 2, 0]);
    app.stop().await;
}

#[tokio::test]
async fn twins_over_instances_get_one_answer() {
    let one = TestApp::start().await;
    let two = TestApp::start_on(one.database.clone(), Options::default()).await;
    one.grant("user_1", 10).await;
    for (key, body, status) in [
        ("enough", json!({"amount": 4}), 200),
        ("too much", json!({"amount": 40}), 402),
    ] {
        let key = key.replace(' ', "-");
        let twins = (0..40).map(|n| {
            let app = if n % 2 == 0 { &one } else { &two };
            app.post_under(&key, SPENDS, &body)
        });
        let answers = join_all(twins).await;
        let bodies: BTreeSet<String> = answers.iter().map(|one| one.body.to_string()).collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        assert!(answers.iter().all(|one| one.status == status));
        let firsts = answers.iter().filter(|one| !one.is_hit()).count();
        assert_eq!(firsts, 1, "{key}");
    }
    assert_eq!(one.account("user_1").await, [6, 0, 6, 0]);
    one.assert_audit_is_clean().await;
    two.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn every_call_that_moves_credits_needs_a_key() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let hold_id = app.hold("user_1", 1).await.text("hold_id");
    let entry_id = app.spend("user_1", 1).await.text("entry_id");
    let grant = json!({"amount": 1, "reason": "a test"});
    let item = json!({"type": "spend", "user_id": "user_1", "amount": 1});
    for (path, body) in [
        (SPENDS.to_owned(), json!({"amount": 1})),
        ("/v1/users/user_1/grants".to_owned(), grant),
        ("/v1/users/user_1/holds".to_owned(), json!({"amount": 1})),
        (
            "/v1/users/user_1/referral".to_owned(),
            json!({"referred_by": "user_2"}),
        ),
        (format!("/v1/holds/{hold_id}/capture"), json!({})),
        (format!("/v1/holds/{hold_id}/release"), json!({})),
        (format!("/v1/spends/{entry_id}/reverse"), json!({})),
        (
            "/v1/bulk".to_owned(),
            json!({"mode": "each", "items": [item]}),
        ),
    ] {
        let post = || {
            let request = app.request(Method::POST, &path).bearer_auth(SERVICE_KEY);
            request.json(&body)
        };
        let none = answer(post()).await;
        none.assert_problem(400, "idempotency_key_required");
        for bad in ["", "a b", &"k".repeat(256)] {
            let refused = answer(post().header("idempotency-key", bad)).await;
            refused.assert_problem(400, "invalid_request");
        }
        let twice = post().header("idempotency-key", "a");
        answer(twice.header("idempotency-key", "b"))
            .await
            .assert_problem(400, "invalid_request");
    }
    assert_eq!(app.account("user_1").await, [9, 1, 8, 0]);
    app.stop().await;
}
