//! Whether this instance's clock agrees with the database's.
//!
//! What a batch decides by a clock that is far ahead ends credits and holds early, for all instances and for good, and
//! every shard it touches keeps that time. So the database is asked for its time where it is asked anyway, and while the
//! two differ by more than a bound nothing is decided. Which of the two is wrong can not be known here.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// How long a comparison is good for whoever asks only whether to look again.
const FRESH: Duration = Duration::from_secs(1);
/// A clock that moved by so much more or less than time passed was set.
const SET_BY: TimeDelta = TimeDelta::seconds(1);

/// The clocks differ by more than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this instance's clock is {} s {} the database's", .ahead_ms.abs() / 1000, if *.ahead_ms < 0 { "behind" } else { "ahead of" })]
pub struct ClockOff {
    /// How far this instance's clock is ahead of the database's, in milliseconds.
    pub ahead_ms: i64,
}

/// This instance's clock, and what is known of how it agrees with the database's.
pub struct ClockCheck {
    clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    bound: Option<TimeDelta>,
    ahead_ms: AtomicI64,
    /// Whether it was said that they differ.
    said: AtomicBool,
    last: Mutex<Option<Compared>>,
}

#[derive(Clone, Copy)]
struct Compared {
    at: Instant,
    now: DateTime<Utc>,
    result: Result<(), ClockOff>,
}

impl ClockCheck {
    /// `bound`: how far they may differ; none: they are never compared.
    pub fn new(
        clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
        bound: Option<Duration>,
    ) -> Self {
        Self {
            clock,
            bound: bound.and_then(|bound| TimeDelta::from_std(bound).ok()),
            ahead_ms: AtomicI64::new(0),
            said: AtomicBool::new(false),
            last: Mutex::new(None),
        }
    }

    /// What time it is here. The log keeps microseconds; a finer time would hash differently than it is stored.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)().trunc_subsecs(6)
    }

    /// The time to decide at, when the database has just said what time it is there.
    ///
    /// # Errors
    /// [`ClockOff`]
    pub fn agreed(&self, at_database: DateTime<Utc>) -> Result<DateTime<Utc>, ClockOff> {
        let now = self.now();
        let Some(bound) = self.bound else {
            return Ok(now);
        };
        let ahead = now - at_database;
        let ahead_ms = ahead.num_milliseconds();
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        let result = if ahead.abs() <= bound {
            Ok(())
        } else {
            Err(ClockOff { ahead_ms })
        };
        self.say(result);
        let at = Instant::now();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Compared { at, now, result });
        result.map(|()| now)
    }

    /// What the last comparison came to, unless that was a while ago, or the clock was set since; none: compare again.
    pub fn known(&self) -> Option<Result<(), ClockOff>> {
        if self.bound.is_none() {
            return Some(Ok(()));
        }
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Compared { at, now, result } = last?;
        let passed = at.elapsed();
        let set_by = (self.now() - now) - TimeDelta::from_std(passed).ok()?;
        (passed < FRESH && set_by.abs() < SET_BY).then_some(result)
    }

    /// How far this clock was ahead of the database's when they were last compared, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point")]
    pub fn ahead_s(&self) -> f64 {
        self.ahead_ms.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// Once when they begin to differ, and once when they agree again.
    fn say(&self, result: Result<(), ClockOff>) {
        let before = self.said.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(off) if !before => tracing::error!(
                "{off}: nothing is decided until they agree. If all instances say so, the database's clock is wrong"
            ),
            Ok(()) if before => {
                tracing::info!("this instance's clock and the database's agree again");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).unwrap()
    }

    fn check(now_s: &Arc<AtomicI64>, bound: Option<Duration>) -> ClockCheck {
        let now_s = Arc::clone(now_s);
        ClockCheck::new(Arc::new(move || at(now_s.load(Ordering::Relaxed))), bound)
    }

    #[test]
    fn nothing_is_decided_while_the_clocks_differ_by_more_than_the_bound() {
        let now_s = Arc::new(AtomicI64::new(1000));
        let check = check(&now_s, Some(Duration::from_secs(30)));
        for (database_s, ahead_ms) in [
            (970, None),
            (1030, None),
            (969, Some(31_000)),
            (1031, Some(-31_000)),
        ] {
            let expected = ahead_ms.map_or(Ok(at(1000)), |ahead_ms| Err(ClockOff { ahead_ms }));
            assert_eq!(check.agreed(at(database_s)), expected);
            assert_eq!(check.known(), Some(expected.map(drop)));
        }
        let text = ClockOff { ahead_ms: -31_000 }.to_string();
        assert_eq!(text, "this instance's clock is 31 s behind the database's");
    }

    #[test]
    fn how_far_it_is_ahead_is_said_however_far() {
        let now_s = Arc::new(AtomicI64::new(1000));
        let check = check(&now_s, Some(Duration::from_secs(30)));
        let century_s = 100 * 366 * 86_400;
        for ahead_s in [0, 31, -31, century_s, -century_s] {
            let _ = check.agreed(at(1000 - ahead_s));
            assert_eq!(check.ahead_s().to_string(), ahead_s.to_string());
        }
    }

    #[test]
    fn a_clock_that_was_set_is_compared_again() {
        let now_s = Arc::new(AtomicI64::new(1000));
        let check = check(&now_s, Some(Duration::from_secs(30)));
        assert_eq!(check.known(), None);
        assert!(check.agreed(at(1000)).is_ok());
        assert_eq!(check.known(), Some(Ok(())));
        for set_to_s in [5000, 10] {
            now_s.store(set_to_s, Ordering::Relaxed);
            assert_eq!(check.known(), None);
        }
    }

    #[test]
    fn without_a_bound_any_clock_is_right() {
        let now_s = Arc::new(AtomicI64::new(1000));
        let check = check(&now_s, None);
        assert_eq!(check.agreed(at(9_000_000)), Ok(at(1000)));
        assert_eq!(check.known(), Some(Ok(())));
    }
}
