//! What becomes of new events: sealed once, in one chain, over nothing that was changed.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use credit_ledger::audit::seal::{Changed, Round, SealError};
use credit_ledger_verify::seal::SealKey;
use futures_util::future::{join, join_all};
use reqwest::Method;

use super::{assert_chain, stored};
use crate::support::deliveries::some_time;
use crate::support::seals::{key, sealing, sealing_with};
use crate::support::{TestApp, eventually};

#[tokio::test]
async fn new_events_are_sealed_and_nothing_new_makes_no_seal() {
    let app = TestApp::start_with(sealing()).await;
    let nothing = Round::default();
    assert_eq!(app.seal().await.unwrap(), nothing);
    let one = Round {
        sealed: 1,
        ..Round::default()
    };
    for users in [0..1, 0..20] {
        app.grants(users).await;
        assert_eq!(app.seal().await.unwrap(), one);
        assert_eq!(app.seal().await.unwrap(), nothing);
    }
    let (seals, unsealed) = assert_chain(&app.sql().await, &[key().public()]).await;
    assert_eq!(unsealed, 0);
    assert_eq!(
        seals.iter().map(|seal| seal.events).collect::<Vec<_>>(),
        [1, 20]
    );
    app.stop().await;
}

#[tokio::test]
async fn a_backlog_is_sealed_in_pieces() {
    let app = TestApp::start_with(sealing_with(|seals| seals.events_max = 3)).await;
    app.grants(0..53).await;
    // A round is bounded, so that the witnesses are told meanwhile.
    assert_eq!(
        app.seal().await.unwrap(),
        Round {
            sealed: 16,
            more: true,
            elsewhere: false
        }
    );
    assert_eq!(
        app.seal().await.unwrap(),
        Round {
            sealed: 2,
            ..Round::default()
        }
    );
    let (seals, unsealed) = assert_chain(&app.sql().await, &[key().public()]).await;
    assert_eq!((seals.len(), unsealed), (18, 0));
    assert!(seals[..17].iter().all(|seal| seal.events == 3));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_instances_make_one_chain() {
    let restless = || {
        sealing_with(|seals| {
            seals.every = Duration::from_millis(100);
            seals.events_max = 7;
        })
    };
    let first = TestApp::start_with(restless()).await;
    let others = (0..2).map(|_| TestApp::start_on(first.database.clone(), restless()));
    let mut apps = join_all(others).await;
    apps.push(first);
    // Rounds of all of them at once, beside those that they begin themselves.
    let writing = join_all((0..3).map(|number| apps[2].grants(number * 40..number * 40 + 40)));
    let sealing = join_all(apps.iter().map(async |app| {
        for _ in 0..20 {
            app.seal().await.unwrap();
        }
    }));
    join(writing, sealing).await;
    let sql = apps[0].sql().await;
    eventually("everything is sealed", async || {
        let (_, unsealed) = assert_chain(&sql, &[key().public()]).await;
        (unsealed == 0).then_some(())
    })
    .await;
    for app in apps {
        app.stop().await;
    }
}

#[tokio::test]
async fn one_at_a_time_seals_and_waits_for_no_writer() {
    let app = TestApp::start_with(sealing()).await;
    app.grants(0..3).await;
    let other = app.sql().await;
    // "credit-s" in ASCII.
    let lock = "begin; select pg_advisory_xact_lock(x'6372656469742d73'::bigint)";
    other.batch_execute(lock).await.unwrap();
    let elsewhere = Round {
        elsewhere: true,
        ..Round::default()
    };
    assert_eq!(app.seal().await.unwrap(), elsewhere);
    // Whoever appends holds the heads; the sealer reads what was committed before.
    let lock = "rollback; begin; select from heads for update";
    other.batch_execute(lock).await.unwrap();
    assert_eq!(app.seal().await.unwrap().sealed, 1);
    other.batch_execute("rollback").await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn another_key_signs_what_comes_after() {
    let new_key = || SealKey::from_seed(&[8; 32]);
    let app = TestApp::start_with(sealing()).await;
    app.grants(0..5).await;
    app.seal_all().await;
    let database = app.database.clone();
    app.stop().await;

    let app = TestApp::start_on(database, sealing_with(move |seals| seals.key = new_key())).await;
    app.grants(5..9).await;
    app.seal_all().await;
    let keys = [key().public(), new_key().public()];
    let (seals, unsealed) = assert_chain(&app.sql().await, &keys).await;
    assert_eq!(unsealed, 0);
    let signers: Vec<&str> = seals.iter().map(|seal| &*seal.key_id).collect();
    assert_eq!(signers, keys.map(|key| key.id()));
    app.stop().await;
}

#[tokio::test]
async fn the_time_of_seals_runs_forward() {
    let app = TestApp::start_with(sealing()).await;
    app.stop_clock(some_time());
    app.grants(0..1).await;
    app.seal_all().await;
    app.move_clock(TimeDelta::hours(-1));
    app.grants(1..2).await;
    app.seal_all().await;
    let (seals, _) = assert_chain(&app.sql().await, &[key().public()]).await;
    let expected = some_time().timestamp_micros();
    assert!(seals.iter().all(|seal| seal.sealed_at_us == expected));
    app.stop().await;
}

/// What somebody may do who may do anything, to a shard with five events of which three are sealed; and what is noticed.
type Tampering = (&'static str, fn(i16) -> Changed);

const TAMPERING: [Tampering; 7] = [
    (
        "update events set hash = sha256(hash) where position = 3",
        |shard| Changed::Event(shard, 3),
    ),
    ("delete from events where position = 3", |shard| {
        Changed::Hole(shard, 3)
    }),
    ("delete from events where position = 4", |shard| {
        Changed::Hole(shard, 4)
    }),
    ("delete from events where position = 5", |shard| {
        Changed::Hole(shard, 5)
    }),
    (
        "update events set hash = sha256(hash) where position = 5",
        |shard| Changed::Event(shard, 5),
    ),
    (
        "delete from events where position > 2;
         update heads set position = 2, hash = events.hash from events
          where events.position = 2 and events.shard = heads.shard",
        |shard| Changed::Shorter(shard, 3),
    ),
    ("update seals set head = sha256(head)", |_| Changed::Seal(1)),
];

#[tokio::test]
async fn nothing_is_sealed_on_top_of_another_history() {
    for (tampering, noticed) in TAMPERING {
        let app = TestApp::start_with(sealing()).await;
        let sql = app.sql().await;
        for _ in 0..3 {
            app.grant("user_1", 1).await;
        }
        app.seal_all().await;
        for _ in 0..2 {
            app.grant("user_1", 1).await;
        }
        let shard = "select shard from heads where position = 5";
        let shard = sql.query_one(shard, &[]).await.unwrap().get(0);
        let lift = "alter table events disable trigger all; alter table seals disable trigger all";
        let statements = format!("{lift}; {tampering}");
        sql.batch_execute(&statements).await.unwrap();
        let before = stored(&sql).await;
        for _ in 0..2 {
            match app.seal().await {
                Err(SealError::Changed(what)) => assert_eq!(what, noticed(shard), "{tampering}"),
                other => panic!("{tampering}: {other:?}"),
            }
        }
        assert_eq!(stored(&sql).await, before, "{tampering}");
        let changed = "credit_ledger_sealed_history_changed ";
        assert!(app.metric(changed).await > 0.5);
        let errors = "credit_ledger_seal_errors_total ";
        assert!(app.metric(errors).await > 1.5);
        app.stop().await;
    }
}

#[tokio::test]
async fn the_metrics_say_how_far_it_is() {
    let app = TestApp::start_with(sealing()).await;
    let names = [
        "credit_ledger_sealing ",
        "credit_ledger_last_seal ",
        "credit_ledger_unsealed_events ",
        "credit_ledger_seal_lag_seconds ",
        "credit_ledger_seal_errors_total ",
    ];
    let metrics = async || {
        let mut found = vec![];
        for name in names {
            found.push(app.metric(name).await);
        }
        found
    };
    assert_eq!(metrics().await, [1.0, 0.0, 0.0, 0.0, 0.0]);
    app.stop_clock(some_time());
    app.grants(0..1).await;
    app.move_clock(TimeDelta::milliseconds(1500));
    app.grants(1..3).await;
    app.move_clock(TimeDelta::minutes(1));
    assert_eq!(metrics().await, [1.0, 0.0, 3.0, 61.5, 0.0]);
    app.seal_all().await;
    assert_eq!(metrics().await, [1.0, 1.0, 0.0, 0.0, 0.0]);
    app.grants(0..1).await;
    app.move_clock(TimeDelta::seconds(2));
    assert_eq!(metrics().await, [1.0, 1.0, 1.0, 2.0, 0.0]);
    // What the database does not say is not known.
    let revoke = "revoke select on seals from credit_ledger_app";
    app.sql().await.batch_execute(revoke).await.unwrap();
    assert!(app.metric("credit_ledger_seal_lag_seconds ").await.is_nan());
    app.stop().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_sealed() {
    let app = TestApp::start().await;
    app.grants(0..1).await;
    assert!(app.app().sealer.is_none());
    assert_eq!(app.metric("credit_ledger_sealing ").await.to_bits(), 0);
    app.stop().await;
}

/// Anybody may ask for metrics, and go away.
#[tokio::test]
async fn whoever_leaves_while_metrics_are_made_costs_the_database_no_session() {
    let app = TestApp::start_with(sealing()).await;
    app.looked_once().await;
    let mut at_work = app.sql().await;
    let locked = at_work.transaction().await.unwrap();
    locked.batch_execute("lock table seals").await.unwrap();
    let begun = Instant::now();
    for _ in 0..16 {
        let request = app.request(Method::GET, "/metrics");
        let gone = request.timeout(Duration::from_millis(50)).send().await;
        assert!(gone.is_err(), "{gone:?}");
    }
    let waiting = "select count(*) from pg_stat_activity
                    where wait_event_type = 'Lock' and datname = current_database()";
    let waiting = app.count(waiting).await;
    // It is given up after 2 s; then another session may ask.
    let seconds = i64::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(
        (1..=1 + seconds).contains(&waiting),
        "{waiting} in {seconds} s"
    );
    locked.commit().await.unwrap();
    app.stop().await;
}
