//! A user: lots, account, holds, and what else the events of the stream come to.
//!
//! `net` is all that was given less all that was taken or is reserved. Everything else of an account follows from it, from
//! what is contested and from what is reserved; and the lots hold exactly what `net` has above zero.

mod account;
mod lots;
mod movements;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Object, Say, Typed, amount, number, put, rule};
use crate::record::EventRecord;
use crate::report::Totals;
pub(crate) use account::Account;
pub(crate) use lots::{BurnKey, Lots, Slice, Stored};

/// Every event type of a user.
pub(crate) const TYPES: [&str; 20] = [
    "UserRegistered",
    "SignupBonusGranted",
    "UserProfileChanged",
    "UserDeleted",
    "ErasureRequested",
    "UserErased",
    "CreditsPurchased",
    "CreditsHeldBack",
    "CreditsClawedBack",
    "CreditsRestored",
    "SubscriptionChanged",
    "PlanChanged",
    "UserReferred",
    "CreditsGranted",
    "CreditsSpent",
    "SpendReversed",
    "CreditsHeld",
    "HoldCaptured",
    "HoldReleased",
    "CreditsExpired",
];

/// The fields of all events of users; each event has some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    #[serde(rename = "type")]
    event_type: String,
    plan: Option<String>,
    profile: Option<Version>,
    subscription_id: String,
    gives: Option<String>,
    created_s: i64,
    rank: u8,
    event_id: String,
    by: String,
    pub(crate) purchase_id: Option<String>,
    #[serde(deserialize_with = "amount")]
    pub(crate) credits: i128,
    #[serde(deserialize_with = "amount")]
    pub(crate) repaid: i128,
    #[serde(deserialize_with = "amount")]
    pub(crate) released: i128,
    #[serde(deserialize_with = "amount")]
    own: i128,
    kind: String,
    priority: Option<u8>,
    pub(crate) expires_at_s: Option<i64>,
    pub(crate) slices: Option<Vec<Slice>>,
    pub(crate) returned: Option<Vec<Slice>>,
    entry_id: Option<String>,
    hold_id: Option<String>,
    times_out_at_s: i64,
    timed_out_at_s: Option<i64>,
    expired_at_s: i64,
    pub(crate) reason: Option<String>,
    pub(crate) reference: Option<String>,
    #[serde(deserialize_with = "amount")]
    pub(crate) delta: i128,
    #[serde(deserialize_with = "amount")]
    pub(crate) balance: i128,
    #[serde(deserialize_with = "amount")]
    held: i128,
    #[serde(deserialize_with = "amount")]
    debt: i128,
    #[serde(deserialize_with = "amount")]
    disputed: i128,
    #[serde(deserialize_with = "amount")]
    reserved: i128,
}

