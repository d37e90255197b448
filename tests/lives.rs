//! Random lives of purchases, as each provider tells of them: shuffled, repeated, over several connections and
//! instances. What is left is compared with a plain model, which knows sets of facts and no order.
//!
//! `LIVES_SEED` repeats a run.

mod razorpay;
mod stripe;

use std::collections::BTreeSet;
use std::sync::Arc;

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample;
use proptest::prelude::*;

use crate::support::deliveries::{clerk, some_time, user};
use crate::support::integrity::assert_log_is_whole;
use crate::support::load::{Sent, deliver_all, tally};
use crate::support::random::play_some;
use crate::support::{Options, TestApp};

/// One user, and what becomes of what the user buys.
#[derive(Debug, Clone)]
struct Person {
    signs_up: bool,
    leaves: bool,
    purchases: Vec<Life>,
    plan: Plan,
}

/// How a subscription goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Never,
    Runs,
    Ended,
}

/// One payment and what becomes of its money.
#[derive(Debug, Clone)]
struct Life {
    /// Which of the provider's ways to pay.
    way: usize,
    /// Which of the events tell of the payment, as bits; the provider's module says what they mean.
    told: u8,
    /// Some event names the user. If none does, the payer's address is the user's.
    named: bool,
    refunds: Vec<Refund>,
    /// Refunds are told by their sum alone.
    only_sums: bool,
    disputes: Vec<(i64, End)>,
}

/// A part of the payment, in thousandths, that went back.
#[derive(Debug, Clone, Copy)]
struct Refund {
    thousandths: i64,
    fails: bool,
}

/// How a dispute ends; parts in thousandths.
#[derive(Debug, Clone, Copy)]
enum End {
    NotYet,
    Won,
    Lost { returned: i64 },
}

/// What a way to pay costs and gives.
#[derive(Debug, Clone, Copy)]
struct Pack {
    amount_minor: i64,
    credits: i64,
    /// Money goes back only where there is some.
    refundable: bool,
}

fn life(ways: usize) -> impl Strategy<Value = Life> {
    let refund = (1..500_i64, prop::bool::weighted(0.3))
        .prop_map(|(thousandths, fails)| Refund { thousandths, fails });
    let end = prop_oneof![
        Just(End::NotYet),
        Just(End::Won),
        (0..=1000_i64).prop_map(|returned| End::Lost { returned }),
    ];
    (
        (0..ways, any::<u8>(), prop::bool::weighted(0.8)),
        prop::collection::vec(refund, 0..3),
        prop::bool::weighted(0.3),
        prop::collection::vec((1..=1000_i64, end), 0..2),
    )
        .prop_map(|((way, told, named), refunds, only_sums, disputes)| Life {
            way,
            told,
            named,
            only_sums: only_sums && refunds.iter().all(|refund| !refund.fails),
            refunds,
            disputes,
        })
}

fn person(ways: usize) -> impl Strategy<Value = Person> {
    let plan = prop::sample::select(vec![Plan::Never, Plan::Runs, Plan::Ended]);
    (
        prop::bool::weighted(0.85),
        prop::bool::weighted(0.15),
        prop::collection::vec(life(ways), 0..4),
        plan,
    )
        .prop_map(|(signs_up, leaves, purchases, plan)| Person {
            signs_up,
            leaves,
            purchases,
            plan,
        })
}

/// A purchase as a provider tells of it.
struct Payment<'a> {
    life: &'a Life,
    /// What its ids end in.
    key: String,
    /// Whom its events name.
    user_id: Option<String>,
    /// Who paid.
    email: &'a str,
}

impl<'a> Payment<'a> {
    fn of(number: usize, nth: usize, life: &'a Life, email: &'a str) -> Self {
        Self {
            life,
            key: format!("{number}x{nth}"),
            user_id: life.named.then(|| format!("user_{number}")),
            email,
        }
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.key)
    }

    fn told(&self, bit: u8) -> bool {
        self.life.told & (1 << bit) != 0
    }
}

/// A part of an amount.
fn part(amount_minor: i64, thousandths: i64) -> i64 {
    (amount_minor * thousandths / 1000).max(1)
}

impl Person {
    /// Whether a payment that names nobody finds this user by the address, whenever it comes.
    fn is_found(&self) -> bool {
        self.signs_up && !self.leaves
    }

    /// A user who leaves can not be matched any more; when depends on the order. So such payments are all named.
    fn settled(mut self) -> Self {
        let leaves = self.leaves;
        for life in &mut self.purchases {
            life.named |= leaves;
        }
        self
    }
}

