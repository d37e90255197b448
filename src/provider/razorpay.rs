//! Razorpay: payments. Webhooks here, what its API answers in `api`, the signature that a browser brings
//! back from the checkout in `checkout`.
//!
//! Scheme (razorpay.com/docs/webhooks/validate-test): hex HMAC-SHA256 over the raw body alone. Neither a time
//! nor the event-id header is signed: so the inbox key is a digest of the body, and a replayed body is a
//! duplicate under whatever event id it comes. Must never trust that header for more than a name.

mod api;
mod checkout;
mod dispute;
mod payment;
mod refund;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

pub use api::{ApiPayment, ApiStatus, BadAnswer, capture_from_api, capture_from_kept, joined};
pub use checkout::{CheckoutRejected, CheckoutSignature, PaymentLink};
pub use payment::{is_order_id, is_payment_id};

use super::json::{Object, clean};
use super::signature::{BadSecret, Key, keys, lower_hex};
use super::{
    Delivery, Headers, ParkReason, Provider, Rejected, Rules, Translated, Verified, ignored_type,
    is_event_id, json_object, missing,
};
use crate::ledger::{Command, Salt, Source};
use payment::{Context, Unreadable};

/// The longest unknown status that is repeated, in bytes.
const STATUS_MAX_BYTES: usize = 40;

pub(super) const SIGNATURE: &str = "x-razorpay-signature";
pub(super) const EVENT_ID: &str = "x-razorpay-event-id";

/// Verifies and reads Razorpay's webhooks.
pub struct Razorpay {
    keys: Vec<Key>,
}

impl Razorpay {
    /// Takes the webhook's secrets, newest first. Retries of old events stay signed by the old secret, so it
    /// should stay in the list for 24 hours at least.
    ///
    /// # Errors
    /// [`BadSecret`] when there is none, or one is empty: Razorpay lets a webhook have no secret, then
    /// nothing is signed.
    pub fn new(webhook_secrets: &[SecretString]) -> Result<Self, BadSecret> {
        Ok(Self {
            keys: keys(webhook_secrets, Key::of_text)?,
        })
    }
}

impl Provider for Razorpay {
    fn source(&self) -> Source {
        Source::Razorpay
    }

    fn has_secret(&self, fingerprint: &str) -> bool {
        self.keys.iter().any(|key| key.fingerprint() == fingerprint)
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<Verified, Rejected> {
        let signature = delivery.headers.require_once(SIGNATURE)?;
        let event_id = event_id(&delivery.headers)?;
        let candidate = lower_hex(signature).ok_or(Rejected::NoMatch)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.code(&[delivery.body]).is(&candidate))
            .ok_or(Rejected::NoMatch)?;
        let body = json_object(delivery.body)?;
        let body_sha256: [u8; 32] = Sha256::digest(delivery.body).into();
        let digest = credit_ledger_verify::hex(&body_sha256);
        let mut headers = vec![(SIGNATURE.to_owned(), signature.to_owned())];
        headers.extend(event_id.map(|id| (EVENT_ID.to_owned(), id.to_owned())));
        Ok(Verified {
            source: Source::Razorpay,
            provider_event_id: event_id.map_or_else(|| format!("sha256:{digest}"), str::to_owned),
            key: digest,
            body: body.to_owned(),
            body_sha256,
            headers,
            secret_fingerprint: key.fingerprint().to_owned(),
            received_at: delivery.received_at,
        })
    }

    fn translate(&self, verified: &Verified, rules: &Rules, salt: Salt) -> Translated {
        read(verified, rules, salt).unwrap_or_else(Translated::Park)
    }
}

/// The event id, if there is one that can be stored. A strange one is left out and refuses nothing: the
/// signature does not cover it, so it says nothing about the body.
fn event_id<'a>(headers: &Headers<'a>) -> Result<Option<&'a str>, Rejected> {
    match headers.get_once(EVENT_ID) {
        Ok(id) => Ok(id.filter(|id| is_event_id(id))),
        Err(Rejected::BadHeader(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

fn read(verified: &Verified, rules: &Rules, salt: Salt) -> Result<Translated, ParkReason> {
    let event = verified.event();
    let event_type = event.text("event").ok_or(missing("event"))?;
    let payload = Payload(event.object("payload").unwrap_or_default());
    match event_type.as_str() {
        // All say that the same money is ours. Whichever comes second adds what the first lacked.
        "payment.captured" | "order.paid" | "payment_link.paid" | "subscription.charged" => {
            let sent_at_s = event
                .time_s("created_at")
                .or_else(|| payload.0.time_s("created_at"))
                .unwrap_or_else(|| verified.received_at().timestamp());
            paid(&payload, sent_at_s, rules, salt)
        }
        "refund.created" | "refund.processed" => refund::read(&payload, false),
        "refund.failed" => refund::read(&payload, true),
        other => match other.strip_prefix("payment.dispute.") {
            Some(step) => {
                dispute::read(&payload, step).map(|d| d.unwrap_or_else(|| ignored_type(other)))
            }
            None => Ok(ignored_type(other)),
        },
    }
}

/// What an event brings along, by name.
struct Payload<'a>(Object<'a>);

impl<'a> Payload<'a> {
    fn entity(&self, name: &str) -> Option<Object<'a>> {
        self.0.object(name)?.object("entity")
    }
}

fn paid(
    payload: &Payload<'_>,
    sent_at_s: i64,
    rules: &Rules,
    salt: Salt,
) -> Result<Translated, ParkReason> {
    let payment = payload
        .entity("payment")
        .ok_or(missing("payload.payment.entity"))?;
    let status = payment
        .text("status")
        .ok_or(missing("payload.payment.entity.status"))?;
    // The status decides. `captured` is true on payments that are only authorized, and "1" on others.
    if !payment::was_captured(&status) {
        let status = clean(&status, STATUS_MAX_BYTES).unwrap_or_default();
        return Ok(Translated::Ignore(format!("payment status {status}")));
    }
    let subscription = payload.entity("subscription");
    let context = Context {
        paid_for: ["payment_link", "subscription", "order"]
            .into_iter()
            .filter_map(|name| payload.entity(name))
            .collect(),
        subscription_id: subscription
            .and_then(|subscription| subscription.text("id"))
            .filter(|id| payment::has_id_shape(id, "sub_")),
        claimant: None,
        fallback_s: sent_at_s,
        rules,
        salt,
    };
    match payment::capture(&payment, context) {
        Ok(capture) => Ok(Translated::Apply(Command::CapturePayment(Box::new(
            capture,
        )))),
        Err(Unreadable { webhook_path, .. }) => Err(missing(webhook_path)),
    }
}
