//! What users and backends see of an account: the shapes of the contract to the letter, and paging.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use credit_ledger::ledger::Source;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::app::Answer;
use crate::support::deliveries::{captured, checkout, created, deleted, payment, user};

/// The whole body, no member more and none less.
#[track_caller]
fn assert_is(answer: &Answer, expected: &Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(&answer.body, expected);
}

fn me(user_id: &str, registered: bool, balance: i64) -> Value {
    let known = |value: &str| {
        if registered {
            json!(value)
        } else {
            Value::Null
        }
    };
    json!({
        "user_id": user_id,
        "registered": registered,
        "email": known(&format!("{user_id}@example.com")),
        "first_name": known("Asha"),
        "last_name": known("Rao"),
        "plan": known("free"),
        "balance": balance,
        "held": 0,
        "available": balance,
        "debt": 0,
    })
}

fn account(user_id: &str, balance: i64, version: i64) -> Value {
    json!({
        "user_id": user_id,
        "balance": balance,
        "held": 0,
        "available": balance,
        "debt": 0,
        "version": version,
    })
}

fn nothing() -> Value {
    json!({"items": [], "next_cursor": null})
}

async fn sign_up(app: &TestApp, user_id: &str) {
    app.deliver(Source::Clerk, &created(&user(user_id)))
        .await
        .assert_ok(&json!({"status": "recorded"}));
}

/// Delivers a payment for 500 credits.
async fn pay(app: &TestApp, user_id: &str) -> String {
    let paid = payment(Some(user_id));
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    format!("razorpay:{}", paid.payment_id)
}

#[tokio::test]
async fn a_user_who_signed_up() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    assert_is(
        &app.get_as("user_1", "/v1/me").await,
        &me("user_1", true, 20),
    );
    assert_is(
        &app.get_as("user_1", "/v1/me/balance").await,
        &account("user_1", 20, 2),
    );
    assert_is(&app.get_as("user_1", "/v1/me/purchases").await, &nothing());
    let mut seen_by_backend = me("user_1", true, 20);
    seen_by_backend["deleted"] = json!(false);
    seen_by_backend["erased"] = json!(false);
    assert_is(&app.get("/v1/users/user_1").await, &seen_by_backend);
    assert_is(
        &app.get("/v1/users/user_1/balance").await,
        &account("user_1", 20, 2),
    );
    app.stop().await;
}

