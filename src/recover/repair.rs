//! Finding and repairing, kind by kind.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::cursor::{Cursor, Moment, Place, Text};
use super::{Action, Came, Deed, Kind, RecoverError, Sweep};
use crate::app::App;
use crate::intake;
use crate::ledger::command::CapturePayment;
use crate::ledger::event::ClaimedBy;
use crate::ledger::{Command, PurchaseId, Source, UserId};
use crate::reads::{InboxRow, LATEST, PurchaseRow};
use crate::store::backlog::Stored;
use crate::store::{Operator, Origin, Outcome, PARKED, StoreError, Unit, Work};
use crate::upkeep::UpkeepError;
use crate::upkeep::matching::{self, Candidate, Look};
use crate::upkeep::retry;

/// Repairs under way at once: enough to share a commit, few beside the lanes' queues.
const AT_ONCE: usize = 8;
/// The most stored deliveries of one purchase that are translated again.
const DELIVERIES_MAX: i64 = 20;

/// A sweep under way.
pub(super) struct Sweeper<'a> {
    app: &'a App,
    operator: Option<&'a Operator>,
    limit: i64,
    progress: &'a mut (dyn FnMut(usize) + Send),
    actions: Vec<Action>,
}

/// What came of one thing, and what there is to say of it.
type Became = (Came, Option<String>);

impl<'a> Sweeper<'a> {
    pub(super) fn new(
        app: &'a App,
        sweep: &'a Sweep,
        progress: &'a mut (dyn FnMut(usize) + Send),
    ) -> Self {
        Self {
            app,
            operator: sweep.operator.as_ref(),
            limit: i64::from(sweep.limit),
            progress,
            actions: Vec::new(),
        }
    }

    pub(super) fn into_actions(self) -> Vec<Action> {
        self.actions
    }

    pub(super) async fn parked(&mut self, next: &mut Cursor) -> Result<(), RecoverError> {
        let before = match &next.parked {
            Place::Start => (LATEST, "", ""),
            Place::After((moment, key, source)) => (moment.time(), key.as_str(), source.as_str()),
            Place::End => return Ok(()),
        };
        let rows = self.app.reads.inbox(PARKED, before, self.limit).await?;
        next.parked = self.place(&rows, |row| {
            let moment = Moment::of(row.received_at);
            (moment, Text::of(&row.key), Text::of(&row.source))
        });
        let (app, operator) = (self.app, self.operator);
        self.each(rows, async |row| {
            let became = retried(app, operator, &row).await;
            let id = format!("{}/{}", row.source, row.key);
            action(Kind::Parked, id, Deed::Retry, became)
        })
        .await
    }

    pub(super) async fn no_bonus(&mut self, next: &mut Cursor) -> Result<(), RecoverError> {
        let after = match &next.no_bonus {
            Place::Start => "",
            Place::After(user_id) => user_id.as_str(),
            Place::End => return Ok(()),
        };
        let bonus = self.app.rules.signup.bonus_credits;
        if bonus.is_zero() {
            next.no_bonus = Place::End;
            return Ok(());
        }
        let rows = self.app.reads.without_bonus(after, self.limit).await?;
        let rows = rows.into_iter().map(UserId::parse);
        let rows = rows.collect::<Result<Vec<UserId>, _>>().map_err(corrupt)?;
        next.no_bonus = self.place(&rows, UserId::clone);
        let (app, operator) = (self.app, self.operator);
        self.each(rows, async |user_id| {
            let id = user_id.as_str().to_owned();
            let grant = Command::GrantSignupBonus { user_id, bonus };
            let became = done(app, operator, grant, bonus.to_string()).await;
            action(Kind::NoBonus, id, Deed::GrantBonus, became)
        })
        .await
    }

    pub(super) async fn unpriced(&mut self, next: &mut Cursor) -> Result<(), RecoverError> {
        let before = match &next.unpriced {
            Place::Start => (LATEST, ""),
            Place::After((moment, id)) => (moment.time(), id.as_str()),
            Place::End => return Ok(()),
        };
        let rows = self.app.reads.unpriced(before, self.limit).await?;
        let rows = purchases(rows)?;
        next.unpriced = self.place(&rows, Clone::clone);
        let (app, operator) = (self.app, self.operator);
        self.each(rows, async |(_, id)| {
            let became = priced(app, operator, &id).await;
            action(Kind::Unpriced, id.to_string(), Deed::Price, became)
        })
        .await
    }

