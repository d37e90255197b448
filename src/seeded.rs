//! How property tests draw their cases, so that a run can be seen again.

use proptest::test_runner::{Config, RngSeed};

/// As many cases as usual. The seed is drawn, unless `PROPTEST_RNG_SEED` says it, and printed: `cargo test` shows what a
/// test that failed has printed.
#[expect(clippy::disallowed_methods, reason = "a test is not the program")]
pub fn seeded() -> Config {
    let usual = Config::default();
    let seed = match usual.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        }
    };
    println!("PROPTEST_RNG_SEED={seed}");
    Config {
        rng_seed: RngSeed::Fixed(seed),
        ..usual
    }
}
