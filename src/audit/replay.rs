//! `audit replay`: stock postgres-es reads the whole history through a read-only role, the aggregates fold it, and
//! every user and every purchase is compared with `streams` and with the read models.
//!
//! postgres-es ends a replay early without a word when its connection fails, so events are counted against the ends
//! of the shards. It may run beside a service that writes: what differs is looked at again, alone, before it is
//! called a difference.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use cqrs_es::Aggregate;
use cqrs_es::persist::{PersistedEventRepository as _, PersistenceError};
use postgres_es::PostgresEventRepository;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{Executor as _, Row as _};

use crate::ledger::event::UserEvent;
use crate::ledger::{Purchase, PurchaseEvent, StreamId, User};
use crate::postgres::{ConnectOptions, Database, Role};

/// How often a stream that differs is read again, in case it was being written.
const LOOKS: usize = 3;

/// Why the history could not be told again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A query failed.
    #[error("reading: {0}")]
    Query(#[from] sqlx::Error),
    /// postgres-es failed, or an event can not be read.
    #[error("replaying: {0}")]
    Replay(#[from] PersistenceError),
}

/// What the replay saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Events that postgres-es gave.
    pub events: u64,
    /// Users that they are about.
    pub users: usize,
    /// Purchases that they are about.
    pub purchases: usize,
    /// What does not agree; empty: all does.
    pub differences: Vec<Difference>,
}

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `user/…`, `purchase/…` or `log`.
    pub at: String,
    /// What was compared.
    pub what: &'static str,
    /// What the history says.
    pub history: String,
    /// What is stored.
    pub stored: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            what,
            history,
            stored,
        } = self;
        write!(
            f,
            "{at}: {what}: the history says {history}, stored is {stored}"
        )
    }
}

/// Replays everything. `progress` hears how many events of how many were seen.
///
/// # Errors
/// [`ReplayError`], when the history or what it is compared with can not be read.
pub async fn replay(
    database: &Database,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Report, ReplayError> {
    let auditor = Auditor::connect(database).await?;
    let at_least = auditor.recorded().await?;
    let mut seen = 0;
    let mut hear = |seen: u64| progress(seen, at_least);
    let users = auditor.fold::<User>(&mut seen, &mut hear).await?;
    let purchases = auditor.fold::<Purchase>(&mut seen, &mut hear).await?;
    let at_most = auditor.recorded().await?;

    let mut report = Report {
        events: seen,
        users: users.len(),
        purchases: purchases.len(),
        differences: vec![],
    };
    if seen < at_least || seen > at_most {
        report.differences.push(Difference {
            at: "log".to_owned(),
            what: "number of events",
            history: seen.to_string(),
            stored: if at_least == at_most {
                at_most.to_string()
            } else {
                format!("{at_least} to {at_most}")
            },
        });
    }
    auditor
        .compare(&users, None, &mut report.differences)
        .await?;
    auditor
        .compare(&purchases, None, &mut report.differences)
        .await?;
    auditor.look_again(&mut report.differences).await?;
    Ok(report)
}

/// An aggregate folded from its events, and how its stored counterparts are called.
pub trait Audited: Aggregate + PartialEq + Clone {
    /// A query of everything that is stored about these aggregates: `id`, and facts as text, by name. `$1`: only
    /// this id, or all for null.
    const STORED: &'static str;
    /// The same facts, of a folded aggregate.
    fn facts(folded: &Folded<Self>) -> BTreeMap<&'static str, String>;
    /// What an event adds to the running sum of movements.
    fn delta(event: &Self::Event) -> i64;
    /// Reads the state as it is stored.
    fn read(state: &str) -> Option<Self>;
}

/// An aggregate as the history tells it.
#[derive(Debug, Clone, Default)]
pub struct Folded<A> {
    state: A,
    version: u64,
    movements: i64,
    broken: bool,
}

impl Audited for User {
    const STORED: &'static str = include_str!("stored_users.sql");

    fn facts(folded: &Folded<Self>) -> BTreeMap<&'static str, String> {
        let user = &folded.state;
        let account = user.account;
        BTreeMap::from([
            ("stream version", folded.version.to_string()),
            ("stream without holes", (!folded.broken).to_string()),
            ("registered", user.registered.to_string()),
            ("deleted", user.deleted.to_string()),
            ("plan", user.plan.clone().unwrap_or_default()),
            ("balance", account.balance.to_string()),
            ("held", account.held.to_string()),
            ("debt", account.debt.to_string()),
            ("sum of entries", folded.movements.to_string()),
        ])
    }

    fn delta(event: &UserEvent) -> i64 {
        match event {
            UserEvent::SignupBonusGranted(added) | UserEvent::CreditsPurchased { added, .. } => {
                added.delta
            }
            UserEvent::UserRegistered { .. }
            | UserEvent::UserProfileChanged { .. }
            | UserEvent::UserDeleted {} => 0,
        }
    }

    fn read(state: &str) -> Option<Self> {
        serde_json::from_str(state).ok()
    }
}

