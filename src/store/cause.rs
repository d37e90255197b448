//! What every event says of its cause: who, by which provider event, and what else an auditor asks for.
//!
//! Must never hold personal data beyond the name that an operator goes by: it is hashed into the log for ever.

use super::unit::{Operator, Origin};
use crate::ledger::Source;

/// What every event of a unit says of its cause.
pub(super) struct Caused {
    pub(super) source: &'static str,
    pub(super) provider_event_id: Option<String>,
    pub(super) metadata: String,
}

impl Caused {
    pub(super) fn by(origin: &Origin) -> Self {
        match origin {
            Origin::Delivery(delivered) => Self {
                source: delivered.source.as_str(),
                provider_event_id: Some(delivered.provider_event_id.clone()),
                metadata: serde_json::json!({ "inbox": delivered.key }).to_string(),
            },
            Origin::Request(request) => Self {
                source: Source::Api.as_str(),
                provider_event_id: None,
                metadata: serde_json::json!({
                    "principal": request.principal, "request": request.idempotency_key,
                })
                .to_string(),
            },
            Origin::Retry(retry) => Self {
                source: retry.source.as_str(),
                provider_event_id: Some(retry.provider_event_id.clone()),
                metadata: match &retry.operator {
                    None => serde_json::json!({ "inbox": retry.key }),
                    Some(Operator { actor, reason }) => {
                        serde_json::json!({ "inbox": retry.key, "actor": actor, "reason": reason })
                    }
                }
                .to_string(),
            },
            Origin::Session { user_id } => Self {
                source: Source::Api.as_str(),
                provider_event_id: None,
                metadata: serde_json::json!({ "session": user_id }).to_string(),
            },
            Origin::Operator(Operator { actor, reason }) => Self {
                source: Source::Admin.as_str(),
                provider_event_id: None,
                metadata: serde_json::json!({ "actor": actor, "reason": reason }).to_string(),
            },
            Origin::System => Self {
                source: Source::System.as_str(),
                provider_event_id: None,
                metadata: "{}".to_owned(),
            },
        }
    }
}
