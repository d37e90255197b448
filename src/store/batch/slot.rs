//! A stream of a batch: where it is, and its state after what was decided so far.

use super::unwritable;
use crate::ledger::StreamId;
use crate::store::append::StreamRow;
use crate::store::home::Shard;
use crate::store::load::Stored;
use crate::store::statements::StatementError;

pub(super) struct Slot<S> {
    pub(super) shard: Shard,
    pub(super) version: i64,
    pub(super) state: S,
    /// Whether it had no events before this batch.
    new: bool,
    pub(super) changed: bool,
}

impl<S: serde::Serialize + serde::de::DeserializeOwned + Default> Slot<S> {
    pub(super) fn read(shard: Shard, stored: Option<Stored>) -> Result<Self, StatementError> {
        let (version, state) = match stored {
            None => (0, S::default()),
            Some(stored) => (
                stored.version,
                serde_json::from_str(&stored.state).map_err(unwritable)?,
            ),
        };
        Ok(Self {
            shard,
            version,
            state,
            new: version == 0,
            changed: false,
        })
    }

    pub(super) fn next(&mut self) -> (Shard, i64) {
        self.version += 1;
        self.changed = true;
        (self.shard, self.version)
    }

    pub(super) fn write(
        self,
        stream: StreamId,
        due_at_s: Option<i64>,
        rows: &mut Vec<StreamRow>,
    ) -> Result<(), StatementError> {
        if self.changed {
            rows.push(StreamRow {
                stream,
                shard: self.shard,
                version: self.version,
                new: self.new,
                due_at_s,
                state: serde_json::to_string(&self.state).map_err(unwritable)?,
            });
        }
        Ok(())
    }
}
