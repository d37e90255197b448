//! The log itself, as auditors read it.

use credit_ledger_verify::record::EventRecord;

use super::{ReadError, Reads};
use crate::audit::rows;

impl Reads {
    /// Whether there is such a shard.
    pub async fn has_shard(&self, shard: i16) -> Result<bool, ReadError> {
        let ends = self.ends().await?;
        Ok(ends.iter().any(|end| end.shard == shard))
    }

    /// Events of a shard behind a position, by position.
    pub async fn events(
        &self,
        shard: i16,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EventRecord>, ReadError> {
        let rows = self
            .query(rows::PAGE_EVENTS, &[&shard, &after, &limit])
            .await?;
        rows.iter()
            .map(|row| rows::event(row).map_err(|_| ReadError::Unreadable))
            .collect()
    }

    /// Events of a stream behind a place in it, the oldest first.
    pub async fn stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EventRecord>, ReadError> {
        let asked: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&aggregate_type, &aggregate_id, &after, &limit];
        let rows = self.query(rows::PAGE_STREAM, &asked).await?;
        rows.iter()
            .map(|row| rows::event(row).map_err(|_| ReadError::Unreadable))
            .collect()
    }
}
