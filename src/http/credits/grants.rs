//! Giving credits that nobody paid for.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{NAME_MAX_CHARS, REASON_MAX_CHARS, caller, fields, find, in_future};
use crate::app::App;
use crate::http::body::{Fields, Incoming, REQUEST_BYTES_MAX, invalid};
use crate::http::idempotency::{Asked, Call, answering};
use crate::http::problem::Problem;
use crate::ledger::command::GrantCredits;
use crate::ledger::event::{CreditsGranted, GrantCause};
use crate::ledger::lots::{LotKind, PRIORITY_DEFAULT};
use crate::ledger::{Command, Credits, Place, UserEvent, UserId};

/// What a grant asks.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Grant {
    amount: Credits,
    reason: String,
    /// Seconds since 1970.
    expires_at: Option<i64>,
    kind: LotKind,
    priority: u8,
    actor: Option<String>,
}

impl Grant {
    /// Takes the fields of a grant.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Problem> {
        let kind = match fields.optional_text("kind")?.as_deref() {
            None | Some("bonus") => LotKind::Bonus,
            Some("promo") => LotKind::Promo,
            Some(_) => return Err(invalid("kind", "must be bonus or promo")),
        };
        let range = i64::from(u8::MIN)..=i64::from(u8::MAX);
        let priority = fields.number_in("priority", range, i64::from(PRIORITY_DEFAULT))?;
        Ok(Self {
            amount: fields.amount("amount")?,
            reason: fields.note("reason", REASON_MAX_CHARS)?,
            expires_at: fields.optional_second("expires_at")?,
            kind,
            priority: u8::try_from(priority).unwrap_or(PRIORITY_DEFAULT),
            actor: fields.optional_note("actor", NAME_MAX_CHARS)?,
        })
    }

    /// The command of a principal, unless the credits would be over.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(super) fn command(
        self,
        app: &App,
        user_id: UserId,
        principal: &str,
    ) -> Result<Command, Problem> {
        in_future(app, "expires_at", self.expires_at)?;
        Ok(Command::GrantCredits(GrantCredits {
            user_id,
            credits: self.amount,
            kind: self.kind,
            priority: self.priority,
            expires_at_s: self.expires_at,
            reason: self.reason,
            actor: match self.actor {
                None => principal.to_owned(),
                Some(actor) => format!("{principal}:{actor}"),
            },
        }))
    }
}

/// What a grant answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Granted {
    /// Its entry in the history.
    entry_id: Place,
    /// How many were granted.
    granted: Credits,
    /// Credits that are the user's after it, those set aside included.
    balance: Credits,
    /// Credits that can be spent after it.
    available: i64,
    /// Credits owed after it: what is granted repays debt first.
    debt: Credits,
}

impl Granted {
    pub(super) const fn of(entry_id: Place, event: &CreditsGranted) -> Self {
        let account = event.added.account;
        Self {
            entry_id,
            granted: event.added.credits,
            balance: account.balance,
            available: account.available(),
            debt: account.debt,
        }
    }
}

/// The event of a grant, if it is one.
pub(super) fn granted(event: &UserEvent) -> Option<&CreditsGranted> {
    match event {
        UserEvent::CreditsGranted(granted) if granted.cause == GrantCause::Grant => Some(granted),
        _ => None,
    }
}

/// `POST /v1/users/{user_id}/grants`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `idempotency_key_required`,
/// `idempotency_key_reused`, `balance_too_large`, `unavailable`.
pub async fn grant(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let user_id = UserId::parse(path.into_inner())?;
    let mut fields = fields(payload, REQUEST_BYTES_MAX).await?;
    let grant = Grant::take(&mut fields)?;
    fields.finish()?;
    let call = Call {
        asked: Asked::new(&format!("POST /v1/users/{user_id}/grants"), &grant)?,
        principal: caller.principal,
        key: caller.key,
    };
    let answer = answering(StatusCode::OK, |came| {
        let (entry_id, event) = find(came, granted)?;
        Some(Granted::of(entry_id, event))
    });
    let wish = grant.command(&app, user_id, &call.principal);
    call.reply(&app, wish, answer).await
}
