//! A user's credits, said plainly: a list of lots, sorted when it is asked for.

use std::collections::BTreeMap;

use crate::ledger::lots::{LotKind, Slice, Terms};
use crate::ledger::{Account, Credits, PurchaseId, UserId};

/// A lot that holds credits, or is of a purchase and remembers what ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainLot {
    pub id: i64,
    pub terms: Terms,
    pub left: i64,
    /// Of those left: held back for a dispute.
    pub contested: i64,
    pub ended: i64,
    /// Of those that ended: count as taken back.
    pub counted: i64,
}

/// Credits set aside.
#[derive(Debug, Clone)]
pub(super) struct Reserved {
    pub(super) event: i64,
    pub(super) slices: Vec<Slice>,
    pub(super) times_out_at_s: i64,
}

/// All of a user.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// How many events there are.
    pub(super) events: i64,
    pub(super) lots: Vec<PlainLot>,
    pub(super) owed: i64,
    pub(super) disputed: i64,
    pub(super) holds: Vec<Reserved>,
    /// What each spend and captured hold used.
    pub(super) used: BTreeMap<i64, Vec<Slice>>,
    pub(super) registered: bool,
    pub(super) bonus: bool,
    pub(super) plan: Option<String>,
    pub(super) referred_by: Option<UserId>,
}

impl Person {
    fn in_lots(&self) -> i64 {
        self.lots.iter().map(|lot| lot.left).sum()
    }

    pub(super) fn available(&self) -> i64 {
        (self.in_lots() - self.disputed).max(0)
    }

    pub fn account(&self) -> Account {
        let credits = |n| Credits::new(n).unwrap();
        let reserved: i64 = self.holds.iter().map(|hold| sum(&hold.slices)).sum();
        let in_lots = self.in_lots();
        Account {
            balance: credits(in_lots + reserved),
            held: credits(self.disputed.min(in_lots) + reserved),
            debt: credits((self.disputed - in_lots).max(0) + self.owed),
            disputed: credits(self.disputed),
            reserved: credits(reserved),
        }
    }

    /// The lots with credits, in the order of burning.
    pub fn open(&self) -> Vec<PlainLot> {
        let mut open: Vec<PlainLot> = self
            .lots
            .iter()
            .filter(|lot| lot.left > 0)
            .cloned()
            .collect();
        open.sort_by_key(|lot| order(lot.id, &lot.terms));
        open
    }

    pub(super) fn own(&mut self, purchase: &PurchaseId) -> Option<&mut PlainLot> {
        let of = |lot: &&mut PlainLot| lot.terms.purchase_id.as_ref() == Some(purchase);
        self.lots.iter_mut().find(of)
    }

    /// What comes in repays what is owed first.
    pub(super) fn repay(&mut self, credits: i64) -> i64 {
        let repaid = self.owed.min(credits);
        self.owed -= repaid;
        repaid
    }

    pub(super) fn add(&mut self, terms: &Terms) -> (i64, i64) {
        let credits = terms.amount.get();
        let repaid = self.repay(credits);
        // The event that is about to be told.
        self.put(&part(self.events + 1, terms, credits - repaid));
        (credits, repaid)
    }

    /// Lays credits into their lot, which comes again if it is not there. A purchase has one lot.
    pub(super) fn put(&mut self, slice: &Slice) -> Slice {
        let known = self.lots.iter_mut().find(|lot| {
            let purchase = &lot.terms.purchase_id;
            lot.id == slice.lot || purchase.is_some() && *purchase == slice.terms.purchase_id
        });
        if let Some(lot) = known {
            lot.left += slice.credits.get();
            return part(lot.id, &lot.terms, slice.credits.get());
        }
        if !slice.credits.is_zero() {
            self.lots.push(PlainLot {
                id: slice.lot,
                terms: slice.terms.clone(),
                left: slice.credits.get(),
                contested: 0,
                ended: 0,
                counted: 0,
            });
        }
        slice.clone()
    }

