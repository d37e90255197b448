//! Rows of the database as the records that auditors read. The statements are in `sql/`, next to this.
//!
//! Must never select personal data: names, addresses, bodies.

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use credit_ledger_verify::manifest::Content;
use credit_ledger_verify::record::{
    self, DeliveryRecord, EndRecord, EventRecord, SealRecord, StreamRecord,
};
use credit_ledger_verify::report::{Finding, checks};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::tables::{Column, Kind};

/// Events of a shard, by position.
pub const PAGE_EVENTS: &str = include_str!("sql/page_events.sql");
/// Events of a stream, the oldest first.
pub const PAGE_STREAM: &str = include_str!("sql/page_stream.sql");

/// A row that is no record: a column is not there, is of another type, or holds what it never may.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.what)]
pub struct UnreadableRow(Box<Finding>);

impl UnreadableRow {
    /// What an auditor is told of it, with its place as far as that can be read.
    pub fn finding(self) -> Finding {
        *self.0
    }

    fn new(row: &Row, Table { name, key }: Table, why: &Why) -> Self {
        let key = key.iter().filter_map(|name| {
            let number = || row.try_get::<_, Integer>(*name).map(|n| n.0.to_string());
            let value = row.try_get(*name).or_else(|_| number());
            value.ok().map(|value: String| format!(" {name} {value}"))
        });
        let key: String = key.collect();
        let what = format!("{name}: the row of{key} can not be read: {}", why.0);
        let text = |name| row.try_get::<_, String>(name).ok();
        let stream = text("aggregate_type").zip(text("aggregate_id"));
        Self(Box::new(Finding {
            shard: row.try_get("shard").ok(),
            position: row.try_get("position").ok(),
            stream: stream.map(|(aggregate_type, id)| format!("{aggregate_type}/{id}")),
            ..Finding::new(checks::UNREADABLE, what)
        }))
    }
}

/// Where rows are, and what tells one from all others.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    key: &'static [&'static str],
}

impl From<Content> for Table {
    fn from(content: Content) -> Self {
        Self {
            name: content.as_str(),
            key: key(content),
        }
    }
}

const HEADS: Table = Table {
    name: "heads",
    key: &["shard"],
};

const fn key(of: Content) -> &'static [&'static str] {
    match of {
        Content::Seals => &["seal"],
        Content::Events | Content::Holds | Content::Settlements => &["shard", "position"],
        Content::Deliveries => &["source", "key"],
        Content::Streams => &["aggregate_type", "aggregate_id"],
        Content::Lots => &["user_id", "lot"],
        Content::Balance | Content::Users => &["user_id"],
        Content::Purchases => &["purchase_id"],
        Content::Entries => &["user_id", "sequence"],
    }
}

/// Why a row can not be read. Never a value.
struct Why(String);

impl From<tokio_postgres::Error> for Why {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.to_string())
    }
}

fn read<'a, T>(
    row: &'a Row,
    of: impl Into<Table>,
    columns: impl FnOnce(&'a Row) -> Result<T, Why>,
) -> Result<T, UnreadableRow> {
    columns(row).map_err(|why| UnreadableRow::new(row, of.into(), &why))
}

/// An event.
///
/// # Errors
/// [`UnreadableRow`]
pub fn event(row: &Row) -> Result<EventRecord, UnreadableRow> {
    read(row, Content::Events, |row| {
        Ok(EventRecord {
            shard: row.try_get("shard")?,
            position: row.try_get("position")?,
            aggregate_type: row.try_get("aggregate_type")?,
            aggregate_id: row.try_get("aggregate_id")?,
            sequence: row.try_get("sequence")?,
            event_type: row.try_get("event_type")?,
            event_version: row.try_get("event_version")?,
            payload: row.try_get("payload")?,
            metadata: row.try_get("metadata")?,
            recorded_at_us: time_us(row, "recorded_at")?,
            source: row.try_get("source")?,
            provider_event_id: row.try_get("provider_event_id")?,
            hash: bytes(row, "hash")?,
        })
    })
}

/// The hash before an event in its shard; none: nothing is before it.
///
/// # Errors
/// [`UnreadableRow`]
pub fn previous(row: &Row) -> Result<Option<Hash>, UnreadableRow> {
    read(row, Content::Events, |row| {
        let hash: Option<&[u8]> = row.try_get("previous")?;
        hash.map(|hash| sized("previous", hash)).transpose()
    })
}

/// A stored delivery.
///
/// # Errors
/// [`UnreadableRow`]
pub fn delivery(row: &Row) -> Result<DeliveryRecord, UnreadableRow> {
    read(row, Content::Deliveries, |row| {
        let shards: Vec<i16> = row.try_get("shards")?;
        let positions: Vec<i64> = row.try_get("positions")?;
        as_many(&shards, &positions)?;
        Ok(DeliveryRecord {
            source: row.try_get("source")?,
            key: row.try_get("key")?,
            provider_event_id: row.try_get("provider_event_id")?,
            body_sha256: bytes(row, "body_sha256")?,
            headers: row.try_get("headers")?,
            secret: row.try_get("secret")?,
            received_at_us: time_us(row, "received_at")?,
            outcome: row.try_get("outcome")?,
            reason: row.try_get("reason")?,
            led_to: shards.into_iter().zip(positions).collect(),
            erased: row.try_get("erased")?,
        })
    })
}

