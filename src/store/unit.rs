//! What goes into the store and what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use credit_ledger_verify::evidence::{self, Evidence};

use super::clock::ClockOff;
use crate::ledger::{
    Account, Command, Event, InvalidValue, LedgerError, Source, SubscriptionKey, UserId,
};

/// What one delivery or one call wants committed, all or nothing.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Who caused it.
    pub origin: Origin,
    /// What is to be done.
    pub work: Work,
}

/// Who caused a unit. Every event it leads to says so.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A verified delivery of a provider. Its inbox row is written in the same transaction, and a delivery whose
    /// row is there already is a duplicate.
    Delivery(Arc<Delivered>),
    /// A call of a backend. Under an idempotency key its answer is kept in the same transaction, refusals too, and given
    /// again to whoever asks the same under the same key.
    Request(Arc<Request>),
    /// A call of a signed-in user; guarded by the aggregates alone.
    Session {
        /// The user who asked.
        user_id: String,
    },
    /// A call of a backend without an idempotency key; guarded by the aggregates alone.
    Backend {
        /// The name of the API key's principal.
        principal: String,
    },
    /// An act of an operator; guarded by the aggregates alone.
    Operator(Operator),
    /// The program's own follow-up of what was recorded; guarded by the aggregates alone.
    System,
    /// A stored delivery that is tried again. What it comes to is written into its inbox row in the same transaction,
    /// if that row still waits.
    Retry(Arc<Retry>),
}

/// Who repairs something, and why. Kept in the history, so neither may be secret or personal beyond a name.
#[derive(Clone, PartialEq, Eq)]
pub struct Operator {
    /// The operator.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for Operator {
    /// Shows what may be logged: nothing that somebody wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

/// The longest reason, in characters.
const REASON_MAX_CHARS: usize = 500;

impl Operator {
    /// Takes a reason that says something: 1 to 500 characters, none of them a control character.
    ///
    /// # Errors
    /// [`InvalidValue`] for any other.
    pub fn new(actor: impl Into<String>, reason: &str) -> Result<Self, InvalidValue> {
        let reason = reason.trim();
        let invalid = |rule| InvalidValue {
            field: "reason",
            rule,
        };
        if reason.is_empty() {
            return Err(invalid("must not be empty"));
        }
        if reason.chars().count() > REASON_MAX_CHARS {
            return Err(invalid("must have at most 500 characters"));
        }
        if reason.chars().any(char::is_control) {
            return Err(invalid("must not hold control characters"));
        }
        Ok(Self {
            actor: actor.into(),
            reason: reason.to_owned(),
        })
    }
}

/// A stored delivery that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Whose delivery.
    pub source: Source,
    /// What the inbox knows it by.
    pub key: String,
    /// The provider's own id of the event.
    pub provider_event_id: String,
    /// How often it was tried, as read with the delivery. If it was tried since, this changes nothing: of those who try
    /// it in the same moment one does.
    pub attempts: i32,
    /// When it was due, as read with the delivery. If it was made due at another time since, because what it waits for
    /// appeared, that time stays.
    pub due_at: Option<DateTime<Utc>>,
    /// The digest of what proves it genuine, see [`Delivered::evidence`].
    pub evidence: String,
    /// The operator who asked for it; none: its time had come.
    pub operator: Option<Operator>,
}

/// A verified delivery, as the inbox keeps it.
#[derive(Clone)]
pub struct Delivered {
    /// Whose.
    pub source: Source,
    /// What the inbox knows it by: signed by the provider, and equal on every delivery of the same event.
    pub key: String,
    /// The provider's own id of the event.
    pub provider_event_id: String,
    /// The very bytes.
    pub body: Vec<u8>,
    /// SHA-256 of the bytes.
    pub body_sha256: [u8; 32],
    /// The signature headers, as a JSON object.
    pub headers_json: String,
    /// The fingerprint of the secret that matched.
    pub secret: String,
    /// When it was received.
    pub received_at: DateTime<Utc>,
}

impl Delivered {
    /// Stands in the place of a secret's fingerprint: the bytes are what a provider's API answered us.
    pub const API_ANSWER: &'static str = "api";

