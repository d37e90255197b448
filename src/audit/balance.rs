//! `audit balance`: what a user had at a time, and how it came to that, from the user's events alone.
//!
//! Agrees with what the service says of a past balance, which finds it by other means: there from read models and the
//! state of the stream, here by folding every event.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;

use super::history::{self, HistoryError, Recorded};
use super::snapshot::{self, Snapshot};
use super::whole::Whole;
use crate::ledger::command::Hold;
use crate::ledger::lots::Lot;
use crate::ledger::{Account, Credits, Event, StreamId, UserEvent, UserId};
use crate::postgres::Database;

/// What a user had at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub user_id: UserId,
    /// When.
    pub at: DateTime<Utc>,
    /// Balance, held, debt.
    pub account: Account,
    /// The place in the user's stream of the last movement that counts then; 0: none does.
    pub version: i64,
    /// The holds that were open.
    pub holds: Vec<Hold>,
    /// The lots that had credits, in the order of burning.
    pub lots: Vec<Lot>,
    /// How it came to that.
    pub came_of: CameOf,
}

impl Report {
    /// How much of the debt is only contested: it is gone when the dispute is won.
    pub fn contested_debt(&self) -> i64 {
        self.account.debt.get() - self.account.owed().get()
    }

    /// Whether all that came less all that went is what is there: the balance less what is owed.
    pub fn sums_up(&self) -> bool {
        let there = self.account.balance.get() - self.account.owed().get();
        self.came_of.total() == there
    }
}

/// Credits of all movements of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many credits.
    pub credits: i64,
    /// In how many movements.
    pub times: u64,
}

impl Sum {
    const fn add(&mut self, credits: Credits) {
        self.credits = self.credits.saturating_add(credits.get());
        self.times += 1;
    }
}

/// What came and what went. What only sets credits aside, or holds them back, is not in it: they stay in the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CameOf {
    /// Given: at sign-up, by hand, with plans, for referrals.
    pub granted: Sum,
    /// Of purchases.
    pub bought: Sum,
    /// Came back since money did, less what had ended before it was clawed back.
    pub restored: Sum,
    /// Of spends that were reversed.
    pub reversed: Sum,
    /// By spends and by captured holds.
    pub spent: Sum,
    /// Ended unspent.
    pub expired: Sum,
    /// Went with the money, less what had ended before.
    pub clawed_back: Sum,
}

impl CameOf {
    /// All that came less all that went.
    pub const fn total(&self) -> i64 {
        let came = self
            .granted
            .credits
            .saturating_add(self.bought.credits)
            .saturating_add(self.restored.credits)
            .saturating_add(self.reversed.credits);
        came.saturating_sub(self.spent.credits)
            .saturating_sub(self.expired.credits)
            .saturating_sub(self.clawed_back.credits)
    }

    fn note(&mut self, event: &UserEvent) {
        match event {
            UserEvent::SignupBonusGranted(added) => self.granted.add(added.credits),
            UserEvent::CreditsGranted(granted) => self.granted.add(granted.added.credits),
            UserEvent::CreditsPurchased { added, .. } => self.bought.add(added.credits),
            UserEvent::CreditsRestored(adjusted) => {
                self.restored.add(adjusted.credits.less(adjusted.own));
            }
            UserEvent::SpendReversed(reversed) => self.reversed.add(reversed.credits),
            UserEvent::CreditsSpent(spent) => self.spent.add(spent.credits),
            UserEvent::HoldCaptured(captured) => self.spent.add(captured.credits),
            UserEvent::CreditsExpired(expired) => self.expired.add(expired.credits),
            UserEvent::CreditsClawedBack(adjusted) => {
                self.clawed_back.add(adjusted.credits.less(adjusted.own));
            }
            UserEvent::CreditsHeld(_)
            | UserEvent::HoldReleased(_)
            | UserEvent::CreditsHeldBack(_)
            | UserEvent::UserRegistered { .. }
            | UserEvent::UserProfileChanged { .. }
            | UserEvent::UserDeleted {}
            | UserEvent::ErasureRequested {}
            | UserEvent::UserErased {}
            | UserEvent::SubscriptionChanged { .. }
            | UserEvent::PlanChanged { .. }
            | UserEvent::UserReferred { .. } => {}
        }
    }
}

/// What a user had at a time, or will have if nothing happens until then but what is known to end. `None`: no event is
/// about the user.
///
/// # Errors
/// [`HistoryError`].
pub async fn balance(
    database: &Database,
    user_id: &UserId,
    at: DateTime<Utc>,
) -> Result<Option<Report>, HistoryError> {
    let mut connection = snapshot::connect(database).await?;
    look(&Snapshot::begin(&mut connection).await?, user_id, at).await
}

async fn look(
    snapshot: &Snapshot<'_>,
    user_id: &UserId,
    at: DateTime<Utc>,
) -> Result<Option<Report>, HistoryError> {
    let sql = include_str!("sql/select_user_history.sql");
    let mut rows = snapshot.stream(sql, &[&user_id.as_str()]).await?;
    let mut looking = Looking::default();
    let mut known = false;
    while let Some(row) = rows.try_next().await? {
        known = true;
        if !looking.take(&history::recorded(&row)?, at) {
            break;
        }
    }
    if !known {
        let sql = include_str!("sql/select_named_by_purchase.sql");
        let named = snapshot.list(sql, &[&user_id.as_str()]).await?;
        known = named.iter().any(|row| row.get("named"));
    }
    if !known {
        return Ok(None);
    }
    Ok(Some(looking.report(user_id, at)?))
}

/// The user so far.
#[derive(Default)]
struct Looking {
    whole: Whole,
    version: i64,
    came_of: CameOf,
    /// A movement came that does not count any more.
    over: bool,
}

impl Looking {
    /// Takes the next event of the stream; false: it is too late for the time, and so are all that follow.
    ///
    /// What was recorded later may only write down what was so by then. Events between that move no credits settle
    /// nothing, so they do not end the search.
    fn take(&mut self, recorded: &Recorded, at: DateTime<Utc>) -> bool {
        let (StreamId::User(id), Event::User(event)) = (&recorded.stream, &recorded.event) else {
            return true;
        };
        let is_movement = event.movement().is_some();
        if recorded.recorded_at > at
            && is_movement
            && event.was_so_at_s().is_none_or(|at_s| at_s > at.timestamp())
        {
            self.over = true;
            return false;
        }
        self.whole.evolve(id, recorded.place, event);
        self.came_of.note(event);
        if is_movement {
            self.version = recorded.sequence;
        }
        true
    }

    fn report(mut self, user_id: &UserId, at: DateTime<Utc>) -> Result<Report, HistoryError> {
        // Whatever had ended by then was written down before the movement that came next.
        if !self.over {
            for event in self.whole.settle(at.timestamp())? {
                self.came_of.note(&event);
            }
        }
        let user = self.whole.user();
        Ok(Report {
            user_id: user_id.clone(),
            at,
            account: user.account,
            version: self.version,
            holds: self.whole.holds().values().cloned().collect(),
            lots: user.lots.open().iter().cloned().collect(),
            came_of: self.came_of,
        })
    }
}
