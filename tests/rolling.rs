//! Instances of the program itself are restarted under load, one after the other: whoever asks gets an answer, and what was
//! acknowledged is there, once.

pub mod fleet;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Database};
use futures_util::future::{join, join_all};
use rustix::process::{Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::crash::service::Service;
use crate::support::deliveries::{captured, created, payment, unique, user};
use crate::support::eventually;
use crate::support::integrity::assert_database_is_whole;
use fleet::{Balancer, Fleet, terminate};

/// Users who sign up and pay at the same time.
const CLIENTS: usize = 24;
/// Until when a program that is told to stop has stopped.
const STOPPED: Duration = Duration::from_secs(15);

/// Signs users up and lets them pay until it is told to stop; every fifth delivery comes twice.
pub async fn load(balancer: &Balancer, stop: &AtomicBool, acknowledged: &Mutex<BTreeSet<Vec<u8>>>) {
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let user_id = unique("user_");
        for (source, delivery) in [
            (Source::Clerk, created(&user(&user_id))),
            (Source::Razorpay, captured(&payment(Some(&user_id)))),
        ] {
            balancer.deliver(source, &delivery).await;
            acknowledged.lock().unwrap().insert(delivery.body.clone());
            if round % 5 == 0 {
                let again = balancer.deliver(source, &delivery).await;
                assert_eq!(again["status"], "duplicate");
            }
        }
    }
}

/// Waits until so many more deliveries have been taken.
pub async fn more(acknowledged: &Mutex<BTreeSet<Vec<u8>>>) {
    let count = || acknowledged.lock().unwrap().len();
    let before = count();
    eventually("more are taken", async || {
        (count() > before + 100).then_some(())
    })
    .await;
}

/// Everything acknowledged is stored, every user has everything once, and an auditor finds nothing.
pub async fn assert_all_is_there_once(database: &Database, acknowledged: &BTreeSet<Vec<u8>>) {
    let sql = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let rows = sql.query("select body from inbox", &[]).await.unwrap();
    let stored: BTreeSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert!(acknowledged.is_subset(&stored), "acknowledged and lost");
    let users = "select count(*) from users where registered_at is not null";
    let users: i64 = sql.query_one(users, &[]).await.unwrap().get(0);
    for event_type in ["SignupBonusGranted", "PaymentCaptured", "CreditsPurchased"] {
        let count =
            "select count(*), count(distinct aggregate_id) from events where event_type = $1";
        let row = sql.query_one(count, &[&event_type]).await.unwrap();
        assert_eq!(
            row.get::<_, i64>(0),
            row.get::<_, i64>(1),
            "{event_type} twice"
        );
        assert_eq!(row.get::<_, i64>(0), users, "{event_type}");
    }
    let full = "select count(*) from balance where balance = 520";
    let full: i64 = sql.query_one(full, &[]).await.unwrap().get(0);
    assert_eq!(full, users);
    assert_database_is_whole(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_nothing_and_leaves_nobody_without_an_answer() {
    let fleet = Fleet::new().await;
    let mut services = join_all((0..3).map(|_| fleet.serve())).await;
    let balancer = Balancer::new(&services, services.len());
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let restarts = async {
        for (number, service) in services.iter_mut().enumerate() {
            eventually("it is ready", async || {
                balancer.is_ready(number).then_some(())
            })
            .await;
            more(&acknowledged).await;
            let before = acknowledged.lock().unwrap().len();
            let (status, took) = terminate(service).await;
            assert_eq!(status.code(), Some(0));
            assert!(took < STOPPED, "{took:?}");
            assert!(
                acknowledged.lock().unwrap().len() > before + 50,
                "the others went on"
            );
            *service = fleet.serve().await;
            balancer.replace(number, service);
        }
        more(&acknowledged).await;
        stop.store(true, Ordering::Relaxed);
    };
    let clients = join_all((0..CLIENTS).map(|_| load(&balancer, &stop, &acknowledged)));
    tokio::select! {
        _ = join(clients, restarts) => {}
        () = balancer.look() => {}
    }
    assert_eq!(*balancer.unanswered.lock().unwrap(), Vec::<String>::new());
    for service in &mut services {
        assert_eq!(terminate(service).await.0.code(), Some(0));
    }
    assert_all_is_there_once(&fleet.database, &acknowledged.into_inner().unwrap()).await;
    println!(
        "refused {:?}, unavailable {:?}",
        balancer.refused, balancer.unavailable
    );
}

/// What clients ask for, with which body, and what comes of it: the one is refused by its handler, the other before it has
/// any. (What is refused with a body that nobody reads closes its connection anyhow.)
const ANSWERS: [(&str, &str, &str); 2] = [
    ("POST /webhooks/clerk", "{}", "400"),
    ("GET /%ff", "", "404"),
];

/// A client that does not look at readiness, on a connection that it keeps. Gives how many answers it got until one said
/// that the connection is closed; none: it was closed without being said.
async fn ask_until_told(address: SocketAddr, number: usize, asked: &AtomicUsize) -> Option<usize> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (asks, body, status) = ANSWERS[number % ANSWERS.len()];
    let length = body.len();
    let request = format!("{asks} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    for answers in 1.. {
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            if stream.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        assert!(text.starts_with(&format!("http/1.1 {status}")), "{text}");
        if text.contains("\r\nconnection: close\r\n") {
            return Some(answers);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stops_answers_every_request_and_says_that_it_closes() {
    let fleet = Fleet::new().await;
    let mut service = fleet.serve().await;
    let (address, pid) = (service.address, service.pid());
    let asked = [const { AtomicUsize::new(0) }; CLIENTS];
    let asks = asked.iter().enumerate();
    let clients = join_all(asks.map(|(number, asked)| ask_until_told(address, number, asked)));
    let term = async {
        eventually("all are asking", async || {
            let all = asked.iter().all(|asked| asked.load(Ordering::Relaxed) > 10);
            all.then_some(())
        })
        .await;
        kill_process(pid, Signal::TERM).unwrap();
    };
    let (told, ()) = join(clients, term).await;
    assert!(told.iter().all(Option::is_some), "{told:?}");
    let (status, took) = terminate(&mut service).await;
    assert_eq!(status.code(), Some(0));
    assert!(took < STOPPED, "{took:?}");
}

/// That is said from the beginning on, so that a load balancer that looks at nothing else goes elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_says_that_it_closes_long_before_the_end() {
    let fleet = Fleet::new().await;
    let mut program = fleet.program(&["serve"]);
    program.env("STOP_DELAY_MS", "60000");
    let service = spawn_blocking(|| Service::start(program)).await.unwrap();
    kill_process(service.pid(), Signal::TERM).unwrap();
    let (address, asked) = (service.address, AtomicUsize::new(0));
    let clients = (0..ANSWERS.len()).map(|number| ask_until_told(address, number, &asked));
    let told = timeout(Duration::from_secs(30), join_all(clients)).await;
    assert!(told.is_ok_and(|told| told.iter().all(Option::is_some)));
}

/// Connections on which nothing is under way are nothing to wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let fleet = Fleet::new().await;
    let mut service = fleet.serve().await;
    let mut idle = Vec::new();
    for number in 0..8 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let sent: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /health/live HT",
            _ => b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        stream.write_all(sent).await.unwrap();
        if number % 3 == 2 {
            let mut answer = [0; 4096];
            assert!(stream.read(&mut answer).await.unwrap() > 0);
        }
        idle.push(stream);
    }
    let (status, took) = terminate(&mut service).await;
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(8), "{took:?}");
    for mut stream in idle {
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok());
    }
}