/// The model: user, balance, held, debt, straight from the facts.
fn balance_line(number: usize, person: &Person, pack: fn(&Life) -> Pack) -> Option<String> {
    let bonus = if person.signs_up { 20 } else { 0 };
    let (mut net, mut disputed) = (bonus, 0);
    let given: Vec<&Life> = person
        .purchases
        .iter()
        .filter(|life| life.named || person.is_found())
        .collect();
    for life in &given {
        let pack = pack(life);
        let (clawed, contested) = withheld(life, pack);
        net += pack.credits - clawed;
        disputed += contested;
    }
    if bonus == 0 && given.is_empty() {
        return None;
    }
    let balance = net.max(0);
    let (held, debt) = (disputed.min(balance), (disputed - net).max(0));
    Some(format!("user_{number}|{balance}|{held}|{debt}"))
}

fn withheld(life: &Life, pack: Pack) -> (i64, i64) {
    if !pack.refundable {
        return (0, 0);
    }
    let mut gone = 0;
    for refund in life.refunds.iter().filter(|refund| !refund.fails) {
        gone += part(pack.amount_minor, refund.thousandths);
    }
    let mut open = 0;
    for (thousandths, end) in &life.disputes {
        let amount = part(pack.amount_minor, *thousandths);
        match end {
            End::NotYet => open += amount,
            End::Won => {}
            End::Lost { returned } => gone += amount - amount * returned / 1000,
        }
    }
    let share = |minor: i64| pack.credits * minor.min(pack.amount_minor) / pack.amount_minor;
    (share(gone), share(gone + open) - share(gone))
}

/// One provider's telling.
#[derive(Clone, Copy)]
struct Teller {
    ways: usize,
    pack: fn(&Life) -> Pack,
    /// Every delivery about one purchase of one user.
    tell: fn(number: usize, nth: usize, life: &Life, email: &str) -> Vec<Sent>,
    /// Every delivery about the user's subscription.
    tell_plan: fn(number: usize, plan: Plan) -> Vec<Sent>,
    /// Whether subscriptions set plans.
    plans: bool,
}

fn deliveries(teller: Teller, people: &[Person]) -> Vec<Sent> {
    let mut sent = Vec::new();
    for (number, person) in people.iter().enumerate() {
        let profile = user(&format!("user_{number}"));
        if person.signs_up {
            let body = sample::clerk_user_created(&profile);
            let id = format!("msg_{number}_created");
            sent.push((Source::Clerk, clerk(&id, body.to_string())));
        }
        if person.leaves {
            let user_id = &profile.user_id;
            let body = sample::clerk_user_deleted(user_id, some_time());
            let id = format!("msg_{number}_deleted");
            sent.push((Source::Clerk, clerk(&id, body.to_string())));
        }
        let email = profile.email.unwrap();
        for (nth, life) in person.purchases.iter().enumerate() {
            sent.extend((teller.tell)(number, nth, life, &email));
        }
        sent.extend((teller.tell_plan)(number, person.plan));
    }
    sent
}

async fn lines(app: &TestApp, query: &str) -> BTreeSet<String> {
    let rows = app.sql().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn plan_line(number: usize, person: &Person) -> Option<String> {
    let plan = match person.plan {
        Plan::Runs => "pro",
        Plan::Ended => "free",
        Plan::Never if person.signs_up => "free",
        Plan::Never => return None,
    };
    Some(format!("user_{number}|{plan}"))
}

async fn play(teller: Teller, people: Vec<Person>, comes: Vec<Sent>) {
    let quick = Options {
        configure: Arc::new(|config| {
            stripe::configure(config);
            config.upkeep_every = std::time::Duration::from_millis(50);
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(quick.clone()).await;
    let beside = TestApp::start_on(app.database.clone(), quick).await;
    tally(&deliver_all(&[&app, &beside], &comes, 24).await);
    app.idle().await;
    let people = || people.iter().enumerate();
    let balances: BTreeSet<String> = people()
        .filter_map(|(number, person)| balance_line(number, person, teller.pack))
        .collect();
    let stored = "select format('%s|%s|%s|%s', user_id, balance, held, debt) from balance";
    assert_eq!(lines(&app, stored).await, balances);
    if teller.plans {
        let plans: BTreeSet<String> = people().filter_map(|(n, p)| plan_line(n, p)).collect();
        let stored = "select format('%s|%s', user_id, plan) from users where plan is not null";
        assert_eq!(lines(&app, stored).await, plans);
    }
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.assert_own_rules_come_to_the_same().await;
    beside.stop().await;
    app.stop().await;
}

/// Plays some random lives.
fn run(teller: Teller) {
    let settled = person(teller.ways).prop_map(Person::settled);
    let people = prop::collection::vec(settled, 20..30);
    let strategy = people.prop_flat_map(move |people| {
        let once: Vec<usize> = (0..deliveries(teller, &people).len()).collect();
        let again = prop::sample::subsequence(once.clone(), once.len() / 4);
        again.prop_flat_map(move |again| {
            let all = [once.clone(), again].concat();
            (Just(people.clone()), Just(all).prop_shuffle())
        })
    });
    play_some("LIVES_SEED", &strategy, async |(people, order)| {
        let sent = deliveries(teller, &people);
        let comes = order.iter().map(|number| sent[*number].clone()).collect();
        play(teller, people, comes).await;
    });
}
