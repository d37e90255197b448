//! A purchase: one payment, whom it is for and what it buys. It guards that a payment gives credits once.
//!
//! Money is a fact: a capture is recorded whether or not it names a user or fits the catalog. Whatever
//! delivery comes later may add what was missing.

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::command::CapturePayment;
use super::event::{ClaimedBy, Price, PurchaseEvent};
use super::value::UserId;

/// What the rules need to remember of a purchase. Stored beside the stream, always equal to its fold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Purchase {
    /// The provider has the money.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub captured: bool,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// What it buys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
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
}

impl Purchase {
    /// What follows from a command. None means: nothing new.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPurchase`] and [`LedgerError::NotYourPurchase`] for claims.
    pub fn decide(&self, command: &PurchaseCommand) -> Result<Vec<PurchaseEvent>, LedgerError> {
        match command {
            PurchaseCommand::Capture(capture) => Ok(self.capture(capture)),
            PurchaseCommand::Claim { user_id, by } => self.claim(user_id, *by),
        }
    }

    /// What an event changes.
    pub fn evolve(&mut self, event: &PurchaseEvent) {
        match event {
            PurchaseEvent::PaymentCaptured { user_id, price, .. } => {
                self.captured = true;
                self.user_id.clone_from(user_id);
                self.price.clone_from(price);
            }
            PurchaseEvent::PurchaseClaimed { user_id, .. } => {
                self.user_id = Some(user_id.clone());
            }
            PurchaseEvent::PurchasePriced { price } => self.price = Some(price.clone()),
        }
    }

    /// The user and the price, once the payment is captured and both are known: from that event on, and only
    /// there, the user has the credits.
    pub fn credited(&self) -> Option<(&UserId, &Price)> {
        if !self.captured {
            return None;
        }
        self.user_id.as_ref().zip(self.price.as_ref())
    }

    /// What follows from a payment; it can not be refused.
    pub(super) fn capture(&self, capture: &CapturePayment) -> Vec<PurchaseEvent> {
        let mut events = Vec::new();
        if !self.captured {
            events.push(PurchaseEvent::PaymentCaptured {
                amount_minor: capture.money.amount_minor,
                currency: capture.money.currency,
                order_id: capture.order_id.clone(),
                user_id: capture.user_id.clone(),
                price: capture.price.clone(),
                paid_at_s: capture.paid_at_s,
                payer: capture
                    .payer
                    .as_ref()
                    .map(|payer| payer.digest().to_owned()),
            });
        }
        if self.user_id.is_none() {
            if self.captured
                && let Some(user_id) = &capture.user_id
            {
                events.push(PurchaseEvent::PurchaseClaimed {
                    user_id: user_id.clone(),
                    by: ClaimedBy::Provider,
                });
            } else if capture.user_id.is_none()
                && let Some(user_id) = &capture.claimant
            {
                events.push(PurchaseEvent::PurchaseClaimed {
                    user_id: user_id.clone(),
                    by: ClaimedBy::CheckoutSignature,
                });
            }
        }
        if self.captured
            && self.price.is_none()
            && let Some(price) = &capture.price
        {
            events.push(PurchaseEvent::PurchasePriced {
                price: price.clone(),
            });
        }
        events
    }

    /// What follows from a claim.
    pub(super) fn claim(
        &self,
        user_id: &UserId,
        by: ClaimedBy,
    ) -> Result<Vec<PurchaseEvent>, LedgerError> {
        if !self.captured {
            return Err(LedgerError::UnknownPurchase);
        }
        match &self.user_id {
            Some(owner) if owner == user_id => Ok(vec![]),
            Some(_) => Err(LedgerError::NotYourPurchase),
            None => Ok(vec![PurchaseEvent::PurchaseClaimed {
                user_id: user_id.clone(),
                by,
            }]),
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;
    use crate::ledger::value::{Credits, Currency, Money, PurchaseId};

    fn rules() -> TestFramework<Purchase> {
        TestFramework::with(())
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn price() -> Price {
        Price {
            sku: "credits_500".to_owned(),
            credits: Credits::new(500).unwrap(),
            expires_at_s: None,
        }
    }

    fn capture(
        user_id: Option<&str>,
        claimant: Option<&str>,
        price: Option<Price>,
    ) -> PurchaseCommand {
        PurchaseCommand::Capture(Box::new(CapturePayment {
            purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
            user_id: user_id.map(user),
            claimant: claimant.map(user),
            money: Money::new(49_900, Currency::parse("INR").unwrap()).unwrap(),
            order_id: Some("order_1".to_owned()),
            price,
            paid_at_s: 7,
            payer: None,
        }))
    }

    fn captured(user_id: Option<&str>, price: Option<Price>) -> PurchaseEvent {
        PurchaseEvent::PaymentCaptured {
            amount_minor: 49_900,
            currency: Currency::parse("INR").unwrap(),
            order_id: Some("order_1".to_owned()),
            user_id: user_id.map(user),
            price,
            paid_at_s: 7,
            payer: None,
        }
    }

    fn claimed(user_id: &str, by: ClaimedBy) -> PurchaseEvent {
        PurchaseEvent::PurchaseClaimed {
            user_id: user(user_id),
            by,
        }
    }

    #[test]
    fn a_payment_is_captured_once() {
        rules()
            .given_no_previous_events()
            .when(capture(Some("u1"), None, Some(price())))
            .then_expect_events(vec![captured(Some("u1"), Some(price()))]);
        rules()
            .given(vec![captured(Some("u1"), Some(price()))])
            .when(capture(Some("u1"), None, Some(price())))
            .then_expect_events(vec![]);
    }

    #[test]
    fn a_later_delivery_adds_what_was_missing() {
        rules()
            .given(vec![captured(None, None)])
            .when(capture(Some("u1"), None, Some(price())))
            .then_expect_events(vec![
                claimed("u1", ClaimedBy::Provider),
                PurchaseEvent::PurchasePriced { price: price() },
            ]);
    }

    #[test]
    fn a_later_delivery_changes_nothing_that_is_known() {
        rules()
            .given(vec![captured(Some("u1"), Some(price()))])
            .when(capture(Some("u2"), Some("u3"), None))
            .then_expect_events(vec![]);
    }

    #[test]
    fn the_checkout_signature_claims_what_names_nobody() {
        rules()
            .given_no_previous_events()
            .when(capture(None, Some("u1"), Some(price())))
            .then_expect_events(vec![
                captured(None, Some(price())),
                claimed("u1", ClaimedBy::CheckoutSignature),
            ]);
        rules()
            .given_no_previous_events()
            .when(capture(Some("u2"), Some("u1"), Some(price())))
            .then_expect_events(vec![captured(Some("u2"), Some(price()))]);
    }

    #[test]
    fn a_claim_needs_a_purchase_that_is_nobodys() {
        let claim = PurchaseCommand::Claim {
            user_id: user("u1"),
            by: ClaimedBy::CheckoutSignature,
        };
        rules()
            .given_no_previous_events()
            .when(claim.clone())
            .then_expect_error(LedgerError::UnknownPurchase);
        rules()
            .given(vec![captured(None, None)])
            .when(claim.clone())
            .then_expect_events(vec![claimed("u1", ClaimedBy::CheckoutSignature)]);
        rules()
            .given(vec![captured(Some("u1"), None)])
            .when(claim.clone())
            .then_expect_events(vec![]);
        rules()
            .given(vec![captured(Some("u2"), None)])
            .when(claim)
            .then_expect_error(LedgerError::NotYourPurchase);
    }
}
