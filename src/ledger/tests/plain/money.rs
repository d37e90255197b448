//! What the money of purchases does to credits, said plainly.

use std::collections::BTreeMap;

use super::person::{part, sum};
use super::{Plain, Step};
use crate::ledger::command::{CapturePayment, DisputeStanding};
use crate::ledger::event::DisputeStage;
use crate::ledger::lots::{LotKind, Terms};
use crate::ledger::{Credits, PurchaseId, UserId};

/// All that is known of a purchase of 900 minor units.
#[derive(Debug, Clone, Default)]
pub(super) struct Purchase {
    /// Whose it is, what it gave, and when that ends.
    pub(super) given: Option<(UserId, i64, Option<i64>)>,
    pub(super) amount_minor: i64,
    pub(super) refunds: BTreeMap<String, (i64, bool)>,
    pub(super) total_minor: i64,
    pub(super) disputes: BTreeMap<String, (DisputeStage, i64, DisputeStanding)>,
}

impl Purchase {
    /// How many credits are clawed back and held back, from the facts alone.
    fn withheld(&self) -> (i64, i64) {
        let Some((_, credits, _)) = self.given else {
            return (0, 0);
        };
        let known: i64 = self.refunds.values().map(|(amount, _)| amount).sum();
        let live = self.refunds.values().filter(|(_, failed)| !failed);
        let refunded =
            live.map(|(amount, _)| amount).sum::<i64>() + (self.total_minor - known).max(0);
        let (mut lost, mut open) = (0, 0);
        for (_, _, standing) in self.disputes.values() {
            match standing {
                DisputeStanding::Open { amount_minor } => open += amount_minor,
                DisputeStanding::Lost { amount_minor } => lost += amount_minor,
                DisputeStanding::Won => {}
            }
        }
        let share = |minor: i64| credits * minor.min(self.amount_minor) / self.amount_minor;
        let clawed = share(refunded + lost);
        (clawed, share(refunded + lost + open) - clawed)
    }
}

impl Plain {
    pub(super) fn capture_payment(&mut self, capture: &CapturePayment, at_s: i64) {
        let known = self
            .purchases
            .entry(capture.purchase_id.clone())
            .or_default();
        if known.given.is_some() {
            return;
        }
        let (user, price) = (
            capture.user_id.clone().unwrap(),
            capture.price.clone().unwrap(),
        );
        known.given = Some((user.clone(), price.credits.get(), price.expires_at_s));
        known.amount_minor = capture.money.amount_minor;
        let withheld = known.withheld();
        let terms = Terms {
            expires_at_s: price.expires_at_s,
            purchase_id: Some(capture.purchase_id.clone()),
            ..Terms::plain(LotKind::Paid, price.credits)
        };
        self.now(&user, at_s, |plain| {
            plain.give(&user, "CreditsPurchased", &terms);
        });
        self.withhold(&capture.purchase_id, (0, 0), withheld, at_s);
    }

    /// Takes in a fact about a purchase, and brings its user to what is withheld now.
    pub(super) fn learn(&mut self, id: &PurchaseId, at_s: i64, fact: impl FnOnce(&mut Purchase)) {
        let known = self.purchases.entry(id.clone()).or_default();
        let was = known.withheld();
        fact(known);
        let is = known.withheld();
        self.withhold(id, was, is, at_s);
    }

    fn withhold(&mut self, id: &PurchaseId, was: (i64, i64), is: (i64, i64), at_s: i64) {
        let Some((user, _, expires_at_s)) = self.purchases[id].given.clone() else {
            return;
        };
        let more = |now: i64, before: i64| (now - before).max(0);
        let (clawed, restored) = (more(is.0, was.0), more(was.0, is.0));
        let (contested, released) = (more(is.1, was.1), more(was.1, is.1));
        if clawed > 0 {
            self.now(&user, at_s, |plain| {
                plain.claw_back(&user, id, clawed, released);
            });
        } else if restored + released > 0 {
            let ends = expires_at_s;
            self.now(&user, at_s, |plain| {
                plain.restore(&user, id, restored, released, was.0, ends);
            });
        }
        if contested > 0 {
            self.now(&user, at_s, |plain| plain.hold_back(&user, id, contested));
        }
    }

    /// Out of its own lot first; then what ended there counts; then others; the rest is owed.
    fn claw_back(&mut self, user: &UserId, id: &PurchaseId, credits: i64, released: i64) {
        let person = self.of(user);
        person.disputed -= released;
        let (mut slices, mut counted) = (vec![], 0);
        if let Some(lot) = person.own(id) {
            let taken = lot.left.min(credits);
            lot.left -= taken;
            lot.contested = (lot.contested - released).clamp(0, lot.left);
            counted = (lot.ended - lot.counted).min(credits - taken);
            lot.counted += counted;
            if taken > 0 {
                slices.push(part(lot.id, &lot.terms, taken));
            }
        }
        person.tidy();
        let rest = credits - counted - sum(&slices);
        let others = person.burn(rest, true);
        person.owed += rest - sum(&others);
        slices.extend(others);
        self.tell(Step {
            credits,
            own: counted,
            slices,
            ..Step::new(user, "CreditsClawedBack")
        });
    }

    /// Gives back what was taken; what only counted as taken comes last, and is no credits.
    fn restore(
        &mut self,
        user: &UserId,
        id: &PurchaseId,
        credits: i64,
        released: i64,
        clawed_before: i64,
        expires_at_s: Option<i64>,
    ) {
        let person = self.of(user);
        person.disputed -= released;
        let mut counted = 0;
        if let Some(lot) = person.own(id) {
            lot.contested = (lot.contested - released).max(0);
            counted = (credits - (clawed_before - lot.counted)).max(0);
            lot.counted -= counted;
        }
        let repaid = person.repay(credits - counted);
        let kept = credits - counted - repaid;
        let terms = Terms {
            expires_at_s,
            purchase_id: Some(id.clone()),
            ..Terms::plain(LotKind::Paid, Credits::new(kept).unwrap())
        };
        let back = person.put(&part(person.events + 1, &terms, kept));
        self.tell(Step {
            credits,
            repaid,
            own: counted,
            slices: if kept > 0 { vec![back] } else { vec![] },
            ..Step::new(user, "CreditsRestored")
        });
    }

    /// So many can not be spent. Those in its own lot stay where they are until it is decided.
    fn hold_back(&mut self, user: &UserId, id: &PurchaseId, credits: i64) {
        let person = self.of(user);
        person.disputed += credits;
        let mut own = 0;
        if let Some(lot) = person.own(id) {
            own = (lot.left - lot.contested).min(credits);
            lot.contested += own;
        }
        self.tell(Step {
            credits,
            own,
            ..Step::new(user, "CreditsHeldBack")
        });
    }
}
