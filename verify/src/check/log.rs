//! The log itself: positions, the chain of each shard, seals and what is in them.
//!
//! One damage shall be one finding, so what is known to be damaged is not compared again: the checks that follow from it
//! are left out, and go on where both sides agree again.

mod proven;

use std::collections::{BTreeMap, BTreeSet};

use super::{Extent, Trust};
use crate::Hash;
use crate::chain::{GENESIS, link};
use crate::manifest::Scope;
use crate::merkle::Tree;
use crate::record::{EndRecord, EventRecord, Hex, SealRecord};
use crate::report::{Finding, Found, SealedUpTo, checks};
use crate::seal::event_leaf;

/// A shard as far as it was seen.
#[derive(Debug, Clone)]
struct Shard {
    position: i64,
    recorded_at_us: i64,
    /// What may stand before the next event: the hash that the last event carries, and the one that it should carry.
    /// Nothing: the last event is not there.
    before: Option<[Hash; 2]>,
    /// The first of the positions that were passed over to the last one.
    jumped_from: Option<i64>,
    /// The same two at the last position that the seals so far cover, with that position.
    sealed: (i64, Option<[Hash; 2]>),
    /// It is not what was sealed: its later seals can not agree either.
    diverged: bool,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            position: 0,
            recorded_at_us: i64::MIN,
            before: Some([GENESIS; 2]),
            jumped_from: None,
            sealed: (0, Some([GENESIS; 2])),
            diverged: false,
        }
    }
}

/// A seal whose events are coming.
#[derive(Debug)]
struct Open {
    seal: SealRecord,
    events: Tree,
    /// Something of it is known to be damaged: its root says nothing more.
    damaged: bool,
}

#[derive(Debug)]
pub(super) struct Log {
    extent: Extent,
    pub(super) trust: Trust,
    shards: BTreeMap<i16, Shard>,
    /// Where each shard ends with the last seal.
    sealed: BTreeMap<i16, i64>,
    open: Option<Open>,
    /// The tree of all seals so far; nothing once one of them is missing or broken.
    history: Option<Tree>,
    last: Option<SealRecord>,
    /// Of an export of one user: each seal with the proof that it is in the last one's head.
    proven: BTreeMap<i64, (SealRecord, Vec<Hex>)>,
    unknown_keys: BTreeSet<String>,
    pub(super) seals: u64,
    pub(super) events: u64,
    pub(super) unsealed: u64,
    pub(super) witnessed: u64,
}

impl Log {
    pub(super) fn new(extent: Extent, trust: Trust) -> Self {
        Self {
            extent,
            trust,
            shards: BTreeMap::new(),
            sealed: BTreeMap::new(),
            open: None,
            history: Some(Tree::default()),
            last: None,
            proven: BTreeMap::new(),
            unknown_keys: BTreeSet::new(),
            seals: 0,
            events: 0,
            unsealed: 0,
            witnessed: 0,
        }
    }

    pub(super) fn sealed_up_to(&self) -> Option<SealedUpTo> {
        self.last.as_ref().map(|seal| SealedUpTo {
            seal: seal.seal,
            sealed_at_us: seal.sealed_at_us,
        })
    }

    pub(super) fn seal(&mut self, seal: &SealRecord, found: &mut Found) {
        self.close(found);
        let last = self.last.as_ref().map_or(0, |last| last.seal);
        if seal.seal <= last {
            let what = format!("seal {} comes after seal {last}", seal.seal);
            found.add(Finding::new(checks::SEAL_MISSING, what));
            return;
        }
        let gap = seal.seal != last.saturating_add(1);
        if gap {
            let what = format!(
                "seals {} to {} are not there",
                last.saturating_add(1),
                seal.seal.saturating_sub(1)
            );
            found.add(Finding::new(checks::SEAL_MISSING, what));
            self.history = None;
        }
        let broken = self.check_times_and_ends(seal, gap, found);
        let head_broken = self.check_head(seal, broken, found);
        if !head_broken && !broken {
            self.check_signature(seal, found);
        }
        self.check_witness(seal, head_broken || broken, found);
        self.seals += 1;
        for end in &seal.ends {
            self.sealed.insert(end.shard, end.position);
        }
        self.last = Some(seal.clone());
        self.open = Some(Open {
            seal: seal.clone(),
            events: Tree::default(),
            damaged: gap || broken,
        });
    }

