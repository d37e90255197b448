//! What is decided of purchases, and what follows for the credits of whose they are: facts of one payment go to one
//! purchase, and a user's credits are brought to what it gives.
//!
//! Must never give or take credits on its own account: what a purchase gives and withholds says the purchase.

use super::{Draft, Emitted, Rejection, States};
use crate::ledger::command::{CapturePayment, MatchPurchase, RefundPayment};
use crate::ledger::event::{ClaimedBy, Event, Price, PurchaseEvent};
use crate::ledger::personal::Personal;
use crate::ledger::purchase::{Purchase, PurchaseCommand, Withheld};
use crate::ledger::subscription::SubscriptionKey;
use crate::ledger::user::UserCommand;
use crate::ledger::value::{Credits, PurchaseId, StreamId, UserId};

impl<S: States> Draft<'_, S> {
    pub(super) fn capture(&mut self, capture: &CapturePayment) -> Result<(), Rejection> {
        if let Some(part) = &capture.merges {
            self.merge(part, &capture.purchase_id)?;
        }
        let whole = self.canonical(&capture.purchase_id)?;
        let credits = capture.user_id.is_some() && capture.price.is_some();
        if whole != capture.purchase_id && !credits && !self.purchase(&whole)?.captured {
            return self.capture_part(capture, &whole);
        }
        let ask = PurchaseCommand::Capture(Box::new(capture.clone()));
        self.ask_purchase(&capture.purchase_id, &ask, capture.payer.as_ref())
    }

    /// Records the payment of a part whose whole is not captured yet. The whole has a capture of its own, with its own
    /// amount; what went back of the part went back of the whole, and whose it is and what it buys is told the whole, too.
    fn capture_part(
        &mut self,
        capture: &CapturePayment,
        whole: &PurchaseId,
    ) -> Result<(), Rejection> {
        let own = CapturePayment {
            refunded_total_minor: 0,
            ..capture.clone()
        };
        let part = self.purchase(&capture.purchase_id)?;
        let events = part.decide(&PurchaseCommand::Capture(Box::new(own)))?;
        self.record(&capture.purchase_id, events, capture.payer.as_ref())?;
        self.tell_whole(&capture.purchase_id, whole, capture.payer.as_ref())?;
        let refund = PurchaseCommand::Refund(RefundPayment {
            purchase_id: whole.clone(),
            refund: None,
            refunded_total_minor: capture.refunded_total_minor,
        });
        self.ask_purchase(whole, &refund, None)
    }

    fn tell_whole(
        &mut self,
        part: &PurchaseId,
        whole: &PurchaseId,
        payer: Option<&Personal>,
    ) -> Result<(), Rejection> {
        let learn = PurchaseCommand::LearnOf {
            part: Box::new(self.purchase(part)?.clone()),
            payer: payer.map(|payer| payer.digest().to_owned()),
        };
        self.ask_purchase(whole, &learn, payer)?;
        self.forget_together(part, whole)
    }

    /// A part may be claimed before there is a capture of its whole.
    pub(super) fn claim(
        &mut self,
        id: &PurchaseId,
        user_id: &UserId,
        by: ClaimedBy,
    ) -> Result<(), Rejection> {
        let user_id = user_id.clone();
        let ask = PurchaseCommand::Claim { user_id, by };
        let whole = self.canonical(id)?;
        let known = self.purchase(&whole)?;
        if whole == *id || known.captured || known.user_id.is_some() {
            return self.ask_purchase(&whole, &ask, None);
        }
        let events = self.purchase(id)?.decide(&ask)?;
        self.record(id, events, None)?;
        self.tell_whole(id, &whole, None)
    }

    /// A match found in the read models holds only if it still does: the purchase is nobody's, and the user is there
    /// with the very profile that was found. Whatever changed either of them is looked at on its own.
    ///
    /// Until it is known what a purchase buys nothing is matched: no credits wait for it, and of the events of one payment
    /// those that say what it buys are those that name the buyer, who may have paid with another's address.
    pub(super) fn match_purchase(&mut self, found: &MatchPurchase) -> Result<(), Rejection> {
        let id = self.canonical(&found.purchase_id)?;
        let unclaimed = self.purchase(&id)?.is_matchable();
        let user = self.user(&found.user_id)?;
        let same = !user.deleted && user.profile.as_ref() == Some(&found.profile_version);
        if unclaimed && same {
            self.claim(&id, &found.user_id, ClaimedBy::VerifiedEmail)?;
        }
        Ok(())
    }

    /// Makes one purchase a part of another. The whole gets every fact of the part, and the credits are given for the
    /// whole: what the part gave is taken back in the same decision.
    pub(super) fn merge(&mut self, part: &PurchaseId, whole: &PurchaseId) -> Result<(), Rejection> {
        // A whole is no part of anything: the providers' own ids say which is which.
        if part == whole || self.purchase(whole)?.part_of.is_some() {
            return Ok(());
        }
        let known = self.purchase(part)?.clone();
        if known.part_of.is_some() {
            return Ok(());
        }
        let events = known.decide(&PurchaseCommand::MergeInto(whole.clone()))?;
        self.record(part, events, None)?;
        let absorb = PurchaseCommand::Absorb {
            payment_id: part.clone(),
            known: Box::new(known),
        };
        self.ask_purchase(whole, &absorb, None)?;
        self.forget_together(part, whole)
    }

    /// The purchase that has the facts of this one.
    pub(super) fn canonical(&self, id: &PurchaseId) -> Result<PurchaseId, Rejection> {
        let part_of = self.purchase(id)?.part_of.as_ref();
        let whole = part_of.unwrap_or(id).clone();
        self.purchase(&whole)?;
        Ok(whole)
    }

    pub(super) fn ask_purchase(
        &mut self,
        id: &PurchaseId,
        command: &PurchaseCommand,
        payer: Option<&Personal>,
    ) -> Result<(), Rejection> {
        let id = self.canonical(id)?;
        let events = self.purchase(&id)?.decide(command)?;
        self.record(&id, events, payer)
    }

    /// Takes a purchase's events and all that follows.
    pub(super) fn record(
        &mut self,
        id: &PurchaseId,
        events: Vec<PurchaseEvent>,
        payer: Option<&Personal>,
    ) -> Result<(), Rejection> {
        let owner = self.purchase(id)?.user_id.clone();
        let recorded = !events.is_empty();
        self.take(id, events, payer, false)?;
        if recorded {
            self.forget_with_owner(id, owner.as_ref())?;
        }
        Ok(())
    }

    /// Takes a purchase's events, and with them what follows for its user's credits.
    pub(super) fn take(
        &mut self,
        id: &PurchaseId,
        events: Vec<PurchaseEvent>,
        payer: Option<&Personal>,
        to_erase: bool,
    ) -> Result<(), Rejection> {
        let before = self.purchase(id)?.clone();
        let mut after = before.clone();
        for event in &events {
            after.evolve(event);
        }
        for event in events {
            let personal = payer.filter(|_| carries_payer(&event)).cloned();
            self.emitted.push(Emitted {
                matchable: after.is_matchable() && may_match(&event),
                personal,
                stream: StreamId::Purchase(id.clone()),
                subscription: subscription(id, &event, &after),
                event: Event::Purchase(event),
                to_erase,
            });
        }
        self.settle(id, &before, &after)?;
        self.purchases.insert(id.clone(), after);
        Ok(())
    }

    /// Brings the user's credits to what the purchase now gives and withholds. Both are functions of the purchase's
    /// state, so the difference is all that is to be done, whatever led here.
    fn settle(
        &mut self,
        id: &PurchaseId,
        before: &Purchase,
        after: &Purchase,
    ) -> Result<(), Rejection> {
        let was = before.withheld();
        match (before.credited(), after.credited()) {
            (None, None) => Ok(()),
            (None, Some((user_id, price))) => {
                let credit = UserCommand::CreditPurchase {
                    purchase_id: id.clone(),
                    price: price.clone(),
                };
                self.move_credits(user_id, &credit)?;
                let none = Withheld::default();
                self.withhold(id, user_id, price, none, after.withheld())
            }
            (Some(_), Some((user_id, price))) => {
                self.withhold(id, user_id, price, was, after.withheld())
            }
            // It became a part of another purchase: nothing of what it gave remains.
            (Some((user_id, price)), None) => {
                let all = Withheld {
                    clawed_back: price.credits,
                    held_back: Credits::ZERO,
                };
                self.withhold(id, user_id, price, was, all)
            }
        }
    }

    fn withhold(
        &mut self,
        id: &PurchaseId,
        user_id: &UserId,
        price: &Price,
        was: Withheld,
        is: Withheld,
    ) -> Result<(), Rejection> {
        let credits = is.clawed_back.less(was.clawed_back);
        let restored = was.clawed_back.less(is.clawed_back);
        let released = was.held_back.less(is.held_back);
        let contested = is.held_back.less(was.held_back);
        let purchase_id = || id.clone();
        if !credits.is_zero() {
            let claw_back = UserCommand::ClawBack {
                purchase_id: purchase_id(),
                credits,
                released,
            };
            self.move_credits(user_id, &claw_back)?;
        } else if !restored.is_zero() || !released.is_zero() {
            let restore = UserCommand::Restore {
                purchase_id: purchase_id(),
                credits: restored,
                released,
                clawed_before: was.clawed_back,
                expires_at_s: price.expires_at_s,
            };
            self.move_credits(user_id, &restore)?;
        }
        if !contested.is_zero() {
            let hold_back = UserCommand::HoldBack {
                purchase_id: purchase_id(),
                credits: contested,
            };
            self.move_credits(user_id, &hold_back)?;
        }
        Ok(())
    }
}

