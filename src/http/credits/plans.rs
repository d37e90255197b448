//! Setting a user's plan, and what comes with it.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{NAME_MAX_CHARS, caller, fields, find, in_future};
use crate::app::App;
use crate::http::body::{Incoming, REQUEST_BYTES_MAX, invalid};
use crate::http::idempotency::{Asked, Call, answering};
use crate::http::problem::Problem;
use crate::ledger::event::GrantCause;
use crate::ledger::{Command, Credits, UserEvent, UserId};

/// What a change of plan asks.
#[derive(Debug, Clone, Serialize)]
struct Plan {
    plan: String,
    bonus_credits: Credits,
    /// Seconds since 1970.
    bonus_expires_at: Option<i64>,
}

/// What a change of plan answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Planned {
    /// Whose.
    user_id: UserId,
    /// The plan now.
    plan: String,
    /// Whether it was another before.
    changed: bool,
    /// What came with it.
    bonus_granted: Credits,
    /// Credits that are the user's after it, those set aside included.
    balance: Credits,
    /// Credits that can be spent after it.
    available: i64,
}

/// `PUT /v1/users/{user_id}/plan`. Where it is that plan already nothing follows, so it needs no idempotency key; one that
/// is sent is honoured.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_reused`,
/// `balance_too_large`, `unavailable`.
pub async fn change_plan(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, false).await?;
    let user_id = UserId::parse(path.into_inner())?;
    let mut fields = fields(payload, REQUEST_BYTES_MAX).await?;
    let bonus = fields.number_in("bonus_credits", 0..=Credits::MAX, 0)?;
    let asked = Plan {
        plan: fields.note("plan", NAME_MAX_CHARS)?,
        bonus_credits: Credits::new(bonus)?,
        bonus_expires_at: fields.optional_second("bonus_expires_at")?,
    };
    fields.finish()?;
    if asked.bonus_expires_at.is_some() && asked.bonus_credits.is_zero() {
        return Err(invalid("bonus_expires_at", "needs bonus_credits, too"));
    }
    let call = Call {
        asked: Asked::new(&format!("PUT /v1/users/{user_id}/plan"), &asked)?,
        principal: caller.principal,
        key: caller.key,
    };
    let wish =
        in_future(&app, "bonus_expires_at", asked.bonus_expires_at).map(|()| Command::ChangePlan {
            user_id: user_id.clone(),
            plan: asked.plan.clone(),
            bonus: asked.bonus_credits,
            bonus_expires_at_s: asked.bonus_expires_at,
        });
    let answer = answering(StatusCode::OK, move |came| {
        let changed = find(came, |event| match event {
            UserEvent::PlanChanged { .. } => Some(()),
            _ => None,
        });
        let bonus = find(came, |event| match event {
            UserEvent::CreditsGranted(granted) if granted.cause == GrantCause::Plan => {
                Some(granted.added.credits)
            }
            _ => None,
        });
        let account = (came.account)(&user_id);
        Some(Planned {
            user_id: user_id.clone(),
            plan: asked.plan.clone(),
            changed: changed.is_some(),
            bonus_granted: bonus.map_or(Credits::ZERO, |(_, credits)| credits),
            balance: account.balance,
            available: account.available(),
        })
    });
    call.reply(&app, wish, answer).await
}
