//! Many spends and grants in one request.

use serde_json::{Value, json};

use crate::support::app::Answer;
use crate::support::deliveries::unique;
use crate::support::{Options, TestApp};

const BULK: &str = "/v1/bulk";

fn spend(user_id: &str, amount: i64) -> Value {
    json!({"type": "spend", "user_id": user_id, "amount": amount})
}

fn grant(user_id: &str, amount: i64) -> Value {
    json!({"type": "grant", "user_id": user_id, "amount": amount, "reason": "a test"})
}

fn bulk(mode: &str, items: impl IntoIterator<Item = Value>) -> Value {
    json!({"mode": mode, "items": items.into_iter().collect::<Vec<_>>()})
}

/// A member of each result.
fn each(answer: &Answer, name: &str) -> Vec<Value> {
    let results = answer.body["results"].as_array();
    let results = results.unwrap_or_else(|| panic!("{answer:?}"));
    results.iter().map(|result| result[name].clone()).collect()
}

#[tokio::test]
async fn each_item_has_its_own_outcome() {
    let app = TestApp::start().await;
    let mut partly = spend("user_1", 9);
    partly["allow_partial"] = json!(true);
    let mut over = grant("user_1", 1);
    over["expires_at"] = json!("2001-01-01T00:00:00Z");
    let items = [
        grant("user_1", 10),
        spend("user_2", 1),
        grant("user_3", 5),
        over,
        spend("user_3", 2),
    ];
    let done = app
        .post_under("k", BULK, &bulk("each", items.clone()))
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(each(&done, "status"), [200, 402, 200, 400, 200]);
    let results = &done.body["results"];
    let entry_id = results[0]["entry_id"].as_str().unwrap();
    assert_eq!(
        results[0],
        json!({"status": 200, "entry_id": entry_id, "granted": 10, "balance": 10, "available": 10, "debt": 0})
    );
    for (name, value) in [
        ("code", json!("insufficient_credits")),
        ("required", json!(1)),
        ("available", json!(0)),
    ] {
        assert_eq!(results[1][name], value);
    }
    assert_eq!(results[3]["code"], "invalid_request");
    assert_eq!(results[4]["spent"], 2);
    // All of it again: nothing new, the same answer.
    let again = app.post_under("k", BULK, &bulk("each", items)).await;
    assert!(again.is_hit() && !done.is_hit());
    assert_eq!(again.body, done.body);
    let part = app
        .post_new(BULK, &bulk("each", [partly.clone(), partly]))
        .await;
    assert_eq!(each(&part, "status"), [200, 200]);
    assert_eq!(app.account("user_1").await, [0, 0, 0, 0]);
    assert_eq!(app.account("user_3").await, [3, 0, 3, 0]);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn all_or_none() {
    let app = TestApp::start().await;
    app.grant("user_1", 10).await;
    let items = [spend("user_1", 4), grant("user_2", 5), spend("user_2", 5)];
    let done = app
        .post_under("k", BULK, &bulk("atomic", items.clone()))
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(each(&done, "status"), [200, 200, 200]);
    assert_eq!(each(&done, "balance"), [6, 5, 0]);
    let again = app.post_under("k", BULK, &bulk("atomic", items)).await;
    assert!(again.is_hit());
    assert_eq!(again.body, done.body);
    // One that is refused refuses all, and says which.
    let items = [
        grant("user_3", 5),
        spend("user_1", 6),
        spend("user_1", 1),
        spend("user_9", 1),
    ];
    for _ in 0..2 {
        let refused = app
            .post_under("r", BULK, &bulk("atomic", items.clone()))
            .await;
        refused.assert_problem(402, "insufficient_credits");
        refused.assert_has(402, &json!({"item": 2, "required": 1, "available": 0}));
    }
    assert_eq!(app.account("user_1").await, [6, 0, 6, 0]);
    assert_eq!(app.balance("user_3").await, 0);
    let mut over = grant("user_1", 1);
    over["expires_at"] = json!("2001-01-01T00:00:00Z");
    let refused = app
        .post_new(BULK, &bulk("atomic", [grant("user_1", 1), over]))
        .await;
    refused.assert_problem(400, "invalid_request");
    assert_eq!(refused.body["item"], 1);
    assert_eq!(app.account("user_1").await, [6, 0, 6, 0]);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_changed_request_is_refused_before_anything_is_done() {
    let app = TestApp::start().await;
    for mode in ["each", "atomic"] {
        let first = bulk(mode, [grant("user_1", 1), grant("user_2", 1)]);
        app.post_under(mode, BULK, &first)
            .await
            .assert_has(200, &json!({}));
        let other_mode = if mode == "each" { "atomic" } else { "each" };
        for (changed, fields) in [
            (bulk(mode, [grant("user_1", 1)]), json!(["items"])),
            (
                bulk(
                    mode,
                    [grant("user_1", 1), grant("user_2", 1), grant("user_3", 1)],
                ),
                json!(["items"]),
            ),
            (
                bulk(other_mode, [grant("user_1", 1), grant("user_2", 1)]),
                json!(["mode"]),
            ),
        ] {
            let reused = app.post_under(mode, BULK, &changed).await;
            reused.assert_problem(409, "idempotency_key_reused");
            assert_eq!(reused.body["fields"], fields);
        }
        let path = "/v1/users/user_3/grants";
        let single = json!({"amount": 1, "reason": "a test"});
        app.post_under(mode, path, &single)
            .await
            .assert_problem(409, "idempotency_key_reused");
    }
    assert_eq!(app.balance("user_1").await, 2);
    assert_eq!(app.balance("user_2").await, 2);
    assert_eq!(app.balance("user_3").await, 0);
    app.stop().await;
}

/// As if the service had ended after some of the items: what was done is found, the rest is done.
#[tokio::test]
async fn a_request_that_broke_off_goes_on_where_it_was() {
    let app = TestApp::start().await;
    let items = (0..50).map(|n| grant(&format!("user_{n}"), 3));
    let body = bulk("each", items);
    let whole = app.post_under("k", BULK, &body).await;
    assert_eq!(each(&whole, "granted"), vec![3; 50]);
    let one = TestApp::start().await;
    let two = TestApp::start_on(one.database.clone(), Options::default()).await;
    // The client goes away while the items are under way; nobody knows how many are done.
    let broken = tokio::time::timeout(
        std::time::Duration::from_millis(3),
        one.post_under("k", BULK, &body),
    );
    let _ = broken.await;
    let (left, right) = tokio::join!(
        one.post_under("k", BULK, &body),
        two.post_under("k", BULK, &body)
    );
    for done in [&left, &right] {
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(each(done, "granted"), vec![3; 50]);
    }
    assert_eq!(left.body, right.body);
    for n in 0..50 {
        assert_eq!(one.balance(&format!("user_{n}")).await, 3, "user {n}");
    }
    one.assert_audit_is_clean().await;
    two.stop().await;
    one.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_thousand_items_are_taken_and_no_more() {
    let app = TestApp::start().await;
    for mode in ["each", "atomic"] {
        let items = (0..1000).map(|n| grant(&format!("user_{}", n % 100), 2));
        let done = app.post_new(BULK, &bulk(mode, items)).await;
        assert_eq!(done.status, 200, "{}", done.body["detail"]);
        assert_eq!(each(&done, "granted"), vec![2; 1000]);
    }
    assert_eq!(app.balance("user_7").await, 40);
    let items = (0..1001).map(|_| grant("user_1", 2));
    app.post_new(BULK, &bulk("each", items))
        .await
        .assert_problem(400, "invalid_request");
    let huge = json!({"mode": "each", "items": [], "more": "x".repeat(1024 * 1024)});
    app.post_new(BULK, &huge)
        .await
        .assert_problem(413, "payload_too_large");
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_bulk_is_refused_whole() {
    let app = TestApp::start().await;
    let good = grant("user_1", 1);
    let with = |name: &str, value: Value| {
        let mut item = good.clone();
        item[name] = value;
        bulk("each", [good.clone(), item])
    };
    for (body, item) in [
        (json!({}), Value::Null),
        (bulk("some", [good.clone()]), Value::Null),
        (bulk("each", []), Value::Null),
        (json!({"mode": "each", "items": {}}), Value::Null),
        (json!({"mode": "each", "items": [1]}), json!(0)),
        (with("type", json!("hold")), json!(1)),
        (with("type", json!(null)), json!(1)),
        (with("user_id", json!("a b")), json!(1)),
        (with("amount", json!(0)), json!(1)),
        (with("reason", json!(null)), json!(1)),
        (with("allow_partial", json!(true)), json!(1)),
    ] {
        let refused = app.post_under(&unique("key_"), BULK, &body).await;
        refused.assert_problem(400, "invalid_request");
        assert_eq!(refused.body["item"], item, "{body}");
    }
    assert_eq!(app.count("select count(*) from requests").await, 0);
    assert_eq!(app.count("select count(*) from events").await, 0);
    app.stop().await;
}
