//! Two faults at once.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::super::link::{Point, Then, comes};
use super::Scene;

/// How long both last, where they last.
const BOTH: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// kill -9 of a service.
    Kill(usize),
    /// A service stands still.
    Freeze(usize),
    /// kill -9 of the postmaster; its other processes end by themselves.
    KillPostmaster,
    /// An operator ends all sessions.
    EndSessions,
    /// The line of a service is cut.
    Cut(usize),
    /// It is half open: nobody hears anything on it any more.
    Hang(usize),
    /// It takes its time.
    Slow(usize),
    /// What was under way on it comes later.
    Stall(usize),
    /// It is not there.
    Refuse(usize),
    /// The answer to a commit is lost.
    LoseCommit(usize),
    /// Somebody has locked a table.
    LockTable,
}

use Fault::{
    Cut, EndSessions, Freeze, Hang, Kill, KillPostmaster, LockTable, LoseCommit, Refuse, Slow,
    Stall,
};

const PAIRS: [(Fault, Fault); 11] = [
    (Kill(0), Kill(1)),
    (Kill(0), Cut(1)),
    (Kill(0), KillPostmaster),
    (Freeze(0), KillPostmaster),
    (Freeze(0), Stall(1)),
    (Hang(0), Kill(1)),
    (Hang(1), KillPostmaster),
    (Slow(0), EndSessions),
    (Refuse(0), LoseCommit(1)),
    (Stall(0), Kill(1)),
    (LoseCommit(0), LockTable),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_faults_at_once_are_survived() {
    let scene = Scene::set(2).await;
    for (one, other) in PAIRS {
        println!("{one:?} and {other:?}");
        let locks = (scene.begin(one).await, scene.begin(other).await);
        sleep(BOTH).await;
        drop(locks);
        scene.stage.mend();
        scene.load.recovers().await;
    }
    scene.end().await;
}

impl Scene {
    /// Whoever holds a lock gives it back when what is given is dropped.
    async fn begin(&self, fault: Fault) -> Option<tokio_postgres::Client> {
        let stage = &self.stage;
        match fault {
            Kill(number) => assert!(stage.instances[number].signal(Signal::KILL)),
            Freeze(number) => assert!(stage.instances[number].signal(Signal::STOP)),
            KillPostmaster => assert!(self.cluster.kill_postmaster()),
            EndSessions => {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity
                           where pid <> pg_backend_pid() and datname = current_database()";
                stage.sql().await.batch_execute(end).await.unwrap();
            }
            Cut(number) => assert!(stage.links[number].cut() > 0),
            Hang(number) => assert!(stage.links[number].hang()),
            Slow(number) => stage.links[number].slow_down(Duration::from_millis(50)),
            Stall(number) => stage.links[number].stall(),
            Refuse(number) => {
                stage.links[number].refuse(true);
                stage.links[number].cut();
            }
            LoseCommit(number) => {
                let point = Point::Committed("append_batch");
                let told = stage.links[number].arm(point, Then::Cut, || ());
                comes(told, "a commit").await;
            }
            LockTable => {
                let sql = stage.sql().await;
                let lock = "begin; lock table events in share mode";
                sql.batch_execute(lock).await.unwrap();
                return Some(sql);
            }
        }
        None
    }
}
