//! What is left to do after commits: rows of the outbox, and deliveries that wait.
//!
//! Single statements, each its own transaction, on the pool of the lookups. Several instances may take the same work at
//! once: doing it twice does nothing twice, so nothing is locked while it is done. Must never decide anything: what
//! follows from the work goes through the lanes.

pub mod erasure;

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::fate::PARKED;
use super::unit::{Delivered, StoreError};
use crate::ledger::{PurchaseId, Source, StreamId, SubscriptionKey};
use crate::postgres::{Lent, error_chain, in_time};

/// The most addresses that are looked at of one purchase's payers. One payment has one, or two where it has two ids.
const ADDRESSES_MAX: i64 = 10;

/// Work that commits left behind.
#[derive(Clone)]
pub struct Backlog {
    pool: Pool,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its place in the order of writing.
    pub id: i64,
    /// What is to be looked at.
    pub call: Call,
}

/// What a row of the outbox calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The address beside this event may now match a purchase with a user.
    Match {
        /// The stream.
        stream: StreamId,
        /// The event's place in it.
        sequence: i64,
    },
    /// The user of this subscription may be known, or became so.
    Subscription(SubscriptionKey),
    /// Something is to be erased ([`erasure::Erasure`]).
    Erasure,
    /// Left by a newer release, for one.
    Other,
}

/// A parked delivery whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub source: Source,
    /// What the inbox knows it by.
    pub key: String,
    /// How often it was tried.
    pub attempts: i32,
}

/// A stored delivery.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What came.
    pub delivered: Delivered,
    /// Whether it waits.
    pub parked: bool,
    /// Why it was not recorded.
    pub reason: Option<String>,
    /// The subscription whose payer it waits for.
    pub waits_for: Option<SubscriptionKey>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is due again.
    pub due_at: Option<DateTime<Utc>>,
}

impl Backlog {
    /// Works through this pool, which must reach the database that takes the writes: work may only be looked for where
    /// the commit that left it can be seen.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Rows of the outbox after an id, oldest first; of purchases that are to be matched, those since before a time.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or holds what can not be read. So for all of these.
    pub async fn left(
        &self,
        after: i64,
        limit: i64,
        matched_before: DateTime<Utc>,
    ) -> Result<Vec<Left>, StoreError> {
        let sql = include_str!("sql/select_outbox.sql");
        let rows = self.query(sql, &[&after, &limit, &matched_before]).await?;
        rows.iter().map(left).collect()
    }

    /// Forgets rows of the outbox that were looked at.
    ///
    /// # Errors
    /// [`StoreError`]: then they are looked at again.
    pub async fn done(&self, ids: &[i64]) -> Result<(), StoreError> {
        self.query(include_str!("sql/delete_outbox.sql"), &[&ids])
            .await
            .map(drop)
    }

