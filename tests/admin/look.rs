//! Looking: the overview and the lists.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use credit_ledger::ledger::Source;
use serde_json::{Value, json};

use crate::support::app::Answer;
use crate::support::deliveries::{
    captured, clerk, created, deleted, order_paid, payment, unique, user,
};
use crate::support::{Options, TestApp};

/// A delivery that can not be read: its event id.
pub async fn park(app: &TestApp) -> String {
    let event_id = unique("msg_");
    let body = json!({"type": "user.created", "object": "event", "data": {"id": null}});
    app.deliver(Source::Clerk, &clerk(&event_id, body.to_string()))
        .await
        .assert_ok(&json!({"status": "parked"}));
    event_id
}

/// A payment that names nobody, or that fits nothing: its purchase id.
pub async fn pay(app: &TestApp, user_id: Option<&str>, fits: bool) -> String {
    let mut paid = payment(user_id);
    if !fits {
        paid.amount_minor += 1;
    }
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    format!("razorpay:{}", paid.payment_id)
}

#[tokio::test]
async fn an_empty_service_has_an_overview() {
    let options = Options {
        configure: Arc::new(|config| config.razorpay_webhook_secrets.clear()),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    let answer = app.get_as_operator("/v1/admin/overview").await;
    answer.assert_ok(&json!({
        "users": {"registered": 0, "deleted": 0},
        "purchases": {"unclaimed": 0, "unpriced": 0},
        "parked": 0,
        "oldest_parked_age_s": null,
        "outbox_waiting": 0,
        "events": 0,
        "inexact": {},
    }));
    let provider = |name: &str| {
        let providers = answer.body["providers"].as_array().unwrap();
        let found = providers.iter().find(|one| one["provider"] == name);
        found.unwrap().clone()
    };
    assert_eq!(
        provider("clerk"),
        json!({"provider": "clerk", "configured": true, "last_delivery_at": null})
    );
    assert_eq!(
        provider("razorpay"),
        json!({"provider": "razorpay", "configured": false, "last_delivery_at": null})
    );
    let shards = answer.body["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 16);
    assert_eq!(shards[15], json!({"shard": 15, "position": 0}));
    app.stop().await;
}

#[tokio::test]
async fn the_overview_counts_what_is_there() {
    let app = TestApp::start().await;
    for name in ["user_1", "user_2"] {
        app.deliver(Source::Clerk, &created(&user(name))).await;
    }
    app.deliver(Source::Clerk, &deleted("user_2")).await;
    pay(&app, Some("user_1"), true).await;
    pay(&app, None, true).await;
    pay(&app, None, false).await;
    park(&app).await;
    app.move_clock(TimeDelta::minutes(5));
    park(&app).await;
    let answer = app.get_as_operator("/v1/admin/overview").await;
    answer.assert_ok(&json!({
        "users": {"registered": 2, "deleted": 1},
        "purchases": {"captured": 3, "unclaimed": 2, "unpriced": 1},
        "parked": 2,
        "inexact": {},
    }));
    let age_s = answer.body["oldest_parked_age_s"].as_i64().unwrap();
    assert!((300..330).contains(&age_s), "{age_s}");
    let events = app.count("select count(*) from events").await;
    assert_eq!(answer.body["events"], events);
    let positions = answer.body["shards"].as_array().unwrap().iter();
    let sum: i64 = positions.map(|end| end["position"].as_i64().unwrap()).sum();
    assert_eq!(sum, events);
    let newest = app
        .sql()
        .await
        .query_one(
            "select max(received_at) as newest from inbox where source = 'clerk'",
            &[],
        )
        .await
        .unwrap()
        .get::<_, DateTime<chrono::Utc>>("newest");
    let providers = answer.body["providers"].as_array().unwrap();
    let clerk = providers.iter().find(|one| one["provider"] == "clerk");
    let shown = clerk.unwrap()["last_delivery_at"].as_str().unwrap();
    assert_eq!(DateTime::parse_from_rfc3339(shown).unwrap(), newest);
    app.stop().await;
}

#[tokio::test]
async fn counts_that_are_not_exact_say_so() {
    let app = TestApp::start().await;
    let fill = "insert into inbox (source, key, provider_event_id, body, body_sha256, headers, secret, received_at,
                                   outcome, reason, shards, positions)
                select 'clerk', 'k' || n, 'k' || n, '', '', '{}', '', now(), 'parked', 'test', '{}', '{}'
                  from generate_series(1, 10001) as n";
    assert_eq!(app.sql().await.execute(fill, &[]).await.unwrap(), 10_001);
    app.get_as_operator("/v1/admin/overview")
        .await
        .assert_ok(&json!({"parked": 10_000, "inexact": {"parked": "at_least"}}));
    app.stop().await;
}

#[tokio::test]
async fn large_tables_are_estimated_from_a_sample() {
    let app = TestApp::start().await;
    // Wide rows, so that few of them fill many pages.
    let fill = "insert into users (user_id, registered, deleted, erasure_requested, erased, bonus, plan, plan_sequence,
                                   email_verified, profile_sequence)
                select 'user_' || n, true, n % 4 = 0, false, false, true, repeat('x', 1900), 0, false, 1 from generate_series(1, 8000) as n";
    assert_eq!(app.sql().await.execute(fill, &[]).await.unwrap(), 8000);
    let answer = app.get_as_operator("/v1/admin/overview").await;
    assert_eq!(
        answer.body["inexact"],
        json!({"users.registered": "about", "users.deleted": "about"})
    );
    let shown = |name: &str| answer.body["users"][name].as_i64().unwrap();
    assert!((6000..10_000).contains(&shown("registered")), "{answer:?}");
    assert!((1200..2800).contains(&shown("deleted")), "{answer:?}");
    app.stop().await;
}

