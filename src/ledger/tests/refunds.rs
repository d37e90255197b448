//! Refunds, disputes and merged payments, case by case: each case has cost somebody money before.

use super::order::{Ledger, capture as payment, dispute, purchase_id, refund, refunded_total};
use crate::ledger::command::{ChangeSubscription, DisputeStanding, MatchPurchase, RegisterUser};
use crate::ledger::event::{ClaimedBy, PlanVersion, Price, ProfileVersion};
use crate::ledger::{Command, Credits, Currency, LedgerError, Personal, Profile, Salt, UserId};

const PI: &str = "stripe:pi_1";
const IN: &str = "stripe:in_1";
const U: &str = "user_1";

fn capture(id: &str, user: Option<&str>, credits: Option<i64>) -> Command {
    Command::CapturePayment(Box::new(payment(id, user, credits)))
}

fn open(amount_minor: i64) -> Command {
    dispute(PI, "du_1", 0, DisputeStanding::Open { amount_minor })
}

fn lost(amount_minor: i64) -> Command {
    dispute(PI, "du_1", 1, DisputeStanding::Lost { amount_minor })
}

fn won() -> Command {
    dispute(PI, "du_1", 2, DisputeStanding::Won)
}

/// Balance, held, debt.
fn account(ledger: &Ledger) -> (i64, i64, i64) {
    let account = ledger.account(U);
    (
        account.balance.get(),
        account.held.get(),
        account.debt.get(),
    )
}

/// A purchase of 900 minor units and 300 credits.
fn bought() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.run(&capture(PI, Some(U), Some(300))).unwrap();
    ledger
}

fn steps(ledger: &mut Ledger, steps: &[(Command, (i64, i64, i64))]) {
    for (number, (command, expected)) in steps.iter().enumerate() {
        ledger.run(command).unwrap();
        assert_eq!(account(ledger), *expected, "step {number}");
    }
}

#[test]
fn a_partial_refund_takes_its_share() {
    steps(
        &mut bought(),
        &[
            (refund(PI, "re_1", 300, false), (200, 0, 0)),
            (refund(PI, "re_2", 1, false), (200, 0, 0)),
            (refund(PI, "re_3", 599, false), (0, 0, 0)),
        ],
    );
}

#[test]
fn a_cumulative_amount_is_no_delta() {
    steps(
        &mut bought(),
        &[
            (refunded_total(PI, 300), (200, 0, 0)),
            (refunded_total(PI, 600), (100, 0, 0)),
            (refunded_total(PI, 300), (100, 0, 0)),
            (refund(PI, "re_1", 300, false), (100, 0, 0)),
            (refund(PI, "re_2", 300, false), (100, 0, 0)),
            (refund(PI, "re_3", 300, false), (0, 0, 0)),
        ],
    );
}

#[test]
fn a_refund_that_failed_gives_back_and_counts_no_more() {
    steps(
        &mut bought(),
        &[
            (refund(PI, "re_1", 900, false), (0, 0, 0)),
            (refunded_total(PI, 900), (0, 0, 0)),
            (refund(PI, "re_1", 900, true), (300, 0, 0)),
            // What comes late changes nothing: a failure is final.
            (refund(PI, "re_1", 900, false), (300, 0, 0)),
            (refund(PI, "re_2", 900, false), (0, 0, 0)),
        ],
    );
}

#[test]
fn a_refund_before_the_capture_is_kept_and_the_capture_gives_the_net() {
    let mut ledger = Ledger::default();
    let types = ledger.run(&refund(PI, "re_1", 300, false)).unwrap();
    assert_eq!(types, ["PaymentRefunded"]);
    let types = ledger.run(&capture(PI, Some(U), Some(300))).unwrap();
    assert_eq!(
        types,
        ["PaymentCaptured", "CreditsPurchased", "CreditsClawedBack"]
    );
    assert_eq!(account(&ledger), (200, 0, 0));
}

