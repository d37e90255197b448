//! The sender's side of the signatures: deliveries and checkouts signed as the providers sign them, for local
//! testing without a tunnel, for the demo and for tests.
//!
//! Uses the receiver's own keys; must never be reachable from a request.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::clerk::svix_key;
use super::razorpay::{EVENT_ID, SIGNATURE};
use super::signature::{BadSecret, Key};
use super::stripe;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A signed request, ready to be posted.
#[derive(Clone)]
pub struct SignedDelivery {
    /// The headers that go with it, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The raw body.
    pub body: Vec<u8>,
}

/// Signs a delivery as Svix does for Clerk.
///
/// # Errors
/// [`BadSecret`] when the secret is not `whsec_` (optional) and base64.
pub fn svix(
    secret: &SecretString,
    event_id: &str,
    sent_at: DateTime<Utc>,
    body: impl Into<Vec<u8>>,
) -> Result<SignedDelivery, BadSecret> {
    let body = body.into();
    let timestamp = sent_at.timestamp().to_string();
    let code =
        svix_key(secret)?.code(&[event_id.as_bytes(), b".", timestamp.as_bytes(), b".", &body]);
    let signature = format!("v1,{}", STANDARD.encode(code.bytes()));
    Ok(SignedDelivery {
        headers: vec![
            ("svix-id", event_id.to_owned()),
            ("svix-timestamp", timestamp),
            ("svix-signature", signature),
        ],
        body,
    })
}

/// Signs a delivery as Razorpay does.
///
/// # Errors
/// [`BadSecret`] when the secret is empty.
pub fn razorpay_webhook(
    webhook_secret: &SecretString,
    event_id: &str,
    body: impl Into<Vec<u8>>,
) -> Result<SignedDelivery, BadSecret> {
    let body = body.into();
    let code = Key::of_text(webhook_secret)?.code(&[&body]);
    Ok(SignedDelivery {
        headers: vec![
            (SIGNATURE, hex::encode(code.bytes())),
            (EVENT_ID, event_id.to_owned()),
        ],
        body,
    })
}

/// Signs a delivery as Stripe does: the event's id is in the body.
///
/// # Errors
/// [`BadSecret`] when the secret is empty.
pub fn stripe_webhook(
    webhook_secret: &SecretString,
    sent_at: DateTime<Utc>,
    body: impl Into<Vec<u8>>,
) -> Result<SignedDelivery, BadSecret> {
    let body = body.into();
    let timestamp = sent_at.timestamp().to_string();
    let code = Key::of_text(webhook_secret)?.code(&[timestamp.as_bytes(), b".", &body]);
    let signature = format!("t={timestamp},v1={}", hex::encode(code.bytes()));
    Ok(SignedDelivery {
        headers: vec![(stripe::SIGNATURE, signature)],
        body,
    })
}

/// Signs an order and its payment as Razorpay's checkout does for the browser.
///
/// # Errors
/// [`BadSecret`] when the secret is empty.
pub fn razorpay_checkout(
    key_secret: &SecretString,
    order_id: &str,
    payment_id: &str,
) -> Result<String, BadSecret> {
    let message = format!("{order_id}|{payment_id}");
    let code = Key::of_text(key_secret)?.code(&[message.as_bytes()]);
    Ok(hex::encode(code.bytes()))
}
