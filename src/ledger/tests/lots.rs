//! Tests of [`crate::ledger::lots`] and of what moves credits between lots, over a store that keeps most of them as rows.

use super::order::{capture, dispute, refund};
use super::stored::Stored;
use crate::ledger::command::{
    DisputeStanding, GrantCredits, Hold, HoldCredits, ReverseSpend, SpendCredits,
};
use crate::ledger::event::{Note, UserEvent};
use crate::ledger::lots::{LotKind, PRIORITY_DEFAULT, Slice, Wanted};
use crate::ledger::user::{ReadRows, User, UserCommand};
use crate::ledger::{
    Account, Command, Credits, Event, LedgerError, Place, Settlement, StreamId, UserId,
};

const PAYMENT: &str = "stripe:pi_1";

fn user() -> UserId {
    UserId::parse("user_1").unwrap()
}

fn credits(n: i64) -> Credits {
    Credits::new(n).unwrap()
}

/// A user's history in the making.
#[derive(Default)]
struct History {
    stored: Stored,
}

impl History {
    fn at(now_s: i64) -> Self {
        let mut history = Self::default();
        history.stored.now_s = now_s;
        history
    }

    fn run(&mut self, command: &Command) -> Result<Vec<(Place, UserEvent)>, LedgerError> {
        let recorded = self.stored.run(command)?;
        let of_user = recorded
            .into_iter()
            .filter_map(|(place, one)| match one.event {
                Event::User(event) => Some((place, event)),
                Event::Purchase(_) => None,
            });
        Ok(of_user.collect())
    }

    /// The place of the first event.
    fn must(&mut self, command: &Command) -> Place {
        self.run(command).unwrap()[0].0
    }

    fn grant(&mut self, n: i64, kind: LotKind, priority: u8, expires_at_s: Option<i64>) -> i64 {
        self.must(&Command::GrantCredits(GrantCredits {
            user_id: user(),
            credits: credits(n),
            kind,
            priority,
            expires_at_s,
            reason: "because".to_owned(),
            actor: "somebody".to_owned(),
        }));
        self.stored.folded(&user()).events
    }

    fn bonus(&mut self, n: i64) -> i64 {
        self.grant(n, LotKind::Bonus, PRIORITY_DEFAULT, None)
    }

    /// Buys the payment of 900 minor units.
    fn buy(&mut self, n: i64, expires_at_s: Option<i64>) {
        let mut paid = capture(PAYMENT, Some("user_1"), Some(n));
        paid.price.as_mut().unwrap().expires_at_s = expires_at_s;
        self.must(&Command::CapturePayment(Box::new(paid)));
    }

    fn refund(&mut self, id: &str, amount_minor: i64) {
        self.run(&refund(PAYMENT, id, amount_minor, false)).unwrap();
    }

    fn refund_fails(&mut self, id: &str, amount_minor: i64) {
        self.run(&refund(PAYMENT, id, amount_minor, true)).unwrap();
    }

    fn dispute(&mut self, stage: u32, standing: DisputeStanding) {
        self.run(&dispute(PAYMENT, "du_1", stage, standing))
            .unwrap();
    }

    fn try_spend(&mut self, n: i64) -> Result<Vec<(Place, UserEvent)>, LedgerError> {
        self.run(&Command::SpendCredits(SpendCredits {
            user_id: user(),
            credits: credits(n),
            allow_partial: false,
            note: Note::default(),
        }))
    }

    /// The spend, and which lots it took from.
    fn spend(&mut self, n: i64) -> (Place, Vec<(i64, i64)>) {
        let (place, event) = self.try_spend(n).unwrap().pop().unwrap();
        match event {
            UserEvent::CreditsSpent(spent) => (place, lines(&spent.slices)),
            other => panic!("{other:?}"),
        }
    }

    fn hold(&mut self, n: i64, times_out_at_s: i64) -> Place {
        self.must(&Command::HoldCredits(HoldCredits {
            user_id: user(),
            credits: credits(n),
            lasts_s: times_out_at_s - self.stored.now_s,
            note: Note::default(),
        }))
    }

    fn release(&mut self, place: Place) -> Result<Vec<(Place, UserEvent)>, LedgerError> {
        let hold = self.stored.hold(place);
        self.run(&Command::ReleaseHold { hold })
    }

