//! A backend that gives one user tens of thousands of lots harms nobody else.

use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{SERVICE_KEY, answer};
use crate::support::deliveries::{created, unique, user};
use crate::support::{TestApp, eventually};

/// The items of one request.
const ITEMS: usize = 1000;
const LOTS: usize = 20 * ITEMS;
/// Until when a commit is known or the answer is 503, says the README; and a moment more.
const COMMIT_KNOWN: Duration = Duration::from_secs(12);

/// Asks until it is known what became of it: a busy machine may need more than the ten seconds of one try.
async fn post(app: &TestApp, path: &str, body: &Value) -> Value {
    let started = Instant::now();
    let key = unique("lots-");
    let done = eventually(path, async || {
        let request = app.request(Method::POST, path).bearer_auth(SERVICE_KEY);
        let request = request.header("Idempotency-Key", &key);
        let answer = answer(request.json(body)).await;
        let is_known = answer.status != 503;
        assert!(
            !is_known || answer.status == 200,
            "{path}: {}",
            answer.status
        );
        is_known.then_some(answer.body)
    });
    let done = done.await;
    println!("{path}: {:.1?}", started.elapsed());
    done
}

fn all_of(item: &Value) -> Value {
    json!({"mode": "atomic", "items": vec![item; ITEMS]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_lots_of_one_user_keep_nobody_waiting() {
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
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            let sign_up = created(&user(&unique("user_beside")));
            eventually("whoever shares the lane is served", async || {
                let answer = app.deliver(Source::Clerk, &sign_up).await;
                (answer.status == 200).then_some(())
            })
            .await;
            longest = longest.max(started.elapsed());
        }
        println!("whoever shares the lane waits {longest:.1?} at most");
        assert!(longest < COMMIT_KNOWN, "{longest:?}");
    };
    tokio::join!(spends, others);
    // What the auditor makes of it is tried on fewer: it needs a minute for so many.
    assert_eq!(
        app.balance("user_1").await,
        i64::try_from(LOTS / 2).unwrap()
    );
    app.stop().await;
}
