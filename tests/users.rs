//! Users as the product's backend looks them up, lists and deletes them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use credit_ledger::config::Config;
use credit_ledger::ledger::Source;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::app::{AUDIT_KEY, Answer, Options, SERVICE_KEY, answer};
use crate::support::deliveries::{captured, created, deleted, payment, updated, user};

async fn sign_up(app: &TestApp, user_id: &str) {
    app.deliver(Source::Clerk, &created(&user(user_id)))
        .await
        .assert_ok(&json!({"status": "recorded"}));
}

async fn delete(app: &TestApp, user_id: &str) -> Answer {
    let request = app.request(Method::DELETE, &format!("/v1/users/{user_id}"));
    answer(request.bearer_auth(SERVICE_KEY)).await
}

/// A POST of the backend about `user_1`.
async fn write(app: &TestApp, what: &str, body: &Value) -> Answer {
    let request = app.request(Method::POST, &format!("/v1/users/user_1/{what}"));
    let request = request.header("idempotency-key", what).json(body);
    answer(request.bearer_auth(SERVICE_KEY)).await
}

/// The ids on a page, in their order, and the cursor of the next one.
async fn page(app: &TestApp, query: &str) -> (Vec<String>, Option<String>) {
    let answer = app.get(&format!("/v1/users?{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.body["items"].as_array().unwrap();
    let ids = items
        .iter()
        .map(|item| item["user_id"].as_str().unwrap().to_owned());
    let cursor = answer.body["next_cursor"].as_str().map(str::to_owned);
    (ids.collect(), cursor)
}

#[tokio::test]
async fn a_user_in_a_list_is_shown_as_alone() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    app.deliver(Source::Razorpay, &captured(&payment(Some("user_1"))))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let alone = app.get("/v1/users/user_1").await.body;
    assert_eq!(alone["balance"], 520);
    for query in ["", "?email=user_1@example.com"] {
        let list = app.get(&format!("/v1/users{query}")).await;
        let expected = json!({"items": [alone], "next_cursor": null});
        assert_eq!(list.body, expected, "{query}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_past_balance_knows_what_ended_although_only_a_profile_changed_since() {
    let unattended = |config: &mut Config| config.upkeep_every = Duration::from_hours(1);
    let app = TestApp::start_with(Options {
        configure: Arc::new(unattended),
        ..Options::default()
    })
    .await;
    sign_up(&app, "user_1").await;
    let ends_at = (app.now() + TimeDelta::seconds(60)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let grant = json!({"amount": 100, "reason": "a present", "expires_at": ends_at});
    write(&app, "grants", &grant)
        .await
        .assert_has(200, &json!({"balance": 120}));
    app.move_clock(TimeDelta::seconds(120));
    let between = (app.now() - TimeDelta::seconds(30)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut news = user("user_1");
    news.updated_at += TimeDelta::seconds(1);
    app.deliver(Source::Clerk, &updated(&news))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let then = async || {
        let balance = format!("/v1/users/user_1/balance?at={between}");
        app.get(&balance).await
    };
    then().await.assert_has(200, &json!({"balance": 20}));
    // Whoever comes first, upkeep or the next command, writes down what ended, behind the profile.
    write(&app, "spends", &json!({"amount": 5}))
        .await
        .assert_has(200, &json!({"balance": 15}));
    then().await.assert_has(200, &json!({"balance": 20}));
    app.stop().await;
}

#[tokio::test]
async fn users_are_found_by_address_in_any_case() {
    let app = TestApp::start().await;
    for (user_id, email) in [
        ("user_1", "Asha+shop@Example.com"),
        ("user_2", "ben@example.com"),
        ("user_3", "asha+SHOP@example.com"),
    ] {
        let mut one = user(user_id);
        one.email = Some(email.to_owned());
        app.deliver(Source::Clerk, &created(&one))
            .await
            .assert_ok(&json!({"status": "recorded"}));
    }
    for (email, found) in [
        ("asha%2Bshop@example.com", &["user_3", "user_1"][..]),
        ("ASHA%2BSHOP%40EXAMPLE.COM", &["user_3", "user_1"]),
        ("%20ben@example.com%20", &["user_2"]),
        ("nobody@example.com", &[]),
        ("asha", &[]),
        ("%25", &[]),
    ] {
        let (ids, next) = page(&app, &format!("email={email}")).await;
        assert_eq!(ids, found, "{email}");
        assert_eq!(next, None);
    }
    // A page at a time.
    let (first, next) = page(&app, "email=asha%2Bshop@example.com&limit=1").await;
    let query = format!(
        "email=asha%2Bshop@example.com&limit=1&cursor={}",
        next.unwrap()
    );
    let (second, next) = page(&app, &query).await;
    assert_eq!(
        (first, second, next),
        (ids(&["user_3"]), ids(&["user_1"]), None)
    );
    app.stop().await;
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

/// The newest first, who never registered last; nobody twice and nobody left out, whatever is written meanwhile.
#[tokio::test]
async fn all_users_are_listed_page_by_page() {
    let app = TestApp::start().await;
    for user_id in ["user_a", "user_c", "user_b"] {
        sign_up(&app, user_id).await;
    }
    // Known by a profile alone.
    app.deliver(Source::Clerk, &updated(&user("user_x")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(
        page(&app, "").await,
        (ids(&["user_b", "user_c", "user_a", "user_x"]), None)
    );

    let (mut seen, mut next) = page(&app, "limit=1").await;
    let mut new = 0;
    while let Some(cursor) = next {
        // A sign-up, a payment and a deletion between any two pages.
        new += 1;
        sign_up(&app, &format!("user_new_{new}")).await;
        app.deliver(Source::Razorpay, &captured(&payment(Some("user_c"))))
            .await
            .assert_ok(&json!({"status": "recorded"}));
        delete(&app, "user_a").await;
        let (more, after) = page(&app, &format!("limit=1&cursor={cursor}")).await;
        seen.extend(more);
        next = after;
    }
    assert_eq!(seen, ["user_b", "user_c", "user_a", "user_x"]);
    app.stop().await;
}

#[tokio::test]
async fn what_can_not_be_asked_for_is_refused() {
    let app = TestApp::start().await;
    let (_, none) = page(&app, "limit=200").await;
    assert_eq!(none, None);
    let long = "a".repeat(321);
    for query in [
        "email=",
        "email=%20",
        "email=a%00b",
        "email=a%0Ab",
        &format!("email={long}"),
        "email=a@b&email=a@b",
        "limit=0",
        "limit=201",
        "cursor=garbage",
        // [-1, "user_1"]; [0, "a b"]; ["0", "user_1"]
        "cursor=Wy0xLCJ1c2VyXzEiXQ",
        "cursor=WzAsImEgYiJd",
        "cursor=WyIwIiwidXNlcl8xIl0",
        "name=a",
    ] {
        app.get(&format!("/v1/users?{query}"))
            .await
            .assert_problem(400, "invalid_request");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_deletion_by_the_backend_is_one_by_the_provider_and_erases() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    sign_up(&app, "user_2").await;

    let first = delete(&app, "user_1").await;
    assert_eq!(
        (first.status.as_u16(), &first.body),
        (
            200,
            &json!({"user_id": "user_1", "deleted": true, "erased": false})
        )
    );
    assert!(!first.headers.contains_key("idempotency-hit"));
    app.idle().await;
    let again = delete(&app, "user_1").await;
    assert_eq!(
        (again.status.as_u16(), &again.body),
        (
            200,
            &json!({"user_id": "user_1", "deleted": true, "erased": true})
        )
    );
    assert_eq!(again.headers["idempotency-hit"], "true");

    // What the identity provider's own word does to another user, and neither adds to the other's.
    app.deliver(Source::Clerk, &deleted("user_2"))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.deliver(Source::Clerk, &deleted("user_1"))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    let erased = delete(&app, "user_2").await;
    assert!(
        !erased.headers.contains_key("idempotency-hit"),
        "what is new is that it is to be erased"
    );
    app.idle().await;

    let seen = async |user_id: &str| {
        let mut body = app.get(&format!("/v1/users/{user_id}")).await.body;
        body["user_id"] = Value::Null;
        body
    };
    let gone = seen("user_1").await;
    assert_eq!(gone, seen("user_2").await);
    assert_eq!(gone["balance"], 20);
    assert_eq!(
        (&gone["deleted"], &gone["erased"], &gone["email"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    for user_id in ["user_1", "user_2"] {
        let events = app.events("user", user_id).await;
        assert_eq!(
            events,
            [
                "UserRegistered",
                "SignupBonusGranted",
                "UserDeleted",
                "ErasureRequested",
                "UserErased"
            ]
        );
        app.get_as(user_id, "/v1/me")
            .await
            .assert_problem(403, "user_deleted");
        let (found, _) = page(&app, &format!("email={user_id}@example.com")).await;
        assert_eq!(found, Vec::<String>::new());
    }

    let sql = "select source, provider_event_id, metadata::text from events
                where event_type = 'UserDeleted' and aggregate_id = 'user_1'";
    let row = app.sql().await.query_one(sql, &[]).await.unwrap();
    let caused: (String, Option<String>, String) = (row.get(0), row.get(1), row.get(2));
    let by_service = (
        "api".to_owned(),
        None,
        json!({"principal": "service"}).to_string(),
    );
    assert_eq!(caused, by_service);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn only_who_is_known_can_be_deleted_and_only_by_who_may_write() {
    let app = TestApp::start().await;
    delete(&app, "user_1")
        .await
        .assert_problem(404, "user_not_found");
    delete(&app, "a%20b")
        .await
        .assert_problem(400, "invalid_request");
    sign_up(&app, "user_1").await;
    let request = app.request(Method::DELETE, "/v1/users/user_1");
    answer(request.bearer_auth(AUDIT_KEY))
        .await
        .assert_problem(403, "insufficient_scope");
    assert_eq!(app.get("/v1/users/user_1").await.body["deleted"], false);

    // One who is known by a payment alone, and several at once: one of them deletes.
    app.deliver(Source::Razorpay, &captured(&payment(Some("user_2"))))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let all = futures_util::future::join_all((0..16).map(|_| delete(&app, "user_2"))).await;
    let firsts = all
        .iter()
        .filter(|answer| !answer.headers.contains_key("idempotency-hit"));
    assert_eq!(firsts.count(), 1);
    app.idle().await;
    let statuses: BTreeSet<u16> = all.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, BTreeSet::from([200]));
    assert_eq!(
        app.events("user", "user_2").await,
        [
            "CreditsPurchased",
            "UserDeleted",
            "ErasureRequested",
            "UserErased"
        ]
    );
    app.stop().await;
}

/// Both lists walk an index, so that a page costs the same however many users there are.
#[tokio::test]
async fn a_page_of_users_costs_the_same_however_many_there_are() {
    let app = TestApp::start().await;
    let sql = app.sql().await;
    sql.batch_execute(
        "insert into users (user_id, registered, deleted, erasure_requested, erased, bonus, plan_sequence, email,
                            email_verified, profile_sequence, registered_at)
         select 'user_' || n, true, false, false, false, true, 0, n || '@example.com', true, 1, now() - n * interval '1 second'
           from generate_series(1, 20000) as n;
         analyze users",
    )
    .await
    .unwrap();
    for (page, index) in [
        (
            include_str!("../projections/users/page.sql").to_owned(),
            "users_newest",
        ),
        (
            include_str!("../projections/users/page_by_email.sql").replace("$4", "'9@example.com'"),
            "users_email",
        ),
    ] {
        let query = page
            .replace("$1", "timestamptz '9999-12-31'")
            .replace("$2", "''")
            .replace("$3", "51");
        let rows = sql
            .query(&format!("explain (costs off) {query}"), &[])
            .await
            .unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("Seq Scan on users"), "{plan}");
    }
    app.stop().await;
}
