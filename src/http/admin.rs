//! `/v1/admin/…`: what operators see, and what they may do about it.
//!
//! Looking is here, acting in `repair`. Nothing here ever shows a body, a secret or personal data.

mod repair;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

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
pub use repair::{recover, resolve, retry};

/// The operator who asks.
async fn operator(app: &App, request: &HttpRequest) -> Result<Arc<Principal>, Problem> {
    backend(app, request, Scope::Admin).await
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
    let users = json!({
        "registered": counts.show("users.registered", users.registered),
        "deleted": counts.show("users.deleted", users.deleted),
    });
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
    let shards = ends
        .iter()
        .map(|end| json!({ "shard": end.shard, "position": end.position }));
    Ok(HttpResponse::Ok().json(json!({
        "users": users,
        "purchases": purchases,
        "parked": counts.show("parked", parked.count),
        "oldest_parked_age_s": waiting_s,
        "outbox_waiting": counts.show("outbox_waiting", outbox),
        "events": ends.iter().map(|end| end.position).sum::<i64>(),
        "shards": shards.collect::<Vec<Value>>(),
        "providers": providers(&app).await?,
        "inexact": counts.inexact,
    })))
}

/// Counts as they are shown, and which of them are not exact.
#[derive(Default)]
struct Counts {
    inexact: BTreeMap<String, &'static str>,
}

impl Counts {
    fn show(&mut self, name: &str, count: Count) -> i64 {
        let (number, how) = match count {
            Count::Exactly(number) => return number,
            Count::AtLeast(number) => (number, "at_least"),
            Count::About(number) => (number, "about"),
        };
        self.inexact.insert(name.to_owned(), how);
        number
    }
}

async fn providers(app: &App) -> Result<Vec<Value>, Problem> {
    let last = app.reads.last_deliveries().await?;
    let shown = Providers::KNOWN.iter().map(|source| {
        let last = last.iter().find(|row| row.source == source.as_str());
        json!({
            "provider": source.as_str(),
            "configured": app.providers.configured().any(|one| one == *source),
            "last_delivery_at": last.map(|row| time(row.received_at)),
        })
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

fn delivery(row: &InboxRow) -> Value {
    json!({
        "source": row.source,
        "event_id": row.provider_event_id,
        "key": row.key,
        "status": row.outcome,
        "reason": row.reason,
        "waits_for": row.waits_for,
        "received_at": time(row.received_at),
        "attempts": row.attempts,
        "deliveries": row.deliveries,
        "next_attempt_at": row.next_attempt_at.map(time),
    })
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
fn purchase(row: &PurchaseRow) -> Value {
    let mut shown = account::purchase(row);
    shown["user_id"] = json!(row.user_id);
    shown
}