    /// What a seal says must fit what the one before said.
    fn check_times_and_ends(&self, seal: &SealRecord, gap: bool, found: &mut Found) -> bool {
        let mut wrong = Vec::new();
        if let Some(last) = &self.last
            && seal.sealed_at_us < last.sealed_at_us
        {
            wrong.push("is older than the one before".to_owned());
        }
        if !seal.ends.is_sorted_by(|one, next| one.shard < next.shard) {
            wrong.push("names its shards not in their order, or twice".to_owned());
        }
        let mut new = 0_i128;
        for end in &seal.ends {
            let before = self.sealed.get(&end.shard).copied().unwrap_or(0);
            new += i128::from(end.position) - i128::from(before);
            if end.position < before {
                wrong.push(format!(
                    "ends shard {} at {}, the one before at {before}",
                    end.shard, end.position
                ));
            }
        }
        for shard in self.sealed.keys() {
            if !seal.ends.iter().any(|end| end.shard == *shard) {
                wrong.push(format!("says nothing of shard {shard}"));
            }
        }
        if !gap && wrong.is_empty() && new != i128::from(seal.events) {
            wrong.push(format!(
                "says that it has {} events, its ends say {new}",
                seal.events
            ));
        }
        let broken = !wrong.is_empty();
        if broken {
            let what = format!("seal {} {}", seal.seal, wrong.join(", "));
            found.add(Finding::new(checks::SEAL_BROKEN, what));
        }
        broken
    }

    /// The head is the root of the tree over all seals so far. True: it is not.
    fn check_head(&mut self, seal: &SealRecord, told: bool, found: &mut Found) -> bool {
        let Some(history) = &mut self.history else {
            return false;
        };
        history.push(seal.batch().leaf());
        let root = history.root();
        if root == seal.head {
            return false;
        }
        if !told {
            let what = format!(
                "seal {} has the head {}, it and the seals before it make {}",
                seal.seal,
                hex::encode(seal.head),
                hex::encode(root)
            );
            found.add(Finding::new(checks::SEAL_BROKEN, what));
        }
        // Signed is what was made: then it is the head that was changed. Else it is what the head stands for.
        let mut keys = self.trust.keys.iter();
        if !keys.any(|key| key.verifies(seal.seal, &root, &seal.signature)) {
            self.history = None;
        }
        true
    }

    fn check_signature(&mut self, seal: &SealRecord, found: &mut Found) {
        if self.trust.keys.is_empty() {
            return;
        }
        let mut keys = self.trust.keys.iter();
        let what = match keys.find(|key| key.id() == seal.key_id) {
            Some(key) if key.verifies(seal.seal, &seal.head, &seal.signature) => return,
            Some(key) => format!("seal {}: key {} did not sign it", seal.seal, key.id()),
            None if self.unknown_keys.insert(seal.key_id.clone()) => format!(
                "seal {} and maybe others: key {} was not given",
                seal.seal, seal.key_id
            ),
            None => return,
        };
        found.add(Finding::new(checks::SIGNATURE_INVALID, what));
    }

    /// What a witness was told stays so.
    fn check_witness(&mut self, seal: &SealRecord, told: bool, found: &mut Found) {
        let heads = self.trust.witnessed.remove(&seal.seal).unwrap_or_default();
        if heads.contains(&seal.head) {
            self.witnessed += 1;
        } else if let Some(head) = heads.first().filter(|_| !told) {
            let what = format!(
                "seal {} has the head {}, the witness was told {}",
                seal.seal,
                hex::encode(seal.head),
                hex::encode(head)
            );
            found.add(Finding::new(checks::ROLLED_BACK, what));
        }
    }

    /// Takes an event. False: it is out of its place, nothing more can be said of it.
    pub(super) fn event(&mut self, event: &EventRecord, found: &mut Found) -> bool {
        self.events += 1;
        let (id, position) = (event.shard, event.position);
        let shard = self.shards.entry(id).or_default();
        let sealed = self.sealed.get(&id).copied().unwrap_or(0);
        let expected = shard.position.saturating_add(1);
        let finding = |check, what: String| {
            Finding::new(check, what)
                .at(id, position)
                .of(&event.aggregate_type, &event.aggregate_id)
        };
        let jumped_from = shard.jumped_from.take();
        let mut damaged = false;
        if position < expected {
            // Not this one is out of its place, but the one before, for which others were passed over.
            if jumped_from.is_none_or(|first| position < first) {
                let what = format!("position {expected} was to come");
                found.add(finding(checks::POSITION_MISSING, what));
                return false;
            }
            let what = format!("position {position} comes after it");
            let out_of_place = Finding::new(checks::POSITION_MISSING, what);
            found.add(out_of_place.at(id, shard.position));
            (shard.before, damaged) = (None, true);
        } else if position > expected {
            let what = format!("positions {expected} to {} are not there", position - 1);
            found.add(Finding::new(checks::POSITION_MISSING, what).at(id, expected));
            shard.jumped_from = Some(expected);
            (shard.before, damaged) = (None, true);
        }
        let own = shard
            .before
            .map(|before| before.map(|before| link(&before, &event.link())));
        if let Some(own) = own
            && !own.contains(&event.hash)
        {
            let what = format!(
                "its hash is {}, its fields and the hash before it make {}",
                hex::encode(event.hash),
                hex::encode(own[0])
            );
            found.add(finding(checks::HASH_DIFFERS, what));
            damaged = true;
        }
        if event.recorded_at_us < shard.recorded_at_us {
            let what = "it was recorded before the event before it";
            found.add(finding(checks::TIME_REVERSED, what.to_owned()));
        }
        shard.position = position;
        // A time that was changed is no measure for those that follow.
        if !damaged {
            shard.recorded_at_us = shard.recorded_at_us.max(event.recorded_at_us);
        }
        shard.before = Some([event.hash, own.map_or(event.hash, |own| own[0])]);
        let open = self.open.as_mut();
        match open.filter(|_| expected.min(position) <= sealed) {
            Some(open) if position <= sealed => {
                shard.sealed = (position, shard.before);
                open.events.push(event_leaf(&event.hash));
                open.damaged |= damaged;
            }
            // What is missing began in the seal.
            Some(open) => open.damaged = true,
            None => {}
        }
        self.unsealed += u64::from(position > sealed);
        true
    }

