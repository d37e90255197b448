//! Tests of [`crate::ledger::event`].

use crate::ledger::event::*;
use crate::ledger::lots::{LotKind, Slice, Terms};
use crate::ledger::purchase::{KnownDispute, KnownRefund};
use crate::ledger::*;

fn added(balance: i64) -> CreditsAdded {
    CreditsAdded {
        credits: Credits::new(20).unwrap(),
        repaid: Credits::ZERO,
        delta: 20,
        account: Account {
            balance: Credits::new(balance).unwrap(),
            ..Account::default()
        },
    }
}

fn adjusted(released: Credits) -> PurchaseAdjusted {
    PurchaseAdjusted {
        purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
        credits: Credits::new(20).unwrap(),
        released,
        slices: vec![],
        own: Credits::ZERO,
        repaid: Credits::ZERO,
        delta: 0,
        account: Account::of(10, Credits::new(15).unwrap(), Credits::ZERO).unwrap(),
    }
}

fn account() -> Account {
    Account::of(10, Credits::ZERO, Credits::ZERO).unwrap()
}

const fn place() -> Place {
    Place {
        shard: 3,
        position: 7,
    }
}

fn slice(lot: i64, credits: i64) -> Slice {
    Slice {
        lot,
        credits: Credits::new(credits).unwrap(),
        terms: Terms {
            expires_at_s: Some(9),
            ..Terms::plain(LotKind::Promo, Credits::new(50).unwrap())
        },
    }
}

fn note() -> Note {
    Note {
        reason: Some("image".to_owned()),
        reference: Some("job-1".to_owned()),
    }
}

fn whole_purchase() -> Purchase {
    let known_refund = |amount_minor, failed| KnownRefund {
        amount_minor,
        failed,
    };
    let known_dispute = |stage, open_minor, lost_minor| KnownDispute {
        stage: DisputeStage(stage),
        open_minor,
        lost_minor,
        in_currency: (open_minor > 0).then(|| Currency::parse("EUR").unwrap()),
    };
    Purchase {
        captured: true,
        amount_minor: 900,
        currency: Some(Currency::parse("USD").unwrap()),
        paid_at_s: 3,
        user_id: Some(UserId::parse("user_1").unwrap()),
        price: Some(Price {
            sku: "s".to_owned(),
            credits: Credits::new(5).unwrap(),
            expires_at_s: None,
        }),
        payer: true,
        payer_erased: false,
        subscription_id: Some("sub_1".to_owned()),
        refunds: [
            ("re_1".to_owned(), known_refund(100, false)),
            ("re_2".to_owned(), known_refund(9, true)),
        ]
        .into(),
        refunded_total_minor: 100,
        disputes: [
            ("du_1".to_owned(), known_dispute(10, 0, 9)),
            ("du_2".to_owned(), known_dispute(1, 8, 0)),
        ]
        .into(),
        part_of: None,
    }
}

