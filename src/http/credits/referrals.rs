//! Rewarding a recommendation: both sides, once for each user who came.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{caller, fields, find};
use crate::app::App;
use crate::http::body::{Incoming, REQUEST_BYTES_MAX};
use crate::http::idempotency::{Answered, Asked, Call, answered, answering};
use crate::http::problem::{Code, Problem};
use crate::http::submit;
use crate::ledger::event::GrantCause;
use crate::ledger::{Command, Credits, Place, UserEvent, UserId};
use crate::store::Came;

/// What a referral asks.
#[derive(Debug, Clone, Serialize)]
struct Refer {
    referred_by: UserId,
}

/// What a referral answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Referred {
    /// Who came.
    referred: Side,
    /// Who recommended.
    referrer: Side,
}

/// What one side got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReferralSide)]
pub struct Side {
    /// Who.
    user_id: UserId,
    /// The entry in the history; `null`: it was rewarded before.
    #[schema(required)]
    entry_id: Option<Place>,
    /// How many credits.
    granted: Credits,
}

impl Side {
    const fn nothing(user_id: UserId) -> Self {
        Self {
            user_id,
            entry_id: None,
            granted: Credits::ZERO,
        }
    }

    /// The reward's event names the other side.
    fn of(came: Came<'_>, user_id: &UserId, other: &UserId) -> Self {
        let reward = find(came, |event| match event {
            UserEvent::CreditsGranted(granted)
                if granted.cause == GrantCause::Referral
                    && granted.referral.as_ref() == Some(other) =>
            {
                Some(granted.added.credits)
            }
            _ => None,
        });
        match reward {
            Some((entry_id, granted)) => Self {
                user_id: user_id.clone(),
                entry_id: Some(entry_id),
                granted,
            },
            None => Self::nothing(user_id.clone()),
        }
    }
}

/// `POST /v1/users/{user_id}/referral`. Said again by the same referrer nothing follows, whatever the key.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_required`,
/// `idempotency_key_reused`, `already_referred`, `referral_not_configured`, `balance_too_large`, `unavailable`.
pub async fn refer(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let user_id = UserId::parse(path.into_inner())?;
    let mut fields = fields(payload, REQUEST_BYTES_MAX).await?;
    let referrer = UserId::parse(fields.text("referred_by")?)?;
    fields.finish()?;
    let asked = Refer {
        referred_by: referrer.clone(),
    };
    let call = Call {
        asked: Asked::new(&format!("POST /v1/users/{user_id}/referral"), &asked)?,
        principal: caller.principal,
        key: caller.key,
    };
    let wish = if app.referral.is_on() {
        Ok(Command::RewardReferral {
            referred: user_id.clone(),
            referrer: referrer.clone(),
            referred_credits: app.referral.referred_credits,
            referrer_credits: app.referral.referrer_credits,
        })
    } else {
        Err(Code::ReferralNotConfigured.because("the settings give nothing: see [referral]"))
    };
    let nothing = json!(Referred {
        referred: Side::nothing(user_id.clone()),
        referrer: Side::nothing(referrer.clone()),
    })
    .to_string();
    let answer = answering(StatusCode::OK, move |came| {
        Some(Referred {
            referred: Side::of(came, &user_id, &referrer),
            referrer: Side::of(came, &referrer, &user_id),
        })
    });
    let Answered { answer, hit } = answered(submit(&app, call.unit(wish, answer)).await?)?;
    let hit = hit || answer.body == nothing;
    Ok(Answered { answer, hit }.response())
}
