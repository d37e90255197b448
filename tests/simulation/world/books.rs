//! What the world knows for certain, for the check in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use credit_ledger::ledger::{Command, Place};

use crate::ROUNDS_OF_A_CLUSTER;
use crate::support::told::Told;

/// Something that the backend asked for and was given.
#[derive(Debug, Clone)]
pub struct Done {
    pub user_id: String,
    pub command: Command,
    /// What it adds to what the user has.
    pub delta: i64,
    pub place: Place,
}

/// Everything that was said for certain.
#[derive(Default)]
pub struct Books {
    /// Deliveries that were acknowledged, by what was said first.
    pub acknowledged: Mutex<Vec<(Told, String)>>,
    pub done: Mutex<Vec<Done>>,
    /// What was available when it was too little, as the answers say.
    pub too_little: Mutex<Vec<(String, i64)>>,
    /// How often each purchase was said to be recorded by whoever verified it.
    pub recorded_by_frontend: Mutex<BTreeMap<String, usize>>,
    pub requests: AtomicUsize,
    pub unanswered: AtomicUsize,
    pub unavailable: AtomicUsize,
    pub attempts: AtomicUsize,
    pub tampered: AtomicUsize,
    pub verifications: AtomicUsize,
    /// What broke, and how often.
    pub faults: Mutex<BTreeMap<String, usize>>,
    pub audits: AtomicUsize,
    pub checked: AtomicUsize,
}

/// What there was of everything.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub rounds: usize,
    pub requests: usize,
    pub unanswered: usize,
    pub unavailable: usize,
    /// Events that providers told, attempts to deliver them, and those of the attempts that were forged.
    pub told: usize,
    pub attempts: usize,
    pub tampered: usize,
    pub verifications: usize,
    /// Purchases that were recorded by whoever verified them, before a provider told of them.
    pub recorded_by_frontend: usize,
    pub calls: usize,
    /// By kind.
    pub faults: BTreeMap<String, usize>,
    /// Whole audits beside the load.
    pub audits: usize,
    /// Facts that were looked for one by one in the end.
    pub checked: usize,
}

impl Books {
    /// Something of this kind broke.
    pub fn broke(&self, kind: &str) {
        let mut faults = self.faults.lock().unwrap();
        *faults.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn figures(&self) -> Figures {
        let of = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        Figures {
            rounds: 1,
            requests: of(&self.requests),
            unanswered: of(&self.unanswered),
            unavailable: of(&self.unavailable),
            told: self.acknowledged.lock().unwrap().len(),
            attempts: of(&self.attempts),
            tampered: of(&self.tampered),
            verifications: of(&self.verifications),
            recorded_by_frontend: self.recorded_by_frontend.lock().unwrap().len(),
            calls: self.done.lock().unwrap().len() + self.too_little.lock().unwrap().len(),
            faults: self.faults.lock().unwrap().clone(),
            audits: of(&self.audits),
            checked: of(&self.checked),
        }
    }
}

impl Figures {
    /// Fails if something never was. Of a few rounds, the frontend may have been first in none.
    pub fn assert_all_happened(&self) {
        let many = self.rounds >= ROUNDS_OF_A_CLUSTER;
        let all = [
            self.told,
            self.attempts,
            self.tampered,
            self.verifications,
            self.calls,
            self.audits,
            self.checked,
            self.faults.len(),
        ];
        let first = self.recorded_by_frontend > 0 || !many;
        assert!(first && all.iter().all(|number| *number > 0), "{self:?}");
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.requests += other.requests;
        self.unanswered += other.unanswered;
        self.unavailable += other.unavailable;
        self.told += other.told;
        self.attempts += other.attempts;
        self.tampered += other.tampered;
        self.verifications += other.verifications;
        self.recorded_by_frontend += other.recorded_by_frontend;
        self.calls += other.calls;
        for (kind, times) in other.faults {
            *self.faults.entry(kind).or_default() += times;
        }
        self.audits += other.audits;
        self.checked += other.checked;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds, {} faults; {} events told in {} deliveries ({} forged), {} checkouts verified ({} purchases \
             recorded so first), {} calls; of {} requests {} had no answer and {} had 503; {} audits beside the load, {} \
             facts looked for",
            self.rounds,
            self.faults.values().sum::<usize>(),
            self.told,
            self.attempts,
            self.tampered,
            self.verifications,
            self.recorded_by_frontend,
            self.calls,
            self.requests,
            self.unanswered,
            self.unavailable,
            self.audits,
            self.checked,
        )
    }
}
