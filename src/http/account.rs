//! How users, accounts, movements and purchases are shown. One shape for the user's own view and for the backend's.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{List, Page};
use super::problem::Problem;
use crate::app::App;
use crate::ledger::PurchaseId;
use crate::ledger::lots::Slice;
use crate::reads::{BalanceRow, EntryRow, LATEST, LotRow, OriginRow, PurchaseRow, UserRow};

/// A user with the account.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    /// The subject of the identity provider.
    user_id: String,
    /// Whether the identity provider said that the user signed up.
    registered: bool,
    /// The primary e-mail address.
    #[schema(required)]
    email: Option<String>,
    /// Given name.
    #[schema(required)]
    first_name: Option<String>,
    /// Family name.
    #[schema(required)]
    last_name: Option<String>,
    /// The plan.
    #[schema(required)]
    plan: Option<String>,
    /// Credits that are the user's, those set aside included.
    balance: i64,
    /// Credits set aside.
    held: i64,
    /// Credits that can be spent: `balance - held`.
    available: i64,
    /// Credits owed. More than 0 only while nothing is available.
    debt: i64,
}

/// A user with the account.
pub fn user(user_id: &str, row: UserRow) -> User {
    let account = row.balance;
    User {
        user_id: user_id.to_owned(),
        registered: row.registered,
        email: row.email,
        first_name: row.first_name,
        last_name: row.last_name,
        plan: row.plan,
        balance: account.balance,
        held: account.held,
        available: account.balance - account.held,
        debt: account.debt,
    }
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balance {
    /// Whose.
    user_id: String,
    /// Credits that are the user's, those set aside included.
    balance: i64,
    /// Credits set aside.
    held: i64,
    /// Credits that can be spent: `balance - held`.
    available: i64,
    /// Credits owed. More than 0 only while nothing is available.
    debt: i64,
    /// The place in the user's history of the event that changed it last; 0: none did.
    version: i64,
}

/// An account at a time that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceAt {
    #[serde(flatten)]
    balance: Balance,
    /// The time.
    #[schema(format = DateTime)]
    at: String,
}

/// An account.
pub fn balance(user_id: &str, row: &BalanceRow) -> Balance {
    Balance {
        user_id: user_id.to_owned(),
        balance: row.balance,
        held: row.held,
        available: row.balance - row.held,
        debt: row.debt,
        version: row.version,
    }
}

/// An account at another time.
pub fn balance_at(user_id: &str, row: &BalanceRow, at: DateTime<Utc>) -> BalanceAt {
    BalanceAt {
        balance: balance(user_id, row),
        at: time(at),
    }
}

/// A movement of credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// Its place in the log: `<shard>-<position>`.
    entry_id: String,
    /// The type of the event, for example `CreditsPurchased`. There may be more types one day.
    r#type: String,
    /// How the balance changed.
    delta: i64,
    /// The balance after it.
    balance: i64,
    /// The purchase that it is about.
    #[schema(required)]
    purchase_id: Option<String>,
    /// Who caused it.
    #[schema(schema_with = super::openapi::source)]
    source: String,
    /// The provider's event behind it.
    #[schema(required)]
    provider_event_id: Option<String>,
    /// When it was recorded.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// The entry that it reverses, or the hold that it ends.
    #[schema(required)]
    about: Option<String>,
    /// What the caller said of it.
    #[schema(required)]
    reason: Option<String>,
    /// The caller's own id of it.
    #[schema(required)]
    reference: Option<String>,
    /// The lots that it took from or gave back to; none for one that came whole, which is a lot itself.
    slices: Vec<EntrySlice>,
}

/// Credits of one lot that a movement moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntrySlice {
    /// The lot.
    lot_id: i64,
    /// How many.
    credits: i64,
    /// What they are.
    #[schema(schema_with = super::openapi::lot_kind)]
    kind: &'static str,
    /// When they end; null: never.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    /// The purchase that they are of.
    #[schema(required)]
    purchase_id: Option<String>,
    /// The entry that the lot came with; null only while the list of entries is being made again.
    #[schema(required)]
    entry_id: Option<String>,
    /// The provider's event behind that entry.
    #[schema(required)]
    provider_event_id: Option<String>,
}

/// A page of a user's movements.
pub async fn entries(app: &App, user_id: &str, page: &Page<i64>) -> Result<List<Entry>, Problem> {
    let before = page.cursor.unwrap_or(i64::MAX);
    let rows = app.reads.entries(user_id, before, page.fetch()).await?;
    let slices: Vec<Vec<Slice>> = rows.iter().map(slices).collect();
    let lots: BTreeSet<i64> = slices.iter().flatten().map(|slice| slice.lot).collect();
    let lots: Vec<i64> = lots.into_iter().collect();
    let origins = app.reads.origins(user_id, &lots).await?;
    let rows = rows.into_iter().zip(slices).collect();
    Ok(page.answer(
        rows,
        |(row, slices)| entry(row, slices, &origins),
        |(row, _)| row.sequence,
    ))
}

