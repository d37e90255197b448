//! The lines of an export, and of what the service shows to auditors: a JSON object each, all fields always there.
//!
//! Hashes are lower-case hex; times are microseconds since 1970-01-01 UTC; texts that are hashed (`payload`,
//! `metadata`, `headers`) are strings that hold their very bytes.
//!
//! Rows of tables that are worked out from the events are objects of their columns ([`Row`]): texts, booleans and integers
//! as they are, `jsonb` as the JSON that it is, and a `timestamptz` as an integer of microseconds under the column's name
//! with `_us` behind it. Columns of personal data are left out.

use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::chain::Link;
use crate::evidence::Evidence;
use crate::seal::Batch;

/// An event: every column of its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRecord {
    /// The shard it is in.
    pub shard: i16,
    /// Its place in the shard, from 1.
    pub position: i64,
    /// `user` or `purchase`.
    pub aggregate_type: String,
    /// The id within the type.
    pub aggregate_id: String,
    /// Its place in the stream, from 1.
    pub sequence: i64,
    /// The event's type.
    pub event_type: String,
    /// The version of the event's shape.
    pub event_version: String,
    /// The payload's very bytes, JSON.
    pub payload: String,
    /// The metadata's very bytes, JSON.
    pub metadata: String,
    /// When it was recorded.
    pub recorded_at_us: i64,
    /// Who caused it.
    pub source: String,
    /// The provider's event, if one caused it.
    pub provider_event_id: Option<String>,
    /// Over all of these and the hash before it in the shard.
    #[serde(with = "hex::serde")]
    pub hash: Hash,
}

impl EventRecord {
    /// The event as it is hashed.
    pub fn link(&self) -> Link<'_> {
        Link {
            shard: self.shard,
            position: self.position,
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence: self.sequence,
            event_type: &self.event_type,
            event_version: &self.event_version,
            payload: &self.payload,
            metadata: &self.metadata,
            source: &self.source,
            provider_event_id: self.provider_event_id.as_deref(),
            recorded_at_us: self.recorded_at_us,
        }
    }
}

/// Where a shard ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndRecord {
    /// Which shard.
    pub shard: i16,
    /// Its last position; 0: it has no events.
    pub position: i64,
    /// The hash of its last event.
    #[serde(with = "hex::serde")]
    pub hash: Hash,
}

/// A seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealRecord {
    /// 1, 2, 3 … without holes.
    pub seal: i64,
    /// When it was made.
    pub sealed_at_us: i64,
    /// How many events are new in it.
    pub events: i64,
    /// The root of the tree over those events.
    #[serde(with = "hex::serde")]
    pub root: Hash,
    /// Where every shard ends with it.
    pub ends: Vec<EndRecord>,
    /// The root of the tree over all seals up to it.
    #[serde(with = "hex::serde")]
    pub head: Hash,
    /// Who signed.
    pub key_id: String,
    /// Ed25519 over the number and the head.
    #[serde(with = "hex::serde")]
    pub signature: [u8; 64],
}

impl SealRecord {
    /// Whether it says that an event came before it or with it.
    pub fn covers(&self, event: &EventRecord) -> bool {
        let mut ends = self.ends.iter();
        ends.any(|end| end.shard == event.shard && event.position <= end.position)
    }

    /// What it seals.
    pub fn batch(&self) -> Batch {
        Batch {
            seal: self.seal,
            sealed_at_us: self.sealed_at_us,
            events: self.events,
            root: self.root,
            ends: self.ends.clone(),
        }
    }
}

/// A stored delivery, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryRecord {
    /// Who sent it.
    pub source: String,
    /// What the inbox knows it by.
    pub key: String,
    /// The provider's own id of the event.
    pub provider_event_id: String,
    /// SHA-256 of the raw bytes.
    #[serde(with = "hex::serde")]
    pub body_sha256: Hash,
    /// The signature headers, JSON.
    pub headers: String,
    /// Which secret matched.
    pub secret: String,
    /// When it was received.
    pub received_at_us: i64,
    /// `recorded`, `duplicate`, `ignored` or `parked`.
    pub outcome: String,
    /// Why, where it was not recorded.
    pub reason: Option<String>,
    /// The events that it led to: shard and position.
    pub led_to: Vec<(i16, i64)>,
    /// Whether the bytes were erased.
    pub erased: bool,
}

impl DeliveryRecord {
    /// What proves it genuine.
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence {
            source: &self.source,
            key: &self.key,
            provider_event_id: &self.provider_event_id,
            body_sha256: &self.body_sha256,
            headers: &self.headers,
            secret: &self.secret,
            received_at_us: self.received_at_us,
        }
    }
}

/// The state of a stream after its last event, as the service keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRecord {
    /// The shard it is in.
    pub shard: i16,
    /// `user` or `purchase`.
    pub aggregate_type: String,
    /// The id within the type.
    pub aggregate_id: String,
    /// The sequence of its last event.
    pub version: i64,
    /// The state, JSON.
    pub state: String,
}

/// A row of a table, by column. See the module for how values are written.
pub type Row = serde_json::Map<String, serde_json::Value>;

/// A hash in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hex(#[serde(with = "hex::serde")] pub Hash);

/// An event in an export of one user: it can be verified without the rest of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenEvent {
    /// The event.
    pub event: EventRecord,
    /// The hash before it in its shard; zeros before the first.
    #[serde(with = "hex::serde")]
    pub previous: Hash,
    /// That it is in a seal; null: not sealed yet.
    pub proof: Option<Inclusion>,
}

/// That an event is in a seal: the proof of RFC 6962 that its leaf is in the tree with the seal's `root`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The seal.
    pub seal: i64,
    /// The place of the leaf, from 0.
    pub index: u64,
    /// How many leaves the tree has: as many as the seal has events.
    pub size: u64,
    /// The proof, the deepest hash first.
    pub path: Vec<Hex>,
}

/// A seal in an export of one user, which has only the seals that its proofs name, and the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenSeal {
    /// The seal.
    pub seal: SealRecord,
    /// The proof that it is the leaf `seal - 1` of the tree with the `head` of the last seal, which has as many leaves as
    /// that one's number.
    pub path: Vec<Hex>,
}
