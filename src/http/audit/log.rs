//! The log as auditors read it: by shard, line by line, and by stream.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use cqrs_es::Aggregate as _;
use credit_ledger_verify::record::EventRecord;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::body::invalid;
use super::super::identity::backend;
use super::super::page::{LIMIT_MAX, Page, Query};
use super::super::problem::{Code, Problem};
use crate::access::Scope;
use crate::app::App;
use crate::ledger::{Purchase, User};

/// A line of JSON for each row.
pub const NDJSON: &str = "application/x-ndjson";

/// An event of the log: every column of its row. `payload` and `metadata` are the very bytes that were hashed.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoggedEvent {
    shard: i16,
    /// Its place in the shard, from 1.
    position: i64,
    /// `user` or `purchase`.
    aggregate_type: String,
    aggregate_id: String,
    /// Its place in the stream, from 1.
    sequence: i64,
    event_type: String,
    event_version: String,
    /// JSON, byte for byte as it was hashed.
    payload: String,
    /// JSON, byte for byte as it was hashed.
    metadata: String,
    /// When it was recorded, in microseconds since 1970-01-01 UTC.
    recorded_at_us: i64,
    /// Who caused it.
    #[schema(schema_with = crate::http::openapi::source)]
    source: String,
    /// The provider's event behind it.
    #[schema(required)]
    provider_event_id: Option<String>,
    /// SHA-256 over all of these and the hash before it in the shard.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

impl From<EventRecord> for LoggedEvent {
    fn from(event: EventRecord) -> Self {
        let EventRecord {
            shard,
            position,
            aggregate_type,
            aggregate_id,
            sequence,
            event_type,
            event_version,
            payload,
            metadata,
            recorded_at_us,
            source,
            provider_event_id,
            hash,
        } = event;
        Self {
            shard,
            position,
            aggregate_type,
            aggregate_id,
            sequence,
            event_type,
            event_version,
            payload,
            metadata,
            recorded_at_us,
            source,
            provider_event_id,
            hash: hex::encode(hash),
        }
    }
}

/// `GET /v1/audit/events`: a shard's events behind a position, a line of JSON each.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `unavailable`; `invalid_request` for a shard that is not there, a position or
/// a limit.
pub async fn events(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    backend(&app, &request, Scope::Audit).await?;
    let mut query = Query::of(&request)?;
    let (shard, after) = (query.take("shard"), query.take("after"));
    let limit = query.limit(LIMIT_MAX, LIMIT_MAX)?;
    query.finish()?;
    let shard = shard.and_then(|shard| shard.parse().ok());
    let shard: i16 = shard.ok_or_else(|| invalid("shard", "must be the number of a shard"))?;
    let after = after.map_or(Some(0), |after| after.parse().ok());
    let after = after
        .filter(|after| *after >= 0)
        .ok_or_else(|| invalid("after", "must be a position, or 0"))?;
    let events = app.reads.events(shard, after, limit).await?;
    if events.is_empty() && !app.reads.has_shard(shard).await? {
        return Err(invalid("shard", "is none of this ledger's"));
    }
    let mut lines = Vec::new();
    for event in &events {
        serde_json::to_writer(&mut lines, event)
            .map_err(|_| Code::Internal.because("an event can not be written"))?;
        lines.push(b'\n');
    }
    Ok(HttpResponse::Ok().content_type(NDJSON).body(lines))
}

/// `GET /v1/audit/streams/{type}/{id}`: a stream's events, the oldest first.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `unavailable`; `not_found` for a stream without events; `invalid_request` for
/// the page.
pub async fn stream(
    app: Data<App>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    backend(&app, &request, Scope::Audit).await?;
    let (aggregate_type, aggregate_id) = path.into_inner();
    let page: Page<i64> = Page::of(&request)?;
    let no_stream = || Code::NotFound.because("there is no such stream");
    // No text of the database has a zero in it.
    if ![User::TYPE, Purchase::TYPE].contains(&&*aggregate_type) || aggregate_id.contains('\0') {
        return Err(no_stream());
    }
    let after = page.cursor.unwrap_or(0);
    let rows = app
        .reads
        .stream(&aggregate_type, &aggregate_id, after, page.fetch())
        .await?;
    if rows.is_empty() && page.cursor.is_none() {
        return Err(no_stream());
    }
    let cursor = |event: &EventRecord| event.sequence;
    Ok(HttpResponse::Ok().json(page.answer(rows, LoggedEvent::from, cursor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the export, a line here and an item of a list say the same, byte for byte.
    #[test]
    fn an_event_looks_the_same_everywhere() {
        let event = EventRecord {
            shard: 3,
            position: 1,
            aggregate_type: "user".to_owned(),
            aggregate_id: "user_1".to_owned(),
            sequence: 1,
            event_type: "UserDeleted".to_owned(),
            event_version: "1.0".to_owned(),
            payload: r#"{"type":"UserDeleted"}"#.to_owned(),
            metadata: "{}".to_owned(),
            recorded_at_us: 1,
            source: "clerk".to_owned(),
            provider_event_id: None,
            hash: [7; 32],
        };
        let record = serde_json::to_string(&event).unwrap();
        let shown = serde_json::to_string(&LoggedEvent::from(event)).unwrap();
        assert_eq!(shown, record);
    }
}
