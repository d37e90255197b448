//! The line to the database is slow, breaks, or only seems to be there.

use std::time::Duration;

use proptest::collection;
use rustix::process::Signal;
use tokio::time::sleep;

use super::super::link::{Point, Then, comes};
use super::super::stage::Stage;
use super::{Scene, any_of};
use crate::support::eventually;

/// Each message takes so long, both ways; a service starts over such a line, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_line_makes_services_slow_and_no_more() {
    let scene = Scene::set(2).await;
    for (delay_ms, starts) in [(50, true), (150, false)] {
        scene.stage.links[0].slow_down(Duration::from_millis(delay_ms));
        scene.load.recovers().await;
        if starts {
            scene.stage.instances[0].signal(Signal::KILL);
        } else {
            scene.stage.links[0].cut();
        }
        scene.load.recovers().await;
    }
    scene.stage.mend();
    scene.load.recovers().await;
    scene.end().await;
}

/// All connections of both at random moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_cut_at_random_moments_lose_nothing() {
    let scene = Scene::set(2).await;
    let moments = collection::vec((0..150_u64, 0..2_usize), 40);
    let mut cut = 0;
    for (pause_ms, number) in any_of("CUTS_SEED", &moments) {
        sleep(Duration::from_millis(pause_ms)).await;
        cut += scene.stage.links[number].cut();
    }
    assert!(cut > 40, "{cut} connections");
    scene.load.recovers().await;
    scene.end_answered().await;
}

/// The answer to a commit is lost, again and again: each time nobody knows whether it happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_whose_answers_are_lost_happen_once() {
    let scene = Scene::set(2).await;
    for then in [Then::Cut, Then::Hang] {
        let times = if then == Then::Cut { 12 } else { 1 };
        let told: Vec<_> = (0..2 * times)
            .map(|turn| {
                let link = &scene.stage.links[turn % 2];
                link.arm(Point::Committed("append_batch"), then, || ())
            })
            .collect();
        for told in told {
            comes(told, "a commit").await;
        }
        scene.load.recovers().await;
    }
    scene.end_answered().await;
}

/// Cut before the server sees what is asked, or before the service sees the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_cut_at_any_point_of_a_batch_loses_nothing() {
    let scene = Scene::set(2).await;
    for text in [
        "begin",
        "take_turn",
        "load_batch",
        "append_batch",
        "commit",
        "insert into seals",
        "from outbox",
    ] {
        let told = scene.stage.links[0].arm(Point::Asked(text), Then::Cut, || ());
        if text == "take_turn" {
            // Turns are only taken by services that are in each other's way.
            let _ = tokio::time::timeout(Duration::from_secs(3), told).await;
            scene.stage.links[0].disarm();
        } else {
            comes(told, text).await;
        }
        scene.load.goes_on(5).await;
    }
    let hangs = ["load_batch", "append_batch"]
        .into_iter()
        .zip(&scene.stage.links);
    for (text, link) in hangs {
        let told = link.arm(Point::Asked(text), Then::Hang, || ());
        comes(told, text).await;
    }
    scene.load.recovers().await;
    scene.end_answered().await;
}

/// Nobody says that these connections are dead, and new ones can be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_only_seem_to_be_there_are_given_up() {
    let scene = Scene::set(2).await;
    scene.stage.links[0].hang();
    // The other one is not held up by locks that nobody gives back.
    scene.load.recovers_at(&[1]).await;
    scene.stage.links[1].hang();
    scene.load.recovers().await;
    assert_upkeep_goes_on(&scene.stage).await;
    scene.end_answered().await;
}

/// Everything is kept back for a while, and then comes after all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_is_done_once() {
    let scene = Scene::set(2).await;
    // Longer than anybody waits for an answer: another connection does it again first.
    scene.stage.links[0].stall();
    sleep(Duration::from_secs(11)).await;
    scene.stage.links[0].resume();
    scene.load.recovers().await;
    for link in &scene.stage.links {
        link.pause();
    }
    sleep(Duration::from_secs(4)).await;
    for link in &scene.stage.links {
        link.resume();
    }
    scene.load.recovers().await;
    scene.end_answered().await;
}

/// No new connection for a while: services say that they are not ready, and come back by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_without_a_database_say_so_and_come_back() {
    let scene = Scene::set(2).await;
    for link in &scene.stage.links {
        link.refuse(true);
        link.cut();
    }
    for number in 0..2 {
        eventually("it is not ready", async || {
            (!scene.stage.is_ready(number).await).then_some(())
        })
        .await;
    }
    sleep(Duration::from_secs(3)).await;
    for link in &scene.stage.links {
        link.refuse(false);
    }
    scene.load.recovers().await;
    let seen = scene.end_answered().await;
    assert!(seen.unavailable > 0, "somebody was told");
}

/// What was left to do until now is done soon, though more comes.
async fn assert_upkeep_goes_on(stage: &Stage) {
    let sql = stage.sql().await;
    let last = "select coalesce(max(id), 0) from outbox";
    let last: i64 = sql.query_one(last, &[]).await.unwrap().get(0);
    eventually("the outbox is worked off", async || {
        let left = "select not exists (select from outbox where id <= $1)";
        let done: bool = sql.query_one(left, &[&last]).await.unwrap().get(0);
        done.then_some(())
    })
    .await;
}
