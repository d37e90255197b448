//! A user: lots, account, holds, and what else the events of the stream come to.
//!
//! `net` is all that was given less all that was taken or is reserved. Everything else of an account follows from it, from
//! what is contested and from what is reserved; and the lots hold exactly what `net` has above zero.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Object, Say, amount, number, put};
use crate::record::EventRecord;
use crate::report::{Totals, checks};

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

const PRIORITY_DEFAULT: u8 = 100;

/// The fields of all events of users; each event has some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
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

#[derive(Debug, Clone, Deserialize)]
struct Version {
    updated_at_ms: i64,
    event_id: String,
}

/// An account, as events carry it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) balance: i128,
    pub(crate) held: i128,
    pub(crate) debt: i128,
    disputed: i128,
    reserved: i128,
}

impl Account {
    const fn of(net: i128, disputed: i128, reserved: i128) -> Self {
        let in_lots = if net > 0 { net } else { 0 };
        let there = if disputed < in_lots {
            disputed
        } else {
            in_lots
        };
        let beyond = disputed - net;
        Self {
            balance: in_lots + reserved,
            held: there + reserved,
            debt: if beyond > 0 { beyond } else { 0 },
            disputed,
            reserved,
        }
    }

    const fn net(self) -> i128 {
        if self.debt == 0 {
            self.balance - self.reserved
        } else {
            self.disputed - self.debt
        }
    }
}

/// Credits of a lot that an event moved, with what is settled about the lot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slice {
    lot: i64,
    #[serde(deserialize_with = "amount")]
    credits: i128,
    kind: String,
    #[serde(default = "priority_default")]
    priority: u8,
    #[serde(default)]
    expires_at_s: Option<i64>,
    #[serde(default)]
    purchase_id: Option<String>,
    #[serde(deserialize_with = "amount")]
    amount: i128,
}

const fn priority_default() -> u8 {
    PRIORITY_DEFAULT
}

/// Credits that came together.
#[derive(Debug, Clone)]
pub(crate) struct Lot {
    kind: String,
    priority: u8,
    expires_at_s: Option<i64>,
    purchase_id: Option<String>,
    amount: i128,
    pub(crate) remaining: i128,
    contested: i128,
    expired: i128,
    counted: i128,
    /// Whether it was found where states are stored.
    pub(crate) stored: Stored,
}

/// Where something was found that the events call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stored {
    #[default]
    Nowhere,
    InState,
    InRow,
}

impl Lot {
    fn of(slice: &Slice) -> Self {
        Self {
            kind: slice.kind.clone(),
            priority: slice.priority,
            expires_at_s: slice.expires_at_s,
            purchase_id: slice.purchase_id.clone(),
            amount: slice.amount,
            remaining: 0,
            contested: 0,
            expired: 0,
            counted: 0,
            stored: Stored::Nowhere,
        }
    }

    fn is_of(&self, slice: &Slice) -> bool {
        (
            &self.kind,
            self.priority,
            self.expires_at_s,
            &self.purchase_id,
            self.amount,
        ) == (
            &slice.kind,
            slice.priority,
            slice.expires_at_s,
            &slice.purchase_id,
            slice.amount,
        )
    }

    /// As a state holds it.
    pub(crate) fn state(&self, id: i64) -> Object {
        let mut lot = Object::new();
        put(&mut lot, "id", id);
        put(&mut lot, "kind", self.kind.as_str());
        if self.priority != PRIORITY_DEFAULT {
            lot.insert("priority".to_owned(), self.priority.into());
        }
        put(&mut lot, "expires_at_s", self.expires_at_s);
        put(&mut lot, "purchase_id", self.purchase_id.clone());
        lot.insert("amount".to_owned(), number(self.amount));
        lot.insert("remaining".to_owned(), number(self.remaining));
        put(&mut lot, "contested", number(self.contested));
        put(&mut lot, "expired", number(self.expired));
        put(&mut lot, "counted", number(self.counted));
        lot
    }

