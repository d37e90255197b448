//! Others on the same server are in the way.

use std::time::Duration;

use tokio::time::sleep;

use super::Scene;

/// Longer than anybody waits for a lock.
const IN_THE_WAY: Duration = Duration::from_secs(9);

/// Others have all connections that the server gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_get_no_connection_come_back_when_there_are_some() {
    let scene = Scene::set(2).await;
    let options = credit_ledger::postgres::ConnectOptions::default();
    for link in &scene.stage.links {
        link.refuse(true);
        link.cut();
    }
    let mut taken = Vec::new();
    while let Ok(session) = scene.stage.database.connect_as_login(&options).await {
        taken.push(session);
    }
    for link in &scene.stage.links {
        link.refuse(false);
    }
    sleep(Duration::from_secs(3)).await;
    drop(taken);
    scene.load.recovers().await;
    let seen = scene.end().await;
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
    let seen = scene.end().await;
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
    scene.end().await;
}
