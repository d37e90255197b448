//! The database makes a lane wait, cuts it off or refuses it: nothing is lost, nothing is booked twice, and what could
//! not be stored is answered 503.

use credit_ledger::postgres::ConnectOptions;
use credit_ledger::projection::rebuild;

use super::*;

/// Stores a delivery as another instance would, and leaves the transaction open. Gives the session and its process.
async fn hold_key(app: &TestApp, key: &str) -> (tokio_postgres::Client, i32) {
    let other = app.sql().await;
    other.batch_execute("begin").await.unwrap();
    let insert = "insert into inbox (source, key, provider_event_id, body, body_sha256, headers, secret, received_at,
                                     outcome, shards, positions)
                  values ('clerk', $1, $1, '', '', '{}', '', now(), 'ignored', '{}', '{}')";
    other.execute(insert, &[&key]).await.unwrap();
    let process = other
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    (other, process)
}

/// Waits until a lane waits for this session.
async fn until_a_lane_waits_for(app: &TestApp, process: i32) {
    let waiting = format!(
        "select count(*) from pg_stat_activity
          where application_name = 'credit-ledger lane' and {process} = any(pg_blocking_pids(pid))"
    );
    let waiting = waiting.as_str();
    eventually("a lane waits", || async move {
        (app.count(waiting).await > 0).then_some(())
    })
    .await;
}

