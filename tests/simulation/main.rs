//! Services, databases and the lines between them are broken while the world goes on. See `tests/README.md`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and live in real time"
)]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod faults;
mod instance;
mod link;
mod load;
mod stage;
