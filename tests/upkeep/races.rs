//! A payment that names nobody and the address that it was paid with, proven at the same moment on other instances: each
//! is looked at after its own commit, so whichever comes last sees the other. No timer helps.

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{SamplePayment, SampleUser};
use credit_ledger::provider::sign::SignedDelivery;
use futures_util::future::{join, join_all};
use serde_json::json;

use super::only_told;
use crate::support::deliveries::{captured, created, deleted, payment, unique, updated, user};
use crate::support::integrity::assert_log_is_whole;
use crate::support::{TestApp, eventually};

const ROUNDS: usize = 100;

/// Instances of one database.
async fn instances(count: usize) -> Vec<TestApp> {
    let first = TestApp::start_with(only_told()).await;
    let database = first.database.clone();
    let mut apps = vec![first];
    for _ in 1..count {
        apps.push(TestApp::start_on(database.clone(), only_told()).await);
    }
    apps
}

fn paid_by(email: &str) -> SamplePayment {
    SamplePayment {
        email: Some(email.to_owned()),
        ..payment(None)
    }
}

async fn deliver(app: &TestApp, source: Source, delivery: &SignedDelivery) {
    let answer = app.deliver(source, delivery).await;
    answer.assert_ok(&json!({"status": "recorded"}));
}

/// Waits until nothing is left to look at, then fails if a purchase is nobody's, or somebody has not 520 credits.
async fn assert_none_missed(apps: &[TestApp], expected: usize) {
    let sql = apps[0].sql().await;
    eventually("all that was left has been looked at", async || {
        let left = "select not exists (select from outbox)";
        let row = sql.query_one(left, &[]).await.unwrap();
        row.get::<_, bool>(0).then_some(())
    })
    .await;
    let missed = "select count(*) from purchases where user_id is null";
    let row = sql.query_one(missed, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0, "purchases that nobody has found");
    let whole = "select count(*) from balance where balance = 520";
    let row = sql.query_one(whole, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::try_from(expected).unwrap());
    apps[0].assert_audit_is_clean().await;
    assert_log_is_whole(&apps[0]).await;
}

/// Each round on the instances that its number says; `payment_first` alone says which of both is sent first.
async fn race(apps: &[TestApp], payment_first: bool) {
    for round in 0..ROUNDS {
        let mut who = user(&unique("user_"));
        who.email = Some(format!("{}@example.com", who.user_id));
        let paid = paid_by(who.email.as_ref().unwrap());
        let (pays, proves) = (&apps[round % apps.len()], &apps[(round + 1) % apps.len()]);
        let (paid, sign_up) = (captured(&paid), created(&who));
        let pay = deliver(pays, Source::Razorpay, &paid);
        let prove = deliver(proves, Source::Clerk, &sign_up);
        if payment_first {
            join(pay, prove).await;
        } else {
            join(prove, pay).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_and_a_sign_up_at_the_same_moment_on_two_instances_find_each_other() {
    let apps = instances(2).await;
    race(&apps, true).await;
    assert_none_missed(&apps, ROUNDS).await;
    race(&apps, false).await;
    assert_none_missed(&apps, 2 * ROUNDS).await;
    join_all(apps.into_iter().map(TestApp::stop)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_and_a_sign_up_at_the_same_moment_on_three_instances_find_each_other() {
    let apps = instances(3).await;
    race(&apps, true).await;
    assert_none_missed(&apps, ROUNDS).await;
    join_all(apps.into_iter().map(TestApp::stop)).await;
}

/// As long as two have it, it is nobody's; whoever gives it up is the last to be looked at.
#[tokio::test]
async fn an_address_that_one_of_two_gives_up_is_the_others() {
    let app = TestApp::start_with(only_told()).await;
    for by_deletion in [true, false] {
        let email = format!("{}@example.com", unique("shared"));
        let (mut before, mut after) = (user(&unique("user_")), user(&unique("user_")));
        before.email = Some(email.clone());
        after.email = Some(email.clone());
        deliver(&app, Source::Clerk, &created(&before)).await;
        deliver(&app, Source::Clerk, &created(&after)).await;
        deliver(&app, Source::Razorpay, &captured(&paid_by(&email))).await;
        app.idle().await;
        assert_eq!(app.balance(&after.user_id).await, 20);
        deliver(&app, Source::Clerk, &gives_up(&before, by_deletion)).await;
        app.idle().await;
        assert_eq!(app.balance(&after.user_id).await, 520, "{by_deletion}");
    }
    assert_log_is_whole(&app).await;
    app.stop().await;
}

/// Somebody's deletion, or a newer profile with another address.
fn gives_up(who: &SampleUser, by_deletion: bool) -> SignedDelivery {
    if by_deletion {
        return deleted(&who.user_id);
    }
    updated(&SampleUser {
        email: Some(format!("{}@example.com", unique("new"))),
        updated_at: who.updated_at + TimeDelta::minutes(1),
        ..who.clone()
    })
}

/// One user gives the address up, another proves it, and somebody pays with it, each at another instance: whoever has
/// the address alone in the end has the purchase, unless the one before had it alone when that was looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_finds_a_user_while_its_address_is_taken_over() {
    let apps = instances(3).await;
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let email = format!("{}@example.com", unique("shared"));
        let (mut before, mut after) = (user(&unique("user_")), user(&unique("user_")));
        before.email = Some(email.clone());
        after.email = Some(email.clone());
        deliver(&apps[0], Source::Clerk, &created(&before)).await;
        let given_up = gives_up(&before, round % 2 == 0);
        let paid = paid_by(&email);
        let (paid, taken) = (captured(&paid), created(&after));
        join_all([
            deliver(&apps[round % 3], Source::Razorpay, &paid),
            deliver(&apps[(round + 1) % 3], Source::Clerk, &given_up),
            deliver(&apps[(round + 2) % 3], Source::Clerk, &taken),
        ])
        .await;
        expected.push((before.user_id, after.user_id));
    }
    assert_none_missed(&apps, ROUNDS).await;
    let sql = apps[0].sql().await;
    for (before, after) in expected {
        let had = "select count(*) from purchases where user_id in ($1, $2)";
        let row = sql.query_one(had, &[&before, &after]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 1, "{before} or {after}");
    }
    join_all(apps.into_iter().map(TestApp::stop)).await;
}
