//! What went back of a purchase's money or is contested, and how many of its credits that withholds: functions of the refunds
//! and disputes that are known, never of their order.

use serde::{Deserialize, Serialize};

use super::{Draft, Purchase};
use crate::ledger::command::{DisputePayment, DisputeStanding, RefundPayment};
use crate::ledger::event::{DisputeStage, PurchaseEvent, Standing, is_zero};
use crate::ledger::value::{Credits, Currency};

/// A refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRefund {
    /// Minor units.
    pub amount_minor: i64,
    /// The money stayed with us, or came back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// The highest stage of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDispute {
    /// How far it has come.
    pub stage: DisputeStage,
    /// Not decided yet: so much is contested, minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_minor: i64,
    /// Decided: so much is lost, minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_minor: i64,
    /// In which currency, if it was told before the payment's was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_currency: Option<Currency>,
}

/// How many of a purchase's credits are not the user's to spend. Never more than it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Withheld {
    /// Taken back with the money.
    pub clawed_back: Credits,
    /// Held back while the money is contested.
    pub held_back: Credits,
}

impl KnownDispute {
    /// Of what is known of one dispute the highest counts.
    pub(super) const fn rank(&self) -> (DisputeStage, i64) {
        (self.stage, self.open_minor + self.lost_minor)
    }
}

impl Purchase {
    /// How its money stands. What went back by refunds is what is known of live ones by their ids, and on top of that
    /// what the provider's own sum has beyond all refunds that are known by id (failed ones included, since the sum
    /// once had them).
    pub fn standing(&self) -> Standing {
        let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.fold(0, i64::saturating_add);
        let refunds = || self.refunds.values();
        let live = sum(&mut refunds().filter(|r| !r.failed).map(|r| r.amount_minor));
        let known = sum(&mut refunds().map(|r| r.amount_minor));
        let beyond = self.refunded_total_minor.saturating_sub(known).max(0);
        Standing {
            refunded_minor: live.saturating_add(beyond),
            disputed_minor: sum(&mut self.disputes.values().map(|d| d.open_minor)),
            lost_minor: sum(&mut self.disputes.values().map(|d| d.lost_minor)),
        }
    }

    /// How many of the credits that it gave are withheld. In proportion to the money, always counted from the whole and
    /// rounded down: so a full refund in any number of parts takes back exactly everything.
    pub fn withheld(&self) -> Withheld {
        let Some((_, price)) = self.credited() else {
            return Withheld::default();
        };
        let standing = self.standing();
        let gone = standing.refunded_minor.saturating_add(standing.lost_minor);
        let contested = gone.saturating_add(standing.disputed_minor);
        let clawed_back = self.share(price.credits, gone);
        let both = self.share(price.credits, contested);
        Withheld {
            clawed_back,
            held_back: both.checked_sub(clawed_back).unwrap_or_default(),
        }
    }

    /// The part of the credits that a part of the captured money bought.
    fn share(&self, credits: Credits, part_minor: i64) -> Credits {
        if self.amount_minor <= 0 || part_minor <= 0 {
            return Credits::ZERO;
        }
        let part = i128::from(part_minor.min(self.amount_minor));
        let share = i128::from(credits.get()) * part / i128::from(self.amount_minor);
        // At most all of them, since the part is at most the whole.
        i64::try_from(share)
            .ok()
            .and_then(|share| Credits::new(share).ok())
            .unwrap_or(credits)
    }

    /// What follows from money that went back, or did not; it can not be refused. A failure is final.
    pub(super) fn refund(&self, refund: &RefundPayment) -> Vec<PurchaseEvent> {
        let mut draft = Draft::of(self);
        let mut total =
            Some(refund.refunded_total_minor).filter(|total| *total > self.refunded_total_minor);
        if let Some(one) = &refund.refund {
            let known = self.refunds.get(&one.refund_id);
            let refund_id = one.refund_id.clone();
            let amount_minor = known.map_or(one.amount_minor, |known| known.amount_minor);
            if one.failed && known.is_none_or(|known| !known.failed) {
                draft.push_standing(|after| PurchaseEvent::RefundFailed {
                    refund_id: refund_id.clone(),
                    amount_minor,
                    after,
                });
            } else if known.is_none() {
                let refunded_total_minor = total.take();
                draft.push_standing(|after| PurchaseEvent::PaymentRefunded {
                    refund_id: Some(refund_id.clone()),
                    amount_minor: Some(amount_minor),
                    refunded_total_minor,
                    after,
                });
            }
        }
        draft.push_refunded_total(total.unwrap_or(0));
        draft.events
    }

