//! A purchase: one payment, whom it is for, what it buys, and how much of its money went back. It guards that a payment
//! gives credits once, and says how many of them are taken back.
//!
//! Money is a fact: a capture is recorded whether or not it names a user or fits the catalog, and a refund whether or
//! not the capture is known. Whatever delivery comes later may add what was missing. Every rule here is a function of
//! the set of facts, never of their order.

mod money;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::command::{CapturePayment, DisputePayment, RefundPayment};
use super::event::{ClaimedBy, Price, PurchaseEvent, Standing, is_zero};
use super::value::{Currency, PurchaseId, UserId};
pub use money::{KnownDispute, KnownRefund, Withheld};

/// What the rules need to remember of a purchase. Stored beside the stream, always equal to its fold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Purchase {
    /// The provider has the money.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub captured: bool,
    /// How much was captured, minor units.
    #[serde(skip_serializing_if = "is_zero")]
    pub amount_minor: i64,
    /// The currency charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// When it was paid, seconds since 1970, from the provider.
    #[serde(skip_serializing_if = "is_zero")]
    pub paid_at_s: i64,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// What it buys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// It is known who paid, here or where a part of it is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payer: bool,
    /// Who paid was erased, and is not kept again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payer_erased: bool,
    /// The subscription that it pays a period of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<String>,
    /// The refunds known by their ids.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refunds: BTreeMap<String, KnownRefund>,
    /// The highest sum of refunds that the provider named, minor units.
    #[serde(skip_serializing_if = "is_zero")]
    pub refunded_total_minor: i64,
    /// The disputes known by their ids.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disputes: BTreeMap<String, KnownDispute>,
    /// The purchase that has all facts of this one, since both are the same money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PurchaseId>,
}

/// What one purchase can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurchaseCommand {
    /// Record the payment, or complete what is recorded of it.
    Capture(Box<CapturePayment>),
    /// Belong to a user, if it belongs to nobody.
    Claim {
        /// Whose it shall be.
        user_id: UserId,
        /// The proof.
        by: ClaimedBy,
    },
    /// Forget who paid.
    ErasePayer,
    /// Record that money went back, or did not after all.
    Refund(RefundPayment),
    /// Record how a dispute stands.
    Dispute(DisputePayment),
    /// Be a part of another purchase.
    MergeInto(PurchaseId),
    /// Take over another id of the same money.
    Absorb {
        /// The other id.
        payment_id: PurchaseId,
        /// What was known of it.
        known: Box<Purchase>,
    },
    /// Take over what a part learned since it became one, before there is a capture of the whole.
    LearnOf {
        /// The part.
        part: Box<Purchase>,
        /// The digest of who paid, if the part was just told.
        payer: Option<String>,
    },
    /// Be what an operator says.
    Resolve {
        /// Whose it shall be.
        user_id: Option<UserId>,
        /// What it buys.
        price: Option<Price>,
    },
}

impl Purchase {
    /// What follows from a command. Each event stands on the ones before it; none means: nothing new.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPurchase`], [`LedgerError::NotYourPurchase`] and [`LedgerError::AlreadyPriced`] for what
    /// people say; what providers say is never refused.
    pub fn decide(&self, command: &PurchaseCommand) -> Result<Vec<PurchaseEvent>, LedgerError> {
        match command {
            PurchaseCommand::Capture(capture) => Ok(self.capture(capture)),
            PurchaseCommand::Claim { user_id, by } => self.claim(user_id, *by),
            // Of a purchase that nobody recorded there is nothing to forget.
            PurchaseCommand::ErasePayer if self.payer_erased || *self == Self::default() => {
                Ok(vec![])
            }
            PurchaseCommand::ErasePayer => Ok(vec![PurchaseEvent::PayerErased {}]),
            PurchaseCommand::Refund(refund) => Ok(self.refund(refund)),
            PurchaseCommand::Dispute(dispute) => Ok(self.dispute(dispute)),
            PurchaseCommand::MergeInto(into) => Ok(self.merge_into(into)),
            PurchaseCommand::Absorb { payment_id, known } => Ok(self.absorb(payment_id, known)),
            PurchaseCommand::LearnOf { part, payer } => Ok(self.learn_of(part, payer.as_ref())),
            PurchaseCommand::Resolve { user_id, price } => {
                self.resolve(user_id.as_ref(), price.as_ref())
            }
        }
    }

