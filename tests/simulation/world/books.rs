//! What the world knows for certain, for the check in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use credit_ledger::ledger::{Command, Place};
use serde_json::Value;

use crate::support::told::Told;

/// Something that the backend asked for and was given.
#[derive(Debug, Clone)]
pub struct Done {
    pub user_id: String,
    pub command: Command,
    /// What it adds to what the user has.
    pub delta: i64,
    pub place: Place,
    pub answer: Value,
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
    pub faults: AtomicUsize,
    pub audits: AtomicUsize,
    pub checked: AtomicUsize,
}

/// What there was of everything.
#[derive(Debug, Clone, Copy, Default)]
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
    pub calls: usize,
    pub faults: usize,
    /// Whole audits beside the load.
    pub audits: usize,
    /// Facts that were looked for one by one in the end.
    pub checked: usize,
}

impl Books {
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
            calls: self.done.lock().unwrap().len() + self.too_little.lock().unwrap().len(),
            faults: of(&self.faults),
            audits: of(&self.audits),
            checked: of(&self.checked),
        }
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
        self.calls += other.calls;
        self.faults += other.faults;
        self.audits += other.audits;
        self.checked += other.checked;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds, {} faults; {} events told in {} deliveries ({} forged), {} checkouts verified, {} calls; of {} requests \
             {} had no answer and {} had 503; {} audits beside the load, {} facts looked for",
            self.rounds,
            self.faults,
            self.told,
            self.attempts,
            self.tampered,
            self.verifications,
            self.calls,
            self.requests,
            self.unanswered,
            self.unavailable,
            self.audits,
            self.checked,
        )
    }
}
