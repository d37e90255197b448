//! What a read model takes to follow the log: its statement, over sixty-four events that it does not know yet.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use credit_ledger::app::system_clock;
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use credit_ledger::projection::{READ_MODELS, ReadModel};
use credit_ledger::store::Ledger;
use criterion::{Criterion, Throughput};
use postgres_types::{FromSql, ToSql};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Statement};

use super::append::ONE_LANE;
use super::deliveries::Subjects;
use super::server::Server;
use super::units::{TOGETHER, USERS, Units, execute_together};
use super::{migrated, must};

/// Where the history is, and where it is but for the last batches.
const DATABASES: [&str; 2] = ["apply", "apply_before"];
/// What each read model is given: one event for each unit of a batch.
const FITTING: [(&str, &str); 4] = [
    ("balance", "CreditsPurchased"),
    ("purchases", "PaymentCaptured"),
    ("users", "UserRegistered"),
    ("entries", "CreditsPurchased"),
];

/// Each read model, of users of whom each has paid.
pub fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    server: &Server,
    subjects: &Subjects,
) -> anyhow::Result<()> {
    let (history, before) = runtime.block_on(fill(server, subjects))?;
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(TOGETHER));
    for model in READ_MODELS {
        let batch = runtime.block_on(Batch::of(&history, &before, model))?;
        let statement = runtime.block_on(before.prepare(&model.live_sql()))?;
        group.bench_function(model.name, |bencher| {
            bencher.iter_custom(|times| {
                must(runtime.block_on(batch.apply(&before, &statement, times)))
            });
        });
    }
    group.finish();
    drop((history, before));
    for database in DATABASES {
        runtime.block_on(server.drop_database(database))?;
    }
    Ok(())
}

/// Makes a history through a lane; copies it; and adds two batches to it, one of sign-ups and one of payments. Gives a
/// session on the whole, and one on the copy.
async fn fill(server: &Server, subjects: &Subjects) -> anyhow::Result<(Client, Client)> {
    let [whole, before] = DATABASES;
    let whole = migrated(server, whole).await?;
    let mut units = Units::new(subjects);
    live(&whole, &mut units, USERS).await?;
    let login = whole.connect_as_login(&ConnectOptions::default()).await?;
    // As autovacuum would have it before long.
    login.batch_execute("vacuum (analyze)").await?;
    drop(login);
    let before = whole.sibling(before);
    ensure!(
        before.create(Some(whole.name())).await?,
        "it is there already"
    );
    live(&whole, &mut units, TOGETHER).await?;
    let before = session(&before).await?;
    Ok((session(&whole).await?, before))
}

/// As a lane's.
async fn session(database: &Database) -> anyhow::Result<Client> {
    let options = ConnectOptions::default();
    let client = database.connect(Role::App, &options).await?;
    for sql in [
        include_str!("../../src/store/sql/set_session.sql"),
        include_str!("../../src/store/sql/create_row_types.sql"),
    ] {
        client.batch_execute(sql).await?;
    }
    Ok(client)
}

/// So many users sign up; then as many pay.
async fn live(database: &Database, units: &mut Units<'_>, users: u64) -> anyhow::Result<()> {
    let (ledger, ended) = Ledger::start(database, ONE_LANE, system_clock()).await?;
    units.sign_up_all(&ledger, users).await?;
    for _ in 0..users.div_ceil(TOGETHER) {
        let payments: anyhow::Result<_> = (0..TOGETHER).map(|_| units.payment()).collect();
        execute_together(&ledger, payments?).await?;
    }
    drop(ledger);
    for lane in ended {
        lane.await?;
    }
    Ok(())
}

/// An event as the live statements take it.
#[derive(Debug, ToSql, FromSql)]
#[postgres(name = "event_row")]
struct EventRow {
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
    metadata: String,
    shard: i16,
    position: i64,
    recorded_at: DateTime<Utc>,
    source: String,
    provider_event_id: Option<String>,
    hash: Vec<u8>,
    profile: Option<String>,
    delta: Option<i64>,
    balance: Option<i64>,
    held: Option<i64>,
    debt: Option<i64>,
    purchase_id: Option<String>,
    models: i32,
}

struct Batch(Vec<EventRow>);

impl Batch {
    /// Of the events behind the ends that shards had before, as a rebuild would read them.
    async fn of(history: &Client, before: &Client, model: ReadModel) -> anyhow::Result<Self> {
        let fitting = FITTING.iter().find(|(name, _)| *name == model.name);
        let (_, event_type) = fitting.with_context(|| format!("{} is new", model.name))?;
        let sql = model.history_sql();
        let relation = sql.strip_suffix(model.apply_sql).context("it ends so")?;
        let sql = format!("{relation}{}", include_str!("sql/select_batch.sql"));
        let statement = history.prepare(&sql).await?;
        let ends = before.query("select shard, position from heads order by shard", &[]);
        let mut batch = Vec::new();
        for end in ends.await? {
            let (shard, position): (i16, i64) = (end.get("shard"), end.get("position"));
            let (types, models) = (vec![event_type], model.bit());
            let range: [&(dyn ToSql + Sync); 5] =
                [&shard, &(position + 1), &i64::MAX, &types, &models];
            let row = history.query_one(&statement, &range).await?;
            batch.extend(row.try_get::<_, Vec<EventRow>>(0)?);
        }
        ensure!(batch.len() as u64 == TOGETHER, "one of each unit");
        Ok(Self(batch))
    }

    /// Applies it so many times, each in a transaction that is rolled back.
    async fn apply(
        &self,
        client: &Client,
        statement: &Statement,
        times: u64,
    ) -> anyhow::Result<Duration> {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            client.batch_execute("begin").await?;
            let begin = Instant::now();
            let rows = client.execute(statement, &[&self.0]).await?;
            took += begin.elapsed();
            ensure!(rows == TOGETHER, "each event changes a row: {rows}");
            client.batch_execute("rollback").await?;
        }
        Ok(took)
    }
}