/// A batch that loses a key to others as often as it is tried is not given up: its units still go through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_loses_every_race_goes_through_unit_by_unit() {
    let options = Options {
        configure: Arc::new(|config| config.store.lanes = 1),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    let body = json!({"type": "session.created", "data": {"id": "sess_1"}}).to_string();
    let deliveries: Vec<SignedDelivery> = (0..7)
        .map(|n| clerk(&format!("msg_{n}"), body.clone()))
        .collect();
    let mut held = Vec::new();
    for key in 0..6 {
        held.push(hold_key(&app, &format!("msg_{key}")).await);
    }
    // The first keeps the lane busy, so that the others become one batch.
    let mut requests = vec![post_raw(app.address, "clerk", &deliveries[0]).await];
    until_a_lane_waits_for(&app, held[0].1).await;
    for delivery in &deliveries[1..] {
        requests.push(post_raw(app.address, "clerk", delivery).await);
    }
    until_all_are_in(&app).await;
    for (other, process) in &held {
        until_a_lane_waits_for(&app, *process).await;
        other.batch_execute("commit").await.unwrap();
    }
    for (number, request) in requests.into_iter().enumerate() {
        let status = if number < held.len() {
            "duplicate"
        } else {
            "ignored"
        };
        assert_status(request, status).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_loses_its_connection_loses_nothing_and_books_nothing_twice() {
    let app = TestApp::start().await;
    let sql = app.sql().await;
    let sent = busy_minute(600);
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                      where datname = current_database() and application_name = 'credit-ledger lane'";
    let load = async {
        let requests = sent
            .iter()
            .map(|(source, delivery)| app.deliver(*source, delivery));
        stream::iter(requests)
            .buffered(CONNECTIONS)
            .collect::<Vec<_>>()
            .await
    };
    let mut terminated = 0_i64;
    let answers = {
        let mut load = std::pin::pin!(load);
        loop {
            tokio::select! {
                answers = &mut load => break answers,
                // A pause, so that batches are cut at other places each time.
                () = tokio::time::sleep(Duration::from_millis(23)) => {
                    terminated += sql.query_one(terminate, &[]).await.unwrap().get::<_, i64>(0);
                }
            }
        }
    };
    assert!(terminated > 2, "the lanes were hit {terminated} times");
    let stored = stored_bodies(&app).await;
    for ((_, delivery), answer) in sent.iter().zip(&answers) {
        match answer.status.as_u16() {
            200 => assert!(
                stored.contains(&delivery.body),
                "acknowledged and not there"
            ),
            _ => answer.assert_problem(503, "unavailable"),
        }
    }
    let again = deliver_all(&[&app], &sent, CONNECTIONS).await;
    for (first, again) in answers.iter().zip(&again) {
        let duplicate = again.body["status"] == "duplicate";
        assert!(duplicate || first.status != 200, "{first:?} then {again:?}");
    }
    tally(&again);
    assert_busy_minute_is_booked(&app, 600).await;
    app.stop().await;
}

/// A user whose home is that shard modulo the number of lanes.
pub fn user_of_lane(lane: i16, lanes: i16) -> String {
    (0..1000)
        .map(|number| format!("user_{number}"))
        .find(|name| home::of_user(&UserId::parse(name.clone()).unwrap(), 16) % lanes == lane)
        .unwrap()
}

/// Waits until a lane waits for a lock.
pub async fn until_a_lane_waits(app: &TestApp) {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                   and application_name = 'credit-ledger lane' and wait_event_type = 'Lock'";
    eventually("a lane waits for a lock", || async move {
        (app.count(waiting).await > 0).then_some(())
    })
    .await;
}

/// Locks the head of a user's shard from outside until the client is dropped or rolls back.
pub async fn lock_head(app: &TestApp, user_id: &str) -> tokio_postgres::Client {
    let shard = home::of_user(&UserId::parse(user_id).unwrap(), 16);
    let outside = app.sql().await;
    outside.batch_execute("begin").await.unwrap();
    outside
        .query("select from heads where shard = $1 for update", &[&shard])
        .await
        .unwrap();
    outside
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_shard_is_waited_for() {
    let app = TestApp::start().await;
    let name = user_of_lane(0, 2);
    let outside = lock_head(&app, &name).await;
    let sent: Vec<Sent> = (0..20)
        .map(|_| (Source::Razorpay, captured(&payment(Some(&name)))))
        .collect();
    let (answers, ()) = join(deliver_all(&[&app], &sent, CONNECTIONS), async {
        until_a_lane_waits(&app).await;
        // Others are served meanwhile.
        let other = captured(&payment(Some(&user_of_lane(1, 2))));
        app.deliver(Source::Razorpay, &other)
            .await
            .assert_ok(&json!({"status": "recorded"}));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(app.balance(&name).await, 0);
        outside.batch_execute("rollback").await.unwrap();
    })
    .await;
    assert_eq!(tally(&answers), statuses(&[("recorded", 20)]));
    assert_eq!(app.balance(&name).await, 10_000);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_stays_locked_is_given_up_and_comes_back() {
    let app = TestApp::start().await;
    let name = user_of_lane(0, 2);
    let outside = lock_head(&app, &name).await;
    let sent: Vec<Sent> = (0..20)
        .map(|_| (Source::Razorpay, captured(&payment(Some(&name)))))
        .collect();
    let started = Instant::now();
    let answers = deliver_all(&[&app], &sent, CONNECTIONS).await;
    let waited = started.elapsed();
    assert!(
        waited > Duration::from_secs(4) && waited < Duration::from_secs(12),
        "{waited:?}"
    );
    for answer in &answers {
        answer.assert_problem(503, "unavailable");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    outside.batch_execute("rollback").await.unwrap();
    tally(&deliver_all(&[&app], &sent, CONNECTIONS).await);
    assert_eq!(app.balance(&name).await, 10_000);
    assert_log_is_whole(&app).await;
    app.stop().await;
}

/// An operator's default must not change what a batch sees after it waited for a head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_isolation_level_is_the_stores_own() {
    let database = crate::support::cluster::fresh_database().await;
    let sql = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let strict = format!(
        "alter database {} set default_transaction_isolation = 'repeatable read'",
        database.name()
    );
    sql.batch_execute(&strict).await.unwrap();
    let apps = [
        TestApp::start_on(database.clone(), Options::default()).await,
        TestApp::start_on(database, Options::default()).await,
    ];
    let sent: Vec<Sent> = (0..200)
        .map(|_| (Source::Razorpay, captured(&payment(Some("user_1")))))
        .collect();
    assert_eq!(
        deliver_to(&apps, &sent).await,
        statuses(&[("recorded", 200)])
    );
    assert_eq!(apps[0].balance("user_1").await, 100_000);
    stop(apps.into()).await;
}

/// Only what is wrong with a delivery itself may put it aside. A table that is missing is wrong for all of them; then
/// no work should be sent here, until some could be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_schema_puts_no_delivery_aside() {
    let app = TestApp::start().await;
    let mut balance = 0;
    for table in ["balance", "entries"] {
        app.get("/health/ready").await.assert_ok(&json!({}));
        let drop = format!("drop table {table}");
        app.sql().await.batch_execute(&drop).await.unwrap();
        let paid = captured(&payment(Some("user_1")));
        let before = app.count("select count(*) from inbox").await;
        app.deliver(Source::Razorpay, &paid)
            .await
            .assert_problem(503, "unavailable");
        assert_eq!(app.count("select count(*) from inbox").await, before);
        let ready = app.get("/health/ready").await;
        ready.assert_problem(503, "unavailable");
        assert_eq!(ready.headers["retry-after"], "1");
        app.get("/health/live").await.assert_ok(&json!({}));
        rebuild::rebuild(&app.database, table, &mut |_, _| {})
            .await
            .unwrap();
        app.deliver(Source::Razorpay, &paid)
            .await
            .assert_ok(&json!({"status": "recorded"}));
        app.get("/health/ready").await.assert_ok(&json!({}));
        balance += 500;
        assert_eq!(app.balance("user_1").await, balance);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}
