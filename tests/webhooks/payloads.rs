//! Every recorded payload: what it comes to, once.

mod stripe;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::Value;

use super::{ALL_CREDITS, ALL_DELIVERIES, ALL_EVENTS, Kept, assert_status, kept, razorpay_key};
use crate::support::TestApp;
use crate::support::deliveries::{clerk, razorpay, stripe as signed_by_stripe};

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

/// Every payload of Clerk and Razorpay, in the order in which they are delivered here.
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
        "recorded",
        0,
        "disputed",
    ),
    // Says what is known.
    row(
        "razorpay/payment.dispute.under_review.json",
        "duplicate",
        0,
        "disputed",
    ),
    row(
        "razorpay/payment.dispute.lost.json",
        "recorded",
        -500,
        "lost",
    ),
    // The same dispute cannot be lost and won: of one phase the win counts.
    row(
        "razorpay/payment.dispute.won.json",
        "recorded",
        500,
        "credited",
    ),
    // A question of the bank.
    row(
        "razorpay/payment.dispute.closed.json",
        "ignored",
        0,
        "credited",
    ),
    // 150.00 of 499.00.
    row(
        "razorpay/refund.created.json",
        "recorded",
        -150,
        "partially_refunded",
    ),
    // The same refund.
    row(
        "razorpay/refund.processed.partial.json",
        "duplicate",
        0,
        "partially_refunded",
    ),
    row(
        "razorpay/refund.processed.full.json",
        "recorded",
        -350,
        "refunded",
    ),
    row("razorpay/refund.failed.json", "recorded", 0, "unclaimed"),
    row(
        "razorpay/refund.speed_changed.created_at_nested_quirk.json",
        "ignored",
        0,
        "unclaimed",
    ),
    row(
        "razorpay/payment_link.paid.json",
        "recorded",
        0,
        "unclaimed",
    ),
    row("razorpay/subscription.cancelled.json", "ignored", 0, ""),
    // The user is in the subscription's notes; nothing in the catalog costs this.
    row(
        "razorpay/subscription.charged.json",
        "recorded",
        0,
        "unpriced",
    ),
    row(
        "razorpay/subscription.charged.legacy_captured_string.json",
        "recorded",
        0,
        "unpriced",
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
        let (source, delivery) = match file.split_once('/').unwrap().0 {
            "clerk" => (Source::Clerk, clerk(&event_id, bytes)),
            "razorpay" => (Source::Razorpay, razorpay(&event_id, bytes)),
            _ => (Source::Stripe, signed_by_stripe(bytes)),
        };
        Self {
            source,
            event_id,
            delivery,
            body,
        }
    }

    fn event_type(&self) -> &str {
        let name = if self.source == Source::Razorpay {
            "event"
        } else {
            "type"
        };
        self.body[name].as_str().unwrap()
    }

    fn key(&self) -> String {
        match self.source {
            Source::Razorpay => razorpay_key(&self.delivery.body),
            Source::Clerk | Source::Stripe | Source::Api | Source::Admin | Source::System => {
                self.event_id.clone()
            }
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
        let id = if self.source == Source::Stripe {
            stripe::purchase_of(&self.body)
        } else {
            let id = self.body["payload"]["payment"]["entity"]["id"].as_str();
            id.map(|id| format!("razorpay:{id}"))
        };
        let Some(id) = id else {
            return String::new();
        };
        let row = sql
            .query_opt(
                "select user_id, sku, status from purchases where purchase_id = $1",
                &[&id],
            )
            .await;
        row.unwrap().map_or("unknown".to_owned(), |row| {
            let state = match (
                row.get::<_, Option<String>>(0),
                row.get::<_, Option<String>>(1),
            ) {
                (Some(_), Some(_)) => "credited",
                (None, Some(_)) => "unclaimed",
                (Some(_), None) => "unpriced",
                (None, None) => "unclaimed and unpriced",
            };
            match row.get::<_, &str>(2) {
                "captured" => state.to_owned(),
                status => status.to_owned(),
            }
        })
    }

    /// Why it is ignored, if it is.
    fn reason(&self) -> String {
        if self.source == Source::Stripe {
            return stripe::reason(&self.body);
        }
        match self.body["payload"]["dispute"]["entity"]["phase"].as_str() {
            Some(phase) => format!("dispute phase {phase}: no money moves"),
            None => format!("event type {}", self.event_type()),
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn every_payload_has_its_row() {
    let all = || FIXTURES.iter().chain(&stripe::FIXTURES);
    let rows: BTreeSet<String> = all().map(|row| row.file.to_owned()).collect();
    assert_eq!(rows.len(), all().count(), "a row comes twice");
    let files = ["clerk", "razorpay", "stripe"]
        .into_iter()
        .flat_map(|provider| {
            let files = std::fs::read_dir(fixtures().join(provider)).unwrap();
            files.map(move |file| {
                format!("{provider}/{}", file.unwrap().file_name().to_str().unwrap())
            })
        });
    assert_eq!(files.collect::<BTreeSet<_>>(), rows);
}

#[tokio::test]
async fn every_payload_comes_to_what_it_must_and_once() {
    // What follows a commit would mix the payloads: some people in them have the same address.
    let app = TestApp::start_blind().await;
    come_to_what_they_must(&app, &FIXTURES).await;
    app.stop().await;
}

async fn come_to_what_they_must(app: &TestApp, rows: &[Row]) {
    let manifest = manifest();
    for row in rows {
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
        assert_eq!(fixture.subject(app).await, row.then, "{file}");

        let first = kept(app, fixture.source, &fixture.key()).await.unwrap();
        assert_eq!(first.body, fixture.delivery.body, "{file}");
        assert_eq!(first.provider_event_id, fixture.event_id, "{file}");
        assert_eq!(first.outcome, *status, "{file}");
        let reason = (*status == "ignored").then(|| fixture.reason());
        assert_eq!(first.reason, reason, "{file}");
        let headers: BTreeMap<&str, String> = fixture.delivery.headers.iter().cloned().collect();
        assert_eq!(
            serde_json::from_str::<Value>(&first.headers).unwrap(),
            serde_json::to_value(headers).unwrap(),
            "{file}"
        );
        assert_eq!(
            first.led_to.len(),
            usize::try_from(new_events).unwrap(),
            "{file}"
        );
        assert_eq!(first.deliveries, 1, "{file}");
    }
    let (credits, events) = (app.count(ALL_CREDITS).await, app.count(ALL_EVENTS).await);
    for Row { file, .. } in rows {
        let fixture = Fixture::read(file, &manifest);
        let first = kept(app, fixture.source, &fixture.key()).await.unwrap();
        let answer = app.deliver(fixture.source, &fixture.delivery).await;
        assert_status(&answer, "duplicate", &fixture.event_id);
        let again = kept(app, fixture.source, &fixture.key()).await.unwrap();
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
        i64::try_from(rows.len()).unwrap()
    );
    app.assert_audit_is_clean().await;
}
