//! `/v1/admin/…`: what operators see, and what they may do about it.
//!
//! Looking is here, acting in `repair`. Nothing here ever shows a body, a secret or personal data.

mod repair;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::account::{self, PurchaseCursor, not_given_out, time, time_of_cursor};
use super::body::invalid;
use super::identity::backend;
use super::page::{Page, Query, no_query};
use super::problem::Problem;
use crate::access::{Principal, Scope};
use crate::app::App;
use crate::provider::Providers;
use crate::reads::{Count, InboxRow, LATEST, OUTCOMES, PurchaseRow};
use crate::store::PARKED;
pub use repair::{Resolved, Retried, Swept, recover, resolve, retry};

/// The operator who asks.
async fn operator(app: &App, request: &HttpRequest) -> Result<Arc<Principal>, Problem> {
    backend(app, request, Scope::Admin).await
}

/// How much there is of everything, and what waits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    users: Users,
    /// By status; `unclaimed` (nobody's) and `unpriced` (fits nothing in the catalog) are among them.
    purchases: BTreeMap<String, i64>,
    /// Deliveries that wait.
    parked: i64,
    /// How long the oldest of them has waited.
    #[schema(required)]
    oldest_parked_age_s: Option<i64>,
    /// What is to be looked at after commits.
    outbox_waiting: i64,
    /// Events in the log.
    events: i64,
    shards: Vec<Shard>,
    providers: Vec<Deliverer>,
    /// The figures that are not exact, for example `purchases.captured`.
    inexact: BTreeMap<String, Exactness>,
}

/// How many users there are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserCounts)]
struct Users {
    /// Signed up.
    registered: i64,
    /// Gone.
    deleted: i64,
}

/// The end of a shard.
#[derive(Debug, Serialize, ToSchema)]
struct Shard {
    shard: i16,
    /// The position of its last event.
    position: i64,
}

/// A provider of webhooks.
#[derive(Debug, Serialize, ToSchema)]
struct Deliverer {
    provider: &'static str,
    /// Whether its secrets are set.
    configured: bool,
    /// When it last delivered something that was new.
    #[schema(required, format = DateTime)]
    last_delivery_at: Option<String>,
}

/// How a figure that is not exact is to be read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Exactness {
    /// By a sample.
    About,
    /// Counting ended there.
    AtLeast,
}

/// `GET /v1/admin/overview`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request` for any query, `unavailable`.
pub async fn overview(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    operator(&app, &request).await?;
    no_query(&request)?;
    let reads = &app.reads;
    let users = reads.count_users().await?;
    let statuses = reads.count_purchases().await?;
    let unresolved = reads.count_unresolved().await?;
    let parked = reads.count_parked().await?;
    let outbox = reads.count_outbox().await?;
    let ends = reads.ends().await?;
    let mut counts = Counts::default();
    let users = Users {
        registered: counts.show("users.registered", users.registered),
        deleted: counts.show("users.deleted", users.deleted),
    };
    let mut purchases: BTreeMap<String, i64> = BTreeMap::new();
    for row in statuses {
        let shown = counts.show(&format!("purchases.{}", row.status), row.purchases);
        purchases.insert(row.status, shown);
    }
    for (name, count) in [
        ("unclaimed", unresolved.unclaimed),
        ("unpriced", unresolved.unpriced),
    ] {
        let shown = counts.show(&format!("purchases.{name}"), count);
        purchases.insert(name.to_owned(), shown);
    }
    let waiting_s = parked
        .oldest_received_at
        .map(|since| (app.now() - since).num_seconds().max(0));
    let shards = ends.iter().map(|end| Shard {
        shard: end.shard,
        position: end.position,
    });
    Ok(HttpResponse::Ok().json(Overview {
        users,
        purchases,
        parked: counts.show("parked", parked.count),
        oldest_parked_age_s: waiting_s,
        outbox_waiting: counts.show("outbox_waiting", outbox),
        events: ends.iter().map(|end| end.position).sum(),
        shards: shards.collect(),
        providers: providers(&app).await?,
        inexact: counts.inexact,
    }))
}

/// Counts as they are shown, and which of them are not exact.
#[derive(Default)]
struct Counts {
    inexact: BTreeMap<String, Exactness>,
}

impl Counts {
    fn show(&mut self, name: &str, count: Count) -> i64 {
        let (number, how) = match count {
            Count::Exactly(number) => return number,
            Count::AtLeast(number) => (number, Exactness::AtLeast),
            Count::About(number) => (number, Exactness::About),
        };
        self.inexact.insert(name.to_owned(), how);
        number
    }
}

