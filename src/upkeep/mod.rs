//! Upkeep: what follows a commit, and what waits for its time. One task per instance.
//!
//! It is woken by this instance's own commits and, for what others left behind, by a timer. All of its work is written
//! down in the database before it is begun and forgotten after it is done, and doing it twice does nothing twice: so it
//! may be cut off anywhere, and any number of instances may do the same.
//!
//! Must never decide anything itself: it looks, and hands commands to the store. Must never log personal data.
//!
//! - [`erasing`]: personal data that is to go.
//! - [`matching`]: purchases that name nobody, by the payer's e-mail address.
//! - [`retry`]: parked deliveries.
//! - [`settling`]: credits that ended and holds that timed out.
//! - `subscribing`: periods of subscriptions that name nobody.

pub mod erasing;
pub mod matching;
pub mod retry;
pub mod settling;
mod subscribing;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::App;
use crate::intake::IntakeError;
use crate::reads::ReadError;
use crate::store::StoreError;
use crate::store::backlog::{Call, Left};

/// Parked deliveries, purchases or users that are read at once.
const PAGE: i64 = 100;
/// Rows of the outbox that are read at once: of new addresses nearly all are forgotten by one statement.
const CALLS_AT_ONCE: i64 = 500;
/// Pieces of work under way at once: enough to share a commit, few beside the lanes' queues.
const AT_ONCE: usize = 8;

/// After a commit that left work. What other commits leave meanwhile is looked at together with it: many sign-ups a second
/// must not be as many rounds.
const GATHER: Duration = Duration::from_millis(10);

/// Why a piece of work could not be done now. It stays, and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The store did not take it, or could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The read models could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It can not be said what is to be done.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// An operator named a delivery that is not stored.
    #[error("no such delivery is stored")]
    UnknownDelivery,
}

/// Looks for what is to be done and does it, for ever: all but erasing, which is told when there is something to erase.
/// `every`: how often it looks for what it was not told of. Units that it handed to the store are finished by the lanes; all
/// else is begun again by whoever looks next.
pub async fn look(app: &App, every: Duration, to_erase: &Notify) {
    loop {
        let next = Instant::now() + every;
        if app.check_clock().await.is_err() {
            // What is due can not be known; the lanes would refuse it all.
            sleep(every).await;
            continue;
        }
        let followed = follow_up(app, to_erase).await;
        let retried = retry::due(app).await;
        let settled = settling::due(app).await;
        app.upkeep_round_ended();
        if followed && retried && settled {
            tokio::select! {
                () = app.ledger.work_left() => sleep(GATHER).await,
                () = sleep_until(next) => {}
            }
        } else {
            // Whatever was in the way is not asked again at once, however much is committed meanwhile.
            sleep(every).await;
        }
    }
}

/// Does what the outbox calls for, all of it once. False when something could not be done.
async fn follow_up(app: &App, to_erase: &Notify) -> bool {
    let (mut after, mut clean) = (0, true);
    let settled = app.now() - app.match_after;
    loop {
        let mut page = match app.backlog.left(after, CALLS_AT_ONCE, settled).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "the outbox can not be read");
                return false;
            }
        };
        let Some(last) = page.last() else {
            return clean;
        };
        after = last.id;
        // What is written meanwhile is for the next round, which whoever wrote it calls for.
        let is_last = i64::try_from(page.len()).is_ok_and(|rows| rows < CALLS_AT_ONCE);
        clean &= matching::forget_unmatched(app, &mut page).await;
        if page.iter().any(|left| left.call == Call::Erasure) {
            to_erase.notify_one();
        }
        let followed: Vec<Result<Option<i64>, UpkeepError>> = stream::iter(page)
            .map(|left| follow(app, left))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut done = Vec::with_capacity(followed.len());
        for one in followed {
            match one {
                Ok(id) => done.extend(id),
                Err(error) => {
                    tracing::warn!(%error, "work of the outbox is tried again later");
                    clean = false;
                }
            }
        }
        if !done.is_empty()
            && let Err(error) = app.backlog.done(&done).await
        {
            tracing::warn!(%error, "work that was done is still in the outbox");
            return false;
        }
        if is_last {
            return clean;
        }
    }
}

/// Does what one row calls for. Gives its id when it is done, none when somebody else does it: erasing, or a newer
/// release.
async fn follow(app: &App, left: Left) -> Result<Option<i64>, UpkeepError> {
    match &left.call {
        Call::Match { stream, sequence } => matching::follow(app, stream, *sequence).await?,
        Call::Subscription(subject) => subscribing::follow(app, subject).await?,
        Call::Erasure | Call::Other => return Ok(None),
    }
    Ok(Some(left.id))
}
