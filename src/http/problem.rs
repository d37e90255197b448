//! Every answer that is not a success: RFC 9457 problems with a stable `code`. The only place that knows which error
//! has which status.
//!
//! A problem says what the caller can do about it. It must never hold a secret, a body, personal data or a message of
//! the database; what went wrong inside is logged once, here.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use super::methods::Methods;
use crate::access::rate_limit::TooOften;
use crate::access::{KeysUnavailable, Scope, SessionError};
use crate::app::ClockDoubt;
use crate::audit::seal::SealError;
use crate::intake::IntakeError;
use crate::ledger::{LedgerError, Settlement};
use crate::provider::Rejected;
use crate::reads::ReadError;
use crate::recover::RecoverError;
use crate::store::{Answer, ClockOff, StoreError};
use crate::upkeep::UpkeepError;

/// The content type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a caller is told when something can not be done: the code, why, and members of its own for programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.code(), .1)]
pub struct Problem(Code, String, Map<String, Value>);

/// The stable codes, each with one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The signature of a delivery or a checkout does not hold.
    InvalidSignature,
    /// The body is not a JSON object in UTF-8.
    Malformed,
    /// A field, parameter or path segment is missing, of the wrong type or out of range.
    InvalidRequest,
    /// No or no valid session token or API key.
    Unauthenticated,
    /// The API key may not do this.
    InsufficientScope,
    /// The purchase is another user's.
    NotYourPurchase,
    /// The session's user was deleted.
    UserDeleted,
    /// An operator who acts as the user may not do this.
    ImpersonationRefused,
    /// No such route.
    NotFound,
    /// No provider of that name.
    UnknownProvider,
    /// Nothing is known of that user.
    UserNotFound,
    /// No such delivery is stored.
    DeliveryNotFound,
    /// No payment of that purchase is recorded.
    PurchaseNotFound,
    /// The purchase has a user, and not the one that it shall be given to.
    AlreadyClaimed,
    /// It is known what the purchase buys, and it is not what it shall buy.
    AlreadyPriced,
    /// No idempotency key came with a call that moves credits.
    IdempotencyKeyRequired,
    /// Another request was made under the same idempotency key before.
    IdempotencyKeyReused,
    /// No hold of that id was placed.
    HoldNotFound,
    /// No entry of that id used credits.
    SpendNotFound,
    /// The settings give nothing for a recommendation.
    ReferralNotConfigured,
    /// The account can not hold as many credits.
    BalanceTooLarge,
    /// The user has not as many credits available.
    InsufficientCredits,
    /// The hold was captured, released or timed out before.
    HoldResolved,
    /// The spend was reversed before.
    AlreadyReversed,
    /// More is asked for than was held or spent.
    AmountTooLarge,
    /// The user was referred by somebody else before.
    AlreadyReferred,
    /// The event is in no seal yet.
    NotSealedYet,
    /// The route has no such method. Holds those that it has.
    MethodNotAllowed(Methods),
    /// The body did not come in time.
    RequestTimeout,
    /// The body is larger than is taken.
    PayloadTooLarge,
    /// Too many requests of this caller. Holds the seconds after which one is taken again.
    RateLimited(u32),
    /// The provider's secrets are not set.
    ProviderNotConfigured,
    /// The service can not do it now.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 34] = [
        Self::InvalidSignature,
        Self::Malformed,
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::InsufficientScope,
        Self::NotYourPurchase,
        Self::UserDeleted,
        Self::ImpersonationRefused,
        Self::NotFound,
        Self::UnknownProvider,
        Self::UserNotFound,
        Self::DeliveryNotFound,
        Self::PurchaseNotFound,
        Self::AlreadyClaimed,
        Self::AlreadyPriced,
        Self::IdempotencyKeyRequired,
        Self::IdempotencyKeyReused,
        Self::HoldNotFound,
        Self::SpendNotFound,
        Self::ReferralNotConfigured,
        Self::BalanceTooLarge,
        Self::InsufficientCredits,
        Self::HoldResolved,
        Self::AlreadyReversed,
        Self::AmountTooLarge,
        Self::AlreadyReferred,
        Self::NotSealedYet,
        Self::MethodNotAllowed(Methods::READ),
        Self::RequestTimeout,
        Self::PayloadTooLarge,
        Self::RateLimited(1),
        Self::ProviderNotConfigured,
        Self::Unavailable,
        Self::Internal,
    ];

    /// What programs compare. Never changes.
    pub const fn code(self) -> &'static str {
        self.facts().1
    }

    /// The status.
    pub const fn status(self) -> StatusCode {
        self.facts().0
    }

    /// What it means, for people.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    #[expect(clippy::too_many_lines, reason = "a table with a row for each code")]
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidSignature => (
                S::BAD_REQUEST,
                "invalid_signature",
                "The signature does not hold",
            ),
            Self::Malformed => (S::BAD_REQUEST, "malformed", "The body is not a JSON object"),
            Self::InvalidRequest => (
                S::BAD_REQUEST,
                "invalid_request",
                "The request can not be understood",
            ),
            Self::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated", "Nobody known is asking"),
            Self::InsufficientScope => (
                S::FORBIDDEN,
                "insufficient_scope",
                "The API key may not do this",
            ),
            Self::NotYourPurchase => (
                S::FORBIDDEN,
                "not_your_purchase",
                "The purchase is another user's",
            ),
            Self::UserDeleted => (S::FORBIDDEN, "user_deleted", "The user was deleted"),
            Self::ImpersonationRefused => (
                S::FORBIDDEN,
                "impersonation_refused",
                "Only the user may do this",
            ),
            Self::NotFound => (S::NOT_FOUND, "not_found", "There is nothing here"),
            Self::UnknownProvider => (S::NOT_FOUND, "unknown_provider", "No such provider"),
            Self::UserNotFound => (
                S::NOT_FOUND,
                "user_not_found",
                "Nothing is known of this user",
            ),
            Self::DeliveryNotFound => (
                S::NOT_FOUND,
                "delivery_not_found",
                "No such delivery is stored",
            ),
            Self::PurchaseNotFound => (
                S::NOT_FOUND,
                "purchase_not_found",
                "No such purchase is recorded",
            ),
            Self::AlreadyClaimed => (
                S::CONFLICT,
                "already_claimed",
                "The purchase is another user's",
            ),
            Self::AlreadyPriced => (
                S::CONFLICT,
                "already_priced",
                "The purchase buys something else",
            ),
            Self::IdempotencyKeyRequired => (
                S::BAD_REQUEST,
                "idempotency_key_required",
                "An idempotency key is needed",
            ),
            Self::IdempotencyKeyReused => (
                S::CONFLICT,
                "idempotency_key_reused",
                "The idempotency key belongs to another request",
            ),
            Self::HoldNotFound => (S::NOT_FOUND, "hold_not_found", "No such hold was placed"),
            Self::SpendNotFound => (
                S::NOT_FOUND,
                "spend_not_found",
                "No such entry used credits",
            ),
            Self::ReferralNotConfigured => (
                S::CONFLICT,
                "referral_not_configured",
                "Nothing is given for a recommendation here",
            ),
            Self::BalanceTooLarge => (
                S::CONFLICT,
                "balance_too_large",
                "The account can not hold as many credits",
            ),
            Self::InsufficientCredits => (
                S::PAYMENT_REQUIRED,
                "insufficient_credits",
                "Not enough credits are available",
            ),
            Self::HoldResolved => (S::CONFLICT, "hold_resolved", "The hold was resolved before"),
            Self::AlreadyReversed => (
                S::CONFLICT,
                "already_reversed",
                "The spend was reversed before",
            ),
            Self::AmountTooLarge => (
                S::CONFLICT,
                "amount_too_large",
                "More is asked for than there is",
            ),
            Self::AlreadyReferred => (
                S::CONFLICT,
                "already_referred",
                "The user was referred by somebody else",
            ),
            Self::NotSealedYet => (S::CONFLICT, "not_sealed_yet", "The event is in no seal yet"),
            Self::MethodNotAllowed(_) => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The method is not allowed here",
            ),
            Self::RequestTimeout => (
                S::REQUEST_TIMEOUT,
                "request_timeout",
                "The body did not come in time",
            ),
            Self::PayloadTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "The body is too large",
            ),
            Self::RateLimited(_) => (
                S::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many requests, wait a little",
            ),
            Self::ProviderNotConfigured => (
                S::SERVICE_UNAVAILABLE,
                "provider_not_configured",
                "The provider is not set up here",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "unavailable",
                "Not possible now, try again",
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "A fault of the service",
            ),
        }
    }

    /// A problem of this code.
    pub fn because(self, detail: impl Into<String>) -> Problem {
        Problem(self, detail.into(), Map::new())
    }
}