#[test]
fn a_dispute_holds_back_and_a_won_one_restores() {
    steps(
        &mut bought(),
        &[
            (open(900), (300, 300, 0)),
            (open(900), (300, 300, 0)),
            (won(), (300, 0, 0)),
            (open(900), (300, 0, 0)),
        ],
    );
}

#[test]
fn a_lost_dispute_takes_the_net() {
    steps(
        &mut bought(),
        &[
            (open(900), (300, 300, 0)),
            (lost(600), (100, 0, 0)),
            // Won on appeal.
            (won(), (300, 0, 0)),
        ],
    );
}

#[test]
fn a_refund_and_a_dispute_of_one_payment_take_no_more_than_it_gave() {
    steps(
        &mut bought(),
        &[
            (capture("stripe:pi_2", Some(U), Some(1000)), (1300, 0, 0)),
            (refund(PI, "re_1", 600, false), (1100, 0, 0)),
            (open(900), (1100, 100, 0)),
            (lost(900), (1000, 0, 0)),
        ],
    );
}

#[test]
fn a_loss_before_the_capture_is_kept_too() {
    let mut ledger = Ledger::default();
    ledger.run(&lost(450)).unwrap();
    ledger.run(&capture(PI, Some(U), Some(300))).unwrap();
    assert_eq!(account(&ledger), (150, 0, 0));
}

#[test]
fn an_unpriced_purchase_has_nothing_to_give_back_until_it_is_priced() {
    let mut ledger = Ledger::default();
    ledger.run(&capture(PI, Some(U), None)).unwrap();
    let types = ledger.run(&refund(PI, "re_1", 450, false)).unwrap();
    assert_eq!(types, ["PaymentRefunded"]);
    ledger.run(&capture(PI, None, Some(300))).unwrap();
    assert_eq!(account(&ledger), (150, 0, 0));
}

#[test]
fn an_invoice_and_its_payment_give_once_in_any_order() {
    let commands = [
        capture(PI, Some(U), Some(300)),
        capture(IN, Some(U), Some(300)),
        Command::MergePayments {
            payment_id: purchase_id(PI),
            into: purchase_id(IN),
        },
        refund(PI, "re_1", 300, false),
    ];
    for first in 0..4 {
        for second in 0..4 {
            for third in 0..4 {
                let mut order: Vec<usize> = vec![first, second, third, 0, 1, 2, 3];
                order.extend([0, 1, 2, 3]);
                let mut ledger = Ledger::default();
                for step in &order {
                    ledger.run(&commands[*step]).unwrap();
                }
                assert_eq!(account(&ledger), (200, 0, 0), "{order:?}");
            }
        }
    }
}

#[test]
fn a_payment_of_an_invoice_that_is_not_known_yet_keeps_its_user_and_price() {
    let mut ledger = bought();
    let merge = Command::MergePayments {
        payment_id: purchase_id(PI),
        into: purchase_id(IN),
    };
    let types = ledger.run(&merge).unwrap();
    assert_eq!(
        types,
        [
            "PaymentMerged",
            "CreditsClawedBack",
            "PaymentAbsorbed",
            "PaymentCaptured",
            "CreditsPurchased"
        ]
    );
    assert_eq!(account(&ledger), (300, 0, 0));
}

/// Of the two payments that an invoice has, the first is known before the invoice.
#[test]
fn a_refund_of_a_part_of_an_invoice_takes_its_share_of_the_whole() {
    let mut part = payment(PI, None, None);
    part.money.amount_minor = 300;
    let merge = Command::MergePayments {
        payment_id: purchase_id(PI),
        into: purchase_id(IN),
    };
    let steps = [
        Command::CapturePayment(Box::new(part)),
        merge,
        capture(IN, Some(U), Some(300)),
        refund(PI, "re_1", 300, false),
    ];
    for order in [[0, 1, 2, 3], [2, 0, 1, 3], [0, 2, 3, 1], [3, 1, 0, 2]] {
        let mut ledger = Ledger::default();
        for step in order {
            ledger.run(&steps[step]).unwrap();
        }
        assert_eq!(account(&ledger), (200, 0, 0), "{order:?}");
    }
}

