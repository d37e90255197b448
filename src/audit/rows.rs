//! Rows of the database as the records that auditors read. The statements are in `sql/`, next to this.
//!
//! Must never select personal data: names, addresses, bodies.

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use credit_ledger_verify::record::{self, DeliveryRecord, EventRecord, StreamRecord};
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
#[error("a row can not be read: {0}")]
pub struct UnreadableRow(String);

impl From<tokio_postgres::Error> for UnreadableRow {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.to_string())
    }
}

/// An event.
///
/// # Errors
/// [`UnreadableRow`]
pub fn event(row: &Row) -> Result<EventRecord, UnreadableRow> {
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
}

/// The hash before an event in its shard; none: nothing is before it.
///
/// # Errors
/// [`UnreadableRow`]
pub fn previous(row: &Row) -> Result<Option<Hash>, UnreadableRow> {
    let hash: Option<&[u8]> = row.try_get("previous")?;
    hash.map(|hash| sized("previous", hash)).transpose()
}

/// A stored delivery.
///
/// # Errors
/// [`UnreadableRow`]
pub fn delivery(row: &Row) -> Result<DeliveryRecord, UnreadableRow> {
    let shards: Vec<i16> = row.try_get("shards")?;
    let positions: Vec<i64> = row.try_get("positions")?;
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
}

/// The state of a stream.
///
/// # Errors
/// [`UnreadableRow`]
pub fn stream(row: &Row) -> Result<StreamRecord, UnreadableRow> {
    Ok(StreamRecord {
        shard: row.try_get("shard")?,
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        version: row.try_get("version")?,
        state: row.try_get("state")?,
    })
}

/// A list of hashes.
///
/// # Errors
/// [`UnreadableRow`]
pub fn hashes(row: &Row, column: &str) -> Result<Vec<Hash>, UnreadableRow> {
    let hashes: Vec<&[u8]> = row.try_get(column)?;
    hashes.into_iter().map(|hash| sized(column, hash)).collect()
}

/// A row of any other table, by its columns.
///
/// # Errors
/// [`UnreadableRow`]
pub fn table(row: &Row, columns: &[Column]) -> Result<record::Row, UnreadableRow> {
    let cells = columns.iter().map(|column| {
        let name = column.name;
        Ok((name.to_owned(), cell(row, name, column.kind)?))
    });
    cells.collect()
}

fn cell(row: &Row, name: &str, kind: Kind) -> Result<Value, UnreadableRow> {
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
            json.map_err(|_| UnreadableRow(format!("{name} is no JSON")))?
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
fn time_us(row: &Row, column: &str) -> Result<i64, UnreadableRow> {
    let time: DateTime<Utc> = row.try_get(column)?;
    Ok(time.timestamp_micros())
}

/// Bytes of a fixed number: a hash or a signature.
fn bytes<const N: usize>(row: &Row, column: &str) -> Result<[u8; N], UnreadableRow> {
    sized(column, row.try_get(column)?)
}

fn sized<const N: usize>(column: &str, bytes: &[u8]) -> Result<[u8; N], UnreadableRow> {
    bytes
        .try_into()
        .map_err(|_| UnreadableRow(format!("{column} has {} bytes, not {N}", bytes.len())))
}