    /// Forgets newly proven addresses, rows of the outbox, that no purchase without a user was paid with. Gives the others.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget_unmatched(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        let sql = include_str!("sql/delete_unmatched.sql");
        let rows = self.query(sql, &[&ids]).await?;
        rows.iter().map(|row| column(row, "id")).collect()
    }

    /// The e-mail addresses beside the events of a stream up to this one, but for those that were erased: what a user told,
    /// and what it may have given up since.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn addresses(
        &self,
        stream: &StreamId,
        sequence: i64,
    ) -> Result<Vec<String>, StoreError> {
        let (of_type, id) = (stream.aggregate_type(), stream.aggregate_id());
        let sql = include_str!("sql/select_address.sql");
        let rows = self.query(sql, &[&of_type, &id, &sequence]).await?;
        rows.iter().map(|row| column(row, "email")).collect()
    }

    /// The e-mail addresses of whoever paid a purchase.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn payer_addresses(&self, id: &PurchaseId) -> Result<Vec<String>, StoreError> {
        let sql = include_str!("sql/select_payer_addresses.sql");
        let rows = self.query(sql, &[&id.as_str(), &ADDRESSES_MAX]).await?;
        rows.iter().map(|row| column(row, "email")).collect()
    }

    /// Makes due what waits for who pays for this.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn wake(
        &self,
        subscription: &SubscriptionKey,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let sql = include_str!("sql/update_waiting.sql");
        self.query(sql, &[&subscription.as_str(), &now])
            .await
            .map(drop)
    }

    /// The deliveries that are due by then, the longest due first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn due(&self, by: DateTime<Utc>, limit: i64) -> Result<Vec<Due>, StoreError> {
        let rows = self
            .query(include_str!("sql/select_due.sql"), &[&by, &limit])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Due {
                    source: source(row)?,
                    key: column(row, "key")?,
                    attempts: column(row, "attempts")?,
                })
            })
            .collect()
    }

    /// Users whose credits may have ended or whose holds may have timed out by a time, seconds since 1970: those behind a
    /// time and a user, the longest due first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn due_users(
        &self,
        by_s: i64,
        after: (i64, &str),
        limit: i64,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        let sql = include_str!("sql/select_due_users.sql");
        let rows = self
            .query(sql, &[&by_s, &after.0, &after.1, &limit])
            .await?;
        rows.iter()
            .map(|row| Ok((column(row, "due_at_s")?, column(row, "user_id")?)))
            .collect()
    }

    /// The key of the delivery that an operator names by its event id or its key. Of several with one id the one that
    /// waits.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn find(&self, source: Source, event_id: &str) -> Result<Option<String>, StoreError> {
        let sql = include_str!("sql/find_delivery.sql");
        let rows = self.query(sql, &[&source.as_str(), &event_id]).await?;
        rows.first().map(|row| column(row, "key")).transpose()
    }

    /// A stored delivery by its key.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delivery(&self, source: Source, key: &str) -> Result<Option<Stored>, StoreError> {
        let sql = include_str!("sql/select_delivery.sql");
        let rows = self.query(sql, &[&source.as_str(), &key]).await?;
        rows.first().map(stored).transpose()
    }

    /// A connection may have died while it was idle: then one more is tried. Every statement here may be repeated.
    async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        for last in [false, true] {
            let session = Lent::of(&self.pool)
                .await
                .map_err(|error| unavailable(&error))?;
            let run = async {
                let statement = session.prepare_cached(sql).await?;
                session.query(&statement, params).await
            };
            let result = in_time(&self.pool, run)
                .await
                .map_err(|late| unavailable(&late))?;
            session.give_back();
            match result {
                Err(error) if error.is_closed() && !last => {}
                result => return result.map_err(|error| unavailable(&error)),
            }
        }
        Err(StoreError::Unavailable("no connection".to_owned()))
    }
}

fn left(row: &Row) -> Result<Left, StoreError> {
    let call = match column::<&str>(row, "kind")? {
        "match" => Call::Match {
            stream: StreamId::parse(column(row, "aggregate_type")?, column(row, "aggregate_id")?)
                .map_err(|_| corrupt())?,
            sequence: column(row, "sequence")?,
        },
        "erasure" => Call::Erasure,
        "subscription" => {
            let subject: String = column(row, "subject")?;
            Call::Subscription(SubscriptionKey::parse(subject).ok_or_else(corrupt)?)
        }
        _ => Call::Other,
    };
    let id = column(row, "id")?;
    Ok(Left { id, call })
}

fn stored(row: &Row) -> Result<Stored, StoreError> {
    let body_sha256: &[u8] = column(row, "body_sha256")?;
    Ok(Stored {
        delivered: Delivered {
            source: source(row)?,
            key: column(row, "key")?,
            provider_event_id: column(row, "provider_event_id")?,
            body: column(row, "body")?,
            body_sha256: body_sha256.try_into().map_err(|_| corrupt())?,
            headers_json: column(row, "headers")?,
            secret: column(row, "secret")?,
            received_at: column(row, "received_at")?,
        },
        parked: column::<&str>(row, "outcome")? == PARKED,
        reason: column(row, "reason")?,
        waits_for: column::<Option<String>>(row, "waits_for")?.and_then(SubscriptionKey::parse),
        attempts: column(row, "attempts")?,
        due_at: column(row, "next_attempt_at")?,
    })
}

fn source(row: &Row) -> Result<Source, StoreError> {
    let name: &str = column(row, "source")?;
    let source = Source::ALL.into_iter().find(|one| one.as_str() == name);
    source.ok_or_else(corrupt)
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> Result<T, StoreError> {
    row.try_get(name).map_err(|_| corrupt())
}

/// Nothing of it may be repeated in a log.
fn corrupt() -> StoreError {
    StoreError::Failed("a stored delivery or a row of the outbox can not be read".to_owned())
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> StoreError {
    StoreError::Unavailable(error_chain(error))
}