async fn providers(app: &App) -> Result<Vec<Deliverer>, Problem> {
    let last = app.reads.last_deliveries().await?;
    let shown = Providers::KNOWN.iter().map(|source| {
        let last = last.iter().find(|row| row.source == source.as_str());
        Deliverer {
            provider: source.as_str(),
            configured: app.providers.configured().any(|one| one == *source),
            last_delivery_at: last.map(|row| time(row.received_at)),
        }
    });
    Ok(shown.collect())
}

/// Where a page of the inbox ends: microseconds since 1970, key, source.
type InboxCursor = (i64, String, String);

/// `GET /v1/admin/inbox`
///
/// # Errors
/// As [`overview`]; `invalid_request` for the status and the page.
pub async fn inbox(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    operator(&app, &request).await?;
    let mut query = Query::of(&request)?;
    let status = match query.take("status") {
        None => PARKED,
        Some(asked) => OUTCOMES
            .into_iter()
            .find(|outcome| *outcome == asked)
            .ok_or_else(|| invalid("status", &format!("must be one of {}", OUTCOMES.join(", "))))?,
    };
    let page: Page<InboxCursor> = Page::take(&mut query)?;
    query.finish()?;
    let before = match &page.cursor {
        None => (LATEST, "", ""),
        Some((micros, key, source)) => {
            let storable = |text: &str| !text.contains('\0');
            time_of_cursor(*micros)
                .filter(|_| storable(key) && storable(source))
                .map(|time| (time, key.as_str(), source.as_str()))
                .ok_or_else(not_given_out)?
        }
    };
    let rows = app.reads.inbox(status, before, page.fetch()).await?;
    Ok(HttpResponse::Ok().json(page.answer(rows, delivery, |row| {
        let micros = row.received_at.timestamp_micros();
        (micros, row.key.clone(), row.source.clone())
    })))
}

/// A delivery, without its body.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    /// Who sent it.
    #[schema(schema_with = super::openapi::provider)]
    source: String,
    /// The provider's name for the event.
    event_id: String,
    /// What the inbox knows it by.
    key: String,
    /// What became of it.
    #[schema(schema_with = super::openapi::delivery_status)]
    status: String,
    /// Why, where that is not plain.
    #[schema(required)]
    reason: Option<String>,
    /// What it waits for, where that has a name.
    #[schema(required)]
    waits_for: Option<String>,
    /// When it came first.
    #[schema(format = DateTime)]
    received_at: String,
    /// How often it was tried to apply it.
    attempts: i32,
    /// How often it was delivered.
    deliveries: i32,
    /// When it is tried again by itself.
    #[schema(required, format = DateTime)]
    next_attempt_at: Option<String>,
}

fn delivery(row: InboxRow) -> Delivery {
    Delivery {
        source: row.source,
        event_id: row.provider_event_id,
        key: row.key,
        status: row.outcome,
        reason: row.reason,
        waits_for: row.waits_for,
        received_at: time(row.received_at),
        attempts: row.attempts,
        deliveries: row.deliveries,
        next_attempt_at: row.next_attempt_at.map(time),
    }
}

/// `GET /v1/admin/purchases`
///
/// # Errors
/// As [`overview`]; `invalid_request` for the status and the page.
pub async fn purchases(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    operator(&app, &request).await?;
    let mut query = Query::of(&request)?;
    let status = query.take("status");
    let page: Page<PurchaseCursor> = Page::take(&mut query)?;
    query.finish()?;
    let before = account::before(&page)?;
    let rows = match status.as_deref() {
        Some("unclaimed") => app.reads.unclaimed(before, page.fetch()).await?,
        Some("unpriced") => app.reads.unpriced(before, page.fetch()).await?,
        _ => return Err(invalid("status", "must be unclaimed or unpriced")),
    };
    Ok(HttpResponse::Ok().json(page.answer(rows, purchase, account::purchase_cursor)))
}

/// A purchase, with whose it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnedPurchase {
    #[serde(flatten)]
    purchase: account::Purchase,
    /// Whose it is; `null`: nobody's.
    #[schema(required)]
    user_id: Option<String>,
}

fn purchase(mut row: PurchaseRow) -> OwnedPurchase {
    OwnedPurchase {
        user_id: row.user_id.take(),
        purchase: account::purchase(row),
    }
}