fn values<'a>(page: &'a Answer, name: &str) -> Vec<&'a str> {
    assert_eq!(page.status, 200, "{page:?}");
    let items = page.body["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item[name].as_str().unwrap())
        .collect()
}

/// Every page of a list, one row each: what `name` says in every row.
async fn all(app: &TestApp, path: &str, name: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app
            .get_as_operator(&format!("{path}&limit=1{cursor}"))
            .await;
        seen.extend(values(&page, name).into_iter().map(str::to_owned));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn the_inbox_shows_deliveries_and_never_their_bodies() {
    let app = TestApp::start().await;
    let sign_up = created(&user("user_1"));
    for _ in 0..3 {
        app.deliver(Source::Clerk, &sign_up).await;
    }
    let ignored = unique("msg_");
    let session = json!({"type": "session.created", "data": {"id": "sess_1"}});
    app.deliver(Source::Clerk, &clerk(&ignored, session.to_string()))
        .await
        .assert_ok(&json!({"status": "ignored"}));
    let paid = payment(Some("user_1"));
    app.deliver(Source::Razorpay, &captured(&paid)).await;
    app.deliver(Source::Razorpay, &order_paid(&paid))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    let parked = park(&app).await;

    let page = app.get_as_operator("/v1/admin/inbox").await;
    assert_eq!(values(&page, "event_id"), [parked.as_str()]);
    let item = &page.body["items"][0];
    let members: BTreeSet<&str> = item
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        members,
        BTreeSet::from([
            "source",
            "event_id",
            "key",
            "status",
            "reason",
            "received_at",
            "attempts",
            "deliveries",
            "waits_for",
            "next_attempt_at",
        ])
    );
    for (name, value) in [
        ("source", json!("clerk")),
        ("key", json!(parked)),
        ("status", json!("parked")),
        ("reason", json!("missing_fields: data.id")),
        ("attempts", json!(1)),
        ("deliveries", json!(1)),
    ] {
        assert_eq!(item[name], value, "{name}");
    }
    for (status, expected) in [
        ("recorded", 2),
        ("ignored", 1),
        ("duplicate", 1),
        ("parked", 1),
    ] {
        let page = app
            .get_as_operator(&format!("/v1/admin/inbox?status={status}"))
            .await;
        let statuses = values(&page, "status");
        assert_eq!(statuses, vec![status; expected], "{page:?}");
        assert!(!page.body.to_string().contains("example.com"), "{page:?}");
    }
    let recorded = app.get_as_operator("/v1/admin/inbox?status=recorded").await;
    assert_eq!(
        values(&recorded, "source"),
        ["razorpay", "clerk"],
        "newest first"
    );
    assert_eq!(recorded.body["items"][1]["deliveries"], 3);
    app.stop().await;
}

