//! Each fault alone, under load: the services recover by themselves within seconds, answer 503 meanwhile, and nothing
//! that was acknowledged is lost or there twice.

use rustix::process::Signal;

use super::load::Load;
use super::stage::{Cluster, Setup, Stage};

/// Between the commit and the answer: whoever asked does not know, and asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_between_commit_and_answer_books_once() {
    let cluster = Cluster::start().await;
    let setup = Setup {
        instances: 2,
        settings: vec![],
    };
    let stage = Stage::set(&cluster, cluster.database().await, &setup).await;
    stage.ready().await;
    let load = Load::start(&stage, 16);
    load.goes_on(20).await;
    for number in 0..2 {
        let kill = stage.instances[number].signaller(Signal::KILL);
        let point = super::link::Point::Committed("append_batch");
        let sprung = stage.links[number].arm(point, super::link::Then::Cut, kill);
        sprung.await.unwrap();
        load.goes_on(20).await;
    }
    let seen = load.finish().await;
    assert!(seen.broken > 0, "somebody was not answered");
    drop(stage);
    cluster.end().await;
}
