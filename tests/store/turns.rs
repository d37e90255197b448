//! Lanes of several instances on the same shards: they take turns, and a batch takes in what came while its turn was
//! waited for. Somebody else's lane is played by a session of its own.

use std::sync::Arc;

use credit_ledger::postgres::{ConnectOptions, Database};
use credit_ledger::store::StoreError;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::*;
use crate::support::eventually;
use crate::support::proxy::Proxy;

/// The only lane of each instance here.
const SETTINGS: LedgerSettings = LedgerSettings {
    lanes: 1,
    queue: 1000,
    clocks_differ_max: None,
};
const LOCK_HEADS: &str = "begin; select from heads order by shard for update";
const TAKE_TURN: &str = "select pg_advisory_lock(1818324581, 0)";
const LET_GO: &str = "commit; select pg_advisory_unlock_all()";
const WAITS_FOR_ITS_TURN: &str = "wait_event = 'advisory'";
const WAITS_FOR_A_HEAD: &str = "wait_event in ('transactionid', 'tuple')";

async fn ledger(database: &Database) -> Arc<Ledger> {
    let (ledger, _lanes) = Ledger::start(database, SETTINGS, system_clock())
        .await
        .unwrap();
    Arc::new(ledger)
}

async fn session(database: &Database) -> Client {
    let options = ConnectOptions::default();
    database.connect_as_login(&options).await.unwrap()
}

fn sign_up(n: usize) -> Unit {
    register(&format!("msg_{n}"), &format!("user_{n}"), "free")
}

/// Hands in a unit; the lane runs whenever the test waits.
fn hand_in(ledger: &Arc<Ledger>, unit: Unit) -> JoinHandle<Result<Outcome, StoreError>> {
    let ledger = Arc::clone(ledger);
    tokio::spawn(async move { ledger.execute(unit).await })
}

async fn until_a_lane(database: &Database, waits: &str) {
    let sql = session(database).await;
    let waiting = format!(
        "select from pg_stat_activity where datname = current_database()
            and application_name = 'credit-ledger lane' and wait_event_type = 'Lock' and {waits}"
    );
    let (sql, waiting) = (&sql, waiting.as_str());
    eventually(waits, || async move {
        (!sql.query(waiting, &[]).await.unwrap().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_batch_takes_in_what_came_while_its_turn_was_waited_for() {
    let database = cluster::fresh_database().await;
    let ledger = ledger(&database).await;
    let other = session(&database).await;
    other.batch_execute(TAKE_TURN).await.unwrap();
    other.batch_execute(LOCK_HEADS).await.unwrap();
    let mut units = vec![hand_in(&ledger, sign_up(0))];
    until_a_lane(&database, WAITS_FOR_ITS_TURN).await;
    units.extend((1..100).map(|n| hand_in(&ledger, sign_up(n))));
    // They run until they wait for their answers.
    tokio::task::yield_now().await;
    other.batch_execute(LET_GO).await.unwrap();
    for outcome in join_all(units).await {
        assert_eq!(outcome.unwrap(), Ok(Outcome::Recorded));
    }
    let batches = "select count(distinct xmin::text)::bigint from events";
    assert_eq!(count(&other, batches).await, 1);
    let out_of_order = "select count(*) from (
        select number < lag(number) over (partition by shard order by position) as earlier
          from (select shard, position, substr(aggregate_id, 6)::integer as number
                  from events where event_type = 'UserRegistered') as registered) as steps
        where earlier";
    assert_eq!(count(&other, out_of_order).await, 0);
}

async fn count(sql: &Client, statement: &str) -> i64 {
    sql.query_one(statement, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn turns_are_taken_for_a_while_after_somebody_was_in_the_way() {
    let database = cluster::fresh_database().await;
    let proxy = Proxy::before(&database).await;
    let ledger = ledger(&proxy.database().await).await;
    let other = session(&database).await;
    other.batch_execute(LOCK_HEADS).await.unwrap();
    let mut round_trips = vec![proxy.round_trips()];
    let first = hand_in(&ledger, sign_up(0));
    until_a_lane(&database, WAITS_FOR_A_HEAD).await;
    other.batch_execute("commit").await.unwrap();
    assert_eq!(first.await.unwrap(), Ok(Outcome::Recorded));
    round_trips.push(proxy.round_trips());
    for n in 1..11 {
        let outcome = ledger.execute(sign_up(n)).await;
        assert_eq!(outcome, Ok(Outcome::Recorded));
        round_trips.push(proxy.round_trips());
    }
    let of_each: Vec<usize> = round_trips
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    // Once in vain and back; then with a turn; at last without one.
    assert_eq!(of_each, [5, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2]);
}

#[tokio::test]
async fn a_turn_that_does_not_come_is_gone_without() {
    let database = cluster::fresh_database().await;
    let ledger = ledger(&database).await;
    let (stuck, other) = (session(&database).await, session(&database).await);
    stuck.batch_execute(TAKE_TURN).await.unwrap();
    other.batch_execute(LOCK_HEADS).await.unwrap();
    let first = hand_in(&ledger, sign_up(0));
    until_a_lane(&database, WAITS_FOR_ITS_TURN).await;
    until_a_lane(&database, WAITS_FOR_A_HEAD).await;
    other.batch_execute("commit").await.unwrap();
    assert_eq!(first.await.unwrap(), Ok(Outcome::Recorded));
    assert_eq!(ledger.execute(sign_up(1)).await, Ok(Outcome::Recorded));
}

/// Each is one unit over a purchase and a user, many of them of different lanes.
#[tokio::test]
async fn what_needs_shards_of_another_lane_waits_for_its_turn_and_is_not_lost() {
    let app = TestApp::start().await;
    let mut payments: Vec<_> = (0..12).map(|_| payment(None)).collect();
    for paid in &payments {
        let answer = app.deliver(Source::Razorpay, &captured(paid)).await;
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    let other = app.sql().await;
    let turns = format!("{TAKE_TURN}, pg_advisory_lock(1818324581, 1)");
    other.batch_execute(&turns).await.unwrap();
    other.batch_execute(LOCK_HEADS).await.unwrap();
    for (n, paid) in payments.iter_mut().enumerate() {
        paid.user_id = Some(format!("user_{n}"));
    }
    let told: Vec<_> = payments.iter().map(order_paid).collect();
    let delivered = told.iter().map(|one| app.deliver(Source::Razorpay, one));
    let (answers, ()) = tokio::join!(join_all(delivered), async {
        until_a_lane(&app.database, WAITS_FOR_ITS_TURN).await;
        other.batch_execute(LET_GO).await.unwrap();
    });
    for (n, answer) in answers.iter().enumerate() {
        answer.assert_ok(&json!({"status": "recorded"}));
        assert_eq!(app.balance(&format!("user_{n}")).await, 500);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}
