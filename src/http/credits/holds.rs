//! Setting credits aside for running work, and using them or giving them up.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{caller, fields, find, note, place, shown_second};
use crate::app::App;
use crate::http::body::REQUEST_BYTES_MAX;
use crate::http::idempotency::{Asked, Call, answering};
use crate::http::problem::{Code, Problem};
use crate::ledger::command::{Hold, HoldCredits};
use crate::ledger::event::Note;
use crate::ledger::lots::total;
use crate::ledger::{Account, Command, Credits, Place, UserEvent, UserId};

/// The longest that a hold lasts, in seconds: 30 days.
pub const HOLD_MAX_S: i64 = 30 * 24 * 3600;
/// How long a hold lasts when nobody says, in seconds.
pub const HOLD_DEFAULT_S: i64 = 3600;

/// What a hold asks.
#[derive(Debug, Clone, Serialize)]
struct NewHold {
    amount: Credits,
    expires_in_s: i64,
    #[serde(flatten)]
    note: Note,
}

/// What a hold answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Placed {
    /// What it is captured and released by.
    hold_id: Place,
    /// How many it sets aside.
    held_amount: Credits,
    /// When it times out by itself.
    #[schema(format = DateTime)]
    expires_at: String,
    #[serde(flatten)]
    left: Left,
}

/// The account after it, as holds show it.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = HoldAccount)]
pub struct Left {
    /// Credits that are the user's after it, those set aside included.
    balance: Credits,
    /// Credits set aside after it.
    held: Credits,
    /// Credits that can be spent after it.
    available: i64,
}

impl Left {
    const fn of(account: Account) -> Self {
        Self {
            balance: account.balance,
            held: account.held,
            available: account.available(),
        }
    }
}

/// `POST /v1/users/{user_id}/holds`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_required`,
/// `idempotency_key_reused`, `insufficient_credits`, `unavailable`.
pub async fn hold(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let user_id = UserId::parse(path.into_inner())?;
    let mut fields = fields(payload, REQUEST_BYTES_MAX).await?;
    let asked = NewHold {
        amount: fields.amount("amount")?,
        expires_in_s: fields.number_in("expires_in_s", 1..=HOLD_MAX_S, HOLD_DEFAULT_S)?,
        note: note(&mut fields)?,
    };
    fields.finish()?;
    let call = Call {
        asked: Asked::new(&format!("POST /v1/users/{user_id}/holds"), &asked)?,
        principal: caller.principal,
        key: caller.key,
    };
    let command = Command::HoldCredits(HoldCredits {
        user_id,
        credits: asked.amount,
        lasts_s: asked.expires_in_s,
        note: asked.note,
    });
    let answer = answering(StatusCode::CREATED, |came| {
        let (hold_id, held) = find(came, |event| match event {
            UserEvent::CreditsHeld(held) => Some(held),
            _ => None,
        })?;
        Some(Placed {
            hold_id,
            held_amount: held.credits,
            expires_at: shown_second(held.times_out_at_s),
            left: Left::of(held.account),
        })
    });
    call.reply(&app, Ok(command), answer).await
}

/// What a capture asks.
#[derive(Debug, Clone, Serialize)]
struct Capture {
    amount: Option<Credits>,
}

/// What a capture answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Captured {
    /// Its entry in the history.
    entry_id: Place,
    /// The hold.
    hold_id: Place,
    /// How many were used.
    captured: Credits,
    /// How many were given up.
    released: Credits,
    #[serde(flatten)]
    left: Left,
}

/// `POST /v1/holds/{hold_id}/capture`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_required`,
/// `idempotency_key_reused`, `hold_not_found`, `hold_resolved`, `amount_too_large`, `unavailable`.
pub async fn capture(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let hold_id = place(&path, "hold_id")?;
    let mut fields = fields(payload, REQUEST_BYTES_MAX).await?;
    let asked = Capture {
        amount: fields.optional_amount("amount")?,
    };
    fields.finish()?;
    let call = Call {
        asked: Asked::new(&format!("POST /v1/holds/{hold_id}/capture"), &asked)?,
        principal: caller.principal,
        key: caller.key,
    };
    let Some(hold) = placed(&app, hold_id).await? else {
        return call.refuse(&app, unknown()).await;
    };
    let whose = hold.user_id.clone();
    let command = Command::CaptureHold {
        hold,
        credits: asked.amount,
    };
    let answer = answering(StatusCode::OK, move |came| {
        let (entry_id, captured) = find(came, |event| match event {
            UserEvent::HoldCaptured(captured) => Some(captured),
            _ => None,
        })?;
        Some(Captured {
            entry_id,
            hold_id: captured.hold_id,
            captured: captured.credits,
            released: [total(&captured.returned), captured.repaid]
                .into_iter()
                .sum(),
            left: Left::of((came.account)(&whose)),
        })
    });
    call.reply(&app, Ok(command), answer).await
}

/// What a release asks: nothing but the hold.
#[derive(Debug, Clone, Serialize)]
struct Release {}

/// What a release answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Released {
    /// Its entry in the history.
    entry_id: Place,
    /// The hold.
    hold_id: Place,
    /// How many were given up.
    released: Credits,
    #[serde(flatten)]
    left: Left,
}

/// `POST /v1/holds/{hold_id}/release`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_required`,
/// `idempotency_key_reused`, `hold_not_found`, `hold_resolved`, `unavailable`.
pub async fn release(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let hold_id = place(&path, "hold_id")?;
    fields(payload, REQUEST_BYTES_MAX).await?.finish()?;
    let call = Call {
        asked: Asked::new(&format!("POST /v1/holds/{hold_id}/release"), &Release {})?,
        principal: caller.principal,
        key: caller.key,
    };
    let Some(hold) = placed(&app, hold_id).await? else {
        return call.refuse(&app, unknown()).await;
    };
    let whose = hold.user_id.clone();
    // Of its user others may time out in the same moment; this one is called by its own id.
    let answer = answering(StatusCode::OK, move |came| {
        let (entry_id, released) = find(came, |event| match event {
            UserEvent::HoldReleased(released) if released.hold_id == hold_id => Some(released),
            _ => None,
        })?;
        Some(Released {
            entry_id,
            hold_id,
            released: released.credits,
            left: Left::of((came.account)(&whose)),
        })
    });
    call.reply(&app, Ok(Command::ReleaseHold { hold }), answer)
        .await
}

/// The hold, as it was placed.
async fn placed(app: &App, hold_id: Place) -> Result<Option<Hold>, Problem> {
    Ok(match app.reads.user_event(hold_id).await? {
        Some((user_id, UserEvent::CreditsHeld(held))) => Some(Hold::placed(hold_id, user_id, held)),
        _ => None,
    })
}

fn unknown() -> Problem {
    Code::HoldNotFound.because("no hold of this id was placed")
}
