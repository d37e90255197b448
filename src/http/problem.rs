//! Every answer that is not a success: RFC 9457 problems with a stable `code`. The only place that knows which error
//! has which status.
//!
//! A problem says what the caller can do about it. It must never hold a secret, a body, personal data or a message of
//! the database; what went wrong inside is logged once, here.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use super::methods::Methods;
use crate::access::rate_limit::TooOften;
use crate::access::{KeysUnavailable, Scope, SessionError};
use crate::intake::IntakeError;
use crate::ledger::LedgerError;
use crate::provider::Rejected;
use crate::reads::ReadError;
use crate::recover::RecoverError;
use crate::store::StoreError;
use crate::upkeep::UpkeepError;

/// What a caller is told when something can not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.code(), .1)]
pub struct Problem(Code, String);

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
    pub const ALL: [Self; 27] = [
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
        Self::InsufficientCredits,
        Self::HoldResolved,
        Self::AlreadyReversed,
        Self::AmountTooLarge,
        Self::AlreadyReferred,
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
        Problem(self, detail.into())
    }
}

impl Problem {
    /// Its code.
    pub const fn code(&self) -> Code {
        self.0
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self.0 {
            Code::RateLimited(seconds) => Some(seconds),
            Code::Unavailable => Some(1),
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
        let (status, code, title) = self.0.facts();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
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
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": self.1,
        });
        response.body(body.to_string())
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

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let code = match &error {
            LedgerError::NotYourPurchase => Code::NotYourPurchase,
            LedgerError::UnknownPurchase => Code::PurchaseNotFound,
            LedgerError::AlreadyPriced => Code::AlreadyPriced,
            LedgerError::BalanceOverflow | LedgerError::SelfReferral => Code::InvalidRequest,
            LedgerError::InsufficientCredits { .. } => Code::InsufficientCredits,
            LedgerError::HoldSettled(_) => Code::HoldResolved,
            LedgerError::SpendReversed => Code::AlreadyReversed,
            LedgerError::AmountTooLarge { .. } => Code::AmountTooLarge,
            LedgerError::AlreadyReferred => Code::AlreadyReferred,
            LedgerError::Item { error, .. } => Self::from((**error).clone()).code(),
            LedgerError::Unread(_) => Code::Internal,
        };
        code.because(error.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        tracing::warn!(%error, "a read failed");
        Code::Unavailable.because("the database does not answer")
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Read(error) => error.into(),
            IntakeError::Randomness(error) => error.into(),
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
