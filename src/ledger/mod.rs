//! The rules. What may happen to a user's credits and to a purchase, and what follows from it.
//!
//! Everything here is a pure function: no clock, no randomness, no SQL, no HTTP, nothing async. Time, ids and
//! salts come in with the command; what goes out is a list of events. Nothing in this module may name
//! `tokio`, `tokio_postgres` or `actix_web`.
//!
//! In reading order:
//! - [`value`]: the words that can not be wrong: ids, credits, money.
//! - [`personal`]: personal data, which stays beside the log; events carry its salted digest.
//! - [`lots`]: credits that came together and end together, and the order in which they burn.
//! - [`event`]: what happened. Stored for ever, so only ever added to.
//! - [`command`]: what somebody wants to happen.
//! - [`user`], [`purchase`]: the two aggregates, `decide` and `evolve`.
//! - [`decision`]: one command over several aggregates: all of its events or none.
//! - [`cqrs`]: the adapters to `cqrs-es`, for its test framework and for the auditor's replay.

pub mod command;
pub mod cqrs;
pub mod decision;
pub mod event;
pub mod lots;
pub mod personal;
pub mod purchase;
pub mod subscription;
#[cfg(test)]
mod tests;
pub mod user;
pub mod value;

pub use command::Command;
pub use decision::{Emitted, Rejection, States, decide};
pub use event::{Event, PurchaseEvent, UserEvent};
pub use personal::{Personal, Profile, Salt};
pub use purchase::Purchase;
pub use subscription::SubscriptionKey;
pub use user::User;
pub use value::{
    Account, Credits, Currency, InvalidValue, Money, Place, PurchaseId, Source, StreamId, UserId,
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
    /// Not as many credits are available.
    #[error("{required} credits are needed and {available} are available")]
    InsufficientCredits {
        /// How many were asked for.
        required: Credits,
        /// How many there are.
        available: Credits,
    },
    /// The hold was captured, released or timed out before.
    #[error("the hold is {0} already")]
    HoldSettled(Settlement),
    /// The spend was reversed before, wholly or in part.
    #[error("the spend is reversed already")]
    SpendReversed,
    /// More was to be captured or reversed than was held or spent.
    #[error("there are only {most} to take")]
    AmountTooLarge {
        /// The most that could be.
        most: Credits,
    },
    /// The user was recommended by somebody else before.
    #[error("the user was referred by somebody else")]
    AlreadyReferred,
    /// Nobody recommends themselves.
    #[error("a user can not refer themselves")]
    SelfReferral,
    /// One of several, which shall happen together or not at all, is refused.
    #[error("item {index}: {error}")]
    Item {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: Box<LedgerError>,
    },
    /// Rows of a user are needed that were not read. Only between the rules and whoever reads for them.
    #[error("more of the user must be read first")]
    Unread(Box<lots::Wanted>),
}

/// How a hold ended, or what became of a spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The hold's credits were used, wholly or in part.
    Captured,
    /// The hold was given up.
    Released,
    /// The hold's time was over.
    TimedOut,
    /// The spend was reversed.
    Reversed,
}

impl Settlement {
    /// The name as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Released => "released",
            Self::TimedOut => "timed out",
            Self::Reversed => "reversed",
        }
    }

    /// The settlement of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::Captured,
            Self::Released,
            Self::TimedOut,
            Self::Reversed,
        ]
        .into_iter()
        .find(|one| one.as_str() == name)
    }
}

impl std::fmt::Display for Settlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
