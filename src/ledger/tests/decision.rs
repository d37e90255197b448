//! Tests of [`crate::ledger::decision`].

use std::collections::HashMap;

use crate::ledger::command::CapturePayment;
use crate::ledger::decision::*;
use crate::ledger::event::{ClaimedBy, Price};
use crate::ledger::personal::{Profile, Salt};
use crate::ledger::value::{Credits, Currency, Money};
use crate::ledger::*;

#[derive(Default)]
struct Known {
    users: HashMap<UserId, User>,
    purchases: HashMap<PurchaseId, Purchase>,
}

impl States for Known {
    fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(id)
    }
    fn purchase(&self, id: &PurchaseId) -> Option<&Purchase> {
        self.purchases.get(id)
    }
    fn settlement(&self, _: Place) -> Option<Settlement> {
        None
    }
    fn at_s(&self) -> i64 {
        0
    }
}

impl Known {
    fn apply(&mut self, emitted: &[Emitted]) {
        for e in emitted {
            match (&e.stream, &e.event) {
                (StreamId::User(id), Event::User(event)) => {
                    self.users.entry(id.clone()).or_default().evolve(event);
                }
                (StreamId::Purchase(id), Event::Purchase(event)) => {
                    self.purchases.entry(id.clone()).or_default().evolve(event);
                }
                _ => panic!("an event in a stream of the other type"),
            }
        }
    }

    fn types(emitted: &[Emitted]) -> Vec<&'static str> {
        emitted.iter().map(|e| e.event.type_name()).collect()
    }
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn purchase_id() -> PurchaseId {
    PurchaseId::parse("razorpay:pay_1").unwrap()
}

fn capture(user_id: Option<&str>, priced: bool) -> Command {
    Command::CapturePayment(Box::new(CapturePayment {
        purchase_id: purchase_id(),
        user_id: user_id.map(user),
        claimant: None,
        money: Money::new(49_900, Currency::parse("INR").unwrap()).unwrap(),
        order_id: None,
        price: priced.then(|| Price {
            sku: "credits_500".to_owned(),
            credits: Credits::new(500).unwrap(),
            expires_at_s: None,
        }),
        paid_at_s: 1,
        payer: Some(Personal::new(
            &Profile {
                email: Some("a@example.com".to_owned()),
                ..Profile::default()
            },
            Salt([3; 16]),
        )),
        merges: None,
        refunded_total_minor: 0,
        subscription_id: None,
        subscriber: None,
    }))
}

fn known(users: &[&str]) -> Known {
    Known {
        users: users.iter().map(|id| (user(id), User::default())).collect(),
        purchases: [(purchase_id(), Purchase::default())].into(),
    }
}

#[test]
fn a_capture_credits_the_user_in_the_same_decision() {
    let emitted = decide(&capture(Some("u1"), true), &known(&["u1"])).unwrap();
    assert_eq!(
        Known::types(&emitted),
        ["PaymentCaptured", "CreditsPurchased"]
    );
    assert!(emitted.iter().all(|one| one.personal.is_none()));
}

#[test]
fn who_paid_is_kept_only_while_nobody_knows_whose_it_is() {
    let emitted = decide(&capture(None, true), &known(&[])).unwrap();
    assert!(emitted[0].personal.is_some() && emitted[0].matchable);
}

#[test]
fn a_state_that_is_not_there_is_asked_for() {
    assert_eq!(
        decide(&capture(Some("u1"), true), &known(&[])),
        Err(Rejection::Needs(StreamId::User(user("u1"))))
    );
    assert_eq!(
        decide(&capture(None, true), &Known::default()),
        Err(Rejection::Needs(StreamId::Purchase(purchase_id())))
    );
}

#[test]
fn credits_come_once_whatever_completes_the_purchase() {
    let steps = [
        capture(None, false),
        capture(Some("u1"), false),
        capture(None, true),
    ];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut states = known(&["u1"]);
        for step in order.into_iter().chain(order) {
            let emitted = decide(&steps[step], &states).unwrap();
            states.apply(&emitted);
        }
        let balance = states.users[&user("u1")].account.balance;
        assert_eq!(balance.get(), 500, "order {order:?}");
    }
}

#[test]
fn the_user_of_a_recorded_purchase_is_asked_for() {
    let mut states = known(&["u1"]);
    let emitted = decide(&capture(Some("u1"), false), &states).unwrap();
    states.apply(&emitted);
    states.users.clear();
    assert_eq!(
        decide(&capture(None, true), &states),
        Err(Rejection::Needs(StreamId::User(user("u1"))))
    );
}