    /// Takes so many out of lots in the order of burning: what is free, and in the end, if it must, what is contested.
    pub(super) fn burn(&mut self, credits: i64, contested_too: bool) -> Vec<Slice> {
        let mut left = credits;
        let mut slices: Vec<Slice> = Vec::new();
        for contested in [false, true] {
            for lot in self.open() {
                if contested && !contested_too {
                    continue;
                }
                let most = if contested {
                    lot.contested
                } else {
                    lot.left - lot.contested
                };
                let taken = most.min(left);
                left -= taken;
                if taken == 0 {
                    continue;
                }
                match slices.iter_mut().find(|slice| slice.lot == lot.id) {
                    Some(slice) => slice.credits = add(slice.credits, taken),
                    None => slices.push(part(lot.id, &lot.terms, taken)),
                }
            }
        }
        for slice in &slices {
            let lot = self
                .lots
                .iter_mut()
                .find(|lot| lot.id == slice.lot)
                .unwrap();
            lot.left -= slice.credits.get();
            lot.contested = lot.contested.min(lot.left);
        }
        self.tidy();
        slices
    }

    pub(super) fn give_back(&mut self, slices: &[Slice]) -> (i64, Vec<Slice>) {
        let mut slices = slices.to_vec();
        slices.sort_by_key(|slice| order(slice.lot, &slice.terms));
        let repaid = self.repay(sum(&slices));
        let (_, rest) = cut(&slices, repaid);
        (repaid, rest.iter().map(|slice| self.put(slice)).collect())
    }

    /// A lot without credits is forgotten, unless its purchase may ask what ended in it.
    pub(super) fn tidy(&mut self) {
        let remembers = |lot: &PlainLot| lot.terms.purchase_id.is_some() && lot.ended > 0;
        self.lots.retain(|lot| lot.left > 0 || remembers(lot));
    }

    /// The next that ends, and everything that ends with it.
    pub(super) fn end_next(&mut self, until_s: i64) -> Option<(i64, Vec<Slice>)> {
        let ends = |lot: &PlainLot| lot.terms.expires_at_s.filter(|_| lot.left > lot.contested);
        let at_s = self
            .lots
            .iter()
            .filter_map(ends)
            .min()
            .filter(|at_s| *at_s <= until_s)?;
        let mut slices = Vec::new();
        for lot in self.open() {
            if ends(&lot) == Some(at_s) {
                let known = self
                    .lots
                    .iter_mut()
                    .find(|known| known.id == lot.id)
                    .unwrap();
                let free = lot.left - lot.contested;
                known.left -= free;
                known.ended += free;
                slices.push(part(lot.id, &lot.terms, free));
            }
        }
        self.tidy();
        Some((at_s, slices))
    }
}

/// First what has the lower priority number, then what ends soonest, then what was given before what was paid, then the
/// oldest.
pub(super) fn order(id: i64, terms: &Terms) -> (u8, bool, Option<i64>, bool, i64) {
    let ends = terms.expires_at_s;
    (
        terms.priority,
        ends.is_none(),
        ends,
        terms.kind == LotKind::Paid,
        id,
    )
}

pub(super) fn part(lot: i64, terms: &Terms, credits: i64) -> Slice {
    Slice {
        lot,
        credits: Credits::new(credits).unwrap(),
        terms: terms.clone(),
    }
}

fn add(credits: Credits, more: i64) -> Credits {
    Credits::new(credits.get() + more).unwrap()
}

pub(super) fn sum(slices: &[Slice]) -> i64 {
    slices.iter().map(|slice| slice.credits.get()).sum()
}

/// The first so many, and the rest.
pub(super) fn cut(slices: &[Slice], credits: i64) -> (Vec<Slice>, Vec<Slice>) {
    let (mut first, mut rest, mut left) = (vec![], vec![], credits);
    for slice in slices {
        let here = slice.credits.get().min(left);
        left -= here;
        first.push(part(slice.lot, &slice.terms, here));
        rest.push(part(slice.lot, &slice.terms, slice.credits.get() - here));
    }
    first.retain(|slice| !slice.credits.is_zero());
    rest.retain(|slice| !slice.credits.is_zero());
    (first, rest)
}
