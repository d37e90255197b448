//! What ends by itself ends to the second, whoever writes it down and whenever.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::upkeep::settling;
use futures_util::future::join_all;
use serde_json::json;

use super::{
    assert_whole, blind, capture, grant, grant_until, hold, last_entry, number, release, remaining,
    reverse, seconds, slices, still, two_still,
};
use crate::support::app::Answer;
use crate::support::{Options, TestApp, eventually};

const USER: &str = "user_1";

/// Everything that shows what a user has.
async fn seen(app: &TestApp) -> [i64; 5] {
    let me = app.get_as(USER, "/v1/me").await.body;
    let user = app.get(&format!("/v1/users/{USER}")).await.body;
    let balance = app.get(&format!("/v1/users/{USER}/balance")).await.body;
    let own = app.get_as(USER, "/v1/me/balance").await.body;
    for other in [&user, &balance, &own] {
        for name in ["balance", "held", "available", "debt"] {
            assert_eq!(me[name], other[name], "{name} of {me} and {other}");
        }
    }
    let in_lots = remaining(app, USER)
        .await
        .iter()
        .map(|(_, left)| left)
        .sum();
    let account = ["balance", "held", "available", "debt"].map(|name| number(&me, name));
    let [balance, held, available, debt] = account;
    [balance, held, available, debt, in_lots]
}

/// Both instances see the same at a time.
async fn seen_at(apps: &[TestApp], at: DateTime<Utc>) -> [i64; 5] {
    for app in apps {
        app.stop_clock(at);
    }
    let seen_by = join_all(apps.iter().map(seen)).await;
    assert!(seen_by.iter().all(|one| *one == seen_by[0]), "{seen_by:?}");
    seen_by[0]
}

fn refused(answer: &Answer, required: i64, available: i64) {
    answer.assert_problem(402, "insufficient_credits");
    answer.assert_has(402, &json!({"required": required, "available": available}));
}

async fn written(app: &TestApp, event_type: &str) -> usize {
    let events = app.events("user", USER).await;
    events.iter().filter(|one| *one == event_type).count()
}

/// As late as can be told apart from the second itself.
fn just_before(second: DateTime<Utc>) -> DateTime<Utc> {
    second - TimeDelta::microseconds(1)
}

#[tokio::test]
async fn credits_end_at_their_second_with_nothing_written() {
    let (apps, now) = two_still().await;
    let ends = now + seconds(100);
    grant(&apps[0], USER, 5, &json!({})).await;
    grant_until(&apps[0], USER, 10, ends).await;
    assert_eq!(seen_at(&apps, just_before(ends)).await, [15, 0, 15, 0, 15]);
    assert_eq!(seen_at(&apps, ends).await, [5, 0, 5, 0, 5]);
    for app in &apps {
        refused(&app.spend(USER, 6).await, 6, 5);
        refused(&app.hold(USER, 6).await, 6, 5);
    }
    assert_eq!(written(&apps[0], "CreditsExpired").await, 0);

    // The next command writes it down first.
    apps[1].spend(USER, 5).await.assert_ok(&json!({"spent": 5}));
    let events = apps[0].events("user", USER).await;
    let tail = &events[events.len() - 2..];
    assert_eq!(tail, ["CreditsExpired", "CreditsSpent"]);
    assert_eq!(seen_at(&apps, ends).await, [0, 0, 0, 0, 0]);
    assert_whole(&apps[0]).await;
    for app in apps {
        app.stop().await;
    }
}

/// A spend just before the end takes what is about to end, and it stays spent.
#[tokio::test]
async fn what_is_spent_in_time_does_not_end() {
    let (app, now) = still().await;
    let ends = now + seconds(100);
    grant_until(&app, USER, 10, ends).await;
    app.stop_clock(just_before(ends));
    let spent = app.spend(USER, 10).await;
    app.stop_clock(ends);
    assert_eq!(seen(&app).await, [0, 0, 0, 0, 0]);
    // What comes back to a lot that is over, ends as it comes.
    reverse(&app, &spent.text("entry_id"), 4)
        .await
        .assert_ok(&json!({"reversed": 4}));
    assert_eq!(seen(&app).await, [0, 0, 0, 0, 0]);
    refused(&app.spend(USER, 1).await, 1, 0);
    assert!(settling::due(&app.app()).await);
    assert_eq!(written(&app, "CreditsExpired").await, 1);
    assert_eq!(slices(&last_entry(&app, USER).await), [(1, 4)]);
    assert_whole(&app).await;
    app.stop().await;
}

/// Upkeep of two instances and a command at once write it down once, and nothing changes by it.
#[tokio::test]
async fn what_ended_is_written_once_whoever_comes_first() {
    let (apps, now) = two_still().await;
    grant(&apps[0], USER, 7, &json!({})).await;
    grant_until(&apps[0], USER, 10, now + seconds(50)).await;
    grant_until(&apps[0], USER, 20, now + seconds(60)).await;
    hold(&apps[0], USER, 3, 55).await;
    let before = seen_at(&apps, now + seconds(70)).await;
    assert_eq!(before, [7, 0, 7, 0, 7]);

    let [one, other] = [apps[0].app(), apps[1].app()];
    let (first, second, spent) = tokio::join!(
        settling::due(&one),
        settling::due(&other),
        apps[1].spend(USER, 2)
    );
    drop((one, other));
    assert!(first && second);
    spent.assert_ok(&json!({"spent": 2, "balance": 5}));
    // The hold came back to a lot that was over, and ended as it came.
    assert_eq!(written(&apps[0], "CreditsExpired").await, 3);
    assert_eq!(written(&apps[0], "HoldReleased").await, 1);
    assert_eq!(seen_at(&apps, now + seconds(70)).await, [5, 0, 5, 0, 5]);
    let events = apps[0].count("select count(*) from events").await;
    assert!(settling::due(&apps[0].app()).await);
    assert_eq!(apps[0].count("select count(*) from events").await, events);
    assert_whole(&apps[0]).await;
    for app in apps {
        app.stop().await;
    }
}

