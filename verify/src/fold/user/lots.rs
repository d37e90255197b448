//! Lots: credits that came together and end together, and the slices that events move of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Fields;
use crate::fold::{Object, Say, amount, number, put, rule};

/// The place in the order of burning of credits of which nothing else is said.
pub(super) const PRIORITY_DEFAULT: u8 = 100;

/// Credits of a lot that an event moved, with what is settled about the lot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slice {
    pub(super) lot: i64,
    #[serde(deserialize_with = "amount")]
    pub(super) credits: i128,
    pub(super) kind: String,
    #[serde(default = "priority_default")]
    pub(super) priority: u8,
    #[serde(default)]
    pub(super) expires_at_s: Option<i64>,
    #[serde(default)]
    pub(super) purchase_id: Option<String>,
    #[serde(deserialize_with = "amount")]
    pub(super) amount: i128,
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
    pub(super) contested: i128,
    pub(super) expired: i128,
    pub(super) counted: i128,
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

/// All lots of a user that have credits, or remember what ended of a purchase.
#[derive(Debug, Default)]
pub(crate) struct Lots {
    /// By the number of the event that they came with.
    pub(crate) all: BTreeMap<i64, Lot>,
    /// The credits in them.
    pub(super) credits: i128,
}

impl Lots {
    /// What is spent or held is neither contested nor over.
    pub(super) fn check_free(&self, slices: &[Slice], at_s: i64, say: &mut Say<'_>) {
        let free = |slice: &Slice| {
            let lot = self.all.get(&slice.lot);
            lot.is_some_and(|lot| slice.credits <= lot.remaining - lot.contested)
                && slice.expires_at_s.is_none_or(|end_s| end_s > at_s)
        };
        rule(
            slices.iter().all(free),
            "it takes credits that are not free",
            say,
        );
    }

    pub(super) fn take(&mut self, slice: &Slice, ends: bool, say: &mut Say<'_>) {
        let Some(lot) = self.all.get_mut(&slice.lot) else {
            rule(
                slice.credits == 0,
                "it takes credits of a lot that has none",
                say,
            );
            self.credits -= slice.credits;
            return;
        };
        rule(lot.is_of(slice), "it says of a lot what is not so", say);
        rule(
            slice.credits <= lot.remaining,
            "it takes more of a lot than is left",
            say,
        );
        lot.remaining = (lot.remaining - slice.credits).max(0);
        self.credits -= slice.credits;
        if ends {
            lot.expired += slice.credits;
        } else {
            lot.contested = lot.contested.min(lot.remaining);
        }
        self.forget(slice.lot);
    }

    pub(super) fn give(&mut self, slice: &Slice, say: &mut Say<'_>) {
        if slice.credits == 0 {
            return;
        }
        let lot = self.all.entry(slice.lot).or_insert_with(|| Lot::of(slice));
        rule(lot.is_of(slice), "it says of a lot what is not so", say);
        lot.remaining += slice.credits;
        self.credits += slice.credits;
    }

    /// Changes the lot of the event's purchase, if there still is one. The change says whether it may be.
    pub(super) fn change_own(
        &mut self,
        fields: &Fields,
        change: impl FnOnce(&mut Lot) -> bool,
        say: &mut Say<'_>,
    ) {
        let own = self
            .all
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
        if self.all.get(&id).is_some_and(over) {
            self.all.remove(&id);
        }
    }
}

/// The sum of slices.
pub(super) fn sum(slices: &[Slice]) -> i128 {
    slices.iter().map(|slice| slice.credits).sum()
}