    /// Compares what a seal says with the events that came for it.
    fn close(&mut self, found: &mut Found) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let number = open.seal.seal;
        for end in &open.seal.ends {
            if let Some(what) = self.end_differs(end, false, open.damaged) {
                let what = format!("seal {number} {what}");
                found.add(Finding::new(checks::END_DIFFERS, what).at(end.shard, end.position));
                open.damaged = true;
            }
            open.damaged |= self.shards.get(&end.shard).is_some_and(|s| s.diverged);
        }
        let root = open.events.root();
        if !open.damaged && root != open.seal.root {
            let what = format!(
                "seal {number} has the root {}, its {} events make {}",
                hex::encode(open.seal.root),
                open.events.len(),
                hex::encode(root)
            );
            found.add(Finding::new(checks::ROOT_DIFFERS, what));
        }
    }

    /// What is wrong with where a shard is said to end: in the seal that closes, or in the whole. What was told of a shard
    /// once is not told again.
    fn end_differs(&mut self, end: &EndRecord, whole: bool, damaged: bool) -> Option<String> {
        let none = Shard::default();
        let shard = self.shards.get(&end.shard).unwrap_or(&none);
        let (position, before) = if whole {
            (shard.position, shard.before)
        } else {
            shard.sealed
        };
        let what = if position == end.position {
            let before = before.filter(|before| !before.contains(&end.hash))?;
            format!(
                "says that position {position} has the hash {}, it has {}",
                hex::encode(end.hash),
                hex::encode(before[0])
            )
        } else {
            format!(
                "says that the shard ends at position {}, it ends at {position}",
                end.position
            )
        };
        let shard = self.shards.entry(end.shard).or_default();
        let told = damaged || std::mem::replace(&mut shard.diverged, true);
        (!told).then_some(what)
    }

    pub(super) fn finish(&mut self, found: &mut Found) {
        self.close(found);
        self.check_proven_seals(found);
        let last = self.last.as_ref().map_or(0, |last| last.seal);
        if last != self.extent.last_seal {
            let what = format!(
                "the last seal is {last}, it should be {}",
                self.extent.last_seal
            );
            found.add(Finding::new(checks::SEAL_MISSING, what));
        }
        if last < self.trust.min_seal {
            let what = format!(
                "the last seal is {last}, seal {} was to be there",
                self.trust.min_seal
            );
            found.add(Finding::new(checks::SEAL_MISSING, what));
        }
        if self.extent.scope == Scope::Whole {
            let noted = |shard: &i16| self.extent.ends.iter().any(|end| end.shard == *shard);
            for (shard, walked) in self.shards.iter().filter(|(shard, _)| !noted(shard)) {
                let what = "no end is noted of this shard, whose last event this is";
                found.add(Finding::new(checks::END_DIFFERS, what).at(*shard, walked.position));
            }
            for end in std::mem::take(&mut self.extent.ends) {
                if let Some(what) = self.end_differs(&end, true, false) {
                    let what = format!("the end that is noted {what}");
                    found.add(Finding::new(checks::END_DIFFERS, what).at(end.shard, end.position));
                }
            }
        }
        // Of one user's history only the last seal and those of the proofs are there.
        let missing = |seal: &i64| self.extent.scope == Scope::Whole || *seal > last;
        for seal in self.trust.witnessed.keys().filter(|seal| missing(seal)) {
            let what = format!("a witness was told of seal {seal}, which is not there");
            found.add(Finding::new(checks::ROLLED_BACK, what));
        }
    }
}
