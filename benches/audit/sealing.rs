//! What sealing takes: of a backlog alone, and of those who write while it runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use credit_ledger::app::{random_bytes, system_clock};
use credit_ledger::audit::seal::Sealer;
use credit_ledger::config::SealSettings;
use credit_ledger::postgres::{ConnectOptions, Database};
use credit_ledger::store::ClockCheck;
use credit_ledger::telemetry::Telemetry;
use credit_ledger_verify::seal::{PublicKey, SealKey};
use tokio::time::timeout;

use super::cell::{Cell, median, range};
use super::delivery::Deliveries;
use super::load::{self, Load, to_f64};
use super::payments::EVENTS_PER_PAYMENT;
use super::server::Server;
use super::{ours, processor, running};

/// How often new events are sealed while others write.
const EVERY: Duration = Duration::from_secs(1);
/// How long sealing may take to come to the end of what was written.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Seals everything that there is; how long that took, and who can verify it.
///
/// # Errors
/// What failed; also when not all was sealed.
pub async fn backlog(database: &Database, events: u64) -> anyhow::Result<(Duration, PublicKey)> {
    let settings = settings()?;
    let telemetry = Telemetry::default();
    let clock = Arc::new(ClockCheck::new(system_clock(), None));
    let sealer = Sealer::new(database, &settings, None, clock, &telemetry)?;
    let begin = Instant::now();
    while sealer.round().await?.more {}
    let took = begin.elapsed();
    let (covered, written) = ends(database).await?;
    ensure!(
        covered == events && written == events,
        "{covered} of {written} events are sealed"
    );
    Ok((took, settings.key.public()))
}

/// Writers at full rate.
#[derive(Default)]
pub struct Writers {
    without: Vec<Cell>,
    with: Vec<Cell>,
    /// Events that were not sealed when the writers stopped.
    behind: Vec<u64>,
}

impl Writers {
    /// Measures both, each on a database of its own; in every other round sealing is first.
    ///
    /// # Errors
    /// What failed; also when what is sealed in the end is not what was acknowledged.
    pub async fn measure(&mut self, server: &Server, round: u8, load: &Load) -> anyhow::Result<()> {
        let mut order = [false, true];
        order.rotate_left(usize::from(round % 2));
        for sealing in order {
            let name = format!("writers_{round}_{sealing}");
            let database = server.create(&name).await?;
            let (cell, behind) = write(server, &database, load, sealing).await?;
            println!("writers, sealing {sealing}: {cell}");
            if sealing {
                self.with.push(cell);
                self.behind.push(behind);
            } else {
                self.without.push(cell);
            }
            server.drop_database(&name).await?;
        }
        Ok(())
    }

    /// Prints medians over the rounds, as Markdown.
    pub fn print(&self) {
        println!(
            "\n| writers | webhooks/s (lowest–highest round) | events/s | processor µs of a webhook: service + PostgreSQL | to without |"
        );
        println!("|---|---:|---:|---:|---:|");
        let rate = |cell: &Cell| cell.measured.rate;
        let alone = median(&self.without, rate);
        for (name, cells) in [
            ("without sealing", &self.without),
            ("with sealing", &self.with),
        ] {
            let middle = median(cells, rate);
            let (low, high) = range(cells, rate);
            println!(
                "| {name} | {middle:.0} ({low:.0}–{high:.0}) | {:.0} | {:.1} + {:.1} | {:.3}x |",
                middle * to_f64(EVENTS_PER_PAYMENT),
                median(cells, |cell| cell.service_us),
                median(cells, |cell| cell.postgres_us),
                middle / alone
            );
        }
        println!(
            "\nSealed every {} s. Not sealed yet when the writers stopped: {:?} events.",
            EVERY.as_secs(),
            self.behind
        );
        let all = self.without.iter().chain(&self.with);
        let (_, dearest) = range(all, |cell| cell.generator_us);
        println!(
            "The load generator took {dearest:.0} µs of processor time for a webhook at most."
        );
    }
}

async fn write(
    server: &Server,
    database: &Database,
    load: &Load,
    sealing: bool,
) -> anyhow::Result<(Cell, u64)> {
    let mut config = ours::config(server.folder(), database.name())?;
    if sealing {
        config.seals = Some(settings()?);
    }
    let running = running::service(config).await?;
    let load = Load {
        addresses: vec![running.address],
        ..load.clone()
    };
    let deliveries = Deliveries::new(running.address, 0)?;
    let before = processor::used(server.folder());
    let measured = tokio::task::spawn_blocking(move || load::run(&load, deliveries)).await??;
    let cell = Cell::new(measured, before, processor::used(server.folder()));
    let (sealed, written) = ends(database).await?;
    let expected = cell.measured.stored * EVENTS_PER_PAYMENT;
    ensure!(written == expected, "{written} events of {expected}");
    if sealing {
        timeout(CATCH_UP, until_all_is_sealed(database)).await??;
    }
    running.stop().await?;
    Ok((cell, written - sealed))
}

async fn until_all_is_sealed(database: &Database) -> anyhow::Result<()> {
    loop {
        let (sealed, written) = ends(database).await?;
        if sealed == written {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many events are sealed, and how many there are.
async fn ends(database: &Database) -> anyhow::Result<(u64, u64)> {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    let row = client.query_one(include_str!("sql/ends.sql"), &[]).await?;
    Ok((
        row.get::<_, i64>("sealed").try_into()?,
        row.get::<_, i64>("written").try_into()?,
    ))
}

/// A key that nobody knows.
fn settings() -> anyhow::Result<SealSettings> {
    let mut settings = SealSettings::of(SealKey::from_seed(&random_bytes()?));
    settings.every = EVERY;
    Ok(settings)
}
