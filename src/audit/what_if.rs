//! `audit what-if`: what users would have under another catalog, sign-up bonus or order of burning.
//!
//! Every event that somebody caused is told again, at its time, as a command to the very rules of the ledger, over states
//! in memory; what follows from that, and what ends with time, is decided anew. Beside it the history is folded as it is.
//! What callers asked for is what they were given: a call that was refused then left nothing to tell again, and of a spend
//! that took what there was it is not known how much it wanted. All users and purchases are held in memory; events stream.
//!
//! Must never write, and never read anything but the log.

mod order;
mod retold;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;

use super::history::{self, HistoryError, Recorded};
use super::snapshot::{self, Snapshot};
use super::whole::Whole;
use crate::config::OtherRules;
use crate::ledger::{
    Account, Credits, Event, LedgerError, Place, Purchase, PurchaseId, StreamId, UserId,
};
use crate::postgres::Database;
use crate::provider::Catalog;
use retold::{Retelling, Retold};
use world::World;

/// How often it is said how far it is, in events.
const PROGRESS_EVERY: u64 = 1000;

/// What would be otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Events that were told.
    pub events: u64,
    /// Users that they are about, under either rules.
    pub users: usize,
    /// Whose balance, held credits or debt would differ, by user id.
    pub differences: Vec<Difference>,
    /// What all users have together.
    pub old: Sums,
    /// What they would have.
    pub new: Sums,
    /// Purchases that would give other credits.
    pub purchases: usize,
    /// How many calls would be refused.
    pub refused: u64,
    /// The first of them in the order of the history, as many as were asked for.
    pub refusals: Vec<Refusal>,
}

/// A user who would have something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Who.
    pub user_id: UserId,
    /// What is.
    pub old: Account,
    /// What would be.
    pub new: Account,
}

/// Accounts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Credits that are theirs.
    pub balance: i64,
    /// Credits that can be spent.
    pub available: i64,
    /// Credits owed.
    pub debt: i64,
}

impl Sums {
    const fn add(&mut self, account: &Account) {
        self.balance = self.balance.saturating_add(account.balance.get());
        self.available = self.available.saturating_add(account.available());
        self.debt = self.debt.saturating_add(account.debt.get());
    }
}

/// A call that the other rules refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The recorded event.
    pub place: Place,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Whose stream it is in.
    pub stream: StreamId,
    /// Its type.
    pub event_type: &'static str,
    /// Why.
    pub why: Why,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// A rule says no.
    #[error(transparent)]
    Rule(LedgerError),
    /// The hold or spend that it is about was refused, so there is none.
    #[error("what it is about was refused before")]
    Gone,
}

/// Tells the whole history again under other rules. `today` is the catalog of the settings, `now` when the accounts are
/// compared; at most `limit` refused calls are listed; `progress` hears how many events of how many were told.
///
/// # Errors
/// [`HistoryError`].
pub async fn what_if(
    database: &Database,
    today: &Catalog,
    other: &OtherRules,
    now: DateTime<Utc>,
    limit: usize,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Report, HistoryError> {
    let mut connection = snapshot::connect(database).await?;
    let snapshot = Snapshot::begin(&mut connection).await?;
    let explained = explained(&snapshot).await?;
    let count = snapshot.list("select count(*) from events", &[]).await?;
    let count: i64 = count.iter().map(|row| row.get::<_, i64>(0)).sum();
    let retelling = Retelling {
        today,
        other,
        explained,
    };
    let mut walk = Walk::new(retelling, limit);
    let sql = include_str!("sql/select_history.sql");
    let mut rows = snapshot.stream(sql, &[]).await?;
    let mut moment: Vec<Recorded> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let recorded = history::recorded(&row)?;
        if moment
            .last()
            .is_some_and(|last| last.recorded_at != recorded.recorded_at)
        {
            walk.tell(std::mem::take(&mut moment));
        }
        moment.push(recorded);
        if walk.report.events.is_multiple_of(PROGRESS_EVERY) {
            progress(walk.report.events, count.unsigned_abs());
        }
    }
    walk.tell(moment);
    let report = walk.finish(now)?;
    progress(report.events, report.events);
    Ok(report)
}

