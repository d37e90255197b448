//! How the service finds, starts, reaches and migrates its PostgreSQL.
//!
//! In reading order:
//! - [`Database`] (`database.rs`): the one thing the rest of the program holds. A database, on a server named by
//!   a URL or in a private cluster of our own.
//! - `connect.rs`: what a session is told when it starts: time-outs, name, role.
//! - `lent.rs`: a session of a pool, for one piece of work.
//! - `sqlx.rs`: the same for sqlx.
//! - `url.rs`, `tls.rs`: `DATABASE_URL` into a connection, always verified when encrypted.
//! - `cluster.rs`, `supervisor.rs`, `process.rs`: the private cluster: one process manages it, others join, any may die.
//! - `binaries.rs`, `layout.rs`, `account.rs`: where the programs are, where the files go, who runs them.
//! - `migrate.rs`, `roles.rs`, `sql/`: the schema, and who may do what with it.
//!
//! Must never: know what the tables mean, run a query of the ledger, or print the password of a URL.

mod account;
mod binaries;
mod cluster;
mod connect;
mod database;
mod error;
mod layout;
mod lent;
mod memory;
mod migrate;
mod process;
mod roles;
mod sqlx;
mod supervisor;
#[cfg(test)]
mod tests;
mod tls;
mod url;

pub use connect::{COMMIT_DURABLY, ConnectOptions, Driving, PoolOptions};
pub use database::{Database, DatabaseSettings};
pub use error::{PostgresError, error_chain};
pub use lent::{Late, Lent, READING, in_time, within};
pub use migrate::MigrationReport;
pub use roles::{Role, RoleUse, grant_privileges};
pub use tls::install_crypto_provider;

/// The oldest server we run on, as `server_version_num` says it: 15.0.
pub const OLDEST_SERVER_VERSION_NUM: u32 = 150_000;
