//! The real application on a real PostgreSQL, one binary. See `tests/README.md`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and live in real time"
)]

mod support;

use credit_ledger::ledger;

mod access;
mod accounts;
mod admin;
mod audit_log;
mod audit_verify;
mod bad_input;
mod client;
mod crash;
mod erasure;
mod exactly_once;
mod export;
mod fuzz;
mod lives;
mod look_back;
mod lots;
mod openapi;
mod overload;
mod projections;
mod rebuild;
mod recover;
mod replay;
mod restore;
mod rolling;
mod routes;
mod schema;
mod sdk;
mod seals;
mod secrets;
mod spending_model;
mod spends;
mod start;
mod store;
mod stripe;
mod tampering;
mod traps;
mod upgrade;
mod upkeep;
mod users;
mod verify;
mod webhooks;
