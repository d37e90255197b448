//! What is stored of a delivery's outcome, when it comes and when it is tried again.

use chrono::{DateTime, Utc};

use super::home::Shard;
use super::load::Tried;
use super::unit::{Outcome, Recorded};
use crate::ledger::SubscriptionKey;

/// Why a delivery was not recorded.
#[derive(Default)]
pub(super) struct Why {
    pub(super) reason: Option<String>,
    pub(super) waits_for: Option<SubscriptionKey>,
    /// See [`Fate::erases`].
    pub(super) erases: bool,
}

impl Why {
    pub(super) fn reason(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::default()
        }
    }
}

/// The outcome of a delivery that waits, as stored.
pub const PARKED: &str = "parked";

/// What became of a delivery.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) outcome: &'static str,
    pub(super) reason: Option<String>,
    pub(super) waits_for: Option<SubscriptionKey>,
    /// Of a parked one: when it is due again.
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    pub(super) led_to: Vec<(Shard, i64)>,
    /// Whether its body is not kept, since it is about somebody who was erased; while it waits it is.
    pub(super) erases: bool,
}

impl Fate {
    /// `due`: when it is tried again, if it waits.
    pub(super) fn of(
        outcome: &Outcome,
        why: Why,
        due: DateTime<Utc>,
        recorded: &[Recorded],
    ) -> Self {
        let parked = *outcome == Outcome::Parked;
        Self {
            outcome: match outcome {
                Outcome::Recorded => "recorded",
                Outcome::Ignored => "ignored",
                Outcome::Parked => PARKED,
                Outcome::Duplicate
                | Outcome::Refused(_)
                | Outcome::Answered { .. }
                | Outcome::KeyReused { .. } => "duplicate",
            },
            reason: why.reason,
            waits_for: why.waits_for,
            next_attempt_at: parked.then_some(due),
            led_to: recorded
                .iter()
                .map(|one| (one.shard, one.position))
                .collect(),
            erases: why.erases,
        }
    }

    /// Whether the body goes now.
    pub(super) fn blanks(&self) -> bool {
        self.erases && self.outcome != PARKED
    }
}

impl Tried {
    /// What somebody else's try came to, for whoever tries the same delivery again.
    pub(super) fn became(&self) -> Outcome {
        match self.outcome.as_str() {
            PARKED => Outcome::Parked,
            "ignored" => Outcome::Ignored,
            _ => Outcome::Duplicate,
        }
    }
}