/// Many deliveries of one microsecond, and of several sources: every one on exactly one page.
#[tokio::test]
async fn the_inbox_comes_in_pages() {
    let app = TestApp::start().await;
    let fill = "insert into inbox (source, key, provider_event_id, body, body_sha256, headers, secret, received_at,
                                   outcome, reason, shards, positions)
                select source, 'k' || n, 'p', '', '', '{}', '',
                       timestamptz '2026-01-01 00:00:00Z' + n % 3 * interval '1 second',
                       'parked', source || n, '{}', '{}'
                  from generate_series(1, 8) as n, unnest(array['clerk', 'razorpay']) as source";
    assert_eq!(app.sql().await.execute(fill, &[]).await.unwrap(), 16);
    let path = "/v1/admin/inbox?status=parked";
    let whole = app.get_as_operator(path).await;
    let whole: Vec<String> = values(&whole, "reason")
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(whole.len(), 16);
    assert_eq!(all(&app, path, "reason").await, whole);
    assert_eq!(whole[0], "razorpay8");
    assert_eq!(whole[15], "clerk3");
    app.stop().await;
}

#[tokio::test]
async fn purchases_that_wait_for_somebody_are_listed() {
    let app = TestApp::start().await;
    pay(&app, Some("user_1"), true).await;
    let unclaimed = pay(&app, None, true).await;
    let unpriced = pay(&app, Some("user_1"), false).await;
    let both = pay(&app, None, false).await;
    let list = "/v1/admin/purchases?status";
    assert_eq!(
        all(&app, &format!("{list}=unclaimed"), "purchase_id").await,
        [both.as_str(), &unclaimed]
    );
    assert_eq!(
        all(&app, &format!("{list}=unpriced"), "purchase_id").await,
        [both.as_str(), &unpriced]
    );
    let page = app.get_as_operator(&format!("{list}=unpriced")).await;
    let item = &page.body["items"][1];
    assert_eq!(item["user_id"], "user_1");
    assert_eq!(item["sku"], Value::Null);
    assert_eq!(item["credits"], 0);
    assert_eq!(item["amount_minor"], 49_901);
    app.stop().await;
}

#[tokio::test]
async fn lists_refuse_what_they_can_not_read() {
    let app = TestApp::start().await;
    let cursor = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for query in [
        "inbox?status=lost".to_owned(),
        "inbox?status=".to_owned(),
        "inbox?limit=0".to_owned(),
        "inbox?limit=201".to_owned(),
        "inbox?source=clerk".to_owned(),
        "inbox?cursor=nonsense".to_owned(),
        format!("inbox?cursor={}", cursor(json!([i64::MAX, "k", "clerk"]))),
        format!("inbox?cursor={}", cursor(json!([-1, "k", "clerk"]))),
        format!("inbox?cursor={}", cursor(json!([1, "k\0", "clerk"]))),
        format!("inbox?cursor={}", cursor(json!([1, "k"]))),
        "purchases".to_owned(),
        "purchases?status=captured".to_owned(),
        "purchases?status=unclaimed&limit=x".to_owned(),
        format!(
            "purchases?status=unpriced&cursor={}",
            cursor(json!([1, "no\0id"]))
        ),
        "overview?limit=1".to_owned(),
    ] {
        let answer = app.get_as_operator(&format!("/v1/admin/{query}")).await;
        assert_eq!(answer.body["code"], "invalid_request", "{query}");
        answer.assert_problem(400, "invalid_request");
    }
    app.stop().await;
}

/// The members of an object that the README shows, in its order, from the line that begins like this.
fn shown(begin: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let line = readme.lines().find(|line| line.starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("no line begins with {begin}"));
    members(&serde_json::from_str(line).unwrap())
}

fn members(object: &Value) -> Vec<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn the_readme_shows_what_operators_get() {
    let app = TestApp::start().await;
    park(&app).await;
    let overview = app.get_as_operator("/v1/admin/overview").await;
    assert_eq!(shown("{\"users\""), members(&overview.body));
    let inbox = app.get_as_operator("/v1/admin/inbox").await;
    let readme = include_str!("../../README.md");
    let begin = readme.find("{\"source\":\"clerk\"").unwrap();
    let end = begin + readme[begin..].find('}').unwrap();
    let item: Value = serde_json::from_str(&readme[begin..=end]).unwrap();
    assert_eq!(members(&item), members(&inbox.body["items"][0]));
    let dry_run = "/v1/admin/recover?dry_run=true";
    let report = app.post_as_operator(dry_run, &json!({})).await;
    assert_eq!(shown("{\"dry_run\""), members(&report.body));
    let begin = readme.find("{\"kind\":\"no_bonus\"").unwrap();
    let end = begin + readme[begin..].find('}').unwrap();
    let action: Value = serde_json::from_str(&readme[begin..=end]).unwrap();
    assert_eq!(members(&action), members(&report.body["actions"][0]));
    app.stop().await;
}