impl Problem {
    /// Its code.
    pub const fn code(&self) -> Code {
        self.0
    }

    /// The same with a member of its own.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.2.insert(name.to_owned(), value);
        self
    }

    /// The same about one of several items, from 0.
    #[must_use]
    pub fn of_item(mut self, index: usize) -> Self {
        self.1 = format!("item {index}: {}", self.1);
        self.with("item", json!(index))
    }

    /// The status and the body, to be kept.
    pub fn answer(&self) -> Answer {
        Answer {
            status: i16::try_from(self.0.status().as_u16()).unwrap_or(i16::MAX),
            body: self.body(),
        }
    }

    pub(super) fn body(&self) -> String {
        let (status, code, title) = self.0.facts();
        let mut body = json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": self.1,
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.2.clone());
        }
        body.to_string()
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self.0 {
            Code::RateLimited(seconds) => Some(seconds),
            Code::Unavailable => Some(1),
            Code::NotSealedYet => Some(5),
            Code::ProviderNotConfigured => Some(60),
            _ => None,
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status());
        response.content_type(PROBLEM_JSON);
        if let Some(seconds) = self.retry_after_s() {
            response.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        match self.0 {
            Code::MethodNotAllowed(allowed) => {
                response.insert_header((ALLOW, allowed.to_string()));
            }
            Code::Unauthenticated => {
                response.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            Code::PayloadTooLarge | Code::RequestTimeout => {
                // The rest of the body is not read, so the connection can not be used again.
                response.force_close();
            }
            _ => {}
        }
        response.body(self.body())
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let code = if rejected.is_malformed() {
            Code::Malformed
        } else {
            Code::InvalidSignature
        };
        code.because(rejected.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Overloaded => Code::Unavailable.because("too much is waiting"),
            StoreError::ClockOff(off) => (*off).into(),
            StoreError::Stopping => Code::Unavailable.because("the service is stopping"),
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "nothing was stored");
                Code::Unavailable.because("the database does not answer")
            }
            StoreError::Failed(_) => {
                tracing::error!(%error, "nothing was stored");
                Code::Internal.because("the request could not be stored")
            }
        }
    }
}