/// A valid session of somebody we have not heard of: new, with nothing. To a backend, nobody.
#[tokio::test]
async fn a_user_who_was_never_seen() {
    let app = TestApp::start().await;
    // Somebody is known, so that "nobody" is not only an empty table.
    sign_up(&app, "user_1").await;
    assert_is(
        &app.get_as("user_2", "/v1/me").await,
        &me("user_2", false, 0),
    );
    assert_is(
        &app.get_as("user_2", "/v1/me/balance").await,
        &account("user_2", 0, 0),
    );
    assert_is(&app.get_as("user_2", "/v1/me/entries").await, &nothing());
    assert_is(&app.get_as("user_2", "/v1/me/purchases").await, &nothing());
    for tail in ["", "/balance", "/entries", "/purchases"] {
        app.get(&format!("/v1/users/user_2{tail}"))
            .await
            .assert_problem(404, "user_not_found");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_user_who_paid_before_signing_up() {
    let app = TestApp::start().await;
    pay(&app, "user_1").await;
    assert_is(
        &app.get_as("user_1", "/v1/me").await,
        &me("user_1", false, 500),
    );
    assert_is(
        &app.get_as("user_1", "/v1/me/balance").await,
        &account("user_1", 500, 1),
    );
    let mut seen_by_backend = me("user_1", false, 500);
    seen_by_backend["deleted"] = json!(false);
    seen_by_backend["erased"] = json!(false);
    assert_is(&app.get("/v1/users/user_1").await, &seen_by_backend);
    app.stop().await;
}

#[tokio::test]
async fn a_user_is_known_without_ever_having_had_credits() {
    let app = TestApp::start().await;
    app.deliver(Source::Clerk, &deleted("user_1"))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_is(
        &app.get("/v1/users/user_1/balance").await,
        &account("user_1", 0, 0),
    );
    assert_is(&app.get("/v1/users/user_1/entries").await, &nothing());
    app.stop().await;
}

/// The members of an object that the README shows, in its order, from the line that begins like this.
fn shown(begin: &str) -> Vec<String> {
    let readme = include_str!("../README.md");
    let line = readme.lines().find(|line| line.starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("no line begins with {begin}"));
    members(&serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap())
}

fn members(object: &Value) -> Vec<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn the_readme_shows_the_answers_as_they_are() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    let paid = payment(Some("user_1"));
    let delivered = app.deliver(Source::Razorpay, &captured(&paid)).await;
    assert_eq!(shown("200 OK {"), members(&delivered.body));
    let (order_id, payment_id, signature) = checkout(&paid);
    let verified = app
        .verify("user_1", &order_id, &payment_id, &signature)
        .await;
    assert_eq!(shown("{\"success\":true"), members(&verified.body));
    let me = app.get_as("user_1", "/v1/me").await;
    assert_eq!(shown("{\"user_id\""), members(&me.body));
    let page = app.get("/v1/users/user_1/entries?limit=1").await;
    assert_eq!(shown("{\"items\""), members(&page.body));
    app.spend("user_1", 30).await.assert_ok(&json!({}));
    let spent = app.get("/v1/users/user_1/entries?limit=1").await.body["items"][0].clone();
    let readme = include_str!("../README.md");
    let line = readme.lines().find(|line| line.starts_with("{\"items\""));
    let entry = &serde_json::from_str::<Value>(line.unwrap()).unwrap()["items"][0];
    assert_eq!(members(entry), members(&spent));
    assert_eq!(members(&entry["slices"][0]), members(&spent["slices"][0]));
    for name in ["type", "delta", "source", "provider_event_id", "about"] {
        assert_eq!(entry[name], spent[name], "{name}");
    }
    app.stop().await;
}

/// The money came and bought nothing: the backend must find the user, or nobody ever looks into it.
#[tokio::test]
async fn a_user_is_known_by_a_purchase_that_gave_nothing() {
    let app = TestApp::start().await;
    let mut dear = payment(Some("user_1"));
    dear.amount_minor += 1;
    app.deliver(Source::Razorpay, &captured(&dear))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let mut seen_by_backend = me("user_1", false, 0);
    seen_by_backend["deleted"] = json!(false);
    seen_by_backend["erased"] = json!(false);
    assert_is(&app.get("/v1/users/user_1").await, &seen_by_backend);
    assert_is(
        &app.get("/v1/users/user_1/balance").await,
        &account("user_1", 0, 0),
    );
    assert_is(&app.get("/v1/users/user_1/entries").await, &nothing());
    let purchases = app.get("/v1/users/user_1/purchases").await;
    assert_eq!(purchases.body["items"][0]["sku"], Value::Null);
    app.get("/v1/users/user_2")
        .await
        .assert_problem(404, "user_not_found");
    app.stop().await;
}

#[tokio::test]
async fn a_deleted_user_sees_nothing_and_the_backend_still_does() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    pay(&app, "user_1").await;
    app.deliver(Source::Clerk, &deleted("user_1"))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    for tail in ["", "/balance", "/entries", "/purchases"] {
        app.get_as("user_1", &format!("/v1/me{tail}"))
            .await
            .assert_problem(403, "user_deleted");
    }
    assert_is(
        &app.get("/v1/users/user_1").await,
        &json!({
            "user_id": "user_1",
            "registered": true,
            "deleted": true, "erased": false,
            "email": null,
            "first_name": null,
            "last_name": null,
            "plan": "free",
            "balance": 520,
            "held": 0,
            "available": 520,
            "debt": 0,
        }),
    );
    assert_is(
        &app.get("/v1/users/user_1/balance").await,
        &account("user_1", 520, 3),
    );
    assert_eq!(
        app.get("/v1/users/user_1/purchases").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    app.stop().await;
}

/// Takes the members out whose values the test can not know, having looked at their form.
fn without_places(items: &Value) -> Vec<Value> {
    let mut items = items.as_array().unwrap().clone();
    for item in &mut items {
        let item = item.as_object_mut().unwrap();
        let time = item.remove("recorded_at").unwrap();
        let time = time.as_str().unwrap();
        assert!(
            time.ends_with('Z') && DateTime::parse_from_rfc3339(time).is_ok(),
            "{time}"
        );
        if let Some(id) = item.remove("entry_id") {
            let (shard, position) = id.as_str().unwrap().split_once('-').unwrap();
            assert!(
                shard.parse::<u16>().unwrap() < 16 && position.parse::<u64>().unwrap() > 0,
                "{id}"
            );
        }
    }
    items
}

#[tokio::test]
async fn entries_and_purchases_are_the_same_to_the_user_and_the_backend() {
    let app = TestApp::start().await;
    let sign_up = created(&user("user_1"));
    app.deliver(Source::Clerk, &sign_up)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let mut paid = payment(Some("user_1"));
    paid.email = Some("payer@example.com".to_owned());
    let capture = captured(&paid);
    app.deliver(Source::Razorpay, &capture)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let mut dear = payment(Some("user_1"));
    dear.amount_minor = 1;
    dear.order_id = None;
    app.deliver(Source::Razorpay, &captured(&dear))
        .await
        .assert_ok(&json!({"status": "recorded"}));

    let entries = app.get_as("user_1", "/v1/me/entries").await;
    assert_eq!(entries.status, 200);
    assert_eq!(app.get("/v1/users/user_1/entries").await.body, entries.body);
    assert_eq!(entries.body["next_cursor"], Value::Null);
    assert_eq!(entries.body.as_object().unwrap().len(), 2);
    let id = format!("razorpay:{}", paid.payment_id);
    assert_eq!(
        without_places(&entries.body["items"]),
        [
            json!({
                "type": "CreditsPurchased",
                "delta": 500,
                "balance": 520,
                "purchase_id": id,
                "source": "razorpay",
                "provider_event_id": capture.headers[1].1,
                "about": null,
                "reason": null,
                "reference": null,
                "slices": [],
            }),
            json!({
                "type": "SignupBonusGranted",
                "delta": 20,
                "balance": 20,
                "purchase_id": null,
                "source": "clerk",
                "provider_event_id": sign_up.headers[0].1,
                "about": null,
                "reason": null,
                "reference": null,
                "slices": [],
            }),
        ]
    );

    let purchases = app.get_as("user_1", "/v1/me/purchases").await;
    assert_eq!(purchases.status, 200);
    assert_eq!(
        app.get("/v1/users/user_1/purchases").await.body,
        purchases.body
    );
    assert_eq!(purchases.body.as_object().unwrap().len(), 2);
    let paid_at = "2026-11-18T11:06:40.000000Z";
    assert_eq!(
        without_places(&purchases.body["items"]),
        [
            json!({
                "purchase_id": format!("razorpay:{}", dear.payment_id),
                "status": "captured",
                "amount_minor": 1,
                "currency": "INR",
                "order_id": null,
                "sku": null,
                "credits": 0,
                "paid_at": paid_at,
            }),
            json!({
                "purchase_id": id,
                "status": "captured",
                "amount_minor": 49_900,
                "currency": "INR",
                "order_id": paid.order_id,
                "sku": "credits_500",
                "credits": 500,
                "paid_at": paid_at,
            }),
        ]
    );
    app.stop().await;
}

/// Entry ids are places in the log, where the event really is.
#[tokio::test]
async fn an_entry_is_found_in_the_log_by_its_id() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    pay(&app, "user_1").await;
    let sql = app.sql().await;
    let entries = app.get("/v1/users/user_1/entries").await;
    for entry in entries.body["items"].as_array().unwrap() {
        let (shard, position) = entry["entry_id"].as_str().unwrap().split_once('-').unwrap();
        let (shard, position): (i16, i64) = (shard.parse().unwrap(), position.parse().unwrap());
        let query =
            "select event_type, aggregate_id from events where shard = $1 and position = $2";
        let row = sql.query_one(query, &[&shard, &position]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), entry["type"]);
        assert_eq!(row.get::<_, String>(1), "user_1");
    }
    app.stop().await;
}

