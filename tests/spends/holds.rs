//! Holds: placed, captured, released, over.

use chrono::{DateTime, TimeDelta};
use futures_util::future::{join, join_all};
use serde_json::json;

use crate::support::app::Answer;
use crate::support::{Options, TestApp, eventually};

const HOLDS: &str = "/v1/users/user_1/holds";

async fn capture(app: &TestApp, hold_id: &str, amount: i64) -> Answer {
    let path = format!("/v1/holds/{hold_id}/capture");
    app.post_new(&path, &json!({"amount": amount})).await
}

async fn release(app: &TestApp, hold_id: &str) -> Answer {
    app.post_new(&format!("/v1/holds/{hold_id}/release"), &json!({}))
        .await
}

#[tokio::test]
async fn what_is_held_can_not_be_spent() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let body = json!({"amount": 7, "expires_in_s": 60, "reason": "a film", "reference": "job-1"});
    let placed = app.post_new(HOLDS, &body).await;
    let (hold_id, expires_at) = (placed.text("hold_id"), placed.text("expires_at"));
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(
        placed.body,
        json!({"hold_id": hold_id, "held_amount": 7, "expires_at": expires_at, "balance": 10, "held": 7, "available": 3})
    );
    let ends = DateTime::parse_from_rfc3339(&expires_at).unwrap();
    let lasts_s = (ends.to_utc() - app.now()).num_seconds();
    assert!((50..=60).contains(&lasts_s), "{lasts_s}");
    assert_eq!(app.account("user_1").await, [10, 7, 3, 0]);
    for refused in [app.spend("user_1", 4).await, app.hold("user_1", 4).await] {
        refused.assert_problem(402, "insufficient_credits");
        refused.assert_has(402, &json!({"required": 4, "available": 3}));
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_capture_uses_some_and_gives_back_the_rest() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let hold_id = app.hold("user_1", 7).await.text("hold_id");
    let too_much = capture(&app, &hold_id, 8).await;
    too_much.assert_problem(409, "amount_too_large");
    assert_eq!(too_much.body["available"], 7);
    let captured = capture(&app, &hold_id, 5).await;
    let entry_id = captured.text("entry_id");
    captured.assert_ok(&json!({}));
    assert_eq!(
        captured.body,
        json!({"entry_id": entry_id, "hold_id": hold_id, "captured": 5, "released": 2, "balance": 5, "held": 0, "available": 5})
    );
    for again in [
        capture(&app, &hold_id, 5).await,
        release(&app, &hold_id).await,
    ] {
        again.assert_problem(409, "hold_resolved");
        assert_eq!(again.body["resolution"], "captured");
    }
    // It is a spend like any other.
    app.post_new(
        &format!("/v1/spends/{entry_id}/reverse"),
        &json!({"amount": 1}),
    )
    .await
    .assert_ok(&json!({"reversed": 1, "balance": 6}));
    // Without an amount all of it is used.
    let hold_id = app.hold("user_1", 6).await.text("hold_id");
    app.post_new(&format!("/v1/holds/{hold_id}/capture"), &json!({}))
        .await
        .assert_ok(&json!({"captured": 6, "released": 0, "balance": 0, "available": 0}));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_release_gives_back_all() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let hold_id = app.hold("user_1", 7).await.text("hold_id");
    let released = release(&app, &hold_id).await;
    let entry_id = released.text("entry_id");
    assert_eq!(
        released.body,
        json!({"entry_id": entry_id, "hold_id": hold_id, "released": 7, "balance": 10, "held": 0, "available": 10})
    );
    let again = capture(&app, &hold_id, 1).await;
    again.assert_problem(409, "hold_resolved");
    assert_eq!(again.body["resolution"], "released");
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_hold_ends_by_itself_when_its_time_is_over() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let body = json!({"amount": 7, "expires_in_s": 60});
    let hold_id = app.post_new(HOLDS, &body).await.text("hold_id");
    app.move_clock(TimeDelta::seconds(61));
    for late in [
        capture(&app, &hold_id, 7).await,
        release(&app, &hold_id).await,
    ] {
        late.assert_problem(409, "hold_resolved");
        assert_eq!(late.body["resolution"], "timed_out");
    }
    app.spend("user_1", 10)
        .await
        .assert_ok(&json!({"spent": 10, "balance": 0, "available": 0}));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_hold_is_refused() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    for body in [
        json!({}),
        json!({"amount": 0}),
        json!({"amount": 1, "expires_in_s": 0}),
        json!({"amount": 1, "expires_in_s": 2_592_001}),
        json!({"amount": 1, "expires_in_s": 1.5}),
        json!({"amount": 1, "allow_partial": true}),
    ] {
        app.post_new(HOLDS, &body)
            .await
            .assert_problem(400, "invalid_request");
    }
    app.post_new(HOLDS, &json!({"amount": 1, "expires_in_s": 2_592_000}))
        .await
        .assert_has(201, &json!({"held_amount": 1}));
    let spend = app.spend("user_1", 1).await.text("entry_id");
    for other in [&spend, "0-999999", "999-1"] {
        for answer in [capture(&app, other, 1).await, release(&app, other).await] {
            answer.assert_problem(404, "hold_not_found");
        }
    }
    for none in ["1", "hold", "0-0"] {
        release(&app, none)
            .await
            .assert_problem(400, "invalid_request");
    }
    let hold_id = app.hold("user_1", 1).await.text("hold_id");
    app.post_new(
        &format!("/v1/holds/{hold_id}/release"),
        &json!({"amount": 1}),
    )
    .await
    .assert_problem(400, "invalid_request");
    app.post_new(
        &format!("/v1/holds/{hold_id}/capture"),
        &json!({"amount": 0}),
    )
    .await
    .assert_problem(400, "invalid_request");
    assert_eq!(app.account("user_1").await, [9, 2, 7, 0]);
    app.stop().await;
}

