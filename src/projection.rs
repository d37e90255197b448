//! The read models: which there are, and how they follow the log.
//!
//! A read model is a folder in `projections/`: `table.sql`, `apply.sql` and its reads. `apply.sql` is one set-based
//! statement over a relation called `batch`, which only this module supplies: live it is the events being appended,
//! in the same transaction; in a rebuild it is a chunk of history. Same statement, other batch.
//!
//! No rule may ever read a read model. [`rebuild`] replaces one while the service runs.

pub mod rebuild;

use sha2::{Digest as _, Sha256};

/// The relation `batch`, live: of `$1`, the events being appended, those that concern a read model. They are rows of the
/// type `event_row` that a lane's session has; the model's bit is put in the place of `{bit}`.
const LIVE_BATCH: &str = "\
with batch as (
  select shard, position, aggregate_id, sequence, event_type, payload::jsonb as payload, recorded_at, source,
         provider_event_id, profile::jsonb as profile, delta, balance, held, debt, purchase_id
    from unnest($1::pg_temp.event_row[])
   where models & {bit} <> 0)
";

/// The relation `batch`, in a rebuild: a range of positions of one shard, exact because positions are dense.
///
/// `$1` shard, `$2` and `$3` first and last position, `$4` event types.
const HISTORY_BATCH: &str = "\
with batch as (
  select e.shard, e.position, e.aggregate_id, e.sequence, e.event_type, e.payload::jsonb as payload, e.recorded_at,
         e.source, e.provider_event_id, p.profile::jsonb as profile,
         (e.payload->>'delta')::bigint as delta, (e.payload->>'balance')::bigint as balance,
         coalesce((e.payload->>'held')::bigint, 0) as held, coalesce((e.payload->>'debt')::bigint, 0) as debt,
         e.payload->>'purchase_id' as purchase_id
    from events e
    left join personal p
      on p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id and p.sequence = e.sequence
   where e.shard = $1 and e.position between $2 and $3 and e.event_type = any($4::text[]))
";

/// A table that can always be made again from the log.
#[derive(Debug, Clone, Copy)]
pub struct ReadModel {
    /// Its name, its table's and its folder's.
    pub name: &'static str,
    /// Raised whenever its SQL changes: the next start makes it again, and an older release beside us does not make
    /// the older one again.
    pub version: i32,
    /// What makes the table.
    pub table_sql: &'static str,
    /// What a batch of events does to it.
    pub apply_sql: &'static str,
    /// What earlier releases noted as the digest of the same SQL of the same version, in their way of making digests.
    pub noted_as: &'static [&'static str],
}

macro_rules! read_model {
    ($name:literal, $version:literal, $noted_as:expr) => {
        ReadModel {
            name: $name,
            version: $version,
            noted_as: $noted_as,
            table_sql: include_str!(concat!("../projections/", $name, "/table.sql")),
            apply_sql: include_str!(concat!("../projections/", $name, "/apply.sql")),
        }
    };
}

/// Of the whole files, header and all, as digests were made before.
const BALANCE_3: &str = "f7186d2823391af7d411ac126e96ad7e43e14d45a6765326a810e70b4d7de22a";
const ENTRIES_3: &str = "79ed6e76d590c7d505df7d651fc8df85ff9b3af57848f69d2a531dce0dd559dc";

/// Every read model that is written in the transaction of the append.
pub const READ_MODELS: [ReadModel; 4] = [
    read_model!("balance", 3, &[BALANCE_3]),
    read_model!("purchases", 4, &[]),
    read_model!("users", 4, &[]),
    read_model!("entries", 3, &[ENTRIES_3]),
];

impl ReadModel {
    /// The read model of that name.
    pub fn find(name: &str) -> Option<Self> {
        READ_MODELS.into_iter().find(|model| model.name == name)
    }

    /// The event types that it follows, as its `apply.sql` says after `-- handles:`.
    pub fn handles(&self) -> Vec<&'static str> {
        header_list(self.apply_sql, "-- handles:")
    }

    /// The event types that it passes over, as its `apply.sql` says after `-- ignores:`.
    pub fn ignores(&self) -> Vec<&'static str> {
        header_list(self.apply_sql, "-- ignores:")
    }

    /// The statement that the append runs; its parameter is that of `LIVE_BATCH`.
    pub fn live_sql(&self) -> String {
        let batch = LIVE_BATCH.replace("{bit}", &self.bit().to_string());
        format!("{batch}{}", self.apply_sql)
    }

    /// What says, among the bits of an event's `models`, that the event concerns it.
    pub fn bit(&self) -> i32 {
        let number = READ_MODELS
            .iter()
            .take_while(|model| model.name != self.name);
        1 << number.count()
    }

    /// The statement that a rebuild runs; its parameters are those of `HISTORY_BATCH`.
    pub fn history_sql(&self) -> String {
        format!("{HISTORY_BATCH}{}", self.apply_sql)
    }

    /// Changes whenever the table or what feeds it does; not when only the comments at the head of a file do, which name
    /// every event that there is.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(below_header(self.table_sql));
        hash.update([0]);
        hash.update(below_header(self.apply_sql));
        hex::encode(hash.finalize())
    }

    /// Whether a table that was noted with this version and digest is of this SQL.
    pub fn is_of(&self, version: i32, digest: &str) -> bool {
        version == self.version && (digest == self.digest() || self.noted_as.contains(&digest))
    }
}

fn below_header(sql: &str) -> &str {
    let header = sql.split_inclusive('\n');
    let header = header.take_while(|line| line.starts_with("--"));
    sql.get(header.map(str::len).sum()..).unwrap_or_default()
}

fn header_list(sql: &'static str, header: &str) -> Vec<&'static str> {
    sql.lines()
        .filter_map(|line| line.strip_prefix(header))
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ledger::{PurchaseEvent, UserEvent};

    #[test]
    fn a_digest_is_of_what_is_below_the_header() {
        let model = ReadModel {
            name: "balance",
            version: 3,
            table_sql: "-- What it is.\ncreate table balance ()",
            apply_sql: "-- handles: A\n-- ignores: B\ninsert into balance -- all of it\n",
            noted_as: &["as it was"],
        };
        let digest = model.digest();
        for (apply_sql, same) in [
            ("-- handles: A\ninsert into balance -- all of it\n", true),
            ("insert into balance -- all of it\n", true),
            ("insert into balance -- some of it\n", false),
            ("insert into balance\n", false),
            ("-- insert into balance", false),
        ] {
            let other = ReadModel { apply_sql, ..model };
            assert_eq!(other.digest() == digest, same, "{apply_sql}");
            assert_eq!(other.is_of(3, &digest), same, "{apply_sql}");
            assert!(other.is_of(3, "as it was") && !other.is_of(2, "as it was"));
        }
    }

    /// A new event must be handled or ignored by every read model, on purpose.
    #[test]
    fn every_read_model_names_every_event_once() {
        let known: BTreeSet<&str> = UserEvent::TYPES
            .into_iter()
            .chain(PurchaseEvent::TYPES)
            .collect();
        for model in READ_MODELS {
            let (handles, ignores) = (model.handles(), model.ignores());
            let named: BTreeSet<&str> = handles.iter().chain(&ignores).copied().collect();
            assert_eq!(named, known, "{}", model.name);
            assert_eq!(named.len(), handles.len() + ignores.len(), "{}", model.name);
        }
    }
}