#[tokio::test]
async fn nobody_sees_anothers_account() {
    let app = TestApp::start().await;
    for user_id in ["user_1", "user_2"] {
        sign_up(&app, user_id).await;
        pay(&app, user_id).await;
        pay(&app, user_id).await;
    }
    for list in ["entries", "purchases"] {
        let own = app.get_as("user_2", &format!("/v1/me/{list}")).await;
        let others = app
            .get_as("user_1", &format!("/v1/me/{list}?limit=1"))
            .await;
        let cursor = others.body["next_cursor"].as_str().unwrap();
        // A cursor of another user shows where to go on, and still only one's own.
        let page = app
            .get_as("user_2", &format!("/v1/me/{list}?cursor={cursor}"))
            .await;
        assert_eq!(page.status, 200);
        let own = own.body["items"].as_array().unwrap().clone();
        assert!(
            page.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|item| own.contains(item)),
            "{page:?}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn pages_are_of_the_size_asked_for_and_no_other() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    join_all((0..60).map(|_| pay(&app, "user_1"))).await;
    for list in ["entries", "purchases"] {
        let all = if list == "entries" { 61 } else { 60 };
        for (query, count) in [
            ("", 50),
            ("?limit=1", 1),
            ("?limit=59", 59),
            ("?limit=60", 60),
            ("?limit=61", all),
            ("?limit=200", all),
        ] {
            for page in [
                app.get_as("user_1", &format!("/v1/me/{list}{query}")).await,
                app.get(&format!("/v1/users/user_1/{list}{query}")).await,
            ] {
                assert_eq!(
                    page.body["items"].as_array().unwrap().len(),
                    count,
                    "{list}{query}"
                );
                assert_eq!(
                    page.body["next_cursor"].is_null(),
                    count == all,
                    "{list}{query}"
                );
            }
        }
        for query in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=",
            "limit=ten",
            "limit=1.5",
            "limit=1%20",
            "limit=99999999999999999999",
            "limit=1&limit=2",
            "cursor=a&cursor=b",
            "offset=1",
            "limit=1&page=2",
            "Limit=1",
            "limit",
        ] {
            for page in [
                app.get_as("user_1", &format!("/v1/me/{list}?{query}"))
                    .await,
                app.get(&format!("/v1/users/user_1/{list}?{query}")).await,
            ] {
                assert_eq!(
                    page.body["code"], "invalid_request",
                    "{list}?{query}: {page:?}"
                );
                page.assert_problem(400, "invalid_request");
            }
        }
    }
    app.stop().await;
}

