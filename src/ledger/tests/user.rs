//! Tests of [`crate::ledger::user`].

use cqrs_es::test::TestFramework;

use crate::ledger::event::{
    CreditsAdded, CreditsSpent, Note, Price, ProfileRef, ProfileVersion, PurchaseAdjusted,
    UserEvent,
};
use crate::ledger::lots::{LotKind, Slice, Terms};
use crate::ledger::user::{User, UserCommand};
use crate::ledger::{Account, Credits, LedgerError, Personal, Profile, PurchaseId, Salt};

type Rules = TestFramework<User>;

fn rules() -> Rules {
    Rules::with(())
}

fn profile() -> Personal {
    Personal::new(&Profile::default(), Salt([1; 16]))
}

fn version(updated_at_ms: i64, event_id: &str) -> ProfileVersion {
    ProfileVersion {
        updated_at_ms,
        event_id: event_id.to_owned(),
    }
}

fn profile_ref(version: ProfileVersion) -> ProfileRef {
    ProfileRef {
        digest: profile().digest().to_owned(),
        version,
    }
}

fn register(version: ProfileVersion) -> UserCommand {
    UserCommand::Register {
        profile: profile(),
        version,
        plan: "free".to_owned(),
        bonus: credits(20),
    }
}

fn registered(profile: Option<ProfileVersion>) -> UserEvent {
    UserEvent::UserRegistered {
        plan: "free".to_owned(),
        profile: profile.map(profile_ref),
    }
}

fn changed(version: ProfileVersion) -> UserEvent {
    UserEvent::UserProfileChanged {
        profile: profile_ref(version),
    }
}

fn change(version: ProfileVersion) -> UserCommand {
    UserCommand::ChangeProfile {
        profile: profile(),
        version,
    }
}

fn credits(n: i64) -> Credits {
    Credits::new(n).unwrap()
}

fn added(n: i64, balance: i64) -> CreditsAdded {
    CreditsAdded {
        credits: credits(n),
        repaid: Credits::ZERO,
        delta: n,
        account: Account {
            balance: credits(balance),
            ..Account::default()
        },
    }
}

fn bonus(balance: i64) -> UserEvent {
    UserEvent::SignupBonusGranted(added(20, balance))
}

fn purchase(n: i64) -> UserCommand {
    UserCommand::CreditPurchase {
        purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
        price: Price {
            sku: "pack".to_owned(),
            credits: credits(n),
            expires_at_s: None,
        },
    }
}

fn purchased(n: i64, balance: i64) -> UserEvent {
    UserEvent::CreditsPurchased {
        purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
        added: added(n, balance),
        expires_at_s: None,
    }
}

#[test]
fn a_sign_up_gives_the_bonus_once() {
    let v = version(1, "a");
    rules()
        .given_no_previous_events()
        .when(register(v.clone()))
        .then_expect_events(vec![registered(Some(v.clone())), bonus(20)]);
    rules()
        .given(vec![registered(Some(v.clone())), bonus(20)])
        .when(register(v))
        .then_expect_events(vec![]);
}

#[test]
fn no_bonus_event_where_the_bonus_is_zero() {
    let v = version(1, "a");
    rules()
        .given_no_previous_events()
        .when(UserCommand::Register {
            profile: profile(),
            version: v.clone(),
            plan: "free".to_owned(),
            bonus: Credits::ZERO,
        })
        .then_expect_events(vec![registered(Some(v))]);
}

#[test]
fn a_second_registration_still_brings_a_newer_profile() {
    rules()
        .given(vec![registered(Some(version(1, "a"))), bonus(20)])
        .when(register(version(2, "b")))
        .then_expect_events(vec![changed(version(2, "b"))]);
}

#[test]
fn only_a_newer_profile_replaces_one() {
    let history = vec![registered(Some(version(5, "m")))];
    for (newer, expected) in [
        (version(4, "z"), false),
        (version(5, "a"), false),
        (version(5, "m"), false),
        (version(5, "z"), true),
        (version(6, "a"), true),
    ] {
        let events = if expected {
            vec![changed(newer.clone())]
        } else {
            vec![]
        };
        rules()
            .given(history.clone())
            .when(change(newer))
            .then_expect_events(events);
    }
}

#[test]
fn an_update_may_come_before_the_registration() {
    rules()
        .given_no_previous_events()
        .when(change(version(9, "b")))
        .then_expect_events(vec![changed(version(9, "b"))]);
    rules()
        .given(vec![changed(version(9, "b"))])
        .when(register(version(1, "a")))
        .then_expect_events(vec![registered(None), bonus(20)]);
}

#[test]
fn nothing_revives_a_deleted_user() {
    let gone = vec![UserEvent::UserDeleted {}];
    rules()
        .given(gone.clone())
        .when(register(version(1, "a")))
        .then_expect_events(vec![registered(None), bonus(20)]);
    rules()
        .given(gone.clone())
        .when(change(version(9, "b")))
        .then_expect_events(vec![]);
    rules()
        .given(gone)
        .when(UserCommand::Delete)
        .then_expect_events(vec![]);
}

#[test]
fn a_deletion_moves_no_credits_and_purchases_go_on() {
    rules()
        .given(vec![purchased(500, 500), UserEvent::UserDeleted {}])
        .when(purchase(100))
        .then_expect_events(vec![purchased(100, 600)]);
}

#[test]
fn credits_come_before_the_registration() {
    rules()
        .given(vec![purchased(500, 500)])
        .when(register(version(1, "a")))
        .then_expect_events(vec![registered(Some(version(1, "a"))), bonus(520)]);
}

