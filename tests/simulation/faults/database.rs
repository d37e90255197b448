//! The server is killed, or sessions are.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::eventually;

use super::Scene;

/// Its supervisor starts it again, it replays its log, and everybody connects anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_comes_back_with_everything() {
    let scene = Scene::set(2).await;
    for _ in 0..2 {
        let killed = scene.cluster.postmaster();
        assert!(scene.cluster.kill_postmaster());
        scene.load.recovers().await;
        assert_ne!(scene.cluster.postmaster(), killed);
    }
    let seen = scene.end_answered().await;
    assert!(seen.unavailable > 0, "nobody noticed");
}

/// Nobody writes down in time what was still in memory: what was acknowledged before it was durable would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_which_nothing_is_left_comes_back_with_everything() {
    let scene = Scene::set(2).await;
    for _ in 0..2 {
        assert!(scene.cluster.kill_all_processes().await);
        scene.load.recovers().await;
    }
    scene.end_answered().await;
}

/// PostgreSQL ends all sessions when one of its processes was killed: it can not know what that left in shared memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_session_ends_all_of_them_and_nothing_is_lost() {
    let scene = Scene::set(2).await;
    for name in ["credit-ledger lane", "credit-ledger"] {
        let sql = scene.stage.sql().await;
        let any = "select pid from pg_stat_activity where application_name = $1 and pid <> pg_backend_pid()
                   order by random() limit 1";
        // After the last one some are made only when they are needed.
        let pid = eventually("there is one of the kind", async || {
            let found = sql.query_opt(any, &[&name]).await.unwrap();
            found.and_then(|row| Pid::from_raw(row.get(0)))
        })
        .await;
        kill_process(pid, Signal::KILL).unwrap();
        scene.load.recovers().await;
    }
    scene.end_answered().await;
}

/// All sessions of a kind at once, kind after kind; as an operator would, or a server that stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_an_operator_ends_are_made_again() {
    let scene = Scene::set(2).await;
    let sql = scene.stage.sql().await;
    let kinds = "select distinct application_name from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()";
    let kinds = eventually("all kinds are there", async || {
        let rows = sql.query(kinds, &[]).await.unwrap();
        let kinds: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        (kinds.len() == 3).then_some(kinds)
    })
    .await;
    for kind in kinds {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity
                   where application_name = $1 and pid <> pg_backend_pid()";
        for _ in 0..3 {
            sql.query(end, &[&kind]).await.unwrap();
            scene.load.goes_on(5).await;
        }
        scene.load.recovers().await;
    }
    scene.end_answered().await;
}
