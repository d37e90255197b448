//! Spends per second: this service beside one SQL transaction per spend; and whether a long history makes a user slow.
//!
//! Real HTTP, real fsync; the same server, the same load, in turn. `benches/README.md` says what is measured and what is
//! not. Ends with 1 when any answer is wrong or anything that was acknowledged is not there.

mod calls;
#[path = "../common/cell.rs"]
mod cell;
#[path = "../common/conditions.rs"]
mod conditions;
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

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use credit_ledger::postgres::{Database, install_crypto_provider};

use calls::{Balances, Spends, Users};
use cell::Cell;
use load::{Load, Measured, Requests, seconds};
use ours::Maker;
use report::{Call, Report, System};
use running::Running;
use server::Server;

/// As the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The user whose credits all spend.
const ONE: Users = Users {
    prefix: "hot_",
    number: 1,
};

/// Spends per second, compared.
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
    #[arg(long, env = "BENCH_CONNECTIONS", value_delimiter = ',', default_value = "1,64,256",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Vec<u16>,
    /// Users that spends are spread over.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    users: u64,
    /// How many events the users of the second table have.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000",
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    events: Vec<u64>,
    /// Let every commit wait for 1 ms (`commit_delay`): a stand-in for slower disks and synchronous standbys.
    #[arg(long)]
    commit_delay: bool,
    /// Database connections of one SQL transaction per spend. Default: what did best for `webhooks`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=80))]
    single_tx_pool: Option<u16>,
    /// Only the table of rates, or only that of long histories.
    #[arg(long, value_enum)]
    only: Option<Table>,
    /// One short round of everything, few users, short histories: does it run?
    #[arg(long)]
    quick: bool,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Table {
    Rates,
    Decay,
}

impl Arguments {
    /// Fast commits leave two cores nothing but work: few connections are best. Slow ones are waited for side by side.
    fn single_tx_pool(&self) -> u16 {
        self.single_tx_pool
            .unwrap_or(if self.commit_delay { 32 } else { 8 })
    }

    fn wants(&self, table: Table) -> bool {
        self.only.is_none_or(|only| only == table)
    }

    const fn everybody(&self) -> Users {
        Users {
            prefix: "user_",
            number: self.users,
        }
    }

