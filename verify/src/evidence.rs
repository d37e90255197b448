//! What proves a delivery genuine, as one digest. The events that a delivery led to carry it in their metadata, so its
//! row in the inbox can not be changed without them.

use sha2::{Digest as _, Sha256};

use crate::Hash;
use crate::chain::update_text;

/// A stored delivery, as its evidence is digested.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Who sent it.
    pub source: &'a str,
    /// What the inbox knows it by.
    pub key: &'a str,
    /// The provider's own id of the event.
    pub provider_event_id: &'a str,
    /// SHA-256 of the raw bytes.
    pub body_sha256: &'a Hash,
    /// The signature headers, as the very JSON that is stored.
    pub headers: &'a str,
    /// The verdict: which secret matched (the first 8 hex digits of the SHA-256 of its text), or `api` for bytes that
    /// the provider's API answered.
    pub secret: &'a str,
    /// When it was received, microseconds since 1970-01-01 UTC.
    pub received_at_us: i64,
}

/// The digest that events carry.
pub fn digest(evidence: &Evidence<'_>) -> Hash {
    let mut hash = Sha256::new();
    for text in [
        evidence.source,
        evidence.key,
        evidence.provider_event_id,
        evidence.headers,
        evidence.secret,
    ] {
        update_text(&mut hash, text);
    }
    hash.update(evidence.body_sha256);
    hash.update(evidence.received_at_us.to_be_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence<'static> {
        Evidence {
            source: "stripe",
            key: "evt_1",
            provider_event_id: "evt_1",
            body_sha256: &[7; 32],
            headers: r#"{"stripe-signature":"t=1,v1=00"}"#,
            secret: "0123abcd",
            received_at_us: 1_795_000_000_123_456,
        }
    }

    /// The test vector of `schema/README.md`.
    #[test]
    fn the_encoding_is_as_written_down() {
        assert_eq!(
            hex::encode(digest(&evidence())),
            "795c39413782c4bd8e5b79757e1ac09d0d8643343af41253f187607389317f35"
        );
    }

    #[test]
    fn every_field_counts() {
        let base = digest(&evidence());
        for changed in [
            Evidence {
                source: "clerk",
                ..evidence()
            },
            Evidence {
                key: "evt_2",
                ..evidence()
            },
            Evidence {
                provider_event_id: "evt_2",
                ..evidence()
            },
            Evidence {
                body_sha256: &[8; 32],
                ..evidence()
            },
            Evidence {
                headers: "{}",
                ..evidence()
            },
            Evidence {
                secret: "api",
                ..evidence()
            },
            Evidence {
                received_at_us: 1,
                ..evidence()
            },
        ] {
            assert_ne!(digest(&changed), base, "{changed:?}");
        }
    }
}
