//! Random lives of purchases, as each provider tells of them: shuffled, repeated, over several connections and
//! instances. What is left is compared with a plain model, which knows sets of facts and no order.
//!
//! `LIVES_SEED` repeats a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use crate::support::integrity::assert_log_is_whole;
use crate::support::lives::{
    Person, Teller, balance_line, deliveries, name_line, person, plan_line, razorpay, stripe,
};
use crate::support::load::{Sent, deliver_all, tally};
use crate::support::random::play_some;
use crate::support::{Options, TestApp, eventually};

async fn lines(app: &TestApp, query: &str) -> BTreeSet<String> {
    let rows = app.sql().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
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
    eventually("what was parked is taken up", async || {
        let parked = "select count(*) from inbox where outcome = 'parked'";
        (app.count(parked).await == 0).then_some(())
    })
    .await;
    app.idle().await;
    let people = || people.iter().enumerate();
    let balances: BTreeSet<String> = people()
        .filter_map(|(number, person)| balance_line(number, person, teller.pack))
        .collect();
    let stored = "select format('%s|%s|%s|%s', user_id, balance, held, debt) from balance";
    assert_eq!(lines(&app, stored).await, balances);
    let names: BTreeSet<String> = people().filter_map(|(n, p)| name_line(n, p)).collect();
    let stored =
        "select format('%s|%s', user_id, first_name) from users where first_name is not null";
    assert_eq!(lines(&app, stored).await, names);
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
        let comes = order.iter().map(|number| {
            let told = &sent[*number];
            (told.source, told.signed())
        });
        let comes = comes.collect();
        play(teller, people, comes).await;
    });
}

#[test]
fn any_order_of_lives_told_by_razorpay_comes_to_the_same() {
    run(razorpay::TELLER);
}

#[test]
fn any_order_of_lives_told_by_stripe_comes_to_the_same() {
    run(stripe::TELLER);
}
