//! The whole life of purchases, in any order, against a plain model: the balances are a function of the set of facts.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::stored::Stored;
use crate::ledger::command::{
    CapturePayment, DisputePayment, DisputeStanding, Refund, RefundPayment,
};
use crate::ledger::event::{DisputeStage, Price};
use crate::ledger::{
    Account, Command, Credits, Currency, Emitted, Event, LedgerError, Money, Place, Purchase,
    PurchaseId, Rejection, Settlement, States, StreamId, User, UserId, decide,
};

const USER: &str = "user_1";

/// States that grow as the store's do: a stream that is asked for is there, empty.
#[derive(Default)]
pub(super) struct Ledger {
    users: HashMap<UserId, User>,
    purchases: HashMap<PurchaseId, Purchase>,
    /// Of every event so far.
    pub(super) deltas: i64,
}

impl States for Ledger {
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

impl Ledger {
    /// Decides and applies. Returns the types of what happened.
    pub(super) fn run(&mut self, command: &Command) -> Result<Vec<&'static str>, LedgerError> {
        loop {
            match decide(command, self) {
                Ok(emitted) => {
                    let types = emitted.iter().map(|e| e.event.type_name()).collect();
                    for one in &emitted {
                        self.apply(one);
                    }
                    return Ok(types);
                }
                Err(Rejection::NeedsRows(_)) => unreachable!("no user here has many lots"),
                Err(Rejection::Needs(StreamId::User(id))) => {
                    assert!(self.users.insert(id, User::default()).is_none());
                }
                Err(Rejection::Needs(StreamId::Purchase(id))) => {
                    assert!(self.purchases.insert(id, Purchase::default()).is_none());
                }
                Err(Rejection::Refused(error)) => return Err(error),
            }
        }
    }

    fn apply(&mut self, one: &Emitted) {
        match (&one.stream, &one.event) {
            (StreamId::User(id), Event::User(event)) => {
                let user = self.users.get_mut(id).unwrap();
                let before = user.account;
                user.evolve(event);
                let after = user.account;
                let json = serde_json::to_value(event).unwrap();
                let delta = json.get("delta").and_then(serde_json::Value::as_i64);
                assert_eq!(
                    delta.unwrap_or(0),
                    after.balance.get() - before.balance.get(),
                    "{json}"
                );
                assert!(after.debt.is_zero() || after.available() == 0, "{json}");
                self.deltas += delta.unwrap_or(0);
            }
            (StreamId::Purchase(id), Event::Purchase(event)) => {
                self.purchases.get_mut(id).unwrap().evolve(event);
            }
            _ => panic!("an event in a stream of the other type"),
        }
    }

    pub(super) fn plan(&self, user_id: &str) -> Option<String> {
        self.users[&UserId::parse(user_id).unwrap()].plan.clone()
    }

    pub(super) fn account(&self, user_id: &str) -> Account {
        let id = UserId::parse(user_id).unwrap();
        self.users
            .get(&id)
            .map(|user| user.account)
            .unwrap_or_default()
    }
}

pub(super) fn purchase_id(id: &str) -> PurchaseId {
    PurchaseId::parse(id).unwrap()
}

pub(super) fn capture(id: &str, user: Option<&str>, credits: Option<i64>) -> CapturePayment {
    CapturePayment {
        purchase_id: purchase_id(id),
        user_id: user.map(|id| UserId::parse(id).unwrap()),
        claimant: None,
        money: Money::new(900, Currency::parse("USD").unwrap()).unwrap(),
        order_id: None,
        price: credits.map(|credits| Price {
            sku: "pack".to_owned(),
            credits: Credits::new(credits).unwrap(),
            expires_at_s: None,
        }),
        paid_at_s: 1,
        payer: None,
        merges: None,
        refunded_total_minor: 0,
        subscription_id: None,
        subscriber: None,
    }
}

pub(super) fn refund(id: &str, refund_id: &str, amount_minor: i64, failed: bool) -> Command {
    Command::RefundPayment(RefundPayment {
        purchase_id: purchase_id(id),
        refund: Some(Refund {
            refund_id: refund_id.to_owned(),
            amount_minor,
            failed,
        }),
        refunded_total_minor: 0,
    })
}

