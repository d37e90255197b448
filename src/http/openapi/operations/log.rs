//! What auditors read of the log.

use serde_json::json;

use crate::http::audit;
use crate::http::openapi::operation::{Operation, get};
use crate::http::page::LIMIT_MAX;

pub(super) fn all() -> Vec<Operation> {
    vec![
        get("/v1/audit/events", "listEvents", "A shard's events, by position")
            .about(
                "A line of JSON for each event. Positions are dense: the next page begins behind the last one of this \
                 one, and an empty page is the end of the shard for now.",
            )
            .needs_query(
                "shard",
                &json!({ "type": "integer", "minimum": 0, "maximum": i16::MAX }),
                "Which shard.",
            )
            .query(
                "after",
                &json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX, "default": 0 }),
                "Only events behind this position.",
            )
            .limit(LIMIT_MAX, LIMIT_MAX)
            .success(
                200,
                "A line for each event, each an object like the items of a stream.",
                audit::NDJSON,
                &json!({ "type": "string" }),
            ),
        get(
            "/v1/audit/streams/{type}/{id}",
            "listStream",
            "The events of a user or a purchase, the oldest first",
        )
        .lists::<audit::LoggedEvent>("A page of them."),
    ]
}