    fn capture(
        &mut self,
        place: Place,
        n: Option<i64>,
    ) -> Result<Vec<(Place, UserEvent)>, LedgerError> {
        let hold = self.stored.hold(place);
        self.run(&Command::CaptureHold {
            hold,
            credits: n.map(credits),
        })
    }

    fn reverse(&mut self, entry_id: Place, n: Option<i64>) -> Vec<UserEvent> {
        let (StreamId::User(user_id), Event::User(UserEvent::CreditsSpent(spent))) =
            self.stored.event(entry_id)
        else {
            panic!("no spend")
        };
        let reverse = ReverseSpend {
            user_id: user_id.clone(),
            entry_id,
            slices: spent.slices.clone(),
            credits: n.map(credits),
            reason: None,
        };
        let recorded = self.run(&Command::ReverseSpend(reverse)).unwrap();
        recorded.into_iter().map(|(_, event)| event).collect()
    }

    fn settle(&mut self) -> Vec<UserEvent> {
        let settle = Command::SettleUser { user_id: user() };
        let recorded = self.run(&settle).unwrap();
        recorded.into_iter().map(|(_, event)| event).collect()
    }

    fn account(&self) -> Account {
        self.stored.folded(&user()).account
    }

    fn available(&self) -> i64 {
        self.account().available()
    }

    /// Lots with credits in the order of burning, and how many are left in each.
    fn lots(&self) -> Vec<(i64, i64)> {
        let whole = self.stored.whole(&user());
        let lots = whole.lots.open().iter();
        lots.map(|lot| (lot.id, lot.remaining.get())).collect()
    }
}

fn lines(slices: &[Slice]) -> Vec<(i64, i64)> {
    slices
        .iter()
        .map(|slice| (slice.lot, slice.credits.get()))
        .collect()
}

#[test]
fn lots_burn_by_priority_then_end_then_given_before_paid_then_age() {
    let mut history = History::at(0);
    let plain = history.bonus(1);
    history.buy(1, None);
    let paid = plain + 1;
    let younger = history.bonus(1);
    let late = history.grant(1, LotKind::Promo, PRIORITY_DEFAULT, Some(200));
    let soon = history.grant(1, LotKind::Paid, PRIORITY_DEFAULT, Some(100));
    let soon_given = history.grant(1, LotKind::Plan, PRIORITY_DEFAULT, Some(100));
    let first = history.grant(1, LotKind::Paid, 1, None);
    let order = [first, soon_given, soon, late, plain, younger, paid];
    assert_eq!(history.spend(7).1, order.map(|lot| (lot, 1)));
}

#[test]
fn a_reversal_gives_back_to_the_same_lots_the_last_first() {
    let mut history = History::at(0);
    let lots: Vec<i64> = (0..9).map(|_| history.bonus(10)).collect();
    let (spend, taken) = history.spend(75);
    assert_eq!(taken.len(), 8);
    history.reverse(spend, Some(20));
    // It took all of seven and half of the eighth.
    let expected = [(lots[5], 5), (lots[6], 10), (lots[7], 10), (lots[8], 10)];
    assert_eq!(history.lots(), expected);
}

#[test]
fn a_refund_takes_from_its_own_lot_before_any_other() {
    let mut history = History::at(0);
    let given: Vec<i64> = (0..8).map(|_| history.bonus(10)).collect();
    history.buy(90, None);
    history.refund("re_1", 300);
    let paid = given[7] + 1;
    assert_eq!(history.lots().last(), Some(&(paid, 60)));
    assert_eq!(history.account().balance.get(), 80 + 60);
}

#[test]
fn what_ended_in_its_own_lot_counts_as_taken_back() {
    let mut history = History::at(0);
    history.buy(100, Some(50));
    history.spend(30);
    let kept = history.bonus(40);
    history.stored.now_s = 50;
    history.refund("re_1", 900);
    // 70 ended unspent; of the 30 that were used, others pay.
    assert_eq!(history.lots(), [(kept, 10)]);
    history.refund_fails("re_1", 900);
    // What only counted as taken ended for good; what was taken comes back, and its time is over.
    assert_eq!(history.lots(), [(kept, 10)]);
    assert_eq!(history.available(), 10);
}

