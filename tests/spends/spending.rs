//! Spends and their reversal.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::{ADMIN_KEY, Answer};
use crate::support::deliveries::unique;
use crate::support::{Options, TestApp};

const SPENDS: &str = "/v1/users/user_1/spends";

#[track_caller]
fn assert_is(answer: &Answer, status: u16, expected: &Value) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.body, *expected);
}

#[tokio::test]
async fn a_spend_takes_what_is_there_and_no_more() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let body = json!({"amount": 4, "reason": "a picture", "reference": "job-1"});
    let spent = app.post_new(SPENDS, &body).await;
    let entry_id = spent.text("entry_id");
    assert_is(
        &spent,
        200,
        &json!({"entry_id": entry_id, "spent": 4, "balance": 6, "available": 6}),
    );
    assert!(!spent.is_hit());
    let refused = app.spend("user_1", 7).await;
    refused.assert_problem(402, "insufficient_credits");
    refused.assert_has(402, &json!({"required": 7, "available": 6}));
    assert_eq!(app.account("user_1").await, [6, 0, 6, 0]);
    // The statement knows it by the same id, and why.
    let entries = app.get("/v1/users/user_1/entries?limit=1").await;
    let newest = &entries.body["items"][0];
    assert_eq!(newest["entry_id"], entry_id.as_str());
    assert_eq!(newest["type"], "CreditsSpent");
    assert_eq!(newest["delta"], -4);
    assert_eq!(newest["source"], "api");
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn less_is_taken_only_if_asked() {
    let app = TestApp::start().await;
    app.grant("user_1", 3).await;
    let partly = json!({"amount": 5, "allow_partial": true});
    app.post_new(SPENDS, &json!({"amount": 5, "allow_partial": false}))
        .await
        .assert_problem(402, "insufficient_credits");
    app.post_new(SPENDS, &partly)
        .await
        .assert_ok(&json!({"spent": 3, "balance": 0, "available": 0}));
    // Of nothing there is no part.
    let refused = app.post_new(SPENDS, &partly).await;
    refused.assert_has(402, &json!({"required": 5, "available": 0}));
    app.stop().await;
}

#[tokio::test]
async fn a_user_nobody_knows_has_nothing_to_spend() {
    let app = TestApp::start().await;
    let refused = app.spend("user_new", 1).await;
    refused.assert_has(402, &json!({"required": 1, "available": 0}));
    app.get("/v1/users/user_new")
        .await
        .assert_problem(404, "user_not_found");
    app.stop().await;
}

#[tokio::test]
async fn an_operator_may_spend_too() {
    let app = TestApp::start().await;
    app.grant("user_1", 1).await;
    let body = json!({"amount": 1});
    app.post_under_as(ADMIN_KEY, &unique("key_"), SPENDS, &body)
        .await
        .assert_ok(&json!({"spent": 1}));
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_spend_is_refused_and_not_remembered() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let long = |chars| "x".repeat(chars);
    for (body, field) in [
        (json!({}), "amount"),
        (json!({"amount": null}), "amount"),
        (json!({"amount": 0}), "amount"),
        (json!({"amount": -1}), "amount"),
        (json!({"amount": 1.5}), "amount"),
        (json!({"amount": "1"}), "amount"),
        (json!({"amount": 9_007_199_254_740_992_i64}), "amount"),
        (
            json!({"amount": 1, "allow_partial": "yes"}),
            "allow_partial",
        ),
        (json!({"amount": 1, "reason": 1}), "reason"),
        (json!({"amount": 1, "reason": ""}), "reason"),
        (json!({"amount": 1, "reason": long(501)}), "reason"),
        (json!({"amount": 1, "reason": "a\u{0}b"}), "reason"),
        (json!({"amount": 1, "reference": long(256)}), "reference"),
        (json!({"amount": 1, "user_id": "user_2"}), "user_id"),
    ] {
        let refused = app.post_under("one key", SPENDS, &body).await;
        refused.assert_problem(400, "invalid_request");
        let refused = app.post_under("one-key", SPENDS, &body).await;
        refused.assert_problem(400, "invalid_request");
        let detail = refused.text("detail");
        assert!(detail.starts_with(field), "{body}: {detail}");
    }
    // The key is as good as new.
    let spent = app
        .post_under(
            "one-key",
            SPENDS,
            &json!({"amount": 1, "reason": long(500)}),
        )
        .await;
    spent.assert_ok(&json!({"spent": 1}));
    assert!(!spent.is_hit());
    for user_id in ["a%20b", "%00"] {
        let path = format!("/v1/users/{user_id}/spends");
        app.post_new(&path, &json!({"amount": 1}))
            .await
            .assert_problem(400, "invalid_request");
    }
    assert_eq!(app.account("user_1").await, [9, 0, 9, 0]);
    app.stop().await;
}

