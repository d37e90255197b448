//! A day of deliveries, in any order: what it comes to is a function of the set of what was said.
//!
//! The model below knows no streams, no shards and no order. `EXACTLY_ONCE_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{self, SamplePayment, SampleUser};
use proptest::prelude::*;

use crate::support::deliveries::{clerk, razorpay, some_time};
use crate::support::integrity::assert_log_is_whole;
use crate::support::load::{Sent, deliver_all, tally};
use crate::support::random::play_some;
use crate::support::{Options, TestApp};

/// What a delivery says.
#[derive(Debug, Clone)]
enum Said {
    SignedUp(SampleUser),
    Changed(SampleUser),
    Gone(String),
    Captured(SamplePayment),
    OrderPaid(SamplePayment),
}

/// Deliveries in the order in which they happened, and the order in which they come.
#[derive(Debug, Clone)]
struct Day {
    happened: Vec<Said>,
    /// Indexes of `happened`; some twice.
    comes: Vec<usize>,
}

/// One user's day: how often the profile changed, and for each payment whether its events name the user.
#[derive(Debug, Clone)]
struct Person {
    signs_up: bool,
    changes: usize,
    leaves: bool,
    pays_first: bool,
    payments: Vec<Payment>,
}

#[derive(Debug, Clone, Copy)]
enum Payment {
    /// `payment.captured` names the user and the pack.
    Named,
    /// So do `payment.captured` and `order.paid`.
    NamedTwice,
    /// `payment.captured` names nobody, `order.paid` does.
    Completed,
    /// Nothing ever names the user.
    Unclaimed,
    /// It names a user and fits no pack.
    Unpriced,
}

fn person() -> impl Strategy<Value = Person> {
    use Payment::{Completed, Named, NamedTwice, Unclaimed, Unpriced};
    let payment = prop::sample::select(vec![
        Named, Named, NamedTwice, Completed, Completed, Unclaimed, Unpriced,
    ]);
    let payments = prop::collection::vec(payment, 0..5);
    let odds = (
        prop::bool::weighted(0.85),
        0..4_usize,
        prop::bool::weighted(0.25),
        any::<bool>(),
    );
    (odds, payments).prop_map(
        |((signs_up, changes, leaves, pays_first), payments)| Person {
            signs_up,
            changes,
            leaves,
            pays_first,
            payments,
        },
    )
}

fn day() -> impl Strategy<Value = Day> {
    prop::collection::vec(person(), 45..55).prop_flat_map(|people| {
        let happened: Vec<Said> = people
            .iter()
            .enumerate()
            .flat_map(|(number, person)| all_that_is_said(number, person))
            .collect();
        let once: Vec<usize> = (0..happened.len()).collect();
        let again = prop::sample::subsequence(once.clone(), happened.len() / 5);
        again
            .prop_flat_map(move |again| Just([once.clone(), again].concat()).prop_shuffle())
            .prop_map(move |comes| Day {
                happened: happened.clone(),
                comes,
            })
    })
}

fn all_that_is_said(number: usize, person: &Person) -> Vec<Said> {
    let profile = |version: usize| SampleUser {
        user_id: format!("user_{number}"),
        email: (version % 3 != 2).then(|| format!("u{number}v{version}@example.com")),
        first_name: Some(format!("Name {version}")),
        last_name: (version.is_multiple_of(2)).then(|| "Rao".to_owned()),
        // The first two in the same millisecond: then the event's id decides.
        updated_at: some_time() + TimeDelta::seconds(i64::try_from(version / 2).unwrap()),
    };
    let registration = person
        .signs_up
        .then(|| Said::SignedUp(profile(0)))
        .into_iter();
    let changes = (1..=person.changes).map(|version| Said::Changed(profile(version)));
    let payments = person
        .payments
        .iter()
        .enumerate()
        .flat_map(|(nth, payment)| paid(number, nth, *payment));
    let gone = person.leaves.then(|| Said::Gone(format!("user_{number}")));
    let profile: Vec<Said> = registration.chain(changes).collect();
    let payments: Vec<Said> = payments.collect();
    let both = if person.pays_first {
        [payments, profile]
    } else {
        [profile, payments]
    };
    both.into_iter().flatten().chain(gone).collect()
}

