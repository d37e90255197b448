//! Webhooks per second: this service beside stock postgres-es and one SQL transaction per webhook.
//!
//! Real HTTP, real signatures, real fsync; the same server, the same load, in turn. `benches/README.md` says what is
//! measured and what is not. Ends with 1 when any answer is wrong or anything that was acknowledged is not there.

mod baseline;
#[path = "../common/cell.rs"]
mod cell;
#[path = "../common/conditions.rs"]
mod conditions;
mod delivery;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/machine.rs"]
mod machine;
mod ours;
#[path = "../common/processor.rs"]
mod processor;
mod report;
#[path = "../common/running.rs"]
mod running;
#[path = "../common/server.rs"]
mod server;
mod single_tx;
mod stock;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use credit_ledger::postgres::{Database, install_crypto_provider};

use cell::Cell;
use delivery::Deliveries;
use load::{Load, seconds};
use report::{Report, System};
use running::Running;
use server::Server;
use single_tx::SingleTx;
use stock::Stock;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Webhooks per second, compared.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds before each measurement that do not count.
    #[arg(long, env = "BENCH_WARM_UP", default_value_t = 1.0, value_parser = seconds)]
    warm_up: f64,
    /// How often everything is measured.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// Numbers of connections.
    #[arg(long, env = "BENCH_CONNECTIONS", value_delimiter = ',', default_value = "1,8,64,256",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Vec<u16>,
    /// Only these systems: ours, stock, `single_tx`.
    #[arg(long, env = "BENCH_SYSTEMS", value_delimiter = ',', default_value = "ours,stock,single_tx", value_parser = system)]
    systems: Vec<System>,
    /// One short round at 8 and 64 connections: does it run?
    #[arg(long)]
    quick: bool,
    /// Let every commit wait for 1 ms (`commit_delay`): a stand-in for slower disks and synchronous standbys.
    #[arg(long)]
    commit_delay: bool,
    /// Database connections of stock postgres-es. Default: what was best when 4 to 64 were tried.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=80))]
    stock_pool: Option<u16>,
    /// Database connections of one SQL transaction per webhook. Default: what was best when 4 to 64 were tried.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=80))]
    single_tx_pool: Option<u16>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// Fast commits leave two cores nothing but work: few connections are best. Slow ones are waited for side by side.
    fn stock_pool(&self) -> u16 {
        self.stock_pool
            .unwrap_or(if self.commit_delay { 64 } else { 8 })
    }

    /// As [`Self::stock_pool`].
    fn single_tx_pool(&self) -> u16 {
        self.single_tx_pool
            .unwrap_or(if self.commit_delay { 32 } else { 8 })
    }
}

fn system(text: &str) -> Result<System, String> {
    System::ALL
        .into_iter()
        .find(|system| system.slug() == text)
        .ok_or_else(|| "must be ours, stock or single_tx".to_owned())
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("not measured: run `cargo bench --bench webhooks`");
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::parse();
    if arguments.quick {
        arguments.seconds = 1.0;
        arguments.warm_up = 0.3;
        arguments.rounds = 1;
        arguments.connections = vec![8, 64];
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Server::start().await?;
        let result = measure(arguments, &server).await;
        server.stop().await;
        result
    })
}

async fn measure(arguments: &Arguments, server: &Server) -> anyhow::Result<()> {
    if arguments.commit_delay {
        server.delay_commits().await?;
    }
    print_conditions(arguments, server).await?;
    let mut report = Report::default();
    for round in 0..arguments.rounds {
        // Nobody is always first, nobody always after the same one.
        let mut order = arguments.systems.clone();
        let turns = usize::from(round) % order.len().max(1);
        order.rotate_left(turns);
        for system in order {
            let name = format!("{}_{round}", system.slug());
            let database = server.create(&name).await?;
            let running = start(system, arguments, server, &database).await?;
            let result = measure_system(system, arguments, server, &running, &database).await;
            running.stop().await?;
            for (connections, cell) in result? {
                report.add(system, connections, cell);
            }
            server.drop_database(&name).await?;
        }
    }
    println!();
    report.print();
    Ok(())
}

async fn start(
    system: System,
    arguments: &Arguments,
    server: &Server,
    database: &Database,
) -> anyhow::Result<Running> {
    let config = ours::config(server.folder(), database.name())?;
    match system {
        System::Ours => running::service(config).await,
        System::Stock => {
            let connections = u32::from(arguments.stock_pool());
            baseline::start(config, Stock::open(database, connections).await?)
        }
        System::SingleTx => {
            let connections = usize::from(arguments.single_tx_pool());
            baseline::start(config, SingleTx::open(database, connections).await?)
        }
    }
}

async fn measure_system(
    system: System,
    arguments: &Arguments,
    server: &Server,
    running: &Running,
    database: &Database,
) -> anyhow::Result<Vec<(usize, Cell)>> {
    let mut acknowledged = 0;
    let mut cells = Vec::new();
    for connections in &arguments.connections {
        let connections = usize::from(*connections);
        let load = Load {
            address: running.address,
            connections,
            warm_up: Duration::from_secs_f64(arguments.warm_up),
            measured: Duration::from_secs_f64(arguments.seconds),
        };
        // Requests count from 0; those of a failed run may be more than were acknowledged, but then all is over.
        let deliveries = Deliveries::new(running.address, acknowledged)?;
        let before = processor::used(server.folder());
        let measured = tokio::task::spawn_blocking(move || load::run(load, deliveries)).await??;
        let cell = Cell::new(measured, before, processor::used(server.folder()));
        acknowledged += cell.measured.acknowledged;
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
        system == System::Stock,
        "{name}: {acknowledged} payments were acknowledged, {in_balances} are in the balances"
    );
    let lost = acknowledged.saturating_sub(in_balances);
    println!("  {name}: its view has lost {lost} of {acknowledged} payments so far");
    Ok(())
}

const fn found_sql(system: System) -> &'static str {
    match system {
        System::Ours => include_str!("sql/ours_found.sql"),
        System::Stock => include_str!("sql/stock_found.sql"),
        System::SingleTx => include_str!("sql/single_tx_found.sql"),
    }
}

/// What the figures were taken on, and how.
async fn print_conditions(arguments: &Arguments, server: &Server) -> anyhow::Result<()> {
    conditions::print(server).await?;
    println!(
        "run: {} rounds, {} s each after {} s; pools: (a) {}, (b) {}\n",
        arguments.rounds,
        arguments.seconds,
        arguments.warm_up,
        arguments.stock_pool(),
        arguments.single_tx_pool()
    );
    Ok(())
}
