//! The rules. What may happen to a user's credits and to a purchase, and what follows from it.
//!
//! Everything here is a pure function: no clock, no randomness, no SQL, no HTTP, nothing async. Time, ids and
//! salts come in with the command; what goes out is a list of events. Nothing in this module may name
//! `tokio`, `tokio_postgres` or `actix_web`.
//!
//! In reading order:
//! - [`value`]: the words that can not be wrong: ids, credits, money.
//! - [`personal`]: personal data, which stays beside the log; events carry its salted digest.
//! - [`event`]: what happened. Stored for ever, so only ever added to.
//! - [`command`]: what somebody wants to happen.
//! - [`user`], [`purchase`]: the two aggregates, `decide` and `evolve`.
//! - [`decision`]: one command over several aggregates: all of its events or none.
//! - [`cqrs`]: the adapters to `cqrs-es`, for its test framework and for the auditor's replay.

pub mod command;
pub mod cqrs;
pub mod decision;
pub mod event;
pub mod personal;
pub mod purchase;
#[cfg(test)]
mod tests;
pub mod user;
pub mod value;

pub use command::Command;
pub use decision::{Emitted, Rejection, States, decide};
pub use event::{Event, PurchaseEvent, UserEvent};
pub use personal::{Personal, Profile, Salt};
pub use purchase::Purchase;
pub use user::User;
pub use value::{
    Account, Credits, Currency, InvalidValue, Money, PurchaseId, Source, StreamId, UserId,
};

/// Why a rule says no. Nothing is recorded of a refused command but the refusal itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The balance would leave the range of [`Credits`].
    #[error("the balance would exceed {max}", max = Credits::MAX)]
    BalanceOverflow,
    /// A claim for a purchase whose payment is not recorded.
    #[error("no such purchase is recorded")]
    UnknownPurchase,
    /// An operator's price for a purchase that has another one.
    #[error("the purchase has a price already")]
    AlreadyPriced,
    /// A claim for a purchase that is another user's.
    #[error("the purchase belongs to another user")]
    NotYourPurchase,
}
