//! Random cases that can be seen again.

use proptest::prelude::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Every order of three.
pub const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// Plays some random cases, each with everything that it needs of its own. The environment variable of this name repeats
/// a run; each run says which seed it has.
pub fn play_some<S: Strategy>(seed_name: &str, cases: &S, play: impl AsyncFn(S::Value)) {
    let seed = seed(seed_name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 3,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        // A case takes seconds; the seed is enough to see it again.
        max_shrink_iters: 0,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(cases, |case| {
            runtime.block_on(play(case));
            Ok(())
        })
        .unwrap();
}

/// What the environment says, or any; said in either case.
pub fn seed(name: &str) -> u64 {
    let seed = std::env::var(name).map_or_else(
        |_| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        },
        |seed| seed.parse().unwrap(),
    );
    println!("{name}={seed}");
    seed
}
