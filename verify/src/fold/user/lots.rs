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
    pub(crate) expires_at_s: Option<i64>,
    #[serde(default)]
    pub(super) purchase_id: Option<String>,
    #[serde(deserialize_with = "amount")]
    pub(super) amount: i128,
}

impl Slice {
    fn terms(&self) -> Terms {
        Terms {
            kind: self.kind.clone(),
            priority: self.priority,
            expires_at_s: self.expires_at_s,
            purchase_id: self.purchase_id.clone(),
            amount: self.amount,
        }
    }
}

const fn priority_default() -> u8 {
    PRIORITY_DEFAULT
}

/// What is settled about a lot when it comes, and stays so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Terms {
    kind: String,
    priority: u8,
    expires_at_s: Option<i64>,
    purchase_id: Option<String>,
    amount: i128,
}

/// The place of a lot in the order of burning: by priority, then what ends soonest, then what was given before what was
/// paid, then the oldest.
pub(crate) type BurnKey = (u8, i64, bool, i64);

/// Credits that came together.
#[derive(Debug, Clone)]
pub(crate) struct Lot {
    terms: Terms,
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
    const fn of(terms: Terms) -> Self {
        Self {
            terms,
            remaining: 0,
            contested: 0,
            expired: 0,
            counted: 0,
            stored: Stored::Nowhere,
        }
    }

    /// Its place in the order of burning.
    pub(crate) fn burn_key(&self, id: i64) -> BurnKey {
        let Terms {
            kind,
            priority,
            expires_at_s,
            ..
        } = &self.terms;
        (
            *priority,
            expires_at_s.unwrap_or(i64::MAX),
            kind == "paid",
            id,
        )
    }

    /// When its credits end, if some do: what is contested does not.
    pub(crate) fn ends_at_s(&self) -> Option<i64> {
        self.terms
            .expires_at_s
            .filter(|_| self.remaining > self.contested)
    }

    /// As a state holds it.
    pub(crate) fn state(&self, id: i64) -> Object {
        let terms = &self.terms;
        let mut lot = Object::new();
        put(&mut lot, "id", id);
        put(&mut lot, "kind", terms.kind.as_str());
        if terms.priority != PRIORITY_DEFAULT {
            lot.insert("priority".to_owned(), terms.priority.into());
        }
        put(&mut lot, "expires_at_s", terms.expires_at_s);
        put(&mut lot, "purchase_id", terms.purchase_id.clone());
        lot.insert("amount".to_owned(), number(terms.amount));
        lot.insert("remaining".to_owned(), number(self.remaining));
        put(&mut lot, "contested", number(self.contested));
        put(&mut lot, "expired", number(self.expired));
        put(&mut lot, "counted", number(self.counted));
        lot
    }

    /// As a row of `lots` holds it.
    pub(crate) fn row(&self, user: &str, id: i64, shard: i16) -> Value {
        let terms = &self.terms;
        json!({
            "user_id": user, "lot": id, "shard": shard, "kind": terms.kind, "priority": terms.priority,
            "expires_at_s": terms.expires_at_s, "purchase_id": terms.purchase_id, "amount": number(terms.amount),
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
    /// The terms of those that are empty and forgotten: what comes back to them comes back as it was.
    emptied: BTreeMap<i64, Terms>,
    /// The credits in them.
    pub(super) credits: i128,
}

impl Lots {
    /// What is spent or held is neither contested nor over.
    pub(super) fn check_free(&self, slices: &[Slice], at_s: i64, say: &mut Say<'_>) {
        let mut taken: BTreeMap<i64, i128> = BTreeMap::new();
        for slice in slices {
            *taken.entry(slice.lot).or_default() += slice.credits;
        }
        let there = |(id, credits): (&i64, &i128)| {
            let lot = self.all.get(id);
            lot.is_some_and(|lot| *credits <= lot.remaining - lot.contested)
        };
        let lasts = |slice: &Slice| slice.expires_at_s.is_none_or(|end_s| end_s > at_s);
        rule(
            taken.iter().all(there) && slices.iter().all(lasts),
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
        rule(
            lot.terms == slice.terms(),
            "it says of a lot what is not so",
            say,
        );
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

    /// Credits come to a lot. `new`: the only lot that may not have been there before.
    pub(super) fn give(&mut self, slice: &Slice, new: Option<i64>, say: &mut Say<'_>) {
        if slice.credits == 0 {
            return;
        }
        let lot = self.all.entry(slice.lot).or_insert_with(|| {
            let terms = self.emptied.remove(&slice.lot);
            let known = terms.is_some() || new == Some(slice.lot);
            rule(known, "it gives to a lot that never was", say);
            Lot::of(terms.unwrap_or_else(|| slice.terms()))
        });
        rule(
            lot.terms == slice.terms(),
            "it says of a lot what is not so",
            say,
        );
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
        // One that has credits before one that is only remembered.
        let of_purchase = |(_, lot): &(&i64, &mut Lot)| {
            let id = &lot.terms.purchase_id;
            id.is_some() && *id == fields.purchase_id
        };
        let own = self.all.iter_mut().filter(of_purchase);
        let own = own.min_by_key(|(_, lot)| lot.remaining == 0);
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
            |lot: &Lot| lot.remaining == 0 && (lot.terms.purchase_id.is_none() || lot.expired == 0);
        if self.all.get(&id).is_some_and(over)
            && let Some(lot) = self.all.remove(&id)
        {
            self.emptied.insert(id, lot.terms);
        }
    }
}

/// The sum of slices.
pub(super) fn sum(slices: &[Slice]) -> i128 {
    slices.iter().map(|slice| slice.credits).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_lots_of_a_purchase_the_one_with_credits_changes() {
        let slice = |lot, credits| Slice {
            lot,
            credits,
            kind: "paid".to_owned(),
            priority: PRIORITY_DEFAULT,
            expires_at_s: Some(9),
            purchase_id: Some("stripe:pi_1".to_owned()),
            amount: credits,
        };
        let mut said = Vec::new();
        let mut say = |_, what| said.push(what);
        let mut lots = Lots::default();
        lots.give(&slice(3, 10), Some(3), &mut say);
        lots.take(&slice(3, 10), true, &mut say);
        lots.give(&slice(5, 7), Some(5), &mut say);
        let fields = Fields {
            purchase_id: Some("stripe:pi_1".to_owned()),
            own: 7,
            ..Fields::default()
        };
        let contest = |lot: &mut Lot| {
            lot.contested += 7;
            lot.contested <= lot.remaining
        };
        lots.change_own(&fields, contest, &mut say);
        assert_eq!((lots.all[&3].contested, lots.all[&5].contested), (0, 7));
        assert_eq!(said, Vec::<String>::new());
    }
}
