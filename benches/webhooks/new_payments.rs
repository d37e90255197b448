//! New payments: all systems, at all numbers of connections. The table, and the goals that compare with the baselines.

use anyhow::ensure;
use credit_ledger::postgres::{ConnectOptions, Database};

use super::cell::Cell;
use super::delivery::Deliveries;
use super::goals::{Goal, Goals};
use super::report::{Report, System};
use super::running::{self, Running};
use super::single_tx::SingleTx;
use super::stage::{Stage, Target};
use super::stock::Stock;
use super::{baseline, ceiling, ours, pgbench, server};

/// What `postgres_es::default_postgress_pool` makes.
const STOCK_OWN_POOL: u32 = 10;

/// Measures all of them.
///
/// # Errors
/// On the first wrong answer; also when what is stored is not what was acknowledged.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    println!(
        "pools: (a) {} and {STOCK_OWN_POOL}, (b) {}\n",
        stage.arguments.stock_pool(stage.pass),
        stage.arguments.single_tx_pool(stage.pass)
    );
    let mut report = Report::default();
    for round in 0..stage.arguments.rounds {
        for system in Stage::in_turn(round, &stage.arguments.systems) {
            let name = stage.database_name(system.slug(), round);
            let database = stage.server.create(&name).await?;
            let cells = measure_system(stage, system, &database).await?;
            for (connections, cell) in cells {
                report.add(system, connections, cell);
            }
            stage.server.drop_database(&name).await?;
        }
    }
    report.print();
    note(stage, &report, goals);
    Ok(())
}

/// "Stock" may be read either way, so the harder one decides.
fn note(stage: &Stage<'_>, report: &Report, goals: &mut Goals) {
    let best = report.ratio(64, (System::Stock, 64));
    let own = report.ratio(64, (System::StockOwnPool, 64));
    if let (Some(best), Some(own)) = (best, own) {
        let text = format!("{best:.2}x; {own:.2}x with its own pool");
        goals.note_with(Goal::Stock, stage.pass, best.min(own), text, true);
    }
    for (goal, connections, base) in [
        (Goal::Pgbench, 64, (System::Pgbench, 64)),
        (Goal::Pgbench256, 256, (System::Pgbench, 64)),
        (Goal::Ceiling256, 256, (System::Ceiling, 1)),
    ] {
        if let Some(ratio) = report.ratio(connections, base) {
            goals.note(goal, stage.pass, ratio);
        }
    }
}

async fn measure_system(
    stage: &Stage<'_>,
    system: System,
    database: &Database,
) -> anyhow::Result<Vec<(usize, Cell)>> {
    let served = match system {
        System::Ours | System::Stock | System::StockOwnPool | System::SingleTx => true,
        System::Pgbench | System::Ceiling => false,
    };
    if served {
        let running = start(stage, system, database).await?;
        let cells = measure_served(stage, system, &running, database).await;
        running.stop().await?;
        return cells;
    }
    make_two_tables(database).await?;
    if system == System::Ceiling {
        let cell = ceiling::run(stage, database).await?;
        println!("{}: {cell}", system.name());
        return Ok(vec![(1, cell)]);
    }
    let mut stored = 0;
    let mut cells = Vec::new();
    let counts = stage.arguments.connections.iter().copied();
    for clients in counts.filter(|count| system.takes(*count)).map(usize::from) {
        let cell = pgbench::run(stage, database, clients, stored).await?;
        stored += cell.measured.stored;
        println!("{} at {clients}: {cell}", system.name());
        cells.push((clients, cell));
    }
    Ok(cells)
}

/// Makes the tables of what runs without HTTP.
///
/// # Errors
/// When they can not be made.
pub async fn make_two_tables(database: &Database) -> anyhow::Result<()> {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    let tables = include_str!("sql/two_statements.sql");
    Ok(client.batch_execute(tables).await?)
}

async fn start(stage: &Stage<'_>, system: System, database: &Database) -> anyhow::Result<Running> {
    let config = ours::config(stage.server.folder(), database.name())?;
    let stock_pool = match system {
        System::StockOwnPool => STOCK_OWN_POOL,
        _ => u32::from(stage.arguments.stock_pool(stage.pass)),
    };
    match system {
        System::Stock | System::StockOwnPool => {
            baseline::start(config, Stock::open(database, stock_pool).await?)
        }
        System::SingleTx => {
            let connections = usize::from(stage.arguments.single_tx_pool(stage.pass));
            baseline::start(config, SingleTx::open(database, connections).await?)
        }
        System::Ours | System::Pgbench | System::Ceiling => running::service(config).await,
    }
}

async fn measure_served(
    stage: &Stage<'_>,
    system: System,
    running: &Running,
    database: &Database,
) -> anyhow::Result<Vec<(usize, Cell)>> {
    let target = Target::here(running.address);
    let mut acknowledged = 0;
    let mut cells = Vec::new();
    for connections in stage.arguments.connections.iter().copied().map(usize::from) {
        let deliveries = Deliveries::new(running.address, acknowledged)?;
        let cell = stage.send(&target, connections, deliveries).await?;
        acknowledged += cell.measured.stored;
        let found = server::count(database, found_sql(system)).await?;
        println!("{} at {connections}: {cell}", system.name());
        ensure!(
            found.recorded == acknowledged,
            "{}: {acknowledged} payments were acknowledged, {} are there",
            system.name(),
            found.recorded
        );
        check_balances(system, acknowledged, found.in_balances)?;
        cells.push((connections, cell));
    }
    Ok(cells)
}

/// Stock postgres-es updates its view after the commit and drops what two updates at once do to one row. That is how
/// it is, so it is told and does not end the run.
fn check_balances(system: System, acknowledged: u64, in_balances: u64) -> anyhow::Result<()> {
    if in_balances == acknowledged {
        return Ok(());
    }
    let name = system.name();
    ensure!(
        matches!(system, System::Stock | System::StockOwnPool),
        "{name}: {acknowledged} payments were acknowledged, {in_balances} are in the balances"
    );
    let lost = acknowledged.saturating_sub(in_balances);
    println!("  {name}: its view has lost {lost} of {acknowledged} payments so far");
    Ok(())
}

const fn found_sql(system: System) -> &'static str {
    match system {
        System::Ours => include_str!("sql/ours_found.sql"),
        System::Stock | System::StockOwnPool => include_str!("sql/stock_found.sql"),
        System::SingleTx => include_str!("sql/single_tx_found.sql"),
        System::Pgbench | System::Ceiling => include_str!("sql/two_statements_found.sql"),
    }
}
