//! More than the service can take: it says so in time, does first what can not wait, holds no more than it says, and is as
//! before when it is over.
//!
//! `OVERLOAD_SECONDS=60` makes the flood as long as that; it is a few seconds without.

mod line;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Database};
use credit_ledger::provider::sign::SignedDelivery;
use futures_util::future::{join, join_all};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, sleep_until};

use crate::crash::service::Service;
use crate::rolling::fleet::Fleet;
use crate::support::app::SERVICE_KEY;
use crate::support::deliveries::{clerk, created, unique, user};
use crate::support::eventually;
use crate::support::integrity::assert_database_is_whole;
use crate::support::open_files::open_many_files;
use line::{Line, get, post};

/// The most memory of the process itself, whatever is sent to it.
const MEMORY_MAX_MIB: u64 = 512;
/// Until when an answer has come: that of the commit, and a second on a busy machine.
const ANSWERED: Duration = Duration::from_secs(11);
/// Until when it is said that what waits is too much. What waits in vain for the database is refused only later.
const SHED_AT_ONCE: Duration = Duration::from_secs(3);
/// Until when it is said to half of them, on a machine with few cores and other tests on them, too.
const HALF_SHED: Duration = Duration::from_secs(6);
/// Until when it is as before.
const RECOVERED: Duration = Duration::from_secs(5);
/// What is asked at the same time when nothing is too much.
const CALM: usize = 64;
/// What is asked at the same time to find out what it can take: what waits makes batches larger, so it takes more a second
/// than of a few. Still fewer than may wait in the queues; on a machine that others use, too, some may be shed all the same.
const SATURATING: usize = 768;
/// What two lanes have in their hands while as much waits as may.
const IN_BATCHES: usize = 2 * 256;
/// What may wait in front of a lane, unless that is set.
const QUEUE: usize = 1024;
/// Connections at once, where the system allows as many: as many as whoever floods has.
const CONNECTIONS: usize = 4000;
/// Files of this program that are no connections of the flood.
const OTHER_FILES: u64 = 300;

/// What became of what was sent.
#[derive(Default)]
struct Tally {
    acknowledged: BTreeSet<Vec<u8>>,
    taken: Vec<Duration>,
    shed: Vec<Duration>,
    other: Vec<String>,
}

impl Tally {
    /// So long took so many of a hundred, of those that were taken or shed.
    fn within(times: &[Duration], hundredth: usize) -> Duration {
        let mut times = times.to_vec();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        times
            .get(last * hundredth / 100)
            .copied()
            .unwrap_or_default()
    }
}

