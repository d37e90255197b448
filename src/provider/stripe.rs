//! Stripe: payments, refunds, disputes and subscriptions. Webhooks here, what its API answers in `api`, each kind of
//! object in a file of its own.
//!
//! Scheme (docs.stripe.com/webhooks/signature): hex HMAC-SHA256 over `t.body`, where `t` is the time stamp in the
//! header and the key is the *text* of the whole secret, `whsec_` and all; several `v1` while a secret is rolled. The
//! event's id is in the body and so is signed: it is the inbox key.
//!
//! One payment has many ids here: a checkout session, a payment intent, a charge, an invoice. The purchase is the
//! invoice where there is one, else the payment intent, else the charge, or the session of what cost nothing; the others
//! become parts of it. Must never price a payment intent or a charge by its amount, and never read a field as if all
//! API versions had it: the endpoint's version decides the layout.

mod api;
mod dispute;
mod fields;
mod invoice;
mod payment;
mod refund;
mod session;
mod subscription;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

pub use api::{ApiSession, BadAnswer, SessionStatus, session_from_api};
pub use fields::is_session_id;

use super::json::{Object, clean};
use super::signature::{BadSecret, Key, check_age, keys, lower_hex, plain_seconds};
use super::{
    Delivery, Provider, Rejected, Rules, Translated, Verified, ignored_type, is_event_id,
    json_object, missing,
};
use crate::ledger::{Salt, Source};
use fields::{Context, Missing};

pub(super) const SIGNATURE: &str = "stripe-signature";
/// How many signatures are looked at. An endpoint has one for each secret that has not ended yet.
const SIGNATURES_MAX: usize = 64;
/// The longest signature header in bytes; room for [`SIGNATURES_MAX`] of them.
const SIGNATURE_HEADER_MAX_BYTES: usize = 8 * 1024;
/// The longest value of Stripe's that is repeated in a reason, in bytes.
const REASON_PART_MAX_BYTES: usize = 100;

/// Verifies and reads Stripe's webhooks.
pub struct Stripe {
    keys: Vec<Key>,
    livemode: Option<bool>,
}

impl Stripe {
    /// Takes the endpoint's signing secrets, newest first, and which events are taken: those of live mode (`true`),
    /// of test mode (`false`) or both.
    ///
    /// # Errors
    /// [`BadSecret`] when there is none, or one is empty or holds a line end.
    pub fn new(
        webhook_secrets: &[SecretString],
        livemode: Option<bool>,
    ) -> Result<Self, BadSecret> {
        Ok(Self {
            keys: keys(webhook_secrets, Key::of_text)?,
            livemode,
        })
    }
}

impl Provider for Stripe {
    fn source(&self) -> Source {
        Source::Stripe
    }

    fn has_secret(&self, fingerprint: &str) -> bool {
        self.keys.iter().any(|key| key.fingerprint() == fingerprint)
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<Verified, Rejected> {
        let header = delivery.headers.require_once(SIGNATURE)?;
        let signatures = Signatures::parse(header)?;
        let parts: [&[u8]; 3] = [signatures.timestamp.as_bytes(), b".", delivery.body];
        let key = self
            .keys
            .iter()
            .find(|key| {
                let code = key.code(&parts);
                signatures.codes.iter().any(|candidate| code.is(candidate))
            })
            .ok_or(Rejected::NoMatch)?;
        check_age(signatures.sent_at_s, delivery.received_at)?;
        let body = json_object(delivery.body)?;
        let body_sha256: [u8; 32] = Sha256::digest(delivery.body).into();
        let id = Object::of(body)
            .and_then(|event| event_id(&event))
            .unwrap_or_else(|| format!("sha256:{}", hex::encode(body_sha256)));
        Ok(Verified {
            source: Source::Stripe,
            key: id.clone(),
            provider_event_id: id,
            body: body.to_owned(),
            body_sha256,
            headers: vec![(SIGNATURE.to_owned(), header.to_owned())],
            secret_fingerprint: key.fingerprint().to_owned(),
            received_at: delivery.received_at,
        })
    }

    fn translate(&self, verified: &Verified, rules: &Rules, salt: Salt) -> Translated {
        self.read(verified, rules, salt)
            .unwrap_or_else(|Missing(field)| Translated::Park(missing(field)))
    }
}

/// What a signature header says: `t=<seconds>,v1=<hex>[,v1=<hex>…]`.
struct Signatures<'a> {
    timestamp: &'a str,
    sent_at_s: i64,
    codes: Vec<[u8; 32]>,
}

