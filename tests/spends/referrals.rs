//! Rewards for recommendations.

use std::sync::Arc;

use credit_ledger::ledger::Credits;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Options, TestApp};

const REFERRAL: &str = "/v1/users/user_new/referral";

fn rewards(referred: i64, by: i64) -> Options {
    Options {
        configure: Arc::new(move |config| {
            config.referral.referred_credits = Credits::new(referred).unwrap();
            config.referral.referrer_credits = Credits::new(by).unwrap();
        }),
        ..Options::default()
    }
}

fn by(user_id: &str) -> Value {
    json!({"referred_by": user_id})
}

#[tokio::test]
async fn both_sides_are_rewarded_once() {
    let app = TestApp::start_with(rewards(10, 25)).await;
    let first = app.post_under("k", REFERRAL, &by("user_old")).await;
    first.assert_ok(&json!({}));
    let [to_new, to_old] = ["referred", "referrer"]
        .map(|side| first.body[side]["entry_id"].as_str().unwrap().to_owned());
    assert_eq!(
        first.body,
        json!({
            "referred": {"user_id": "user_new", "entry_id": to_new, "granted": 10},
            "referrer": {"user_id": "user_old", "entry_id": to_old, "granted": 25},
        })
    );
    assert!(!first.is_hit());
    let again = app.post_under("k", REFERRAL, &by("user_old")).await;
    assert!(again.is_hit());
    assert_eq!(again.body, first.body);
    // Under another key it is known all the same.
    let known = app.post_new(REFERRAL, &by("user_old")).await;
    assert!(known.is_hit());
    assert_eq!(
        known.body,
        json!({
            "referred": {"user_id": "user_new", "entry_id": null, "granted": 0},
            "referrer": {"user_id": "user_old", "entry_id": null, "granted": 0},
        })
    );
    app.post_new(REFERRAL, &by("user_other"))
        .await
        .assert_problem(409, "already_referred");
    app.post_new("/v1/users/user_2/referral", &by("user_old"))
        .await
        .assert_ok(&json!({}));
    assert_eq!(app.balance("user_new").await, 10);
    assert_eq!(app.balance("user_old").await, 50);
    assert_eq!(app.balance("user_other").await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn one_side_may_get_nothing() {
    let app = TestApp::start_with(rewards(0, 25)).await;
    let first = app.post_new(REFERRAL, &by("user_old")).await;
    assert!(!first.is_hit());
    assert_eq!(first.body["referred"]["granted"], 0);
    assert_eq!(first.body["referred"]["entry_id"], Value::Null);
    assert_eq!(first.body["referrer"]["granted"], 25);
    app.stop().await;
}

#[tokio::test]
async fn without_rewards_there_is_nothing_to_say() {
    let app = TestApp::start().await;
    app.post_new(REFERRAL, &by("user_old"))
        .await
        .assert_problem(409, "referral_not_configured");
    assert_eq!(app.count("select count(*) from events").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_referral_is_refused() {
    let app = TestApp::start_with(rewards(10, 25)).await;
    for body in [
        json!({}),
        by(""),
        by("a b"),
        json!({"referred_by": 1}),
        by("user_new"),
    ] {
        app.post_new(REFERRAL, &body)
            .await
            .assert_problem(400, "invalid_request");
    }
    assert_eq!(app.count("select count(*) from events").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn of_many_who_claim_a_user_one_is_rewarded() {
    let one = TestApp::start_with(rewards(10, 25)).await;
    let two = TestApp::start_on(one.database.clone(), rewards(10, 25)).await;
    let claims = (0..20).map(async |n| {
        let app = if n % 2 == 0 { &one } else { &two };
        app.post_new(REFERRAL, &by(&format!("user_{n}"))).await
    });
    let answers = join_all(claims).await;
    let rewarded = answers.iter().filter(|one| one.status == 200).count();
    assert_eq!(rewarded, 1, "{answers:?}");
    assert_eq!(one.balance("user_new").await, 10);
    one.assert_audit_is_clean().await;
    two.stop().await;
    one.stop().await;
}
