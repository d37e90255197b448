//! Deliveries over HTTP: what each leads to, what is kept of it, and what is refused without a trace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use credit_ledger::ledger::Source;
use credit_ledger::provider::Catalog;
use credit_ledger::provider::sample;
use credit_ledger::provider::sign::{self, SignedDelivery};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::app::{Answer, CLERK_SECRET, RAZORPAY_SECRET};
use crate::support::deliveries::{
    captured, clerk, created, deleted, order_paid, payment, razorpay, unique, updated, user,
};
use crate::support::{Options, TestApp, wire};

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

/// What one recorded payload comes to. `then`: the e-mail address that the user has afterwards, or what has become of
/// the purchase.
struct Row {
    file: &'static str,
    status: &'static str,
    credits: i64,
    then: &'static str,
}

const fn row(file: &'static str, status: &'static str, credits: i64, then: &'static str) -> Row {
    Row {
        file,
        status,
        credits,
        then,
    }
}

/// Every payload of the two providers, in the order in which they are delivered here.
const FIXTURES: [Row; 39] = [
    row("clerk/session.created.ignored_type.json", "ignored", 0, ""),
    row(
        "clerk/user.created.json",
        "recorded",
        20,
        "priya.raman@example.com",
    ),
    row(
        "clerk/user.created.legacy_minimal.json",
        "recorded",
        20,
        "legacy@example.org",
    ),
    row(
        "clerk/user.created.multi_email_primary_second.json",
        "recorded",
        20,
        "asha.k@new-mail.example",
    ),
    row(
        "clerk/user.created.oauth_google.json",
        "recorded",
        20,
        "gita@example.org",
    ),
    row(
        "clerk/user.created.phone_only_no_email.json",
        "recorded",
        20,
        "no e-mail",
    ),
    row(
        "clerk/user.created.primary_email_unverified.json",
        "recorded",
        20,
        "una@example.net, unverified",
    ),
    row(
        "clerk/user.updated.primary_email_changed.json",
        "recorded",
        0,
        "priya.iyer@example.com",
    ),
    row(
        "clerk/user.updated.metadata_echo.json",
        "recorded",
        0,
        "priya.raman@example.com",
    ),
    row(
        "clerk/user.updated.banned.json",
        "recorded",
        0,
        "priya.raman@example.com",
    ),
    row(
        "clerk/user.updated.all_emails_removed.json",
        "recorded",
        0,
        "no e-mail",
    ),
    row("clerk/user.deleted.json", "recorded", 0, "no e-mail"),
    row(
        "clerk/user.created.resignup_same_email_new_id.json",
        "recorded",
        20,
        "priya.raman@example.com",
    ),
    row(
        "clerk/user.deleted.with_external_id.json",
        "recorded",
        0,
        "no e-mail",
    ),
    row("razorpay/payment.authorized.json", "ignored", 0, "unknown"),
    row(
        "razorpay/payment.authorized.captured_true_quirk.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "razorpay/payment.authorized.late_after_failed.json",
        "ignored",
        0,
        "unknown",
    ),
    row("razorpay/payment.failed.json", "ignored", 0, "unknown"),
    row("razorpay/order.paid.json", "recorded", 500, "credited"),
    // The same money as the order's: adds nothing.
    row(
        "razorpay/payment.captured.notes_object.json",
        "duplicate",
        0,
        "credited",
    ),
    row(
        "razorpay/payment.captured.international_usd.json",
        "recorded",
        0,
        "unpriced",
    ),
    row(
        "razorpay/payment.captured.kwd_three_decimal.json",
        "recorded",
        0,
        "unpriced",
    ),
    row(
        "razorpay/payment.captured.no_order_no_email.json",
        "recorded",
        0,
        "unclaimed",
    ),
    row(
        "razorpay/payment.captured.notes_empty_array.json",
        "recorded",
        0,
        "unclaimed",
    ),
    row(
        "razorpay/payment.dispute.created.json",
        "ignored",
        0,
        "credited",
    ),
    row(
        "razorpay/payment.dispute.under_review.json",
        "ignored",
        0,
        "credited",
    ),
    row(
        "razorpay/payment.dispute.lost.json",
        "ignored",
        0,
        "credited",
    ),
    row(
        "razorpay/payment.dispute.won.json",
        "ignored",
        0,
        "credited",
    ),
    row(
        "razorpay/payment.dispute.closed.json",
        "ignored",
        0,
        "credited",
    ),
    row("razorpay/refund.created.json", "ignored", 0, "credited"),
    row(
        "razorpay/refund.processed.partial.json",
        "ignored",
        0,
        "credited",
    ),
    row(
        "razorpay/refund.processed.full.json",
        "ignored",
        0,
        "credited",
    ),
    row("razorpay/refund.failed.json", "ignored", 0, "unclaimed"),
    row(
        "razorpay/refund.speed_changed.created_at_nested_quirk.json",
        "ignored",
        0,
        "unclaimed",
    ),
    row("razorpay/payment_link.paid.json", "ignored", 0, "unknown"),
    row("razorpay/subscription.cancelled.json", "ignored", 0, ""),
    row(
        "razorpay/subscription.charged.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "razorpay/subscription.charged.legacy_captured_string.json",
        "ignored",
        0,
        "unknown",
    ),
    row("razorpay/subscription.pending.json", "ignored", 0, ""),
];