fn flood_time() -> Duration {
    let seconds = std::env::var("OVERLOAD_SECONDS").map_or(4, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// A sign-up, ready to be sent.
struct Sent {
    body: Vec<u8>,
    request: Vec<u8>,
}

impl Sent {
    fn of(delivery: SignedDelivery) -> Self {
        Self {
            request: post(Source::Clerk, &delivery),
            body: delivery.body,
        }
    }

    fn sign_up() -> Self {
        Self::of(created(&user(&unique("user_"))))
    }
}

/// Delivers once, and notes what came of it.
async fn deliver(line: &Line, sent: Sent, tally: &Mutex<Tally>) {
    let started = Instant::now();
    let answer = line.ask(&sent.request).await;
    let took = started.elapsed();
    let mut tally = tally.lock().unwrap();
    match answer {
        Ok(answer) if answer.status == 200 => {
            tally.acknowledged.insert(sent.body);
            tally.taken.push(took);
        }
        Ok(answer) if answer.status == 503 && answer.retry_after => tally.shed.push(took),
        other => tally.other.push(format!("{other:?}")),
    }
}

/// As many as it takes, each client one after the other.
async fn closed_loop(service: &Service, clients: usize, time: Duration) -> Tally {
    let (line, tally) = (Line::to(service.address), Mutex::default());
    let end = Instant::now() + time;
    let one = async || {
        while Instant::now() < end {
            deliver(&line, Sent::sign_up(), &tally).await;
        }
    };
    join_all((0..clients).map(|_| one())).await;
    tally.into_inner().unwrap()
}

/// How many connections a flood has.
fn connections() -> usize {
    let files = usize::try_from(open_many_files().saturating_sub(OTHER_FILES));
    CONNECTIONS.min(files.unwrap())
}

/// So many a second, whatever becomes of them.
async fn open_loop(service: &Service, sent: Vec<Sent>, a_second: f64, tally: &Arc<Mutex<Tally>>) {
    let (line, connections) = (Arc::new(Line::to(service.address)), connections());
    let started = tokio::time::Instant::now();
    let mut under_way = JoinSet::new();
    for (number, sent) in (0_u32..).zip(sent) {
        sleep_until(started + Duration::from_secs_f64(f64::from(number) / a_second)).await;
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= connections {
            under_way.join_next().await;
        }
        let (line, tally) = (Arc::clone(&line), Arc::clone(tally));
        under_way.spawn(async move { deliver(&line, sent, &tally).await });
    }
    while let Some(told) = under_way.join_next().await {
        told.unwrap();
    }
}

/// In a flood the database stands still until something is shed. That makes it certain that something is, on any machine:
/// by the rate alone it is not, since where the service's own work is what takes longest, what is too much waits in its
/// connections and may come to no queue. While nothing is written, though, whoever sends goes on until all connections
/// wait, and those are more than may wait in the queues and batches together.
async fn stand_still(database: &Database, tally: &Mutex<Tally>) {
    let options = ConnectOptions::default();
    let mut sql = database.connect_as_login(&options).await.unwrap();
    eventually("the flood has begun", async || {
        (!tally.lock().unwrap().taken.is_empty()).then_some(())
    })
    .await;
    let transaction = sql.transaction().await.unwrap();
    let lock = "lock table inbox in exclusive mode";
    transaction.batch_execute(lock).await.unwrap();
    eventually("what is too much is shed", async || {
        (!tally.lock().unwrap().shed.is_empty()).then_some(())
    })
    .await;
    transaction.rollback().await.unwrap();
}

/// Asks whether it is ready until it is told to stop; gives what it said otherwise, and how long the longest took.
async fn watch(service: &Service, stop: &AtomicBool) -> (Vec<String>, Duration) {
    let (line, request) = (Line::to(service.address), get("/health/ready", SERVICE_KEY));
    let (mut wrong, mut longest) = (vec![], Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        match line.ask(&request).await {
            Ok(answer) if answer.status == 200 => {}
            other => wrong.push(format!("{other:?}")),
        }
        longest = longest.max(started.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    (wrong, longest)
}

async fn assert_stored_once(database: &Database, acknowledged: &BTreeSet<Vec<u8>>) {
    let sql = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let rows = sql.query("select body from inbox", &[]).await.unwrap();
    let stored: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    let distinct: BTreeSet<Vec<u8>> = stored.iter().cloned().collect();
    assert_eq!(distinct.len(), stored.len(), "stored twice");
    assert!(acknowledged.is_subset(&distinct), "acknowledged and lost");
    assert_database_is_whole(database).await;
}

/// Waits until a delivery takes no longer than ten times what it took, or a quarter of a second on a busy machine.
async fn recovers(service: &Service, usual: Duration, tally: &Mutex<Tally>) -> Duration {
    let (line, started) = (Line::to(service.address), Instant::now());
    loop {
        let before = tally.lock().unwrap().taken.len();
        deliver(&line, Sent::sign_up(), tally).await;
        let taken = tally.lock().unwrap().taken[before..].first().copied();
        if taken.is_some_and(|took| took < (10 * usual).max(Duration::from_millis(250))) {
            return started.elapsed();
        }
        assert!(started.elapsed() < RECOVERED, "it is not as before");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_times_what_it_can_take_is_shed_in_time_and_nothing_acknowledged_is_lost() {
    let fleet = Fleet::new().await;
    let queue = QUEUE.min((connections() - IN_BATCHES) / 3);
    let mut program = fleet.program(&["serve"]);
    program.env("QUEUE", queue.to_string());
    let service = spawn_blocking(|| Service::start(program)).await.unwrap();
    let calm = closed_loop(&service, CALM, Duration::from_secs(1)).await;
    let usual = Tally::within(&calm.taken, 50);
    let clients = SATURATING.min(queue);
    let most = closed_loop(&service, clients, Duration::from_secs(2)).await;
    assert_eq!((calm.shed.len(), calm.other.first()), (0, None));
    assert_eq!(most.other.first(), None);
    let a_second = 3.0 * f64::from(u32::try_from(most.taken.len()).unwrap()) / 2.0;
    let count = Duration::from_secs_f64(a_second).as_secs() * flood_time().as_secs();
    // Also where little can be taken, more than all connections.
    let count = count.max(u64::try_from(3 * connections()).unwrap());
    let sent = (0..count).map(|_| Sent::sign_up()).collect();
    let (stop, tally) = (AtomicBool::new(false), Arc::default());
    let flood = async {
        let started = Instant::now();
        let flood = open_loop(&service, sent, a_second, &tally);
        join(flood, stand_still(&fleet.database, &tally)).await;
        stop.store(true, Ordering::Relaxed);
        started.elapsed()
    };
    let (lasted, (unready, slowest)) = join(flood, watch(&service, &stop)).await;
    let flood = Arc::into_inner(tally).unwrap().into_inner().unwrap();
    let after = Mutex::default();
    let recovered = recovers(&service, usual, &after).await;
    let memory = service.memory_max_mib();
    let times = |of: &[Duration]| [50, 99, 100].map(|hundredth| Tally::within(of, hundredth));
    println!(
        "{} taken in 1 s within {:?}, {} of {clients} clients in 2 s; of {a_second:.0}/s for {:?}, which came in {lasted:.1?}: {} taken within {:?}, {} shed within {:?} (of 50, 99, 100 \
         %); ready within {slowest:?}; {} MiB; as before after {recovered:?}",
        calm.taken.len(),
        times(&calm.taken),
        most.taken.len(),
        flood_time(),
        flood.taken.len(),
        times(&flood.taken),
        flood.shed.len(),
        times(&flood.shed),
        memory,
    );
    assert_eq!(flood.other.first(), None, "of {}", flood.other.len());
    assert_eq!(unready, Vec::<String>::new(), "it is ready all the time");
    // Not only when it was waited for the database in vain.
    let [soonest, half] = [0, 50].map(|hundredth| Tally::within(&flood.shed, hundredth));
    assert!(
        !flood.shed.is_empty() && soonest < SHED_AT_ONCE,
        "{soonest:?}"
    );
    assert!(half < HALF_SHED, "{half:?}");
    assert!(Tally::within(&flood.taken, 100) < ANSWERED);
    assert!(Tally::within(&flood.shed, 100) < ANSWERED);
    assert!(memory < MEMORY_MAX_MIB, "{memory} MiB");
    let mut acknowledged = calm.acknowledged;
    acknowledged.extend(most.acknowledged);
    acknowledged.extend(flood.acknowledged);
    acknowledged.extend(after.into_inner().unwrap().acknowledged);
    assert_stored_once(&fleet.database, &acknowledged).await;
}

/// Lists that were answered, and those of which it was said that they are too many.
type Lists = Mutex<(usize, usize)>;

/// Asks for one list after the other until it is told to stop.
async fn read_lists(line: &Line, stop: &AtomicBool, lists: &Lists) {
    let request = get("/v1/users?limit=200", SERVICE_KEY);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let answer = line.ask(&request).await.unwrap();
        assert!(started.elapsed() < ANSWERED, "{:?}", started.elapsed());
        let mut lists = lists.lock().unwrap();
        match answer.status {
            200 => lists.0 += 1,
            503 if answer.retry_after => lists.1 += 1,
            other => panic!("a list is answered with {other}"),
        }
    }
}

/// While lists are asked for by as many as like to, deliveries are taken; while deliveries flood, it is said of lists that
/// they are too many, or they are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_lists_keeps_no_delivery_waiting() {
    const READERS: usize = 300;
    const FEW_READERS: usize = 16;
    let fleet = Fleet::new().await;
    let service = fleet.serve().await;
    let calm = closed_loop(&service, CALM, Duration::from_secs(1)).await;
    let usual = Tally::within(&calm.taken, 50);
    let (stop, lists) = (AtomicBool::new(false), Lists::default());
    let line = Line::to(service.address);
    let deliveries = async {
        eventually("lists flood", async || {
            (lists.lock().unwrap().0 > READERS / 2).then_some(())
        })
        .await;
        let (tally, own) = (Mutex::default(), Line::to(service.address));
        for _ in 0..40 {
            deliver(&own, Sent::sign_up(), &tally).await;
        }
        stop.store(true, Ordering::Relaxed);
        tally.into_inner().unwrap()
    };
    let readers = join_all((0..READERS).map(|_| read_lists(&line, &stop, &lists)));
    let ((_, deliveries), (unready, slowest)) =
        join(join(readers, deliveries), watch(&service, &stop)).await;
    println!(
        "{usual:?} without lists; with {:?} (answered, shed) half within {:?}, all within {:?}; ready within {slowest:?}",
        lists.lock().unwrap(),
        Tally::within(&deliveries.taken, 50),
        Tally::within(&deliveries.taken, 100),
    );
    assert_eq!((deliveries.shed.len(), deliveries.other.len()), (0, 0));
    assert_eq!(deliveries.taken.len(), 40);
    assert!(Tally::within(&deliveries.taken, 100) < Duration::from_secs(5));
    assert_eq!(unready, Vec::<String>::new());
    assert!(
        lists.into_inner().unwrap().1 > 0,
        "more are asked for than wait"
    );
    let (stop, lists) = (AtomicBool::new(false), Lists::default());
    let flood = async {
        let flood = closed_loop(&service, CALM, Duration::from_secs(2)).await;
        stop.store(true, Ordering::Relaxed);
        flood
    };
    let readers = join_all((0..FEW_READERS).map(|_| read_lists(&line, &stop, &lists)));
    let (_, flood) = join(readers, flood).await;
    let lists = lists.into_inner().unwrap();
    println!(
        "{} taken beside (answered, shed) {lists:?}",
        flood.taken.len()
    );
    assert_eq!(flood.other, Vec::<String>::new());
    assert!(lists.0 > 0, "some are answered all the same: {lists:?}");
}

/// Few deliveries, but large ones, while the database hangs: what waits is bounded in bytes, not only in number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_deliveries_that_wait_are_bounded_in_bytes() {
    const COUNT: usize = 250;
    let fleet = Fleet::new().await;
    let service = fleet.serve().await;
    let padding = "x".repeat(1_000_000);
    let large = |number: usize| {
        let body = format!(
            r#"{{"type":"session.created","object":"event","data":{{"id":"sess_{number}","pad":"{padding}"}}}}"#
        );
        Sent::of(clerk(&unique("msg_"), body))
    };
    let sent: Vec<Sent> = (0..COUNT).map(large).collect();
    let mut sql = fleet
        .database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let transaction = sql.transaction().await.unwrap();
    let lock = "lock table inbox in exclusive mode";
    transaction.batch_execute(lock).await.unwrap();
    let (line, tally) = (Line::to(service.address), Mutex::<Tally>::default());
    let all = join_all(sent.into_iter().map(|sent| deliver(&line, sent, &tally)));
    let unlock = async {
        eventually("what is too much is shed", async || {
            (tally.lock().unwrap().shed.len() > COUNT / 3).then_some(())
        })
        .await;
        let early = tally.lock().unwrap().shed.iter().max().copied();
        transaction.rollback().await.unwrap();
        early.unwrap()
    };
    let (_, early) = join(all, unlock).await;
    let tally = tally.into_inner().unwrap();
    let memory = service.memory_max_mib();
    println!(
        "{} taken, {} shed, the first within {early:?}; {} MiB",
        tally.taken.len(),
        tally.shed.len(),
        memory
    );
    assert_eq!(tally.other.first(), None, "of {}", tally.other.len());
    assert!(memory < MEMORY_MAX_MIB, "{memory} MiB");
    assert!(early < SHED_AT_ONCE, "{early:?}");
    assert!(!tally.taken.is_empty(), "what waited is taken");
    assert_stored_once(&fleet.database, &tally.acknowledged).await;
}
