//! The program itself under kill -9, SIGTERM and the command line: what was acknowledged is there, once.

pub mod service;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use futures_util::{StreamExt as _, stream};
use rustix::process::Signal;
use serde_json::json;

use crate::support::deliveries::{captured, created, payment, user};
use crate::support::eventually;
use crate::support::load::Sent;
use service::{DataDir, Service, is_running, kill_postmaster};

const CONNECTIONS: usize = 32;
const USERS: usize = 200;

/// A sign-up and a payment of each of many users. Every third payment says no more of its user than the address.
fn busy_minute() -> Vec<Sent> {
    (0..USERS)
        .flat_map(|number| {
            let name = format!("user_{number}");
            let user = user(&name);
            let mut paid = payment(Some(&name));
            if number % 3 == 0 {
                paid.user_id = None;
                paid.email.clone_from(&user.email);
            }
            [
                (Source::Clerk, created(&user)),
                (Source::Razorpay, captured(&paid)),
            ]
        })
        .collect()
}

/// Delivers everything over many connections, calls `disaster` once a third is acknowledged, and gives the bodies of
/// those that were.
async fn deliver_until(
    service: &Service,
    sent: &[Sent],
    disaster: impl FnOnce(),
) -> BTreeSet<Vec<u8>> {
    let requests = sent.iter().map(|(source, delivery)| async move {
        let answer = service.deliver(*source, delivery).await;
        answer
            .is_some_and(|(status, _)| status == 200)
            .then(|| delivery.body.clone())
    });
    let mut answered = stream::iter(requests).buffer_unordered(CONNECTIONS);
    let (mut acknowledged, mut disaster) = (BTreeSet::new(), Some(disaster));
    while let Some(answer) = answered.next().await {
        acknowledged.extend(answer);
        if acknowledged.len() > sent.len() / 3
            && let Some(disaster) = disaster.take()
        {
            disaster();
        }
    }
    assert!(disaster.is_none(), "the disaster came");
    acknowledged
}

