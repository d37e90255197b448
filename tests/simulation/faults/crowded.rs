//! Others on the same server are in the way.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use credit_ledger::postgres::{ConnectOptions, PostgresError};
use credit_ledger::projection::rebuild;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::super::load::BYSTANDER;
use super::Scene;
use crate::support::eventually;

/// Longer than anybody waits for a lock.
const IN_THE_WAY: Duration = Duration::from_secs(9);

/// Others have all connections that the server gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_get_no_connection_come_back_when_there_are_some() {
    let scene = Scene::set(2).await;
    let options = ConnectOptions::default();
    for link in &scene.stage.links {
        link.refuse(true);
        link.cut();
    }
    let mut taken = Vec::new();
    let full = loop {
        match scene.stage.database.connect_as_login(&options).await {
            Ok(session) => taken.push(session),
            Err(PostgresError::Connect { source, .. }) => break source,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(full.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{full}");
    for link in &scene.stage.links {
        link.refuse(false);
    }
    sleep(Duration::from_secs(3)).await;
    for number in 0..2 {
        assert!(!scene.stage.is_ready(number).await, "it got a connection");
    }
    drop(taken);
    scene.load.recovers().await;
    let seen = scene.end_answered().await;
    assert!(seen.unavailable > 0, "somebody was told");
}

/// Somebody locks what every batch writes or reads, or waits for a lock that nobody passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_a_table_is_waited_for_a_while_and_then_said() {
    let scene = Scene::set(2).await;
    for lock in [
        "lock table events in share mode",
        "lock table heads, balance, api_keys in access exclusive mode",
    ] {
        let mut sql = scene.stage.sql().await;
        let transaction = sql.transaction().await.unwrap();
        transaction.batch_execute(lock).await.unwrap();
        sleep(IN_THE_WAY).await;
        transaction.rollback().await.unwrap();
        scene.load.recovers().await;
    }
    let seen = scene.end_answered().await;
    assert!(seen.unavailable > 0, "somebody was told");
}

/// A long read keeps a change of a table waiting, and everybody waits behind that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_for_a_long_read_is_survived() {
    let scene = Scene::set(2).await;
    let mut reading = scene.stage.sql().await;
    let reads = reading.transaction().await.unwrap();
    reads
        .query("select count(*) from events", &[])
        .await
        .unwrap();
    let changing = scene.stage.sql().await;
    let change = tokio::spawn(async move {
        let sql = "begin; lock table events in access exclusive mode; commit";
        changing.batch_execute(sql).await.unwrap();
    });
    sleep(IN_THE_WAY).await;
    assert!(!change.is_finished());
    reads.rollback().await.unwrap();
    change.await.unwrap();
    scene.load.recovers().await;
    scene.end_answered().await;
}

/// In another database of the same server somebody writes and does not come to an end. What is only sure once whoever began
/// before has ended must not wait for those of other databases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_writing_transaction_elsewhere_in_the_cluster_holds_nothing_up() {
    let scene = Scene::set(2).await;
    let elsewhere = scene.cluster.database().await;
    let options = ConnectOptions::default();
    // Open until the server stops.
    let writing = elsewhere.connect_as_login(&options).await.unwrap();
    let begin = "begin; create table notes (); select pg_current_xact_id()";
    writing.batch_execute(begin).await.unwrap();
    let ends = (Utc::now() + TimeDelta::seconds(2)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let grant = json!({"amount": 50, "reason": "a test", "expires_at": ends});
    let path = format!("/v1/users/{BYSTANDER}/grants");
    let (status, said) = scene.stage.call(0, Method::POST, &path, &grant).await;
    assert!(status.is_success(), "{said}");
    let sql = scene.stage.sql().await;
    eventually("the credits end", async || {
        let ended = "select from events where aggregate_id = $1 and event_type = 'CreditsExpired'";
        let rows = sql.query(ended, &[&BYSTANDER]).await.unwrap();
        (!rows.is_empty()).then_some(())
    })
    .await;
    eventually("their end is sealed", async || {
        let sealed = "select exists (select from events e join seals s
                        on e.position <= s.positions[array_position(s.shards, e.shard)]
                      where e.aggregate_id = $1 and e.event_type = 'CreditsExpired')";
        let sealed: bool = sql.query_one(sealed, &[&BYSTANDER]).await.unwrap().get(0);
        sealed.then_some(())
    })
    .await;
    let rebuilt = rebuild::rebuild(&scene.stage.database, "balance", &mut |_, _| {}).await;
    rebuilt.unwrap();
    scene.load.recovers().await;
    let open = "select state from pg_stat_activity where datname = $1 and xact_start is not null";
    let open = sql.query_one(open, &[&elsewhere.name()]).await.unwrap();
    assert_eq!(open.get::<_, String>(0), "idle in transaction");
    scene.end_answered().await;
}
