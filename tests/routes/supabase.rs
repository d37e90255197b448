//! Sessions of Supabase beside those of Clerk, under the project's secret and under its keys.

use std::sync::Arc;

use credit_ledger::access::SupabaseSettings;
use credit_ledger::ledger::Source;
use reqwest::Method;
use serde_json::json;

use crate::support::app::answer;
use crate::support::deliveries::{captured, payment};
use crate::support::tokens::{SUPABASE_SECRET, SUPABASE_USER};
use crate::support::{Options, TestApp, tokens};

#[tokio::test]
async fn sessions_of_supabase_open_the_same_routes() {
    let project = tokens::supabase_project().await;
    let origin = project.uri();
    let url = origin.clone();
    let options = Options {
        configure: Arc::new(move |config| {
            config.sessions.supabase = Some(SupabaseSettings {
                url: url.clone(),
                jwt_secret: Some(SUPABASE_SECRET.into()),
            });
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    app.deliver(Source::Razorpay, &captured(&payment(Some(SUPABASE_USER))))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let me =
        async |token: &str| answer(app.request(Method::GET, "/v1/me").bearer_auth(token)).await;
    let claims = tokens::supabase_claims(&origin, app.now());
    let secret = SUPABASE_SECRET.as_bytes();
    // The keys are fetched once for any number of sessions.
    for token in [
        tokens::hs256(secret, &claims),
        tokens::rs256(&claims),
        tokens::rs256(&claims),
    ] {
        me(&token)
            .await
            .assert_ok(&json!({"user_id": SUPABASE_USER, "balance": 500}));
    }
    // Clerk's sessions go on beside them.
    app.get_as("user_1", "/v1/me")
        .await
        .assert_ok(&json!({"user_id": "user_1", "registered": false}));
    let fetched = project.received_requests().await.unwrap();
    assert_eq!(fetched.len(), 1);
    app.stop().await;
}