/// The running service does it unasked.
#[tokio::test]
async fn upkeep_writes_down_what_ended() {
    let restless = Options {
        configure: Arc::new(|config| config.upkeep_every = Duration::from_millis(20)),
        ..Options::default()
    };
    let app = TestApp::start_with(restless).await;
    let ends = DateTime::from_timestamp(app.now().timestamp() + 3600, 0).unwrap();
    grant_until(&app, USER, 10, ends).await;
    hold(&app, USER, 4, 60).await;
    app.move_clock(TimeDelta::hours(2));
    eventually("what ended is written down", async || {
        let events = app.events("user", USER).await;
        (events.last().unwrap() == "CreditsExpired").then_some(())
    })
    .await;
    assert_eq!(written(&app, "HoldReleased").await, 1);
    assert_eq!(seen(&app).await, [0, 0, 0, 0, 0]);
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_hold_times_out_at_its_second_with_nothing_written() {
    let (apps, now) = two_still().await;
    grant(&apps[0], USER, 10, &json!({})).await;
    let held = hold(&apps[0], USER, 6, 60).await;
    let over = now + seconds(60);
    assert_eq!(seen_at(&apps, just_before(over)).await, [10, 6, 4, 0, 4]);
    assert_eq!(seen_at(&apps, over).await, [10, 0, 10, 0, 10]);
    for answer in [
        capture(&apps[0], &held, 6).await,
        release(&apps[1], &held).await,
    ] {
        answer.assert_problem(409, "hold_resolved");
        assert_eq!(answer.body["resolution"], "timed_out", "{answer:?}");
    }
    assert_eq!(written(&apps[0], "HoldReleased").await, 0);
    apps[1]
        .spend(USER, 10)
        .await
        .assert_ok(&json!({"spent": 10, "balance": 0}));
    assert_eq!(written(&apps[0], "HoldReleased").await, 1);
    assert_whole(&apps[0]).await;
    for app in apps {
        app.stop().await;
    }
}

/// Credits that are held do not end; they do when they come back too late.
#[tokio::test]
async fn a_hold_outlives_the_lots_it_took_from() {
    let (app, now) = still().await;
    grant(&app, USER, 5, &json!({})).await;
    grant_until(&app, USER, 10, now + seconds(100)).await;
    let [captured, released, timed_out] = [
        hold(&app, USER, 3, 1000).await,
        hold(&app, USER, 3, 1000).await,
        hold(&app, USER, 3, 200).await,
    ];
    app.stop_clock(now + seconds(100));
    assert_eq!(seen(&app).await, [14, 9, 5, 0, 5]);
    capture(&app, &captured, 2)
        .await
        .assert_ok(&json!({"captured": 2, "released": 1}));
    assert_eq!(seen(&app).await, [11, 6, 5, 0, 5]);
    release(&app, &released)
        .await
        .assert_ok(&json!({"released": 3}));
    assert_eq!(seen(&app).await, [8, 3, 5, 0, 5]);
    app.stop_clock(now + seconds(199));
    release(&app, &released)
        .await
        .assert_problem(409, "hold_resolved");
    assert_eq!(seen(&app).await, [8, 3, 5, 0, 5]);
    app.stop_clock(now + seconds(200));
    capture(&app, &timed_out, 1)
        .await
        .assert_problem(409, "hold_resolved");
    assert_eq!(seen(&app).await, [5, 0, 5, 0, 5]);
    assert!(settling::due(&app.app()).await);
    assert_eq!(seen(&app).await, [5, 0, 5, 0, 5]);
    assert_whole(&app).await;
    app.stop().await;
}

/// Many holds that time out together, each over a lot of its own that is far from burning: reads and commands go on.
#[tokio::test]
async fn many_holds_that_time_out_together_come_back_to_their_lots() {
    let (app, now) = still().await;
    for _ in 0..20 {
        grant(&app, USER, 10, &json!({"priority": 200})).await;
        hold(&app, USER, 4, 60).await;
        // Little is left of each, so that each hold takes from other lots.
        app.spend(USER, 5).await.assert_ok(&json!({"spent": 5}));
    }
    for _ in 0..80 {
        grant(&app, USER, 1, &json!({"priority": 1})).await;
    }
    assert_eq!(seen(&app).await, [180, 80, 100, 0, 100]);
    app.stop_clock(now + seconds(60));
    assert_eq!(seen(&app).await, [180, 0, 180, 0, 180]);
    app.spend(USER, 180).await.assert_ok(&json!({"balance": 0}));
    assert_whole(&app).await;
    app.stop().await;
}

/// An instance that was off while credits ended says the same as one that was there.
#[tokio::test]
async fn a_service_that_was_off_meanwhile_sees_what_ended() {
    let (app, now) = still().await;
    grant_until(&app, USER, 10, now + seconds(30)).await;
    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, blind()).await;
    app.stop_clock(now + seconds(30));
    assert_eq!(seen(&app).await, [0, 0, 0, 0, 0]);
    assert_whole(&app).await;
    app.stop().await;
}
