//! Webhooks per second: this service beside stock postgres-es, one SQL transaction per webhook, and what PostgreSQL does
//! without HTTP; and all else that the table of goals asks.
//!
//! Real HTTP, real signatures, real fsync; the same server, the same load, in turn. `benches/README.md` says what is
//! measured and what is not. Ends with 1 when any answer is wrong or anything that was acknowledged is not there.

mod access;
mod arguments;
mod baseline;
mod ceiling;
#[path = "../common/cell.rs"]
mod cell;
#[path = "../common/conditions.rs"]
mod conditions;
mod delivery;
mod duplicates;
mod goals;
mod instances;
mod latency;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/machine.rs"]
mod machine;
mod memory;
mod mixed;
mod new_payments;
mod ours;
#[path = "../common/payments.rs"]
mod payments;
mod pgbench;
#[path = "../common/processor.rs"]
mod processor;
mod program;
mod rates;
mod reads;
mod report;
#[path = "../common/running.rs"]
mod running;
#[path = "../common/server.rs"]
mod server;
mod sign_ups;
mod single_tx;
mod stage;
mod stock;
mod stored;

use std::process::ExitCode;

use credit_ledger::postgres::install_crypto_provider;

use arguments::{Arguments, Part, Pass};
use goals::Goals;
use server::Server;
use stage::Stage;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("not measured: run `cargo bench --bench webhooks`");
        return ExitCode::SUCCESS;
    }
    // As the service does; its own server and all systems that run in this process are alike.
    credit_ledger::memory::without_huge_pages();
    match run(&Arguments::read()) {
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
        let mut goals = Goals::default();
        let result = measure(arguments, &server, &mut goals).await;
        goals.print(arguments);
        server.stop().await;
        result
    })
}

async fn measure(arguments: &Arguments, server: &Server, goals: &mut Goals) -> anyhow::Result<()> {
    for pass in arguments.passes() {
        if pass == Pass::SlowCommits {
            server.delay_commits().await?;
        }
        println!("\n# {}\n", pass.name());
        conditions::print(server).await?;
        println!(
            "run: {} rounds, {} s each after {} s",
            arguments.rounds, arguments.seconds, arguments.warm_up
        );
        let stage = Stage {
            server,
            arguments,
            pass,
        };
        for part in arguments.parts(pass) {
            println!("\n## {part:?}, {}\n", pass.name());
            measure_part(part, &stage, goals).await?;
        }
        // A disk that is shared, or has a quota, may not be what it was.
        println!("\nafter all of it:");
        conditions::print(server).await?;
    }
    Ok(())
}

async fn measure_part(part: Part, stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    match part {
        Part::Payments => new_payments::measure(stage, goals).await,
        Part::Latency => latency::measure(stage, goals).await,
        Part::Signups => sign_ups::measure(stage, goals).await,
        Part::Duplicates => duplicates::measure(stage, goals).await,
        Part::Mixed => mixed::measure(stage, goals).await,
        Part::Reads => reads::measure(stage, goals).await,
        Part::Instances => instances::measure(stage, goals).await,
        Part::Stored => stored::measure(stage, goals).await,
        Part::Memory => memory::measure(stage, goals).await,
    }
}