    /// Whether it is no webhook but an answer of a provider's API, which is kept the same way.
    pub fn is_api_answer(&self) -> bool {
        self.secret == Self::API_ANSWER
    }

    /// What it is in the inbox.
    pub(super) fn inbox_key(&self) -> (&'static str, &str) {
        (self.source.as_str(), &self.key)
    }

    /// The digest of all that proves it genuine, lower-case hex: every event that it leads to carries it.
    pub fn evidence(&self) -> String {
        credit_ledger_verify::hex(&evidence::digest(&Evidence {
            source: self.source.as_str(),
            key: &self.key,
            provider_event_id: &self.provider_event_id,
            body_sha256: &self.body_sha256,
            headers: &self.headers_json,
            secret: &self.secret,
            received_at_us: self.received_at.timestamp_micros(),
        }))
    }
}

impl std::fmt::Debug for Delivered {
    /// Shows what may be logged: never the body or the headers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivered")
            .field("source", &self.source)
            .field("provider_event_id", &self.provider_event_id)
            .finish_non_exhaustive()
    }
}

/// A call of a backend that wants an answer.
pub struct Request {
    /// Whose call: the name of the API key's principal, so that a new key forgets nothing.
    pub principal: String,
    /// The caller's own key; none: the answer is not kept, and the aggregates alone guard the call.
    pub idempotency_key: Option<String>,
    /// SHA-256 of what is asked: the same key with another digest is a mistake.
    pub digest: [u8; 32],
    /// What is asked, field by field, each as the beginning of a digest: enough to say which fields of another request
    /// under the same key differ.
    pub fields: BTreeMap<String, String>,
    /// Writes the answer.
    pub answer: Box<Answering>,
}

/// Writes an answer from what a command came to. Called again for each attempt to commit it.
pub type Answering = dyn Fn(Result<Came<'_>, &LedgerError>) -> Answer + Send + Sync;

impl std::fmt::Debug for Request {
    /// Shows what may be logged: never what is asked.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// What the command of a request came to.
#[derive(Clone, Copy)]
pub struct Came<'a> {
    /// Its events, in their order. What ended by itself until then comes before what was asked for. None: it added nothing
    /// to what was known.
    pub events: &'a [Recorded],
    /// The account after them of a user whom the command names.
    pub account: &'a dyn Fn(&UserId) -> Account,
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its shard.
    pub shard: i16,
    /// Its place in the shard.
    pub position: i64,
    /// What happened.
    pub event: Event,
}

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, 100 to 599.
    pub status: i16,
    /// The body, JSON.
    pub body: String,
}

/// What a unit does.
#[derive(Debug, Clone)]
pub enum Work {
    /// Decide a command and append its events.
    Apply(Command),
    /// Keep the delivery, and that it concerns nothing here.
    Ignore {
        /// Why.
        reason: String,
    },
    /// Keep the delivery, which can not be applied yet.
    Park {
        /// Why it waits.
        reason: String,
        /// The subscription whose payer it waits for: it is tried again as soon as that is known.
        waits_for: Option<SubscriptionKey>,
    },
}

/// What became of a unit. All of these are durable when they are returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its events are in the log.
    Recorded,
    /// It added nothing to what was known.
    Duplicate,
    /// It is kept, and concerns nothing here.
    Ignored,
    /// It is kept, and waits.
    Parked,
    /// A rule said no. A refused delivery is parked instead.
    Refused(LedgerError),
    /// The answer of a [`Request`]; `hit`: it was given before.
    Answered {
        /// What to reply.
        answer: Answer,
        /// Whether this only repeats an earlier reply.
        hit: bool,
    },
    /// The idempotency key belongs to another request.
    KeyReused {
        /// The names of the fields that differ, in their order.
        fields: Vec<String>,
    },
}

/// Why there is no outcome. Nothing was committed, or it is not known; asking again is always safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The queue is full.
    #[error("too much is waiting")]
    Overloaded,
    /// The database could not be reached, or was lost on the way.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// This instance's clock, or the database's, is wrong.
    #[error(transparent)]
    ClockOff(#[from] ClockOff),
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
    /// The database said something that this version does not understand.
    #[error("the store failed: {0}")]
    Failed(String),
}
