//! What operators look at: the inbox, purchases that wait for somebody, and how much there is of everything.
//!
//! The cost of every read is bounded: lists are walks along an index, counts end at [`COUNTED_MAX`], and what grows with
//! the business is estimated from a sample once its table is large. Must never read a body.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::{PurchaseRow, ReadError, Reads, purchase};
use crate::provider::Providers;
use crate::store::PARKED;

/// What may have become of a delivery, as the constraint `inbox_outcome` has it.
pub const OUTCOMES: [&str; 4] = [PARKED, "recorded", "ignored", "duplicate"];

/// Later than anything recorded: the end of the year 9999. Where a list begins that is read newest first.
pub const LATEST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(time) => time,
    None => DateTime::<Utc>::MAX_UTC,
};

/// Where counting ends.
const COUNTED_MAX: i64 = 10_000;
/// Up to how many pages (of 8 kB) a table is counted whole; of a larger one, about so many are.
const SAMPLE_PAGES: f64 = 1000.0;

/// A delivery, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    /// Who sent it.
    pub source: String,
    /// What the inbox knows it by.
    pub key: String,
    /// The provider's name for the event.
    pub provider_event_id: String,
    /// What became of it.
    pub outcome: String,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// What it waits for, where that has a name.
    pub waits_for: Option<String>,
    /// When it came first.
    pub received_at: DateTime<Utc>,
    /// How often it was tried to apply it.
    pub attempts: i32,
    /// How often it was delivered.
    pub deliveries: i32,
    /// When it is tried again by itself.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// How many of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Exactly(i64),
    /// At least so many: then counting ended.
    AtLeast(i64),
    /// About so many, by a sample.
    About(i64),
}

impl Count {
    const fn up_to_max(counted: i64) -> Self {
        if counted > COUNTED_MAX {
            Self::AtLeast(COUNTED_MAX)
        } else {
            Self::Exactly(counted)
        }
    }

    const fn sampled(count: i64, estimated: bool) -> Self {
        if estimated {
            Self::About(count)
        } else {
            Self::Exactly(count)
        }
    }
}

/// How many users there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserCounts {
    /// Signed up.
    pub registered: Count,
    /// Gone.
    pub deleted: Count,
}

/// How many purchases have a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCount {
    /// Which status.
    pub status: String,
    /// How many have it.
    pub purchases: Count,
}

/// Purchases that wait for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unresolved {
    /// Nobody's.
    pub unclaimed: Count,
    /// Fit nothing in the catalog.
    pub unpriced: Count,
}

/// Deliveries that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parked {
    /// How many.
    pub count: Count,
    /// When the oldest came.
    pub oldest_received_at: Option<DateTime<Utc>>,
}

/// When a provider last delivered something that was new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDelivery {
    /// Who.
    pub source: String,
    /// When.
    pub received_at: DateTime<Utc>,
}

/// The end of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRow {
    /// Which shard.
    pub shard: i16,
    /// The position of its last event, which is how many it has.
    pub position: i64,
}

impl Reads {
    /// Deliveries with an outcome before a time, a key and a source, newest first.
    pub async fn inbox(
        &self,
        outcome: &str,
        before: (DateTime<Utc>, &str, &str),
        limit: i64,
    ) -> Result<Vec<InboxRow>, ReadError> {
        let sql = include_str!("sql/page_inbox.sql");
        let (received_at, key, source) = before;
        let rows = self
            .query(
                sql,
                &[&sources(), &outcome, &received_at, &key, &source, &limit],
            )
            .await?;
        rows.iter().map(delivery).collect()
    }

    /// One delivery by its key.
    pub async fn delivery(&self, source: &str, key: &str) -> Result<Option<InboxRow>, ReadError> {
        let sql = include_str!("sql/select_inbox_row.sql");
        let rows = self.query(sql, &[&source, &key]).await?;
        rows.first().map(delivery).transpose()
    }

    /// Purchases that are nobody's, before a time and an id, newest first.
    pub async fn unclaimed(
        &self,
        before: (DateTime<Utc>, &str),
        limit: i64,
    ) -> Result<Vec<PurchaseRow>, ReadError> {
        let sql = include_str!("../../projections/purchases/page_unclaimed.sql");
        let rows = self.query(sql, &[&before.0, &before.1, &limit]).await?;
        rows.iter().map(purchase).collect()
    }

    /// Purchases that fit nothing in the catalog, before a time and an id, newest first.
    pub async fn unpriced(
        &self,
        before: (DateTime<Utc>, &str),
        limit: i64,
    ) -> Result<Vec<PurchaseRow>, ReadError> {
        let sql = include_str!("../../projections/purchases/page_unpriced.sql");
        let rows = self.query(sql, &[&before.0, &before.1, &limit]).await?;
        rows.iter().map(purchase).collect()
    }