impl Audited for Purchase {
    const STORED: &'static str = include_str!("stored_purchases.sql");

    fn facts(folded: &Folded<Self>) -> BTreeMap<&'static str, String> {
        let purchase = &folded.state;
        let price = purchase.price.as_ref();
        BTreeMap::from([
            ("stream version", folded.version.to_string()),
            ("stream without holes", (!folded.broken).to_string()),
            (
                "user",
                purchase
                    .user_id
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
            (
                "sku",
                price.map(|price| price.sku.clone()).unwrap_or_default(),
            ),
            (
                "credits",
                price.map_or(0, |price| price.credits.get()).to_string(),
            ),
        ])
    }

    fn delta(_: &PurchaseEvent) -> i64 {
        0
    }

    fn read(state: &str) -> Option<Self> {
        serde_json::from_str(state).ok()
    }
}

impl<A: Audited> Folded<A> {
    fn apply(&mut self, sequence: usize, event: A::Event) {
        let sequence = sequence as u64;
        self.broken |= sequence != self.version + 1;
        self.version = sequence;
        self.movements += A::delta(&event);
        self.state.apply(event);
    }
}

struct Auditor {
    pool: PgPool,
    repository: PostgresEventRepository,
}

impl Auditor {
    async fn connect(database: &Database) -> Result<Self, ReplayError> {
        let options = ConnectOptions {
            application_name: "credit-ledger audit".to_owned(),
            ..ConnectOptions::default()
        };
        // A future that is dropped in the middle of a `begin` must not leave its transaction to the next user.
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // The `rollback` below mostly finds nothing to roll back, and would say so each time.
                    connection
                        .execute("set client_min_messages = error")
                        .await?;
                    Ok(())
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.execute("rollback").await?;
                    Ok(true)
                })
            })
            .connect_with(database.sqlx_options(Role::Auditor, &options))
            .await?;
        Ok(Self {
            repository: PostgresEventRepository::new(pool.clone()),
            pool,
        })
    }

    /// How many events the shards say there are: positions are dense.
    async fn recorded(&self) -> Result<u64, ReplayError> {
        let sum: i64 = sqlx::query("select coalesce(sum(position), 0)::bigint from heads")
            .fetch_one(&self.pool)
            .await?
            .get(0);
        Ok(sum.unsigned_abs())
    }

    /// Every aggregate of a type, from its events.
    async fn fold<A: Audited>(
        &self,
        seen: &mut u64,
        hear: &mut (dyn FnMut(u64) + Send),
    ) -> Result<HashMap<String, Folded<A>>, ReplayError> {
        let mut stream = self.repository.stream_all_events::<A>().await?;
        let mut folded: HashMap<String, Folded<A>> = HashMap::new();
        while let Some(envelope) = stream.next::<A>(&[]).await {
            let envelope = envelope?;
            let aggregate = folded.entry(envelope.aggregate_id).or_default();
            aggregate.apply(envelope.sequence, envelope.payload);
            *seen += 1;
            if seen.is_multiple_of(1000) {
                hear(*seen);
            }
        }
        hear(*seen);
        Ok(folded)
    }

    /// One aggregate from its events.
    async fn fold_one<A: Audited>(
        &self,
        id: &str,
    ) -> Result<HashMap<String, Folded<A>>, ReplayError> {
        let mut one = Folded::<A>::default();
        for event in self.repository.get_events::<A>(id).await? {
            let sequence = event.sequence;
            one.apply(
                sequence,
                serde_json::from_value(event.payload).map_err(PersistenceError::from)?,
            );
        }
        let known = one.version > 0;
        Ok(known.then(|| (id.to_owned(), one)).into_iter().collect())
    }

    /// Compares what was folded with what is stored, all of it or one id.
    async fn compare<A: Audited>(
        &self,
        folded: &HashMap<String, Folded<A>>,
        only: Option<&str>,
        differences: &mut Vec<Difference>,
    ) -> Result<(), ReplayError> {
        let rows = sqlx::query(A::STORED)
            .bind(only)
            .fetch_all(&self.pool)
            .await?;
        let mut stored: HashSet<String> = HashSet::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            match folded.get(&id) {
                Some(one) => compare_one(&id, one, &row, differences)?,
                None => differences.push(missing::<A>(&id, "nothing", "a row")),
            }
            stored.insert(id);
        }
        let lost = folded.keys().filter(|id| !stored.contains(*id));
        differences.extend(lost.map(|id| missing::<A>(id, "events", "nothing")));
        Ok(())
    }

    /// Keeps the differences that stay when their streams are read alone, again.
    async fn look_again(&self, differences: &mut Vec<Difference>) -> Result<(), ReplayError> {
        for _ in 0..LOOKS {
            if differences.is_empty() {
                return Ok(());
            }
            let streams: BTreeSet<String> = differences.iter().map(|one| one.at.clone()).collect();
            let mut kept: Vec<Difference> = std::mem::take(differences);
            kept.retain(|one| one.at == "log");
            for stream in streams {
                match stream.split_once('/') {
                    Some((StreamId::USER, id)) => {
                        let folded = self.fold_one::<User>(id).await?;
                        self.compare(&folded, Some(id), &mut kept).await?;
                    }
                    Some((StreamId::PURCHASE, id)) => {
                        let folded = self.fold_one::<Purchase>(id).await?;
                        self.compare(&folded, Some(id), &mut kept).await?;
                    }
                    _ => {}
                }
            }
            *differences = kept;
        }
        Ok(())
    }
}

fn compare_one<A: Audited>(
    id: &str,
    folded: &Folded<A>,
    row: &PgRow,
    differences: &mut Vec<Difference>,
) -> Result<(), ReplayError> {
    let at = || format!("{}/{id}", A::TYPE);
    for (what, history) in A::facts(folded) {
        let stored: Option<String> = row.try_get(what)?;
        let stored = stored.unwrap_or_else(|| "nothing".to_owned());
        if stored != history {
            differences.push(Difference {
                at: at(),
                what,
                history,
                stored,
            });
        }
    }
    let state: Option<String> = row.try_get("state")?;
    if state.as_deref().and_then(A::read).as_ref() != Some(&folded.state) {
        differences.push(Difference {
            at: at(),
            what: "state of the stream",
            history: serde_json::to_string(&folded.state).unwrap_or_default(),
            stored: state.unwrap_or_else(|| "nothing".to_owned()),
        });
    }
    Ok(())
}

fn missing<A: Audited>(id: &str, history: &str, stored: &str) -> Difference {
    Difference {
        at: format!("{}/{id}", A::TYPE),
        what: "existence",
        history: history.to_owned(),
        stored: stored.to_owned(),
    }
}
