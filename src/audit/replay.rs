//! `audit replay`: stock postgres-es reads the whole history through a read-only role, the aggregates fold it, and
//! every user and every purchase is compared with `streams` and with the read models.
//!
//! postgres-es ends a replay early without a word when its connection fails, so events are counted against the ends
//! of the shards. It may run beside a service that writes: what differs is looked at again, events and all in one
//! snapshot, before it is called a difference.

pub mod facts;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use cqrs_es::persist::{PersistedEventRepository as _, PersistenceError};
use postgres_es::PostgresEventRepository;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{Executor as _, Row as _};

use super::snapshot::hold_read_models;
use crate::ledger::{Purchase, User};
use crate::postgres::{ConnectOptions, Database, Role};
use facts::{Audited, Folded, NOTHING};

/// How often streams that differ are read again, in case they were being written.
const LOOKS: usize = 3;
/// How many streams are read again in one look. What more there is was not written by chance, and is reported.
const STREAMS_PER_LOOK: usize = 1000;

/// Where a difference of the whole log is.
const LOG: &str = "log";
/// What each session begins with. `rollback` mostly finds nothing to roll back, and would say so each time; the
/// queries of [`Audited::STORED`] have one plan for all ids and another for some.
const SESSION: [&str; 2] = [
    "set client_min_messages = error",
    "set plan_cache_mode = force_custom_plan",
];
/// What a session begins with that sees one moment only, of all but the read models.
const MOMENT: [&str; 2] = [
    "set plan_cache_mode = force_custom_plan",
    "begin isolation level repeatable read read only",
];

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
            at: LOG.to_owned(),
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

struct Auditor<'a> {
    database: &'a Database,
    pool: PgPool,
    repository: PostgresEventRepository,
}

impl<'a> Auditor<'a> {
    async fn connect(database: &'a Database) -> Result<Self, ReplayError> {
        // A future that is dropped in the middle of a `begin` must not leave its transaction to the next user.
        let options = PgPoolOptions::new()
            .max_connections(2)
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.execute("rollback").await?;
                    Ok(true)
                })
            });
        Self::open(database, options, SESSION.map(str::to_owned).into()).await
    }

    /// An auditor whose every query, also those of postgres-es, sees one and the same moment.
    async fn at_one_moment(&self) -> Result<Self, ReplayError> {
        // One connection in one transaction, which ends with it.
        let options = PgPoolOptions::new().max_connections(1);
        let mut at_start = Vec::from(MOMENT.map(str::to_owned));
        at_start.push(hold_read_models());
        Self::open(self.database, options, at_start).await
    }

    async fn open(
        database: &'a Database,
        options: PgPoolOptions,
        at_start: Vec<String>,
    ) -> Result<Self, ReplayError> {
        let connect = ConnectOptions {
            application_name: "credit-ledger audit".to_owned(),
            ..ConnectOptions::default()
        };
        let pool = options
            .after_connect(move |connection, _| {
                let at_start = at_start.clone();
                Box::pin(async move {
                    for sql in &at_start {
                        connection.execute(sql.as_str()).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(database.sqlx_options(Role::Auditor, &connect))
            .await?;
        Ok(Self {
            database,
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

    /// Some aggregates from their events.
    async fn fold_some<A: Audited>(
        &self,
        ids: &[String],
    ) -> Result<HashMap<String, Folded<A>>, ReplayError> {
        let mut folded = HashMap::with_capacity(ids.len());
        for id in ids {
            let mut one = Folded::<A>::default();
            for event in self.repository.get_events::<A>(id).await? {
                let sequence = event.sequence;
                one.apply(
                    sequence,
                    serde_json::from_value(event.payload).map_err(PersistenceError::from)?,
                );
            }
            if one.version > 0 {
                folded.insert(id.clone(), one);
            }
        }
        Ok(folded)
    }

    /// Compares what was folded with what is stored, all of it or some ids.
    async fn compare<A: Audited>(
        &self,
        folded: &HashMap<String, Folded<A>>,
        only: Option<&[String]>,
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
                None => differences.push(missing::<A>(&id, NOTHING, "a row")),
            }
            stored.insert(id);
        }
        let lost = folded.keys().filter(|id| !stored.contains(*id));
        differences.extend(lost.map(|id| missing::<A>(id, "events", NOTHING)));
        Ok(())
    }

    /// Keeps the differences that stay when their streams are read again.
    async fn look_again(&self, differences: &mut Vec<Difference>) -> Result<(), ReplayError> {
        for _ in 0..LOOKS {
            let streams: BTreeSet<String> = differences
                .iter()
                .filter(|one| one.at != LOG)
                .map(|one| one.at.clone())
                .collect();
            if streams.is_empty() {
                return Ok(());
            }
            let streams: BTreeSet<String> = streams.into_iter().take(STREAMS_PER_LOOK).collect();
            differences.retain(|one| !streams.contains(&one.at));
            let now = self.at_one_moment().await?;
            now.look_at::<User>(&streams, differences).await?;
            now.look_at::<Purchase>(&streams, differences).await?;
            now.pool.close().await;
        }
        Ok(())
    }

    /// Compares those of the streams that are of this type.
    async fn look_at<A: Audited>(
        &self,
        streams: &BTreeSet<String>,
        differences: &mut Vec<Difference>,
    ) -> Result<(), ReplayError> {
        let ids: Vec<String> = streams
            .iter()
            .filter_map(|stream| stream.strip_prefix(A::TYPE)?.strip_prefix('/'))
            .map(str::to_owned)
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let folded = self.fold_some::<A>(&ids).await?;
        self.compare(&folded, Some(&ids), differences).await
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
        let stored = stored.unwrap_or_else(|| NOTHING.to_owned());
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
    let lots: Option<String> = row.try_get("lots")?;
    let read = |state| A::read(state, lots.as_deref());
    if state.as_deref().and_then(read).as_ref() != Some(&folded.state) {
        differences.push(Difference {
            at: at(),
            what: "state of the stream",
            history: serde_json::to_string(&folded.state).unwrap_or_default(),
            stored: state.unwrap_or_else(|| NOTHING.to_owned()),
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
