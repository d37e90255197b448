//! What must hold when all is quiet again: every fact once, nothing lost, everybody has what they should.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

use chrono::{TimeDelta, Utc};
use credit_ledger::audit::{replay, what_if};
use credit_ledger::config::{Config, OtherRules};
use tokio_postgres::Client;

use super::backend::assert_may_be;
use super::{World, sequence};
use crate::support::app::SERVICE_KEY;
use crate::support::eventually;
use crate::support::integrity::assert_database_is_whole;
use crate::support::lives::{Worth, name_line, plan_line, razorpay, stripe};

pub async fn all_that_must_hold(world: &World) {
    let stage = &world.stage;
    stage.ready().await;
    let sql = stage.sql().await;
    comes_to_rest(world, &sql).await;
    every_delivery_is_stored(world, &sql).await;
    every_fact_is_booked_once(world, &sql).await;
    every_call_is_booked_once(world, &sql).await;
    every_buyer_has_what_is_due(world, &sql).await;
    every_buyer_has_the_plan_that_is_due(world, &sql).await;
    every_buyer_has_the_newest_name(world, &sql).await;
    sequence::guests_went_by_the_rules(world, &sql).await;
    every_service_says_the_same(world, &sql).await;
    assert_database_is_whole(&stage.database).await;
    the_history_told_again_comes_to_the_same(world).await;
    stage.assert_nobody_fell();
}

async fn number(sql: &Client, query: &str) -> i64 {
    sql.query_one(query, &[]).await.unwrap().get(0)
}

/// Nothing is left to be done, now or later.
async fn comes_to_rest(world: &World, sql: &Client) {
    let idle = async || {
        eventually("nothing is left to be done", async || {
            (number(sql, "select count(*) from outbox").await == 0).then_some(())
        })
        .await;
    };
    let nothing_parked = async |when: &str| {
        let what = format!("what was parked is taken up {when}");
        eventually(&what, async || {
            let parked = "select count(*) from inbox where outcome = 'parked'";
            (number(sql, parked).await == 0).then_some(())
        })
        .await;
    };
    idle().await;
    // What became known wakes what waits for it, without the timer.
    nothing_parked("before time passes").await;
    // Whatever waits for its time has it now.
    world.stage.pass(TimeDelta::hours(72));
    nothing_parked("when its time has come").await;
    idle().await;
}

async fn every_delivery_is_stored(world: &World, sql: &Client) {
    let rows = sql
        .query("select source, body, key from inbox", &[])
        .await
        .unwrap();
    let stored: BTreeSet<(String, Vec<u8>)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let acknowledged = world.books.acknowledged.lock().unwrap();
    for (told, status) in &*acknowledged {
        let key = (told.source.to_string(), told.body.clone().into_bytes());
        assert!(
            stored.contains(&key),
            "said to be {status}, and lost: {told:?}"
        );
    }
    // What was forged is not there; what an API was asked is kept, too.
    let told: BTreeSet<&[u8]> = acknowledged
        .iter()
        .map(|(told, _)| told.body.as_bytes())
        .collect();
    for row in rows
        .iter()
        .filter(|row| !row.get::<_, String>(2).starts_with("api:"))
    {
        let body: &[u8] = row.get(1);
        assert!(
            told.contains(body),
            "nobody said {}",
            String::from_utf8_lossy(body)
        );
    }
    world
        .books
        .checked
        .fetch_add(acknowledged.len(), Ordering::Relaxed);
}

async fn every_fact_is_booked_once(world: &World, sql: &Client) {
    let twice = "select event_type || ' ' || about || ' ' || count(*)
        from (select event_type, concat_ws(' ', aggregate_id, payload->>'purchase_id', payload->>'refund_id',
                                           payload->>'dispute_id', payload->>'stage') as about
                from events
               where event_type in ('UserRegistered', 'SignupBonusGranted', 'UserDeleted', 'PaymentCaptured',
                                    'CreditsPurchased', 'PurchaseClaimed', 'RefundFailed', 'PaymentDisputed', 'DisputeWon', 'DisputeLost')
                  or event_type = 'PaymentRefunded' and payload->>'refund_id' is not null) as facts
        group by event_type, about having count(*) > 1";
    let rows = sql.query(twice, &[]).await.unwrap();
    let twice: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(twice, Vec::<String>::new(), "booked twice");
    let recorded = world.books.recorded_by_frontend.lock().unwrap().clone();
    assert!(recorded.values().all(|times| *times == 1), "{recorded:?}");
    let events = number(sql, "select count(*) from events").await;
    world
        .books
        .checked
        .fetch_add(usize::try_from(events).unwrap(), Ordering::Relaxed);
}

