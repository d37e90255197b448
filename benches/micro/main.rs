//! What the parts of a webhook take, one by one: verifying, translating, deciding, hashing, appending, read models.
//!
//! Criterion measures. `benches/README.md` says what is measured and what is not. Panics when anything is not as it must
//! be: criterion's routines can say no more than how long they took.

mod append;
mod apply;
mod chain;
#[path = "../common/conditions.rs"]
mod conditions;
mod decide;
mod deliveries;
#[path = "../common/machine.rs"]
mod machine;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
#[path = "../common/server.rs"]
mod server;
mod units;

use std::process::ExitCode;
use std::time::Duration;

use credit_ledger::postgres::{Database, install_crypto_provider};
use credit_ledger::projection::rebuild;
use criterion::Criterion;
use tokio::runtime::Runtime;

use deliveries::Subjects;
use server::Server;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("not measured: run `cargo bench --bench micro`");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    install_crypto_provider();
    let subjects = Subjects::new()?;
    deliveries::measure(&mut criterion, &subjects)?;
    decide::measure(&mut criterion, &subjects)?;
    chain::measure(&mut criterion);
    // One thread: units that are handed in together are queued before their lane runs, and so are one batch.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let server = runtime.block_on(Server::start())?;
    let result = with_server(&mut criterion, &runtime, &server, &subjects);
    runtime.block_on(server.stop());
    result?;
    criterion.final_summary();
    Ok(())
}

fn with_server(
    criterion: &mut Criterion,
    runtime: &Runtime,
    server: &Server,
    subjects: &Subjects,
) -> anyhow::Result<()> {
    runtime.block_on(conditions::print(server))?;
    append::measure(criterion, runtime, server, subjects)?;
    apply::measure(criterion, runtime, server, subjects)
}

/// A new database as the service makes it at its start.
async fn migrated(server: &Server, name: &str) -> anyhow::Result<Database> {
    let database = server.create(name).await?;
    database.migrate().await?;
    rebuild::bring_up_to_date(&database).await?;
    Ok(database)
}

/// What a routine of criterion came to.
///
/// # Panics
/// With what went wrong.
#[expect(clippy::panic, reason = "a routine has no other way to fail")]
fn must<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}
