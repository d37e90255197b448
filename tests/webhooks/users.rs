//! What Clerk's deliveries come to in any order, and where personal data goes.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::deliveries::{
    captured, clerk, created, deleted, order_paid, payment, unique, updated, user,
};
use crate::support::url::percent_encoded;

async fn shown(app: &TestApp, user_id: &str) -> Value {
    app.get(&format!("/v1/users/{user_id}")).await.body
}

#[tokio::test]
async fn a_change_may_come_before_the_sign_up() {
    let app = TestApp::start().await;
    let old = user("user_1");
    let mut new = user("user_1");
    new.first_name = Some("Nora".to_owned());
    new.updated_at += TimeDelta::milliseconds(1);
    app.deliver(Source::Clerk, &updated(&new))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let before = shown(&app, "user_1").await;
    assert_eq!(
        (&before["registered"], &before["balance"]),
        (&json!(false), &json!(0))
    );
    app.deliver(Source::Clerk, &created(&old))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let after = shown(&app, "user_1").await;
    assert_eq!(
        (&after["registered"], &after["balance"]),
        (&json!(true), &json!(20))
    );
    assert_eq!(after["first_name"], "Nora", "the older profile won");
    // What is older than what is known adds nothing.
    app.deliver(Source::Clerk, &updated(&old))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_deleted_user_is_not_revived() {
    let app = TestApp::start().await;
    app.deliver(Source::Clerk, &deleted("user_1"))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.deliver(Source::Clerk, &created(&user("user_1")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.deliver(Source::Clerk, &deleted("user_1"))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    let mut newer = user("user_1");
    newer.updated_at += TimeDelta::days(1);
    app.deliver(Source::Clerk, &updated(&newer)).await;
    let paid = captured(&payment(Some("user_1")));
    app.deliver(Source::Razorpay, &paid)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let user = shown(&app, "user_1").await;
    for (name, value) in [
        ("deleted", json!(true)),
        ("registered", json!(true)),
        ("email", json!(null)),
        ("first_name", json!(null)),
        ("last_name", json!(null)),
        ("balance", json!(520)),
    ] {
        assert_eq!(user[name], value, "{name} of {user}");
    }
    app.get_as("user_1", "/v1/me")
        .await
        .assert_problem(403, "user_deleted");
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// A delivery of a recorded payload.
fn recorded(fixture: &str) -> SignedDelivery {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clerk");
    let body = std::fs::read(path.join(format!("{fixture}.json"))).unwrap();
    clerk(&unique("msg_"), body)
}

/// The life of one account as Clerk really tells it: a ban, echoes of metadata, addresses that go, a deletion, and the
/// same person again under a new id. The ban and the echo move no credits, and neither does the deletion.
#[tokio::test]
async fn a_ban_an_echo_a_deletion_and_a_new_account_move_no_credits() {
    let app = TestApp::start().await;
    let (old, new) = (
        "user_3RkJ4hi245d8WxbYllUz4trG8pG",
        "user_3U2Nk6BbEg6F140WwT262QEfiOj",
    );
    app.deliver(Source::Razorpay, &captured(&payment(Some(old))))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let priya = json!("priya.raman@example.com");
    // The ban is newer than the echo, and the two before are older than both.
    for (fixture, status, email) in [
        ("user.created", "recorded", &priya),
        ("user.updated.banned", "recorded", &priya),
        ("user.updated.metadata_echo", "duplicate", &priya),
        ("user.updated.primary_email_changed", "duplicate", &priya),
        ("user.updated.all_emails_removed", "recorded", &json!(null)),
        ("user.updated.banned", "duplicate", &json!(null)),
        ("user.deleted", "recorded", &json!(null)),
        ("user.updated.metadata_echo", "duplicate", &json!(null)),
    ] {
        app.deliver(Source::Clerk, &recorded(fixture))
            .await
            .assert_ok(&json!({ "status": status }));
        let user = shown(&app, old).await;
        assert_eq!(
            (&user["email"], &user["balance"]),
            (email, &json!(520)),
            "{fixture}"
        );
    }
    app.deliver(
        Source::Clerk,
        &recorded("user.created.resignup_same_email_new_id"),
    )
    .await
    .assert_ok(&json!({"status": "recorded"}));
    let user = shown(&app, new).await;
    assert_eq!((&user["email"], &user["balance"]), (&priya, &json!(20)));
    assert_eq!(shown(&app, old).await["balance"], 520);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// As Clerk may deliver them: the deletion first.
#[tokio::test]
async fn a_deletion_before_the_creation_still_books_the_sign_up_and_keeps_no_profile() {
    let app = TestApp::start().await;
    for fixture in [
        "user.deleted.with_external_id",
        "user.created.multi_email_primary_second",
    ] {
        app.deliver(Source::Clerk, &recorded(fixture))
            .await
            .assert_ok(&json!({"status": "recorded"}));
    }
    let user = shown(&app, "user_30HLq56d6wUNVa3sZzSZSkCUZ6q").await;
    for (name, value) in [
        ("deleted", json!(true)),
        ("registered", json!(true)),
        ("email", json!(null)),
        ("first_name", json!(null)),
        ("balance", json!(20)),
    ] {
        assert_eq!(user[name], value, "{name} of {user}");
    }
    let kept = "select count(*) from personal";
    assert_eq!(app.count(kept).await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn an_e_mail_address_is_not_an_identity() {
    let app = TestApp::start().await;
    for user_id in ["user_1", "user_2"] {
        let mut same = user(user_id);
        same.email = Some("same@example.com".to_owned());
        app.deliver(Source::Clerk, &created(&same))
            .await
            .assert_ok(&json!({"status": "recorded"}));
    }
    app.deliver(Source::Razorpay, &captured(&payment(Some("user_2"))))
        .await;
    for (user_id, balance) in [("user_1", 20), ("user_2", 520)] {
        let user = shown(&app, user_id).await;
        assert_eq!(
            (&user["email"], &user["balance"]),
            (&json!("same@example.com"), &json!(balance))
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_payment_may_come_before_the_sign_up() {
    let app = TestApp::start().await;
    app.deliver(Source::Razorpay, &captured(&payment(Some("user_1"))))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let before = shown(&app, "user_1").await;
    assert_eq!(
        (&before["registered"], &before["balance"]),
        (&json!(false), &json!(500))
    );
    app.deliver(Source::Clerk, &created(&user("user_1")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let after = shown(&app, "user_1").await;
    assert_eq!(
        (&after["registered"], &after["balance"], &after["plan"]),
        (&json!(true), &json!(520), &json!("free"))
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn names_and_ids_may_hold_anything_that_text_can() {
    let app = TestApp::start().await;
    let mut odd = user("user_1");
    odd.first_name = Some("Zo\u{0}ë 🦀".to_owned());
    odd.last_name = Some("'; drop table users; -- \\ \" \u{202e}".to_owned());
    odd.email = Some("o'brien+tag@exämple.com".to_owned());
    app.deliver(Source::Clerk, &created(&odd))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let user = shown(&app, "user_1").await;
    assert_eq!(user["first_name"], "Zoë 🦀");
    assert_eq!(user["last_name"], json!(odd.last_name));
    assert_eq!(user["email"], json!(odd.email));
    for id in [
        "50%", "a/b", "é", "%2F", "a+b", "a?b#c", "a&b=c", "🦀", "{id}", "'--", "a;b", "@:,", "\\",
    ] {
        let encoded = percent_encoded(id, b"");
        app.deliver(Source::Razorpay, &captured(&payment(Some(id))))
            .await
            .assert_ok(&json!({"status": "recorded"}));
        let answer = app.get(&format!("/v1/users/{encoded}")).await;
        answer.assert_ok(&json!({"user_id": id, "balance": 500}));
        let answer = app.get(&format!("/v1/users/{encoded}/balance")).await;
        answer.assert_ok(&json!({"user_id": id, "balance": 500}));
        let answer = app.get(&format!("/v1/users/{encoded}/entries")).await;
        assert_eq!(
            answer.body["items"].as_array().map(Vec::len),
            Some(1),
            "{id}"
        );
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Personal data lies where it can be erased, and nowhere else.
#[tokio::test]
async fn personal_data_is_only_where_it_can_be_erased() {
    let app = TestApp::start().await;
    let mut person = user("user_1");
    person.email = Some("needle-mail@example.com".to_owned());
    person.first_name = Some("Needlefirst".to_owned());
    person.last_name = Some("Needlelast".to_owned());
    app.deliver(Source::Clerk, &created(&person))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    person.first_name = Some("Needleagain".to_owned());
    person.updated_at += TimeDelta::days(1);
    app.deliver(Source::Clerk, &updated(&person))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let mut paid = payment(Some("user_1"));
    paid.email = Some("needle-payer@example.com".to_owned());
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.deliver(Source::Razorpay, &order_paid(&paid))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    app.deliver(
        Source::Clerk,
        &clerk(
            "msg_parked",
            json!({"type": "user.created", "name": "Needle"}).to_string(),
        ),
    )
    .await
    .assert_ok(&json!({"status": "parked"}));

    let sql = app.sql().await;
    let tables = sql
        .query(
            "select tablename::text from pg_tables where schemaname = 'public' order by 1",
            &[],
        )
        .await
        .unwrap();
    let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    for must in ["events", "streams", "entries", "purchases", "balance"] {
        assert!(
            tables.iter().any(|table| table == must),
            "{must} of {tables:?}"
        );
    }
    let mut found = BTreeSet::new();
    for table in &tables {
        let text = match table.as_str() {
            // The body is where the data may be; the rest of the row is not.
            "inbox" => "concat_ws(' ', source, key, provider_event_id, headers, reason)",
            _ => "t::text",
        };
        let query = format!("select count(*) from \"{table}\" t where {text} ilike '%needle%'");
        if app.count(&query).await > 0 {
            found.insert(table.as_str());
        }
    }
    assert_eq!(found, BTreeSet::from(["personal", "users"]));
    let bodies = "select count(*) from inbox where convert_from(body, 'UTF8') ilike '%needle%'";
    assert_eq!(app.count(bodies).await, 5);
    app.stop().await;
}
