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
mod stage;
mod world;

use stage::Cluster;
use world::plan::{LONG, Plan, SHORT, Size};

/// Rounds that every change is tried with.
const ROUNDS: usize = 2;

/// `SIMULATION_SEED` plays one round again.
fn seeds() -> impl Iterator<Item = u64> {
    let first = std::env::var("SIMULATION_SEED").map_or_else(
        |_| {
            let mut bytes = [0; 4];
            getrandom::fill(&mut bytes).unwrap();
            u64::from(u32::from_le_bytes(bytes))
        },
        |seed| seed.parse().unwrap(),
    );
    first..
}

async fn play_one(cluster: &Arc<Cluster>, seed: u64, size: Size) -> world::books::Figures {
    println!("SIMULATION_SEED={seed}");
    let figures = world::play(cluster, Plan::draw(seed, size)).await;
    println!("SIMULATION_SEED={seed}: {figures}");
    figures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_in_which_everything_breaks_loses_nothing_and_books_nothing_twice() {
    let cluster = Arc::new(Cluster::start().await);
    for seed in seeds().take(ROUNDS) {
        play_one(&cluster, seed, SHORT).await;
    }
    Arc::into_inner(cluster).unwrap().end().await;
}
