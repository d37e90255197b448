//! Services, databases and the lines between them are broken while the world goes on. See `tests/README.md`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and live in real time"
)]

#[path = "../../src/ledger/tests/plain/mod.rs"]
mod plain;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use credit_ledger::ledger;

mod faults;
mod instance;
mod link;
mod load;
mod machines;
mod stage;
mod world;

use std::time::{Duration, Instant};

use stage::Cluster;
use world::books::Figures;
use world::plan::{Fault, LONG, Plan, SHORT, Size};

/// Rounds that every change is tried with.
const ROUNDS: usize = 2;
/// How long a soak lasts, in minutes, unless `SOAK_MINUTES` says otherwise.
const SOAK_MINUTES: u64 = 60;
/// Rounds after which a soak goes on with another cluster.
const ROUNDS_OF_A_CLUSTER: usize = 10;

/// A number that the environment may say.
fn said(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

/// Seeds of rounds, one after the other, from that of `SIMULATION_SEED` on.
fn seeds() -> impl Iterator<Item = u64> {
    let drawn = || {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).unwrap();
        u64::from(u32::from_le_bytes(bytes))
    };
    said("SIMULATION_SEED").unwrap_or_else(drawn)..
}

async fn play(cluster: &Arc<Cluster>, seed: u64, size: Size) -> Figures {
    println!("SIMULATION_SEED={seed}");
    let figures = world::play(cluster, Plan::draw(seed, size)).await;
    println!("SIMULATION_SEED={seed}: {figures}");
    figures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_in_which_everything_breaks_loses_nothing_and_books_nothing_twice() {
    let cluster = Arc::new(Cluster::start().await);
    let mut total = Figures::default();
    for seed in seeds().take(ROUNDS) {
        total += play(&cluster, seed, SHORT).await;
    }
    Arc::into_inner(cluster).unwrap().end().await;
    total.assert_all_happened();
}

/// The same with more of everything, for as long as it is let.
#[ignore = "takes an hour: make soak"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak() {
    let minutes = said("SOAK_MINUTES").unwrap_or(SOAK_MINUTES);
    let end = Instant::now() + Duration::from_mins(minutes);
    let (mut seeds, mut total) = (seeds(), Figures::default());
    while Instant::now() < end {
        let cluster = Arc::new(Cluster::start().await);
        for seed in seeds.by_ref().take(ROUNDS_OF_A_CLUSTER) {
            total += play(&cluster, seed, LONG).await;
            if Instant::now() >= end {
                break;
            }
        }
        Arc::into_inner(cluster).unwrap().end().await;
        println!("so far: {total}");
        println!("broken: {:?}", total.faults);
    }
    total.assert_all_happened();
    if total.rounds >= ROUNDS_OF_A_CLUSTER {
        assert_eq!(total.faults.len(), Fault::KINDS, "each kind");
    }
}
