//! Asks the database what time it is, for whoever must know whether the clocks agree or whether the database answers.
//!
//! Owns that this costs next to nothing, however many ask and whoever they are: one asks for all who wait; what came of
//! it, a failure too, is good for `FRESH`; and asking goes on when the request that began it ends, so that nobody who
//! goes away closes a session with that.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::reads::{ReadError, Reads};
use crate::store::{ClockCheck, ClockOff};

/// How long it is not asked again.
const FRESH: Duration = Duration::from_secs(1);
/// How long anybody waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who answered no longer ago than this, and is slow now, is there: in a flood the answer comes late, and whoever takes the
/// instance out of service then only moves the flood to the others.
const LATELY: Duration = Duration::from_secs(5);

/// This instance's clock can not be relied on, or it is not known whether it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockDoubt {
    /// The clocks differ.
    #[error(transparent)]
    Off(#[from] ClockOff),
    /// There is nothing to compare with.
    #[error("the database does not answer")]
    Unanswered,
}

type TimeOfDatabase =
    dyn Fn() -> BoxFuture<'static, Result<DateTime<Utc>, ReadError>> + Send + Sync;

/// Compares the clocks.
pub(super) struct Comparing {
    time: Arc<TimeOfDatabase>,
    clock: Arc<ClockCheck>,
    /// When the database was asked last, and whether it answered. Whoever holds the lock is the one that asks.
    last: Arc<Mutex<Option<(Instant, bool)>>>,
    /// When it answered last.
    answered_at: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl Comparing {
    /// Of this clock and the one of the database that is read.
    pub fn new(reads: Reads, clock: Arc<ClockCheck>) -> Self {
        let time = move || -> BoxFuture<'static, _> {
            let reads = reads.clone();
            Box::pin(async move { reads.database_time().await })
        };
        Self::of(Arc::new(time), clock)
    }

    fn of(time: Arc<TimeOfDatabase>, clock: Arc<ClockCheck>) -> Self {
        Self {
            time,
            clock,
            last: Arc::default(),
            answered_at: Arc::default(),
        }
    }

    /// Whether the clocks agree, as far as is known already, or by asking.
    pub async fn known(&self) -> Result<(), ClockDoubt> {
        match self.clock.known() {
            Some(known) => Ok(known?),
            None => self.answered().await,
        }
    }

    /// As [`Comparing::known`], and that the database answers whoever reads.
    pub async fn answered(&self) -> Result<(), ClockDoubt> {
        let asked = timeout(PATIENCE, self.ask()).await;
        asked.unwrap_or(Err(ClockDoubt::Unanswered))
    }

    /// As [`Comparing::answered`], but who is only slow is forgiven it for a while.
    pub async fn is_there(&self) -> Result<(), ClockDoubt> {
        if let Ok(answered) = timeout(PATIENCE, self.ask()).await {
            return answered;
        }
        let answered_at = *self
            .answered_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match answered_at {
            Some(at) if at.elapsed() < LATELY => Ok(self.clock.known().transpose().map(drop)?),
            _ => Err(ClockDoubt::Unanswered),
        }
    }

    /// Asks, unless that was done a moment ago; waits for whoever does it already.
    async fn ask(&self) -> Result<(), ClockDoubt> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let answered = last.and_then(|(at, answered)| (at.elapsed() < FRESH).then_some(answered));
        match (answered, self.clock.known()) {
            (Some(false), _) => return Err(ClockDoubt::Unanswered),
            (Some(true), Some(known)) => return Ok(known?),
            // Not asked lately, or the clock was set since.
            (None, _) | (Some(true), None) => {}
        }
        let (time, clock) = (Arc::clone(&self.time), Arc::clone(&self.clock));
        let answered_at = Arc::clone(&self.answered_at);
        let asking = tokio::spawn(async move {
            let at_database = time().await;
            *last = Some((Instant::now(), at_database.is_ok()));
            match at_database {
                Ok(at_database) => {
                    let mut at = answered_at.lock().unwrap_or_else(PoisonError::into_inner);
                    *at = Some(Instant::now());
                    Ok(clock.agreed(at_database).map(drop)?)
                }
                Err(error) => {
                    tracing::warn!(%error, "the clocks are not compared");
                    Err(ClockDoubt::Unanswered)
                }
            }
        });
        // Should it have panicked, nothing is known.
        asking.await.unwrap_or(Err(ClockDoubt::Unanswered))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use deadpool_postgres::PoolError;
    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::super::{system_clock, system_now};
    use super::*;