impl<'a> Signatures<'a> {
    /// Other schemes are skipped, `v0` above all: it comes with test events, and taking it would be a way down.
    fn parse(header: &'a str) -> Result<Self, Rejected> {
        if header.len() > SIGNATURE_HEADER_MAX_BYTES {
            return Err(Rejected::BadHeader(SIGNATURE));
        }
        let elements = || header.split(',').filter_map(|item| item.split_once('='));
        let mut timestamps = elements().filter(|(scheme, _)| *scheme == "t");
        // Of two, two readers could take two.
        let (Some((_, timestamp)), None) = (timestamps.next(), timestamps.next()) else {
            return Err(Rejected::BadHeader(SIGNATURE));
        };
        let sent_at_s = plain_seconds(timestamp).ok_or(Rejected::BadHeader(SIGNATURE))?;
        let mut signatures = elements().filter(|(scheme, _)| *scheme == "v1").peekable();
        if signatures.peek().is_none() {
            return Err(Rejected::NoKnownScheme);
        }
        Ok(Self {
            timestamp,
            sent_at_s,
            codes: signatures
                .take(SIGNATURES_MAX)
                .filter_map(|(_, code)| lower_hex(code))
                .collect(),
        })
    }
}

/// The event's id, if it can be stored.
fn event_id(event: &Object<'_>) -> Option<String> {
    event.text("id").filter(|id| is_event_id(id))
}

/// A value of Stripe's as a reason repeats it.
fn shown(value: &str) -> String {
    clean(value, REASON_PART_MAX_BYTES).unwrap_or_default()
}

fn ignore(reason: impl Into<String>) -> Translated {
    Translated::Ignore(reason.into())
}

impl Stripe {
    fn read(&self, verified: &Verified, rules: &Rules, salt: Salt) -> Result<Translated, Missing> {
        let event = verified.event();
        event_id(&event).ok_or(Missing("id"))?;
        let event_type = event.text("type").ok_or(Missing("type"))?;
        if let Some(reason) = self.not_ours(&event, &event_type)? {
            return Ok(Translated::Ignore(reason));
        }
        let Some(read) = reader(&event_type) else {
            return Ok(ignored_type(&event_type));
        };
        let data = event.object("data").unwrap_or_default();
        let object = data.object("object").ok_or(Missing("data.object"))?;
        let created_s = event.time_s("created");
        let context = Context {
            event_type: &event_type,
            event_id: verified.provider_event_id(),
            created_s,
            at_s: created_s.unwrap_or_else(|| verified.received_at().timestamp()),
            previous: data.object("previous_attributes"),
            rules,
            salt,
        };
        read(&object, &context)
    }

    /// Why an event is none of our payments at all, if so.
    fn not_ours(&self, event: &Object<'_>, event_type: &str) -> Result<Option<String>, Missing> {
        // A thin event has no object in it, only where to ask for one.
        if event.text("object").as_deref() == Some("v2.core.event") {
            let event_type = shown(event_type);
            return Ok(Some(format!(
                "thin event {event_type}: the endpoint must send snapshot events"
            )));
        }
        // The money of a connected account is not this account's.
        if event.is_set("account") {
            let account = shown(&event.text("account").unwrap_or_default());
            return Ok(Some(format!("connect account {account}")));
        }
        let Some(taken) = self.livemode else {
            return Ok(None);
        };
        let livemode = event.flag("livemode").ok_or(Missing("livemode"))?;
        Ok((livemode != taken).then(|| format!("livemode {livemode}")))
    }
}

type Reader = fn(&Object<'_>, &Context<'_>) -> Result<Translated, Missing>;

/// Who reads the object of an event of this type; `None`: it concerns no credits.
fn reader(event_type: &str) -> Option<Reader> {
    Some(match event_type {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => session::read,
        "payment_intent.succeeded" => payment::read_intent,
        "charge.succeeded" | "charge.captured" => payment::read_charge,
        "invoice.paid" | "invoice.payment_succeeded" => invoice::read,
        "invoice_payment.paid" => invoice::read_payment,
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            refund::read
        }
        "charge.refunded" => refund::read_charge,
        _ if event_type.starts_with("charge.dispute.") => dispute::read,
        _ if event_type.starts_with("customer.subscription.") => subscription::read,
        _ => return None,
    })
}