    pub(super) async fn unclaimed(&mut self, next: &mut Cursor) -> Result<(), RecoverError> {
        let before = match &next.unclaimed {
            Place::Start => (LATEST, ""),
            Place::After((moment, id)) => (moment.time(), id.as_str()),
            Place::End => return Ok(()),
        };
        let rows = self.app.reads.unclaimed(before, self.limit).await?;
        let rows = purchases(rows)?;
        next.unclaimed = self.place(&rows, Clone::clone);
        let (app, operator) = (self.app, self.operator);
        self.each(rows, async |(_, id)| {
            let became = claimed(app, operator, &id).await;
            action(Kind::Unclaimed, id.to_string(), Deed::Claim, became)
        })
        .await
    }

    /// Where the next sweep goes on when these rows were read: a page that is not full was the last.
    fn place<R, T>(&self, rows: &[R], of: impl Fn(&R) -> T) -> Place<T> {
        match rows.last() {
            Some(last) if i64::try_from(rows.len()) == Ok(self.limit) => Place::After(of(last)),
            _ => Place::End,
        }
    }

    /// Does something about each, some at once, and notes it in their order.
    async fn each<R>(
        &mut self,
        rows: Vec<R>,
        act: impl AsyncFn(R) -> Result<Action, RecoverError>,
    ) -> Result<(), RecoverError> {
        let acting = stream::iter(rows).map(|row| act(row)).buffered(AT_ONCE);
        let mut acting = std::pin::pin!(acting);
        while let Some(action) = acting.try_next().await? {
            self.actions.push(action);
            (self.progress)(self.actions.len());
        }
        Ok(())
    }
}

/// What is said of a purchase that nothing of ours prices.
const FITS_NOTHING: &str = "none of its stored deliveries fits the catalog";
/// What is said of one whose deliveries can not be read any more.
const ERASED: &str = "what it bought was said by deliveries whose bodies were erased";

/// A delivery, tried again now. Without an operator: what it would come to, as far as that can be told.
async fn retried(
    app: &App,
    operator: Option<&Operator>,
    row: &InboxRow,
) -> Result<Became, RecoverError> {
    let source = Source::ALL
        .into_iter()
        .find(|one| one.as_str() == row.source);
    let source = source.ok_or_else(|| corrupt(()))?;
    let Some(operator) = operator else {
        let stored = app.backlog.delivery(source, &row.key).await?;
        return Ok(match stored {
            None => (Came::Unchanged, None),
            Some(stored) => match retry::translate(app, stored).await? {
                Work::Apply(_) | Work::Ignore { .. } => (Came::Planned, None),
                Work::Park { reason, .. } => (Came::Unchanged, Some(reason)),
            },
        });
    };
    let outcome = retry::again(app, source, &row.key, operator.clone()).await?;
    Ok(match outcome {
        Outcome::Parked => (
            Came::Unchanged,
            Some(still_waits(app, source, &row.key).await?),
        ),
        Outcome::Recorded => (Came::Done, None),
        Outcome::Ignored => (Came::Done, Some("ignored".to_owned())),
        _ => (Came::Done, Some("duplicate".to_owned())),
    })
}

async fn still_waits(app: &App, source: Source, key: &str) -> Result<String, RecoverError> {
    let stored = app.backlog.delivery(source, key).await?;
    Ok(stored.and_then(|stored| stored.reason).unwrap_or_default())
}

/// A purchase, priced by the first of its deliveries that fits today's catalog. The whole command is run: what else it
/// says is known already.
async fn priced(
    app: &App,
    operator: Option<&Operator>,
    id: &PurchaseId,
) -> Result<Became, RecoverError> {
    let mut why = FITS_NOTHING;
    for (source, key) in app.reads.deliveries_of(id.as_str(), DELIVERIES_MAX).await? {
        let source = Source::ALL.into_iter().find(|one| one.as_str() == source);
        let source = source.ok_or_else(|| corrupt(()))?;
        let Some(stored) = app.backlog.delivery(source, &key).await? else {
            continue;
        };
        if stored.delivered.body.is_empty() {
            why = ERASED;
            continue;
        }
        if let Some(capture) = captured(app, stored).await?
            && let Some(price) = &capture.price
        {
            let sku = price.sku.clone();
            return done(app, operator, Command::CapturePayment(capture), sku).await;
        }
    }
    Ok((Came::Unchanged, Some(why.to_owned())))
}

