//! The order in which lots burn, and where credits come back to.

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use futures_util::future::join_all;
use serde_json::json;

use super::{
    assert_whole, capture, grant, grant_until, hold, last_entry, lots, number, release, remaining,
    reverse, seconds, shown, slices, still, two_still, walk,
};
use crate::support::TestApp;
use crate::support::deliveries::{captured, payment};

const USER: &str = "user_1";

/// Pays for the pack of 100 credits, which ends after 365 days, or the one of 500, which never does.
async fn pay(app: &TestApp, sku: &str) -> (String, String) {
    let mut paid = payment(Some(USER));
    paid.sku = Some(sku.to_owned());
    paid.amount_minor = if sku == "credits_100" { 9_900 } else { 49_900 };
    paid.created_at = app.now();
    let delivery = captured(&paid);
    app.deliver(Source::Razorpay, &delivery)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let purchase_id = format!("razorpay:{}", paid.payment_id);
    (purchase_id, delivery.headers[1].1.clone())
}

/// By priority, then what ends soonest, then given before paid, then the oldest.
#[tokio::test]
async fn lots_burn_by_priority_then_end_then_gift_then_age() {
    let (app, now) = still().await;
    pay(&app, "credits_500").await; // lot 1
    grant(&app, USER, 10, &json!({})).await;
    grant(&app, USER, 10, &json!({"kind": "promo"})).await;
    grant_until(&app, USER, 10, now + TimeDelta::days(2)).await;
    grant_until(&app, USER, 10, now + TimeDelta::days(1)).await;
    let late = json!({"priority": 101, "expires_at": shown(now + seconds(60))});
    grant(&app, USER, 10, &late).await;
    grant(&app, USER, 10, &json!({"priority": 5})).await;
    pay(&app, "credits_100").await; // lot 8
    grant_until(&app, USER, 10, now + TimeDelta::days(365)).await;

    let mut order = vec![
        (7, 10),
        (5, 10),
        (4, 10),
        (9, 10),
        (8, 100),
        (2, 10),
        (3, 10),
        (1, 500),
        (6, 10),
    ];
    let mut balance: i64 = order.iter().map(|(_, credits)| credits).sum();
    while balance > 0 {
        let amount = balance.min(37);
        app.spend(USER, amount)
            .await
            .assert_ok(&json!({"spent": amount}));
        let mut left = amount;
        let mut expected = Vec::new();
        while left > 0 {
            let (lot, credits) = &mut order[0];
            let taken = left.min(*credits);
            expected.push((*lot, taken));
            *credits -= taken;
            left -= taken;
            order.retain(|(_, credits)| *credits > 0);
        }
        balance -= amount;
        assert_eq!(slices(&last_entry(&app, USER).await), expected);
        let mut open = order.clone();
        open.sort_unstable();
        assert_eq!(remaining(&app, USER).await, open);
        assert_eq!(app.balance(USER).await, balance);
    }
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_spend_names_the_purchase_and_the_purchase_its_event() {
    let (app, now) = still().await;
    let (purchase_id, event_id) = pay(&app, "credits_100").await;
    grant(&app, USER, 10, &json!({})).await;
    let ends = shown(now + TimeDelta::days(365));
    let lot = &lots(&app, USER).await[1];
    let of_lot = json!({
        "lot_id": 1, "kind": "paid", "amount": 100, "remaining": 100, "contested": 0, "expires_at": ends, "priority": 100,
        "purchase_id": purchase_id, "source": "razorpay", "provider_event_id": event_id,
        "entry_id": lot["entry_id"], "recorded_at": shown(now),
    });
    assert_eq!(lot, &of_lot);

    app.spend(USER, 105).await.assert_ok(&json!({"spent": 105}));
    let entries = walk(&app, &format!("/v1/users/{USER}/entries"), 200).await;
    let [spent, granted, purchased] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(
        spent["slices"],
        json!([
            {"lot_id": 1, "credits": 100, "kind": "paid", "expires_at": ends, "purchase_id": purchase_id,
             "entry_id": purchased["entry_id"], "provider_event_id": event_id},
            {"lot_id": 2, "credits": 5, "kind": "bonus", "expires_at": null, "purchase_id": null,
             "entry_id": granted["entry_id"], "provider_event_id": null},
        ])
    );
    assert_eq!(purchased["purchase_id"], json!(purchase_id));
    assert_eq!(purchased["provider_event_id"], json!(event_id));
    assert_eq!(purchased["entry_id"], of_lot["entry_id"]);
    assert_eq!(
        (granted["slices"].clone(), purchased["slices"].clone()),
        (json!([]), json!([]))
    );
    let left = &lots(&app, USER).await[0];
    assert_eq!((number(left, "amount"), number(left, "remaining")), (10, 5));
    assert_eq!(left["entry_id"], granted["entry_id"]);
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_reversal_gives_back_to_the_same_lots_the_last_one_first() {
    let (app, now) = still().await;
    for days in 1..=3 {
        grant_until(&app, USER, 10, now + TimeDelta::days(days)).await;
    }
    let spent = app.spend(USER, 25).await;
    assert_eq!(
        slices(&last_entry(&app, USER).await),
        [(1, 10), (2, 10), (3, 5)]
    );
    // A lot that is open again and one that was used up.
    reverse(&app, &spent.text("entry_id"), 12)
        .await
        .assert_ok(&json!({"reversed": 12, "balance": 17}));
    let entry = last_entry(&app, USER).await;
    assert_eq!(entry["about"], spent.body["entry_id"]);
    assert_eq!(slices(&entry), [(2, 7), (3, 5)]);
    assert_eq!(remaining(&app, USER).await, [(2, 7), (3, 10)]);
    let again = reverse(&app, &spent.text("entry_id"), 1).await;
    again.assert_problem(409, "already_reversed");

    // What is used of a hold is a spend like any other.
    let captured = capture(&app, &hold(&app, USER, 9, 60).await, 8).await;
    assert_eq!(remaining(&app, USER).await, [(3, 9)]);
    reverse(&app, &captured.text("entry_id"), 8)
        .await
        .assert_ok(&json!({"balance": 17}));
    assert_eq!(remaining(&app, USER).await, [(2, 7), (3, 10)]);
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_held_is_in_no_lot_until_it_comes_back() {
    let (app, now) = still().await;
    grant_until(&app, USER, 10, now + TimeDelta::days(1)).await;
    grant(&app, USER, 10, &json!({})).await;
    let held = hold(&app, USER, 14, 60).await;
    assert_eq!(app.account(USER).await, [20, 14, 6, 0]);
    assert_eq!(remaining(&app, USER).await, [(2, 6)]);
    // The first to burn of what is held is used, the rest comes back.
    capture(&app, &held, 3)
        .await
        .assert_ok(&json!({"captured": 3, "released": 11}));
    assert_eq!(app.account(USER).await, [17, 0, 17, 0]);
    assert_eq!(remaining(&app, USER).await, [(1, 7), (2, 10)]);
    let held = hold(&app, USER, 17, 60).await;
    assert_eq!(remaining(&app, USER).await, []);
    release(&app, &held)
        .await
        .assert_ok(&json!({"released": 17, "available": 17}));
    assert_eq!(remaining(&app, USER).await, [(1, 7), (2, 10)]);
    assert_whole(&app).await;
    app.stop().await;
}

/// Spends of two instances at once never take a credit twice, and none is left that somebody was refused.
#[tokio::test]
async fn racing_spends_share_the_lots_out() {
    let (apps, now) = two_still().await;
    for days in 1..=60 {
        grant_until(&apps[0], USER, 5, now + TimeDelta::days(days)).await;
    }
    let spends = (0..40).map(|number| apps[number % 2].spend(USER, 10));
    let answers = join_all(spends).await;
    let refused = answers.iter().filter(|answer| answer.status == 402).count();
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((taken, refused), (30, 10));
    assert_eq!(remaining(&apps[1], USER).await, []);

    let entries = walk(&apps[0], &format!("/v1/users/{USER}/entries"), 200).await;
    let spent = entries.iter().filter(|entry| number(entry, "delta") < 0);
    let mut lots: Vec<(i64, i64)> = spent.flat_map(slices).collect();
    lots.sort_unstable();
    let whole: Vec<(i64, i64)> = (1..=60).map(|lot| (lot, 5)).collect();
    assert_eq!(lots, whole);
    assert_whole(&apps[0]).await;
    for app in apps {
        app.stop().await;
    }
}