async fn explained(snapshot: &Snapshot<'_>) -> Result<HashSet<PurchaseId>, HistoryError> {
    let sql = include_str!("sql/select_explained_purchases.sql");
    let mut explained = HashSet::new();
    for row in snapshot.list(sql, &[]).await? {
        // One that can not be read is found where its events are.
        explained.extend(PurchaseId::parse(row.try_get::<_, String>("purchase_id")?).ok());
    }
    Ok(explained)
}

/// Both worlds, so far.
struct Walk<'a> {
    retelling: Retelling<'a>,
    world: World,
    users: BTreeMap<UserId, Whole>,
    purchases: HashMap<PurchaseId, Purchase>,
    last_s: i64,
    limit: usize,
    report: Report,
}

impl<'a> Walk<'a> {
    fn new(retelling: Retelling<'a>, limit: usize) -> Self {
        Self {
            world: World::burning(retelling.other.burn.clone()),
            retelling,
            users: BTreeMap::new(),
            purchases: HashMap::new(),
            last_s: i64::MIN,
            limit,
            report: Report::default(),
        }
    }

    /// Tells the events of one moment.
    fn tell(&mut self, moment: Vec<Recorded>) {
        for recorded in order::causal(moment) {
            self.report.events += 1;
            self.last_s = recorded.recorded_at.timestamp();
            self.world.set_time(self.last_s);
            self.fold(&recorded);
            let why = match self.retelling.retell(&recorded, &self.world) {
                Retold::Nothing => continue,
                Retold::Command(command) => match self.world.run(recorded.place, &command) {
                    Ok(()) => continue,
                    Err(error) => Why::Rule(error),
                },
                Retold::Refused(error) => Why::Rule(error),
                Retold::Gone => Why::Gone,
            };
            self.report.refused += 1;
            if self.report.refusals.len() < self.limit {
                self.report.refusals.push(Refusal {
                    place: recorded.place,
                    recorded_at: recorded.recorded_at,
                    event_type: recorded.event.type_name(),
                    stream: recorded.stream,
                    why,
                });
            }
        }
    }

    /// What is.
    fn fold(&mut self, recorded: &Recorded) {
        match (&recorded.stream, &recorded.event) {
            (StreamId::User(id), Event::User(event)) => {
                let user = self.users.entry(id.clone()).or_default();
                user.evolve(id, recorded.place, event);
            }
            (StreamId::Purchase(id), Event::Purchase(event)) => {
                self.purchases.entry(id.clone()).or_default().evolve(event);
            }
            (StreamId::User(_), Event::Purchase(_)) | (StreamId::Purchase(_), Event::User(_)) => {}
        }
    }

    /// Compares both worlds, at a time that is not before the last event.
    fn finish(mut self, now: DateTime<Utc>) -> Result<Report, HistoryError> {
        let at_s = now.timestamp().max(self.last_s);
        let mut report = self.report;
        let mut others = std::mem::take(self.world.users());
        let ids: BTreeSet<UserId> = self.users.keys().chain(others.keys()).cloned().collect();
        for id in ids {
            let old = accounted(self.users.remove(&id), at_s)?;
            let new = accounted(others.remove(&id), at_s)?;
            report.compare(id, old, new);
        }
        let gives = |purchase: Option<&Purchase>| {
            let credited = purchase.and_then(Purchase::credited);
            credited.map_or(Credits::ZERO, |(_, price)| price.credits)
        };
        let purchases = self.purchases.iter();
        let other = |(id, purchase): &(&PurchaseId, &Purchase)| {
            gives(Some(purchase)) != gives(self.world.purchases().get(*id))
        };
        report.purchases = purchases.filter(other).count();
        Ok(report)
    }
}

impl Report {
    fn compare(&mut self, user_id: UserId, old: Account, new: Account) {
        self.users += 1;
        self.old.add(&old);
        self.new.add(&new);
        let shown = |account: &Account| (account.balance, account.held, account.debt);
        if shown(&old) != shown(&new) {
            self.differences.push(Difference { user_id, old, new });
        }
    }
}

/// The account with all that has ended by then.
fn accounted(user: Option<Whole>, at_s: i64) -> Result<Account, HistoryError> {
    let mut user = user.unwrap_or_default();
    user.settle(at_s)?;
    Ok(user.user().account)
}