/// The stored JSON of every event. A line that changes here breaks every history already written:
/// add a field with a default, or a new event.
#[test]
#[allow(clippy::too_many_lines)] // One table.
fn the_stored_shape_of_every_event() {
    let profile = ProfileRef {
        digest: "d1".to_owned(),
        version: ProfileVersion {
            updated_at_ms: 1,
            event_id: "msg_1".to_owned(),
        },
    };
    let user_id = UserId::parse("user_1").unwrap();
    let price = Price {
        sku: "credits_500".to_owned(),
        credits: Credits::new(500).unwrap(),
        expires_at_s: Some(9),
    };
    let user = [
        (
            UserEvent::UserRegistered {
                plan: "free".to_owned(),
                profile: Some(profile.clone()),
            },
            r#"{"type":"UserRegistered","plan":"free","profile":{"digest":"d1","updated_at_ms":1,"event_id":"msg_1"}}"#,
        ),
        (
            UserEvent::SignupBonusGranted(added(20)),
            r#"{"type":"SignupBonusGranted","credits":20,"delta":20,"balance":20}"#,
        ),
        (
            UserEvent::UserProfileChanged { profile },
            r#"{"type":"UserProfileChanged","profile":{"digest":"d1","updated_at_ms":1,"event_id":"msg_1"}}"#,
        ),
        (UserEvent::UserDeleted {}, r#"{"type":"UserDeleted"}"#),
        (
            UserEvent::ErasureRequested {},
            r#"{"type":"ErasureRequested"}"#,
        ),
        (UserEvent::UserErased {}, r#"{"type":"UserErased"}"#),
        (
            UserEvent::CreditsPurchased {
                purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
                added: added(40),
                expires_at_s: Some(9),
            },
            r#"{"type":"CreditsPurchased","purchase_id":"razorpay:pay_1","credits":20,"delta":20,"balance":40,"expires_at_s":9}"#,
        ),
        (
            UserEvent::CreditsHeldBack(adjusted(Credits::ZERO)),
            r#"{"type":"CreditsHeldBack","purchase_id":"razorpay:pay_1","credits":20,"delta":0,"balance":10,"held":10,"debt":5,"disputed":15}"#,
        ),
        (
            UserEvent::CreditsClawedBack(adjusted(Credits::new(7).unwrap())),
            r#"{"type":"CreditsClawedBack","purchase_id":"razorpay:pay_1","credits":20,"released":7,"delta":0,"balance":10,"held":10,"debt":5,"disputed":15}"#,
        ),
        (
            UserEvent::CreditsRestored(adjusted(Credits::ZERO)),
            r#"{"type":"CreditsRestored","purchase_id":"razorpay:pay_1","credits":20,"delta":0,"balance":10,"held":10,"debt":5,"disputed":15}"#,
        ),
        (
            UserEvent::SubscriptionChanged {
                subscription_id: "sub_1".to_owned(),
                gives: Some("pro".to_owned()),
                version: PlanVersion {
                    created_s: 7,
                    rank: 2,
                    event_id: "evt_1".to_owned(),
                },
            },
            r#"{"type":"SubscriptionChanged","subscription_id":"sub_1","gives":"pro","created_s":7,"rank":2,"event_id":"evt_1"}"#,
        ),
        (
            UserEvent::PlanChanged {
                plan: "pro".to_owned(),
            },
            r#"{"type":"PlanChanged","plan":"pro"}"#,
        ),
        (
            UserEvent::UserReferred {
                by: UserId::parse("user_2").unwrap(),
            },
            r#"{"type":"UserReferred","by":"user_2"}"#,
        ),
        (
            UserEvent::CreditsGranted(CreditsGranted {
                kind: LotKind::Promo,
                priority: 10,
                expires_at_s: Some(9),
                cause: GrantCause::Grant,
                reason: Some("sorry".to_owned()),
                actor: Some("service".to_owned()),
                referral: None,
                added: CreditsAdded {
                    repaid: Credits::new(4).unwrap(),
                    ..added(36)
                },
            }),
            r#"{"type":"CreditsGranted","kind":"promo","priority":10,"expires_at_s":9,"cause":"grant","reason":"sorry","actor":"service","credits":20,"repaid":4,"delta":20,"balance":36}"#,
        ),
        (
            UserEvent::CreditsSpent(CreditsSpent {
                credits: Credits::new(5).unwrap(),
                slices: vec![slice(2, 5)],
                note: note(),
                delta: -5,
                account: account(),
            }),
            r#"{"type":"CreditsSpent","credits":5,"slices":[{"lot":2,"credits":5,"kind":"promo","expires_at_s":9,"amount":50}],"reason":"image","reference":"job-1","delta":-5,"balance":10}"#,
        ),
        (
            UserEvent::SpendReversed(SpendReversed {
                entry_id: place(),
                credits: Credits::new(5).unwrap(),
                repaid: Credits::new(1).unwrap(),
                slices: vec![slice(2, 4)],
                reason: None,
                delta: 4,
                account: account(),
            }),
            r#"{"type":"SpendReversed","entry_id":"3-7","credits":5,"repaid":1,"slices":[{"lot":2,"credits":4,"kind":"promo","expires_at_s":9,"amount":50}],"delta":4,"balance":10}"#,
        ),
        (
            UserEvent::CreditsHeld(CreditsHeld {
                credits: Credits::new(5).unwrap(),
                slices: vec![slice(2, 5)],
                times_out_at_s: 8,
                note: Note::default(),
                delta: 0,
                account: Account::of(5, Credits::ZERO, Credits::new(5).unwrap()).unwrap(),
            }),
            r#"{"type":"CreditsHeld","credits":5,"slices":[{"lot":2,"credits":5,"kind":"promo","expires_at_s":9,"amount":50}],"times_out_at_s":8,"delta":0,"balance":10,"held":5,"reserved":5}"#,
        ),
        (
            UserEvent::HoldCaptured(HoldCaptured {
                hold_id: place(),
                credits: Credits::new(2).unwrap(),
                slices: vec![slice(2, 2)],
                repaid: Credits::new(1).unwrap(),
                returned: vec![slice(2, 2)],
                note: note(),
                delta: -3,
                account: account(),
            }),
            r#"{"type":"HoldCaptured","hold_id":"3-7","credits":2,"slices":[{"lot":2,"credits":2,"kind":"promo","expires_at_s":9,"amount":50}],"repaid":1,"returned":[{"lot":2,"credits":2,"kind":"promo","expires_at_s":9,"amount":50}],"reason":"image","reference":"job-1","delta":-3,"balance":10}"#,
        ),
        (
            UserEvent::HoldReleased(HoldReleased {
                hold_id: place(),
                credits: Credits::new(5).unwrap(),
                repaid: Credits::ZERO,
                returned: vec![slice(2, 5)],
                timed_out_at_s: Some(8),
                delta: 0,
                account: account(),
            }),
            r#"{"type":"HoldReleased","hold_id":"3-7","credits":5,"returned":[{"lot":2,"credits":5,"kind":"promo","expires_at_s":9,"amount":50}],"timed_out_at_s":8,"delta":0,"balance":10}"#,
        ),
        (
            UserEvent::CreditsExpired(CreditsExpired {
                credits: Credits::new(5).unwrap(),
                slices: vec![slice(2, 5)],
                expired_at_s: 9,
                delta: -5,
                account: account(),
            }),
            r#"{"type":"CreditsExpired","credits":5,"slices":[{"lot":2,"credits":5,"kind":"promo","expires_at_s":9,"amount":50}],"expired_at_s":9,"delta":-5,"balance":10}"#,
        ),
    ];
    let after = Standing {
        refunded_minor: 100,
        disputed_minor: 0,
        lost_minor: 5,
    };
    let stage = DisputeStage(10);
    let dispute_id = || "du_1".to_owned();
    let purchase = [
        (
            PurchaseEvent::PaymentCaptured {
                amount_minor: 49_900,
                currency: Currency::parse("INR").unwrap(),
                order_id: Some("order_1".to_owned()),
                user_id: Some(user_id.clone()),
                price: Some(price.clone()),
                paid_at_s: 3,
                payer: Some("d2".to_owned()),
                subscription_id: Some("sub_1".to_owned()),
            },
            r#"{"type":"PaymentCaptured","amount_minor":49900,"currency":"INR","order_id":"order_1","user_id":"user_1","price":{"sku":"credits_500","credits":500,"expires_at_s":9},"paid_at_s":3,"payer":"d2","subscription_id":"sub_1"}"#,
        ),
        (
            PurchaseEvent::SubscriptionNamed {
                subscription_id: "sub_1".to_owned(),
            },
            r#"{"type":"SubscriptionNamed","subscription_id":"sub_1"}"#,
        ),
        (
            PurchaseEvent::PayerNamed {
                payer: "d2".to_owned(),
            },
            r#"{"type":"PayerNamed","payer":"d2"}"#,
        ),
        (PurchaseEvent::PayerErased {}, r#"{"type":"PayerErased"}"#),
        (
            PurchaseEvent::PurchaseClaimed {
                user_id,
                by: ClaimedBy::CheckoutSignature,
            },
            r#"{"type":"PurchaseClaimed","user_id":"user_1","by":"checkout_signature"}"#,
        ),
        (
            PurchaseEvent::PurchasePriced { price },
            r#"{"type":"PurchasePriced","price":{"sku":"credits_500","credits":500,"expires_at_s":9}}"#,
        ),
        (
            PurchaseEvent::PaymentRefunded {
                refund_id: Some("re_1".to_owned()),
                amount_minor: Some(100),
                refunded_total_minor: Some(100),
                after,
            },
            r#"{"type":"PaymentRefunded","refund_id":"re_1","amount_minor":100,"refunded_total_minor":100,"after":{"refunded_minor":100,"lost_minor":5}}"#,
        ),
        (
            PurchaseEvent::RefundFailed {
                refund_id: "re_1".to_owned(),
                amount_minor: 100,
                after,
            },
            r#"{"type":"RefundFailed","refund_id":"re_1","amount_minor":100,"after":{"refunded_minor":100,"lost_minor":5}}"#,
        ),
        (
            PurchaseEvent::PaymentDisputed {
                dispute_id: dispute_id(),
                stage,
                amount_minor: 9,
                in_currency: Some(Currency::parse("EUR").unwrap()),
                after,
            },
            r#"{"type":"PaymentDisputed","dispute_id":"du_1","stage":10,"amount_minor":9,"in_currency":"EUR","after":{"refunded_minor":100,"lost_minor":5}}"#,
        ),
        (
            PurchaseEvent::DisputeWon {
                dispute_id: dispute_id(),
                stage,
                after,
            },
            r#"{"type":"DisputeWon","dispute_id":"du_1","stage":10,"after":{"refunded_minor":100,"lost_minor":5}}"#,
        ),
        (
            PurchaseEvent::DisputeLost {
                dispute_id: dispute_id(),
                stage,
                amount_minor: 9,
                in_currency: None,
                after,
            },
            r#"{"type":"DisputeLost","dispute_id":"du_1","stage":10,"amount_minor":9,"after":{"refunded_minor":100,"lost_minor":5}}"#,
        ),
        (
            PurchaseEvent::PaymentMerged {
                into: PurchaseId::parse("stripe:in_1").unwrap(),
            },
            r#"{"type":"PaymentMerged","into":"stripe:in_1"}"#,
        ),
        (
            PurchaseEvent::PaymentAbsorbed {
                payment_id: PurchaseId::parse("stripe:pi_1").unwrap(),
                known: Box::new(whole_purchase()),
                after,
            },
            r#"{"type":"PaymentAbsorbed","payment_id":"stripe:pi_1","known":{"captured":true,"amount_minor":900,"currency":"USD","paid_at_s":3,"user_id":"user_1","price":{"sku":"s","credits":5},"payer":true,"subscription_id":"sub_1","refunds":{"re_1":{"amount_minor":100},"re_2":{"amount_minor":9,"failed":true}},"refunded_total_minor":100,"disputes":{"du_1":{"stage":10,"lost_minor":9},"du_2":{"stage":1,"open_minor":8,"in_currency":"EUR"}}},"after":{"refunded_minor":100,"lost_minor":5}}"#,
        ),
    ];
    assert_eq!(
        user.each_ref().map(|(e, _)| e.type_name()),
        UserEvent::TYPES
    );
    assert_eq!(
        purchase.each_ref().map(|(e, _)| e.type_name()),
        PurchaseEvent::TYPES
    );
    for (event, json) in user {
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<UserEvent>(json).unwrap(), event);
    }
    for (event, json) in purchase {
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<PurchaseEvent>(json).unwrap(), event);
    }
}