fn adjusted(n: i64, delta: i64, account: (i64, i64)) -> PurchaseAdjusted {
    PurchaseAdjusted {
        purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
        credits: credits(n),
        released: Credits::ZERO,
        slices: vec![],
        own: Credits::ZERO,
        repaid: Credits::ZERO,
        delta,
        account: Account::of(account.0, credits(account.1), Credits::ZERO).unwrap(),
    }
}

fn slices(n: i64) -> Vec<Slice> {
    vec![Slice {
        lot: 1,
        credits: credits(n),
        terms: Terms {
            purchase_id: Some(PurchaseId::parse("razorpay:pay_1").unwrap()),
            ..Terms::plain(LotKind::Paid, credits(500))
        },
    }]
}

/// Of 500 credits that were bought 400 are spent.
fn mostly_spent() -> Vec<UserEvent> {
    let spent = CreditsSpent {
        credits: credits(400),
        slices: slices(400),
        note: Note::default(),
        delta: -400,
        account: Account::of(100, Credits::ZERO, Credits::ZERO).unwrap(),
    };
    vec![purchased(500, 500), UserEvent::CreditsSpent(spent)]
}

/// Then the payment is taken back.
#[test]
fn what_was_spent_becomes_debt_and_the_next_credits_repay_it() {
    let claw_back = UserCommand::ClawBack {
        purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
        credits: credits(500),
        released: Credits::ZERO,
    };
    let clawed_back = UserEvent::CreditsClawedBack(PurchaseAdjusted {
        slices: slices(100),
        ..adjusted(500, -100, (-400, 0))
    });
    rules()
        .given(mostly_spent())
        .when(claw_back)
        .then_expect_events(vec![clawed_back.clone()]);
    for (bought, delta, net) in [(300, 0, -100), (1000, 600, 600)] {
        let added = CreditsAdded {
            credits: credits(bought),
            repaid: credits(bought.min(400)),
            delta,
            account: Account::of(net, Credits::ZERO, Credits::ZERO).unwrap(),
        };
        let mut history = mostly_spent();
        history.push(clawed_back.clone());
        rules()
            .given(history)
            .when(purchase(bought))
            .then_expect_events(vec![UserEvent::CreditsPurchased {
                purchase_id: PurchaseId::parse("razorpay:pay_1").unwrap(),
                added,
                expires_at_s: None,
            }]);
    }
}

/// Then the payment is contested, and won.
#[test]
fn what_was_spent_of_contested_credits_is_owed_until_they_come_back() {
    let purchase_id = || PurchaseId::parse("razorpay:pay_1").unwrap();
    let held_back = UserEvent::CreditsHeldBack(PurchaseAdjusted {
        own: credits(100),
        ..adjusted(500, 0, (100, 500))
    });
    rules()
        .given(mostly_spent())
        .when(UserCommand::HoldBack {
            purchase_id: purchase_id(),
            credits: credits(500),
        })
        .then_expect_events(vec![held_back.clone()]);
    let restored = PurchaseAdjusted {
        released: credits(500),
        ..adjusted(0, 0, (100, 0))
    };
    let mut history = mostly_spent();
    history.push(held_back);
    rules()
        .given(history)
        .when(UserCommand::Restore {
            purchase_id: purchase_id(),
            credits: Credits::ZERO,
            released: credits(500),
            clawed_before: Credits::ZERO,
            expires_at_s: None,
        })
        .then_expect_events(vec![UserEvent::CreditsRestored(restored)]);
}

#[test]
fn an_account_that_is_full_refuses() {
    rules()
        .given(vec![purchased(Credits::MAX, Credits::MAX)])
        .when(purchase(1))
        .then_expect_error(LedgerError::BalanceOverflow);
}

#[test]
fn an_erasure_is_asked_for_once_and_done_once_and_keeps_no_profile_after() {
    let (deleted, requested, erased) = (
        UserEvent::UserDeleted {},
        UserEvent::ErasureRequested {},
        UserEvent::UserErased {},
    );
    let before = vec![registered(Some(version(1, "a")))];
    let asked = [before.clone(), vec![deleted.clone(), requested.clone()]].concat();
    let done = [asked.clone(), vec![erased.clone()]].concat();
    let gone = [before.clone(), vec![deleted.clone()]].concat();
    for (given, when, then) in [
        (
            vec![],
            UserCommand::Erase,
            vec![deleted.clone(), requested.clone()],
        ),
        (
            before.clone(),
            UserCommand::Erase,
            vec![deleted, requested.clone()],
        ),
        (gone, UserCommand::Erase, vec![requested]),
        (asked.clone(), UserCommand::Erase, vec![]),
        (done.clone(), UserCommand::Erase, vec![]),
        (before, UserCommand::ConfirmErasure, vec![]),
        (asked.clone(), UserCommand::ConfirmErasure, vec![erased]),
        (done.clone(), UserCommand::ConfirmErasure, vec![]),
        (asked, change(version(2, "b")), vec![]),
        (done.clone(), change(version(2, "b")), vec![]),
        (done.clone(), UserCommand::Delete, vec![]),
        (done, purchase(500), vec![purchased(500, 500)]),
    ] {
        rules().given(given).when(when).then_expect_events(then);
    }
    rules()
        .given(vec![
            UserEvent::UserDeleted {},
            UserEvent::ErasureRequested {},
        ])
        .when(register(version(1, "a")))
        .then_expect_events(vec![registered(None), bonus(20)]);
}
