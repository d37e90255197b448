//! What the product's backend does with a user's credits. Every answer is made of the events that were recorded, so that
//! it is the same whenever it is given again.
//!
//! Each act has a module: what it asks, what it answers. Who may, the idempotency key and the body are the same for all
//! and are here.

mod bulk;
mod grants;
mod holds;
mod plans;
mod referrals;
mod spends;

use actix_web::HttpRequest;
use chrono::{DateTime, SecondsFormat, Utc};

use super::body::{self, Fields, Incoming, invalid};
use super::idempotency::Key;
use super::identity::backend;
use super::page::no_query;
use super::problem::Problem;
use crate::access::Scope;
use crate::app::App;
use crate::ledger::event::Note;
use crate::ledger::{Event, Place, UserEvent};
use crate::store::{Came, Recorded};

pub use bulk::{ITEMS_MAX, bulk};
pub use grants::{Granted, grant};
pub use holds::{Captured, HOLD_DEFAULT_S, HOLD_MAX_S, Placed, Released, capture, hold, release};
pub use plans::{Planned, change_plan};
pub use referrals::{Referred, refer};
pub use spends::{Reversed, Spent, reverse, spend};

/// The longest reason, in characters.
pub const REASON_MAX_CHARS: usize = 500;
/// The longest id of the caller's own, or name, in characters.
pub const NAME_MAX_CHARS: usize = 255;

/// A backend that asks to move credits.
struct Caller {
    /// The name of its principal.
    principal: String,
    key: Option<Key>,
}

/// Who asks, and under which key.
async fn caller(app: &App, request: &HttpRequest, key_needed: bool) -> Result<Caller, Problem> {
    let principal = backend(app, request, Scope::CreditsWrite).await?;
    no_query(request)?;
    let key = if key_needed {
        Some(Key::required(request)?)
    } else {
        Key::optional(request)?
    };
    Ok(Caller {
        principal: principal.name.clone(),
        key,
    })
}

/// The fields of a body that may be empty only where no field is needed.
async fn fields(payload: Incoming, bytes_max: usize) -> Result<Fields, Problem> {
    let bytes = body::read(payload, bytes_max).await?;
    Fields::parse_optional(&bytes)
}

fn note(fields: &mut Fields) -> Result<Note, Problem> {
    Ok(Note {
        reason: fields.optional_note("reason", REASON_MAX_CHARS)?,
        reference: fields.optional_note("reference", NAME_MAX_CHARS)?,
    })
}

/// The place of an entry or a hold, as it was given out.
fn place(text: &str, name: &'static str) -> Result<Place, Problem> {
    Place::parse(text).map_err(|error| invalid(name, error.rule))
}

/// The first event that is of this kind, and where it is. What ended by itself comes before it.
fn find<'a, T>(came: Came<'a>, of: impl Fn(&'a UserEvent) -> Option<T>) -> Option<(Place, T)> {
    came.events.iter().find_map(|one| {
        let found = user_event(one).and_then(&of)?;
        Some((place_of(one), found))
    })
}

const fn user_event(recorded: &Recorded) -> Option<&UserEvent> {
    match &recorded.event {
        Event::User(event) => Some(event),
        Event::Purchase(_) => None,
    }
}

const fn place_of(recorded: &Recorded) -> Place {
    Place {
        shard: recorded.shard,
        position: recorded.position,
    }
}

/// Refuses a time that is over. Only the first time that it is asked: see [`Call::reply`](super::idempotency::Call::reply).
fn in_future(app: &App, name: &str, second: Option<i64>) -> Result<(), Problem> {
    match second {
        Some(second) if second <= app.now().timestamp() => {
            Err(invalid(name, "must be in the future"))
        }
        _ => Ok(()),
    }
}

/// How whole seconds are shown: RFC 3339, UTC.
fn shown_second(second: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp(second, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
