//! A newer release comes to a database that an older one has made, while it is in use; it is killed while it brings the
//! schema up to date; and an older release comes to a database that a newer one has made.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use credit_ledger::ledger::Source;
use credit_ledger::postgres::ConnectOptions;
use credit_ledger::projection::READ_MODELS;
use futures_util::future::{join, join_all};
use tokio::task::block_in_place;
use tokio_postgres::Client;

use crate::crash::service::finish;
use crate::rolling::fleet::{Balancer, Fleet, terminate};
use crate::rolling::{assert_all_is_there_once, load, more};
use crate::support::deliveries::{captured, created, payment, user};
use crate::support::{cluster, eventually};

const BEFORE_V10: &str = include_str!("upgrade/before_v10.sql");
const CATALOGUE: &str = include_str!("support/catalogue.sql");
const CLIENTS: usize = 16;

async fn login(fleet: &Fleet) -> Client {
    fleet
        .database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap()
}

async fn versions(sql: &Client) -> Vec<i32> {
    let applied = "select version from refinery_schema_history order by version";
    let rows = sql.query(applied, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn catalogue(sql: &Client) -> Vec<String> {
    let read_models: Vec<&str> = READ_MODELS.iter().map(|model| model.name).collect();
    let rows = sql.query(CATALOGUE, &[&read_models]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Fails unless the schema is that of a new database, each migration applied once.
async fn assert_up_to_date(fleet: &Fleet) {
    let new = Fleet::on(cluster::fresh_database().await);
    let (sql, new) = (login(fleet).await, login(&new).await);
    assert_eq!(versions(&sql).await, versions(&new).await);
    assert_eq!(catalogue(&sql).await, catalogue(&new).await);
}

/// An instance works on the older schema under load; three of the newer release are started at once: one brings the schema
/// up to date, the others wait, and the older one goes on until it is stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_start_at_once_on_an_older_schema_under_load_and_nothing_is_lost() {
    let fleet = Fleet::new().await;
    let mut older = fleet.serve().await;
    login(&fleet).await.batch_execute(BEFORE_V10).await.unwrap();
    let balancer = Balancer::new(std::slice::from_ref(&older), 4);
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let upgrade = async {
        more(&acknowledged).await;
        let newer = join_all((0..3).map(|_| fleet.serve())).await;
        more(&acknowledged).await; // The older one alone.
        for (place, service) in (1..).zip(&newer) {
            balancer.replace(place, service);
        }
        eventually("all are ready", async || {
            (0..4).all(|place| balancer.is_ready(place)).then_some(())
        })
        .await;
        more(&acknowledged).await; // All beside each other.
        assert_eq!(terminate(&mut older).await.0.code(), Some(0));
        more(&acknowledged).await;
        stop.store(true, Ordering::Relaxed);
        newer
    };
    let clients = join_all((0..CLIENTS).map(|_| load(&balancer, &stop, &acknowledged)));
    let mut newer = tokio::select! {
        (_, newer) = join(clients, upgrade) => newer,
        () = balancer.look() => vec![],
    };
    for service in &mut newer {
        assert_eq!(terminate(service).await.0.code(), Some(0));
    }
    assert_eq!(newer.len(), 3);
    assert_eq!(*balancer.unanswered.lock().unwrap(), Vec::<String>::new());
    assert_up_to_date(&fleet).await;
    assert_all_is_there_once(&fleet.database, &acknowledged.into_inner().unwrap()).await;
}

/// Starts the program, waits until its migration waits for a table that is locked, kills it, and waits until the server has
/// seen that.
async fn kill_while_it_waits(fleet: &Fleet, locked: &str) {
    let (mut holder, sql) = (login(fleet).await, login(fleet).await);
    let holding = holder.transaction().await.unwrap();
    holding.batch_execute(locked).await.unwrap();
    let mut child = fleet
        .program(&["migrate"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let migrates = "select from pg_stat_activity
                     where datname = current_database() and application_name = 'credit-ledger migrate'";
    eventually("a migration waits for the table", async || {
        let waits =
            format!("{migrates} and wait_event_type = 'Lock' and query ilike '%alter table%'");
        sql.query_opt(&waits, &[]).await.unwrap().map(drop)
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    holding.rollback().await.unwrap();
    eventually("the server has seen it", async || {
        let left = sql.query_opt(migrates, &[]).await.unwrap();
        left.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_is_done_whole_or_not_at_all() {
    let fleet = Fleet::new().await;
    let mut service = fleet.serve().await;
    let mut acknowledged = BTreeSet::new();
    for number in 0..5 {
        let user_id = format!("user_{number}");
        for (source, delivery) in [
            (Source::Clerk, created(&user(&user_id))),
            (Source::Razorpay, captured(&payment(Some(&user_id)))),
        ] {
            let (status, body) = service.deliver(source, &delivery).await.unwrap();
            assert_eq!(status, 200, "{body}");
            acknowledged.insert(delivery.body);
        }
    }
    assert_eq!(terminate(&mut service).await.0.code(), Some(0));
    let sql = login(&fleet).await;
    sql.batch_execute(BEFORE_V10).await.unwrap();
    let older = (versions(&sql).await, catalogue(&sql).await);
    assert_eq!(older.0.last(), Some(&9));

    // Inside V10.
    kill_while_it_waits(&fleet, "lock table streams in access share mode").await;
    assert_eq!((versions(&sql).await, catalogue(&sql).await), older);
    // Behind V10, inside V11.
    kill_while_it_waits(&fleet, "lock table inbox in share update exclusive mode").await;
    assert_eq!(versions(&sql).await.last(), Some(&10));
    assert_ne!(catalogue(&sql).await, older.1);

    let mut service = fleet.serve().await;
    assert_up_to_date(&fleet).await;
    let paid = captured(&payment(Some("user_new")));
    let sign_up = created(&user("user_new"));
    assert_eq!(
        service.deliver(Source::Clerk, &sign_up).await.unwrap().0,
        200
    );
    assert_eq!(
        service.deliver(Source::Razorpay, &paid).await.unwrap().0,
        200
    );
    assert_eq!(terminate(&mut service).await.0.code(), Some(0));
    assert_all_is_there_once(&fleet.database, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_a_newer_release_is_refused_by_name() {
    let fleet = Fleet::new().await;
    let running = fleet.serve().await;
    let sql = login(&fleet).await;
    let newer = "insert into refinery_schema_history
                 select 4711, 'of_a_newer_release', applied_on, checksum from refinery_schema_history limit 1";
    sql.batch_execute(newer).await.unwrap();
    for arguments in [
        &["serve"][..],
        &["migrate"],
        &["rebuild"],
        &["recover", "--reason", "after the outage"],
        &["audit", "replay"],
        &["audit", "verify", "--no-key"],
        &["keys", "create", "shop", "--scope", "credits:read"],
        &["keys", "list"],
    ] {
        let output = block_in_place(|| finish(fleet.program(arguments)));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        let reason =
            "the schema of the database is at version 4711, this program knows versions up to";
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
    // Whoever runs goes on: what a newer release changes must leave room for the one before.
    let (status, body) = running
        .deliver(Source::Clerk, &created(&user("user_1")))
        .await
        .unwrap();
    assert_eq!(status, 200, "{body}");
}
