//! Parked deliveries tried again: when their time has come, when what they wait for has appeared, or on an operator's
//! word.
//!
//! The stored bytes are translated again by the present rules, so a program that learned more, a catalog that was mended
//! or a user who became known changes what comes of them. Signatures are not judged again. What it comes to is written by
//! the store, once, however many try.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::{AT_ONCE, PAGE, UpkeepError};
use crate::app::App;
use crate::intake;
use crate::ledger::Source;
use crate::provider::{Lookup, StoredDelivery};
use crate::store::backlog::{Due, Stored};
use crate::store::{Delivered, LONGEST_WAIT, Operator, Origin, Outcome, Retry, Unit, Work};

/// Why a delivery without a body comes to nothing.
const ERASED: &str = "erased";

/// What became of several deliveries that were tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Recorded now.
    pub recorded: u32,
    /// They added nothing to what was known.
    pub duplicate: u32,
    /// They concern nothing here.
    pub ignored: u32,
    /// They wait on.
    pub parked: u32,
    /// They could not be tried.
    pub failed: u32,
}

/// Tries one stored delivery again, on an operator's word, whether its time has come or not. `event_id`: the provider's
/// id of the event or the inbox key. [`Outcome::Duplicate`]: it does not wait any more.
///
/// # Errors
/// [`UpkeepError::UnknownDelivery`], or another [`UpkeepError`]; asking again is always safe.
pub async fn again(
    app: &App,
    source: Source,
    event_id: &str,
    operator: Operator,
) -> Result<Outcome, UpkeepError> {
    let key = app.backlog.find(source, event_id).await?;
    let key = key.ok_or(UpkeepError::UnknownDelivery)?;
    let stored = app.backlog.delivery(source, &key).await?;
    let stored = stored.ok_or(UpkeepError::UnknownDelivery)?;
    if stored.parked {
        try_one(app, stored, Some(operator)).await
    } else {
        Ok(Outcome::Duplicate)
    }
}

/// Tries parked deliveries again, on an operator's word, the longest due first: at most so many.
///
/// # Errors
/// [`UpkeepError`] when none can be found; those that can not be tried are counted.
pub async fn all(app: &App, limit: u16, operator: &Operator) -> Result<Tally, UpkeepError> {
    // None waits longer, so this is all of them.
    let by = app.now() + LONGEST_WAIT;
    let found = app.backlog.due(by, i64::from(limit)).await?;
    Ok(try_each(app, found, Some(operator)).await)
}

/// Tries those whose time has come. False when something could not be done.
pub(super) async fn due(app: &App) -> bool {
    loop {
        let found = match app.backlog.due(app.now(), PAGE).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "parked deliveries can not be read");
                return false;
            }
        };
        if found.is_empty() {
            return true;
        }
        // Whatever was tried is not due any more, so each page is another one.
        if try_each(app, found, None).await.failed > 0 {
            return false;
        }
    }
}

async fn try_each(app: &App, found: Vec<Due>, operator: Option<&Operator>) -> Tally {
    let outcomes: Vec<Result<Outcome, UpkeepError>> = stream::iter(found)
        .map(async |due| try_due(app, due, operator.cloned()).await)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut tally = Tally::default();
    for outcome in outcomes {
        tally.count(outcome);
    }
    tally
}

async fn try_due(app: &App, due: Due, operator: Option<Operator>) -> Result<Outcome, UpkeepError> {
    let stored = app.backlog.delivery(due.source, &due.key).await?;
    let stored = stored.ok_or(UpkeepError::UnknownDelivery)?;
    // Another instance was here since it was found: it is not due any more.
    match stored.parked {
        true if stored.attempts == due.attempts => try_one(app, stored, operator).await,
        true => Ok(Outcome::Parked),
        false => Ok(Outcome::Duplicate),
    }
}

async fn try_one(
    app: &App,
    stored: Stored,
    operator: Option<Operator>,
) -> Result<Outcome, UpkeepError> {
    let retry = Retry {
        source: stored.delivered.source,
        key: stored.delivered.key.clone(),
        provider_event_id: stored.delivered.provider_event_id.clone(),
        attempts: stored.attempts,
        due_at: stored.due_at,
        evidence: stored.delivered.evidence(),
        operator,
    };
    let source = stored.delivered.source;
    let work = translate(app, stored).await?;
    let waits_for = intake::may_wait_for(source, &work);
    let unit = Unit {
        origin: Origin::Retry(Arc::new(retry)),
        work,
    };
    let outcome = app.ledger.execute(unit).await?;
    if outcome == Outcome::Parked
        && let Some(subscription) = waits_for
    {
        intake::wake_if_known(app, &subscription).await?;
    }
    Ok(outcome)
}

/// What is to be done with a stored delivery by the present rules. One that nothing here can read waits on; one whose body
/// was erased does not.
///
/// # Errors
/// [`UpkeepError::Intake`]
pub async fn translate(app: &App, stored: Stored) -> Result<Work, UpkeepError> {
    let Stored {
        delivered,
        reason,
        waits_for,
        ..
    } = stored;
    let wait_on = Work::Park {
        reason: reason.unwrap_or_default(),
        waits_for,
    };
    // Nobody can say any more what it told; whatever it was is recorded, or will never be.
    if delivered.body.is_empty() {
        return Ok(Work::Ignore {
            reason: ERASED.to_owned(),
        });
    }
    let Lookup::Found(provider) = app.providers.find(delivered.source.as_str()) else {
        return Ok(wait_on);
    };
    if delivered.is_api_answer() {
        return Ok(wait_on);
    }
    match rebuilt(delivered).into_verified() {
        Ok(verified) => Ok(intake::work(app, provider, &verified).await?),
        Err(_) => Ok(wait_on),
    }
}

fn rebuilt(delivered: Delivered) -> StoredDelivery {
    StoredDelivery {
        source: delivered.source,
        key: delivered.key,
        provider_event_id: delivered.provider_event_id,
        body: delivered.body,
        body_sha256: delivered.body_sha256,
        secret_fingerprint: delivered.secret,
        received_at: delivered.received_at,
    }
}

impl Tally {
    fn count(&mut self, outcome: Result<Outcome, UpkeepError>) {
        let counter = match outcome {
            Ok(Outcome::Recorded) => &mut self.recorded,
            Ok(Outcome::Duplicate) => &mut self.duplicate,
            Ok(Outcome::Ignored) => &mut self.ignored,
            Ok(Outcome::Parked) => &mut self.parked,
            // Never the outcome of a delivery.
            Ok(Outcome::Refused(_) | Outcome::Answered { .. } | Outcome::KeyReused { .. }) => {
                &mut self.failed
            }
            Err(error) => {
                tracing::warn!(%error, "a parked delivery is tried again later");
                &mut self.failed
            }
        };
        *counter += 1;
    }
}