impl From<ClockOff> for Problem {
    fn from(off: ClockOff) -> Self {
        Code::Unavailable.because(off.to_string())
    }
}

impl From<ClockDoubt> for Problem {
    fn from(doubt: ClockDoubt) -> Self {
        Code::Unavailable.because(doubt.to_string())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let detail = error.to_string();
        match error {
            LedgerError::NotYourPurchase => Code::NotYourPurchase.because(detail),
            LedgerError::UnknownPurchase => Code::PurchaseNotFound.because(detail),
            LedgerError::AlreadyPriced => Code::AlreadyPriced.because(detail),
            LedgerError::BalanceOverflow => Code::BalanceTooLarge.because(detail),
            LedgerError::SelfReferral => Code::InvalidRequest.because(detail),
            LedgerError::InsufficientCredits {
                required,
                available,
            } => Code::InsufficientCredits
                .because(detail)
                .with("required", json!(required))
                .with("available", json!(available)),
            LedgerError::HoldSettled(settlement) => Code::HoldResolved
                .because(detail)
                .with("resolution", json!(resolution(settlement))),
            LedgerError::SpendReversed => Code::AlreadyReversed.because(detail),
            LedgerError::AmountTooLarge { most } => {
                let problem = Code::AmountTooLarge.because(detail);
                problem.with("available", json!(most))
            }
            LedgerError::AlreadyReferred => Code::AlreadyReferred.because(detail),
            LedgerError::Item { index, error } => Self::from(*error).of_item(index),
            LedgerError::Unread(_) => Code::Internal.because(detail),
        }
    }
}

/// How a hold was resolved, as callers read it.
const fn resolution(settlement: Settlement) -> &'static str {
    match settlement {
        Settlement::Captured => "captured",
        Settlement::Released => "released",
        Settlement::TimedOut => "timed_out",
        Settlement::Reversed => "reversed",
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        tracing::warn!(%error, "a read failed");
        match error {
            ReadError::Pool(_) | ReadError::Late(_) | ReadError::Query(_) | ReadError::Rows(_) => {
                Code::Unavailable.because("the database does not answer")
            }
            ReadError::Unreadable => Code::Internal.because("what is stored can not be read"),
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Read(error) => error.into(),
            IntakeError::Store(error) => error.into(),
            IntakeError::Randomness(error) => error.into(),
        }
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Pool(_) | SealError::Late(_) | SealError::Query(_) => {
                tracing::warn!(%error, "a read of seals failed");
                Code::Unavailable.because("the database does not answer")
            }
            SealError::Clock(off) => off.into(),
            SealError::Unreadable
            | SealError::Changed(_)
            | SealError::RolledBack(_)
            | SealError::File(_)
            | SealError::Witness { .. }
            | SealError::CutOff => {
                tracing::error!(%error, "a read of seals failed");
                Code::Internal.because("what is stored is not what was sealed, or can not be read")
            }
        }
    }
}

impl From<UpkeepError> for Problem {
    fn from(error: UpkeepError) -> Self {
        match error {
            UpkeepError::Store(error) => error.into(),
            UpkeepError::Read(error) => error.into(),
            UpkeepError::Intake(error) => error.into(),
            UpkeepError::UnknownDelivery => Code::DeliveryNotFound.because(error.to_string()),
        }
    }
}

impl From<RecoverError> for Problem {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Read(error) => error.into(),
            RecoverError::Store(error) => error.into(),
            RecoverError::Upkeep(error) => error.into(),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::KeysUnavailable => Code::Unavailable.because(error.to_string()),
            SessionError::NotConfigured | SessionError::Invalid(_) | SessionError::Expired => {
                Code::Unauthenticated.because(error.to_string())
            }
        }
    }
}

impl From<KeysUnavailable> for Problem {
    fn from(error: KeysUnavailable) -> Self {
        Code::Unavailable.because(error.to_string())
    }
}

impl From<TooOften> for Problem {
    fn from(error: TooOften) -> Self {
        Code::RateLimited(error.retry_after_s).because(error.to_string())
    }
}

impl From<getrandom::Error> for Problem {
    fn from(error: getrandom::Error) -> Self {
        tracing::error!(%error, "no randomness");
        Code::Unavailable.because("the system has no randomness")
    }
}

/// The API key lacks a scope.
pub fn insufficient_scope(needed: Scope) -> Problem {
    Code::InsufficientScope.because(format!("scope {needed} is needed"))
}
