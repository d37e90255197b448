//! Bytes in, commands out: what a provider's webhook says, once its signature is proven.
//!
//! A provider does two things. [`Provider::verify`] decides on the raw bytes whether a delivery is genuine, and
//! only it can make a [`Verified`]. [`Provider::translate`] says what a genuine delivery means to the ledger.
//!
//! Everything here is pure: no I/O, no clock (the time of receipt comes with the delivery), no HTTP types.
//! It must never answer a genuine delivery with an error because of a field that it does not know, and never
//! read credits from a payload: what a payment buys is the [`catalog`]'s word.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::ledger::{Credits, Salt, Source};

pub mod catalog;
pub mod clerk;
mod json;
pub mod razorpay;
pub mod sample;
pub mod sign;
mod signature;
pub mod stripe;
#[cfg(test)]
mod tests;
mod translated;

pub use catalog::Catalog;
use json::Object;
pub use signature::BadSecret;
pub use translated::{ParkReason, Translated, UnownedSubscription};
use translated::{ignored_type, missing};

/// The longest id of a provider's event, in bytes. Those of Svix and Razorpay have under 40.
const EVENT_ID_MAX_BYTES: usize = 255;

/// A request's headers as they were received. Names are compared without regard to case.
pub struct Headers<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Headers<'a> {
    /// Takes names and values in the order of arrival.
    pub fn new(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(headers.into_iter().collect())
    }

    /// The value of a header that may come at most once.
    ///
    /// # Errors
    /// [`Rejected::DuplicateHeader`] when it comes twice: two readers could take two values.
    /// [`Rejected::BadHeader`] when it is not UTF-8 or holds control characters.
    pub fn get_once(&self, name: &'static str) -> Result<Option<&'a str>, Rejected> {
        let mut values = self
            .0
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let Some((_, value)) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Rejected::DuplicateHeader(name));
        }
        match std::str::from_utf8(value) {
            Ok(text) if !text.chars().any(char::is_control) => Ok(Some(text)),
            _ => Err(Rejected::BadHeader(name)),
        }
    }

    /// The value of a header that must be there.
    ///
    /// # Errors
    /// Those of [`Headers::get_once`], and [`Rejected::MissingHeader`] when it is absent or blank.
    pub fn require_once(&self, name: &'static str) -> Result<&'a str, Rejected> {
        self.get_once(name)?
            .filter(|value| !value.trim().is_empty())
            .ok_or(Rejected::MissingHeader(name))
    }

    /// Whether a header came at all.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }
}

/// One request of a provider, not yet trusted.
pub struct Delivery<'a> {
    /// The headers.
    pub headers: Headers<'a>,
    /// The raw body: what the signature is over.
    pub body: &'a [u8],
    /// When it came. Time stamps are judged by this, so a stored delivery can be verified again later.
    pub received_at: DateTime<Utc>,
}

/// A delivery whose signature holds and whose body is a JSON object. Only [`Provider::verify`] makes one; what it made and
/// the inbox kept, [`StoredDelivery::into_verified`] makes again.
#[derive(Clone)]
pub struct Verified {
    source: Source,
    key: String,
    provider_event_id: String,
    body: String,
    body_sha256: [u8; 32],
    headers: Vec<(String, String)>,
    secret_fingerprint: String,
    received_at: DateTime<Utc>,
}

impl Verified {
    /// Who sent it.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// The inbox key: equal on every delivery of one event, and covered by the signature.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The provider's name for the event. Where no signature covers it, it is a hint and nothing more.
    pub fn provider_event_id(&self) -> &str {
        &self.provider_event_id
    }

    /// The raw body. It is UTF-8 text.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// SHA-256 of the raw body.
    pub const fn body_sha256(&self) -> [u8; 32] {
        self.body_sha256
    }

    /// The raw body, given up.
    pub fn into_body(self) -> Vec<u8> {
        self.body.into_bytes()
    }

    /// The headers that the verdict stands on, to be kept as evidence.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Which secret matched: the first 8 hex digits of the SHA-256 of its text.
    pub fn secret_fingerprint(&self) -> &str {
        &self.secret_fingerprint
    }

    /// When it came.
    pub const fn received_at(&self) -> DateTime<Utc> {
        self.received_at
    }

    /// The body's members. `verify` saw that there is an object, so the empty one can not come up.
    fn event(&self) -> Object<'_> {
        Object::of(&self.body).unwrap_or_default()
    }
}

/// A delivery that was verified when it came, as the inbox keeps it.
pub struct StoredDelivery {
    /// Who sent it.
    pub source: Source,
    /// The inbox key.
    pub key: String,
    /// The provider's name for the event.
    pub provider_event_id: String,
    /// The raw body.
    pub body: Vec<u8>,
    /// SHA-256 of the raw body.
    pub body_sha256: [u8; 32],
    /// Which secret matched.
    pub secret_fingerprint: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

impl StoredDelivery {
    /// The delivery that a row of the inbox keeps, to be translated again. Nothing is verified here: the row is there
    /// because [`Provider::verify`] said yes to these very bytes. So only what was read from the inbox may be handed in.
    /// The evidence (signature headers) stays there.
    ///
    /// # Errors
    /// [`Rejected`] when the body is no JSON object: it was erased.
    pub fn into_verified(self) -> Result<Verified, Rejected> {
        let body = json_object(&self.body)?.to_owned();
        Ok(Verified {
            source: self.source,
            key: self.key,
            provider_event_id: self.provider_event_id,
            body,
            body_sha256: self.body_sha256,
            headers: vec![],
            secret_fingerprint: self.secret_fingerprint,
            received_at: self.received_at,
        })
    }
}

impl fmt::Debug for Verified {
    /// Shows no body: it is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({} {})", self.source, self.key)
    }
}