fn paid(number: usize, nth: usize, payment: Payment) -> Vec<Said> {
    let named = SamplePayment {
        payment_id: format!("pay_{number}x{nth}"),
        order_id: Some(format!("order_{number}x{nth}")),
        amount_minor: 49_900,
        currency: "INR".to_owned(),
        user_id: Some(format!("user_{number}")),
        sku: Some("credits_500".to_owned()),
        email: None,
        created_at: some_time(),
    };
    let bare = SamplePayment {
        user_id: None,
        sku: None,
        ..named.clone()
    };
    match payment {
        Payment::Named => vec![Said::Captured(named)],
        Payment::NamedTwice => vec![Said::Captured(named.clone()), Said::OrderPaid(named)],
        Payment::Completed => vec![Said::Captured(bare), Said::OrderPaid(named)],
        Payment::Unclaimed => vec![Said::Captured(bare)],
        Payment::Unpriced => vec![Said::Captured(SamplePayment {
            amount_minor: 12_345,
            ..named
        })],
    }
}

/// What is left at the end of the day, one line per row.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// User, registered, deleted, plan, e-mail, first name, last name.
    users: BTreeSet<String>,
    /// Purchase, user, amount, sku, credits.
    purchases: BTreeSet<String>,
    /// User, balance.
    balances: BTreeSet<String>,
}

fn line(columns: &[&dyn std::fmt::Display]) -> String {
    columns
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("|")
}

/// The model: what a set of things said comes to.
fn model(happened: &[Said]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut credits: BTreeMap<String, i64> = BTreeMap::new();
    for user_id in happened
        .iter()
        .filter_map(profile_of)
        .collect::<BTreeSet<_>>()
    {
        let about = || {
            happened
                .iter()
                .enumerate()
                .filter(move |(_, said)| profile_of(said) == Some(user_id))
        };
        let registered = about().any(|(_, said)| matches!(said, Said::SignedUp(_)));
        let deleted = about().any(|(_, said)| matches!(said, Said::Gone(_)));
        let newest = about()
            .filter_map(|(number, said)| match said {
                Said::SignedUp(profile) | Said::Changed(profile) => {
                    Some((profile.updated_at, event_id(number), profile))
                }
                _ => None,
            })
            .max_by_key(|(updated_at, id, _)| (*updated_at, id.clone()))
            .map(|(_, _, profile)| profile)
            .filter(|_| !deleted);
        let text = |read: fn(&SampleUser) -> &Option<String>| {
            newest
                .and_then(|profile| read(profile).clone())
                .unwrap_or_default()
        };
        outcome.users.insert(line(&[
            &user_id,
            &registered,
            &deleted,
            &if registered { "free" } else { "" },
            &text(|profile| &profile.email),
            &text(|profile| &profile.first_name),
            &text(|profile| &profile.last_name),
        ]));
        if registered {
            *credits.entry(user_id.to_owned()).or_default() += 20;
        }
    }
    let payments = happened.iter().filter_map(payment_of);
    for payment_id in payments
        .clone()
        .map(|payment| &payment.payment_id)
        .collect::<BTreeSet<_>>()
    {
        let about: Vec<&SamplePayment> = payments
            .clone()
            .filter(|one| one.payment_id == *payment_id)
            .collect();
        let owner = about.iter().find_map(|payment| payment.user_id.clone());
        let fits = about[0].amount_minor == 49_900;
        outcome.purchases.insert(line(&[
            &format!("razorpay:{payment_id}"),
            &owner.clone().unwrap_or_default(),
            &about[0].amount_minor,
            &if fits { "credits_500" } else { "" },
            &if fits { 500 } else { 0 },
        ]));
        if let Some(owner) = owner.filter(|_| fits) {
            *credits.entry(owner).or_default() += 500;
        }
    }
    outcome.balances = credits
        .iter()
        .map(|(user_id, credits)| line(&[user_id, credits]))
        .collect();
    outcome
}

