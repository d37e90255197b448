//! Every recorded payload of Stripe.

use std::sync::Arc;

use credit_ledger::provider::Catalog;
use serde_json::{Value, json};

use super::{Row, come_to_what_they_must, row};
use crate::support::{Options, TestApp};

/// Every payload of Stripe, in the order in which they are delivered here.
pub(super) const FIXTURES: [Row; 43] = [
    row(
        "stripe/checkout.session.completed.payment_paid.json",
        "recorded",
        500,
        "credited",
    ),
    // The same money as the session's: adds nothing.
    row(
        "stripe/payment_intent.succeeded.json",
        "duplicate",
        0,
        "credited",
    ),
    row(
        "stripe/payment_intent.payment_failed.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/checkout.session.completed.async_unpaid.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/checkout.session.async_payment_succeeded.json",
        "recorded",
        500,
        "credited",
    ),
    row(
        "stripe/checkout.session.async_payment_failed.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/checkout.session.expired.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/checkout.session.completed.jpy_zero_decimal.json",
        "recorded",
        500,
        "credited",
    ),
    row(
        "stripe/checkout.session.completed.kwd_three_decimal.json",
        "recorded",
        500,
        "credited",
    ),
    row(
        "stripe/checkout.session.completed.no_payment_required.json",
        "recorded",
        500,
        "credited",
    ),
    row(
        "stripe/checkout.session.completed.no_user_reference.json",
        "recorded",
        0,
        "unclaimed",
    ),
    // It names the user; what it buys, its invoice says.
    row(
        "stripe/checkout.session.completed.subscription.json",
        "recorded",
        0,
        "unpriced",
    ),
    row(
        "stripe/invoice.paid.endive.json",
        "recorded",
        1000,
        "credited",
    ),
    row(
        "stripe/invoice.payment_succeeded.endive.json",
        "duplicate",
        0,
        "credited",
    ),
    row(
        "stripe/invoice_payment.paid.endive.json",
        "recorded",
        0,
        "credited",
    ),
    row(
        "stripe/invoice.paid.basil.json",
        "recorded",
        1000,
        "credited",
    ),
    row(
        "stripe/invoice.paid.acacia_pre_basil.json",
        "recorded",
        1000,
        "credited",
    ),
    row(
        "stripe/invoice.paid.endive.zero_amount_trial.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/invoice.payment_failed.endive.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/payment_intent.succeeded.connect_account.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/payment_intent.succeeded.livemode.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/thin.v1.payment_intent.succeeded.json",
        "ignored",
        0,
        "",
    ),
    // Held back, not taken.
    row(
        "stripe/charge.dispute.created.json",
        "recorded",
        0,
        "disputed",
    ),
    row(
        "stripe/charge.dispute.funds_withdrawn.json",
        "duplicate",
        0,
        "disputed",
    ),
    row(
        "stripe/charge.dispute.closed.won.json",
        "recorded",
        0,
        "credited",
    ),
    row(
        "stripe/charge.dispute.funds_reinstated.json",
        "duplicate",
        0,
        "credited",
    ),
    row(
        "stripe/charge.dispute.created.inquiry.json",
        "ignored",
        0,
        "unknown",
    ),
    row(
        "stripe/charge.dispute.closed.inquiry_warning_closed.json",
        "ignored",
        0,
        "unknown",
    ),
    // Of a payment that nothing is known of.
    row(
        "stripe/charge.dispute.closed.lost.json",
        "recorded",
        0,
        "uncaptured",
    ),
    // 15.00 of 49.00.
    row(
        "stripe/refund.created.partial.json",
        "recorded",
        -153,
        "partially_refunded",
    ),
    // The same refund, as the sum of all: recorded, takes nothing more.
    row(
        "stripe/charge.refunded.partial.json",
        "recorded",
        0,
        "partially_refunded",
    ),
    row(
        "stripe/refund.updated.json",
        "duplicate",
        0,
        "partially_refunded",
    ),
    row(
        "stripe/refund.created.remainder.json",
        "recorded",
        -347,
        "refunded",
    ),
    row(
        "stripe/charge.refunded.full_after_partial.json",
        "recorded",
        0,
        "refunded",
    ),
    row(
        "stripe/charge.refunded.full_single.json",
        "recorded",
        0,
        "uncaptured",
    ),
    row("stripe/refund.failed.json", "recorded", 0, "uncaptured"),
    row(
        "stripe/customer.subscription.created.json",
        "recorded",
        0,
        "",
    ),
    row(
        "stripe/customer.subscription.updated.activated_same_second.json",
        "recorded",
        0,
        "",
    ),
    // Years older than what is known.
    row(
        "stripe/customer.subscription.created.acacia_top_level_period.json",
        "duplicate",
        0,
        "",
    ),
    row(
        "stripe/customer.subscription.updated.cancel_at_period_end.json",
        "recorded",
        0,
        "",
    ),
    row(
        "stripe/customer.subscription.updated.renewed.json",
        "recorded",
        0,
        "",
    ),
    row(
        "stripe/customer.subscription.deleted.json",
        "recorded",
        0,
        "",
    ),
    row(
        "stripe/customer.subscription.updated.past_due.json",
        "recorded",
        0,
        "",
    ),
];