/// A payload with the id that its provider sent it under, signed with our secret.
struct Fixture {
    source: Source,
    event_id: String,
    delivery: SignedDelivery,
    body: Value,
}

impl Fixture {
    fn read(file: &str, manifest: &Value) -> Self {
        let entry = manifest["fixtures"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["file"] == file)
            .unwrap_or_else(|| panic!("{file} is not in the manifest"));
        let event_id = entry["transport_id"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(fixtures().join(file)).unwrap();
        let body = serde_json::from_slice(&bytes).unwrap();
        let (source, delivery) = if file.starts_with("clerk/") {
            (Source::Clerk, clerk(&event_id, bytes))
        } else {
            (Source::Razorpay, razorpay(&event_id, bytes))
        };
        Self {
            source,
            event_id,
            delivery,
            body,
        }
    }

    fn key(&self) -> String {
        match self.source {
            Source::Razorpay => hex::encode(Sha256::digest(&self.delivery.body)),
            Source::Clerk | Source::Api => self.event_id.clone(),
        }
    }

    /// What the database says of the user or the purchase that this is about.
    async fn subject(&self, app: &TestApp) -> String {
        let sql = app.sql().await;
        if self.source == Source::Clerk {
            let id = self.body["data"]["id"].as_str().unwrap();
            let row = sql
                .query_opt(
                    "select email, email_verified from users where user_id = $1",
                    &[&id],
                )
                .await;
            return row.unwrap().map_or_else(String::new, |row| {
                match (row.get::<_, Option<String>>(0), row.get(1)) {
                    (None, _) => "no e-mail".to_owned(),
                    (Some(email), true) => email,
                    (Some(email), false) => format!("{email}, unverified"),
                }
            });
        }
        let Some(id) = self.body["payload"]["payment"]["entity"]["id"].as_str() else {
            return String::new();
        };
        let id = format!("razorpay:{id}");
        let row = sql
            .query_opt(
                "select user_id, sku from purchases where purchase_id = $1",
                &[&id],
            )
            .await;
        let state = row.unwrap().map_or("unknown", |row| {
            match (
                row.get::<_, Option<String>>(0),
                row.get::<_, Option<String>>(1),
            ) {
                (Some(_), Some(_)) => "credited",
                (None, Some(_)) => "unclaimed",
                (Some(_), None) => "unpriced",
                (None, None) => "unclaimed and unpriced",
            }
        });
        state.to_owned()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("manifest.json")).unwrap()).unwrap()
}

/// A row of the inbox.
#[derive(Debug, PartialEq)]
struct Kept {
    provider_event_id: String,
    body: Vec<u8>,
    secret: String,
    outcome: String,
    reason: Option<String>,
    deliveries: i32,
    /// The types of the events at the positions that it led to.
    led_to: Vec<String>,
}

async fn kept(app: &TestApp, source: Source, key: &str) -> Option<Kept> {
    let sql = "select provider_event_id, body, secret, outcome, reason, deliveries, cardinality(positions),
                      array(select e.event_type || ' ' || coalesce(e.provider_event_id, '')
                              from unnest(i.shards, i.positions) with ordinality as at(shard, position, nth)
                              join events e on e.shard = at.shard and e.position = at.position
                             order by nth),
                      body_sha256 = sha256(body)
                 from inbox i where source = $1 and key = $2";
    let row = app
        .sql()
        .await
        .query_opt(sql, &[&source.as_str(), &key])
        .await
        .unwrap()?;
    assert!(row.get::<_, bool>(8), "the digest is not the body's");
    let provider_event_id: String = row.get(0);
    let events: Vec<String> = row.get(7);
    assert_eq!(
        row.get::<_, i32>(6),
        i32::try_from(events.len()).unwrap(),
        "a position without its event"
    );
    let led_to = events.iter().map(|event| {
        let (event_type, caused_by) = event.split_once(' ').unwrap();
        assert_eq!(caused_by, provider_event_id);
        event_type.to_owned()
    });
    Some(Kept {
        led_to: led_to.collect(),
        provider_event_id,
        body: row.get(1),
        secret: row.get(2),
        outcome: row.get(3),
        reason: row.get(4),
        deliveries: row.get(5),
    })
}