fn profile_of(said: &Said) -> Option<&str> {
    match said {
        Said::SignedUp(profile) | Said::Changed(profile) => Some(&profile.user_id),
        Said::Gone(user_id) => Some(user_id),
        Said::Captured(_) | Said::OrderPaid(_) => None,
    }
}

fn payment_of(said: &Said) -> Option<&SamplePayment> {
    match said {
        Said::Captured(payment) | Said::OrderPaid(payment) => Some(payment),
        Said::SignedUp(_) | Said::Changed(_) | Said::Gone(_) => None,
    }
}

/// Not in the order in which things happened.
fn event_id(number: usize) -> String {
    format!("msg_{:05}", (number * 7919) % 100_003)
}

fn delivery(number: usize, said: &Said) -> Sent {
    let body = match said {
        Said::SignedUp(profile) => sample::clerk_user_created(profile),
        Said::Changed(profile) => sample::clerk_user_updated(profile),
        Said::Gone(user_id) => sample::clerk_user_deleted(user_id, some_time()),
        Said::Captured(payment) => sample::razorpay_payment_captured(payment),
        Said::OrderPaid(payment) => sample::razorpay_order_paid(payment),
    };
    match payment_of(said) {
        None => (Source::Clerk, clerk(&event_id(number), body.to_string())),
        Some(_) => (
            Source::Razorpay,
            razorpay(&event_id(number), body.to_string()),
        ),
    }
}

/// What the read models say.
async fn stored(app: &TestApp) -> Outcome {
    let sql = app.sql().await;
    let lines = async |query: &str| -> BTreeSet<String> {
        let rows = sql.query(query, &[]).await.unwrap();
        let lines: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(lines.len(), rows.len());
        lines
    };
    Outcome {
        users: lines(
            "select format('%s|%s|%s|%s|%s|%s|%s', user_id, registered::text, deleted::text, plan, email, first_name, last_name)
               from users",
        )
        .await,
        purchases: lines("select format('%s|%s|%s|%s|%s', purchase_id, user_id, amount_minor, sku, credits) from purchases").await,
        balances: lines("select format('%s|%s', user_id, balance) from balance").await,
    }
}

async fn play(day: &Day) {
    let expected = model(&day.happened);
    let sent: Vec<Sent> = day
        .happened
        .iter()
        .enumerate()
        .map(|(number, said)| delivery(number, said))
        .collect();

    let calm = TestApp::start().await;
    tally(&deliver_all(&[&calm], &sent, 1).await);
    assert_eq!(
        stored(&calm).await,
        expected,
        "in the order in which it happened"
    );

    let busy = TestApp::start().await;
    let beside = TestApp::start_on(busy.database.clone(), Options::default()).await;
    let shuffled: Vec<Sent> = day
        .comes
        .iter()
        .map(|number| sent[*number].clone())
        .collect();
    tally(&deliver_all(&[&busy, &beside], &shuffled, 32).await);
    assert_eq!(
        stored(&busy).await,
        expected,
        "shuffled, repeated and side by side"
    );
    assert_log_is_whole(&busy).await;
    busy.assert_audit_is_clean().await;
    busy.assert_own_rules_come_to_the_same().await;
    let repeated = i64::try_from(day.comes.len()).unwrap();
    assert_eq!(
        busy.count("select sum(deliveries)::bigint from inbox")
            .await,
        repeated
    );
    for app in [calm, beside, busy] {
        app.stop().await;
    }
}

#[test]
fn any_order_of_a_day_comes_to_the_same() {
    play_some("EXACTLY_ONCE_SEED", &day(), async |day| play(&day).await);
}
