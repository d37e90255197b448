//! Tests of [`crate::ledger::purchase`].

use cqrs_es::test::TestFramework;

use crate::ledger::command::CapturePayment;
use crate::ledger::event::{ClaimedBy, Price, PurchaseEvent};
use crate::ledger::purchase::{Purchase, PurchaseCommand};
use crate::ledger::{Credits, Currency, LedgerError, Money, PurchaseId, UserId};

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

fn capture(user_id: Option<&str>, claimant: Option<&str>, price: Option<Price>) -> PurchaseCommand {
    PurchaseCommand::Capture(Box::new(CapturePayment {
        purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
        user_id: user_id.map(user),
        claimant: claimant.map(user),
        money: Money::new(49_900, Currency::parse("INR").unwrap()).unwrap(),
        order_id: Some("order_1".to_owned()),
        price,
        paid_at_s: 7,
        payer: None,
        merges: None,
        refunded_total_minor: 0,
        subscription_id: None,
        subscriber: None,
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
        subscription_id: None,
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
