//! The hash chain of a shard: each event's hash covers the hash before it and every field of the event.
//!
//! `schema/README.md` describes the encoding exactly enough to write another verifier; the two must agree.

use sha2::{Digest as _, Sha256};

use crate::Hash;

/// The hash before the first event of a shard.
pub const GENESIS: Hash = [0; 32];

/// An event as it is hashed: every column of its row but the hash itself.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The shard it is in.
    pub shard: i16,
    /// Its place in the shard, from 1.
    pub position: i64,
    /// `user` or `purchase`.
    pub aggregate_type: &'a str,
    /// The id within the type.
    pub aggregate_id: &'a str,
    /// Its place in the stream, from 1.
    pub sequence: i64,
    /// The event's type.
    pub event_type: &'a str,
    /// The version of the event's shape.
    pub event_version: &'a str,
    /// The payload's very bytes.
    pub payload: &'a str,
    /// The metadata's very bytes.
    pub metadata: &'a str,
    /// Who caused it.
    pub source: &'a str,
    /// The provider's event, if one caused it.
    pub provider_event_id: Option<&'a str>,
    /// When it was recorded, microseconds since 1970-01-01 UTC.
    pub recorded_at_us: i64,
}

/// The hash of an event that follows `previous`.
pub fn link(previous: &Hash, event: &Link<'_>) -> Hash {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(event.shard.to_be_bytes());
    hash.update(event.position.to_be_bytes());
    hash.update(event.sequence.to_be_bytes());
    hash.update(event.recorded_at_us.to_be_bytes());
    for text in [
        event.aggregate_type,
        event.aggregate_id,
        event.event_type,
        event.event_version,
        event.payload,
        event.metadata,
        event.source,
    ] {
        update_text(&mut hash, text);
    }
    match event.provider_event_id {
        None => hash.update([0]),
        Some(id) => {
            hash.update([1]);
            update_text(&mut hash, id);
        }
    }
    hash.finalize().into()
}

/// The length in bytes as a 64-bit big-endian number, then the bytes: no two lists of texts look alike.
pub(crate) fn update_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Link<'static> {
        Link {
            shard: 3,
            position: 1,
            aggregate_type: "user",
            aggregate_id: "user_1",
            sequence: 1,
            event_type: "UserDeleted",
            event_version: "1.0",
            payload: r#"{"type":"UserDeleted"}"#,
            metadata: "{}",
            source: "clerk",
            provider_event_id: Some("msg_1"),
            recorded_at_us: 1_795_000_000_123_456,
        }
    }

    /// The test vector of `schema/README.md`.
    #[test]
    fn the_encoding_is_as_written_down() {
        assert_eq!(
            hex::encode(link(&GENESIS, &event())),
            "9143c3b75195685895023d4718a7fda1f08ef62ca6578ced43e0849543bf1a49"
        );
    }

    #[test]
    fn every_field_counts() {
        let base = link(&GENESIS, &event());
        let changed = [
            Link {
                shard: 4,
                ..event()
            },
            Link {
                position: 2,
                ..event()
            },
            Link {
                aggregate_type: "use",
                ..event()
            },
            Link {
                aggregate_type: "use",
                aggregate_id: "ruser_1",
                ..event()
            },
            Link {
                sequence: 2,
                ..event()
            },
            Link {
                event_type: "UserDeletee",
                ..event()
            },
            Link {
                event_version: "1.1",
                ..event()
            },
            Link {
                payload: "{}",
                ..event()
            },
            Link {
                metadata: "{ }",
                ..event()
            },
            Link {
                source: "clerl",
                ..event()
            },
            Link {
                provider_event_id: None,
                ..event()
            },
            Link {
                provider_event_id: Some(""),
                ..event()
            },
            Link {
                recorded_at_us: 1,
                ..event()
            },
        ];
        for event in changed {
            assert_ne!(link(&GENESIS, &event), base, "{event:?}");
        }
        assert_ne!(link(&[1; 32], &event()), base);
    }
}
