//! What a batch takes from its queue to its commit: of one unit, and of sixty-four. Each is a payment of a known user.

use std::time::{Duration, Instant};

use credit_ledger::app::system_clock;
use credit_ledger::store::{Ledger, LedgerSettings, Unit};
use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;

use super::deliveries::Subjects;
use super::server::Server;
use super::units::{TOGETHER, USERS, Units, execute_together};
use super::{migrated, must};

const DATABASE: &str = "append";
/// One lane: what is handed in together is one batch.
pub const ONE_LANE: LedgerSettings = LedgerSettings {
    lanes: 1,
    queue: 256,
    clocks_differ_max: None,
};

/// Units are made before the clock runs.
pub fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    server: &Server,
    subjects: &Subjects,
) -> anyhow::Result<()> {
    let database = runtime.block_on(migrated(server, DATABASE))?;
    let (ledger, ended) = runtime.block_on(Ledger::start(&database, ONE_LANE, system_clock()))?;
    let mut units = Units::new(subjects);
    runtime.block_on(units.sign_up_all(&ledger, USERS))?;
    let mut group = criterion.benchmark_group("append");
    for together in [1, TOGETHER] {
        group.throughput(Throughput::Elements(together));
        group.bench_function(format!("units in a batch: {together}"), |bencher| {
            bencher.iter_custom(|batches| {
                must(runtime.block_on(append(&ledger, &mut units, batches, together)))
            });
        });
    }
    group.finish();
    drop(ledger);
    for lane in ended {
        runtime.block_on(lane)?;
    }
    runtime.block_on(server.drop_database(DATABASE))
}

async fn append(
    ledger: &Ledger,
    units: &mut Units<'_>,
    batches: u64,
    together: u64,
) -> anyhow::Result<Duration> {
    let mut took = Duration::ZERO;
    for _ in 0..batches {
        let batch: Vec<Unit> = (0..together)
            .map(|_| units.payment())
            .collect::<anyhow::Result<_>>()?;
        let begin = Instant::now();
        execute_together(ledger, batch).await?;
        took += begin.elapsed();
    }
    Ok(took)
}
