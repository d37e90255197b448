//! What makes the schema and the read models is killed, or stands still with its locks held.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use credit_ledger::postgres::Database;
use credit_ledger::projection::{READ_MODELS, rebuild};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::super::link::{Link, Point, Then, comes};
use super::super::load::{Load, RECOVERY};
use super::super::stage::{Cluster, Setup, Stage};
use super::Scene;

/// Two services find an empty database and are killed wherever either comes first, and the other, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_killed_while_they_make_the_schema_make_it_whole() {
    let cluster = Cluster::start().await;
    let setup = Setup {
        instances: 2,
        settings: vec![],
    };
    let refuse = |link: &Link| link.refuse(true);
    let database = cluster.empty_database().await;
    let stage = Stage::set_with(&cluster, database, &setup, refuse).await;
    let points = [
        Point::Asked("pg_advisory_lock"),
        Point::Asked("create table ledger"),
        Point::Committed("create table ledger"),
        Point::Asked("streams_due"),
        Point::Asked("toast_tuple_target"),
        Point::Committed("toast_tuple_target"),
        Point::Asked("grant"),
        Point::Asked("create table purchases"),
        Point::Asked("alter table rebuild.balance"),
        Point::Committed("alter table rebuild.users"),
        Point::Asked("create type pg_temp"),
    ];
    let mut killed = Vec::new();
    for point in points {
        for (link, instance) in stage.links.iter().zip(&stage.instances) {
            let kill = instance.signaller(Signal::KILL);
            killed.push((point.clone(), link.arm(point.clone(), Then::Pass, kill)));
        }
    }
    for link in &stage.links {
        link.refuse(false);
    }
    stage.ready().await;
    for (point, pair) in points_of(killed) {
        assert!(
            pair.into_iter().any(|mut told| told.try_recv().is_ok()),
            "nobody came to {point}"
        );
    }
    stage.mend();
    let load = Load::start(&stage, 8);
    load.recovers().await;
    load.finish().await;
    assert_read_models_are_right(&stage.database).await;
    drop(stage);
    cluster.end().await;
}

/// Another service does not wait for one that stands still in the middle of a migration, or between two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_migration_holds_no_other_service_up() {
    let cluster = Cluster::start().await;
    let setup = Setup {
        instances: 2,
        settings: vec![],
    };
    for point in [Point::Asked("streams_due"), Point::Committed("streams_due")] {
        let refuse = |link: &Link| link.refuse(true);
        let database = cluster.empty_database().await;
        let stage = Stage::set_with(&cluster, database, &setup, refuse).await;
        let stop = stage.instances[0].signaller(Signal::STOP);
        let stopped = stage.links[0].arm(point, Then::Pass, stop);
        stage.links[0].refuse(false);
        comes(stopped, "the migration").await;
        stage.links[1].refuse(false);
        let ready = async {
            while !stage.is_ready(1).await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let ready = tokio::time::timeout(RECOVERY, ready).await;
        assert!(ready.is_ok(), "the other one waits");
        stage.mend();
        stage.ready().await;
        stage.assert_nobody_fell();
    }
    cluster.end().await;
}

type Told = tokio::sync::oneshot::Receiver<()>;

/// Both services' by point.
fn points_of(killed: Vec<(Point, Told)>) -> Vec<(String, Vec<Told>)> {
    let mut all: Vec<(String, Vec<Told>)> = Vec::new();
    for (point, told) in killed {
        let point = format!("{point:?}");
        match all.last_mut().filter(|(last, _)| *last == point) {
            Some((_, pair)) => pair.push(told),
            None => all.push((point, vec![told])),
        }
    }
    all
}

/// The moments of a rebuild: a table in the making, the heads locked, the new table in the old one's place and not committed,
/// and committed.
const MOMENTS: [Point; 5] = [
    Point::Asked("create table balance"),
    Point::Asked("heads order by shard for update"),
    Point::Asked("alter table rebuild.balance"),
    Point::Asked("insert into read_models"),
    Point::Committed("alter table rebuild.balance"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_rebuild_leaves_the_old_table_or_the_new_one() {
    let scene = Scene::set(2).await;
    for moment in MOMENTS {
        let mut rebuild = Rebuild::start(&scene.stage, moment, Signal::KILL).await;
        assert!(!rebuild.child.wait().unwrap().success());
        scene.load.recovers().await;
        assert_read_models_are_right(&scene.stage.database).await;
    }
    scene.end().await;
}

/// Nobody waits long for the locks of one that stands still, and what it finds when it wakes up harms nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_rebuild_holds_nobody_up() {
    let scene = Scene::set(2).await;
    for moment in [MOMENTS[1].clone(), MOMENTS[3].clone()] {
        let mut rebuild = Rebuild::start(&scene.stage, moment, Signal::STOP).await;
        scene.load.recovers().await;
        sleep(Duration::from_secs(1)).await;
        rebuild.signal(Signal::CONT);
        // Done, or it says that it is not.
        let code = rebuild.child.wait().unwrap().code();
        assert!(matches!(code, Some(0..=2)), "{code:?}");
        scene.load.recovers().await;
        assert_read_models_are_right(&scene.stage.database).await;
    }
    scene.end().await;
}

/// `credit-ledger rebuild balance`, over a line of its own.
struct Rebuild {
    child: Child,
    _link: Link,
}

impl Rebuild {
    /// Starts it and waits until it came to the moment and was sent the signal.
    async fn start(stage: &Stage, moment: Point, signal: Signal) -> Self {
        let (link, url) = stage.line();
        let pid = Arc::new(Mutex::new(None));
        let of_hook = Arc::clone(&pid);
        let hook = move || {
            let pid: Option<Pid> = *of_hook.lock().unwrap();
            kill_process(pid.unwrap(), signal).unwrap();
        };
        let sprung = link.arm(moment, Then::Pass, hook);
        let child = {
            let mut pid = pid.lock().unwrap();
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/settings.toml");
            let mut command = Command::new(env!("CARGO_BIN_EXE_credit-ledger"));
            command.env_clear().env("DATABASE_URL", url);
            command
                .arg("--config")
                .arg(file)
                .args(["rebuild", "balance"]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let child = command.spawn().unwrap();
            *pid = Some(Pid::from_child(&child));
            child
        };
        comes(sprung, "the moment of the rebuild").await;
        Self { child, _link: link }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each is what its SQL makes of the log.
pub(super) async fn assert_read_models_are_right(database: &Database) {
    for model in READ_MODELS {
        let checked = rebuild::check(database, model.name, &mut |_, _| {}).await;
        let checked = checked.unwrap();
        assert!(!checked.was_broken(), "{checked:?}");
    }
}
