//! Single events, by what entries and holds are called by.
//!
//! What was recorded never changes, so what is read here is true for ever, whenever it is read.

use super::{ReadError, Reads};
use crate::ledger::{Place, UserEvent, UserId};

impl Reads {
    /// The event of a user's stream at a place in the log, and whose it is.
    ///
    /// # Errors
    /// [`ReadError`] when the database does not answer, or has there what this version can not read.
    pub async fn user_event(&self, at: Place) -> Result<Option<(UserId, UserEvent)>, ReadError> {
        let sql = include_str!("sql/select_user_event.sql");
        let rows = self.query(sql, &[&at.shard, &at.position]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let user_id = UserId::parse(row.try_get::<_, String>("aggregate_id")?);
        let event = serde_json::from_str(row.try_get("payload")?);
        match (user_id, event) {
            (Ok(user_id), Ok(event)) => Ok(Some((user_id, event))),
            _ => Err(ReadError::Unreadable),
        }
    }
}