pub(super) fn refunded_total(id: &str, total_minor: i64) -> Command {
    Command::RefundPayment(RefundPayment {
        purchase_id: purchase_id(id),
        refund: None,
        refunded_total_minor: total_minor,
    })
}

pub(super) fn dispute(
    id: &str,
    dispute_id: &str,
    stage: u32,
    standing: DisputeStanding,
) -> Command {
    Command::DisputePayment(DisputePayment {
        purchase_id: purchase_id(id),
        dispute_id: dispute_id.to_owned(),
        stage: DisputeStage(stage),
        standing,
        currency: None,
    })
}

/// How a dispute ends.
#[derive(Debug, Clone, Copy)]
enum End {
    NotYet,
    Won,
    Lost(i64),
}

/// One purchase of 900 minor units, and all that is said of its money.
#[derive(Debug, Clone)]
struct Life {
    credits: i64,
    /// Amount, and whether it fails in the end.
    refunds: Vec<(i64, bool)>,
    total_minor: i64,
    /// Contested, and how it ends; all of them in another currency.
    disputes: Vec<(i64, End)>,
    abroad: bool,
    /// Its second id is an invoice.
    invoiced: Option<Invoiced>,
}

/// Which ids of an invoiced payment say whose it is, and what it buys: the payment's, the invoice's, or both.
#[derive(Debug, Clone, Copy)]
struct Invoiced {
    user: (bool, bool),
    price: (bool, bool),
}

impl Life {
    fn commands(&self, number: usize) -> Vec<Command> {
        let payment = format!("stripe:pi_{number}");
        let invoice = format!("stripe:in_{number}");
        let mut commands = vec![Command::CapturePayment(Box::new(capture(
            &payment, None, None,
        )))];
        if let Some(Invoiced { user, price }) = self.invoiced {
            // The events of a payment need not say all that it knows.
            for told in [
                capture(&payment, user.0.then_some(USER), None),
                capture(&payment, None, price.0.then_some(self.credits)),
                capture(
                    &invoice,
                    user.1.then_some(USER),
                    price.1.then_some(self.credits),
                ),
            ] {
                commands.push(Command::CapturePayment(Box::new(told)));
            }
            commands.push(Command::MergePayments {
                payment_id: purchase_id(&payment),
                into: purchase_id(&invoice),
            });
        } else {
            let complete = capture(&payment, Some(USER), Some(self.credits));
            commands.push(Command::CapturePayment(Box::new(complete)));
        }
        for (n, (amount, fails)) in self.refunds.iter().enumerate() {
            let id = format!("re_{number}_{n}");
            commands.push(refund(&payment, &id, *amount, false));
            if *fails {
                commands.push(refund(&payment, &id, *amount, true));
            }
        }
        commands.push(refunded_total(&payment, self.total_minor));
        for (n, (amount_minor, end)) in self.disputes.iter().enumerate() {
            let id = format!("du_{number}_{n}");
            let amount_minor = *amount_minor;
            let open = DisputeStanding::Open { amount_minor };
            let mut told = vec![dispute(&payment, &id, 0, open)];
            match *end {
                End::Lost(amount_minor) => {
                    let lost = DisputeStanding::Lost { amount_minor };
                    told.push(dispute(&payment, &id, 1, lost));
                }
                End::Won => told.push(dispute(&payment, &id, 2, DisputeStanding::Won)),
                End::NotYet => {}
            }
            for mut told in told {
                if let Command::DisputePayment(dispute) = &mut told {
                    let code = if self.abroad { "EUR" } else { "USD" };
                    dispute.currency = Some(Currency::parse(code).unwrap());
                }
                commands.push(told);
            }
        }
        commands
    }