/// The payment that a stored delivery tells of.
async fn captured(app: &App, stored: Stored) -> Result<Option<Box<CapturePayment>>, RecoverError> {
    if stored.delivered.is_api_answer() {
        return Ok(intake::kept_answer(app, &stored.delivered).map_err(UpkeepError::from)?);
    }
    Ok(match retry::translate(app, stored).await? {
        Work::Apply(Command::CapturePayment(capture)) => Some(capture),
        _ => None,
    })
}

/// A purchase, given to whoever paid for its subscription, or to the one user who has proven to own the payer's address.
async fn claimed(
    app: &App,
    operator: Option<&Operator>,
    id: &PurchaseId,
) -> Result<Became, RecoverError> {
    if let Some(user_id) = app.lookups.subscriber_of(id.as_str()).await? {
        let claim = Command::ClaimPurchase {
            purchase_id: id.clone(),
            user_id: UserId::parse(user_id.as_str()).map_err(corrupt)?,
            by: ClaimedBy::Subscription,
        };
        return done(app, operator, claim, user_id).await;
    }
    let (came, candidate) = match operator {
        None => (Came::Planned, matching::candidate(app, id).await?),
        Some(operator) => match matching::look(app, id, operator.clone()).await? {
            Look::Claimed(user_id) => return Ok((Came::Done, Some(user_id.into()))),
            Look::Unchanged => return Ok((Came::Unchanged, None)),
            Look::Refused(error) => return Ok((Came::Refused, Some(error.to_string()))),
            Look::Unclaimed(candidate) => (Came::Unchanged, candidate),
        },
    };
    let nothing = |why: &str| (Came::Unchanged, Some(why.to_owned()));
    Ok(match candidate {
        Candidate::One { user_id, .. } => (came, Some(user_id.into())),
        Candidate::Nobody => nothing("no active user has proven to own the payer's address"),
        Candidate::Several => {
            nothing("several active users have proven to own the payer's address")
        }
    })
}

/// Runs a command in the operator's name.
async fn done(
    app: &App,
    operator: Option<&Operator>,
    command: Command,
    detail: String,
) -> Result<Became, RecoverError> {
    let Some(operator) = operator else {
        return Ok((Came::Planned, Some(detail)));
    };
    let unit = Unit {
        origin: Origin::Operator(operator.clone()),
        work: Work::Apply(command),
    };
    Ok(match app.ledger.execute(unit).await? {
        Outcome::Recorded => (Came::Done, Some(detail)),
        Outcome::Refused(error) => (Came::Refused, Some(error.to_string())),
        _ => (Came::Unchanged, None),
    })
}

/// The action, unless the sweep has to end: what can not be stored by itself is in nobody's way.
fn action(
    kind: Kind,
    id: String,
    action: Deed,
    became: Result<Became, RecoverError>,
) -> Result<Action, RecoverError> {
    let (result, detail) = match became {
        Ok(became) => became,
        Err(
            error @ (RecoverError::Store(StoreError::Failed(_))
            | RecoverError::Upkeep(UpkeepError::Store(StoreError::Failed(_)))),
        ) => {
            tracing::error!(%error, %id, "can not be repaired");
            (Came::Failed, None)
        }
        Err(error) => return Err(error),
    };
    Ok(Action {
        kind,
        id,
        action,
        result,
        detail,
    })
}

fn purchases(rows: Vec<PurchaseRow>) -> Result<Vec<(Moment, PurchaseId)>, RecoverError> {
    rows.into_iter()
        .map(|row| {
            let id = PurchaseId::parse(row.purchase_id).map_err(corrupt)?;
            Ok((Moment::of(row.recorded_at), id))
        })
        .collect()
}

/// Nothing of it may be repeated in a log.
fn corrupt<E>(_: E) -> StoreError {
    StoreError::Failed("a stored id can not be read".to_owned())
}