    /// A database that answers as often as it is let, counting how often it was asked.
    struct Stand {
        asked: Arc<AtomicU64>,
        answers: Arc<Semaphore>,
        comparing: Arc<Comparing>,
        begun: Instant,
    }

    impl Stand {
        fn new(answers_at: Option<DateTime<Utc>>) -> Self {
            let (asked, answers) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
            let (count, let_go) = (Arc::clone(&asked), Arc::clone(&answers));
            let time = move || -> BoxFuture<'static, _> {
                count.fetch_add(1, Ordering::Relaxed);
                let let_go = Arc::clone(&let_go);
                Box::pin(async move {
                    let_go.acquire().await.unwrap().forget();
                    answers_at.ok_or(ReadError::Pool(PoolError::Closed))
                })
            };
            let clock = ClockCheck::new(system_clock(), Some(Duration::from_secs(30)));
            Self {
                asked,
                answers,
                comparing: Arc::new(Comparing::of(Arc::new(time), Arc::new(clock))),
                begun: Instant::now(),
            }
        }

        /// It may be asked once in each second.
        fn assert_asked_seldom(&self) {
            let asked = self.asked.load(Ordering::Relaxed);
            let seconds = self.begun.elapsed().as_secs();
            assert!((1..=1 + seconds).contains(&asked), "{asked} in {seconds} s");
        }
    }

    #[tokio::test]
    async fn one_asks_for_all_and_a_failure_is_remembered() {
        let off = system_now() - chrono::TimeDelta::days(1);
        for at in [Some(system_now()), Some(off), None] {
            let stand = Stand::new(at);
            stand.answers.add_permits(1000);
            let all = join_all((0..64).map(|_| stand.comparing.known())).await;
            let one = stand.comparing.answered().await;
            assert!(all.iter().all(|said| said.is_ok() == one.is_ok()));
            match at {
                None => assert_eq!(one, Err(ClockDoubt::Unanswered)),
                Some(at) if at == off => assert!(matches!(one, Err(ClockDoubt::Off(_)))),
                Some(_) => assert_eq!(one, Ok(())),
            }
            stand.assert_asked_seldom();
        }
    }

    #[tokio::test]
    async fn asking_goes_on_when_whoever_began_it_goes_away() {
        let stand = Stand::new(Some(system_now()));
        for _ in 0..64 {
            let comparing = Arc::clone(&stand.comparing);
            let gone = tokio::spawn(async move { comparing.answered().await });
            // Runs it until it waits.
            tokio::task::yield_now().await;
            gone.abort();
        }
        stand.answers.add_permits(1);
        assert_eq!(stand.comparing.answered().await, Ok(()));
        assert_eq!(stand.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let stand = Stand::new(Some(system_now()));
        assert_eq!(stand.comparing.known().await, Err(ClockDoubt::Unanswered));
        stand.answers.add_permits(1);
        assert_eq!(stand.comparing.known().await, Ok(()));
        assert_eq!(stand.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_answered_a_moment_ago_may_be_slow() {
        let stand = Stand::new(Some(system_now()));
        assert_eq!(
            stand.comparing.is_there().await,
            Err(ClockDoubt::Unanswered)
        );
        stand.answers.add_permits(1);
        assert_eq!(stand.comparing.is_there().await, Ok(()));
        // As if a second had passed, so that it is asked again, and then many.
        *stand.comparing.last.lock().await = None;
        assert_eq!(stand.comparing.is_there().await, Ok(()));
        assert_eq!(stand.asked.load(Ordering::Relaxed), 2);
        let long_ago = Instant::now().checked_sub(LATELY);
        *stand.comparing.answered_at.lock().unwrap() = long_ago;
        assert_eq!(
            stand.comparing.is_there().await,
            Err(ClockDoubt::Unanswered)
        );
    }
}