impl Typed for Fields {
    fn event_type(&self) -> &str {
        &self.event_type
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Version {
    updated_at_ms: i64,
    event_id: String,
}

/// Credits that are set aside.
#[derive(Debug)]
pub(crate) struct Hold {
    credits: i128,
    pub(crate) times_out_at_s: i64,
    pub(crate) stored: Stored,
}

/// What an event did to a hold or a spend, for good: its position, and the word for it.
pub(crate) type Settled = Option<(i64, &'static str)>;

/// A user, from its events.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct User {
    registered: bool,
    deleted: bool,
    erasure_requested: bool,
    erased: bool,
    bonus: bool,
    plan: Option<String>,
    plan_sequence: i64,
    profile: Option<Version>,
    profile_sequence: i64,
    subscriptions: BTreeMap<String, Object>,
    referred_by: Option<String>,
    registered_at_us: Option<i64>,
    deleted_at_us: Option<i64>,
    events: i64,
    net: i128,
    pub(crate) account: Account,
    /// Of the last event that moved credits; 0: none did.
    pub(crate) moved_sequence: i64,
    pub(crate) lots: Lots,
    pub(crate) holds: BTreeMap<i64, Hold>,
    /// Spends and captures by position, and how many credits they used.
    spends: Vec<(i64, i128)>,
    /// Whether some event calls for a row in `users`.
    pub(crate) known: bool,
}

impl User {
    /// Takes the next event. What it settles is looked up by whoever knows all settlements.
    pub(crate) fn apply(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Settled {
        self.events += 1;
        let sequence = event.sequence;
        match event.event_type.as_str() {
            "UserRegistered" => {
                rule(
                    !self.registered,
                    "it registers a user who is registered",
                    say,
                );
                self.registered = true;
                self.registered_at_us = Some(event.recorded_at_us);
                self.plan = self.plan.take().or_else(|| fields.plan.clone());
            }
            "UserDeleted" => {
                self.deleted = true;
                self.deleted_at_us = self.deleted_at_us.or(Some(event.recorded_at_us));
            }
            "ErasureRequested" => self.erasure_requested = true,
            "UserErased" => {
                rule(
                    self.erasure_requested,
                    "it erases whom nobody asked to erase",
                    say,
                );
                self.erased = true;
            }
            "PlanChanged" => (self.plan, self.plan_sequence) = (fields.plan.clone(), sequence),
            "UserReferred" => self.referred_by = Some(fields.by.clone()),
            "SubscriptionChanged" => {
                let mut stands = Object::new();
                put(&mut stands, "gives", fields.gives.clone());
                stands.insert("created_s".to_owned(), fields.created_s.into());
                stands.insert("rank".to_owned(), fields.rank.into());
                stands.insert("event_id".to_owned(), fields.event_id.as_str().into());
                self.subscriptions
                    .insert(fields.subscription_id.clone(), stands);
            }
            "UserProfileChanged" => {}
            _ => {
                self.known |= event.event_type == "SignupBonusGranted";
                return self.apply_movement(event, fields, totals, say);
            }
        }
        self.known |= !matches!(
            event.event_type.as_str(),
            "UserReferred" | "SubscriptionChanged"
        );
        if let Some(profile) = &fields.profile {
            rule(
                !self.deleted,
                "it keeps a profile of a user who is gone",
                say,
            );
            (self.profile, self.profile_sequence) = (Some(profile.clone()), sequence);
        }
        None
    }

    /// What the user owes: what was taken back after it was spent.
    pub(crate) fn owed(&self) -> i128 {
        (-self.net).max(0)
    }

    /// The state of the stream, without lots and holds.
    pub(crate) fn state(&self) -> Object {
        let mut state = Object::new();
        put(&mut state, "registered", self.registered);
        put(&mut state, "deleted", self.deleted);
        put(&mut state, "erasure_requested", self.erasure_requested);
        put(&mut state, "erased", self.erased);
        if let Some(profile) = &self.profile {
            let profile =
                json!({ "updated_at_ms": profile.updated_at_ms, "event_id": profile.event_id });
            put(&mut state, "profile", profile);
        }
        put(&mut state, "bonus", self.bonus);
        put(&mut state, "plan", self.plan.clone());
        let subscriptions = self
            .subscriptions
            .iter()
            .map(|(id, stands)| (id.clone(), stands.clone().into()));
        put(
            &mut state,
            "subscriptions",
            subscriptions.collect::<Object>(),
        );
        put(&mut state, "referred_by", self.referred_by.clone());
        state.insert("events".to_owned(), self.events.into());
        state.insert("balance".to_owned(), number(self.account.balance));
        put(&mut state, "held", number(self.account.held));
        put(&mut state, "debt", number(self.account.debt));
        put(&mut state, "disputed", number(self.account.disputed));
        put(&mut state, "reserved", number(self.account.reserved));
        state
    }

    /// The row of `balance`.
    pub(crate) fn balance_row(&self, id: &str) -> Value {
        json!({
            "user_id": id, "balance": number(self.account.balance), "held": number(self.account.held),
            "debt": number(self.account.debt), "version": self.moved_sequence,
        })
    }

    /// The row of `users`.
    pub(crate) fn users_row(&self, id: &str) -> Value {
        json!({
            "user_id": id, "registered": self.registered, "deleted": self.deleted,
            "erasure_requested": self.erasure_requested, "erased": self.erased, "bonus": self.bonus,
            "plan": self.plan, "plan_sequence": self.plan_sequence, "profile_sequence": self.profile_sequence,
            "registered_at_us": self.registered_at_us, "deleted_at_us": self.deleted_at_us,
        })
    }
}

impl Fields {
    const fn account(&self) -> Account {
        Account {
            balance: self.balance,
            held: self.held,
            debt: self.debt,
            disputed: self.disputed,
            reserved: self.reserved,
        }
    }

    pub(crate) fn slices(&self) -> &[Slice] {
        self.slices.as_deref().unwrap_or_default()
    }

    fn returned(&self) -> &[Slice] {
        self.returned.as_deref().unwrap_or_default()
    }

    /// The hold or the spend that the event is about.
    pub(crate) fn about(&self) -> Option<&str> {
        self.entry_id.as_deref().or(self.hold_id.as_deref())
    }
}
