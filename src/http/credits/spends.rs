//! Using credits, and giving back what a spend used.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{REASON_MAX_CHARS, caller, fields, find, note, place};
use crate::app::App;
use crate::http::body::{Fields, Incoming, REQUEST_BYTES_MAX};
use crate::http::idempotency::{Asked, Call, answering};
use crate::http::problem::{Code, Problem};
use crate::ledger::command::{ReverseSpend, SpendCredits};
use crate::ledger::event::{CreditsSpent, Note};
use crate::ledger::lots::Slice;
use crate::ledger::{Command, Credits, Place, UserEvent, UserId};

/// What a spend asks.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Spend {
    amount: Credits,
    #[serde(flatten)]
    note: Note,
    allow_partial: bool,
}

impl Spend {
    /// Takes the fields of a spend.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Problem> {
        Ok(Self {
            amount: fields.amount("amount")?,
            note: note(fields)?,
            allow_partial: fields.flag("allow_partial")?,
        })
    }

    pub(super) fn command(self, user_id: UserId) -> Command {
        Command::SpendCredits(SpendCredits {
            user_id,
            credits: self.amount,
            allow_partial: self.allow_partial,
            note: self.note,
        })
    }
}

/// What a spend answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Spent {
    /// Its entry in the history.
    entry_id: Place,
    /// How many were spent; fewer than asked for only where `allow_partial` was sent.
    spent: Credits,
    /// Credits that are the user's after it, those set aside included.
    balance: Credits,
    /// Credits that can be spent after it.
    available: i64,
}

impl Spent {
    pub(super) const fn of(entry_id: Place, event: &CreditsSpent) -> Self {
        Self {
            entry_id,
            spent: event.credits,
            balance: event.account.balance,
            available: event.account.available(),
        }
    }
}

/// `POST /v1/users/{user_id}/spends`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_required`,
/// `idempotency_key_reused`, `insufficient_credits`, `unavailable`.
pub async fn spend(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let user_id = UserId::parse(path.into_inner())?;
    let mut fields = fields(payload, REQUEST_BYTES_MAX).await?;
    let spend = Spend::take(&mut fields)?;
    fields.finish()?;
    let call = Call {
        asked: Asked::new(&format!("POST /v1/users/{user_id}/spends"), &spend)?,
        principal: caller.principal,
        key: caller.key,
    };
    let answer = answering(StatusCode::OK, |came| {
        let (entry_id, event) = find(came, |event| match event {
            UserEvent::CreditsSpent(event) => Some(event),
            _ => None,
        })?;
        Some(Spent::of(entry_id, event))
    });
    call.reply(&app, Ok(spend.command(user_id)), answer).await
}

/// What a reversal asks.
#[derive(Debug, Clone, Serialize)]
struct Reverse {
    amount: Option<Credits>,
    reason: Option<String>,
}

/// What a reversal answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Reversed {
    /// Its entry in the history.
    entry_id: Place,
    /// How many came back.
    reversed: Credits,
    /// Credits that are the user's after it, those set aside included.
    balance: Credits,
    /// Credits that can be spent after it.
    available: i64,
    /// Credits owed after it: what comes back repays debt first.
    debt: Credits,
}

/// `POST /v1/spends/{entry_id}/reverse`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_required`,
/// `idempotency_key_reused`, `spend_not_found`, `already_reversed`, `amount_too_large`, `balance_too_large`,
/// `unavailable`.
pub async fn reverse(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let entry_id = place(&path, "entry_id")?;
    let mut fields = fields(payload, REQUEST_BYTES_MAX).await?;
    let asked = Reverse {
        amount: fields.optional_amount("amount")?,
        reason: fields.optional_note("reason", REASON_MAX_CHARS)?,
    };
    fields.finish()?;
    let call = Call {
        asked: Asked::new(&format!("POST /v1/spends/{entry_id}/reverse"), &asked)?,
        principal: caller.principal,
        key: caller.key,
    };
    let Some((user_id, slices)) = used(&app, entry_id).await? else {
        let unknown = "no spend and no captured hold has this entry id";
        return call
            .refuse(&app, Code::SpendNotFound.because(unknown))
            .await;
    };
    let whose = user_id.clone();
    let command = Command::ReverseSpend(ReverseSpend {
        user_id,
        entry_id,
        slices,
        credits: asked.amount,
        reason: asked.reason,
    });
    let answer = answering(StatusCode::OK, move |came| {
        let (entry_id, reversed) = find(came, |event| match event {
            UserEvent::SpendReversed(reversed) => Some(reversed),
            _ => None,
        })?;
        // What came back to a lot whose time is over has ended again.
        let account = (came.account)(&whose);
        Some(Reversed {
            entry_id,
            reversed: reversed.credits,
            balance: account.balance,
            available: account.available(),
            debt: account.debt,
        })
    });
    call.reply(&app, Ok(command), answer).await
}

/// Who used what in an entry.
async fn used(app: &App, entry_id: Place) -> Result<Option<(UserId, Vec<Slice>)>, Problem> {
    Ok(match app.reads.user_event(entry_id).await? {
        Some((user_id, UserEvent::CreditsSpent(spent))) => Some((user_id, spent.slices)),
        Some((user_id, UserEvent::HoldCaptured(captured))) => Some((user_id, captured.slices)),
        _ => None,
    })
}