    /// As a row of `lots` holds it.
    pub(crate) fn row(&self, user: &str, id: i64, shard: i16) -> Value {
        json!({
            "user_id": user, "lot": id, "shard": shard, "kind": self.kind, "priority": self.priority,
            "expires_at_s": self.expires_at_s, "purchase_id": self.purchase_id, "amount": number(self.amount),
            "remaining": number(self.remaining), "contested": number(self.contested), "expired": number(self.expired),
            "counted": number(self.counted),
        })
    }
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

/// What a movement does.
#[derive(Debug, Default)]
struct Moves {
    /// What comes to lots, of what repays no debt.
    came: Option<Vec<Slice>>,
    /// How many credits leave lots.
    left: Option<i128>,
    /// How many more are given, net.
    given: i128,
    /// How many more are contested.
    disputed: i128,
    /// How many more are reserved.
    reserved: i128,
    settled: Settled,
}

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
    pub(crate) lots: BTreeMap<i64, Lot>,
    /// All that is in the lots.
    in_lots: i128,
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
            "UserErased" => self.erased = true,
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
            (self.profile, self.profile_sequence) = (Some(profile.clone()), sequence);
        }
        None
    }

    /// An event that moves credits.
    fn apply_movement(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Settled {
        let (slices, returned) = (fields.slices(), fields.returned());
        let amounts = [fields.credits, fields.repaid, fields.released, fields.own];
        let in_slices = slices.iter().chain(returned).map(|slice| slice.credits);
        let all_there = amounts
            .into_iter()
            .chain(in_slices)
            .all(|amount| amount >= 0);
        rule(all_there, "it moves less than nothing", say);
        let moves = match event.event_type.as_str() {
            "SignupBonusGranted" | "CreditsPurchased" | "CreditsGranted" => {
                self.adds(event, fields, totals, say)
            }
            "CreditsSpent" | "SpendReversed" | "CreditsExpired" => {
                self.spends(event, fields, totals, say)
            }
            "CreditsHeld" | "HoldCaptured" | "HoldReleased" => {
                self.holds(event, fields, totals, say)
            }
            _ => self.adjusts(event, fields, totals, say),
        };
        if let Some(credits) = moves.left {
            rule(
                sum(slices) == credits,
                "its slices are not the credits that it takes",
                say,
            );
            let ends = event.event_type == "CreditsExpired";
            for slice in slices {
                self.take(slice, ends, say);
            }
        }
        if let Some(slices) = &moves.came {
            let owed = self.owed().min(moves.given);
            rule(
                fields.repaid == owed,
                "it repays another debt than there is",
                say,
            );
            let kept = moves.given - fields.repaid;
            rule(
                sum(slices) == kept,
                "its slices are not the credits that come",
                say,
            );
            for slice in slices {
                self.give(slice, say);
            }
        }
        self.check_account(event, fields, &moves, say);
        moves.settled
    }

    /// Credits come in, as a lot of their own.
    fn adds(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (kind, total) = match event.event_type.as_str() {
            "CreditsPurchased" => ("paid", &mut totals.purchased),
            "CreditsGranted" => (fields.kind.as_str(), &mut totals.granted),
            _ => {
                rule(!self.bonus, "it gives the signup bonus twice", say);
                self.bonus = true;
                ("bonus", &mut totals.granted)
            }
        };
        *total += fields.credits;
        let lot = Slice {
            lot: event.sequence,
            credits: fields.credits - fields.repaid,
            kind: kind.to_owned(),
            priority: fields.priority.unwrap_or(PRIORITY_DEFAULT),
            expires_at_s: fields.expires_at_s,
            purchase_id: fields.purchase_id.clone(),
            amount: fields.credits,
        };
        Moves {
            came: Some(vec![lot]),
            given: fields.credits,
            ..Moves::default()
        }
    }

    /// Credits are used, come back from a use, or end.
    fn spends(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (credits, slices) = (fields.credits, fields.slices());
        let mut moves = Moves {
            left: Some(credits),
            given: -credits,
            ..Moves::default()
        };
        match event.event_type.as_str() {
            "CreditsSpent" => {
                self.check_free(slices, at_s(event), say);
                self.spends.push((event.position, credits));
                totals.spent += credits;
            }
            "CreditsExpired" => {
                let end_s = fields.expired_at_s;
                let over = |slice: &Slice| slice.expires_at_s.is_some_and(|over_s| over_s <= end_s);
                let all_over = end_s <= at_s(event) && slices.iter().all(over);
                rule(all_over, "it ends credits before their time", say);
                totals.expired += credits;
            }
            _ => {
                let position = place(fields.entry_id.as_deref(), event.shard);
                let index = self
                    .spends
                    .binary_search_by_key(&position.unwrap_or(0), |spend| spend.0);
                let spend = index.ok().and_then(|index| self.spends.get(index));
                let spent = spend.map_or(0, |spend| spend.1);
                rule(
                    credits <= spent,
                    "it gives back more than was spent there",
                    say,
                );
                totals.spent -= credits;
                moves = Moves {
                    came: Some(slices.to_vec()),
                    given: credits,
                    settled: position.map(|position| (position, "reversed")),
                    ..Moves::default()
                };
            }
        }
        moves
    }

    /// Credits are set aside; they are used or come back.
    fn holds(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (credits, slices) = (fields.credits, fields.slices());
        if event.event_type == "CreditsHeld" {
            self.check_free(slices, at_s(event), say);
            let hold = Hold {
                credits,
                times_out_at_s: fields.times_out_at_s,
                stored: Stored::Nowhere,
            };
            self.holds.insert(event.position, hold);
            return Moves {
                left: Some(credits),
                given: -credits,
                reserved: credits,
                ..Moves::default()
            };
        }
        let position = place(fields.hold_id.as_deref(), event.shard);
        let hold = position.and_then(|position| self.holds.remove(&position));
        rule(hold.is_some(), "it ends a hold that is not open", say);
        let held = hold.map_or(credits, |hold| hold.credits);
        let (used, how) = if event.event_type == "HoldCaptured" {
            let fits = sum(slices) == credits && credits <= held;
            rule(fits, "it uses other credits than were held", say);
            self.spends.push((event.position, credits));
            (credits, "captured")
        } else {
            rule(
                credits == held,
                "it gives back other credits than were held",
                say,
            );
            let timed_out = fields.timed_out_at_s.is_some();
            (0, if timed_out { "timed out" } else { "released" })
        };
        totals.spent += used;
        Moves {
            came: Some(fields.returned().to_vec()),
            given: held - used,
            reserved: -held,
            settled: position.map(|position| (position, how)),
            ..Moves::default()
        }
    }

    /// Money of a purchase is contested, gone or back, and its credits with it.
    fn adjusts(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (credits, own) = (fields.credits, fields.own);
        if event.event_type == "CreditsHeldBack" {
            let change = |lot: &mut Lot| {
                lot.contested += own;
                lot.contested <= lot.remaining
            };
            self.change_own(fields, change, say);
            return Moves {
                disputed: credits,
                ..Moves::default()
            };
        }
        let restores = event.event_type == "CreditsRestored";
        // What ended in the purchase's own lot counts as taken: nothing is left to move.
        let moved = credits - own;
        let (given, counted) = if restores {
            (moved, -own)
        } else {
            (-moved, own)
        };
        totals.clawed_back -= given;
        let change = |lot: &mut Lot| {
            lot.contested = (lot.contested - fields.released).max(0);
            lot.counted += counted;
            (0..=lot.expired).contains(&lot.counted)
        };
        self.change_own(fields, change, say);
        // What is not in lots any more becomes debt.
        let left = moved.min(self.net.max(0));
        Moves {
            came: restores.then(|| fields.slices().to_vec()),
            left: (!restores).then_some(left),
            given,
            disputed: -fields.released,
            ..Moves::default()
        }
    }

    /// The account after an event is what its credits make of the one before.
    fn check_account(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        moves: &Moves,
        say: &mut Say<'_>,
    ) {
        let before = self.account;
        let made = Account::of(
            self.net + moves.given,
            before.disputed + moves.disputed,
            before.reserved + moves.reserved,
        );
        let said = fields.account();
        if said != made || fields.delta != said.balance - before.balance {
            say(
                checks::ACCOUNT_DIFFERS,
                format!(
                    "the account after it is {}; what it moves makes {}",
                    said.show(fields.delta),
                    made.show(made.balance - before.balance)
                ),
            );
        }
        self.account = said;
        self.net = said.net();
        self.moved_sequence = event.sequence;
        if self.in_lots != self.net.max(0) {
            say(
                checks::RULE_BROKEN,
                format!(
                    "there are {} credits in lots after it, and {} in the account",
                    self.in_lots,
                    self.net.max(0)
                ),
            );
            self.in_lots = self.net.max(0);
        }
    }

    /// What is spent or held is neither contested nor over.
    fn check_free(&self, slices: &[Slice], at_s: i64, say: &mut Say<'_>) {
        let free = |slice: &Slice| {
            let lot = self.lots.get(&slice.lot);
            lot.is_some_and(|lot| slice.credits <= lot.remaining - lot.contested)
                && slice.expires_at_s.is_none_or(|end_s| end_s > at_s)
        };
        rule(
            slices.iter().all(free),
            "it takes credits that are not free",
            say,
        );
    }

    fn take(&mut self, slice: &Slice, ends: bool, say: &mut Say<'_>) {
        let Some(lot) = self.lots.get_mut(&slice.lot) else {
            rule(
                slice.credits == 0,
                "it takes credits of a lot that has none",
                say,
            );
            self.in_lots -= slice.credits;
            return;
        };
        rule(lot.is_of(slice), "it says of a lot what is not so", say);
        rule(
            slice.credits <= lot.remaining,
            "it takes more of a lot than is left",
            say,
        );
        lot.remaining = (lot.remaining - slice.credits).max(0);
        self.in_lots -= slice.credits;
        if ends {
            lot.expired += slice.credits;
        } else {
            lot.contested = lot.contested.min(lot.remaining);
        }
        self.forget(slice.lot);
    }

    fn give(&mut self, slice: &Slice, say: &mut Say<'_>) {
        if slice.credits == 0 {
            return;
        }
        let lot = self.lots.entry(slice.lot).or_insert_with(|| Lot::of(slice));
        rule(lot.is_of(slice), "it says of a lot what is not so", say);
        lot.remaining += slice.credits;
        self.in_lots += slice.credits;
    }

    /// Changes the lot of the event's purchase, if there still is one. The change says whether it may be.
    fn change_own(
        &mut self,
        fields: &Fields,
        change: impl FnOnce(&mut Lot) -> bool,
        say: &mut Say<'_>,
    ) {
        let own = self
            .lots
            .iter_mut()
            .find(|(_, lot)| lot.purchase_id.is_some() && lot.purchase_id == fields.purchase_id);
        let Some((id, lot)) = own else {
            rule(
                fields.own == 0,
                "it counts credits in a lot that has none",
                say,
            );
            return;
        };
        let id = *id;
        rule(
            change(lot),
            "it counts other credits than there are in the purchase's lot",
            say,
        );
        self.forget(id);
    }

    /// A lot without credits is remembered only for what ended of a purchase.
    fn forget(&mut self, id: i64) {
        let over =
            |lot: &Lot| lot.remaining == 0 && (lot.purchase_id.is_none() || lot.expired == 0);
        if self.lots.get(&id).is_some_and(over) {
            self.lots.remove(&id);
        }
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

impl Account {
    fn show(self, delta: i128) -> String {
        let Self {
            balance,
            held,
            debt,
            disputed,
            reserved,
        } = self;
        format!(
            "delta {delta} balance {balance} held {held} debt {debt} disputed {disputed} reserved {reserved}"
        )
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

    fn slices(&self) -> &[Slice] {
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

fn rule(holds: bool, else_what: &str, say: &mut Say<'_>) {
    if !holds {
        say(checks::RULE_BROKEN, else_what.to_owned());
    }
}

/// When it was recorded, seconds since 1970.
const fn at_s(event: &EventRecord) -> i64 {
    event.recorded_at_us.div_euclid(1_000_000)
}

fn sum(slices: &[Slice]) -> i128 {
    slices.iter().map(|slice| slice.credits).sum()
}

/// The position of `<shard>-<position>`, which is in the stream's own shard.
fn place(text: Option<&str>, shard: i16) -> Option<i64> {
    let (of, position) = text?.split_once('-')?;
    (of.parse() == Ok(shard)).then(|| position.parse().ok())?
}