#[tokio::test]
async fn credits_for_a_hundred_are_spent_a_hundred_times() {
    let one = TestApp::start().await;
    let two = TestApp::start_on(one.database.clone(), Options::default()).await;
    one.grant("user_1", 100).await;
    let spenders = (0..256).map(|n| if n % 2 == 0 { &one } else { &two }.spend("user_1", 1));
    let mut left = vec![];
    let mut refused = 0;
    for answer in join_all(spenders).await {
        if answer.status == 200 {
            left.push(answer.body["available"].as_i64().unwrap());
        } else {
            answer.assert_has(402, &json!({"required": 1, "available": 0}));
            refused += 1;
        }
    }
    // Each saw the account after itself.
    left.sort_unstable();
    assert_eq!(left, (0..100).collect::<Vec<i64>>());
    assert_eq!(refused, 156);
    assert_eq!(one.account("user_1").await, [0, 0, 0, 0]);
    one.assert_audit_is_clean().await;
    two.stop().await;
    one.stop().await;
}

fn reverse(entry_id: &str) -> String {
    format!("/v1/spends/{entry_id}/reverse")
}

#[tokio::test]
async fn a_spend_is_reversed_once_wholly_or_in_part() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let whole = app.spend("user_1", 4).await.text("entry_id");
    let part = app.spend("user_1", 6).await.text("entry_id");
    let reversed = app
        .post_new(&reverse(&whole), &json!({"reason": "it failed"}))
        .await;
    let entry_id = reversed.text("entry_id");
    assert_is(
        &reversed,
        200,
        &json!({"entry_id": entry_id, "reversed": 4, "balance": 4, "available": 4, "debt": 0}),
    );
    let too_much = app.post_new(&reverse(&part), &json!({"amount": 7})).await;
    too_much.assert_problem(409, "amount_too_large");
    assert_eq!(too_much.body["available"], 6);
    app.post_new(&reverse(&part), &json!({"amount": 2}))
        .await
        .assert_ok(&json!({"reversed": 2, "balance": 6, "available": 6}));
    for entry_id in [&whole, &part] {
        app.post_new(&reverse(entry_id), &json!({"amount": 1}))
            .await
            .assert_problem(409, "already_reversed");
    }
    // What is no spend: a grant, a reversal, nothing at all.
    let grant = app.grant("user_1", 1).await.text("entry_id");
    for other in [&grant, &entry_id, "0-999999", "999-1"] {
        app.post_new(&reverse(other), &json!({}))
            .await
            .assert_problem(404, "spend_not_found");
    }
    for none in ["1", "a-1", "0-0", "-1-1", "0-1-1", "%00"] {
        app.post_new(&reverse(none), &json!({}))
            .await
            .assert_problem(400, "invalid_request");
    }
    for body in [json!({"amount": 0}), json!({"reference": "x"})] {
        app.post_new(&reverse(&part), &body)
            .await
            .assert_problem(400, "invalid_request");
    }
    assert_eq!(app.account("user_1").await, [7, 0, 7, 0]);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn twins_of_a_reversal_under_keys_of_their_own_have_one_effect() {
    let one = TestApp::start().await;
    let two = TestApp::start_on(one.database.clone(), Options::default()).await;
    one.grant("user_1", 10).await;
    let path = reverse(&one.spend("user_1", 10).await.text("entry_id"));
    let body = json!({});
    let twins = (0..20).map(|n| if n % 2 == 0 { &one } else { &two }.post_new(&path, &body));
    let answers = join_all(twins).await;
    let reversed = answers.iter().filter(|one| one.status == 200).count();
    assert_eq!(reversed, 1, "{answers:?}");
    for answer in answers.iter().filter(|one| one.status != 200) {
        answer.assert_problem(409, "already_reversed");
    }
    assert_eq!(one.account("user_1").await, [10, 0, 10, 0]);
    two.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn what_ended_before_a_spend_is_not_its_answer() {
    let app = TestApp::start().await;
    let ends = (app.now() + TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%SZ");
    let body = json!({"amount": 10, "reason": "a test", "expires_at": ends.to_string()});
    app.post_new("/v1/users/user_1/grants", &body)
        .await
        .assert_ok(&json!({"granted": 10}));
    app.grant("user_1", 5).await;
    app.move_clock(TimeDelta::hours(2));
    app.post_new(SPENDS, &json!({"amount": 9, "allow_partial": true}))
        .await
        .assert_ok(&json!({"spent": 5, "balance": 0}));
    let types = app.events("user", "user_1").await;
    assert_eq!(
        types,
        [
            "CreditsGranted",
            "CreditsGranted",
            "CreditsExpired",
            "CreditsSpent"
        ]
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_for_ever_under_its_key() {
    let app = TestApp::start().await;
    let paths = [
        ("/v1/spends/0-999/reverse", "spend_not_found"),
        ("/v1/holds/0-999/capture", "hold_not_found"),
        ("/v1/holds/0-999/release", "hold_not_found"),
    ];
    for (n, (path, code)) in paths.into_iter().enumerate() {
        let key = format!("k{n}");
        for hit in [None, Some("true")] {
            let answer = app.post_under(&key, path, &json!({})).await;
            answer.assert_problem(404, code);
            let header = answer.headers.get("idempotency-hit");
            assert_eq!(header.map(|value| value.to_str().unwrap()), hit, "{path}");
        }
    }
    let other = app.post_under("k0", paths[1].0, &json!({})).await;
    other.assert_problem(409, "idempotency_key_reused");
    app.stop().await;
}
