//! A credit ledger: verified webhooks become commands, commands become events, events become balances.
//!
//! The modules in reading order, as a webhook passes them:
//! - [`http`]: the URL map; takes raw bytes, gives JSON; the only place that knows status codes.
//! - [`access`]: who is asking: session tokens and API keys.
//! - [`provider`]: bytes in, commands out: verify and translate the providers' webhooks. Pure.
//! - [`intake`]: what is to be done with a genuine delivery.
//! - [`ledger`]: the rules: what follows from a command. Pure.
//! - [`store`]: the log: everything a batch decides on is locked, everything it decides is committed.
//! - [`projection`]: the read models: applied with the append, rebuilt from the log.
//! - [`reads`]: the queries that answer requests.
//! - [`upkeep`]: what follows a commit, and what waits for its time.
//! - [`recover`]: the operators' sweep: what should have credits and has none.
//! - [`audit`]: the history sealed, verified, exported, told again by other means, and compared.
//! - [`outbound`]: what we ask the providers' APIs, and whom we tell of seals.
//! - [`telemetry`]: what the service says of itself in numbers.
//! - [`postgres`]: how the database is found, started, reached and migrated.
//! - [`memory`]: how the process holds it.
//! - [`config`], [`app`], [`cli`]: settings, the program put together, the command line.

pub mod access;
pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod http;
pub mod intake;
pub mod ledger;
pub mod memory;
pub mod outbound;
pub mod postgres;
pub mod projection;
pub mod provider;
pub mod reads;
pub mod recover;
#[cfg(test)]
mod seeded;
pub mod store;
pub mod telemetry;
pub mod upkeep;