/// The body of a stored delivery.
///
/// # Errors
/// [`UnreadableRow`]
pub fn body(row: &Row) -> Result<&[u8], UnreadableRow> {
    read(row, Content::Deliveries, |row| Ok(row.try_get("body")?))
}

/// The state of a stream.
///
/// # Errors
/// [`UnreadableRow`]
pub fn stream(row: &Row) -> Result<StreamRecord, UnreadableRow> {
    read(row, Content::Streams, |row| {
        Ok(StreamRecord {
            shard: row.try_get("shard")?,
            aggregate_type: row.try_get("aggregate_type")?,
            aggregate_id: row.try_get("aggregate_id")?,
            version: row.try_get("version")?,
            state: row.try_get("state")?,
        })
    })
}

/// Where a shard ends.
///
/// # Errors
/// [`UnreadableRow`]
pub fn head(row: &Row) -> Result<EndRecord, UnreadableRow> {
    read(row, HEADS, |row| {
        Ok(EndRecord {
            shard: row.try_get("shard")?,
            position: row.try_get("position")?,
            hash: bytes(row, "hash")?,
        })
    })
}

/// A seal.
///
/// # Errors
/// [`UnreadableRow`]
pub fn seal(row: &Row) -> Result<SealRecord, UnreadableRow> {
    read(row, Content::Seals, |row| {
        let shards: Vec<i16> = row.try_get("shards")?;
        let positions: Vec<i64> = row.try_get("positions")?;
        let hashes: Vec<&[u8]> = row.try_get("hashes")?;
        as_many(&shards, &positions)?;
        as_many(&shards, &hashes)?;
        let ends = shards.into_iter().zip(positions).zip(hashes);
        let ends = ends.map(|((shard, position), hash)| {
            let hash = sized("hashes", hash)?;
            Ok(EndRecord {
                shard,
                position,
                hash,
            })
        });
        Ok(SealRecord {
            seal: row.try_get("seal")?,
            sealed_at_us: time_us(row, "sealed_at")?,
            events: row.try_get("events")?,
            root: bytes(row, "root")?,
            ends: ends.collect::<Result<_, Why>>()?,
            head: bytes(row, "head")?,
            key_id: row.try_get("key_id")?,
            signature: bytes(row, "signature")?,
        })
    })
}

/// The perfect subtrees that a seal completes.
///
/// # Errors
/// [`UnreadableRow`]
pub fn nodes(row: &Row) -> Result<Vec<Hash>, UnreadableRow> {
    read(row, Content::Seals, |row| {
        let hashes: Vec<&[u8]> = row.try_get("nodes")?;
        let hashes = hashes.into_iter().map(|hash| sized("nodes", hash));
        hashes.collect()
    })
}

/// Two lists of which one says where, or what, the members of the other are.
fn as_many<A, B>(one: &[A], other: &[B]) -> Result<(), Why> {
    if one.len() == other.len() {
        return Ok(());
    }
    let (one, other) = (one.len(), other.len());
    Err(Why(format!(
        "lists of {one} and of {other} belong together"
    )))
}

/// A row of any other table, by its columns.
///
/// # Errors
/// [`UnreadableRow`]
pub fn table(
    row: &Row,
    content: Content,
    columns: &[Column],
) -> Result<record::Row, UnreadableRow> {
    let cells = columns.iter().map(|column| {
        let name = column.name;
        Ok((name.to_owned(), cell(row, name, column.kind)?))
    });
    read(row, content, |_| cells.collect())
}

fn cell(row: &Row, name: &str, kind: Kind) -> Result<Value, Why> {
    Ok(match kind {
        Kind::Text => row.try_get::<_, Option<String>>(name)?.into(),
        Kind::Boolean => row.try_get::<_, Option<bool>>(name)?.into(),
        Kind::Integer => row.try_get::<_, Option<Integer>>(name)?.map(|n| n.0).into(),
        Kind::Time => {
            let name = name.strip_suffix("_us").unwrap_or(name);
            let time: Option<DateTime<Utc>> = row.try_get(name)?;
            time.map(|time| time.timestamp_micros()).into()
        }
        Kind::Json => {
            let text: Option<String> = row.try_get(name)?;
            let json = text.map(|text| serde_json::from_str(&text));
            let json = json.transpose();
            json.map_err(|_| Why(format!("{name} is no JSON")))?
                .unwrap_or(Value::Null)
        }
    })
}

/// A number of any of the database's sizes.
struct Integer(i64);

impl<'a> FromSql<'a> for Integer {
    fn from_sql(
        of: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(match *of {
            Type::INT2 => i16::from_sql(of, raw)?.into(),
            Type::INT4 => i32::from_sql(of, raw)?.into(),
            _ => i64::from_sql(of, raw)?,
        }))
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::INT2 | Type::INT4 | Type::INT8)
    }
}

/// A time, in microseconds since 1970-01-01 UTC.
fn time_us(row: &Row, column: &str) -> Result<i64, Why> {
    let time: DateTime<Utc> = row.try_get(column)?;
    Ok(time.timestamp_micros())
}

/// Bytes of a fixed number: a hash or a signature.
fn bytes<const N: usize>(row: &Row, column: &str) -> Result<[u8; N], Why> {
    sized(column, row.try_get(column)?)
}

fn sized<const N: usize>(column: &str, bytes: &[u8]) -> Result<[u8; N], Why> {
    bytes
        .try_into()
        .map_err(|_| Why(format!("{column} has {} bytes, not {N}", bytes.len())))
}
