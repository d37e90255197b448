//! How much is taken on at once. What is more is answered `503` with `Retry-After` before its body is read, so that
//! neither memory nor waiting grows with what is asked.
//!
//! Webhooks come first: lists are few beside them, and fewer still while deliveries wait; whoever looks after the
//! instances is never sent away. How much may wait for the lanes is the store's to say, and how many bytes of bodies are
//! held, [`body`](super::body)'s.

use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};
use crate::app::App;

/// Reads in progress at once. Few of them have a session of the database, the others wait for one.
const READS: usize = 128;
/// While more deliveries wait than are committed at once.
const READS_WHILE_BEHIND: usize = 4;
/// Other calls of users and backends in progress at once.
const CALLS: usize = 1024;

/// Where what is asked is bounded here.
const BOUNDED: &str = "/v1/";

/// How much is in progress, in all workers.
pub struct Admission {
    reads: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            reads: Arc::new(Semaphore::new(READS)),
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }
}

impl Admission {
    /// A place for a request, to be given back when it is answered; none: it needs none.
    ///
    /// # Errors
    /// `unavailable` when there is none left.
    pub fn admit(
        &self,
        app: &App,
        request: &ServiceRequest,
    ) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if !request.path().starts_with(BOUNDED) {
            return Ok(None);
        }
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        let behind = || app.ledger.is_behind();
        let place = if reads {
            self.place_to_read(behind)
        } else {
            Arc::clone(&self.calls).try_acquire_owned().ok()
        };
        place
            .map(Some)
            .ok_or_else(|| Code::Unavailable.because("too much is asked at once"))
    }

    fn place_to_read(&self, behind: impl Fn() -> bool) -> Option<OwnedSemaphorePermit> {
        let under_way = READS.saturating_sub(self.reads.available_permits());
        if under_way >= READS_WHILE_BEHIND && behind() {
            return None;
        }
        Arc::clone(&self.reads).try_acquire_owned().ok()
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
