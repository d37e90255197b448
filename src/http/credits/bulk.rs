//! Many spends and grants in one request: each by itself, or all or none.
//!
//! Each by itself: every item is a unit of its own under a key of its own, behind one that announces the whole request.
//! So a changed request under the same key is found before anything is done, and one that broke off goes on where it was.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::grants::{Grant, Granted, granted};
use super::spends::{Spend, Spent};
use super::{caller, fields, place_of, user_event};
use crate::app::App;
use crate::http::body::{BULK_BYTES_MAX, Fields, Incoming, invalid};
use crate::http::idempotency::{Answered, Asked, Call, answered, answering};
use crate::http::problem::{Code, Problem};
use crate::http::{in_time, submit};
use crate::ledger::{Command, UserEvent, UserId};
use crate::store::{Answer, Recorded};

/// The most items of one request.
pub const ITEMS_MAX: usize = 1000;
/// Items of one request under way at once: enough to share commits, few beside the lanes' queues.
const AT_ONCE: usize = 64;
/// How long the items of one request may take by themselves. What was done by then is done.
const ITEMS_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Whether one item that is refused refuses all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Each,
    Atomic,
}

/// What a request asks.
#[derive(Debug, Clone, Serialize)]
struct Bulk {
    mode: Mode,
    items: Vec<Item>,
}

#[derive(Debug, Clone, Serialize)]
struct Item {
    user_id: UserId,
    #[serde(flatten)]
    act: Act,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Act {
    Spend(Spend),
    Grant(Grant),
}

/// What one item answers where all succeed.
#[derive(Debug, Clone, Serialize)]
struct Done {
    status: u16,
    #[serde(flatten)]
    reply: Reply,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Reply {
    Spent(Spent),
    Granted(Granted),
}

/// What a request answers.
#[derive(Debug, Clone, Serialize)]
struct Results<R> {
    /// In the order of the items.
    results: Vec<R>,
}

impl Bulk {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let mode = match fields.text("mode")?.as_str() {
            "each" => Mode::Each,
            "atomic" => Mode::Atomic,
            _ => return Err(invalid("mode", "must be each or atomic")),
        };
        let items = fields.list("items")?;
        fields.finish()?;
        if !(1..=ITEMS_MAX).contains(&items.len()) {
            return Err(invalid("items", &format!("must be 1 to {ITEMS_MAX}")));
        }
        let items = items.into_iter().enumerate();
        let items = items.map(|(index, item)| {
            let item = Fields::of_item(item).and_then(Item::take);
            item.map_err(|problem| problem.of_item(index))
        });
        Ok(Self {
            mode,
            items: items.collect::<Result<_, _>>()?,
        })
    }
}

impl Item {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let kind = fields.text("type")?;
        let user_id = UserId::parse(fields.text("user_id")?)?;
        let act = match kind.as_str() {
            "spend" => Act::Spend(Spend::take(&mut fields)?),
            "grant" => Act::Grant(Grant::take(&mut fields)?),
            _ => return Err(invalid("type", "must be spend or grant")),
        };
        fields.finish()?;
        Ok(Self { user_id, act })
    }

    fn command(self, app: &App, principal: &str) -> Result<Command, Problem> {
        match self.act {
            Act::Spend(spend) => Ok(spend.command(self.user_id)),
            Act::Grant(grant) => grant.command(app, self.user_id, principal),
        }
    }
}

/// The answer to a spend or a grant; `None` for what only ended by itself.
fn reply(recorded: &Recorded) -> Option<Reply> {
    let entry_id = place_of(recorded);
    let event = user_event(recorded)?;
    match event {
        UserEvent::CreditsSpent(spent) => Some(Reply::Spent(Spent::of(entry_id, spent))),
        other => granted(other).map(|event| Reply::Granted(Granted::of(entry_id, event))),
    }
}

/// `POST /v1/bulk`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `payload_too_large`,
/// `idempotency_key_required`, `idempotency_key_reused`, `unavailable`; of an atomic one also what its first refused item
/// answers by itself.
pub async fn bulk(
    app: Data<App>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request, true).await?;
    let bulk = Bulk::take(fields(payload, BULK_BYTES_MAX).await?)?;
    let call = Call {
        asked: Asked::new("POST /v1/bulk", &bulk)?,
        principal: caller.principal,
        key: caller.key,
    };
    match bulk.mode {
        Mode::Atomic => atomic(&app, &call, bulk.items).await,
        Mode::Each => in_time(ITEMS_WAIT, each(&app, &call, bulk.items)).await,
    }
}

async fn atomic(app: &App, call: &Call, items: Vec<Item>) -> Result<HttpResponse, Problem> {
    let commands = items.into_iter().enumerate().map(|(index, item)| {
        let command = item.command(app, &call.principal);
        command.map_err(|problem| problem.of_item(index))
    });
    let wish = commands.collect::<Result<Vec<Command>, Problem>>();
    let answer = answering(StatusCode::OK, |came| {
        let replies = came.events.iter().filter_map(reply);
        let results = replies.map(|reply| Done {
            status: StatusCode::OK.as_u16(),
            reply,
        });
        Some(Results {
            results: results.collect(),
        })
    });
    call.reply(app, wish.map(Command::Together), answer).await
}

/// What announces a request answers by itself. Nobody sees it.
#[derive(Serialize)]
struct Announced {}

async fn each(app: &App, call: &Call, items: Vec<Item>) -> Result<HttpResponse, Problem> {
    let nothing = Ok(Command::Together(vec![]));
    let announced = answering(StatusCode::OK, |_| Some(Announced {}));
    answered(submit(app, call.unit(nothing, announced)).await?)?;
    let items = items.into_iter().enumerate();
    let units = items.map(|(index, item)| {
        let wish = item.command(app, &call.principal);
        let answer = answering(StatusCode::OK, |came| came.events.iter().find_map(reply));
        call.of_item(index).unit(wish, answer)
    });
    // The first that is not known ends it: the others go on without us and answer the next try.
    let all: Vec<Answered> = stream::iter(units)
        .map(async |unit| answered(submit(app, unit).await?))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let hit = all.iter().all(|one| one.hit);
    let results = all.into_iter().map(|one| shown(&one.answer));
    let results = Results {
        results: results.collect::<Result<Vec<Value>, Problem>>()?,
    };
    let answer = Answer {
        status: 200,
        body: json!(results).to_string(),
    };
    Ok(Answered { answer, hit }.response())
}

/// The answer of an item, with its status.
fn shown(answer: &Answer) -> Result<Value, Problem> {
    let body: Map<String, Value> = serde_json::from_str(&answer.body)
        .map_err(|_| Code::Internal.because("the answer of an item can not be read"))?;
    let mut shown = Map::from_iter([("status".to_owned(), json!(answer.status))]);
    shown.extend(body);
    Ok(Value::Object(shown))
}
