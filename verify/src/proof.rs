//! One answer of the service, judged by itself: that an event is in a seal (`GET /v1/audit/proof/…`), or that two seals are
//! of one history (`GET /v1/audit/consistency/…`).
//!
//! Of the two seals of the second nothing is shown but their numbers and heads: what they say of events is shown by the
//! first, or by an export.

use std::fmt;

use serde::Deserialize;

use crate::record::{EventRecord, Hex, Inclusion, SealRecord};
use crate::report::{Finding, Shown, checks};
use crate::seal::{PublicKey, event_leaf};
use crate::{Hash, chain, merkle};

/// The longest answer that is read, bytes.
pub const ANSWER_MAX_BYTES: u64 = 16 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of `GET /v1/audit/proof/…`.
    Event(Box<EventProof>),
    /// Of `GET /v1/audit/consistency/…`.
    Seals(Box<Consistency>),
}

/// That an event is in the history, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventProof {
    /// The event.
    pub event: EventRecord,
    /// The hash before it in its shard; zeros before the first.
    #[serde(with = "hex::serde")]
    pub previous: Hash,
    /// That it is in the seal.
    pub proof: Inclusion,
    /// The seal.
    pub seal: SealRecord,
    /// That the seal is in its own head.
    pub seal_path: Vec<Hex>,
}

/// That two seals are of one history.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// The earlier one.
    pub first: SealRecord,
    /// The later one.
    pub second: SealRecord,
    /// That the head of the second continues that of the first.
    pub path: Vec<Hex>,
}

impl Answer {
    /// Reads an answer. Nothing: it is none of the two.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What does not hold of it; nothing: it is as it says. `keys`: those that may have signed.
    pub fn judge(&self, keys: &[PublicKey]) -> Vec<Finding> {
        match self {
            Self::Event(proof) => proof.judge(keys),
            Self::Seals(proof) => proof.judge(keys),
        }
    }
}

impl EventProof {
    fn judge(&self, keys: &[PublicKey]) -> Vec<Finding> {
        let (event, seal, proof) = (&self.event, &self.seal, &self.proof);
        let leaf = event_leaf(&event.hash);
        let path = hashes(&proof.path);
        let is_in_seal = proof.seal == seal.seal
            && u64::try_from(seal.events) == Ok(proof.size)
            && seal.covers(event)
            && merkle::verify_inclusion(&leaf, proof.index, proof.size, &path, &seal.root);
        let size = u64::try_from(seal.seal).unwrap_or(0);
        let (leaf, path) = (seal.batch().leaf(), hashes(&self.seal_path));
        let is_in_head =
            merkle::verify_inclusion(&leaf, size.saturating_sub(1), size, &path, &seal.head);
        let is_hashed = chain::link(&self.previous, &event.link()) == event.hash;
        let mut wrong = Vec::new();
        for (holds, check, what) in [
            (
                is_hashed,
                checks::HASH_DIFFERS,
                "the hash is not the one over the event's fields and the hash before it",
            ),
            (
                is_in_seal,
                checks::PROOF_INVALID,
                "the proof does not show that the event is in the seal",
            ),
            (
                is_in_head,
                checks::PROOF_INVALID,
                "the proof does not show that the seal is in its head",
            ),
        ] {
            if !holds {
                wrong.push(Finding::new(check, what).at(event.shard, event.position));
            }
        }
        wrong.extend(unsigned(seal, keys));
        wrong
    }
}

impl Consistency {
    fn judge(&self, keys: &[PublicKey]) -> Vec<Finding> {
        let (first, second) = (&self.first, &self.second);
        let size = |seal: &SealRecord| u64::try_from(seal.seal).unwrap_or(0);
        let path = hashes(&self.path);
        let mut wrong = Vec::new();
        let (sizes, heads) = ((size(first), size(second)), (&first.head, &second.head));
        if !merkle::verify_consistency(sizes.0, sizes.1, heads.0, heads.1, &path) {
            let what = "the proof does not show that the second seal continues the first";
            wrong.push(Finding::new(checks::PROOF_INVALID, what));
        }
        wrong.extend(
            [first, second]
                .into_iter()
                .filter_map(|seal| unsigned(seal, keys)),
        );
        wrong
    }
}

fn hashes(path: &[Hex]) -> Vec<Hash> {
    path.iter().map(|hash| hash.0).collect()
}

fn unsigned(seal: &SealRecord, keys: &[PublicKey]) -> Option<Finding> {
    let signed = keys
        .iter()
        .any(|key| key.id() == seal.key_id && key.verifies(seal.seal, &seal.head, &seal.signature));
    let what = || format!("no given key signed seal {}", seal.seal);
    (!signed).then(|| Finding::new(checks::SIGNATURE_INVALID, what()))
}

impl fmt::Display for Answer {
    /// What it shows, if nothing is wrong with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(proof) => {
                let event = &proof.event;
                write!(
                    f,
                    "shard {} position {} {}/{}: {} is in seal {}",
                    event.shard,
                    event.position,
                    Shown(&event.aggregate_type),
                    Shown(&event.aggregate_id),
                    Shown(&event.event_type),
                    proof.seal.seal
                )
            }
            Self::Seals(proof) => write!(
                f,
                "the history up to seal {} begins with that up to seal {}",
                proof.second.seal, proof.first.seal
            ),
        }
    }
}