    /// The ids of users who are there and never got the bonus of a sign-up: those after an id.
    pub async fn without_bonus(&self, after: &str, limit: i64) -> Result<Vec<String>, ReadError> {
        let sql = include_str!("../../projections/users/page_without_bonus.sql");
        let rows = self.query(sql, &[&after, &limit]).await?;
        rows.iter().map(|row| Ok(row.try_get("user_id")?)).collect()
    }

    /// The source and the inbox key of the deliveries that led to a purchase's events, oldest first.
    pub async fn deliveries_of(
        &self,
        purchase_id: &str,
        limit: i64,
    ) -> Result<Vec<(String, String)>, ReadError> {
        let sql = include_str!("sql/select_purchase_deliveries.sql");
        let rows = self.query(sql, &[&purchase_id, &limit]).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("source")?, row.try_get("key")?)))
            .collect()
    }

    /// How many users there are.
    pub async fn count_users(&self) -> Result<UserCounts, ReadError> {
        let sql = include_str!("../../projections/users/count.sql");
        let rows = self.query(sql, &[&SAMPLE_PAGES]).await?;
        let row = one(&rows)?;
        let estimated = row.try_get("estimated")?;
        Ok(UserCounts {
            registered: Count::sampled(row.try_get("registered")?, estimated),
            deleted: Count::sampled(row.try_get("deleted")?, estimated),
        })
    }

    /// How many purchases have each status.
    pub async fn count_purchases(&self) -> Result<Vec<StatusCount>, ReadError> {
        let sql = include_str!("../../projections/purchases/count_by_status.sql");
        let rows = self.query(sql, &[&SAMPLE_PAGES]).await?;
        rows.iter()
            .map(|row| {
                Ok(StatusCount {
                    status: row.try_get("status")?,
                    purchases: Count::sampled(row.try_get("purchases")?, row.try_get("estimated")?),
                })
            })
            .collect()
    }

    /// How many purchases wait for somebody.
    pub async fn count_unresolved(&self) -> Result<Unresolved, ReadError> {
        let sql = include_str!("../../projections/purchases/count_unresolved.sql");
        let rows = self.query(sql, &[&(COUNTED_MAX + 1)]).await?;
        let row = one(&rows)?;
        Ok(Unresolved {
            unclaimed: Count::up_to_max(row.try_get("unclaimed")?),
            unpriced: Count::up_to_max(row.try_get("unpriced")?),
        })
    }

    /// How many deliveries wait, and since when.
    pub async fn count_parked(&self) -> Result<Parked, ReadError> {
        let sql = include_str!("sql/count_parked.sql");
        let rows = self.query(sql, &[&sources(), &(COUNTED_MAX + 1)]).await?;
        let row = one(&rows)?;
        Ok(Parked {
            count: Count::up_to_max(row.try_get("parked")?),
            oldest_received_at: row.try_get("oldest_received_at")?,
        })
    }

    /// When each provider last delivered something that was new; a provider that never did is absent.
    pub async fn last_deliveries(&self) -> Result<Vec<LastDelivery>, ReadError> {
        let sql = include_str!("sql/select_last_deliveries.sql");
        let rows = self.query(sql, &[&sources(), &OUTCOMES.as_slice()]).await?;
        rows.iter()
            .map(|row| {
                Ok(LastDelivery {
                    source: row.try_get("source")?,
                    received_at: row.try_get("received_at")?,
                })
            })
            .collect()
    }

    /// How much is to be looked at after commits.
    pub async fn count_outbox(&self) -> Result<Count, ReadError> {
        let sql = include_str!("sql/count_outbox.sql");
        let rows = self.query(sql, &[&(COUNTED_MAX + 1)]).await?;
        Ok(Count::up_to_max(one(&rows)?.try_get("waiting")?))
    }

    /// The end of every shard.
    pub async fn ends(&self) -> Result<Vec<EndRow>, ReadError> {
        let rows = self.query(include_str!("sql/select_ends.sql"), &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(EndRow {
                    shard: row.try_get("shard")?,
                    position: row.try_get("position")?,
                })
            })
            .collect()
    }
}

fn sources() -> Vec<&'static str> {
    Providers::KNOWN
        .iter()
        .map(|source| source.as_str())
        .collect()
}

/// The row of a statement that always gives one.
fn one(rows: &[Row]) -> Result<&Row, ReadError> {
    rows.first().ok_or_else(super::missing_row)
}

fn delivery(row: &Row) -> Result<InboxRow, ReadError> {
    Ok(InboxRow {
        source: row.try_get("source")?,
        key: row.try_get("key")?,
        provider_event_id: row.try_get("provider_event_id")?,
        outcome: row.try_get("outcome")?,
        reason: row.try_get("reason")?,
        waits_for: row.try_get("waits_for")?,
        received_at: row.try_get("received_at")?,
        attempts: row.try_get("attempts")?,
        deliveries: row.try_get("deliveries")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
    })
}
