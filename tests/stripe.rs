//! Stripe over HTTP: its webhooks, and verify-payment for its checkout sessions.

mod events;
mod parts;
mod subscriptions;
mod verify;

use std::sync::Arc;

use credit_ledger::ledger::Source;
use credit_ledger::provider::Catalog;
use credit_ledger::provider::sample::stripe::StripeSale;
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::{Value, json};

use crate::support::deliveries::sale;
use crate::support::{Options, TestApp};

/// The plan that is sold beside the packs.
const PRO: &str = r#"
    { "sku": "pro_monthly", "credits": 1000, "prices": [{ "currency": "USD", "amount_minor": 2000 }],
      "plan": "pro", "stripe_price_ids": ["price_pro"] }"#;

/// Settings with the plan in the catalog.
fn with_plan(options: Options) -> Options {
    Options {
        configure: Arc::new(|config| {
            let mut packs = config.rules.catalog.packs().to_vec();
            packs.push(serde_json::from_str(PRO).unwrap());
            config.rules.catalog = Catalog::new(packs).unwrap();
        }),
        ..options
    }
}

/// A period of the plan.
fn period(user_id: Option<&str>) -> StripeSale {
    StripeSale {
        amount_minor: 2000,
        sku: None,
        price_id: Some("price_pro".to_owned()),
        ..sale(user_id)
    }
}

/// Delivers and sees that it comes to this status.
#[track_caller]
fn comes_to<'a>(
    app: &'a TestApp,
    delivery: &'a SignedDelivery,
    status: &'a str,
) -> impl Future<Output = ()> + 'a {
    let at = std::panic::Location::caller();
    async move {
        let answer = app.deliver(Source::Stripe, delivery).await;
        assert_eq!(answer.status, 200, "{at}: {answer:?}");
        assert_eq!(answer.body["status"], status, "{at}: {answer:?}");
    }
}

/// The account as the user's backend sees it.
async fn account(app: &TestApp, user_id: &str) -> Value {
    let answer = app.get(&format!("/v1/users/{user_id}/balance")).await;
    let body = &answer.body;
    json!([body["balance"], body["held"], body["debt"]])
}