const ALL_CREDITS: &str = "select coalesce(sum(balance), 0)::bigint from balance";
const ALL_EVENTS: &str = "select count(*) from events";
const ALL_DELIVERIES: &str = "select count(*) from inbox";

fn fingerprint(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))[..8].to_owned()
}

#[test]
fn every_payload_has_its_row() {
    let rows: BTreeSet<String> = FIXTURES.iter().map(|row| row.file.to_owned()).collect();
    assert_eq!(rows.len(), FIXTURES.len(), "a row comes twice");
    let files = ["clerk", "razorpay"].into_iter().flat_map(|provider| {
        let files = std::fs::read_dir(fixtures().join(provider)).unwrap();
        files.map(move |file| format!("{provider}/{}", file.unwrap().file_name().to_str().unwrap()))
    });
    assert_eq!(files.collect::<BTreeSet<_>>(), rows);
}

#[tokio::test]
async fn every_payload_comes_to_what_it_must_and_once() {
    let app = TestApp::start().await;
    let manifest = manifest();
    for row in &FIXTURES {
        let Row { file, status, .. } = row;
        let fixture = Fixture::read(file, &manifest);
        let (credits, events) = (app.count(ALL_CREDITS).await, app.count(ALL_EVENTS).await);
        let answer = app.deliver(fixture.source, &fixture.delivery).await;
        assert_status(&answer, status, &fixture.event_id);
        assert_eq!(
            app.count(ALL_CREDITS).await - credits,
            row.credits,
            "{file}"
        );
        let new_events = app.count(ALL_EVENTS).await - events;
        assert_eq!(new_events > 0, *status == "recorded", "{file}");
        assert_eq!(fixture.subject(&app).await, row.then, "{file}");

        let first = kept(&app, fixture.source, &fixture.key()).await.unwrap();
        assert_eq!(first.body, fixture.delivery.body, "{file}");
        assert_eq!(first.provider_event_id, fixture.event_id, "{file}");
        assert_eq!(first.outcome, *status, "{file}");
        assert_eq!(first.reason.is_some(), *status == "ignored", "{file}");
        assert_eq!(
            first.led_to.len(),
            usize::try_from(new_events).unwrap(),
            "{file}"
        );
        assert_eq!(first.deliveries, 1, "{file}");
    }
    let (credits, events) = (app.count(ALL_CREDITS).await, app.count(ALL_EVENTS).await);
    for Row { file, .. } in &FIXTURES {
        let fixture = Fixture::read(file, &manifest);
        let first = kept(&app, fixture.source, &fixture.key()).await.unwrap();
        let answer = app.deliver(fixture.source, &fixture.delivery).await;
        assert_status(&answer, "duplicate", &fixture.event_id);
        let again = kept(&app, fixture.source, &fixture.key()).await.unwrap();
        assert_eq!(
            again,
            Kept {
                deliveries: 2,
                ..first
            },
            "{file}"
        );
    }
    assert_eq!(
        (app.count(ALL_CREDITS).await, app.count(ALL_EVENTS).await),
        (credits, events)
    );
    assert_eq!(
        app.count(ALL_DELIVERIES).await,
        i64::try_from(FIXTURES.len()).unwrap()
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// The whole answer, to the letter of the contract.
#[track_caller]
fn assert_status(answer: &Answer, status: &str, event_id: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut expected = json!({"status": status, "event_id": event_id});
    if status == "duplicate" {
        expected["idempotent"] = json!(true);
    }
    assert_eq!(answer.body, expected);
    let hit = answer
        .headers
        .get("idempotency-hit")
        .map(|value| value.to_str().unwrap());
    assert_eq!(hit, (status == "duplicate").then_some("true"));
}

fn with(delivery: &SignedDelivery, name: &'static str, value: &str) -> SignedDelivery {
    let mut changed = without(delivery, name);
    changed.headers.push((name, value.to_owned()));
    changed
}

fn without(delivery: &SignedDelivery, name: &str) -> SignedDelivery {
    let mut changed = delivery.clone();
    changed.headers.retain(|(header, _)| *header != name);
    changed
}

fn twice(delivery: &SignedDelivery, name: &'static str) -> SignedDelivery {
    let mut changed = delivery.clone();
    let value = changed
        .headers
        .iter()
        .find(|(header, _)| *header == name)
        .unwrap()
        .1
        .clone();
    changed.headers.push((name, value));
    changed
}

fn tampered(delivery: &SignedDelivery) -> SignedDelivery {
    let mut changed = delivery.clone();
    let text = String::from_utf8(changed.body).unwrap();
    changed.body = text.replace("user_", "usér_").into_bytes();
    changed
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn sign_up() -> String {
    sample::clerk_user_created(&user("user_1")).to_string()
}

fn svix_at(offset_s: i64) -> SignedDelivery {
    let sent_at = Utc::now() + TimeDelta::seconds(offset_s);
    let body = sample::clerk_user_created(&user(&unique("user_"))).to_string();
    sign::svix(&secret(CLERK_SECRET), &unique("msg_"), sent_at, body).unwrap()
}

async fn assert_nothing_is_stored(app: &TestApp) {
    let sql = "select (select count(*) from inbox) + (select count(*) from events)
                    + (select count(*) from streams) + (select count(*) from personal)";
    assert_eq!(app.count(sql).await, 0);
}

#[tokio::test]
async fn bad_deliveries_of_clerk_leave_no_trace() {
    let app = TestApp::start().await;
    let good = created(&user("user_1"));
    let id = "svix-id";
    let (time, signature) = ("svix-timestamp", "svix-signature");
    let mixed = SignedDelivery {
        headers: vec![
            ("svix-id", good.headers[0].1.clone()),
            ("webhook-timestamp", good.headers[1].1.clone()),
            ("webhook-signature", good.headers[2].1.clone()),
        ],
        ..good.clone()
    };
    let sign_with = |secret_text: &str, event_id: &str| {
        sign::svix(&secret(secret_text), event_id, Utc::now(), sign_up()).unwrap()
    };
    let other_version = good.headers[2].1.replace("v1,", "v1a,");
    let bad = [
        ("tampered", tampered(&good)),
        ("under another id", with(&good, id, "msg_other")),
        ("stale", svix_at(-400)),
        ("future", svix_at(400)),
        ("no id", without(&good, id)),
        ("no time", without(&good, time)),
        ("no signature", without(&good, signature)),
        (
            "no headers",
            SignedDelivery {
                headers: vec![],
                ..good.clone()
            },
        ),
        ("empty id", sign_with(CLERK_SECRET, "")),
        ("blank id", sign_with(CLERK_SECRET, "  ")),
        ("id too long", sign_with(CLERK_SECRET, &"m".repeat(256))),
        ("empty signature", with(&good, signature, "")),
        ("id twice", twice(&good, id)),
        ("time twice", twice(&good, time)),
        ("signature twice", twice(&good, signature)),
        (
            "wrong secret",
            sign_with("whsec_b3RoZXItc2VjcmV0LW9mLXRoZS10ZXN0cyE=", "msg_1"),
        ),
        ("not a time", with(&good, time, "now")),
        (
            "time with a sign",
            with(&good, time, &format!("+{}", good.headers[1].1)),
        ),
        ("another algorithm", with(&good, signature, &other_version)),
        ("no base64", with(&good, signature, "v1,!!!")),
        ("two families", mixed),
        ("Razorpay's scheme", razorpay("evt_1", sign_up())),
    ];
    for (what, delivery) in bad {
        let answer = app.deliver(Source::Clerk, &delivery).await;
        assert_eq!(
            answer.body["code"], "invalid_signature",
            "{what}: {answer:?}"
        );
        answer.assert_problem(400, "invalid_signature");
    }
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn good_deliveries_of_clerk_may_look_otherwise() {
    let app = TestApp::start().await;
    let white_label = |delivery: SignedDelivery| {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers = names
            .into_iter()
            .zip(delivery.headers)
            .map(|(name, (_, value))| (name, value));
        SignedDelivery {
            headers: headers.collect(),
            body: delivery.body,
        }
    };
    let several = created(&user("user_c"));
    let list = format!("v1a,AAAA v1,AAAA {} v2,x", several.headers[2].1);
    for delivery in [
        svix_at(-290),
        svix_at(290),
        white_label(created(&user("user_b"))),
        with(&several, "svix-signature", &list),
    ] {
        app.deliver(Source::Clerk, &delivery)
            .await
            .assert_ok(&json!({"status": "recorded"}));
    }
    app.stop().await;
}

#[tokio::test]
async fn bad_deliveries_of_razorpay_leave_no_trace() {
    let app = TestApp::start().await;
    let good = captured(&payment(Some("user_1")));
    let signature = "x-razorpay-signature";
    let code = good.headers[0].1.clone();
    let other =
        sign::razorpay_webhook(&secret("another secret"), "evt_1", good.body.clone()).unwrap();
    let bad = [
        ("tampered", tampered(&good)),
        ("no signature", without(&good, signature)),
        ("empty signature", with(&good, signature, "")),
        ("signature twice", twice(&good, signature)),
        ("event id twice", twice(&good, "x-razorpay-event-id")),
        ("upper case", with(&good, signature, &code.to_uppercase())),
        (
            "with a prefix",
            with(&good, signature, &format!("sha256={code}")),
        ),
        ("cut", with(&good, signature, &code[..62])),
        ("longer", with(&good, signature, &format!("{code}00"))),
        ("wrong secret", other),
        ("Clerk's scheme", clerk("msg_1", good.body.clone())),
    ];
    for (what, delivery) in bad {
        let answer = app.deliver(Source::Razorpay, &delivery).await;
        assert_eq!(
            answer.body["code"], "invalid_signature",
            "{what}: {answer:?}"
        );
        answer.assert_problem(400, "invalid_signature");
    }
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// The event-id header of Razorpay is not signed: it may be missing or made up, and changes nothing.
#[tokio::test]
async fn razorpays_event_id_is_only_a_name() {
    let app = TestApp::start().await;
    let name = "x-razorpay-event-id";
    for no_id in [
        without(&captured(&payment(Some("user_1"))), name),
        with(&captured(&payment(Some("user_1"))), name, ""),
        with(&captured(&payment(Some("user_1"))), name, "   "),
        with(&captured(&payment(Some("user_1"))), name, &"e".repeat(256)),
    ] {
        let digest = hex::encode(Sha256::digest(&no_id.body));
        let answer = app.deliver(Source::Razorpay, &no_id).await;
        assert_status(&answer, "recorded", &format!("sha256:{digest}"));
        let replayed = with(&no_id, name, "made_up");
        let answer = app.deliver(Source::Razorpay, &replayed).await;
        assert_status(&answer, "duplicate", "made_up");
    }
    assert_eq!(app.balance("user_1").await, 2000);
    app.stop().await;
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_are_taken_and_the_inbox_says_which() {
    let old_clerk = "whsec_b2xkLXNlY3JldC1vZi10aGUtdGVzdHMhIQ==";
    let old_razorpay = "the-old-secret-of-the-tests";
    let options = Options {
        configure: Arc::new(|config| {
            config.clerk_webhook_secrets.push(old_clerk.into());
            config.razorpay_webhook_secrets.push(old_razorpay.into());
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    for text in [CLERK_SECRET, old_clerk] {
        let id = unique("msg_");
        let body = sample::clerk_user_created(&user(&unique("user_"))).to_string();
        let delivery = sign::svix(&secret(text), &id, Utc::now(), body).unwrap();
        assert_status(
            &app.deliver(Source::Clerk, &delivery).await,
            "recorded",
            &id,
        );
        assert_eq!(
            kept(&app, Source::Clerk, &id).await.unwrap().secret,
            fingerprint(text)
        );
    }
    for text in [RAZORPAY_SECRET, old_razorpay] {
        let body = sample::razorpay_payment_captured(&payment(None)).to_string();
        let delivery = sign::razorpay_webhook(&secret(text), "evt_1", body).unwrap();
        assert_status(
            &app.deliver(Source::Razorpay, &delivery).await,
            "recorded",
            "evt_1",
        );
        let key = hex::encode(Sha256::digest(&delivery.body));
        assert_eq!(
            kept(&app, Source::Razorpay, &key).await.unwrap().secret,
            fingerprint(text)
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_signed_body_that_is_no_object_is_malformed() {
    let app = TestApp::start().await;
    let bodies: [&[u8]; 9] = [
        b"",
        b" ",
        b"not json",
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"type\":\"user.created\"",
        b"{} {}",
        b"{\"type\":\"\xff\"}",
    ];
    for body in bodies {
        app.deliver(Source::Clerk, &clerk(&unique("msg_"), body))
            .await
            .assert_problem(400, "malformed");
        app.deliver(Source::Razorpay, &razorpay(&unique("evt"), body))
            .await
            .assert_problem(400, "malformed");
    }
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// A payment whose body is padded to a length with what JSON allows anywhere.
fn padded(bytes: usize) -> SignedDelivery {
    let mut body = sample::razorpay_payment_captured(&payment(Some("user_1"))).to_string();
    body.push_str(&" ".repeat(bytes - body.len()));
    razorpay(&unique("evt"), body)
}

#[tokio::test]
async fn a_body_may_have_one_mebibyte() {
    let app = TestApp::start().await;
    let large = app
        .deliver(Source::Razorpay, &padded(1024 * 1024 + 1))
        .await;
    large.assert_problem(413, "payload_too_large");
    assert_nothing_is_stored(&app).await;
    let fits = padded(1024 * 1024);
    app.deliver(Source::Razorpay, &fits)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let key = hex::encode(Sha256::digest(&fits.body));
    assert_eq!(
        kept(&app, Source::Razorpay, &key).await.unwrap().body,
        fits.body
    );
    app.stop().await;
}

/// The same limit holds when nobody says beforehand how long the body will be.
#[tokio::test]
async fn a_body_in_chunks_has_the_same_limit() {
    let app = TestApp::start().await;
    let mut request =
        b"POST /webhooks/razorpay HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    request.extend(b"100001\r\n");
    request.extend(vec![b' '; 1024 * 1024 + 1]);
    let answer = wire::exchange(app.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"payload_too_large\""), "{answer}");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let app = TestApp::start().await;
    let request =
        b"POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{\"type\":";
    let answer = wire::exchange(app.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"request_timeout\""), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// A sender that goes away in the middle leaves nothing, even if what came is signed.
#[tokio::test]
async fn a_body_that_breaks_off_is_not_stored() {
    let app = TestApp::start().await;
    let good = captured(&payment(Some("user_1")));
    let mut request = format!(
        "POST /webhooks/razorpay HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n",
        good.body.len() + 1
    );
    for (name, value) in &good.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut bytes = format!("{request}\r\n").into_bytes();
    bytes.extend(&good.body);
    let answer = wire::break_off(app.address, &bytes).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// Nesting as deep as the limit of size allows breaks nothing: what is never asked for is never looked into.
#[tokio::test]
async fn deep_nesting_is_only_a_member_that_can_not_be_read() {
    let app = TestApp::start().await;
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    let parked = format!(r#"{{"event":"payment.captured","payload":{deep}}}"#);
    let answer = app
        .deliver(Source::Razorpay, &razorpay("evt_deep", parked))
        .await;
    assert_status(&answer, "parked", "evt_deep");
    let deep_object = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let mut body = sample::razorpay_payment_captured(&payment(None)).to_string();
    body = body
        .replace("\"notes\":[]", "\"notes\":DEEP")
        .replace("{\"sku\":\"credits_500\"}", "DEEP");
    assert!(body.contains("DEEP"));
    let body = body.replace("DEEP", &deep_object);
    let answer = app
        .deliver(Source::Razorpay, &razorpay("evt_notes", body))
        .await;
    assert_status(&answer, "recorded", "evt_notes");
    assert_eq!(
        app.count("select count(*) from purchases where user_id is null and sku = 'credits_500'")
            .await,
        1
    );
    app.stop().await;
}

#[tokio::test]
async fn providers_that_are_unknown_or_not_set_up() {
    let options = Options {
        configure: Arc::new(|config| config.razorpay_webhook_secrets.clear()),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    for name in [
        "paypal",
        "Clerk",
        "api",
        "clerk%20",
        "..%2Fclerk",
        "%00",
        "%FF",
    ] {
        let answer = app.post(&format!("/webhooks/{name}"), &[], "{}").await;
        answer.assert_problem(404, "unknown_provider");
    }
    let answer = app
        .deliver(Source::Razorpay, &captured(&payment(None)))
        .await;
    answer.assert_problem(503, "provider_not_configured");
    assert_eq!(answer.headers["retry-after"], "60");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}

/// A genuine delivery that can not be read is kept with the field that it lacks.
#[tokio::test]
async fn what_can_not_be_read_is_parked() {
    let app = TestApp::start().await;
    let sign_up = sample::clerk_user_created(&user("user_1"));
    let paid = sample::razorpay_payment_captured(&payment(Some("user_1")));
    let change = |body: &Value, pointer: &str, value: Value| {
        let mut body = body.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let entity = "/payload/payment/entity";
    let field = |name: &str| format!("{entity}/{name}");
    let mut cases = vec![
        (Source::Clerk, json!({}), "type"),
        (Source::Clerk, change(&sign_up, "/type", json!(7)), "type"),
        (
            Source::Clerk,
            change(&sign_up, "/data", json!(null)),
            "data.id",
        ),
        (
            Source::Clerk,
            change(&sign_up, "/data", json!([])),
            "data.id",
        ),
        (Source::Clerk, json!({"type": "user.deleted"}), "data.id"),
        (
            Source::Clerk,
            json!({"type": "user.updated", "data": {"id": "user_1"}}),
            "data.updated_at",
        ),
        (Source::Razorpay, json!({}), "event"),
        (
            Source::Razorpay,
            json!({"event": "order.paid"}),
            "payload.payment.entity",
        ),
        (
            Source::Razorpay,
            change(&paid, entity, json!("text")),
            "payload.payment.entity",
        ),
        (
            Source::Razorpay,
            change(&paid, &field("status"), json!(true)),
            "payload.payment.entity.status",
        ),
    ];
    for id in [
        json!(null),
        json!(""),
        json!("user 1"),
        json!("user\u{0}1"),
        json!("u".repeat(256)),
    ] {
        cases.push((Source::Clerk, change(&sign_up, "/data/id", id), "data.id"));
    }
    for id in [
        json!(null),
        json!("order_1"),
        json!("pay_"),
        json!("pay_1/2"),
        json!(1),
    ] {
        cases.push((
            Source::Razorpay,
            change(&paid, &field("id"), id),
            "payload.payment.entity.id",
        ));
    }
    for amount in [
        json!(null),
        json!("49900"),
        json!(499.5),
        json!(-1),
        json!(1e300),
    ] {
        cases.push((
            Source::Razorpay,
            change(&paid, &field("amount"), amount),
            "payload.payment.entity.amount",
        ));
    }
    for currency in [json!(null), json!("RUPEE"), json!("")] {
        cases.push((
            Source::Razorpay,
            change(&paid, &field("currency"), currency),
            "payload.payment.entity.currency",
        ));
    }
    for (source, body, field) in &cases {
        let id = unique("id");
        let (delivery, key) = if *source == Source::Clerk {
            (clerk(&id, body.to_string()), id.clone())
        } else {
            (
                razorpay(&id, body.to_string()),
                hex::encode(Sha256::digest(body.to_string())),
            )
        };
        assert_status(&app.deliver(*source, &delivery).await, "parked", &id);
        let row = kept(&app, *source, &key).await.unwrap();
        assert_eq!(row.outcome, "parked", "{body}");
        assert_eq!(
            row.reason,
            Some(format!("missing_fields: {field}")),
            "{body}"
        );
        assert_eq!(row.body, delivery.body);
        assert_status(&app.deliver(*source, &delivery).await, "duplicate", &id);
    }
    assert_eq!(app.count(ALL_EVENTS).await, 0);
    assert_eq!(
        app.count("select count(*) from inbox where outcome = 'parked'")
            .await,
        i64::try_from(cases.len()).unwrap()
    );
    app.stop().await;
}

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
async fn money_without_a_user_or_a_price_is_kept() {
    let app = TestApp::start().await;
    let mut dear = payment(Some("user_1"));
    dear.amount_minor += 1;
    let mut unknown = payment(Some("user_1"));
    unknown.sku = Some("credits_of_another_shop".to_owned());
    let mut other_currency = payment(Some("user_1"));
    other_currency.currency = "EUR".to_owned();
    let unclaimed = payment(None);
    for payment in [&dear, &unknown, &other_currency, &unclaimed] {
        app.deliver(Source::Razorpay, &captured(payment))
            .await
            .assert_ok(&json!({"status": "recorded"}));
        let id = format!("razorpay:{}", payment.payment_id);
        assert_eq!(app.events("purchase", &id).await, ["PaymentCaptured"]);
    }
    assert_eq!(app.count(ALL_CREDITS).await, 0);
    let states = "select count(*) from purchases where (user_id is null) <> (sku is null) and amount_minor > 0";
    assert_eq!(app.count(states).await, 4);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// The two events of one payment in both orders: the second adds what the first lacked, and only that.
#[tokio::test]
async fn the_order_adds_what_the_payment_lacked() {
    let app = TestApp::start().await;
    for (order_first, user_id) in [(false, "user_1"), (true, "user_2")] {
        let full = payment(Some(user_id));
        let bare = sample::SamplePayment {
            user_id: None,
            sku: None,
            ..full.clone()
        };
        // Notes are the order's alone.
        let mut paid = sample::razorpay_order_paid(&full);
        paid["payload"]["payment"]["entity"]["notes"] = json!([]);
        let order = razorpay(&unique("evt"), paid.to_string());
        let capture = captured(&bare);
        let id = format!("razorpay:{}", full.payment_id);
        let (first, second) = if order_first {
            (&order, &capture)
        } else {
            (&capture, &order)
        };
        app.deliver(Source::Razorpay, first)
            .await
            .assert_ok(&json!({"status": "recorded"}));
        let status = if order_first { "duplicate" } else { "recorded" };
        app.deliver(Source::Razorpay, second)
            .await
            .assert_ok(&json!({"status": status}));
        let events = app.events("purchase", &id).await;
        let expected: &[&str] = if order_first {
            &["PaymentCaptured"]
        } else {
            &["PaymentCaptured", "PurchaseClaimed"]
        };
        assert_eq!(events, expected);
        assert_eq!(app.balance(user_id).await, 500);
        assert_eq!(app.events("user", user_id).await, ["CreditsPurchased"]);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Two packs of one price: only a later delivery says which one was bought.
#[tokio::test]
async fn a_price_may_be_understood_later() {
    let catalog = r#"[
        {"sku": "credits_500", "credits": 500, "prices": [{"currency": "INR", "amount_minor": 49900}]},
        {"sku": "credits_600", "credits": 600, "prices": [{"currency": "INR", "amount_minor": 49900}]}
    ]"#;
    let catalog: Catalog = serde_json::from_str(catalog).unwrap();
    let options = Options {
        configure: Arc::new(move |config| config.rules.catalog = catalog.clone()),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    let mut paid = payment(Some("user_1"));
    paid.sku = None;
    app.deliver(Source::Razorpay, &captured(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(app.balance("user_1").await, 0);
    paid.sku = Some("credits_600".to_owned());
    app.deliver(Source::Razorpay, &order_paid(&paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(app.balance("user_1").await, 600);
    // Once priced, it stays.
    paid.sku = Some("credits_500".to_owned());
    app.deliver(Source::Razorpay, &order_paid(&paid))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    assert_eq!(app.balance("user_1").await, 600);
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
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
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

/// A delivery that the store stumbles over harms no other and is not lost.
#[tokio::test]
async fn what_can_not_be_stored_is_parked_alone() {
    let app = TestApp::start().await;
    for user_id in ["user_1", "user_2"] {
        app.deliver(Source::Clerk, &created(&user(user_id)))
            .await
            .assert_ok(&json!({"status": "recorded"}));
    }
    // What no version of this program has written.
    let spoil =
        "update streams set state = '{\"balance\": \"many\"}' where aggregate_id = 'user_1'";
    assert_eq!(app.sql().await.execute(spoil, &[]).await.unwrap(), 1);
    let poison = captured(&payment(Some("user_1")));
    let good: Vec<_> = (0..20)
        .map(|_| captured(&payment(Some("user_2"))))
        .collect();
    let (poisoned, answers) = futures_util::future::join(
        app.deliver(Source::Razorpay, &poison),
        futures_util::future::join_all(good.iter().map(|one| app.deliver(Source::Razorpay, one))),
    )
    .await;
    poisoned.assert_ok(&json!({"status": "parked"}));
    for answer in answers {
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    let key = hex::encode(Sha256::digest(&poison.body));
    let row = kept(&app, Source::Razorpay, &key).await.unwrap();
    assert_eq!((row.outcome.as_str(), row.body), ("parked", poison.body));
    assert_eq!(app.balance("user_2").await, 20 + 20 * 500);
    app.stop().await;
}

#[tokio::test]
async fn many_deliveries_at_once_are_each_recorded() {
    let app = TestApp::start().await;
    let deliveries: Vec<_> = (0..50)
        .map(|n| captured(&payment(Some(&format!("user_{}", n % 5)))))
        .collect();
    let answers = futures_util::future::join_all(
        deliveries
            .iter()
            .map(|one| app.deliver(Source::Razorpay, one)),
    )
    .await;
    for answer in answers {
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    // The answer comes after the commit, so nothing has to be waited for.
    assert_eq!(app.count(ALL_CREDITS).await, 25_000);
    app.assert_audit_is_clean().await;
    app.stop().await;
}
