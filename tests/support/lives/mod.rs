//! Random lives of purchases, as each provider tells of them, and what they come to: a plain model, which knows sets of
//! facts and no order.

pub mod razorpay;
pub mod stripe;

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{self, SampleUser};
use proptest::prelude::*;

use super::deliveries::{some_time, user};
use super::told::Told;

/// One user, and what becomes of what the user buys.
#[derive(Debug, Clone)]
pub struct Person {
    pub signs_up: bool,
    pub leaves: bool,
    /// How often the name is another.
    pub renamed: i32,
    pub purchases: Vec<Life>,
    pub plan: Plan,
}

/// How a subscription goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Never,
    Runs,
    Ended,
}

/// One payment and what becomes of its money.
#[derive(Debug, Clone)]
pub struct Life {
    /// Which of the provider's ways to pay.
    pub way: usize,
    /// Which of the events tell of the payment, as bits; the provider's module says what they mean.
    pub told: u8,
    /// Some event names the user. If none does, the payer's address is the user's.
    pub named: bool,
    pub refunds: Vec<Refund>,
    /// Refunds are told by their sum alone.
    pub only_sums: bool,
    pub disputes: Vec<(i64, End)>,
}

/// A part of the payment, in thousandths, that went back.
#[derive(Debug, Clone, Copy)]
pub struct Refund {
    pub thousandths: i64,
    pub fails: bool,
}

/// How a dispute ends; parts in thousandths.
#[derive(Debug, Clone, Copy)]
pub enum End {
    NotYet,
    Won,
    Lost { returned: i64 },
}

/// What a way to pay costs and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    pub amount_minor: i64,
    pub credits: i64,
    /// Money goes back only where there is some.
    pub refundable: bool,
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

pub fn person(ways: usize) -> impl Strategy<Value = Person> {
    let plan = prop::sample::select(vec![Plan::Never, Plan::Runs, Plan::Ended]);
    (
        prop::bool::weighted(0.85),
        prop::bool::weighted(0.15),
        0..3,
        prop::collection::vec(life(ways), 0..4),
        plan,
    )
        .prop_map(|(signs_up, leaves, renamed, purchases, plan)| Person {
            signs_up,
            leaves,
            renamed,
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
pub fn part(amount_minor: i64, thousandths: i64) -> i64 {
    (amount_minor * thousandths / 1000).max(1)
}

impl Person {
    /// Whether a payment that names nobody finds this user by the address, whenever it comes.
    pub fn is_found(&self) -> bool {
        self.signs_up && !self.leaves
    }

    /// Whether a payment is this user's in the end.
    fn gets(&self, life: &Life) -> bool {
        life.named || self.is_found()
    }

    /// A user who leaves can not be matched any more; when depends on the order. So such payments are all named.
    pub fn settled(mut self) -> Self {
        let leaves = self.leaves;
        for life in &mut self.purchases {
            life.named |= leaves;
        }
        self
    }
}

/// What somebody is due: all that was given less all that was taken back, and how much of it is disputed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worth {
    pub net: i64,
    pub disputed: i64,
}

impl Worth {
    pub fn of_sign_up(person: &Person) -> Self {
        Self {
            net: if person.signs_up { 20 } else { 0 },
            disputed: 0,
        }
    }

    /// None: no purchase is the person's.
    pub fn of_purchases(person: &Person, pack: fn(&Life) -> Pack) -> Option<Self> {
        let theirs = person.purchases.iter().filter(|life| person.gets(life));
        let worths = theirs.map(|life| {
            let (clawed, disputed) = withheld(life, pack(life));
            let net = pack(life).credits - clawed;
            Self { net, disputed }
        });
        worths.reduce(Self::and)
    }

    pub const fn and(self, other: Self) -> Self {
        Self {
            net: self.net + other.net,
            disputed: self.disputed + other.disputed,
        }
    }

    /// Balance, held, debt.
    pub fn account(self) -> [i64; 3] {
        let balance = self.net.max(0);
        let held = self.disputed.min(balance);
        [balance, held, (self.disputed - self.net).max(0)]
    }
}

/// The model: user, balance, held, debt, straight from the facts.
pub fn balance_line(number: usize, person: &Person, pack: fn(&Life) -> Pack) -> Option<String> {
    let bonus = Worth::of_sign_up(person);
    let bought = Worth::of_purchases(person, pack);
    if !person.signs_up && bought.is_none() {
        return None;
    }
    let [balance, held, debt] = bonus.and(bought.unwrap_or_default()).account();
    Some(format!("user_{number}|{balance}|{held}|{debt}"))
}

pub fn withheld(life: &Life, pack: Pack) -> (i64, i64) {
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
pub struct Teller {
    pub ways: usize,
    pub pack: fn(&Life) -> Pack,
    /// Every delivery about one purchase of one user.
    pub tell: fn(number: usize, nth: usize, life: &Life, email: &str) -> Vec<Told>,
    /// Every delivery about the user's subscription.
    pub tell_plan: fn(number: usize, person: &Person) -> Vec<Told>,
    /// Whether subscriptions set plans.
    pub plans: bool,
}

pub fn deliveries(teller: Teller, people: &[Person]) -> Vec<Told> {
    let mut sent = Vec::new();
    for (number, person) in people.iter().enumerate() {
        let profile = user(&format!("user_{number}"));
        if person.signs_up {
            let body = sample::clerk_user_created(&profile);
            let id = format!("msg_{number}_created");
            sent.push(Told::new(Source::Clerk, id, body));
            for nth in 1..=person.renamed {
                let body = sample::clerk_user_updated(&SampleUser {
                    first_name: Some(name(nth)),
                    updated_at: profile.updated_at + TimeDelta::seconds(nth.into()),
                    ..profile.clone()
                });
                let id = format!("msg_{number}_updated_{nth}");
                sent.push(Told::new(Source::Clerk, id, body));
            }
        }
        if person.leaves {
            let user_id = &profile.user_id;
            let body = sample::clerk_user_deleted(user_id, some_time());
            let id = format!("msg_{number}_deleted");
            sent.push(Told::new(Source::Clerk, id, body));
        }
        let email = profile.email.unwrap();
        for (nth, life) in person.purchases.iter().enumerate() {
            sent.extend((teller.tell)(number, nth, life, &email));
        }
        sent.extend((teller.tell_plan)(number, person));
    }
    sent
}

fn name(nth: i32) -> String {
    match nth {
        0 => "Asha".to_owned(),
        nth => format!("Asha {nth}"),
    }
}

/// Whoever stays has the newest name; nothing is known of who left, or never came.
pub fn name_line(number: usize, person: &Person) -> Option<String> {
    let stays = person.signs_up && !person.leaves;
    stays.then(|| format!("user_{number}|{}", name(person.renamed)))
}

pub fn plan_line(number: usize, person: &Person) -> Option<String> {
    let plan = match person.plan {
        Plan::Runs => "pro",
        Plan::Ended => "free",
        Plan::Never if person.signs_up => "free",
        Plan::Never => return None,
    };
    Some(format!("user_{number}|{plan}"))
}