    /// What follows from how a dispute stands; it can not be refused. Of one dispute the highest stage counts.
    pub(super) fn dispute(&self, dispute: &DisputePayment) -> Vec<PurchaseEvent> {
        let standing = self.in_own_currency(dispute);
        let minor = match standing {
            DisputeStanding::Open { amount_minor } | DisputeStanding::Lost { amount_minor } => {
                amount_minor
            }
            DisputeStanding::Won => 0,
        };
        let news = (dispute.stage, minor);
        let known = self.disputes.get(&dispute.dispute_id);
        if known.is_some_and(|known| news <= known.rank()) {
            return vec![];
        }
        let mut draft = Draft::of(self);
        let in_currency = dispute.currency.filter(|_| self.currency.is_none());
        draft.push_dispute(&dispute.dispute_id, dispute.stage, standing, in_currency);
        draft.events
    }

    /// A dispute in another currency than the payment is about all of it; nothing lost is nothing in any currency.
    fn in_own_currency(&self, dispute: &DisputePayment) -> DisputeStanding {
        let same = dispute
            .currency
            .zip(self.currency)
            .is_none_or(|(theirs, own)| theirs == own);
        let amount_minor = self.amount_minor;
        match dispute.standing {
            DisputeStanding::Open { .. } if !same => DisputeStanding::Open { amount_minor },
            DisputeStanding::Lost { amount_minor: lost } if !same && lost > 0 => {
                DisputeStanding::Lost { amount_minor }
            }
            standing => standing,
        }
    }

    pub(super) fn know_refund(&mut self, id: &str, amount_minor: i64, failed: bool) {
        let known = self.refunds.entry(id.to_owned()).or_insert(KnownRefund {
            amount_minor,
            failed,
        });
        known.failed |= failed;
    }

    pub(super) fn know_refunded_total(&mut self, total_minor: i64) {
        self.refunded_total_minor = self.refunded_total_minor.max(total_minor);
    }

    pub(super) fn know_dispute(&mut self, event: &PurchaseEvent) {
        let (id, stage, open_minor, lost_minor, in_currency) = match event {
            PurchaseEvent::PaymentDisputed {
                dispute_id,
                stage,
                amount_minor,
                in_currency,
                ..
            } => (dispute_id, *stage, *amount_minor, 0, *in_currency),
            PurchaseEvent::DisputeLost {
                dispute_id,
                stage,
                amount_minor,
                in_currency,
                ..
            } => (dispute_id, *stage, 0, *amount_minor, *in_currency),
            PurchaseEvent::DisputeWon {
                dispute_id, stage, ..
            } => (dispute_id, *stage, 0, 0, None),
            _ => return,
        };
        let known = KnownDispute {
            stage,
            open_minor,
            lost_minor,
            in_currency,
        };
        self.disputes.insert(id.clone(), known);
    }
}

impl Draft {
    fn push_dispute(
        &mut self,
        dispute_id: &str,
        stage: DisputeStage,
        standing: DisputeStanding,
        in_currency: Option<Currency>,
    ) {
        let dispute_id = || dispute_id.to_owned();
        self.push_standing(|after| match standing {
            DisputeStanding::Open { amount_minor } => PurchaseEvent::PaymentDisputed {
                dispute_id: dispute_id(),
                stage,
                amount_minor,
                in_currency,
                after,
            },
            DisputeStanding::Won => PurchaseEvent::DisputeWon {
                dispute_id: dispute_id(),
                stage,
                after,
            },
            DisputeStanding::Lost { amount_minor } => PurchaseEvent::DisputeLost {
                dispute_id: dispute_id(),
                stage,
                amount_minor,
                in_currency,
                after,
            },
        });
    }

    /// Once the payment's currency is known, disputes that were told before in another one are about all of it.
    pub(super) fn push_own_disputes(&mut self) {
        // What was told of a part before it became one is the whole's.
        let own = self.after.currency.filter(|_| self.after.part_of.is_none());
        let Some(own) = own else {
            return;
        };
        let amount_minor = self.after.amount_minor;
        for (id, known) in self.after.disputes.clone() {
            if known.in_currency.is_none_or(|theirs| theirs == own) {
                continue;
            }
            let standing = if known.lost_minor > 0 {
                DisputeStanding::Lost { amount_minor }
            } else {
                DisputeStanding::Open { amount_minor }
            };
            if known.open_minor > 0 || known.lost_minor > 0 {
                self.push_dispute(&id, known.stage, standing, None);
            }
        }
    }
}
