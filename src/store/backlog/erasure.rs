//! What is stored of whoever is to be erased, beside the rows that go with the events: where it is, and blanking it.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, pin_mut};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::{Backlog, column, corrupt, source, unavailable};
use crate::ledger::{Source, StreamId, UserId};
use crate::postgres::{Lent, in_time};
use crate::store::StoreError;

/// The most addresses of one user that are looked for. Every change of a profile may bring one.
const ADDRESSES_MAX: i64 = 1000;

/// A row of the outbox that calls for an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its place in the order of writing.
    pub id: i64,
    /// Of whom, or who paid for what.
    pub of: StreamId,
}

/// What the inbox knows a delivery by.
pub type InboxKey = (Source, String);

/// What a page of a stream's events tells of deliveries.
#[derive(Debug, Default)]
pub struct Told {
    /// The deliveries that the events came of.
    pub deliveries: Vec<InboxKey>,
    /// The sequence of the last event of the page; none: there was none.
    pub last: Option<i64>,
}

/// A place in the inbox, in the order of a walk: key and source; the default is before all.
pub type InboxPlace = (String, String);

/// What was seen of the inbox in one step of a walk.
#[derive(Debug, Default)]
pub struct Walked {
    /// The deliveries whose bodies were to be found.
    pub found: Vec<InboxKey>,
    /// The place of the last one; none: there was none.
    pub last: Option<InboxPlace>,
}

impl Backlog {
    /// Rows of the outbox after an id that call for an erasure, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or holds what can not be read. So for all of these.
    pub async fn erasures(&self, after: i64, limit: i64) -> Result<Vec<Erasure>, StoreError> {
        let sql = include_str!("../sql/select_erasures.sql");
        let rows = self.query(sql, &[&after, &limit]).await?;
        rows.iter()
            .map(|row| {
                let (of_type, id) = (column(row, "aggregate_type")?, column(row, "aggregate_id")?);
                Ok(Erasure {
                    id: column(row, "id")?,
                    of: StreamId::parse(of_type, id).map_err(|_| corrupt())?,
                })
            })
            .collect()
    }

    /// The e-mail addresses that are a user's alone: nobody else has or had them who is not to be erased, too.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn own_addresses(&self, user_id: &UserId) -> Result<Vec<String>, StoreError> {
        let sql = include_str!("../sql/select_own_addresses.sql");
        let rows = self
            .query(sql, &[&user_id.as_str(), &ADDRESSES_MAX])
            .await?;
        rows.iter().map(|row| column(row, "email")).collect()
    }

    /// The providers' ids of a user's subscriptions.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn subscriptions(&self, user_id: &UserId) -> Result<Vec<String>, StoreError> {
        let sql = include_str!("../sql/select_subscriptions.sql");
        let rows = self.query(sql, &[&user_id.as_str()]).await?;
        rows.iter()
            .map(|row| column(row, "subscription_id"))
            .collect()
    }

    /// The deliveries behind a page of a stream's events, those after a sequence.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn told(&self, of: &StreamId, after: i64, limit: i64) -> Result<Told, StoreError> {
        let sql = include_str!("../sql/select_told.sql");
        let (of_type, id) = (of.aggregate_type(), of.aggregate_id());
        let rows = self.query(sql, &[&of_type, &id, &after, &limit]).await?;
        let mut told = Told::default();
        for row in &rows {
            told.last = Some(column(row, "sequence")?);
            if let Some(key) = column(row, "key")? {
                told.deliveries.push((source(row)?, key));
            }
        }
        Ok(told)
    }

    /// One step through the inbox, in the order of keys: the deliveries after key and source whose bodies are told by
    /// `is_sought`. Bodies are read one at a time, so their number may be large.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn walk(
        &self,
        after: (&str, &str),
        limit: i64,
        is_sought: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Walked, StoreError> {
        for last in [false, true] {
            let session = Lent::of(&self.pool)
                .await
                .map_err(|error| unavailable(&error))?;
            let run = async {
                let sql = include_str!("../sql/walk_inbox.sql");
                let statement = session.prepare_cached(sql).await?;
                let params: [&(dyn ToSql + Sync); 3] = [&after.0, &after.1, &limit];
                let rows = session.query_raw(&statement, params).await?;
                pin_mut!(rows);
                let mut walked = Walked::default();
                while let Some(row) = rows.next().await {
                    see(&mut walked, &row?, is_sought)?;
                }
                Ok(walked)
            };
            let result = in_time(&self.pool, run)
                .await
                .map_err(|late| unavailable(&late))?;
            session.give_back();
            match result {
                Err(Stopped::Query(error)) if error.is_closed() && !last => {}
                Err(Stopped::Query(error)) => return Err(unavailable(&error)),
                Err(Stopped::Unreadable(error)) => return Err(error),
                Ok(walked) => return Ok(walked),
            }
        }
        Err(StoreError::Unavailable("no connection".to_owned()))
    }

    /// Blanks bodies. That of a delivery that waits is kept until it waits no more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn blank(
        &self,
        deliveries: &[InboxKey],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let (sources, keys): (Vec<&str>, Vec<&str>) = deliveries
            .iter()
            .map(|(source, key)| (source.as_str(), key.as_str()))
            .unzip();
        let sql = include_str!("../sql/blank_inbox.sql");
        self.query(sql, &[&sources, &keys, &now]).await.map(drop)
    }
}

/// Why a step of a walk ended early.
enum Stopped {
    Query(Error),
    Unreadable(StoreError),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Query(error)
    }
}

fn see(
    walked: &mut Walked,
    row: &Row,
    is_sought: &(dyn Fn(&[u8]) -> bool + Sync),
) -> Result<(), Stopped> {
    let read = || -> Result<_, StoreError> {
        let key: &str = column(row, "key")?;
        let body: Option<&[u8]> = column(row, "body")?;
        Ok((source(row)?, key, body))
    };
    let (source, key, body) = read().map_err(Stopped::Unreadable)?;
    walked.last = Some((key.to_owned(), source.as_str().to_owned()));
    if body.is_some_and(is_sought) {
        walked.found.push((source, key.to_owned()));
    }
    Ok(())
}
