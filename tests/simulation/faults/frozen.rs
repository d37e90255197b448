//! A process stands still for a while, and then goes on as if nothing had been.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::super::link::{Point, Then, comes};
use super::Scene;

/// Longer than the server lets a transaction idle.
const FROZEN: Duration = Duration::from_secs(4);

/// With the locks of a batch held, with a batch sent, with one committed. Others go on, and what it finds when it wakes up
/// happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_service_holds_nobody_up_and_repeats_nothing() {
    let scene = Scene::set(2).await;
    for point in [
        Point::Asked("load_batch"),
        Point::Asked("append_batch"),
        Point::Committed("append_batch"),
    ] {
        let stop = scene.stage.instances[0].signaller(Signal::STOP);
        let text = format!("{point:?}");
        let stopped = scene.stage.links[0].arm(point, Then::Pass, stop);
        comes(stopped, &text).await;
        scene.load.recovers_at(&[1]).await;
        sleep(Duration::from_secs(1)).await;
        scene.stage.instances[0].signal(Signal::CONT);
        scene.load.recovers().await;
    }
    scene.end().await;
}

/// The server's processes of each kind of session. Nobody else can give back what they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_sessions_go_on_and_nothing_happens_twice() {
    let scene = Scene::set(2).await;
    for name in ["credit-ledger lane", "credit-ledger"] {
        let sql = scene.stage.sql().await;
        let all = "select pid from pg_stat_activity where application_name = $1 and pid <> pg_backend_pid()
                   and datname = current_database()";
        let rows = sql.query(all, &[&name]).await.unwrap();
        let pids: Vec<Pid> = rows
            .iter()
            .map(|row| Pid::from_raw(row.get(0)).unwrap())
            .collect();
        assert!(!pids.is_empty(), "{name}");
        for pid in &pids {
            kill_process(*pid, Signal::STOP).unwrap();
        }
        sleep(FROZEN).await;
        for pid in &pids {
            let _ = kill_process(*pid, Signal::CONT);
        }
        scene.load.recovers().await;
    }
    scene.end().await;
}
