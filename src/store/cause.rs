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
    /// `evidence`: of a delivery, the digest of what proves it genuine.
    pub(super) fn by(origin: &Origin, evidence: Option<&str>) -> Self {
        match origin {
            Origin::Delivery(delivered) => Self {
                source: delivered.source.as_str(),
                provider_event_id: Some(delivered.provider_event_id.clone()),
                metadata: serde_json::json!({ "inbox": delivered.key, "evidence": evidence })
                    .to_string(),
            },
            Origin::Request(request) => Self {
                source: Source::Api.as_str(),
                provider_event_id: None,
                metadata: match &request.idempotency_key {
                    None => serde_json::json!({ "principal": request.principal }),
                    Some(key) => {
                        serde_json::json!({ "principal": request.principal, "request": key })
                    }
                }
                .to_string(),
            },
            Origin::Retry(retry) => Self {
                source: retry.source.as_str(),
                provider_event_id: Some(retry.provider_event_id.clone()),
                metadata: match &retry.operator {
                    None => serde_json::json!({ "inbox": retry.key, "evidence": retry.evidence }),
                    Some(Operator { actor, reason }) => {
                        serde_json::json!({
                            "inbox": retry.key, "evidence": retry.evidence, "actor": actor, "reason": reason
                        })
                    }
                }
                .to_string(),
            },
            Origin::Session { user_id } => Self {
                source: Source::Api.as_str(),
                provider_event_id: None,
                metadata: serde_json::json!({ "session": user_id }).to_string(),
            },
            Origin::Backend { principal } => Self {
                source: Source::Api.as_str(),
                provider_event_id: None,
                metadata: serde_json::json!({ "principal": principal }).to_string(),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::Retry;

    #[test]
    fn every_origin_says_who_and_why() {
        let operator = || Operator {
            actor: "ops".to_owned(),
            reason: "ticket 7".to_owned(),
        };
        let retry = |operator| {
            Origin::Retry(Arc::new(Retry {
                source: Source::Razorpay,
                key: "k".to_owned(),
                provider_event_id: "evt_1".to_owned(),
                attempts: 1,
                due_at: None,
                evidence: "e".to_owned(),
                operator,
            }))
        };
        let session = Origin::Session {
            user_id: "user_1".to_owned(),
        };
        for (origin, source, provider_event_id, metadata) in [
            (
                retry(None),
                "razorpay",
                Some("evt_1"),
                r#"{"inbox":"k","evidence":"e"}"#,
            ),
            (
                retry(Some(operator())),
                "razorpay",
                Some("evt_1"),
                r#"{"actor":"ops","evidence":"e","inbox":"k","reason":"ticket 7"}"#,
            ),
            (session, "api", None, r#"{"session":"user_1"}"#),
            (
                Origin::Backend {
                    principal: "service".to_owned(),
                },
                "api",
                None,
                r#"{"principal":"service"}"#,
            ),
            (
                Origin::Operator(operator()),
                "admin",
                None,
                r#"{"actor":"ops","reason":"ticket 7"}"#,
            ),
            (Origin::System, "system", None, "{}"),
        ] {
            let caused = Caused::by(&origin, None);
            assert_eq!(caused.source, source);
            assert_eq!(caused.provider_event_id.as_deref(), provider_event_id);
            let json = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(json(&caused.metadata), json(metadata));
        }
    }
}