    fn load(&self, address: SocketAddr, connections: usize) -> Load {
        Load {
            addresses: vec![address],
            connections,
            warm_up: Duration::from_secs_f64(self.warm_up),
            measured: Duration::from_secs_f64(self.seconds),
        }
    }
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("not measured: run `cargo bench --bench spend`");
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::parse();
    if arguments.quick {
        arguments.seconds = 0.5;
        arguments.warm_up = 0.2;
        arguments.rounds = 1;
        arguments.connections = vec![1, 64];
        arguments.users = 2000;
        arguments.events = vec![100, 5000];
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
    conditions::print(server).await?;
    println!(
        "run: {} rounds, {} s each after {} s; {} users; pool of the SQL transaction: {}\n",
        arguments.rounds,
        arguments.seconds,
        arguments.warm_up,
        arguments.users,
        arguments.single_tx_pool()
    );
    let mut report = Report::default();
    if arguments.wants(Table::Rates) {
        measure_rates(arguments, server, &mut report).await?;
    }
    if arguments.wants(Table::Decay) {
        measure_decay(arguments, server, &mut report).await?;
    }
    println!();
    report.print();
    Ok(())
}

async fn measure_rates(
    arguments: &Arguments,
    server: &Server,
    report: &mut Report,
) -> anyhow::Result<()> {
    for round in 0..arguments.rounds {
        // Nobody is always first.
        let mut order = System::ALL;
        let turns = usize::from(round) % order.len();
        order.rotate_left(turns);
        for system in order {
            let name = format!("{}_{round}", system.slug());
            let database = server.create(&name).await?;
            let running = start(system, arguments, server, &database).await?;
            let result = measure_system(system, arguments, server, &running, &database).await;
            running.stop().await?;
            for (whose, connections, cell) in result? {
                report.add(whose, connections, system, cell);
            }
            server.drop_database(&name).await?;
        }
    }
    Ok(())
}

/// Starts a system, and gives its users credits.
async fn start(
    system: System,
    arguments: &Arguments,
    server: &Server,
    database: &Database,
) -> anyhow::Result<Running> {
    let config = ours::config(server.folder(), database.name())?;
    let users = [arguments.everybody(), ONE];
    match system {
        System::Ours => {
            let running = running::service(config).await?;
            let maker = Maker::open(database).await?;
            for users in users {
                maker.grant(users).await?;
            }
            maker.close().await?;
            Ok(running)
        }
        System::SingleTx => {
            let pool = usize::from(arguments.single_tx_pool());
            single_tx::start(&config, database, pool, &users).await
        }
    }
}

async fn measure_system(
    system: System,
    arguments: &Arguments,
    server: &Server,
    running: &Running,
    database: &Database,
) -> anyhow::Result<Vec<(&'static str, usize, Cell)>> {
    let mut acknowledged = 0;
    let mut cells = Vec::new();
    for (whose, users) in [("many users", arguments.everybody()), ("one user", ONE)] {
        for connections in &arguments.connections {
            let connections = usize::from(*connections);
            let run = format!("{}{connections}", users.prefix);
            let spends = Spends::new(running.address, users, run);
            let load = arguments.load(running.address, connections);
            let before = processor::used(server.folder());
            let measured = send(load, spends).await?;
            let cell = Cell::new(measured, before, processor::used(server.folder()));
            acknowledged += cell.measured.stored;
            println!("{}, {whose} at {connections}: {cell}", system.name());
            check(system, database, acknowledged).await?;
            cells.push((whose, connections, cell));
        }
    }
    Ok(cells)
}

async fn send<R: Requests + Send>(load: Load, requests: R) -> anyhow::Result<Measured> {
    tokio::task::spawn_blocking(move || load::run(&load, requests)).await?
}

/// Each acknowledged spend is in the history, and its credit is gone.
async fn check(system: System, database: &Database, acknowledged: u64) -> anyhow::Result<()> {
    let sql = match system {
        System::Ours => include_str!("sql/ours_found.sql"),
        System::SingleTx => include_str!("sql/single_tx_found.sql"),
    };
    let found = server::count(database, sql).await?;
    ensure!(
        found.recorded == acknowledged && found.in_balances == acknowledged,
        "{}: {acknowledged} spends were acknowledged, {} are there, {} credits are gone",
        system.name(),
        found.recorded,
        found.in_balances
    );
    Ok(())
}

/// Who has histories of some length. Short ones belong to several users, so that measuring hardly makes them longer.
fn with_history(events: u64) -> Users {
    let prefix = format!("events{events}_");
    Users {
        // Once for each length, for as long as the program runs.
        prefix: Box::leak(prefix.into_boxed_str()),
        number: (32_000 / events).clamp(1, 1000),
    }
}

async fn measure_decay(
    arguments: &Arguments,
    server: &Server,
    report: &mut Report,
) -> anyhow::Result<()> {
    let database = server.create("decay").await?;
    let running = running::service(ours::config(server.folder(), database.name())?).await?;
    let result = measure_histories(arguments, &database, running.address, report).await;
    running.stop().await?;
    result
}

async fn measure_histories(
    arguments: &Arguments,
    database: &Database,
    address: SocketAddr,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut histories = Vec::new();
    let maker = Maker::open(database).await?;
    for events in &arguments.events {
        let users = with_history(*events);
        let begun = Instant::now();
        maker.live(users, *events).await?;
        println!(
            "{} users with {events} events: made in {:.0} s",
            users.number,
            begun.elapsed().as_secs_f64()
        );
        histories.push((*events, users));
    }
    maker.close().await?;
    for round in 0..arguments.rounds {
        let mut order = histories.clone();
        let turns = usize::from(round) % order.len().max(1);
        order.rotate_left(turns);
        for (events, users) in order {
            for call in Call::ALL {
                let load = arguments.load(address, 1);
                let run = format!("{}{round}", users.prefix);
                let measured = match call {
                    Call::Spend => send(load, Spends::new(address, users, run)).await?,
                    Call::Balance => send(load, Balances::new(address, users)).await?,
                };
                println!(
                    "{} with {events} events: p50 {:.3} ms, p99 {:.3} ms",
                    call.name(),
                    measured.p50_ms,
                    measured.p99_ms
                );
                report.add_decay(call, events, measured);
            }
        }
    }
    Ok(())
}