async fn stored_bodies(sql: &tokio_postgres::Client) -> BTreeSet<Vec<u8>> {
    let rows = sql.query("select body from inbox", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What was acknowledged is there already; the rest comes again; then every fact is there once.
async fn assert_nothing_is_lost(
    data: &DataDir,
    service: &Service,
    sent: &[Sent],
    acknowledged: &BTreeSet<Vec<u8>>,
) {
    let sql = data.sql().await;
    assert!(
        acknowledged.is_subset(&stored_bodies(&sql).await),
        "acknowledged and lost"
    );
    let requests = sent
        .iter()
        .map(|(source, delivery)| service.deliver(*source, delivery));
    let answers: Vec<_> = stream::iter(requests).buffered(CONNECTIONS).collect().await;
    for ((_, delivery), answer) in sent.iter().zip(answers) {
        let (status, body) = answer.unwrap();
        assert_eq!(status, 200, "{body}");
        assert!(
            body["status"] == "duplicate" || !acknowledged.contains(&delivery.body),
            "{body}"
        );
    }
    let expected = i64::try_from(USERS).unwrap();
    eventually("every purchase has found its user", || async {
        let unclaimed = "select from purchases where user_id is null limit 1";
        let found = sql.query_opt(unclaimed, &[]).await.unwrap();
        found.is_none().then_some(())
    })
    .await;
    for event_type in [
        "UserRegistered",
        "SignupBonusGranted",
        "PaymentCaptured",
        "CreditsPurchased",
    ] {
        let count =
            "select count(*), count(distinct aggregate_id) from events where event_type = $1";
        let row = sql.query_one(count, &[&event_type]).await.unwrap();
        assert_eq!(
            (row.get::<_, i64>(0), row.get::<_, i64>(1)),
            (expected, expected),
            "{event_type}"
        );
    }
    let full = sql
        .query_one("select count(*) from balance where balance = 520", &[])
        .await
        .unwrap();
    assert_eq!(full.get::<_, i64>(0), expected);
    assert_audit_passes(data);
}

fn assert_audit_passes(data: &DataDir) {
    let audit = data.run(&["audit", "replay"]);
    let said = String::from_utf8(audit.stdout).unwrap();
    assert!(
        audit.status.success(),
        "{said} {}",
        String::from_utf8_lossy(&audit.stderr)
    );
    assert!(
        said.contains("the history agrees with everything that is stored"),
        "{said}"
    );
}

/// A service that is told to stop does so in time, cleanly, and takes its database with it.
fn assert_stops(data: &DataDir, mut service: Service) {
    let postmaster = data.postmaster().unwrap();
    let (status, took) = service.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(!is_running(postmaster));
    assert_eq!(data.postgres_processes(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_loses_nothing_that_it_acknowledged() {
    let data = DataDir::new();
    let sent = busy_minute();
    let mut service = data.serve();
    let pid = service.pid();
    let acknowledged = deliver_until(&service, &sent, || kill_nine(pid)).await;
    service.kill();
    assert!(
        acknowledged.len() < sent.len(),
        "it was killed in the middle"
    );
    let service = data.serve();
    assert_nothing_is_lost(&data, &service, &sent, &acknowledged).await;
    assert_stops(&data, service);
}

fn kill_nine(pid: rustix::process::Pid) {
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_comes_back_under_the_service() {
    let data = DataDir::new();
    let sent = busy_minute();
    let service = data.serve();
    let (acknowledged, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let killed_at = std::sync::OnceLock::new();
    let deliver = |(source, delivery): &(Source, SignedDelivery)| {
        let (source, delivery) = (*source, delivery.clone());
        let (service, data, acknowledged, refused, killed_at) =
            (&service, &data, &acknowledged, &refused, &killed_at);
        async move {
            eventually("the database comes back", || async {
                // The service lives on: there is always an answer.
                let (status, body) = service.deliver(source, &delivery).await.expect("an answer");
                if status == 200 {
                    let number = acknowledged.fetch_add(1, Ordering::Relaxed) + 1;
                    if number == 2 * USERS / 3 {
                        kill_postmaster(data);
                        killed_at.set(Instant::now()).unwrap();
                    }
                    return Some(());
                }
                assert_eq!(
                    (status.as_u16(), &body["code"]),
                    (503, &json!("unavailable")),
                    "{body}"
                );
                refused.fetch_add(1, Ordering::Relaxed);
                None
            })
            .await;
        }
    };
    let _: Vec<()> = stream::iter(sent.iter().map(deliver))
        .buffer_unordered(CONNECTIONS)
        .collect()
        .await;
    let took = killed_at.get().unwrap().elapsed();
    assert!(
        took < Duration::from_secs(15),
        "it took {took:?} to come back and take the rest"
    );
    assert!(refused.load(Ordering::Relaxed) > 0, "503 meanwhile");
    let all: BTreeSet<Vec<u8>> = sent
        .iter()
        .map(|(_, delivery)| delivery.body.clone())
        .collect();
    assert_nothing_is_lost(&data, &service, &sent, &all).await;
    assert_stops(&data, service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_killed_at_once_lose_nothing_that_was_acknowledged() {
    let data = DataDir::new();
    let sent = busy_minute();
    let mut service = data.serve();
    let pid = service.pid();
    let acknowledged = deliver_until(&service, &sent, || {
        kill_postmaster(&data);
        kill_nine(pid);
    })
    .await;
    service.kill();
    let service = data.serve();
    assert_nothing_is_lost(&data, &service, &sent, &acknowledged).await;
    assert_stops(&data, service);
}

/// A default that trades durability for speed must not reach what is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_is_durable_whatever_the_default_is() {
    let data = DataDir::new();
    let mut service = data.serve();
    for faster in [
        "alter database credit_ledger set synchronous_commit = off",
        // What is not flushed by the commit itself is not flushed before the kill.
        "alter system set wal_writer_delay = '10s'",
        "alter system set wal_writer_flush_after = '1GB'",
    ] {
        data.sql().await.batch_execute(faster).await.unwrap();
    }
    assert_eq!(service.terminate().0.code(), Some(0));
    let sent = busy_minute();
    let mut service = data.serve();
    let pid = service.pid();
    let acknowledged = deliver_until(&service, &sent, || {
        let killed = data.signal_postgres(Signal::KILL);
        assert!(
            killed > 2 || !cfg!(target_os = "linux"),
            "found {killed} processes"
        );
        kill_nine(pid);
    })
    .await;
    service.kill();
    let service = data.serve();
    assert_nothing_is_lost(&data, &service, &sent, &acknowledged).await;
    assert_stops(&data, service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_share_a_data_directory() {
    let data = DataDir::new();
    let first = data.serve();
    let second = data.serve();
    let sign_up = created(&user("user_1"));
    let answer = |answer: Option<(reqwest::StatusCode, serde_json::Value)>| {
        answer.unwrap().1["status"].clone()
    };
    assert_eq!(
        answer(first.deliver(Source::Clerk, &sign_up).await),
        "recorded"
    );
    assert_eq!(
        answer(second.deliver(Source::Clerk, &sign_up).await),
        "duplicate"
    );
    assert_eq!(second.balance("user_1").await, 20);
    // The one that runs the database goes: the other takes it over.
    let mut first = first;
    assert_eq!(first.terminate().0.code(), Some(0));
    let paid = captured(&payment(Some("user_1")));
    eventually("the second takes the database over", || async {
        let (status, body) = second.deliver(Source::Razorpay, &paid).await.unwrap();
        assert!(
            status == 200 || (status == 503 && body["code"] == "unavailable"),
            "{status} {body}"
        );
        (status == 200).then_some(())
    })
    .await;
    assert_eq!(second.balance("user_1").await, 520);
    assert_stops(&data, second);
}

/// A service that hangs in the middle of a commit must not hold up the others for longer than its session may idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_service_holds_up_nobody() {
    let data = DataDir::new();
    let sent = busy_minute();
    let (paused, other) = (data.serve(), data.serve());
    let load = deliver_until(&paused, &sent, || paused.pause());
    let rest = async {
        eventually("the first is paused", || async {
            is_paused(&paused).then_some(())
        })
        .await;
        let paused_at = Instant::now();
        for (source, delivery) in &sent {
            let started = Instant::now();
            let (status, body) = other.deliver(*source, delivery).await.unwrap();
            assert_eq!(status, 200, "{body}");
            let took = started.elapsed();
            assert!(took < Duration::from_secs(8), "{took:?}");
        }
        paused.resume();
        paused_at.elapsed()
    };
    let (acknowledged, paused_for) = futures_util::future::join(load, rest).await;
    // Those that it held go on, and find that the other was faster. On a machine so busy that the pause was longer than
    // anybody waits for a commit, they are told to ask again.
    if paused_for < Duration::from_secs(8) {
        assert_eq!(acknowledged.len(), sent.len());
    }
    assert_nothing_is_lost(&data, &other, &sent, &acknowledged).await;
    drop(other);
    assert_stops(&data, paused);
}

/// With a database that hangs there is nothing to wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_stops_in_time_though_its_database_hangs() {
    let data = DataDir::new();
    let mut service = data.serve();
    for (source, delivery) in &busy_minute()[..50] {
        assert_eq!(service.deliver(*source, delivery).await.unwrap().0, 200);
    }
    let postgres = data.signal_postgres(Signal::STOP);
    assert!(postgres > 2, "found {postgres} processes");
    let (client, address) = (service.client.clone(), service.address);
    let waiting: Vec<_> = busy_minute()[..50]
        .iter()
        .map(|(source, delivery)| {
            let mut request = client.post(format!("http://{address}/webhooks/{source}"));
            for (name, value) in &delivery.headers {
                request = request.header(*name, value);
            }
            tokio::spawn(request.body(delivery.body.clone()).send())
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (status, took) = service.terminate();
    data.signal_postgres(Signal::CONT);
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(15), "{took:?}");
    for answer in waiting {
        let stored = answer
            .await
            .unwrap()
            .is_ok_and(|answer| answer.status() == 200);
        assert!(!stored, "acknowledged without a database");
    }
    eventually("the database stops too", || async {
        data.postgres_processes().is_empty().then_some(())
    })
    .await;
}

fn is_paused(service: &Service) -> bool {
    let status = format!("/proc/{}/stat", service.pid().as_raw_nonzero());
    std::fs::read_to_string(status).is_ok_and(|status| status.contains(") T "))
}

#[test]
fn bad_settings_are_named_without_their_values() {
    let data = DataDir::new();
    let secret = "hunter2-that-nobody-may-see";
    for (setting, value, names) in [
        ("LISTEN", secret, "LISTEN"),
        ("LANES", "0", "LANES"),
        ("VERIFY_WAIT_MS", "-1", "VERIFY_WAIT_MS"),
        (
            "CLERK_WEBHOOK_SECRET",
            "whsec_hunter2!",
            "CLERK_WEBHOOK_SECRET",
        ),
        ("CLERK_JWT_KEY", secret, "CLERK_JWT_KEY"),
        ("SERVICE_API_KEY", "hunter2", "SERVICE_API_KEY"),
        ("DATABASE_URL", "postgres://me:hunter2@[", "DATABASE_URL"),
        ("RAZORPAY_API_URL", "hunter2://hunter2", "RAZORPAY_API_URL"),
        ("SUPABASE_URL", "hunter2", "SUPABASE_URL"),
    ] {
        let mut command = data.program(&["serve"]);
        command
            .env("RAZORPAY_KEY_ID", "rzp_test_1")
            .env("RAZORPAY_KEY_SECRET", secret)
            .env(setting, value);
        let output = service::finish(command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{setting}: {said}");
        assert!(said.contains(names), "{setting}: {said}");
        assert!(!said.contains("hunter2"), "{setting}: {said}");
        assert!(output.stdout.is_empty());
    }
    assert!(!data.0.join("data").exists(), "nothing was started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_do_what_they_say() {
    let data = DataDir::new();
    // Without a service they run the database themselves, and leave nothing running.
    let migrated = data.said(&["migrate"], 0);
    assert!(
        migrated.contains("schema version") && migrated.contains("applied"),
        "{migrated}"
    );
    assert_eq!(data.postgres_processes(), Vec::<std::path::PathBuf>::new());
    assert!(
        !data.said(&["migrate"], 0).contains("applied"),
        "there was nothing left to do"
    );

    let service = data.serve();
    let set_up =
        "serving; webhooks: clerk, razorpay; sessions: none; API keys: service; seals: none";
    assert!(service.said.contains(set_up), "{}", service.said);
    let url = format!("http://{}", service.address);
    let send = [
        "send",
        "clerk",
        "user.created",
        "--user",
        "user_1",
        "--event-id",
        "msg_1",
        "--url",
        &url,
    ];
    assert!(data.said(&send, 0).contains(r#""status":"recorded""#));
    assert!(data.said(&send, 0).contains(r#""status":"duplicate""#));
    let pay = [
        "send",
        "razorpay",
        "payment.captured",
        "--user",
        "user_1",
        "--url",
        &url,
    ];
    assert!(data.said(&pay, 0).contains(r#""status":"recorded""#));
    assert_eq!(service.balance("user_1").await, 520);
    assert!(
        data.said(&["send", "clerk", "user.nonsense", "--url", &url], 1)
            .contains("user.created")
    );
    assert!(
        data.said(&["send", "paypal", "user.created", "--url", &url], 1)
            .contains("razorpay")
    );

    assert!(
        data.said(&["audit", "replay"], 0)
            .contains("4 events, 1 users, 1 purchases")
    );
    let sql = data.sql().await;
    assert_eq!(sql.execute("delete from balance", &[]).await.unwrap(), 1);
    let found = data.said(&["audit", "replay"], 1);
    assert!(
        found.contains("user/user_1: balance: the history says 520, stored is 0"),
        "{found}"
    );

    let made = "balance: made from 4 events\n  the live table: rows that differ: 0, missing: 1, too many: 0\n  \
                user_id user_1: is missing\n";
    assert_eq!(data.said(&["rebuild", "balance"], 1), made);
    assert!(
        data.said(&["audit", "replay"], 0)
            .contains("the history agrees")
    );
    assert_eq!(service.balance("user_1").await, 520);
    let all = data.said(&["rebuild"], 0);
    assert!(
        ["balance", "purchases", "users", "entries"]
            .iter()
            .all(|name| all.contains(name)),
        "{all}"
    );
    let nonsense = data.said(&["rebuild", "nonsense"], 1);
    assert!(
        nonsense.contains("`nonsense`") && nonsense.contains("balance, purchases, users, entries"),
        "{nonsense}"
    );
    data.said(&["nonsense"], 2);
    assert_stops(&data, service);
}

#[test]
fn the_demo_tells_its_story_also_where_its_port_is_taken() {
    let data = DataDir::new();
    // Whether this gets the port or somebody has it: it is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:8080");
    let told = data.said(&["demo", "--exit"], 0);
    drop(taken);
    assert!(told.contains("Serving on http://127.0.0.1:"), "{told}");
    assert!(!told.contains("127.0.0.1:8080"), "{told}");
    assert!(
        told.contains(r#"→ 202 {"success":false,"status":"pending"}"#),
        "{told}"
    );
    assert!(told.contains("All as it must be."), "{told}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = data.said(&["demo", "--exit", "--listen", &address], 1);
    assert!(refused.contains(&address), "{refused}");
}