    /// What should be left of the credits, and what is contested: straight from the facts.
    fn outcome(&self) -> (i64, i64) {
        let known: i64 = self.refunds.iter().map(|(amount, _)| amount).sum();
        let live: i64 = self
            .refunds
            .iter()
            .filter(|(_, fails)| !fails)
            .map(|(amount, _)| amount)
            .sum();
        let (mut lost, mut open) = (0, 0);
        // In another currency it is about all of it, unless it is about nothing.
        let minor = |minor: i64| if self.abroad && minor > 0 { 900 } else { minor };
        for (amount, end) in &self.disputes {
            match end {
                End::Lost(net) => lost += minor(*net),
                End::NotYet => open += minor(*amount),
                End::Won => {}
            }
        }
        let gone = live + (self.total_minor - known).max(0) + lost;
        let share = |minor: i64| self.credits * minor.min(900) / 900;
        let clawed = share(gone);
        (self.credits - clawed, share(gone + open) - clawed)
    }
}

fn invoiced() -> impl Strategy<Value = Invoiced> {
    let either = || prop::sample::select(vec![(true, false), (false, true), (true, true)]);
    (either(), either()).prop_map(|(user, price)| Invoiced { user, price })
}

prop_compose! {
    fn life()(
        credits in 1..2000_i64,
        refunds in prop::collection::vec((1..600_i64, any::<bool>()), 0..3),
        total_minor in prop_oneof![Just(0), 1..=900_i64],
        disputes in prop::collection::vec(
            (1..=900_i64, prop_oneof![Just(End::NotYet), Just(End::Won), (0..=900_i64).prop_map(End::Lost)]),
            0..3,
        ),
        abroad in prop::bool::weighted(0.2),
        invoiced in prop::option::of(invoiced()),
    ) -> Life {
        Life { credits, refunds, total_minor, disputes, abroad, invoiced }
    }
}

fn shuffled_lives() -> impl Strategy<Value = (Vec<Life>, Vec<Command>)> {
    prop::collection::vec(life(), 1..4).prop_flat_map(|lives| {
        let all: Vec<Command> = lives
            .iter()
            .enumerate()
            .flat_map(|(number, life)| life.commands(number))
            .collect();
        // Everything comes at least once, and some of it twice.
        let twice = all.iter().chain(&all).cloned().collect::<Vec<_>>();
        (Just(lives), Just(twice).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(crate::seeded::seeded())]

    #[test]
    fn any_order_with_duplicates_ends_in_the_same_account((lives, commands) in shuffled_lives()) {
        let mut ledger = Ledger::default();
        for command in &commands {
            ledger.run(command).unwrap();
        }
        let outcomes = lives.iter().map(Life::outcome);
        let (net, disputed) = outcomes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let expected = Account::of(net, Credits::new(disputed).unwrap(), Credits::ZERO).unwrap();
        prop_assert_eq!(ledger.account(USER), expected);
        prop_assert_eq!(ledger.deltas, expected.balance.get());
        // Nothing is left to be said.
        for command in &commands {
            prop_assert_eq!(ledger.run(command).unwrap(), Vec::<&str>::new());
        }
    }

    /// What an auditor's own arithmetic makes of the same facts.
    #[test]
    fn any_order_with_duplicates_is_verified((_, commands) in shuffled_lives()) {
        let mut stored = Stored::default();
        for command in &commands {
            stored.run(command).unwrap();
        }
        stored.verify();
    }

    #[test]
    fn a_full_refund_in_any_parts_takes_back_exactly_everything(
        credits in 1..2000_i64,
        parts in prop::collection::btree_set(1..900_i64, 0..6),
    ) {
        let id = "stripe:pi_1";
        let mut ledger = Ledger::default();
        let paid = Command::CapturePayment(Box::new(capture(id, Some(USER), Some(credits))));
        ledger.run(&paid).unwrap();
        let mut last = 0;
        let ends: BTreeSet<i64> = parts.into_iter().chain([900]).collect();
        for end in ends {
            let before = ledger.account(USER).balance.get();
            ledger.run(&refund(id, &format!("re_{end}"), end - last, false)).unwrap();
            prop_assert!(ledger.account(USER).balance.get() <= before);
            last = end;
        }
        prop_assert_eq!(ledger.account(USER), Account::default());
    }
}
