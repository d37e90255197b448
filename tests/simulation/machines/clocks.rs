//! Clocks of instances that are wrong: by more than a bound nothing is decided, by less nothing goes back.

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::instance::COMPARES_CLOCKS;
use crate::link::{Point, Then, comes};
use crate::load::{BYSTANDER, Load};
use crate::stage::{Cluster, Stage};
use crate::support::eventually;

const BYSTANDERS: usize = 8;
const GRANTED: i64 = 50;
const HELD: i64 = 10;

async fn stage(cluster: &Cluster) -> Arc<Stage> {
    let settings = vec![(COMPARES_CLOCKS.to_owned(), "1".to_owned())];
    Stage::of_two(cluster, cluster.database().await, settings).await
}

async fn is_ready(stage: &Stage, number: usize) -> bool {
    let (status, _) = stage
        .call(number, Method::GET, "/health/ready", &Value::Null)
        .await;
    status.is_success()
}

fn bystander(number: usize) -> String {
    format!("{BYSTANDER}_{number}")
}

/// They have credits and a hold that end in an hour.
async fn give_to_bystanders(stage: &Stage) {
    let end = Utc::now() + TimeDelta::hours(1);
    let end = end.to_rfc3339_opts(SecondsFormat::Secs, true);
    for number in 0..BYSTANDERS {
        let user = bystander(number);
        let grant = json!({"amount": GRANTED, "reason": "a test", "expires_at": end});
        let hold = json!({"amount": HELD, "expires_in_s": 3600});
        for (what, body) in [("grants", grant), ("holds", hold)] {
            let path = format!("/v1/users/{user}/{what}");
            let (status, said) = stage.call(1, Method::POST, &path, &body).await;
            assert!(status.is_success(), "{said}");
        }
    }
}

/// The first instance says of everything that depends on the time that it can not.
async fn assert_refuses(stage: &Stage) {
    let user = bystander(0);
    let spends = format!("/v1/users/{user}/spends");
    let balance = format!("/v1/users/{user}/balance");
    for (method, path, body) in [
        (Method::POST, spends, json!({"amount": 1})),
        (Method::GET, balance, Value::Null),
        (Method::GET, "/health/ready".to_owned(), Value::Null),
    ] {
        let (status, said) = stage.call(0, method, &path, &body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {said}");
        let detail = said["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("the database's"), "{path}: {said}");
    }
}

/// Nothing ended, and no time of the far future is anywhere.
async fn assert_nothing_ended_early(stage: &Stage) {
    let sql = stage.sql().await;
    let ended =
        "select count(*) from events where event_type in ('CreditsExpired', 'HoldReleased')";
    assert_eq!(sql.query_one(ended, &[]).await.unwrap().get::<_, i64>(0), 0);
    let ahead = "select count(*) from (select recorded_at from events union all select recorded_at from heads \
                 union all select sealed_at from seals) as times \
                 where recorded_at > clock_timestamp() + interval '30 s'";
    assert_eq!(sql.query_one(ahead, &[]).await.unwrap().get::<_, i64>(0), 0);
    for number in 0..BYSTANDERS {
        let path = format!("/v1/users/{}/balance", bystander(number));
        let (_, said) = stage.call(0, Method::GET, &path, &Value::Null).await;
        assert_eq!(
            (&said["balance"], &said["held"]),
            (&json!(GRANTED), &json!(HELD)),
            "{said}"
        );
    }
}

/// The log is read a moment after it is written.
async fn says(stage: &Stage, number: usize, what: &str, times: usize) {
    eventually("the log says so", async || {
        (times_said(stage, number, what) == times).then_some(())
    })
    .await;
}

fn times_said(stage: &Stage, number: usize, what: &str) -> usize {
    stage.instances[number].log().matches(what).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_clock_is_far_off_decides_nothing_until_it_is_right() {
    let cluster = Cluster::start().await;
    let stage = stage(&cluster).await;
    give_to_bystanders(&stage).await;
    let load = Load::start(&stage, 8);
    load.goes_on(10).await;
    let wrong = [
        TimeDelta::days(400),
        TimeDelta::days(-1),
        TimeDelta::minutes(61),
        TimeDelta::seconds(-40),
    ];
    for by in wrong {
        // The clock jumps between the look at it, if there was one, and the batch.
        let jumping = Arc::clone(&stage);
        let sprung = stage.links[0].arm(Point::Asked("load_batch"), Then::Pass, move || {
            jumping.skew(0, by);
        });
        comes(sprung, "a batch").await;
        assert_refuses(&stage).await;
        load.goes_on(10).await;
        assert_eq!(stage.instances[0].starts(), 1);
        stage.skew(0, TimeDelta::zero());
        load.recovers().await;
    }
    says(&stage, 0, "the database's clock is wrong", wrong.len()).await;
    says(&stage, 0, "agree again", wrong.len()).await;
    assert_eq!(times_said(&stage, 1, "the database's clock is wrong"), 0);
    assert_nothing_ended_early(&stage).await;
    let seen = load.finish().await;
    assert!(seen.unavailable > 0, "the first instance was asked, too");
    drop(stage);
    cluster.end().await;
}

/// As after a failover to a machine whose clock is wrong: seen from the instances it is theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_databases_clock_is_wrong_everything_waits_until_it_is_right() {
    let cluster = Cluster::start().await;
    let stage = stage(&cluster).await;
    let load = Load::start(&stage, 8);
    load.goes_on(10).await;
    for number in 0..2 {
        stage.skew(number, TimeDelta::hours(-1));
    }
    for number in 0..2 {
        assert!(!is_ready(&stage, number).await);
        says(&stage, number, "the database's clock is wrong", 1).await;
    }
    // What was decided before may come to its end.
    eventually("nothing is decided any more", async || {
        let before = load.done();
        tokio::time::sleep(Duration::from_millis(300)).await;
        (load.done() == before).then_some(())
    })
    .await;
    for number in 0..2 {
        stage.skew(number, TimeDelta::zero());
    }
    load.recovers().await;
    load.finish().await;
    drop(stage);
    cluster.end().await;
}

/// Steps that a clock which is looked after makes. What was recorded later has a later time, in every shard and stream:
/// the auditor's check of times is in the end of every load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_step_forth_and_back_a_little_write_no_time_backwards() {
    let cluster = Cluster::start().await;
    let stage = stage(&cluster).await;
    let load = Load::start(&stage, 8);
    for seconds in [25, -25, 25, 0] {
        stage.skew(0, TimeDelta::seconds(seconds));
        stage.skew(1, TimeDelta::seconds(-seconds));
        load.goes_on(10).await;
    }
    assert_eq!(times_said(&stage, 0, "the database's clock is wrong"), 0);
    let seen = load.finish().await;
    assert_eq!(seen.unavailable, 0);
    drop(stage);
    cluster.end().await;
}
