//! What a genuine delivery can come to.
//!
//! A reason is stored and listed, so it must never hold personal data, nor more of a payload than a short, clean word.

use std::fmt;

use super::json;
use crate::ledger::command::ChangeSubscription;
use crate::ledger::event::PlanVersion;
use crate::ledger::{Command, SubscriptionKey, UserId};

/// What a genuine delivery means to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translated {
    /// Do this.
    Apply(Command),
    /// Nothing to do; the reason, for example `event type session.created`.
    Ignore(String),
    /// A subscription that names nobody: its user is whoever paid for it. The caller may know who that was.
    AwaitSubscriber {
        /// All of the change but the user.
        change: Box<UnownedSubscription>,
    },
    /// It should mean something and can not be read. Kept, and tried again when the program has learned more.
    Park(ParkReason),
}

/// How a subscription stands that names no user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnownedSubscription {
    /// The provider's id of the subscription.
    pub subscription_id: String,
    /// The plan that it gives now; `None`: it ended, or is not paid.
    pub plan: Option<String>,
    /// How new this is.
    pub version: PlanVersion,
    /// The plan of a user whose subscriptions give none.
    pub base_plan: String,
}

impl UnownedSubscription {
    /// The change, once it is known whose the subscription is.
    pub fn owned_by(self, user_id: UserId) -> ChangeSubscription {
        ChangeSubscription {
            user_id,
            subscription_id: self.subscription_id,
            plan: self.plan,
            version: self.version,
            base_plan: self.base_plan,
        }
    }
}

/// Why a delivery waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkReason {
    /// A field that the event can not go without is absent or of no use.
    MissingFields {
        /// Its path in the body.
        field: &'static str,
    },
    /// A subscription names nobody, and nobody is known to have paid for it.
    NoUser(SubscriptionKey),
}

impl ParkReason {
    /// The name as stored in the inbox.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MissingFields { .. } => "missing_fields",
            Self::NoUser(_) => "no_user",
        }
    }
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingFields { field } => write!(f, "{}: {field}", self.code()),
            Self::NoUser(subscription) => write!(f, "{}: {subscription}", self.code()),
        }
    }
}

pub(super) const fn missing(field: &'static str) -> ParkReason {
    ParkReason::MissingFields { field }
}

/// The longest event type that is repeated in a reason, in bytes. Known ones have under 50.
const EVENT_TYPE_MAX_BYTES: usize = 100;

pub(super) fn ignored_type(event_type: &str) -> Translated {
    let name = json::clean(event_type, EVENT_TYPE_MAX_BYTES).unwrap_or_default();
    Translated::Ignore(format!("event type {name}"))
}