fn entry(row: EntryRow, slices: Vec<Slice>, origins: &HashMap<i64, OriginRow>) -> Entry {
    let shown = |slice: Slice| {
        let origin = origins.get(&slice.lot);
        EntrySlice {
            lot_id: slice.lot,
            credits: slice.credits.get(),
            kind: slice.terms.kind.as_str(),
            expires_at: slice.terms.expires_at_s.and_then(seconds),
            purchase_id: slice.terms.purchase_id.map(String::from),
            entry_id: origin.map(place),
            provider_event_id: origin.and_then(|origin| origin.provider_event_id.clone()),
        }
    };
    Entry {
        entry_id: format!("{}-{}", row.shard, row.position),
        r#type: row.event_type,
        delta: row.delta,
        balance: row.balance,
        purchase_id: row.purchase_id,
        source: row.source,
        provider_event_id: row.provider_event_id,
        recorded_at: time(row.recorded_at),
        about: row.about,
        reason: row.reason,
        reference: row.reference,
        slices: slices.into_iter().map(shown).collect(),
    }
}

fn slices(row: &EntryRow) -> Vec<Slice> {
    let json = row.slices.as_deref();
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

/// Where the entry is that a lot came with.
fn place(origin: &OriginRow) -> String {
    format!("{}-{}", origin.shard, origin.position)
}

/// Credits that came together and end together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lot)]
pub struct ShownLot {
    /// The place in the user's history of the event that it came with.
    lot_id: i64,
    /// What its credits are.
    #[schema(schema_with = super::openapi::lot_kind)]
    kind: &'static str,
    /// How many it had at first.
    amount: i64,
    /// How many are left, without those that holds reserve.
    remaining: i64,
    /// How many of them are held back because their payment is contested.
    contested: i64,
    /// When it ends; null: never.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    /// Its place in the order of burning, lower first.
    priority: u8,
    /// The purchase that it is of.
    #[schema(required)]
    purchase_id: Option<String>,
    /// The entry that it came with; null only while the list of entries is being made again.
    #[schema(required)]
    entry_id: Option<String>,
    /// Who caused it; null as `entry_id`.
    #[schema(required)]
    source: Option<String>,
    /// The provider's event behind it.
    #[schema(required)]
    provider_event_id: Option<String>,
    /// When it was recorded; null as `entry_id`.
    #[schema(required, format = DateTime)]
    recorded_at: Option<String>,
}

/// A page of a user's lots.
pub async fn lots(app: &App, user_id: &str, page: &Page<i64>) -> Result<List<ShownLot>, Problem> {
    let before = page.cursor.unwrap_or(i64::MAX);
    let rows = app
        .reads
        .lots(user_id, before, page.fetch(), app.checked_now().await?)
        .await?;
    Ok(page.answer(rows, lot, |row| row.lot.id))
}

fn lot(row: LotRow) -> ShownLot {
    let LotRow { lot, origin } = row;
    ShownLot {
        lot_id: lot.id,
        kind: lot.terms.kind.as_str(),
        amount: lot.terms.amount.get(),
        remaining: lot.remaining.get(),
        contested: lot.contested.get(),
        expires_at: lot.terms.expires_at_s.and_then(seconds),
        priority: lot.terms.priority,
        purchase_id: lot.terms.purchase_id.map(String::from),
        entry_id: origin.as_ref().map(place),
        recorded_at: origin.as_ref().map(|origin| time(origin.recorded_at)),
        source: origin.as_ref().map(|origin| origin.source.clone()),
        provider_event_id: origin.and_then(|origin| origin.provider_event_id),
    }
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
) -> Result<List<Purchase>, Problem> {
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
#[derive(Debug, Serialize, ToSchema)]
pub struct Purchase {
    /// `<provider>:<payment id>`.
    purchase_id: String,
    /// What has become of the payment.
    #[schema(schema_with = super::openapi::purchase_status)]
    status: String,
    /// What was charged, in minor units of the currency.
    amount_minor: i64,
    /// The currency charged, ISO 4217.
    currency: String,
    /// The provider's order.
    #[schema(required)]
    order_id: Option<String>,
    /// What was bought; `null`: it fits nothing in the catalog.
    #[schema(required)]
    sku: Option<String>,
    /// The credits that it gives.
    credits: i64,
    /// When it was paid.
    #[schema(format = DateTime)]
    paid_at: String,
    /// When it was recorded.
    #[schema(format = DateTime)]
    recorded_at: String,
}

/// A purchase, as its user sees it.
pub fn purchase(row: PurchaseRow) -> Purchase {
    Purchase {
        purchase_id: row.purchase_id,
        status: row.status,
        amount_minor: row.amount_minor,
        currency: row.currency,
        order_id: row.order_id,
        sku: row.sku,
        credits: row.credits,
        paid_at: time(row.paid_at),
        recorded_at: time(row.recorded_at),
    }
}

/// How times are shown: RFC 3339, UTC, microseconds.
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
