//! Disks that are full: of the tables, and of everything.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use credit_ledger_verify::record::SealRecord;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::load::{BYSTANDER, Load};
use crate::stage::{Cluster, Stage, new_folder};
use crate::support::{eventually, not_run};

/// Each of a size that takes more at once than is free, until nothing is.
const CHUNKS_BYTES: [usize; 3] = [1024 * 1024, 64 * 1024, 4096];

/// A small disk. Gone with this, which is to outlive the server whose files are on it.
struct Disk(PathBuf);

impl Disk {
    /// None where this process may not mount one, which is said.
    fn of(mib: u32, folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=755")]);
        let why = match mount.arg("tmpfs").arg(&folder).output() {
            Ok(Output { status, .. }) if status.success() => return Some(Self(folder)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        not_run(&format!("no small disk can be mounted: {why}"));
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Not a page is free after this, until somebody else frees one.
    fn fill(&self) {
        let mut options = File::options();
        options.create(true).append(true);
        let mut file = options.open(self.filler()).unwrap();
        for bytes in CHUNKS_BYTES {
            let chunk = vec![1; bytes];
            loop {
                match file.write(&chunk) {
                    Ok(written) if written == bytes => {}
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while somebody has a file of it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
        let _ = std::fs::remove_dir(&self.0);
    }
}

async fn give_to_bystander(stage: &Stage) {
    let path = format!("/v1/users/{BYSTANDER}/grants");
    let grant = json!({"amount": 50, "reason": "a test"});
    let (status, said) = stage.call(0, Method::POST, &path, &grant).await;
    assert!(status.is_success(), "{said}");
}

/// The first instance is not ready, and says that the database does not take or not answer.
async fn is_not_ready(stage: &Stage) {
    eventually("readiness tells", async || {
        let (status, said) = stage
            .call(0, Method::GET, "/health/ready", &Value::Null)
            .await;
        let detail = said["detail"].as_str().unwrap_or_default();
        (status == StatusCode::SERVICE_UNAVAILABLE && detail.contains("the database does not"))
            .then_some(())
    })
    .await;
}

fn assert_nobody_ended(stage: &Stage) {
    for instance in &stage.instances {
        assert_eq!(instance.starts(), 1, "they went on by themselves");
    }
}

/// The seals in a witness file, if all of its lines are whole.
fn witnessed(file: &PathBuf) -> Option<Vec<i64>> {
    let text = std::fs::read_to_string(file).ok()?;
    if !text.ends_with('\n') {
        return None;
    }
    let seal = |line| serde_json::from_str::<SealRecord>(line).ok();
    text.lines().map(|line| Some(seal(line)?.seal)).collect()
}

/// But for the moment until it is taken back.
async fn assert_no_line_is_torn(file: &PathBuf) {
    for _ in 0..3 {
        if witnessed(file).is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a line of {} is torn", file.display());
}

/// Every seal is in the file, in order, and none was torn.
async fn assert_all_is_witnessed(stage: &Stage, file: &PathBuf) {
    let sql = stage.sql().await;
    eventually("the file has all seals", async || {
        let last = "select coalesce(max(seal), 0) from seals";
        let last: i64 = sql.query_one(last, &[]).await.unwrap().get(0);
        let seals: Vec<i64> = (1..=last).collect();
        (last > 0 && witnessed(file)? == seals).then_some(())
    })
    .await;
}

/// A cluster with all of its files on a small disk. When a test fails, the disk is gone before the folder that it is in.
async fn cluster_on_disk(mib: u32) -> Option<(Cluster, Disk)> {
    let folder = new_folder();
    let Some(disk) = Disk::of(mib, folder.join("data")) else {
        std::fs::remove_dir_all(folder).unwrap();
        return None;
    };
    Some((Cluster::start_in(folder).await, disk))
}

/// The server goes first, then its disk, then the folder with both.
async fn end(cluster: Cluster, disk: Disk) {
    cluster.close().await;
    drop(disk);
    cluster.end().await;
}

/// Two services, with their tables on a disk that fills up; PostgreSQL's log has another. Each statement that needs room then
/// fails, all else goes on.
async fn tables_on_disk() -> Option<(Cluster, Disk, Arc<Stage>)> {
    let cluster = Cluster::start().await;
    let Some(disk) = Disk::of(48, cluster.folder.join("disk")) else {
        cluster.end().await;
        return None;
    };
    let tables = disk.0.join("tables");
    std::fs::create_dir(&tables).unwrap();
    std::fs::set_permissions(&tables, Permissions::from_mode(0o700)).unwrap();
    let owner = cluster.owner();
    chown(&tables, Some(owner.0), Some(owner.1)).unwrap();
    let database = cluster.database().await;
    cluster.move_to_disk(&database, &tables).await;
    let stage = Stage::of_two(&cluster, database, vec![]).await;
    Some((cluster, disk, stage))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_there_is_no_room_for_rows_nothing_is_acknowledged_and_reads_go_on() {
    let Some((cluster, disk, stage)) = tables_on_disk().await else {
        return;
    };
    give_to_bystander(&stage).await;
    let load = Load::start(&stage, 8);
    load.goes_on(20).await;
    for _ in 0..2 {
        disk.fill();
        is_not_ready(&stage).await;
        let path = format!("/v1/users/{BYSTANDER}/balance");
        let (status, said) = stage.call(0, Method::GET, &path, &Value::Null).await;
        assert_eq!((status, &said["balance"]), (StatusCode::OK, &json!(50)));
        disk.make_room();
        load.recovers().await;
    }
    assert_nobody_ended(&stage);
    end_unharmed(load, stage, cluster, disk).await;
}

/// A service may not even be able to start until there is room; whoever runs it tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_killed_while_there_is_no_room_come_back_when_there_is_some() {
    let Some((cluster, disk, stage)) = tables_on_disk().await else {
        return;
    };
    let load = Load::start(&stage, 8);
    load.goes_on(20).await;
    for number in [0, 1] {
        disk.fill();
        eventually("readiness tells", async || {
            (!stage.is_ready(number).await).then_some(())
        })
        .await;
        let killed = &stage.instances[number];
        let before = killed.starts();
        assert!(killed.signal(Signal::KILL));
        eventually("it has come up without room, or tried to", async || {
            let again = killed.starts() - before;
            (again > 1 || again == 1 && killed.address().is_some()).then_some(())
        })
        .await;
        disk.make_room();
        load.recovers().await;
    }
    end_unharmed(load, stage, cluster, disk).await;
}

/// Whoever is told of seals needs room; nobody else waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_file_without_room_has_whole_lines_and_goes_on_when_there_is_some() {
    let cluster = Cluster::start().await;
    let Some(disk) = Disk::of(1, cluster.folder.join("seals")) else {
        return cluster.end().await;
    };
    let file = disk.0.join("{instance}.ndjson").display().to_string();
    let settings = vec![("SEAL_WITNESS_FILE".to_owned(), file)];
    let stage = Stage::of_two(&cluster, cluster.database().await, settings).await;
    let load = Load::start(&stage, 4);
    let files = [0, 1].map(|number| disk.0.join(format!("{number}.ndjson")));
    for file in &files {
        eventually("seals are written down", async || {
            (!witnessed(file)?.is_empty()).then_some(())
        })
        .await;
    }
    disk.fill();
    for instance in &stage.instances {
        eventually("there is no room for a seal", async || {
            instance.log().contains("No space left").then_some(())
        })
        .await;
    }
    load.goes_on(20).await;
    for file in &files {
        assert_no_line_is_torn(file).await;
    }
    disk.make_room();
    for file in &files {
        assert_all_is_witnessed(&stage, file).await;
    }
    load.recovers().await;
    let seen = load.finish().await;
    assert_eq!(seen.unavailable, 0);
    assert_nobody_ended(&stage);
    drop(stage);
    end(cluster, disk).await;
}

/// The whole cluster is on a disk that fills up. Without room for its log PostgreSQL ends itself, and can not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_there_is_no_room_for_the_log_the_database_is_down_and_comes_back_by_itself() {
    let Some((cluster, disk)) = cluster_on_disk(256).await else {
        return;
    };
    let stage = Stage::of_two(&cluster, cluster.database().await, vec![]).await;
    give_to_bystander(&stage).await;
    let load = Load::start(&stage, 8);
    load.goes_on(20).await;
    let later = cluster.log_of_later_starts();
    disk.fill();
    // It takes what segments of its log there are.
    let sql = stage.sql().await;
    eventually("PostgreSQL ends itself", async || {
        disk.fill();
        sql.query("select pg_switch_wal()", &[]).await.err()?;
        sql.is_closed().then_some(())
    })
    .await;
    is_not_ready(&stage).await;
    eventually("it was started in vain", async || {
        let said = std::fs::read_to_string(&later).ok()?;
        said.contains("No space left on device").then_some(())
    })
    .await;
    disk.make_room();
    load.recovers().await;
    assert_nobody_ended(&stage);
    end_unharmed(load, stage, cluster, disk).await;
}

/// Somebody was told to come later, and nothing is lost.
async fn end_unharmed(load: Load, stage: Arc<Stage>, cluster: Cluster, disk: Disk) {
    let seen = load.finish().await;
    assert!(seen.unavailable > 0);
    drop(stage);
    end(cluster, disk).await;
}
