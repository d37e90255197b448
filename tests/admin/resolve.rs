//! An operator says whose a purchase is and what it buys.

use credit_ledger::ledger::Source;
use serde_json::{Value, json};

use super::look::pay;
use crate::support::deliveries::{captured, some_time};
use crate::support::{TestApp, integrity};

fn path(purchase_id: &str) -> String {
    format!("/v1/admin/purchases/{purchase_id}/resolve")
}

/// Who caused the events of a purchase and of its user, and why: type, source, actor, reason.
async fn causes(app: &TestApp, purchase_id: &str) -> Vec<[String; 4]> {
    let sql = "select event_type, source, coalesce(metadata->>'actor', ''), coalesce(metadata->>'reason', '')
                 from events where aggregate_id = $1 or payload->>'purchase_id' = $1
                order by recorded_at, aggregate_type, sequence";
    let rows = app.sql().await.query(sql, &[&purchase_id]).await.unwrap();
    rows.iter()
        .map(|row| [0, 1, 2, 3].map(|column| row.get(column)))
        .collect()
}

#[tokio::test]
async fn a_purchase_that_nobody_claimed_gets_its_user() {
    let app = TestApp::start().await;
    let id = pay(&app, None, true).await;
    let body = json!({"user_id": "user_1", "reason": "ticket 4711"});
    let answer = app.post_as_operator(&path(&id), &body).await;
    answer.assert_ok(&json!({"status": "recorded"}));
    assert!(!answer.headers.contains_key("idempotency-hit"));
    let purchase = &answer.body["purchase"];
    for (name, value) in [
        ("purchase_id", json!(id)),
        ("user_id", json!("user_1")),
        ("sku", json!("credits_500")),
        ("credits", json!(500)),
        ("status", json!("captured")),
    ] {
        assert_eq!(purchase[name], value, "{name}");
    }
    assert_eq!(app.balance("user_1").await, 500);
    assert_eq!(
        causes(&app, &id).await[1..],
        [
            ["PurchaseClaimed", "admin", "admin", "ticket 4711"],
            ["CreditsPurchased", "admin", "admin", "ticket 4711"],
        ]
        .map(|event| event.map(str::to_owned))
    );
    // Once more: the same answer, and nothing happens.
    let again = app.post_as_operator(&path(&id), &body).await;
    again.assert_ok(&json!({"status": "duplicate", "purchase": purchase}));
    assert_eq!(again.headers["idempotency-hit"], "true");
    assert_eq!(causes(&app, &id).await.len(), 3);
    integrity::assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_purchase_that_fits_nothing_gets_a_pack_or_plain_credits() {
    let app = TestApp::start().await;
    for (says, sku, credits) in [
        (json!({"sku": "credits_100"}), "credits_100", 100),
        (json!({"credits": 77}), "manual", 77),
        // Money that buys nothing: nobody has to look at it again.
        (json!({"credits": 0}), "manual", 0),
    ] {
        let before = app.balance("user_1").await;
        let id = pay(&app, Some("user_1"), false).await;
        let mut body = says.clone();
        body["reason"] = json!("paid the old price");
        for status in ["recorded", "duplicate"] {
            let answer = app.post_as_operator(&path(&id), &body).await;
            answer.assert_ok(&json!({"status": status}));
            assert_eq!(answer.body["purchase"]["sku"], sku);
            assert_eq!(answer.body["purchase"]["credits"], credits);
        }
        assert_eq!(app.balance("user_1").await, before + credits, "{says}");
    }
    let list = app
        .get_as_operator("/v1/admin/purchases?status=unpriced")
        .await;
    assert_eq!(list.body["items"], json!([]));
    // A pack's credits live from the payment on, as if the catalog had known it then.
    let ends = app
        .count("select (payload->>'expires_at_s')::bigint from events where event_type = 'CreditsPurchased' and payload->>'expires_at_s' is not null")
        .await;
    assert_eq!(ends, some_time().timestamp() + 365 * 86_400);
    integrity::assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_user_and_a_price_are_given_together() {
    let app = TestApp::start().await;
    let id = pay(&app, None, false).await;
    let body =
        json!({"user_id": "user_1", "sku": "credits_500", "credits": null, "reason": "both"});
    app.post_as_operator(&path(&id), &body)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(app.balance("user_1").await, 500);
    assert_eq!(causes(&app, &id).await.len(), 4);
    app.stop().await;
}

#[tokio::test]
async fn what_is_known_is_not_overruled() {
    let app = TestApp::start().await;
    let id = pay(&app, Some("user_1"), true).await;
    for (says, status, code) in [
        (json!({"user_id": "user_2"}), 409, "already_claimed"),
        (json!({"sku": "credits_100"}), 409, "already_priced"),
        (json!({"credits": 500}), 409, "already_priced"),
        (
            json!({"user_id": "user_2", "sku": "credits_500"}),
            409,
            "already_claimed",
        ),
    ] {
        let mut body = says.clone();
        body["reason"] = json!("a mistake");
        app.post_as_operator(&path(&id), &body)
            .await
            .assert_problem(status, code);
    }
    let body = json!({"user_id": "user_1", "reason": "nobody knows it"});
    app.post_as_operator(&path("razorpay:pay_unknown"), &body)
        .await
        .assert_problem(404, "purchase_not_found");
    assert_eq!(app.balance("user_1").await, 500);
    assert_eq!(app.balance("user_2").await, 0);
    assert_eq!(causes(&app, &id).await.len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn what_an_operator_says_is_checked() {
    let app = TestApp::start().await;
    let id = pay(&app, None, false).await;
    let good = json!({"user_id": "user_1", "credits": 5, "reason": "good"});
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    for (body, said) in [
        (json!({"user_id": "user_1"}), "reason"),
        (with("reason", json!("")), "reason"),
        (with("reason", json!(" ")), "reason"),
        (with("reason", json!(null)), "reason"),
        (with("reason", json!(7)), "reason"),
        (with("reason", json!("a\u{0}b")), "reason"),
        (with("reason", json!("x".repeat(501))), "reason"),
        (json!({"reason": "nothing to do"}), "user_id"),
        (with("user_id", json!("")), "user_id"),
        (with("user_id", json!("two words")), "user_id"),
        (with("user_id", json!(1)), "user_id"),
        (with("sku", json!("credits_500")), "sku"),
        (json!({"sku": "nothing_like_it", "reason": "x"}), "sku"),
        (with("credits", json!(-1)), "credits"),
        (with("credits", json!(1.5)), "credits"),
        (with("credits", json!("5")), "credits"),
        (with("credits", json!(9_007_199_254_740_992_i64)), "credits"),
        (with("amount", json!(5)), "amount"),
    ] {
        let answer = app.post_as_operator(&path(&id), &body).await;
        answer.assert_problem(400, "invalid_request");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.starts_with(said), "{body}: {detail}");
    }
    app.post_as_operator(&path(&id), &json!([]))
        .await
        .assert_problem(400, "malformed");
    app.post_as_operator(&path("no-provider"), &good)
        .await
        .assert_problem(400, "invalid_request");
    assert_eq!(causes(&app, &id).await.len(), 1);
    app.stop().await;
}

/// The operator is faster than the provider's word: whoever comes second changes nothing.
#[tokio::test]
async fn an_operator_and_a_later_delivery_give_credits_once() {
    let app = TestApp::start().await;
    let mut paid = crate::support::deliveries::payment(None);
    app.deliver(Source::Razorpay, &captured(&paid)).await;
    let id = format!("razorpay:{}", paid.payment_id);
    let body = json!({"user_id": "user_1", "reason": "first"});
    app.post_as_operator(&path(&id), &body)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    paid.user_id = Some("user_2".to_owned());
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    assert_eq!(app.balance("user_1").await, 500);
    assert_eq!(app.balance("user_2").await, 0);
    app.stop().await;
}