#[tokio::test]
async fn of_many_who_resolve_a_hold_one_does() {
    let one = TestApp::start().await;
    let two = TestApp::start_on(one.database.clone(), Options::default()).await;
    one.grant("user_1", 10).await;
    let hold_id = one.hold("user_1", 10).await.text("hold_id");
    let rivals = (0..24).map(async |n| {
        let app = if n % 2 == 0 { &one } else { &two };
        if n % 3 == 0 {
            release(app, &hold_id).await
        } else {
            capture(app, &hold_id, 4).await
        }
    });
    let answers = join_all(rivals).await;
    let (first, rest): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|one| one.status == 200);
    assert_eq!(first.len(), 1, "{answers:?}");
    let (resolution, left) = if first[0].body["captured"] == 4 {
        ("captured", 6)
    } else {
        ("released", 10)
    };
    for answer in rest {
        answer.assert_problem(409, "hold_resolved");
        assert_eq!(answer.body["resolution"], resolution);
    }
    assert_eq!(one.account("user_1").await, [left, 0, left, 0]);
    one.assert_audit_is_clean().await;
    two.stop().await;
    one.stop().await;
}

/// Not from when it was asked for: whoever asked may have waited, and has another clock.
#[tokio::test]
async fn a_hold_lasts_from_when_it_is_decided() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let others = app.sql().await;
    let lock = "begin; select from heads for update";
    others.batch_execute(lock).await.unwrap();
    let body = json!({"amount": 7, "expires_in_s": 60});
    let deciding = async {
        let waits = "select count(*) from pg_stat_activity
            where application_name = 'credit-ledger lane' and wait_event_type = 'Lock'";
        eventually("the hold waits", async || {
            (app.count(waits).await > 0).then_some(())
        })
        .await;
        app.move_clock(TimeDelta::seconds(100));
        others.batch_execute("rollback").await.unwrap();
    };
    let (placed, ()) = join(app.post_new(HOLDS, &body), deciding).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let ends = DateTime::parse_from_rfc3339(&placed.text("expires_at")).unwrap();
    let lasts_s = (ends.to_utc() - app.now()).num_seconds();
    assert!((50..=60).contains(&lasts_s), "{lasts_s}");
    assert_eq!(app.account("user_1").await, [10, 7, 3, 0]);
    app.stop().await;
}
