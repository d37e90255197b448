//! What every event says of its cause: who, by which provider event, and what else an auditor asks for.
//!
//! Must never hold personal data beyond the name that an operator goes by: it is hashed into the log for ever.

use serde::Serialize;

use super::batch::unwritable;
use super::statements::StatementError;
use super::unit::{Operator, Origin};
use crate::ledger::Source;

/// What every event of a unit says of its cause.
pub(super) struct Caused {
    pub(super) source: &'static str,
    pub(super) provider_event_id: Option<String>,
    pub(super) metadata: String,
}

/// The metadata of an event, in the order in which it is written.
#[derive(Default, Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Caused {
    /// `evidence`: of a delivery, the digest of what proves it genuine.
    pub(super) fn by(origin: &Origin, evidence: Option<&str>) -> Result<Self, StatementError> {
        let (source, provider_event_id, metadata) = match origin {
            Origin::Delivery(delivered) => (
                delivered.source,
                Some(&delivered.provider_event_id),
                Metadata {
                    inbox: Some(&delivered.key),
                    evidence,
                    ..Metadata::default()
                },
            ),
            Origin::Request(request) => (
                Source::Api,
                None,
                Metadata {
                    principal: Some(&request.principal),
                    request: request.idempotency_key.as_deref(),
                    ..Metadata::default()
                },
            ),
            Origin::Retry(retry) => (
                retry.source,
                Some(&retry.provider_event_id),
                Metadata {
                    inbox: Some(&retry.key),
                    evidence: Some(&retry.evidence),
                    ..Metadata::asked_by(retry.operator.as_ref())
                },
            ),
            Origin::Session { user_id } => (
                Source::Api,
                None,
                Metadata {
                    session: Some(user_id),
                    ..Metadata::default()
                },
            ),
            Origin::Backend { principal } => (
                Source::Api,
                None,
                Metadata {
                    principal: Some(principal),
                    ..Metadata::default()
                },
            ),
            Origin::Operator(operator) => (Source::Admin, None, Metadata::asked_by(Some(operator))),
            Origin::System => (Source::System, None, Metadata::default()),
        };
        Ok(Self {
            source: source.as_str(),
            provider_event_id: provider_event_id.cloned(),
            metadata: serde_json::to_string(&metadata).map_err(unwritable)?,
        })
    }
}

impl<'a> Metadata<'a> {
    fn asked_by(operator: Option<&'a Operator>) -> Self {
        Self {
            actor: operator.map(|operator| operator.actor.as_str()),
            reason: operator.map(|operator| operator.reason.as_str()),
            ..Self::default()
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
                r#"{"inbox":"k","evidence":"e","actor":"ops","reason":"ticket 7"}"#,
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
            let caused = Caused::by(&origin, None).unwrap();
            assert_eq!(caused.source, source);
            assert_eq!(caused.provider_event_id.as_deref(), provider_event_id);
            assert_eq!(caused.metadata, metadata);
        }
    }
}