#[test]
fn a_claim_credits_the_claimant() {
    let mut states = known(&["u1"]);
    let emitted = decide(&capture(None, true), &states).unwrap();
    assert_eq!(Known::types(&emitted), ["PaymentCaptured"]);
    states.apply(&emitted);
    let claim = Command::ClaimPurchase {
        purchase_id: purchase_id(),
        user_id: user("u1"),
        by: ClaimedBy::CheckoutSignature,
    };
    let emitted = decide(&claim, &states).unwrap();
    assert_eq!(
        Known::types(&emitted),
        ["PurchaseClaimed", "CreditsPurchased"]
    );
}

/// A user whose erasure was asked for, and a purchase.
fn erasing(captured: Option<&Command>) -> Known {
    let mut states = known(&["u1"]);
    for command in captured.into_iter().chain([&Command::EraseUser {
        user_id: user("u1"),
    }]) {
        let emitted = decide(command, &states).unwrap();
        states.apply(&emitted);
    }
    states
}

fn erase_payer(user_id: &str) -> Command {
    Command::ErasePayer {
        purchase_id: purchase_id(),
        user_id: user(user_id),
    }
}

#[test]
fn only_the_request_leaves_stored_deliveries_to_be_looked_through() {
    let erase = Command::EraseUser {
        user_id: user("u1"),
    };
    let emitted = decide(&erase, &known(&["u1"])).unwrap();
    assert_eq!(Known::types(&emitted), ["UserDeleted", "ErasureRequested"]);
    assert_eq!(
        emitted.iter().map(|one| one.to_erase).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(decide(&erase, &erasing(None)).unwrap().is_empty());
    let confirm = Command::ConfirmErasure {
        user_id: user("u1"),
    };
    let emitted = decide(&confirm, &erasing(None)).unwrap();
    assert_eq!(Known::types(&emitted), ["UserErased"]);
    assert!(!emitted[0].to_erase && emitted[0].event.erases());
}

#[test]
fn a_payer_who_was_forgotten_is_not_kept_again() {
    let mut states = erasing(Some(&capture(None, true)));
    assert!(states.purchases[&purchase_id()].is_matchable());
    let emitted = decide(&erase_payer("u1"), &states).unwrap();
    assert_eq!(Known::types(&emitted), ["PayerErased"]);
    assert!(!emitted[0].to_erase && emitted[0].event.erases());
    states.apply(&emitted);
    assert!(!states.purchases[&purchase_id()].is_matchable());
    for again in [erase_payer("u1"), capture(None, true)] {
        assert_eq!(decide(&again, &states), Ok(vec![]));
    }
}

#[test]
fn a_payer_is_forgotten_only_for_who_asked_and_may() {
    let nobodys = capture(None, true);
    let theirs = capture(Some("u2"), false);
    let with_other = |captured: Option<&Command>| {
        let mut states = known(&["u1", "u2"]);
        let erase = Command::EraseUser {
            user_id: user("u1"),
        };
        for command in captured.into_iter().chain([&erase]) {
            let emitted = decide(command, &states).unwrap();
            states.apply(&emitted);
        }
        states
    };
    for (captured, by) in [(None, "u1"), (Some(&nobodys), "u2"), (Some(&theirs), "u1")] {
        let decided = decide(&erase_payer(by), &with_other(captured));
        assert_eq!(decided, Ok(vec![]), "{captured:?} {by}");
    }
}

#[test]
fn what_comes_to_a_user_who_is_being_erased_forgets_who_paid() {
    let claim = Command::ClaimPurchase {
        purchase_id: purchase_id(),
        user_id: user("u1"),
        by: ClaimedBy::Operator,
    };
    let nobodys = capture(None, true);
    for (before, command, first) in [
        (None, capture(Some("u1"), true), "PaymentCaptured"),
        (Some(&nobodys), claim, "PurchaseClaimed"),
    ] {
        let mut states = erasing(before);
        let emitted = decide(&command, &states).unwrap();
        assert_eq!(
            Known::types(&emitted),
            [first, "CreditsPurchased", "PayerErased"]
        );
        assert!(emitted[2].to_erase && emitted[2].event.erases());
        assert!(emitted.iter().all(|one| one.personal.is_none()));
        states.apply(&emitted);
        assert_eq!(decide(&command, &states), Ok(vec![]));
    }
}

/// An id of the same money that was nobody's until it became a part.
#[test]
fn a_part_of_what_forgot_who_paid_forgets_it_too() {
    let part = PurchaseId::parse("stripe:pi_1").unwrap();
    let mut states = erasing(None);
    states.purchases.insert(part.clone(), Purchase::default());
    let Command::CapturePayment(nobodys) = capture(None, false) else {
        panic!("a capture");
    };
    let nobodys = Command::CapturePayment(Box::new(CapturePayment {
        purchase_id: part.clone(),
        ..*nobodys
    }));
    for command in [nobodys, capture(Some("u1"), true)] {
        let emitted = decide(&command, &states).unwrap();
        states.apply(&emitted);
    }
    let merge = Command::MergePayments {
        payment_id: part.clone(),
        into: purchase_id(),
    };
    let emitted = decide(&merge, &states).unwrap();
    assert_eq!(
        Known::types(&emitted),
        ["PaymentMerged", "PaymentAbsorbed", "PayerErased"]
    );
    assert_eq!(emitted[2].stream, StreamId::Purchase(part));
}

/// Two ids of the same money, the one named by `whole` and a part, captured with what is said here.
fn merging(part: (Option<&str>, bool), whole: (Option<&str>, bool)) -> (Known, Command) {
    let id = PurchaseId::parse("stripe:pi_1").unwrap();
    let mut states = erasing(None);
    states.users.insert(user("u2"), User::default());
    states.purchases.insert(id.clone(), Purchase::default());
    let Command::CapturePayment(of_part) = capture(part.0, part.1) else {
        panic!("a capture");
    };
    let of_part = Command::CapturePayment(Box::new(CapturePayment {
        purchase_id: id.clone(),
        ..*of_part
    }));
    for command in [of_part, capture(whole.0, whole.1)] {
        let emitted = decide(&command, &states).unwrap();
        states.apply(&emitted);
    }
    let into = purchase_id();
    let payment_id = id;
    (states, Command::MergePayments { payment_id, into })
}

/// Each says so in its own stream, whichever of the two had forgotten before.
#[test]
fn what_takes_over_a_part_that_forgot_who_paid_forgets_it_too() {
    let (mut states, merge) = merging((Some("u1"), true), (None, true));
    let before = states.purchases[&purchase_id()].clone();
    assert!(before.payer && !before.payer_erased);
    let emitted = decide(&merge, &states).unwrap();
    let erased = emitted
        .iter()
        .filter(|one| one.event.erases())
        .collect::<Vec<_>>();
    assert_eq!(erased.len(), 1);
    assert_eq!(erased[0].stream, StreamId::Purchase(purchase_id()));
    assert!(erased[0].to_erase);
    states.apply(&emitted);
    let whole = &states.purchases[&purchase_id()];
    assert!(whole.payer_erased && !whole.payer);
}

/// Nothing moves credits here, so nothing else asks for the user.
#[test]
fn whose_a_purchase_becomes_is_asked_for_by_name() {
    let (mut states, merge) = merging((Some("u1"), false), (None, false));
    // As it is before the purchases of one who is being erased were gone through.
    for purchase in states.purchases.values_mut() {
        purchase.payer_erased = false;
    }
    let erasing = states.users.remove(&user("u1")).unwrap();
    assert_eq!(
        decide(&merge, &states),
        Err(Rejection::Needs(StreamId::User(user("u1"))))
    );
    states.users.insert(user("u1"), erasing);
    let emitted = decide(&merge, &states).unwrap();
    let erased = emitted.iter().filter(|one| one.event.erases()).count();
    assert_eq!(erased, 2, "{:?}", Known::types(&emitted));
}

#[test]
fn anothers_purchase_forgets_who_paid_only_if_that_is_known() {
    let mut states = known(&["u1", "u2"]);
    let claim = Command::ClaimPurchase {
        purchase_id: purchase_id(),
        user_id: user("u2"),
        by: ClaimedBy::Operator,
    };
    let erase = Command::EraseUser {
        user_id: user("u1"),
    };
    for command in [capture(None, true), claim, erase] {
        let emitted = decide(&command, &states).unwrap();
        states.apply(&emitted);
    }
    let emitted = decide(&erase_payer("u1"), &states).unwrap();
    assert_eq!(Known::types(&emitted), ["PayerErased"]);
    states.apply(&emitted);
    assert_eq!(decide(&erase_payer("u1"), &states), Ok(vec![]));
}
