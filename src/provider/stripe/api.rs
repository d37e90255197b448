//! The answer of Stripe's `GET /v1/checkout/sessions/{id}`: what has become of a checkout, and whose it is.
//!
//! Must read a paid session exactly as the webhooks do, so that all come to the same command.

use super::fields::{Context, is_session_id};
use super::session::{Standing, standing, user};
use crate::ledger::command::CapturePayment;
use crate::ledger::{Salt, UserId};
use crate::provider::Rules;
use crate::provider::json::Object;

/// A checkout session as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSession {
    /// Its id. The caller must see that it is the one that was asked for.
    pub session_id: String,
    /// Whom it names, if anybody. A session's id can be passed on, so who has it is not who paid.
    pub user_id: Option<UserId>,
    /// What has become of it.
    pub status: SessionStatus,
}

/// What has become of a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionStatus {
    /// Not paid, and still may be: open, or the money is on its way.
    Pending,
    /// The money is ours, or none was due: this is what to record.
    Captured(Box<CapturePayment>),
    /// The payment failed.
    Failed,
    /// It ended before it was paid.
    Expired,
    /// There is nothing to pay and nothing to credit: a set-up, or a trial.
    NothingDue,
}

/// The API's answer can not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is no JSON object.
    #[error("the answer is not a JSON object")]
    NotJson,
    /// A field that must be there is absent or of no use.
    #[error("the answer has no usable {0}")]
    MissingField(&'static str),
    /// A session of test mode where live mode is taken, or the other way round.
    #[error("the answer is of the other mode, live or test")]
    OtherMode,
}

/// Reads the session that the API answered, with its lines and its payment intent's latest charge expanded.
/// `livemode`: which sessions are taken, `None`: both. `asked_at_s` (seconds since 1970) stands in for a missing time of
/// payment; the salt must be fresh.
///
/// # Errors
/// [`BadAnswer`] when it is no JSON object, lacks what the command needs, or is of the other mode.
pub fn session_from_api(
    json: &[u8],
    livemode: Option<bool>,
    asked_at_s: i64,
    rules: &Rules,
    salt: Salt,
) -> Result<ApiSession, BadAnswer> {
    let text = std::str::from_utf8(json).map_err(|_| BadAnswer::NotJson)?;
    let session = Object::parse(text).ok_or(BadAnswer::NotJson)?;
    let session_id = session
        .text("id")
        .filter(|id| is_session_id(id))
        .ok_or(BadAnswer::MissingField("id"))?;
    if let Some(taken) = livemode {
        let livemode = session.flag("livemode");
        if livemode.ok_or(BadAnswer::MissingField("livemode"))? != taken {
            return Err(BadAnswer::OtherMode);
        }
    }
    let context = Context {
        event_type: "",
        event_id: "",
        created_s: None,
        at_s: asked_at_s,
        previous: None,
        rules,
        salt,
    };
    let status = match standing(&session, &context)
        .map_err(|missing| BadAnswer::MissingField(missing.in_object()))?
    {
        Standing::Captured(capture) => SessionStatus::Captured(capture),
        Standing::Unpaid => unpaid(&session),
        Standing::Nothing(_) => SessionStatus::NothingDue,
    };
    Ok(ApiSession {
        session_id,
        user_id: user(&session),
        status,
    })
}

/// Why it is not paid. A session whose bank debit failed stays `complete`; the payment intent then wants another method.
fn unpaid(session: &Object<'_>) -> SessionStatus {
    if session.text("status").as_deref() == Some("expired") {
        return SessionStatus::Expired;
    }
    let complete = session.text("status").as_deref() == Some("complete");
    let intent = session
        .object("payment_intent")
        .and_then(|intent| intent.text("status"));
    match intent.as_deref() {
        Some("requires_payment_method" | "canceled") if complete => SessionStatus::Failed,
        _ => SessionStatus::Pending,
    }
}
