//! Deliveries over HTTP.

use credit_ledger::ledger::Source;
use serde_json::json;

use crate::support::TestApp;
use crate::support::deliveries::{captured, created, payment, user};

#[tokio::test]
async fn a_sign_up_and_a_payment_become_credits() {
    let app = TestApp::start().await;
    let sign_up = created(&user("user_1"));
    app.deliver(Source::Clerk, &sign_up)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let again = app.deliver(Source::Clerk, &sign_up).await;
    again.assert_ok(&json!({"status": "duplicate", "idempotent": true}));
    assert_eq!(again.headers["idempotency-hit"], "true");
    let paid = captured(&payment(Some("user_1")));
    app.deliver(Source::Razorpay, &paid)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(app.balance("user_1").await, 520);
    assert_eq!(
        app.events("user", "user_1").await,
        ["UserRegistered", "SignupBonusGranted", "CreditsPurchased"]
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}
