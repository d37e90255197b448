//! Grants.

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{self, SampleRefund};
use serde_json::json;

use crate::support::TestApp;
use crate::support::app::ADMIN_KEY;
use crate::support::deliveries::{captured, payment, razorpay, unique};

const GRANTS: &str = "/v1/users/user_1/grants";

#[tokio::test]
async fn a_grant_says_who_gave_what_and_why() {
    let app = TestApp::start().await;
    let body = json!({"amount": 5, "reason": "sorry"});
    let granted = app.post_new(GRANTS, &body).await;
    let entry_id = granted.text("entry_id");
    assert_eq!(
        granted.body,
        json!({"entry_id": entry_id, "granted": 5, "balance": 5, "available": 5, "debt": 0})
    );
    let ends = (app.now() + TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%S+00:00");
    let body = json!({
        "amount": 7, "reason": "spring", "expires_at": ends.to_string(), "kind": "promo", "priority": 5, "actor": "asha",
    });
    app.post_under_as(ADMIN_KEY, &unique("key_"), GRANTS, &body)
        .await
        .assert_ok(&json!({"granted": 7, "balance": 12}));
    let sql = app.sql().await;
    let query = "select payload->>'kind', payload->>'actor', payload->>'reason', (payload->>'priority')::int,
                        (payload->>'expires_at_s') is not null
                   from events where event_type = 'CreditsGranted' order by sequence";
    let rows: Vec<_> = sql.query(query, &[]).await.unwrap();
    let says = |n: usize| {
        let row = &rows[n];
        let texts = [0, 1, 2].map(|column| row.get::<_, String>(column));
        (texts, row.get::<_, Option<i32>>(3), row.get::<_, bool>(4))
    };
    let own = ["bonus", "service", "sorry"].map(str::to_owned);
    assert_eq!(says(0), (own, None, false));
    let named = ["promo", "admin:asha", "spring"].map(str::to_owned);
    assert_eq!(says(1), (named, Some(5), true));
    // What ends is over when its time has come.
    app.move_clock(TimeDelta::days(1));
    assert_eq!(app.account("user_1").await, [5, 0, 5, 0]);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_grant_is_refused() {
    let app = TestApp::start().await;
    let with = |name: &str, value| {
        let mut body = json!({"amount": 5, "reason": "sorry"});
        body[name] = value;
        body
    };
    for (body, field) in [
        (json!({"amount": 5}), "reason"),
        (with("reason", json!(" ")), "reason"),
        (with("reason", json!("a\nb")), "reason"),
        (with("amount", json!(0)), "amount"),
        (with("kind", json!("paid")), "kind"),
        (with("kind", json!("plan")), "kind"),
        (with("priority", json!(256)), "priority"),
        (with("priority", json!(-1)), "priority"),
        (with("actor", json!("")), "actor"),
        (with("expires_at", json!("tomorrow")), "expires_at"),
        (with("expires_at", json!(1_900_000_000)), "expires_at"),
        (
            with("expires_at", json!("2101-01-01T00:00:00.5Z")),
            "expires_at",
        ),
        (with("expires_at", json!("2101-01-01")), "expires_at"),
        (
            with("expires_at", json!("2001-01-01T00:00:00Z")),
            "expires_at",
        ),
        (with("credits", json!(5)), "credits"),
    ] {
        let refused = app.post_new(GRANTS, &body).await;
        refused.assert_problem(400, "invalid_request");
        let detail = refused.text("detail");
        assert!(detail.starts_with(field), "{body}: {detail}");
    }
    app.get("/v1/users/user_1")
        .await
        .assert_problem(404, "user_not_found");
    app.stop().await;
}

#[tokio::test]
async fn an_account_that_is_full_takes_no_more() {
    let app = TestApp::start().await;
    let most = 9_007_199_254_740_991_i64;
    app.grant("user_1", most).await;
    app.post_new(GRANTS, &json!({"amount": 1, "reason": "more"}))
        .await
        .assert_problem(409, "balance_too_large");
    assert_eq!(app.account("user_1").await, [most, 0, most, 0]);
    app.stop().await;
}

/// A grant that ends is not asked again whether it ends in the future: it was, when it was made.
#[tokio::test]
async fn a_grant_is_found_again_when_its_credits_are_over() {
    let app = TestApp::start().await;
    let ends = (app.now() + TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%SZ");
    let body = json!({"amount": 5, "reason": "sorry", "expires_at": ends.to_string()});
    let first = app.post_under("k", GRANTS, &body).await;
    first.assert_ok(&json!({"granted": 5}));
    app.move_clock(TimeDelta::hours(2));
    let again = app.post_under("k", GRANTS, &body).await;
    assert!(again.is_hit());
    assert_eq!(again.body, first.body);
    let late = app.post_under("late", GRANTS, &body).await;
    late.assert_problem(400, "invalid_request");
    app.stop().await;
}

#[tokio::test]
async fn a_grant_repays_debt_first() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.spend("user_1", 500)
        .await
        .assert_ok(&json!({"spent": 500}));
    let refund = SampleRefund {
        refund_id: unique("rfnd_"),
        amount_minor: paid.amount_minor,
        refunded_total_minor: paid.amount_minor,
    };
    let body = sample::razorpay_refund("refund.processed", &paid, &refund);
    app.deliver(
        Source::Razorpay,
        &razorpay(&unique("evt"), body.to_string()),
    )
    .await
    .assert_ok(&json!({"status": "recorded"}));
    app.grant("user_1", 400)
        .await
        .assert_ok(&json!({"granted": 400, "balance": 0, "available": 0, "debt": 100}));
    app.grant("user_1", 150)
        .await
        .assert_ok(&json!({"granted": 150, "balance": 50, "available": 50, "debt": 0}));
    app.assert_audit_is_clean().await;
    app.stop().await;
}