#[test]
fn an_invoice_that_its_payment_made_known_still_learns_its_subscription() {
    let mut ledger = bought();
    ledger
        .run(&Command::MergePayments {
            payment_id: purchase_id(PI),
            into: purchase_id(IN),
        })
        .unwrap();
    let mut invoice = payment(IN, None, None);
    invoice.subscription_id = Some("sub_1".to_owned());
    let invoice = Command::CapturePayment(Box::new(invoice));
    assert_eq!(ledger.run(&invoice).unwrap(), ["SubscriptionNamed"]);
    assert!(ledger.run(&invoice).unwrap().is_empty());
}

#[test]
fn a_whole_is_never_made_a_part() {
    let mut ledger = Ledger::default();
    let merge = |part: &str, whole: &str| Command::MergePayments {
        payment_id: purchase_id(part),
        into: purchase_id(whole),
    };
    ledger.run(&merge(PI, IN)).unwrap();
    assert!(ledger.run(&merge(IN, PI)).unwrap().is_empty());
    assert!(ledger.run(&merge(PI, "stripe:in_2")).unwrap().is_empty());
    assert!(ledger.run(&merge(IN, IN)).unwrap().is_empty());
}

fn profile(verified: bool) -> Personal {
    let profile = Profile {
        email: Some("a@example.com".to_owned()),
        email_verified: verified,
        ..Profile::default()
    };
    Personal::new(&profile, Salt([1; 16]))
}

fn version(updated_at_ms: i64) -> ProfileVersion {
    ProfileVersion {
        updated_at_ms,
        event_id: "msg_1".to_owned(),
    }
}

fn user_id() -> UserId {
    UserId::parse(U).unwrap()
}

fn register() -> Command {
    Command::RegisterUser(RegisterUser {
        user_id: user_id(),
        profile: profile(true),
        profile_version: version(1),
        plan: "free".to_owned(),
        bonus: Credits::new(20).unwrap(),
    })
}

fn found(profile_version: ProfileVersion) -> Command {
    Command::MatchPurchase(MatchPurchase {
        purchase_id: purchase_id(PI),
        user_id: user_id(),
        profile_version,
    })
}

/// Names nobody, and tells who paid.
fn unnamed(id: &str, credits: Option<i64>) -> Command {
    let mut unnamed = payment(id, None, credits);
    unnamed.payer = Some(profile(false));
    Command::CapturePayment(Box::new(unnamed))
}

/// The payer's address may be another's. Of one payment the event that says what it buys is the one that names the buyer.
#[test]
fn nothing_is_matched_before_it_is_known_what_was_bought() {
    let mut ledger = Ledger::default();
    ledger.run(&register()).unwrap();
    ledger.run(&unnamed(PI, None)).unwrap();
    assert!(ledger.run(&found(version(1))).unwrap().is_empty());
    ledger.run(&capture(PI, Some("user_2"), Some(300))).unwrap();
    assert!(ledger.run(&found(version(1))).unwrap().is_empty());
    assert_eq!(account(&ledger), (20, 0, 0));
    assert_eq!(ledger.account("user_2").balance.get(), 300);
}

#[test]
fn a_match_by_email_holds_only_while_it_is_true() {
    let mut ledger = Ledger::default();
    ledger.run(&register()).unwrap();
    assert!(ledger.run(&found(version(1))).unwrap().is_empty());
    ledger.run(&unnamed(PI, Some(300))).unwrap();
    assert!(ledger.run(&found(version(0))).unwrap().is_empty());
    let types = ledger.run(&found(version(1))).unwrap();
    assert_eq!(types, ["PurchaseClaimed", "CreditsPurchased"]);
    assert!(ledger.run(&found(version(1))).unwrap().is_empty());
    assert_eq!(account(&ledger), (320, 0, 0));
}

