//! The same two statements as `pgbench`, set-based: 256 rows for each transaction, one connection, one round trip. About
//! the ceiling that PostgreSQL itself sets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use credit_ledger::postgres::{ConnectOptions, Database};
use futures_util::future::try_join4;
use hdrhistogram::Histogram;
use tokio_postgres::{Client, Statement};

use super::cell::Cell;
use super::delivery::{Payments, USERS, scramble};
use super::load::{Measured, to_f64};
use super::stage::Stage;
use super::{processor, server};

/// Rows of a transaction.
const ROWS: u64 = 256;
const CREDITS: i64 = 500;
const LATENCY_MAX_US: u64 = 60_000_000;

/// Writes rows for the time of a measurement; the figures are of rows, the latencies of transactions.
///
/// # Errors
/// When a statement fails, or what is stored is not what was committed.
pub async fn run(stage: &Stage<'_>, database: &Database) -> anyhow::Result<Cell> {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    client
        .batch_execute("set plan_cache_mode = force_generic_plan")
        .await?;
    let writer = Writer {
        insert: client
            .prepare(include_str!("sql/ceiling/insert_webhooks.sql"))
            .await?,
        add: client
            .prepare(include_str!("sql/ceiling/add_credits.sql"))
            .await?,
        body: String::from_utf8(Payments::new()?.sign(0)?.body.to_vec())?,
        client,
    };
    let before = processor::used(stage.server.folder());
    let measured = writer.run(stage).await?;
    let cell = Cell::new(measured, before, processor::used(stage.server.folder()));
    let stored = cell.measured.stored;
    let found = server::count(database, include_str!("sql/two_statements_found.sql")).await?;
    ensure!(
        found.recorded == stored && found.in_balances == stored,
        "{stored} rows were committed, {} are there, {} are in the balances",
        found.recorded,
        found.in_balances
    );
    Ok(cell)
}

struct Writer {
    client: Client,
    insert: Statement,
    add: Statement,
    body: String,
}

impl Writer {
    async fn run(&self, stage: &Stage<'_>) -> anyhow::Result<Measured> {
        let measured = Duration::from_secs_f64(stage.arguments.seconds);
        let begin = Instant::now() + Duration::from_secs_f64(stage.arguments.warm_up);
        let end = begin + measured;
        let (mut stored, mut in_time) = (0, 0);
        let mut latencies_us = Histogram::<u64>::new_with_bounds(1, LATENCY_MAX_US, 3)?;
        loop {
            let sent = Instant::now();
            if sent >= end {
                break;
            }
            self.transaction(stored).await?;
            stored += ROWS;
            let committed = Instant::now();
            if (begin..end).contains(&committed) {
                in_time += ROWS;
                let us = u64::try_from((committed - sent).as_micros())?;
                latencies_us.saturating_record(us.max(1));
            }
        }
        let ms = |quantile| {
            Duration::from_micros(latencies_us.value_at_quantile(quantile)).as_secs_f64() * 1e3
        };
        Ok(Measured {
            rate: to_f64(in_time) / measured.as_secs_f64(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            acknowledged: stored,
            stored,
            generator: Duration::ZERO,
        })
    }

    /// All four go out together, and PostgreSQL takes them one after the other.
    async fn transaction(&self, first: u64) -> anyhow::Result<()> {
        let numbers = first..first + ROWS;
        let keys: Vec<String> = numbers
            .clone()
            .map(|number| format!("{:0<64}", scramble(number)))
            .collect();
        let bodies = vec![self.body.as_str(); keys.len()];
        let mut balances = BTreeMap::<String, i64>::new();
        for number in numbers {
            let user = scramble(!number) % USERS;
            let user_id = format!("user_3RkJ4{user:022}");
            *balances.entry(user_id).or_default() += CREDITS;
        }
        let (users, credits): (Vec<String>, Vec<i64>) = balances.into_iter().unzip();
        try_join4(
            self.client.batch_execute("begin"),
            self.client.execute(&self.insert, &[&keys, &bodies]),
            self.client.execute(&self.add, &[&users, &credits]),
            self.client.batch_execute("commit"),
        )
        .await?;
        Ok(())
    }
}
