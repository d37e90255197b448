//! The log over HTTP: every event once, in order, as it was hashed.

use credit_ledger_verify::chain::{self, GENESIS};
use credit_ledger_verify::record::EventRecord;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::app::{AUDIT_KEY, Answer, SERVICE_KEY, answer};
use crate::support::{TestApp, story};

async fn get(app: &TestApp, path: &str) -> Answer {
    answer(app.request(Method::GET, path).bearer_auth(AUDIT_KEY)).await
}

/// A page of a shard's events.
async fn events(app: &TestApp, query: &str) -> Vec<EventRecord> {
    let path = format!("/v1/audit/events?{query}");
    let request = app.request(Method::GET, &path).bearer_auth(AUDIT_KEY);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{query}");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_shard_is_read_page_by_page_and_its_chain_holds() {
    let app = TestApp::start().await;
    story::tell(&app, 3).await;
    let mut seen = 0;
    for shard in 0..16 {
        let (mut hash, mut position) = (GENESIS, 0);
        loop {
            let page = events(&app, &format!("shard={shard}&after={position}&limit=7")).await;
            for event in &page {
                position += 1;
                assert_eq!((event.shard, event.position), (shard, position));
                hash = chain::link(&hash, &event.link());
                assert_eq!(event.hash, hash);
                seen += 1;
            }
            if page.is_empty() {
                break;
            }
        }
        let at_once = events(&app, &format!("shard={shard}")).await;
        assert_eq!(i64::try_from(at_once.len()).unwrap(), position.min(200));
    }
    assert_eq!(seen, app.count("select count(*) from events").await);
    app.stop().await;
}

#[tokio::test]
async fn a_stream_is_read_from_its_beginning() {
    let app = TestApp::start().await;
    let story = story::tell(&app, 1).await;
    let path = format!("/v1/audit/streams/user/{}", story.users[0]);
    let mut types = vec![];
    let mut next = String::new();
    loop {
        let page = get(&app, &format!("{path}?limit=5{next}")).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        for item in page.body["items"].as_array().unwrap() {
            let event: EventRecord = serde_json::from_value(item.clone()).unwrap();
            assert_eq!(usize::try_from(event.sequence).unwrap(), types.len() + 1);
            types.push(event.event_type);
        }
        match &page.body["next_cursor"] {
            Value::String(cursor) => next = format!("&cursor={cursor}"),
            _ => break,
        }
    }
    assert!(types.len() > 10);
    assert_eq!(types, app.events("user", &story.users[0]).await);
    let purchase: String = app
        .sql()
        .await
        .query_one("select min(purchase_id) from purchases", &[])
        .await
        .unwrap()
        .get(0);
    let page = get(&app, &format!("/v1/audit/streams/purchase/{purchase}")).await;
    assert_eq!(page.body["items"][0]["aggregate_id"], purchase);
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let app = TestApp::start().await;
    let empty = events(&app, "shard=15").await;
    assert_eq!(empty, vec![]);
    for (query, what) in [
        ("", "shard"),
        ("shard=16", "shard"),
        ("shard=-1", "shard"),
        ("shard=x", "shard"),
        ("shard=0&after=-1", "after"),
        ("shard=0&limit=201", "limit"),
        ("shard=0&cursor=x", "query"),
    ] {
        let answer = get(&app, &format!("/v1/audit/events?{query}")).await;
        answer.assert_problem(400, "invalid_request");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(what), "{query}: {detail}");
    }
    for path in [
        "user/nobody",
        "purchase/stripe:pi_x",
        "thing/user_1",
        "user/%00",
    ] {
        let answer = get(&app, &format!("/v1/audit/streams/{path}")).await;
        answer.assert_problem(404, "not_found");
    }
    let path = "/v1/audit/events?shard=0";
    let refused = answer(app.request(Method::GET, path).bearer_auth(SERVICE_KEY)).await;
    refused.assert_problem(403, "insufficient_scope");
    app.stop().await;
}