#[test]
fn nothing_is_matched_with_a_user_who_is_gone() {
    let mut ledger = Ledger::default();
    ledger.run(&register()).unwrap();
    ledger
        .run(&Command::DeleteUser { user_id: user_id() })
        .unwrap();
    ledger.run(&capture(PI, None, Some(300))).unwrap();
    assert!(ledger.run(&found(version(1))).unwrap().is_empty());
}

#[test]
fn a_match_of_a_part_claims_the_whole() {
    let mut ledger = Ledger::default();
    ledger.run(&register()).unwrap();
    ledger.run(&unnamed(PI, None)).unwrap();
    ledger.run(&capture(IN, None, Some(300))).unwrap();
    ledger
        .run(&Command::MergePayments {
            payment_id: purchase_id(PI),
            into: purchase_id(IN),
        })
        .unwrap();
    ledger.run(&found(version(1))).unwrap();
    assert_eq!(account(&ledger), (320, 0, 0));
}

#[test]
fn the_bonus_comes_once_whoever_gives_it() {
    let grant = Command::GrantSignupBonus {
        user_id: user_id(),
        bonus: Credits::new(20).unwrap(),
    };
    let mut ledger = Ledger::default();
    assert_eq!(ledger.run(&grant).unwrap(), ["SignupBonusGranted"]);
    assert!(ledger.run(&grant).unwrap().is_empty());
    assert_eq!(ledger.run(&register()).unwrap(), ["UserRegistered"]);
    assert_eq!(account(&ledger), (20, 0, 0));
}

fn resolve(user: Option<&str>, credits: Option<i64>) -> Command {
    Command::ResolvePurchase {
        purchase_id: purchase_id(PI),
        user_id: user.map(|id| UserId::parse(id).unwrap()),
        price: credits.map(|credits| Price {
            sku: "manual".to_owned(),
            credits: Credits::new(credits).unwrap(),
            expires_at_s: None,
        }),
    }
}

#[test]
fn an_operator_says_what_nobody_knew_and_no_more() {
    let mut ledger = Ledger::default();
    let refused = ledger.run(&resolve(Some(U), Some(5))).unwrap_err();
    assert_eq!(refused, LedgerError::UnknownPurchase);
    ledger.run(&capture(PI, None, None)).unwrap();
    let types = ledger.run(&resolve(Some(U), Some(5))).unwrap();
    assert_eq!(
        types,
        ["PurchaseClaimed", "PurchasePriced", "CreditsPurchased"]
    );
    assert!(ledger.run(&resolve(Some(U), Some(5))).unwrap().is_empty());
    let other = ledger.run(&resolve(Some("user_2"), None)).unwrap_err();
    assert_eq!(other, LedgerError::NotYourPurchase);
    let price = ledger.run(&resolve(None, Some(6))).unwrap_err();
    assert_eq!(price, LedgerError::AlreadyPriced);
}

#[test]
fn a_claim_of_a_refunded_purchase_gives_the_net() {
    let mut ledger = Ledger::default();
    ledger.run(&capture(PI, None, Some(300))).unwrap();
    ledger.run(&refund(PI, "re_1", 900, false)).unwrap();
    let claim = Command::ClaimPurchase {
        purchase_id: purchase_id(PI),
        user_id: user_id(),
        by: ClaimedBy::CheckoutSignature,
    };
    ledger.run(&claim).unwrap();
    assert_eq!(account(&ledger), (0, 0, 0));
}

fn subscription(id: &str, plan: Option<&str>, created_s: i64, rank: u8) -> Command {
    Command::ChangeSubscription(ChangeSubscription {
        user_id: user_id(),
        subscription_id: id.to_owned(),
        plan: plan.map(str::to_owned),
        version: PlanVersion {
            created_s,
            rank,
            event_id: format!("evt_{created_s}_{rank}"),
        },
        base_plan: "free".to_owned(),
    })
}