#[test]
fn a_contested_lot_neither_burns_nor_ends() {
    let mut history = History::at(0);
    history.buy(90, Some(50));
    let given = history.bonus(20);
    history.dispute(0, DisputeStanding::Open { amount_minor: 600 });
    assert_eq!(history.available(), 30 + 20);
    assert_eq!(history.spend(40).1, [(1, 30), (given, 10)]);
    history.stored.now_s = 60;
    assert_eq!(history.settle(), []);
    assert_eq!(history.account().balance.get(), 70);
    history.dispute(1, DisputeStanding::Won);
    // It is decided after its time.
    assert_eq!(history.lots(), [(given, 10)]);
}

#[test]
fn a_hold_whose_lot_ended_meanwhile_gives_nothing_back() {
    let mut history = History::at(0);
    history.grant(10, LotKind::Promo, PRIORITY_DEFAULT, Some(50));
    let hold = history.hold(10, 100);
    history.stored.now_s = 60;
    history.release(hold).unwrap();
    assert_eq!(history.account(), Account::default());
    assert_eq!(history.lots(), []);
}

#[test]
fn a_hold_uses_what_ended_while_it_was_held() {
    let mut history = History::at(0);
    history.grant(10, LotKind::Promo, PRIORITY_DEFAULT, Some(50));
    let kept = history.bonus(10);
    let hold = history.hold(15, 100);
    history.stored.now_s = 60;
    history.capture(hold, Some(10)).unwrap();
    assert_eq!(history.lots(), [(kept, 10)]);
}

