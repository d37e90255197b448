//! A session of a pool, lent for one piece of work. Owns that nobody is lent a session whose last work was cut off: it
//! may still be busy with that, or never answer again. Half-open connections through a proxy, and servers that stand
//! still, are noticed by no kernel.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError};
use tokio::time::timeout;

/// The longest that one piece of reading may take: longer than the server lets a statement of it run.
pub const READING: Duration = Duration::from_secs(12);

/// The database did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer in time")]
pub struct Late;

/// Bounds a piece of reading that is done with a session of this pool.
///
/// # Errors
/// [`Late`]: as of [`within`].
pub async fn in_time<T>(pool: &Pool, work: impl Future<Output = T>) -> Result<T, Late> {
    within(READING, pool, work).await
}

/// Bounds work that is done with a session of this pool.
///
/// # Errors
/// [`Late`]. Then the sessions that are idle are closed, too: nobody knows whether any of them would answer, and nobody
/// has to find out one by one.
pub async fn within<T>(
    limit: Duration,
    pool: &Pool,
    work: impl Future<Output = T>,
) -> Result<T, Late> {
    timeout(limit, work).await.map_err(|_| {
        drop(pool.retain(|_, _| false));
        Late
    })
}

/// Closed when it is dropped, unless it was given back.
pub struct Lent(Option<Object>);

impl Lent {
    /// Takes one of the pool.
    ///
    /// # Errors
    /// [`PoolError`] when there is none in time.
    pub async fn of(pool: &Pool) -> Result<Self, PoolError> {
        Ok(Self(Some(pool.get().await?)))
    }

    /// The work came to its end, well or not: the next one may have the session.
    pub fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            // Ends its task, and with that the connection.
            drop(Object::take(session));
        }
    }
}

impl Deref for Lent {
    type Target = Object;

    fn deref(&self) -> &Object {
        match &self.0 {
            Some(session) => session,
            None => unreachable!("it is there until it is given back"),
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Object {
        match &mut self.0 {
            Some(session) => session,
            None => unreachable!("it is there until it is given back"),
        }
    }
}
