//! What auditors read of the log, its seals and their proofs.

use serde_json::json;

use crate::http::audit;
use crate::http::openapi::operation::{Operation, get};
use crate::http::page::LIMIT_MAX;
use crate::http::problem::Code;

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
        get("/v1/audit/seals", "listSeals", "Seals")
            .about("Each says, signed, which events there are. Verify them with the public key, and with what a witness was told.")
            .lists::<audit::Seal>("A page of them.")
            .refuses(&[Code::Internal]),
        get(
            "/v1/audit/proof/{shard}/{position}",
            "proveEvent",
            "That an event is in the history, and since when",
        )
        .answers::<audit::EventProof>(200, "The event with all that proves it.")
        .refuses(&[Code::NotSealedYet, Code::Internal]),
        get(
            "/v1/audit/consistency/{first}/{second}",
            "proveConsistency",
            "That two seals are of one history",
        )
        .answers::<audit::Consistency>(200, "The seals and the proof.")
        .refuses(&[Code::Internal]),
    ]
}