/// The body of a delivery with a good signature, as text.
fn json_object(body: &[u8]) -> Result<&str, Rejected> {
    if body.is_empty() {
        return Err(Rejected::EmptyPayload);
    }
    let text = std::str::from_utf8(body).map_err(|_| Rejected::NotJson)?;
    if !Object::is_one(text) {
        return Err(Rejected::NotJson);
    }
    Ok(text)
}

/// Whether an event id can be stored and shown: 1 to 255 bytes, not blank, no control characters.
fn is_event_id(id: &str) -> bool {
    !id.trim().is_empty() && id.len() <= EVENT_ID_MAX_BYTES && !id.chars().any(char::is_control)
}

/// Why a delivery is not taken. Nothing is stored of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A required header is absent or blank.
    #[error("header {0} is missing")]
    MissingHeader(&'static str),
    /// A header that must come once came twice.
    #[error("header {0} came more than once")]
    DuplicateHeader(&'static str),
    /// A header can not be read.
    #[error("header {0} can not be read")]
    BadHeader(&'static str),
    /// The time stamp is no plain positive number of seconds.
    #[error("the time stamp is not a number of seconds")]
    BadTimestamp,
    /// The time stamp lies too far in the past.
    #[error("the time stamp is too old")]
    TooOld,
    /// The time stamp lies too far in the future.
    #[error("the time stamp is too far in the future")]
    TooNew,
    /// The signature header holds no signature of a scheme that is taken.
    #[error("there is no signature of a known scheme")]
    NoKnownScheme,
    /// No signature fits any secret.
    #[error("no signature matches")]
    NoMatch,
    /// The signature holds, the body is empty.
    #[error("the body is empty")]
    EmptyPayload,
    /// The signature holds, the body is no UTF-8 JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
}

impl Rejected {
    /// A stable name of the verdict, for metrics and tests.
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::MissingHeader(_) => "missing_header",
            Self::DuplicateHeader(_) | Self::BadHeader(_) => "bad_header",
            Self::BadTimestamp => "bad_timestamp",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::NoKnownScheme => "no_known_scheme",
            Self::NoMatch => "no_match",
            Self::EmptyPayload => "empty_payload",
            Self::NotJson => "not_json",
        }
    }

    /// Whether the signature held and only the body was of no use.
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::EmptyPayload | Self::NotJson)
    }
}

/// What the operator decided: what a sign-up gets, and what payments buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// For every new user.
    pub signup: Signup,
    /// For every payment.
    pub catalog: Catalog,
}

/// What every new user gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signup {
    /// Credits, once; 0 for none.
    pub bonus_credits: Credits,
    /// The plan they start on.
    pub plan: String,
}

/// One provider of webhooks.
pub trait Provider: Send + Sync {
    /// Its name in routes and in the log.
    fn source(&self) -> Source;

    /// Whether the secret with this fingerprint is among those that are taken.
    fn has_secret(&self, fingerprint: &str) -> bool;

    /// Judges a delivery by its raw bytes.
    ///
    /// # Errors
    /// [`Rejected`], when it is not proven to be the provider's, or is no JSON object.
    fn verify(&self, delivery: &Delivery<'_>) -> Result<Verified, Rejected>;

    /// What a delivery of this provider means. The salt is for the personal data in it; it must be fresh.
    fn translate(&self, verified: &Verified, rules: &Rules, salt: Salt) -> Translated;
}

/// The providers that this program knows, with those that are configured.
#[derive(Default)]
pub struct Providers(Vec<Box<dyn Provider>>);

/// What [`Providers::find`] finds.
pub enum Lookup<'a> {
    /// It is there.
    Found(&'a dyn Provider),
    /// The program knows it; no secret is set for it.
    NotConfigured,
    /// No such provider.
    Unknown,
}

impl Providers {
    /// Every provider that the program knows.
    pub const KNOWN: [Source; 3] = [Source::Clerk, Source::Razorpay, Source::Stripe];

    /// Takes those that have secrets.
    pub fn new(configured: impl IntoIterator<Item = Box<dyn Provider>>) -> Self {
        Self(configured.into_iter().collect())
    }

    /// The provider of a name, as it stands in a route.
    pub fn find(&self, name: &str) -> Lookup<'_> {
        match self.0.iter().find(|p| p.source().as_str() == name) {
            Some(provider) => Lookup::Found(provider.as_ref()),
            None if Self::KNOWN.iter().any(|s| s.as_str() == name) => Lookup::NotConfigured,
            None => Lookup::Unknown,
        }
    }

    /// The sources that are configured.
    pub fn configured(&self) -> impl Iterator<Item = Source> + '_ {
        self.0.iter().map(|p| p.source())
    }
}
