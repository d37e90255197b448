//! What the tests stand on: one PostgreSQL cluster, a database per test, the real application in front of it.

pub mod app;
pub mod backend;
pub mod cluster;
pub mod deliveries;
pub mod folder;
pub mod integrity;
#[allow(dead_code, reason = "not all tests tell all of it")]
pub mod lives;
pub mod load;
pub mod node;
pub mod open_files;
pub mod proxy;
pub mod random;
pub mod razorpay_api;
pub mod seals;
pub mod search;
pub mod story;
pub mod stripe_api;
pub mod tokens;
pub mod told;
pub mod url;
pub mod wire;

use std::io::Write as _;
use std::time::{Duration, Instant};

pub use app::{Options, TestApp};

/// Says that a test did not run and why, which in CI is a failure. Said past what a test that passes is not heard with.
#[track_caller]
pub fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "NOT RUN: {why}");
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}

/// Waits until a condition holds; there are no sleeps that hope.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "waited too long: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
