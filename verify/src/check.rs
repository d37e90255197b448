//! The checks, fed record by record: from the folder of an export ([`crate::export`]), or by the service from its database.
//!
//! Whoever feeds them keeps one order:
//! 1. [`Checker::seal`] for a seal, then [`Checker::event`] for each event that is new in it, by shard and position; so
//!    seal by seal; then the events that no seal covers, by shard and position. Of one user's history: all
//!    [`Checker::proven_seal`]s by number, then the [`Checker::proven_event`]s by shard and position.
//! 2. Deliveries, streams and rows, in any order.
//! 3. [`Checker::finish`].
//!
//! What is fed must be one moment of the ledger. Nothing is believed, and nothing panics: what can not be is a finding.
//! What is kept in memory grows with streams, lots, movements and settlements, never with what they hold.

mod deliveries;
mod history;
mod log;
mod payments;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use crate::Hash;
use crate::manifest::{Content, Manifest, Scope};
use crate::record::{
    DeliveryRecord, EndRecord, EventRecord, ProvenEvent, ProvenSeal, Row, SealRecord, StreamRecord,
};
use crate::report::{Finding, Found, Report, Signatures, checks};
use crate::seal::PublicKey;
use deliveries::Deliveries;
use history::History;
use log::Log;

/// What is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Whose history it is.
    pub scope: Scope,
    /// Where every shard ends: one for each shard.
    pub ends: Vec<EndRecord>,
    /// The last seal; 0: none.
    pub last_seal: i64,
}

impl From<&Manifest> for Extent {
    fn from(manifest: &Manifest) -> Self {
        Self {
            scope: manifest.scope.clone(),
            ends: manifest.ends.clone(),
            last_seal: manifest.last_seal,
        }
    }
}

/// What is trusted beforehand, and what whoever asks wants to know.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The keys that may have signed seals.
    pub keys: Vec<PublicKey>,
    /// Whoever asks wants no signature verified. Without this and without a key the verdict is never clean.
    pub waived: bool,
    /// The history must go at least as far as this seal; 0: as far as it does.
    pub min_seal: i64,
    /// Lists every finding, however many there are.
    pub list_all: bool,
    /// The heads of the seals that witnesses were told of, by number: one each, if all is well. See [`Trust::witness`].
    witnessed: BTreeMap<i64, BTreeSet<Hash>>,
    disowned: Vec<i64>,
}

impl Trust {
    /// Trusts these keys.
    pub fn of_keys(keys: Vec<PublicKey>) -> Self {
        Self {
            keys,
            ..Self::default()
        }
    }

    /// Wants no signature verified.
    pub fn waived() -> Self {
        Self {
            waived: true,
            ..Self::default()
        }
    }

    /// Takes in a seal that a witness was told of; of any number of witnesses, one after another. Give the keys first: what none of them signed accuses nobody.
    pub fn witness(&mut self, seal: &SealRecord) {
        let ours = |key: &PublicKey| key.verifies(seal.seal, &seal.head, &seal.signature);
        if self.keys.is_empty() || self.keys.iter().any(ours) {
            let heads = self.witnessed.entry(seal.seal).or_default();
            heads.insert(seal.head);
        } else {
            self.disowned.push(seal.seal);
        }
    }

    fn signatures(&self, seals: u64) -> Signatures {
        match (self.keys.is_empty(), self.waived) {
            (true, true) => Signatures::Waived,
            (true, false) => Signatures::NotVerified,
            (false, _) if seals == 0 => Signatures::NothingSigned,
            (false, _) => Signatures::Verified,
        }
    }
}

/// The checks in the middle of their work. See the module for the order in which it is fed.
#[derive(Debug)]
pub struct Checker {
    scope: Scope,
    log: Log,
    history: History,
    deliveries: Deliveries,
    rows: u64,
    found: Found,
}

impl Checker {
    /// Begins.
    pub fn new(extent: Extent, trust: Trust) -> Self {
        let mut found = Found {
            list_all: trust.list_all,
            ..Found::default()
        };
        let forked = trust.witnessed.iter().filter(|(_, heads)| heads.len() > 1);
        for (seal, heads) in forked {
            let heads: Vec<String> = heads.iter().map(hex::encode).collect();
            let what = format!(
                "witnesses were told several heads of seal {seal}: {}",
                heads.join(", ")
            );
            found.add(Finding::new(checks::ROLLED_BACK, what));
        }
        for seal in &trust.disowned {
            let what = format!("no given key signed what the witness says of seal {seal}");
            found.add(Finding::new(checks::WITNESS_INVALID, what));
        }
        Self {
            scope: extent.scope.clone(),
            log: Log::new(extent, trust),
            history: History::default(),
            deliveries: Deliveries::default(),
            rows: 0,
            found,
        }
    }

    /// Takes a finding of whoever feeds: a line that can not be read, a file that is not there.
    pub fn finding(&mut self, finding: Finding) {
        self.found.add(finding);
    }

    /// Takes the next seal; its events follow.
    pub fn seal(&mut self, seal: &SealRecord) {
        self.log.seal(seal, &mut self.found);
    }

    /// Takes the next event.
    pub fn event(&mut self, event: &EventRecord) {
        if self.log.event(event, &mut self.found) {
            self.history.event(event, &mut self.found);
            self.deliveries.event(event, &mut self.found);
        }
    }

    /// Takes the next seal of an export of one user.
    pub fn proven_seal(&mut self, seal: &ProvenSeal) {
        self.log.proven_seal(seal, &mut self.found);
    }

    /// Takes the next event of an export of one user.
    pub fn proven_event(&mut self, event: &ProvenEvent) {
        self.log.proven_event(event, &mut self.found);
        self.history.event(&event.event, &mut self.found);
        self.deliveries.event(&event.event, &mut self.found);
    }

    /// Takes a stored delivery; `body`: its very bytes, where they can be seen.
    pub fn delivery(&mut self, delivery: &DeliveryRecord, body: Option<&[u8]>) {
        self.deliveries
            .delivery(delivery, body, &self.scope, &mut self.found);
    }

    /// Takes the stored state of a stream.
    pub fn stream(&mut self, stream: &StreamRecord) {
        self.rows += 1;
        self.history.stream(stream, &mut self.found);
    }

    /// Takes a row of a table that is worked out from the events: `lots`, `holds`, `settlements` or a read model.
    pub fn row(&mut self, content: Content, row: &Row) {
        self.rows += 1;
        self.history.row(content, row, &mut self.found);
    }

    /// Compares what can be compared only at the end, and says what all came to.
    pub fn finish(mut self) -> Report {
        self.log.finish(&mut self.found);
        self.deliveries.finish(&mut self.found);
        self.history.finish(&self.scope, &mut self.found);
        Report {
            events: self.log.events,
            streams: self.history.streams(),
            deliveries: self.deliveries.seen,
            rows: self.rows,
            seals: self.log.seals,
            sealed_up_to: self.log.sealed_up_to(),
            unsealed_events: self.log.unsealed,
            signatures: self.log.trust.signatures(self.log.seals),
            witnessed: self.log.witnessed,
            totals: self.history.totals,
            found: self.found.count,
            found_by_check: self.found.by_check,
            findings: self.found.listed,
            scope: self.scope,
        }
    }
}
