//! How users, accounts, movements and purchases are shown. One shape for the user's own view and for the backend's.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::page::Page;
use super::problem::Problem;
use crate::app::App;
use crate::ledger::PurchaseId;
use crate::ledger::lots::Slice;
use crate::reads::{BalanceRow, EntryRow, LATEST, LotRow, PurchaseRow, UserRow};

/// A user with the account.
pub fn user(user_id: &str, row: &UserRow) -> Value {
    let account = row.balance;
    json!({
        "user_id": user_id,
        "registered": row.registered,
        "email": row.email,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "plan": row.plan,
        "balance": account.balance,
        "held": account.held,
        "available": account.balance - account.held,
        "debt": account.debt,
    })
}

/// An account. `version` is the place in the user's stream of the event that changed it last.
pub fn balance(user_id: &str, row: &BalanceRow) -> Value {
    json!({
        "user_id": user_id,
        "balance": row.balance,
        "held": row.held,
        "available": row.balance - row.held,
        "debt": row.debt,
        "version": row.version,
    })
}

/// A page of a user's movements. An entry's id is its place in the log: `<shard>-<position>`.
pub async fn entries(app: &App, user_id: &str, page: &Page<i64>) -> Result<Value, Problem> {
    let before = page.cursor.unwrap_or(i64::MAX);
    let rows = app.reads.entries(user_id, before, page.fetch()).await?;
    Ok(page.answer(rows, entry, |row| row.sequence))
}

fn entry(row: &EntryRow) -> Value {
    json!({
        "entry_id": format!("{}-{}", row.shard, row.position),
        "type": row.event_type,
        "delta": row.delta,
        "balance": row.balance,
        "purchase_id": row.purchase_id,
        "source": row.source,
        "provider_event_id": row.provider_event_id,
        "recorded_at": time(row.recorded_at),
        "about": row.about,
        "reason": row.reason,
        "reference": row.reference,
        "slices": slices(row),
    })
}

/// The lots that a movement took from or gave back to; none for one that came whole, which is a lot itself.
fn slices(row: &EntryRow) -> Vec<Value> {
    let slices: Vec<Slice> = row
        .slices
        .as_deref()
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    let shown = |slice: Slice| {
        json!({
            "lot_id": slice.lot,
            "credits": slice.credits.get(),
            "kind": slice.terms.kind.as_str(),
            "expires_at": slice.terms.expires_at_s.and_then(seconds),
            "purchase_id": slice.terms.purchase_id.as_ref().map(PurchaseId::as_str),
        })
    };
    slices.into_iter().map(shown).collect()
}

/// A page of a user's lots. A lot's id is the place in the user's stream of the event that it came with.
pub async fn lots(app: &App, user_id: &str, page: &Page<i64>) -> Result<Value, Problem> {
    let before = page.cursor.unwrap_or(i64::MAX);
    let rows = app
        .reads
        .lots(user_id, before, page.fetch(), app.now())
        .await?;
    Ok(page.answer(rows, lot, |row| row.lot.id))
}

fn lot(row: &LotRow) -> Value {
    let lot = &row.lot;
    let origin = row.origin.as_ref();
    json!({
        "lot_id": lot.id,
        "kind": lot.terms.kind.as_str(),
        "amount": lot.terms.amount.get(),
        "remaining": lot.remaining.get(),
        "contested": lot.contested.get(),
        "expires_at": lot.terms.expires_at_s.and_then(seconds),
        "priority": lot.terms.priority,
        "purchase_id": lot.terms.purchase_id.as_ref().map(PurchaseId::as_str),
        "entry_id": origin.map(|origin| format!("{}-{}", origin.shard, origin.position)),
        "source": origin.map(|origin| &origin.source),
        "provider_event_id": origin.and_then(|origin| origin.provider_event_id.as_deref()),
        "recorded_at": origin.map(|origin| time(origin.recorded_at)),
    })
}

/// A time in seconds since 1970, as times are shown.
fn seconds(at_s: i64) -> Option<String> {
    DateTime::from_timestamp(at_s, 0).map(time)
}

/// Where a page of purchases ends: microseconds since 1970, and the purchase id.
pub type PurchaseCursor = (i64, String);

/// A page of a user's purchases.
pub async fn purchases(
    app: &App,
    user_id: &str,
    page: &Page<PurchaseCursor>,
) -> Result<Value, Problem> {
    let before = before(page)?;
    let rows = app.reads.purchases(user_id, before, page.fetch()).await?;
    Ok(page.answer(rows, purchase, purchase_cursor))
}

/// The time and the purchase id that a page begins behind.
///
/// # Errors
/// `invalid_request` for a cursor that was made up: it must not get as far as the database, which refuses such times and
/// texts as a fault.
pub fn before(page: &Page<PurchaseCursor>) -> Result<(DateTime<Utc>, &str), Problem> {
    match &page.cursor {
        None => Ok((LATEST, "")),
        Some((micros, id)) => time_of_cursor(*micros)
            .filter(|_| PurchaseId::parse(id.as_str()).is_ok())
            .map(|time| (time, id.as_str()))
            .ok_or_else(not_given_out),
    }
}

/// The place of a purchase in a list of purchases.
pub fn purchase_cursor(row: &PurchaseRow) -> PurchaseCursor {
    (row.recorded_at.timestamp_micros(), row.purchase_id.clone())
}

/// The time in a cursor, microseconds since 1970; `None`: no list has such a time.
pub fn time_of_cursor(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
        .filter(|time| (DateTime::UNIX_EPOCH..=LATEST).contains(time))
}

/// A cursor can not be one of ours.
pub fn not_given_out() -> Problem {
    super::body::invalid("cursor", "is not one that was given out")
}

/// A purchase, as its user sees it.
pub fn purchase(row: &PurchaseRow) -> Value {
    json!({
        "purchase_id": row.purchase_id,
        "status": row.status,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "order_id": row.order_id,
        "sku": row.sku,
        "credits": row.credits,
        "paid_at": time(row.paid_at),
        "recorded_at": time(row.recorded_at),
    })
}

/// How times are shown: RFC 3339, UTC, microseconds.
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
