//! How fast a history is verified, replayed, exported and rebuilt, beside `COPY events TO STDOUT` of the same table; and
//! what sealing costs those who write.
//!
//! `benches/README.md` says what is measured and what is not. Ends with 1 when anything is not whole.

#[path = "../common/cell.rs"]
mod cell;
#[path = "../common/conditions.rs"]
mod conditions;
#[path = "../webhooks/delivery.rs"]
mod delivery;
mod fill;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/machine.rs"]
mod machine;
#[path = "../webhooks/ours.rs"]
mod ours;
mod passes;
#[path = "../common/payments.rs"]
mod payments;
#[path = "../common/processor.rs"]
mod processor;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
#[path = "../common/running.rs"]
mod running;
mod sealing;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
#[path = "../common/server.rs"]
mod server;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use credit_ledger::postgres::install_crypto_provider;

use load::{Load, seconds, to_f64};
use passes::{History, Pass};
use sealing::Writers;
use server::Server;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events per second, of everything that goes over the whole history, and of sealing.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many events the history has. What is reported has a million.
    #[arg(long, env = "BENCH_EVENTS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    events: u64,
    /// How often everything is measured.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// Seconds of each measurement of writers.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Connections of writers.
    #[arg(long, env = "BENCH_CONNECTIONS", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("not measured: run `cargo bench --bench audit`");
        return ExitCode::SUCCESS;
    }
    match run(&Arguments::parse()) {
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
    conditions::print(server).await?;
    measure_writers(arguments, server).await?;
    let database = server.create("history").await?;
    let begin = Instant::now();
    let filled = fill::fill(server, &database, arguments.events).await?;
    println!(
        "\nhistory: {} events, {} payments among them, made in {:.0} s",
        filled.events,
        filled.payments,
        begin.elapsed().as_secs_f64()
    );
    let (sealed, key) = sealing::backlog(&database, filled.events).await?;
    println!(
        "sealing alone, all of them as a backlog: {:.0} events/s\n",
        to_f64(filled.events) / sealed.as_secs_f64()
    );
    let history = History {
        database,
        events: filled.events,
        key,
        folder: server.folder().join("export"),
    };
    let mut measured: Vec<(Pass, Vec<Duration>)> =
        Pass::all().into_iter().map(|pass| (pass, vec![])).collect();
    for _ in 0..arguments.rounds {
        for (pass, took) in &mut measured {
            took.push(pass.run(&history).await?);
        }
    }
    print(&measured, filled.events);
    Ok(())
}

async fn measure_writers(arguments: &Arguments, server: &Server) -> anyhow::Result<()> {
    let load = Load {
        addresses: vec![],
        connections: usize::from(arguments.connections),
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs_f64(arguments.seconds),
    };
    let mut writers = Writers::default();
    for round in 0..arguments.rounds {
        writers.measure(server, round, &load).await?;
    }
    writers.print();
    Ok(())
}

/// Medians over the rounds, as Markdown, each beside the first.
fn print(measured: &[(Pass, Vec<Duration>)], events: u64) {
    println!("| pass | events/s (slowest–fastest round) | of COPY |");
    println!("|---|---:|---:|");
    let rate = |took: &Duration| to_f64(events) / took.as_secs_f64();
    let copied = measured
        .first()
        .map_or(f64::NAN, |(_, took)| cell::median(took, rate));
    for (pass, took) in measured {
        let rates = took.iter().map(rate);
        let (low, high) = rates.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), rate| {
            (low.min(rate), high.max(rate))
        });
        let middle = cell::median(took, rate);
        println!(
            "| {pass} | {middle:.0} ({low:.0}–{high:.0}) | {:.3} |",
            middle / copied
        );
    }
}
