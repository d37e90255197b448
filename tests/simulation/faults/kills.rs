//! A service is killed.

use std::time::Duration;

use proptest::collection;
use rustix::process::Signal;
use tokio::time::timeout;

use super::super::link::{Point, Then};
use super::super::load::RECOVERY;
use super::super::stage::Stage;
use super::{Scene, any_of};

/// Wherever it is in the life of a batch: before anything is locked, while heads are locked, with everything written and
/// nothing known, between the commit and the answer. In the last, whoever asked does not know, and asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_at_any_point_of_a_batch_books_once() {
    let scene = Scene::set(2).await;
    let points = [
        (Point::Asked("load_batch"), Then::Pass),
        (Point::Asked("append_batch"), Then::Cut),
        (Point::Asked("append_batch"), Then::Pass),
        (Point::Committed("append_batch"), Then::Cut),
    ];
    for (point, then) in points {
        for number in 0..2 {
            let kill = scene.stage.instances[number].signaller(Signal::KILL);
            let link = &scene.stage.links[number];
            scene.spring(link, point.clone(), then, kill).await;
        }
    }
    assert!(scene.end().await.broken > 0, "somebody was not answered");
}

/// What follows commits: whatever it was at, another or the same begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_while_it_seals_or_keeps_house_leaves_nothing_undone() {
    let scene = Scene::set(2).await;
    let points = [
        Point::Asked("insert into seals"),
        Point::Committed("insert into seals"),
        Point::Asked("delete from outbox"),
        Point::Asked("from outbox"),
    ];
    for (turn, point) in points.into_iter().enumerate() {
        let number = turn % 2;
        let kill = scene.stage.instances[number].signaller(Signal::KILL);
        let link = &scene.stage.links[number];
        scene.spring(link, point, Then::Pass, kill).await;
    }
    let kill = scene.stage.instances[0].signaller(Signal::KILL);
    let point = Point::Asked("api_keys");
    let killed = scene.stage.links[0].arm(point, Then::Pass, kill);
    let asked = async {
        loop {
            ask_with_unknown_key(&scene.stage).await;
        }
    };
    tokio::select! {
        came = timeout(RECOVERY, killed) => assert!(came.is_ok(), "nobody looked at the keys"),
        () = asked => {}
    }
    scene.load.recovers().await;
    scene.end().await;
}

/// One that has the form of a key that this service gives out, so that it is looked up.
async fn ask_with_unknown_key(stage: &Stage) {
    if let Some(address) = stage.address(0) {
        let key = format!("cl_{}", "0".repeat(76));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("http://{address}/v1/users/user_1"));
        // It may be killed meanwhile.
        let _ = request.bearer_auth(key).send().await;
    }
}

/// Both at once, too, and while they start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_killed_at_random_moments_book_once() {
    let scene = Scene::set(2).await;
    let moments = collection::vec((0..700_u64, 0..3_usize), 12);
    for (pause_ms, which) in any_of("KILLS_SEED", &moments) {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        for (number, instance) in scene.stage.instances.iter().enumerate() {
            if which == number || which == 2 {
                instance.signal(Signal::KILL);
            }
        }
    }
    scene.load.recovers().await;
    for instance in &scene.stage.instances {
        assert!(instance.starts() > 1, "never killed");
    }
    scene.end().await;
}
