//! What a decision takes, on states that are there: the rules alone.

use std::hint::black_box;

use anyhow::{Context as _, ensure};
use credit_ledger::ledger::{
    self, Command, Emitted, Event, Place, Purchase, PurchaseId, Settlement, States, User, UserId,
};
use criterion::Criterion;

use super::deliveries::Subjects;

/// One user, and a purchase of which nothing is known.
#[derive(Default)]
struct Known {
    user: User,
    purchase: Purchase,
}

impl States for Known {
    fn user(&self, _: &UserId) -> Option<&User> {
        Some(&self.user)
    }

    fn purchase(&self, _: &PurchaseId) -> Option<&Purchase> {
        Some(&self.purchase)
    }

    fn settlement(&self, _: Place) -> Option<Settlement> {
        None
    }

    fn at_s(&self) -> i64 {
        0
    }
}

/// A sign-up, and a payment of whoever signed up by it.
pub fn measure(criterion: &mut Criterion, subjects: &Subjects) -> anyhow::Result<()> {
    let sign_up = subjects.command(&subjects.clerk)?;
    let payment = subjects.command(&subjects.razorpay)?;
    let nobody = Known::default();
    let mut registered = Known::default();
    for emitted in decide(&sign_up, &nobody)? {
        if let Event::User(event) = &emitted.event {
            registered.user.evolve(event);
        }
    }
    let mut group = criterion.benchmark_group("decide");
    for (name, command, states) in [
        ("a sign-up", &sign_up, &nobody),
        ("a payment of a known user", &payment, &registered),
    ] {
        ensure!(decide(command, states)?.len() == 2, "{name} is two events");
        group.bench_function(name, |bencher| {
            bencher.iter(|| ledger::decide(black_box(command), states));
        });
    }
    group.finish();
    Ok(())
}

fn decide(command: &Command, states: &Known) -> anyhow::Result<Vec<Emitted>> {
    let decided = ledger::decide(command, states);
    decided.ok().context("nothing stands against it")
}