#[test]
fn of_a_subscription_the_newest_counts_and_rank_decides_within_a_second() {
    let news = [
        subscription("sub_1", None, 1, 0),
        subscription("sub_1", Some("pro"), 1, 2),
        subscription("sub_1", None, 9, 6),
        subscription("sub_2", Some("team"), 5, 2),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
        let mut ledger = Ledger::default();
        ledger.run(&register()).unwrap();
        for step in order {
            ledger.run(&news[step]).unwrap();
        }
        assert_eq!(ledger.plan(U).as_deref(), Some("team"), "{order:?}");
    }
    let mut ledger = Ledger::default();
    let types = ledger.run(&news[1]).unwrap();
    assert_eq!(types, ["SubscriptionChanged", "PlanChanged"]);
    assert!(ledger.run(&news[0]).unwrap().is_empty());
    assert_eq!(ledger.run(&register()).unwrap()[0], "UserRegistered");
    assert_eq!(ledger.plan(U).as_deref(), Some("pro"));
    ledger.run(&news[2]).unwrap();
    assert_eq!(ledger.plan(U).as_deref(), Some("free"));
}

#[test]
fn a_dispute_in_another_currency_is_about_the_whole_payment() {
    let in_currency = |code: &str, stage, standing| {
        let Command::DisputePayment(mut dispute) = dispute(PI, "du_1", stage, standing) else {
            panic!("not a dispute");
        };
        dispute.currency = Some(Currency::parse(code).unwrap());
        Command::DisputePayment(dispute)
    };
    let (open, lost) = (
        DisputeStanding::Open { amount_minor: 300 },
        DisputeStanding::Lost { amount_minor: 300 },
    );
    for (code, held, left) in [("usd", 100, 200), ("eur", 300, 0)] {
        steps(
            &mut bought(),
            &[
                (in_currency(code, 0, open), (300, held, 0)),
                (in_currency(code, 0, open), (300, held, 0)),
                (in_currency(code, 1, lost), (left, 0, 0)),
            ],
        );
    }
    let nothing = DisputeStanding::Lost { amount_minor: 0 };
    steps(
        &mut bought(),
        &[(in_currency("eur", 1, nothing), (300, 0, 0))],
    );
    // Told before it is known what was paid, or that it paid an invoice.
    let paid = capture(PI, Some(U), Some(300));
    let invoice = "stripe:in_1";
    let invoiced = capture(invoice, Some(U), Some(300));
    let merged = Command::MergePayments {
        payment_id: purchase_id(PI),
        into: purchase_id(invoice),
    };
    // The payment of a part whose whole is told later, with nothing but the money.
    let part = capture(PI, None, None);
    let known: [&[&Command]; 6] = [
        &[&merged, &part, &invoiced],
        &[&part, &merged, &invoiced],
        &[&paid],
        &[&invoiced, &merged],
        &[&merged, &invoiced],
        &[&merged, &paid],
    ];
    for (standing, code, expected) in [
        (open, "usd", (300, 100, 0)),
        (open, "eur", (300, 300, 0)),
        (lost, "usd", (200, 0, 0)),
        (lost, "eur", (0, 0, 0)),
        (nothing, "eur", (300, 0, 0)),
        (DisputeStanding::Won, "eur", (300, 0, 0)),
    ] {
        for known in known {
            let mut ledger = Ledger::default();
            ledger.run(&in_currency(code, 1, standing)).unwrap();
            for command in known {
                ledger.run(command).unwrap();
            }
            assert_eq!(account(&ledger), expected, "{standing:?} {code} {known:?}");
            // The same again is nothing new.
            let again = ledger.run(&in_currency(code, 1, standing)).unwrap();
            assert_eq!(again, Vec::<&str>::new());
        }
    }
}