/// What is sold here.
fn catalog() -> Catalog {
    let packs = json!([
        {
            "sku": "pack_500", "credits": 500,
            "prices": [
                { "currency": "USD", "amount_minor": 4900 },
                { "currency": "JPY", "amount_minor": 7500 },
                { "currency": "KWD", "amount_minor": 15250 },
            ],
        },
        {
            "sku": "pro_monthly", "credits": 1000, "prices": [{ "currency": "USD", "amount_minor": 2000 }],
            "plan": "pro", "stripe_price_ids": ["price_1SjE2UIwn4ecfiRIZWn4YDvA"],
        },
    ]);
    serde_json::from_value(packs).unwrap()
}

/// The purchase that an event is about, if it is about one.
pub(super) fn purchase_of(event: &Value) -> Option<String> {
    let object = &event["data"]["object"];
    let text = |name: &str| object[name].as_str();
    let id = match text("object")? {
        "invoice" | "payment_intent" => text("id"),
        "subscription" => None,
        _ => text("invoice").or(text("payment_intent")).or(text("id")),
    };
    Some(format!("stripe:{}", id?))
}

/// Why it is ignored, if it is.
pub(super) fn reason(event: &Value) -> String {
    let object = &event["data"]["object"];
    let event_type = event["type"].as_str().unwrap();
    if event["object"] == "v2.core.event" {
        format!("thin event {event_type}: the endpoint must send snapshot events")
    } else if let Some(account) = event["account"].as_str() {
        format!("connect account {account}")
    } else if event["livemode"] == true {
        "livemode true".to_owned()
    } else if object["object"] == "dispute" {
        let status = object["status"].as_str().unwrap();
        format!("inquiry, status {status}: no money moved")
    } else if event_type == "checkout.session.completed" {
        "payment_status unpaid".to_owned()
    } else if event_type == "invoice.paid" {
        "amount_paid 0".to_owned()
    } else {
        format!("event type {event_type}")
    }
}

#[tokio::test]
async fn every_payload_of_stripe_comes_to_what_it_must_and_once() {
    let options = Options {
        configure: Arc::new(|config| {
            config.rules.catalog = catalog();
            config.stripe_livemode = Some(false);
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    come_to_what_they_must(&app, &FIXTURES).await;
    // Its user never signed up and has a plan all the same: none yet, begun, ended; the last payload is of another life.
    let sql =
        "select payload->>'plan' from events where event_type = 'PlanChanged' order by position";
    let plans: Vec<String> = app
        .sql()
        .await
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(plans, ["free", "pro", "free", "pro"]);
    app.stop().await;
}