const fn carries_payer(event: &PurchaseEvent) -> bool {
    matches!(
        event,
        PurchaseEvent::PaymentCaptured { payer: Some(_), .. } | PurchaseEvent::PayerNamed { .. }
    )
}

/// Whether an event may be the last thing that a match by e-mail was waiting for.
const fn may_match(event: &PurchaseEvent) -> bool {
    matches!(
        event,
        PurchaseEvent::PaymentCaptured { .. }
            | PurchaseEvent::PayerNamed { .. }
            | PurchaseEvent::PurchasePriced { .. }
            | PurchaseEvent::PaymentAbsorbed { .. }
    )
}

/// The subscription that a purchase pays, if by this event its user became known, or it is nobody's, while somebody may
/// have paid for the subscription elsewhere.
fn subscription(
    id: &PurchaseId,
    event: &PurchaseEvent,
    after: &Purchase,
) -> Option<SubscriptionKey> {
    let tells = matches!(
        event,
        PurchaseEvent::PaymentCaptured { .. }
            | PurchaseEvent::PurchaseClaimed { .. }
            | PurchaseEvent::SubscriptionNamed { .. }
            | PurchaseEvent::PaymentAbsorbed { .. }
    );
    let calls = tells && (after.user_id.is_some() || after.is_unclaimed());
    let subscription_id = after.subscription_id.as_ref().filter(|_| calls)?;
    Some(SubscriptionKey::beside(id, subscription_id))
}
