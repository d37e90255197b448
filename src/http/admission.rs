//! How much is taken on at once. What is more is answered `503` with `Retry-After` before its body is read, so that
//! neither memory nor waiting grows with what is asked.
//!
//! Webhooks come first: lists are few beside them, and fewer still while deliveries wait; whoever looks after the
//! instances is never sent away. How much may wait for the lanes is the store's to say, and how many bytes of bodies are
//! held, [`body`](super::body)'s.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::problem::{Code, Problem};
use crate::app::App;

/// Reads in progress at once. Few of them have a session of the database, the others wait for one.
const READS: usize = 128;
/// While more deliveries wait than are committed at once.
const READS_WHILE_BEHIND: usize = 4;
/// Other calls of users and backends in progress at once.
const CALLS: usize = 1024;

/// Where what is asked is bounded by number.
const BOUNDED: &str = "/v1/";
/// Whoever looks after the instances is always let in.
const OPEN: [&str; 2] = ["/health/", "/metrics"];

/// A worker that comes to its work this much later than it was due has more than it can do.
const LATE: Duration = Duration::from_millis(500);
/// With fewer in progress than this the machine is slow, and sending anybody away would not help.
const FEW: usize = 128;
/// How often a worker looks how late it is.
const LOOK: Duration = Duration::from_millis(50);

/// How much is in progress, in all workers.
pub struct Admission {
    all: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            reads: Arc::new(Semaphore::new(READS)),
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }
}

/// The place of a request, given back when this is dropped.
pub struct Place {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_its_kind: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// A place for a request.
    ///
    /// # Errors
    /// `unavailable` when there is none left.
    pub fn admit(&self, app: &App, request: &ServiceRequest) -> Result<Place, Problem> {
        let path = request.path();
        let lateness = request.app_data::<Rc<Lateness>>();
        let is_late = || lateness.is_some_and(|lateness| lateness.now() > LATE);
        let many = Semaphore::MAX_PERMITS - self.all.available_permits() >= FEW;
        if many && !OPEN.iter().any(|open| path.starts_with(open)) && is_late() {
            return Err(Code::Unavailable.because("more comes than can be done"));
        }
        let of_its_kind = if path.starts_with(BOUNDED) {
            let reads = [Method::GET, Method::HEAD].contains(request.method());
            let place = if reads {
                self.place_to_read(|| app.ledger.is_behind())
            } else {
                Arc::clone(&self.calls).try_acquire_owned().ok()
            };
            if place.is_none() {
                return Err(Code::Unavailable.because("too much is asked at once"));
            }
            place
        } else {
            None
        };
        Ok(Place {
            _of_all: Arc::clone(&self.all).try_acquire_owned().ok(),
            _of_its_kind: of_its_kind,
        })
    }

    fn place_to_read(&self, behind: impl Fn() -> bool) -> Option<OwnedSemaphorePermit> {
        let under_way = READS.saturating_sub(self.reads.available_permits());
        if under_way >= READS_WHILE_BEHIND && behind() {
            return None;
        }
        Arc::clone(&self.reads).try_acquire_owned().ok()
    }
}

/// How late a worker comes to its work: what waits for it waits as long, unread, where nothing else shows it.
pub struct Lateness {
    /// When it looks next.
    due: Cell<Instant>,
    /// How late it was when it looked last.
    last: Cell<Duration>,
}

impl Lateness {
    /// Looks from now on, in the worker that calls this, as long as that works.
    pub fn of_this_worker() -> Rc<Self> {
        let lateness = Rc::new(Self {
            due: Cell::new(Instant::now()),
            last: Cell::new(Duration::ZERO),
        });
        let looking = Rc::clone(&lateness);
        actix_web::rt::spawn(async move {
            loop {
                let now = Instant::now();
                looking.last.set(now - looking.due.get());
                looking.due.set(now + LOOK);
                sleep_until(now + LOOK).await;
            }
        });
        lateness
    }

    fn now(&self) -> Duration {
        let overdue = Instant::now().saturating_duration_since(self.due.get());
        overdue.max(self.last.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_fewer_while_deliveries_wait() {
        let admission = Admission::default();
        let places = |behind: bool| {
            let take = || admission.place_to_read(|| behind);
            let taken: Vec<_> = std::iter::from_fn(take).collect();
            taken.len()
        };
        assert_eq!(places(false), READS);
        assert_eq!(places(true), READS_WHILE_BEHIND);
        assert_eq!(places(false), READS, "all were given back");
    }
}