/// A walk to the end, while something new is written after every page.
async fn walk(app: &TestApp, list: &str, id: &str, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app
            .get(&format!("/v1/users/user_1/{list}?limit={limit}{cursor}"))
            .await;
        assert_eq!(page.status, 200, "{page:?}");
        let items = page.body["items"].as_array().unwrap();
        ids.extend(
            items
                .iter()
                .map(|item| item[id].as_str().unwrap().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(next) => {
                assert_eq!(items.len(), limit, "a page before the last is full");
                cursor = format!("&cursor={next}");
            }
            None => return ids,
        }
        pay(app, "user_1").await;
    }
}

#[tokio::test]
async fn a_walk_misses_nothing_and_sees_nothing_twice() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    // At once, so that many are recorded in the same moment.
    join_all((0..40).map(|_| pay(&app, "user_1"))).await;
    for (list, id) in [("entries", "entry_id"), ("purchases", "purchase_id")] {
        for limit in [3, 7, 200] {
            let before = app.get(&format!("/v1/users/user_1/{list}?limit=200")).await;
            let before: Vec<String> = before.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item[id].as_str().unwrap().to_owned())
                .collect();
            assert!(before.len() >= 40 && before.len() < 200);
            let walked = walk(&app, list, id, limit).await;
            assert_eq!(walked, before, "{list} by {limit}");
            assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), walked.len());
        }
    }
    // Newest first: balances only fall on the way back.
    let entries = app.get("/v1/users/user_1/entries?limit=200").await;
    let balances: Vec<i64> = entries.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["balance"].as_i64().unwrap())
        .collect();
    assert!(
        balances.is_sorted_by(|newer, older| newer > older),
        "{balances:?}"
    );
    app.stop().await;
}

/// Whoever makes a cursor up is told so, and can not make the database stumble.
#[tokio::test]
async fn made_up_cursors_are_refused() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    pay(&app, "user_1").await;
    pay(&app, "user_1").await;
    let cursor_of = async |list: &str| {
        let page = app.get(&format!("/v1/users/user_1/{list}?limit=1")).await;
        page.body["next_cursor"].as_str().unwrap().to_owned()
    };
    let (entries, purchases) = (cursor_of("entries").await, cursor_of("purchases").await);
    let made = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let mut bad = vec![
        ("entries", purchases.clone()),
        ("purchases", entries.clone()),
        ("entries", format!("{entries}=")),
        ("purchases", purchases[..purchases.len() - 1].to_owned()),
        ("entries", made("9223372036854775808")),
        ("entries", made("1.5")),
        ("entries", made("\"1\"")),
        ("purchases", made("[9223372036854775807,\"\"]")),
        ("purchases", made("[-9223372036854775808,\"\"]")),
        ("purchases", made("[-1000000000000000000,\"\"]")),
        ("purchases", made("[8000000000000000000,\"\"]")),
        ("purchases", made("[1,\"a\\u0000b\"]")),
        ("purchases", made("[1,2]")),
        ("purchases", made("[1,\"\",3]")),
    ];
    for list in ["entries", "purchases"] {
        for text in ["", "!", "%00", "%FF", "bnVsbA", "e30", "W10"] {
            bad.push((list, text.to_owned()));
        }
    }
    for (list, cursor) in bad {
        for page in [
            app.get_as("user_1", &format!("/v1/me/{list}?cursor={cursor}"))
                .await,
            app.get(&format!("/v1/users/user_1/{list}?cursor={cursor}"))
                .await,
        ] {
            assert_eq!(
                page.body["code"], "invalid_request",
                "{list}?cursor={cursor}: {page:?}"
            );
            page.assert_problem(400, "invalid_request");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn ids_that_none_can_have_are_refused() {
    let app = TestApp::start().await;
    for id in ["%00", "a%20b", "%0A", "%C2%A0", &"x".repeat(256)] {
        for tail in ["", "/balance", "/entries", "/purchases"] {
            app.get(&format!("/v1/users/{id}{tail}"))
                .await
                .assert_problem(400, "invalid_request");
        }
    }
    app.get(&format!("/v1/users/{}", "x".repeat(255)))
        .await
        .assert_problem(404, "user_not_found");
    app.stop().await;
}
