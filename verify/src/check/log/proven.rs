//! The log of one user's history, in which every event and every seal comes with a proof of its own.

use super::Log;
use crate::record::{ProvenEvent, ProvenSeal};
use crate::report::{Finding, Found, checks};
use crate::seal::event_leaf;
use crate::{Hash, chain, merkle};

impl Log {
    pub(in crate::check) fn proven_seal(&mut self, proven: &ProvenSeal, found: &mut Found) {
        let seal = &proven.seal;
        self.check_signature(seal, found);
        self.check_witness(seal, false, found);
        self.seals += 1;
        if self.last.as_ref().is_none_or(|last| last.seal < seal.seal) {
            self.last = Some(seal.clone());
        }
        let known = (seal.clone(), proven.path.clone());
        if self.proven.insert(seal.seal, known).is_some() {
            let what = format!("seal {} is there twice", seal.seal);
            found.add(Finding::new(checks::SEAL_MISSING, what));
        }
    }

    pub(in crate::check) fn proven_event(&mut self, proven: &ProvenEvent, found: &mut Found) {
        self.events += 1;
        let event = &proven.event;
        let finding = |check, what: String| {
            Finding::new(check, what)
                .at(event.shard, event.position)
                .of(&event.aggregate_type, &event.aggregate_id)
        };
        if chain::link(&proven.previous, &event.link()) != event.hash {
            let what = "its hash is not the one over its fields and the hash before it";
            found.add(finding(checks::HASH_DIFFERS, what.to_owned()));
        }
        let Some(proof) = &proven.proof else {
            self.unsealed += 1;
            // Whoever can prove an event must: without a proof anything could be written here.
            if let Some(seal) = self.last.as_ref().filter(|seal| seal.covers(event)) {
                let what = format!(
                    "it has no proof, and seal {} says that it covers it",
                    seal.seal
                );
                found.add(finding(checks::PROOF_INVALID, what));
            }
            return;
        };
        let path: Vec<Hash> = proof.path.iter().map(|hash| hash.0).collect();
        let shown = self.proven.get(&proof.seal).is_some_and(|(seal, _)| {
            u64::try_from(seal.events) == Ok(proof.size)
                && merkle::verify_inclusion(
                    &event_leaf(&event.hash),
                    proof.index,
                    proof.size,
                    &path,
                    &seal.root,
                )
        });
        if !shown {
            let what = format!("its proof does not show that it is in seal {}", proof.seal);
            found.add(finding(checks::PROOF_INVALID, what));
        }
    }

    /// Each seal is in the head of the last one.
    pub(super) fn check_proven_seals(&self, found: &mut Found) {
        let Some((number, (last, _))) = self.proven.last_key_value() else {
            return;
        };
        let size = u64::try_from(*number).unwrap_or(0);
        for (seal, path) in self.proven.values() {
            let index = u64::try_from(seal.seal.saturating_sub(1)).unwrap_or(u64::MAX);
            let path: Vec<Hash> = path.iter().map(|hash| hash.0).collect();
            let leaf = seal.batch().leaf();
            if !merkle::verify_inclusion(&leaf, index, size, &path, &last.head) {
                let what = format!(
                    "its proof does not show that seal {} is in the head of seal {number}",
                    seal.seal
                );
                found.add(Finding::new(checks::PROOF_INVALID, what));
            }
        }
    }
}