/// What backends asked for and were given, and nothing else.
async fn every_call_is_booked_once(world: &World, sql: &Client) {
    let booked = "select aggregate_id, shard || '-' || position from events
        where source = 'api' and aggregate_type = 'user'
          and event_type in ('CreditsGranted', 'CreditsSpent', 'CreditsHeld', 'HoldCaptured', 'SpendReversed')
        union all
        select aggregate_id, shard || '-' || position from events
        where event_type = 'HoldReleased' and payload->>'timed_out_at' is null and payload->>'timed_out_at_s' is null";
    let rows = sql.query(booked, &[]).await.unwrap();
    let booked: BTreeSet<(String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let done = world.books.done.lock().unwrap();
    let given: BTreeSet<(String, String)> = done
        .iter()
        .map(|done| (done.user_id.clone(), done.place.to_string()))
        .collect();
    assert_eq!(given.len(), done.len(), "two calls, one entry");
    let lost: Vec<_> = given.difference(&booked).collect();
    let odd: Vec<_> = booked.difference(&given).collect();
    assert!(
        lost.is_empty() && odd.is_empty(),
        "lost: {lost:?}, nobody's: {odd:?}"
    );
    world.books.checked.fetch_add(done.len(), Ordering::Relaxed);
}

/// A plain model that knows sets of facts and no order.
async fn every_buyer_has_what_is_due(world: &World, sql: &Client) {
    let mut moved: BTreeMap<String, i64> = BTreeMap::new();
    for done in &*world.books.done.lock().unwrap() {
        *moved.entry(done.user_id.clone()).or_default() += done.delta;
    }
    let stored = "select user_id, balance, held, debt from balance where user_id like 'user\\_%'";
    let rows = sql.query(stored, &[]).await.unwrap();
    let stored: BTreeMap<String, [i64; 3]> = rows
        .iter()
        .map(|row| (row.get(0), [row.get(1), row.get(2), row.get(3)]))
        .collect();
    let mut due = BTreeMap::new();
    for (number, buyer) in world.plan.buyers.iter().enumerate() {
        let user_id = format!("user_{number}");
        let bought = [
            Worth::of_purchases(&buyer.of_razorpay, razorpay::TELLER.pack),
            Worth::of_purchases(&buyer.of_stripe, stripe::TELLER.pack),
        ];
        let mut worth = Worth::of_sign_up(&buyer.of_razorpay);
        for some in bought.into_iter().flatten() {
            worth = worth.and(some);
        }
        worth.net += moved.get(&user_id).copied().unwrap_or_default();
        if stored.contains_key(&user_id) || worth != Worth::default() {
            due.insert(user_id, worth.account());
        }
    }
    assert_eq!(stored, due);
    world.books.checked.fetch_add(due.len(), Ordering::Relaxed);
}

async fn lines(sql: &Client, query: &str) -> BTreeSet<String> {
    let rows = sql.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What subscriptions come to, whatever order they were told in.
async fn every_buyer_has_the_plan_that_is_due(world: &World, sql: &Client) {
    let stored = "select format('%s|%s', user_id, plan) from users where plan is not null";
    let buyers = world.plan.buyers.iter().enumerate();
    let due = buyers.filter_map(|(number, buyer)| plan_line(number, &buyer.of_stripe));
    assert_eq!(lines(sql, stored).await, due.collect());
}

/// The newest change of a profile by its own time, whenever it was told.
async fn every_buyer_has_the_newest_name(world: &World, sql: &Client) {
    let stored =
        "select format('%s|%s', user_id, first_name) from users where first_name is not null";
    let buyers = world.plan.buyers.iter().enumerate();
    let due = buyers.filter_map(|(number, buyer)| name_line(number, &buyer.of_razorpay));
    assert_eq!(lines(sql, stored).await, due.collect());
}

/// Whichever service is asked, it says what is stored.
async fn every_service_says_the_same(world: &World, sql: &Client) {
    let users = "select user_id, balance from balance order by user_id";
    for row in sql.query(users, &[]).await.unwrap() {
        let (user_id, balance): (String, i64) = (row.get(0), row.get(1));
        for number in 0..world.stage.instances.len() {
            let address = world.stage.address(number).unwrap();
            let url = format!("http://{address}/v1/users/{user_id}/balance");
            let answer = world
                .client
                .get(url)
                .bearer_auth(SERVICE_KEY)
                .send()
                .await
                .unwrap();
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_may_be(&body);
            if user_id.starts_with("user_") {
                assert_eq!(body["balance"], balance, "{user_id} at {number}");
            }
        }
    }
}

async fn the_history_told_again_comes_to_the_same(world: &World) {
    let database = &world.stage.database;
    let report = replay::replay(database, &mut |_, _| {}).await.unwrap();
    assert_eq!(report.differences, vec![]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/settings.toml");
    let catalog = Config::load(Some(&file), |_| None).unwrap().rules.catalog;
    let other = OtherRules::default();
    // A moment that is not before any of the history.
    let now = world.stage.now().max(Utc::now()) + TimeDelta::hours(1);
    let report = what_if::what_if(database, &catalog, &other, now, 10, &mut |_, _| {})
        .await
        .unwrap();
    assert_eq!((report.differences, report.refusals), (vec![], vec![]));
}