#[test]
fn a_hold_times_out_by_itself_before_and_after_its_lot_ends() {
    for (times_out_at_s, expired_at_s) in [(40, 50), (50, 50), (60, 60)] {
        let mut history = History::at(0);
        history.grant(10, LotKind::Promo, PRIORITY_DEFAULT, Some(50));
        let hold = history.hold(10, times_out_at_s);
        history.stored.now_s = 1000;
        let events = history.settle();
        let [
            UserEvent::HoldReleased(released),
            UserEvent::CreditsExpired(expired),
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(released.timed_out_at_s, Some(times_out_at_s));
        assert_eq!(expired.expired_at_s, expired_at_s);
        assert_eq!(history.account(), Account::default());
        let settled = LedgerError::HoldSettled(Settlement::TimedOut);
        assert_eq!(history.capture(hold, None), Err(settled));
    }
}

#[test]
fn a_hold_is_settled_once_and_a_spend_reversed_once() {
    let mut history = History::at(0);
    history.bonus(20);
    let hold = history.hold(10, 100);
    history.capture(hold, Some(4)).unwrap();
    let settled = LedgerError::HoldSettled(Settlement::Captured);
    assert_eq!(history.release(hold), Err(settled));
    let (spend, _) = history.spend(5);
    history.reverse(spend, Some(1));
    let again = Command::ReverseSpend(ReverseSpend {
        user_id: user(),
        entry_id: spend,
        slices: vec![],
        credits: None,
        reason: None,
    });
    assert_eq!(history.run(&again), Err(LedgerError::SpendReversed));
}

#[test]
fn what_comes_back_to_a_lot_that_ended_is_not_there_in_the_answer() {
    let mut history = History::at(0);
    history.grant(10, LotKind::Promo, PRIORITY_DEFAULT, Some(50));
    let (spend, _) = history.spend(10);
    history.stored.now_s = 60;
    let events = history.reverse(spend, None);
    let last = events.last().unwrap().movement().unwrap();
    assert_eq!(last.account, Account::default(), "{events:?}");
}

/// A lot that was used up is forgotten, so what a failed refund gives back is a new lot; what a reversal gives back to the
/// forgotten one goes there, too. Two lots of one purchase would pay twice: each claw-back saw only one of them.
#[test]
fn a_purchase_has_one_lot_whatever_came_back_to_it() {
    let used_up_and_back = || {
        let mut history = History::at(0);
        let given = history.grant(200, LotKind::Bonus, 200, None);
        history.buy(90, Some(50));
        let (spend, _) = history.spend(60);
        history.refund("re_1", 300);
        history.refund_fails("re_1", 300);
        history.reverse(spend, None);
        (history, given)
    };
    let (mut history, given) = used_up_and_back();
    history.refund("re_2", 900);
    assert_eq!(history.lots(), [(given, 200)]);

    let (mut history, given) = used_up_and_back();
    history.stored.now_s = 50;
    history.refund("re_2", 900);
    assert_eq!(history.lots(), [(given, 200)]);
}

/// Each of them comes back to a lot that may be a row: they are asked for together.
#[test]
fn many_holds_time_out_in_few_rounds() {
    let mut history = History::at(0);
    let kept: Vec<i64> = (0..5)
        .map(|_| history.grant(10, LotKind::Bonus, 1, None))
        .collect();
    for _ in 0..40 {
        history.bonus(1);
    }
    let first = history.hold(50, 1000);
    for time in 0..40 {
        history.hold(1, 100 + time);
    }
    history.release(first).unwrap();
    assert_eq!(history.lots().len(), kept.len());
    history.stored.now_s = 500;
    history.stored.rounds = 0;
    assert_eq!(history.settle().len(), 40);
    assert!(history.stored.rounds <= 2, "{}", history.stored.rounds);
    assert_eq!(history.stored.look(&user()).account, history.account());
    assert_eq!(history.account().available(), 90);
}

/// In one decision, however many: the database ends a transaction that is left alone for 3 s.
#[test]
fn thousands_of_holds_that_time_out_at_once_are_all_settled() {
    const HOLDS: i64 = 20_000;
    let mut user = User::default();
    let act = |user: &mut User, command: &UserCommand| {
        let events = user.decide(command).unwrap();
        for event in &events {
            user.evolve(event);
        }
        events
    };
    let grant = UserCommand::Grant(GrantCredits {
        user_id: self::user(),
        credits: credits(HOLDS),
        kind: LotKind::Bonus,
        priority: PRIORITY_DEFAULT,
        expires_at_s: None,
        reason: "because".to_owned(),
        actor: "somebody".to_owned(),
    });
    act(&mut user, &grant);
    let hold = UserCommand::Hold {
        hold: HoldCredits {
            user_id: self::user(),
            credits: credits(1),
            lasts_s: 100,
            note: Note::default(),
        },
        at_s: 0,
    };
    let mut holds = Vec::new();
    for position in 0..HOLDS {
        let mut events = act(&mut user, &hold);
        let Some(UserEvent::CreditsHeld(event)) = events.pop() else {
            panic!("no hold");
        };
        let place = Place { shard: 0, position };
        holds.push(Hold::placed(place, self::user(), event));
    }
    let wanted = Wanted {
        due_until_s: Some(100),
        ..Wanted::default()
    };
    let read = ReadRows {
        holds,
        ..ReadRows::default()
    };
    user.take_in(&wanted, read);
    let events = act(&mut user, &UserCommand::Settle { at_s: 100 });
    assert_eq!(events.len(), 20_000);
    assert_eq!((user.account.available(), user.due_at_s()), (HOLDS, None));
}

#[test]
fn a_spend_over_thousands_of_lots_takes_few_rounds_and_the_state_stays_small() {
    const LOTS: i64 = 10_000;
    let mut history = History::at(0);
    let grant = Command::GrantCredits(GrantCredits {
        user_id: user(),
        credits: credits(1),
        kind: LotKind::Promo,
        priority: PRIORITY_DEFAULT,
        expires_at_s: Some(1_900_000_000),
        reason: "because".to_owned(),
        actor: "somebody".to_owned(),
    });
    let hundred = Command::Together(vec![grant; 100]);
    for _ in 0..LOTS / 100 {
        history.run(&hundred).unwrap();
    }
    assert!(history.stored.state(&user()).len() < 2048);
    history.stored.rounds = 0;
    let (spend, taken) = history.spend(LOTS - 1000);
    assert_eq!(taken.len(), 9000);
    assert!(history.stored.rounds <= 6, "{}", history.stored.rounds);
    assert_eq!(history.stored.lots.len() + 2, 1000);
    history.reverse(spend, Some(5000));
    assert_eq!(history.available(), 6000);
    history.stored.now_s = 1_900_000_000;
    history.stored.rounds = 0;
    assert_eq!(history.settle().len(), 1);
    assert_eq!(history.stored.rounds, 1);
    assert_eq!(history.account(), Account::default());
    assert!(history.stored.lots.is_empty());
    assert!(history.stored.state(&user()).len() < 2048);
}
