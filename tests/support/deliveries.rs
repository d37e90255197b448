//! Deliveries as the providers sign them.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeZone as _, Utc};
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::stripe::StripeSale;
use credit_ledger::provider::sample::{self, SamplePayment, SampleUser};
use credit_ledger::provider::sign::{self, SignedDelivery};
use secrecy::SecretString;
use serde_json::Value;

use super::app::{CLERK_SECRET, RAZORPAY_KEY_SECRET, RAZORPAY_SECRET, STRIPE_SECRET};

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// An id that no other call gives.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{:014}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A moment that does not move.
pub fn some_time() -> DateTime<Utc> {
    Utc.timestamp_opt(1_795_000_000, 0).unwrap()
}

pub fn user(user_id: &str) -> SampleUser {
    SampleUser {
        user_id: user_id.to_owned(),
        email: Some(format!("{user_id}@example.com")),
        first_name: Some("Asha".to_owned()),
        last_name: Some("Rao".to_owned()),
        updated_at: some_time(),
    }
}

/// A payment for the pack of 500 credits.
pub fn payment(user_id: Option<&str>) -> SamplePayment {
    SamplePayment {
        payment_id: unique("pay_"),
        order_id: Some(unique("order_")),
        amount_minor: 49_900,
        currency: "INR".to_owned(),
        user_id: user_id.map(str::to_owned),
        sku: Some("credits_500".to_owned()),
        email: None,
        created_at: some_time(),
    }
}

pub fn created(user: &SampleUser) -> SignedDelivery {
    clerk(
        &unique("msg_"),
        sample::clerk_user_created(user).to_string(),
    )
}

pub fn updated(user: &SampleUser) -> SignedDelivery {
    clerk(
        &unique("msg_"),
        sample::clerk_user_updated(user).to_string(),
    )
}

pub fn deleted(user_id: &str) -> SignedDelivery {
    clerk(
        &unique("msg_"),
        sample::clerk_user_deleted(user_id, some_time()).to_string(),
    )
}

pub fn captured(payment: &SamplePayment) -> SignedDelivery {
    razorpay(
        &unique("evt"),
        sample::razorpay_payment_captured(payment).to_string(),
    )
}

pub fn order_paid(payment: &SamplePayment) -> SignedDelivery {
    razorpay(
        &unique("evt"),
        sample::razorpay_order_paid(payment).to_string(),
    )
}

/// Signed now, by the system's clock.
pub fn clerk(event_id: &str, body: impl Into<Vec<u8>>) -> SignedDelivery {
    sign::svix(
        &SecretString::from(CLERK_SECRET),
        event_id,
        Utc::now(),
        body,
    )
    .unwrap()
}

pub fn razorpay(event_id: &str, body: impl Into<Vec<u8>>) -> SignedDelivery {
    sign::razorpay_webhook(&SecretString::from(RAZORPAY_SECRET), event_id, body).unwrap()
}

/// Signed now, by the system's clock; the event's id is in the body.
pub fn stripe(body: impl Into<Vec<u8>>) -> SignedDelivery {
    sign::stripe_webhook(&SecretString::from(STRIPE_SECRET), Utc::now(), body).unwrap()
}

/// Whatever somebody sends who has a provider's secret: signed now, under an id of its own.
pub fn signed(source: Source, body: impl Into<Vec<u8>>) -> SignedDelivery {
    match source {
        Source::Clerk => clerk(&unique("msg_"), body),
        Source::Razorpay => razorpay(&unique("evt"), body),
        Source::Stripe => stripe(body),
        Source::Api | Source::Admin | Source::System => panic!("{source} sends no webhooks"),
    }
}

/// A sale of the pack of 500 credits at Stripe.
pub fn sale(user_id: Option<&str>) -> StripeSale {
    StripeSale {
        tail: unique(""),
        amount_minor: 599,
        currency: "usd".to_owned(),
        user_id: user_id.map(str::to_owned),
        sku: Some("credits_500".to_owned()),
        price_id: None,
        email: None,
        created_at: some_time(),
    }
}

/// An event of Stripe's about a sale, under an id of its own.
pub fn told(event_type: &str, sale: &StripeSale) -> SignedDelivery {
    let event = sample::stripe::event(event_type, &unique("evt_"), sale).unwrap();
    stripe(event.to_string())
}

/// An event of Stripe's around any object, under an id of its own.
pub fn stripe_event(event_type: &str, object: &Value) -> SignedDelivery {
    let event = sample::stripe::envelope(event_type, &unique("evt_"), some_time(), object);
    stripe(event.to_string())
}

/// The signature that a browser brings back from checkout.
pub fn checkout(payment: &SamplePayment) -> (String, String, String) {
    let order_id = payment.order_id.clone().unwrap();
    let key = SecretString::from(RAZORPAY_KEY_SECRET);
    let signature = sign::razorpay_checkout(&key, &order_id, &payment.payment_id).unwrap();
    (order_id, payment.payment_id.clone(), signature)
}
