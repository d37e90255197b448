//! Deliveries whose headers prove nothing, and those that look strange and are good.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use credit_ledger::ledger::Source;
use credit_ledger::postgres::ConnectOptions;
use credit_ledger::provider::sample;
use credit_ledger::provider::sign::{self, SignedDelivery};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{assert_nothing_is_stored, assert_status, kept, razorpay_key};
use crate::support::app::{CLERK_SECRET, RAZORPAY_SECRET};
use crate::support::deliveries::{captured, clerk, created, payment, razorpay, unique, user};
use crate::support::{Options, TestApp, cluster, eventually};

/// How far clocks may differ.
const BOUND: Duration = Duration::from_secs(30);

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

fn fingerprint(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))[..8].to_owned()
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

/// Whoever does not know the time can not refuse a delivery for its time. For one that nobody signed it is not asked.
#[tokio::test]
async fn only_who_has_the_right_time_says_that_a_delivery_is_too_old() {
    let options = Options {
        configure: Arc::new(|config| config.store.clocks_differ_max = Some(BOUND)),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    let forged = with(&svix_at(-400), "svix-signature", "v1,AAAA");
    let stale = svix_at(-400);
    let good = svix_at(0);
    let stale_answer = app.deliver(Source::Clerk, &stale).await;
    stale_answer.assert_problem(400, "invalid_signature");

    let wrong_by = TimeDelta::hours(1);
    app.move_clock(wrong_by);
    let answer = app.deliver(Source::Clerk, &good).await;
    answer.assert_problem(503, "unavailable");

    // Now nobody can say that the clock is wrong.
    let elsewhere = cluster::fresh_database().await;
    let sql = elsewhere
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let name = app.database.name();
    let close = format!("alter database {name} with allow_connections false");
    sql.batch_execute(&close).await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity \
               where datname = $1";
    sql.execute(end, &[&name]).await.unwrap();
    app.move_clock(wrong_by);
    let answer = app.deliver(Source::Clerk, &good).await;
    answer.assert_problem(503, "unavailable");
    let answer = app.deliver(Source::Clerk, &forged).await;
    answer.assert_problem(400, "invalid_signature");
    let ready = app.get("/health/ready").await;
    ready.assert_problem(503, "unavailable");

    let open = format!("alter database {name} with allow_connections true");
    sql.batch_execute(&open).await.unwrap();
    app.move_clock(-wrong_by * 2);
    eventually("it is taken", async || {
        let answer = app.deliver(Source::Clerk, &good).await;
        (answer.status == 200).then_some(())
    })
    .await;
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
        let digest = razorpay_key(&no_id.body);
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
        let key = razorpay_key(&delivery.body);
        assert_eq!(
            kept(&app, Source::Razorpay, &key).await.unwrap().secret,
            fingerprint(text)
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn providers_that_are_unknown_or_not_set_up() {
    let options = Options {
        configure: Arc::new(|config| config.razorpay_webhook_secrets.clear()),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    for name in ["paypal", "Clerk", "api", "clerk%20", "..%2Fclerk", "%00"] {
        let answer = app.post(&format!("/webhooks/{name}"), &[], "{}").await;
        answer.assert_problem(404, "unknown_provider");
    }
    let no_text = app.post("/webhooks/%FF", &[], "{}").await;
    no_text.assert_problem(404, "not_found");
    let answer = app
        .deliver(Source::Razorpay, &captured(&payment(None)))
        .await;
    answer.assert_problem(503, "provider_not_configured");
    assert_eq!(answer.headers["retry-after"], "60");
    assert_nothing_is_stored(&app).await;
    app.stop().await;
}
