//! Whether this instance's lanes get their batches committed: what readiness asks.
//!
//! Must never decide what becomes of a unit.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// No batch was given up since one was committed.
const NONE: i64 = -1;

/// When the lanes last gave up a batch because of the database, unless one was committed since.
#[derive(Debug)]
pub(super) struct Health {
    started: Instant,
    /// Milliseconds after `started`, or [`NONE`].
    gave_up_ms: AtomicI64,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            gave_up_ms: AtomicI64::new(NONE),
        }
    }

    /// A lane committed a batch.
    pub(super) fn committed(&self) {
        self.gave_up_ms.store(NONE, Ordering::Relaxed);
    }

    /// A lane told its units that the database is not available.
    pub(super) fn gave_up(&self) {
        self.gave_up_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether the last batch was given up, and no longer ago than this.
    pub(super) fn gave_up_within(&self, window: Duration) -> bool {
        let gave_up_ms = self.gave_up_ms.load(Ordering::Relaxed);
        let age_ms = u128::try_from(self.now_ms() - gave_up_ms).unwrap_or(0);
        gave_up_ms != NONE && age_ms < window.as_millis()
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_given_up_counts_until_one_is_committed_or_it_is_long_ago() {
        let health = Health::new();
        let long = Duration::from_mins(1);
        assert!(!health.gave_up_within(long));
        health.gave_up();
        assert!(health.gave_up_within(long));
        assert!(!health.gave_up_within(Duration::ZERO));
        health.committed();
        assert!(!health.gave_up_within(long));
        health.gave_up();
        assert!(health.gave_up_within(long));
    }
}
