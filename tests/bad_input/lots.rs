//! A backend that gives one user tens of thousands of lots harms nobody else.

use std::time::Instant;

use credit_ledger::ledger::Source;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::app::{SERVICE_KEY, answer};
use crate::support::deliveries::{created, unique, user};
use crate::support::integrity::assert_log_is_whole;

/// The items of one request.
const ITEMS: usize = 1000;
const LOTS: usize = 40 * ITEMS;

async fn post(app: &TestApp, path: &str, body: &Value) -> Value {
    let started = Instant::now();
    let request = app.request(Method::POST, path).bearer_auth(SERVICE_KEY);
    let request = request.header("Idempotency-Key", unique("lots-"));
    let answer = answer(request.json(body)).await;
    println!("{path}: {} in {:.1?}", answer.status, started.elapsed());
    assert_eq!(answer.status, 200, "{:.300}", answer.body.to_string());
    answer.body
}

fn all_of(item: &Value) -> Value {
    json!({"mode": "atomic", "items": vec![item; ITEMS]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_thousand_lots_of_one_user_keep_nobody_waiting() {
    let app = TestApp::start().await;
    let grant = json!({"type": "grant", "user_id": "user_1", "amount": 1, "reason": "because"});
    for _ in 0..LOTS / ITEMS {
        post(&app, "/v1/bulk", &all_of(&grant)).await;
    }
    let spend = json!({"type": "spend", "user_id": "user_1", "amount": LOTS / ITEMS / 2});
    let spends = async {
        post(&app, "/v1/bulk", &all_of(&spend)).await;
        let taken = post(
            &app,
            "/v1/users/user_1/spends",
            &json!({"amount": LOTS / 2}),
        )
        .await;
        let entry = taken["entry_id"].as_str().unwrap();
        let back = post(&app, &format!("/v1/spends/{entry}/reverse"), &json!({})).await;
        assert_eq!(back["available"], LOTS / 2);
    };
    let others = async {
        for _ in 0..20 {
            let sign_up = created(&user(&unique("user_beside")));
            app.deliver(Source::Clerk, &sign_up)
                .await
                .assert_ok(&json!({"status": "recorded"}));
        }
    };
    tokio::join!(spends, others);
    // What the auditor makes of it is tried on fewer: it copies a user's lots for each event.
    assert_log_is_whole(&app).await;
    assert_eq!(
        app.balance("user_1").await,
        i64::try_from(LOTS / 2).unwrap()
    );
    app.stop().await;
}
