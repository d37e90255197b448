//! A user with thousands of open lots is a user like any other.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    assert_whole, grant, last_entry, number, remaining, reverse, seconds, shown, slices, still,
    walk,
};
use crate::support::TestApp;

const USER: &str = "user_1";
const LOTS: &str = "/v1/users/user_1/lots";
/// The most that the state of a user may be, in bytes: far from what its lots are.
const STATE_BYTES_MAX: i64 = 16 * 1024;

async fn state_bytes(app: &TestApp) -> i64 {
    app.count(
        "select coalesce(max(length(state::text)), 0)::bigint from streams where aggregate_type = 'user'",
    )
    .await
}

/// 1,000 grants of 1 credit in one request, each on the terms of its number.
async fn grant_thousand(app: &TestApp, terms: impl Fn(i64) -> Value) {
    let item = |number: i64| {
        let mut item = json!({"type": "grant", "user_id": USER, "amount": 1, "reason": "a test"});
        let terms = terms(number).as_object().unwrap().clone();
        item.as_object_mut().unwrap().extend(terms);
        item
    };
    let items: Vec<Value> = (0..1000).map(item).collect();
    let body = json!({"mode": "atomic", "items": items});
    let answer = app.post_new("/v1/bulk", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn three_thousand_open_lots() {
    let (app, now) = still().await;
    // Some never end, some end within a thousand seconds, some are last by priority; the orders of age and burning differ.
    grant_thousand(&app, |_| json!({})).await;
    grant_thousand(
        &app,
        |number| json!({"expires_at": shown(now + seconds(2000 - number))}),
    )
    .await;
    grant_thousand(&app, |number| json!({"priority": 255 - number % 50})).await;
    assert_eq!(app.account(USER).await, [3000, 0, 3000, 0]);
    assert!(state_bytes(&app).await < STATE_BYTES_MAX);
    let ids: Vec<i64> = remaining(&app, USER)
        .await
        .iter()
        .map(|lot| lot.0)
        .collect();
    assert_eq!(ids, (1..=3000).collect::<Vec<i64>>());

    // One call over most of them, in the order of burning.
    let spent = app.spend(USER, 2100).await;
    spent.assert_ok(&json!({"spent": 2100, "available": 900}));
    let took = slices(&last_entry(&app, USER).await);
    assert!(took.iter().all(|(_, credits)| *credits == 1));
    let mut order: Vec<i64> = (1001..=2000).rev().chain(1..=1000).collect();
    let mut late: Vec<i64> = (2001..=3000).collect();
    late.sort_by_key(|lot| (255 - (lot - 2001) % 50, *lot));
    order.extend(&late);
    let took: Vec<i64> = took.iter().map(|(lot, _)| *lot).collect();
    assert_eq!(took, order[..2100]);
    let mut left = order[2100..].to_vec();
    left.sort_unstable();
    let ids: Vec<i64> = remaining(&app, USER)
        .await
        .iter()
        .map(|lot| lot.0)
        .collect();
    assert_eq!(ids, left);
    assert!(state_bytes(&app).await < STATE_BYTES_MAX);

    // Back to where they were, the last ones first.
    reverse(&app, &spent.text("entry_id"), 1600)
        .await
        .assert_ok(&json!({"reversed": 1600, "available": 2500}));
    let mut left = order[500..].to_vec();
    left.sort_unstable();
    let ids: Vec<i64> = remaining(&app, USER)
        .await
        .iter()
        .map(|lot| lot.0)
        .collect();
    assert_eq!(ids, left);
    assert!(state_bytes(&app).await < STATE_BYTES_MAX);

    // Hundreds end in one moment: those that end by then of the 500 that are open and end at all.
    app.stop_clock(now + seconds(1800));
    let ended = order[500..1000].iter().filter(|lot| **lot > 1200).count();
    let left = 2500 - i64::try_from(ended).unwrap();
    assert_eq!(app.account(USER).await, [left, 0, left, 0]);
    assert_eq!(
        remaining(&app, USER).await.len(),
        usize::try_from(left).unwrap()
    );
    app.spend(USER, 1)
        .await
        .assert_ok(&json!({"available": left - 1}));
    app.stop_clock(now + TimeDelta::days(365));
    assert_eq!(app.account(USER).await, [2000, 0, 2000, 0]);
    assert!(state_bytes(&app).await < STATE_BYTES_MAX);
    assert_whole(&app).await;
    app.stop().await;
}

/// What is written while somebody reads page after page shifts none of them.
#[tokio::test]
async fn a_walk_over_lots_misses_none_and_sees_none_twice() {
    let (app, _) = still().await;
    grant_thousand(&app, |number| json!({"priority": number % 7})).await;
    let before: Vec<i64> = walk(&app, LOTS, 200)
        .await
        .iter()
        .map(|lot| number(lot, "lot_id"))
        .collect();
    assert_eq!(before, (1..=1000).rev().collect::<Vec<i64>>());
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app.get(&format!("{LOTS}?limit=90{cursor}")).await;
        let items = page.body["items"].as_array().unwrap();
        walked.extend(items.iter().map(|lot| number(lot, "lot_id")));
        let Some(next) = page.body["next_cursor"].as_str() else {
            break;
        };
        assert_eq!(items.len(), 90);
        cursor = format!("&cursor={next}");
        // A new one, and one in the front: what burns first was seen or will not be missed, for it is gone.
        grant(&app, USER, 1, &json!({"priority": 250})).await;
        grant(&app, USER, 1, &json!({"priority": 0})).await;
    }
    assert_eq!(walked, before);
    assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), 1000);
    assert_whole(&app).await;
    app.stop().await;
}