    /// What an event changes.
    pub fn evolve(&mut self, event: &PurchaseEvent) {
        match event {
            PurchaseEvent::PaymentCaptured {
                amount_minor,
                currency,
                order_id: _,
                user_id,
                price,
                paid_at_s,
                payer,
                subscription_id,
            } => {
                self.captured = true;
                self.amount_minor = *amount_minor;
                self.currency = Some(*currency);
                self.paid_at_s = *paid_at_s;
                fill(&mut self.user_id, user_id.as_ref());
                fill(&mut self.price, price.as_ref());
                fill(&mut self.subscription_id, subscription_id.as_ref());
                self.payer |= payer.is_some();
            }
            PurchaseEvent::SubscriptionNamed { subscription_id } => {
                self.subscription_id = Some(subscription_id.clone());
            }
            PurchaseEvent::PayerNamed { .. } => self.payer = true,
            PurchaseEvent::PayerErased {} => {
                self.payer = false;
                self.payer_erased = true;
            }
            PurchaseEvent::PurchaseClaimed { user_id, .. } => self.user_id = Some(user_id.clone()),
            PurchaseEvent::PurchasePriced { price } => self.price = Some(price.clone()),
            PurchaseEvent::PaymentRefunded {
                refund_id,
                amount_minor,
                refunded_total_minor,
                ..
            } => {
                if let (Some(id), Some(amount_minor)) = (refund_id, *amount_minor) {
                    self.know_refund(id, amount_minor, false);
                }
                self.know_refunded_total(refunded_total_minor.unwrap_or(0));
            }
            PurchaseEvent::RefundFailed {
                refund_id,
                amount_minor,
                ..
            } => self.know_refund(refund_id, *amount_minor, true),
            PurchaseEvent::PaymentDisputed { .. }
            | PurchaseEvent::DisputeWon { .. }
            | PurchaseEvent::DisputeLost { .. } => self.know_dispute(event),
            PurchaseEvent::PaymentMerged { into } => self.part_of = Some(into.clone()),
            PurchaseEvent::PaymentAbsorbed { known, .. } => self.take_over(known),
        }
    }

    /// The user and the price, once the payment is captured and both are known: from that event on, and only
    /// there, the user has the credits. None for a part of another purchase: that one has the credits.
    pub fn credited(&self) -> Option<(&UserId, &Price)> {
        if !self.captured || self.part_of.is_some() {
            return None;
        }
        self.user_id.as_ref().zip(self.price.as_ref())
    }

    /// Nobody knows whose it is.
    pub const fn is_unclaimed(&self) -> bool {
        self.captured && self.user_id.is_none() && self.part_of.is_none()
    }

    /// Nobody knows whose it is, credits wait for somebody, and it is known who paid.
    pub const fn is_matchable(&self) -> bool {
        self.is_unclaimed() && self.price.is_some() && self.payer
    }

    /// What follows from a payment; it can not be refused.
    fn capture(&self, capture: &CapturePayment) -> Vec<PurchaseEvent> {
        let mut draft = Draft::of(self);
        let owned = draft.after.user_id.is_some()
            || capture.user_id.is_some()
            || capture.claimant.is_some()
            || capture.subscriber.is_some();
        if !self.captured {
            let keeps = !owned && !draft.after.payer_erased;
            let payer = capture.payer.as_ref().filter(|_| keeps);
            draft.push(PurchaseEvent::PaymentCaptured {
                amount_minor: capture.money.amount_minor,
                currency: capture.money.currency,
                order_id: capture.order_id.clone(),
                user_id: capture
                    .user_id
                    .clone()
                    .filter(|_| draft.after.user_id.is_none()),
                price: capture
                    .price
                    .clone()
                    .filter(|_| draft.after.price.is_none()),
                paid_at_s: capture.paid_at_s,
                payer: payer.map(|payer| payer.digest().to_owned()),
                subscription_id: capture.subscription_id.clone(),
            });
        }
        let named = capture.user_id.as_ref().map(|id| (id, ClaimedBy::Provider));
        let claimant = capture
            .claimant
            .as_ref()
            .map(|id| (id, ClaimedBy::CheckoutSignature));
        let subscriber = capture
            .subscriber
            .as_ref()
            .map(|id| (id, ClaimedBy::Subscription));
        if draft.after.user_id.is_none()
            && let Some((user_id, by)) = named.or(claimant).or(subscriber)
        {
            let user_id = user_id.clone();
            draft.push(PurchaseEvent::PurchaseClaimed { user_id, by });
        }
        if draft.after.price.is_none()
            && let Some(price) = &capture.price
        {
            let price = price.clone();
            draft.push(PurchaseEvent::PurchasePriced { price });
        }
        if draft.after.subscription_id.is_none()
            && let Some(subscription_id) = &capture.subscription_id
        {
            let subscription_id = subscription_id.clone();
            draft.push(PurchaseEvent::SubscriptionNamed { subscription_id });
        }
        if draft.after.wants_payer()
            && let Some(payer) = &capture.payer
        {
            let payer = payer.digest().to_owned();
            draft.push(PurchaseEvent::PayerNamed { payer });
        }
        draft.push_refunded_total(capture.refunded_total_minor);
        draft.push_own_disputes();
        draft.events
    }

    /// What follows from a claim.
    fn claim(&self, user_id: &UserId, by: ClaimedBy) -> Result<Vec<PurchaseEvent>, LedgerError> {
        match &self.user_id {
            Some(owner) if owner == user_id => Ok(vec![]),
            Some(_) => Err(LedgerError::NotYourPurchase),
            None if !self.captured => Err(LedgerError::UnknownPurchase),
            None => Ok(vec![PurchaseEvent::PurchaseClaimed {
                user_id: user_id.clone(),
                by,
            }]),
        }
    }

