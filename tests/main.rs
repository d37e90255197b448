//! The real application on a real PostgreSQL, one binary. See `tests/README.md`.

mod support;

mod accounts;
mod crash;
mod exactly_once;
mod projections;
mod replay;
mod routes;
mod schema;
mod store;
mod verify;
mod webhooks;