    /// What follows for the part when two ids are the same money.
    fn merge_into(&self, into: &PurchaseId) -> Vec<PurchaseEvent> {
        if self.part_of.is_some() {
            return vec![];
        }
        vec![PurchaseEvent::PaymentMerged { into: into.clone() }]
    }

    /// What follows for the whole when two ids are the same money: what it did not know itself is now its own.
    fn absorb(&self, payment_id: &PurchaseId, known: &Self) -> Vec<PurchaseEvent> {
        let mut draft = Draft::of(self);
        draft.push_standing(|after| PurchaseEvent::PaymentAbsorbed {
            payment_id: payment_id.clone(),
            known: Box::new(known.clone()),
            after,
        });
        draft.push_known_of(known);
        draft.push_own_disputes();
        draft.events
    }

    /// What follows for the whole from what a part is told later: the same as if the part had known it before.
    fn learn_of(&self, part: &Self, payer: Option<&String>) -> Vec<PurchaseEvent> {
        let mut draft = Draft::of(self);
        draft.push_known_of(part);
        if let Some(payer) = payer.filter(|_| draft.after.wants_payer()) {
            let payer = payer.clone();
            draft.push(PurchaseEvent::PayerNamed { payer });
        }
        draft.push_own_disputes();
        draft.events
    }

    /// Who paid is kept only to find out whose the purchase is.
    const fn wants_payer(&self) -> bool {
        self.user_id.is_none() && !self.payer && !self.payer_erased
    }

    /// What follows when an operator says whose it is and what it buys.
    fn resolve(
        &self,
        user_id: Option<&UserId>,
        price: Option<&Price>,
    ) -> Result<Vec<PurchaseEvent>, LedgerError> {
        if !self.captured {
            return Err(LedgerError::UnknownPurchase);
        }
        let mut events = match user_id {
            Some(user_id) => self.claim(user_id, ClaimedBy::Operator)?,
            None => vec![],
        };
        match (&self.price, price) {
            (None, Some(price)) => events.push(PurchaseEvent::PurchasePriced {
                price: price.clone(),
            }),
            (Some(known), Some(price)) if known != price => return Err(LedgerError::AlreadyPriced),
            _ => {}
        }
        Ok(events)
    }

    /// The union of what went back of both. That it is known who paid comes along; that it was erased says each stream for
    /// itself, since its rows go with an event of its own.
    fn take_over(&mut self, other: &Self) {
        self.payer = (self.payer || other.payer) && !self.payer_erased;
        for (id, refund) in &other.refunds {
            self.know_refund(id, refund.amount_minor, refund.failed);
        }
        self.know_refunded_total(other.refunded_total_minor);
        for (id, theirs) in &other.disputes {
            let own = self.disputes.get(id);
            if own.is_none_or(|own| own.rank() < theirs.rank()) {
                self.disputes.insert(id.clone(), *theirs);
            }
        }
    }
}

/// Takes what was missing.
fn fill<T: Clone>(slot: &mut Option<T>, other: Option<&T>) {
    if slot.is_none() {
        *slot = other.cloned();
    }
}

/// Events in the making, and the purchase after them.
struct Draft {
    after: Purchase,
    events: Vec<PurchaseEvent>,
}

impl Draft {
    fn of(purchase: &Purchase) -> Self {
        Self {
            after: purchase.clone(),
            events: Vec::new(),
        }
    }

    fn push(&mut self, event: PurchaseEvent) {
        self.after.evolve(&event);
        self.events.push(event);
    }

    /// An event that says how the money stands after it.
    fn push_standing(&mut self, event: impl Fn(Standing) -> PurchaseEvent) {
        self.after.evolve(&event(Standing::default()));
        self.events.push(event(self.after.standing()));
    }

    /// Whose it is and what it buys, as far as only a part of it knows.
    ///
    /// The whole has a capture of its own, with its own amount: an invoice may be paid in several parts. Only a part that by
    /// itself gives credits stands in for it, so that nobody waits for them until then.
    fn push_known_of(&mut self, part: &Purchase) {
        let user_id = part.user_id.clone();
        let user_id = user_id.filter(|_| self.after.user_id.is_none());
        let price = part.price.clone().filter(|_| self.after.price.is_none());
        let gives = part.captured && part.user_id.is_some() && part.price.is_some();
        if let Some(currency) = part.currency.filter(|_| gives && !self.after.captured) {
            self.push(PurchaseEvent::PaymentCaptured {
                amount_minor: part.amount_minor,
                currency,
                order_id: None,
                user_id,
                price,
                paid_at_s: part.paid_at_s,
                payer: None,
                subscription_id: part.subscription_id.clone(),
            });
            return;
        }
        if let Some(user_id) = user_id {
            let by = ClaimedBy::SamePayment;
            self.push(PurchaseEvent::PurchaseClaimed { user_id, by });
        }
        if let Some(price) = price {
            self.push(PurchaseEvent::PurchasePriced { price });
        }
    }

    fn push_refunded_total(&mut self, total_minor: i64) {
        if total_minor > self.after.refunded_total_minor {
            self.push_standing(|after| PurchaseEvent::PaymentRefunded {
                refund_id: None,
                amount_minor: None,
                refunded_total_minor: Some(total_minor),
                after,
            });
        }
    }
}
