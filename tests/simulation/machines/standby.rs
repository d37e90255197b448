//! The primary is lost for good and its synchronous standby takes over; and a standby that is lost itself.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use credit_ledger::postgres::{ConnectOptions, PoolOptions, Role};
use reqwest::{RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio_postgres::NoTls;

use crate::link::SOCKET;
use crate::load::{BYSTANDER, Load, ask};
use crate::stage::{Cluster, Stage};
use crate::support::app::SERVICE_KEY;
use crate::support::{eventually, not_run};

/// What the primary knows its standby by.
const NAME: &str = "standby";
/// Until then a commit is known or the answer is 503, says the README; and a moment more.
const COMMIT_KNOWN: Duration = Duration::from_secs(12);

/// Whether there is what runs a standby's programs under its account; if not, it is said.
fn can_run_one() -> bool {
    let version = Command::new("setpriv").arg("--version").output();
    let found = version.is_ok_and(|output| output.status.success());
    if !found {
        not_run("a standby needs setpriv, and there is none here");
    }
    found
}

/// A standby of a cluster. Ends with this.
struct Standby {
    folder: PathBuf,
    bin: PathBuf,
    owner: (u32, u32),
    server: Option<Child>,
}

impl Standby {
    /// A copy of the cluster that follows it.
    async fn of(cluster: &Cluster) -> Self {
        let owner = cluster.owner();
        let folder = cluster.folder.join(NAME);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        chown(&folder, Some(owner.0), Some(owner.1)).unwrap();
        let mut standby = Self {
            folder,
            bin: bin_dir(&cluster.data()),
            owner,
            server: None,
        };
        let from = format!(
            "host={} user={} application_name={NAME}",
            cluster.socket().display(),
            cluster.login().await,
        );
        let mut copy = standby.program("pg_basebackup");
        copy.args(["--checkpoint=fast", "--write-recovery-conf", "--no-sync"])
            .arg(format!("--dbname={from}"))
            .arg("--pgdata")
            .arg(standby.data());
        let output = copy.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        standby.start();
        standby
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of PostgreSQL as the account that owns the files. It ends with this thread.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = self.owner;
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
            command.arg("--clear-groups");
        }
        command
            .args(["--pdeathsig=KILL", "--"])
            .arg(self.bin.join(name))
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let mut server = self.program("postgres");
        server
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder);
        server.args(["-p", "5432", "-c", "listen_addresses="]);
        server.args(["-c", "wal_retrieve_retry_interval=100ms"]);
        server.stdout(Stdio::null()).stderr(log);
        self.server = Some(server.spawn().unwrap());
    }

    /// kill -9 of all of it.
    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill_with_children(Pid::from_child(&server));
            let _ = server.wait();
        }
    }

    async fn promote(&self, login: &str) {
        let host = self.folder.display();
        let config = format!("host={host} user={login} dbname=postgres");
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(connection);
        let promoted = client.query_one("select pg_promote()", &[]).await.unwrap();
        assert!(promoted.get::<_, bool>(0));
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the programs are that a cluster runs with.
fn bin_dir(data: &Path) -> PathBuf {
    let started = std::fs::read_to_string(data.join("postmaster.opts")).unwrap();
    let program = started.split(" \"").next().unwrap();
    Path::new(program).parent().unwrap().to_owned()
}

/// A server and all of its sessions at once: none commits or says anything after this.
fn kill_with_children(postmaster: Pid) {
    let path = format!("/proc/{0}/task/{0}/children", postmaster.as_raw_nonzero());
    let _ = kill_process(postmaster, Signal::STOP);
    let children = std::fs::read_to_string(path).unwrap_or_default();
    for child in children.split_whitespace() {
        if let Some(pid) = Pid::from_raw(child.parse().unwrap()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = kill_process(postmaster, Signal::KILL);
}

/// Nothing is acknowledged that the standby does not have.
async fn make_synchronous(stage: &Stage) {
    let sql = stage.sql().await;
    set_names(&sql, NAME).await;
    eventually("the standby is synchronous", async || {
        let in_sync =
            "select from pg_stat_replication where application_name = $1 and sync_state = 'sync'";
        let rows = sql.query(in_sync, &[&NAME]).await.unwrap();
        (!rows.is_empty()).then_some(())
    })
    .await;
}

async fn set_names(sql: &tokio_postgres::Client, names: &str) {
    let set = format!("alter system set synchronous_standby_names = '{names}'");
    sql.batch_execute(&set).await.unwrap();
    sql.batch_execute("select pg_reload_conf()").await.unwrap();
}

/// The machine is gone: its server, and its files. Whoever connects where it was finds the other one.
fn lose(cluster: &Cluster, standby: &Standby) {
    let postmaster = cluster.postmaster().unwrap();
    // Or it would be started again.
    std::fs::rename(cluster.data(), cluster.folder.join("lost")).unwrap();
    kill_with_children(postmaster);
    let socket = cluster.socket().join(SOCKET);
    let _ = std::fs::remove_file(&socket);
    symlink(standby.folder.join(SOCKET), socket).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_the_primary_was_lost_is_on_its_synchronous_standby() {
    if !can_run_one() {
        return;
    }
    let cluster = Cluster::start().await;
    let stage = Stage::of_two(&cluster, cluster.database().await, vec![]).await;
    let standby = Standby::of(&cluster).await;
    let login = cluster.login().await;
    make_synchronous(&stage).await;
    let load = Load::start(&stage, 16);
    load.goes_on(30).await;
    lose(&cluster, &standby);
    standby.promote(&login).await;
    for link in &stage.links {
        link.lead_to(&standby.folder);
    }
    load.recovers().await;
    load.goes_on(50).await;
    let seen = load.finish().await;
    assert!(seen.unavailable > 0, "somebody was told to ask again");
    for instance in &stage.instances {
        assert_eq!(instance.starts(), 1, "they went on by themselves");
    }
    drop((stage, standby));
    cluster.end().await;
}

/// A commit hangs while the one standby is away: whoever waits for it is told in time to ask again, and nobody is told that
/// it is done. What hangs is done once when the standby is back, or is not waited for any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_hang_without_their_standby_are_done_once_when_they_may() {
    if !can_run_one() {
        return;
    }
    let cluster = Cluster::start().await;
    let stage = Stage::of_two(&cluster, cluster.database().await, vec![]).await;
    let mut standby = Standby::of(&cluster).await;
    make_synchronous(&stage).await;
    let load = Load::start(&stage, 8);
    load.goes_on(20).await;
    standby.kill();
    assert_hangs(&stage, &load).await;
    standby.start();
    load.recovers().await;
    standby.kill();
    let done = load.done();
    let sql = stage.sql().await;
    eventually("commits hang", async || {
        let hang = "select from pg_stat_activity where wait_event = 'SyncRep'";
        (!sql.query(hang, &[]).await.unwrap().is_empty()).then_some(())
    })
    .await;
    set_names(&sql, "").await;
    load.recovers().await;
    assert!(load.done() >= done);
    let seen = load.finish().await;
    assert!(seen.unavailable > 0);
    drop((stage, standby));
    cluster.end().await;
}

/// Neither a default that waits for no standby nor whoever ends the waiting by force makes a commit known to it: what was
/// asked for is not acknowledged until it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_wait_for_the_standby_is_cut_off_is_not_acknowledged() {
    if !can_run_one() {
        return;
    }
    let cluster = Cluster::start().await;
    let database = cluster.database().await;
    cluster.wait_for_no_standby(&database).await;
    let stage = Stage::of_two(&cluster, database, vec![]).await;
    let mut standby = Standby::of(&cluster).await;
    make_synchronous(&stage).await;
    let sql = stage.sql().await;
    for by in ["pg_cancel_backend", "pg_terminate_backend"] {
        standby.kill();
        let mut granted = tokio::spawn(ask(grant(&stage, by)));
        let cut_off = waits_anew(&sql, &[]).await;
        let cut = format!("select {by}(pid) from unnest($1::integer[]) as pid");
        sql.query(&cut, &[&cut_off]).await.unwrap();
        // It was tried again, and waits again.
        let tried_again = waits_anew(&sql, &cut_off);
        tokio::pin!(tried_again);
        tokio::select! {
            _ = &mut tried_again => {}
            said = &mut granted => panic!("{by}: answered too early: {said:?}"),
        }
        standby.start();
        let (status, said) = granted.await.unwrap().unwrap();
        assert_eq!(status, StatusCode::OK, "{by}: {said}");
    }
    let load = Load::start(&stage, 4);
    load.goes_on(10).await;
    load.finish().await;
    let grants = "select count(*) from events where aggregate_id = $1";
    let row = sql.query_one(grants, &[&BYSTANDER]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    set_names(&sql, "").await;
    drop((stage, standby));
    cluster.end().await;
}

/// Seals are committed by a session of a pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_a_pool_takes_no_wait_that_was_cut_off_for_a_commit() {
    let cluster = Cluster::start().await;
    let database = cluster.database().await;
    let options = ConnectOptions::default();
    let sql = database.connect_as_login(&options).await.unwrap();
    let pool = database.pool(Role::App, &PoolOptions::for_reads(1));
    let session = pool.unwrap().get().await.unwrap();
    let pid = session.query_one("select pg_backend_pid()", &[]).await;
    let pid: i32 = pid.unwrap().get(0);
    set_names(&sql, NAME).await;
    // The server may not have heard of it yet.
    let mut commits = tokio::spawn(async move {
        while session
            .query("select from heads for update", &[])
            .await
            .is_ok()
        {}
    });
    eventually("a commit hangs", async || {
        let hangs = "select from pg_stat_activity where pid = $1 and wait_event = 'SyncRep'";
        (!sql.query(hangs, &[&pid]).await.unwrap().is_empty()).then_some(())
    })
    .await;
    let cut = sql.query("select pg_cancel_backend($1)", &[&pid]).await;
    cut.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), &mut commits).await;
    assert!(ended.is_ok(), "it took it for a commit");
    set_names(&sql, "").await;
    drop(sql);
    cluster.end().await;
}

/// The sessions of lanes whose commits wait for the standby, once there are others than these.
async fn waits_anew(sql: &tokio_postgres::Client, before: &[i32]) -> Vec<i32> {
    eventually("a commit waits", async || {
        let waiting = "select coalesce(array_agg(pid), '{}') from pg_stat_activity \
                       where wait_event = 'SyncRep' and application_name = 'credit-ledger lane' and pid <> all($1)";
        let waiting: Vec<i32> = sql.query_one(waiting, &[&before]).await.unwrap().get(0);
        (!waiting.is_empty()).then_some(waiting)
    })
    .await
}

fn grant(stage: &Stage, key: &str) -> RequestBuilder {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let address = stage.address(0).unwrap();
    let url = format!("http://{address}/v1/users/{BYSTANDER}/grants");
    let request = client.post(url).bearer_auth(SERVICE_KEY);
    let request = request.header("Idempotency-Key", key);
    request.json(&json!({"amount": 1, "reason": "a test"}))
}

/// The sessions whose commits hang are ended when they are given up. Each batch that locks nothing in the way of the next
/// one would leave one more, until the server has no connection left.
async fn assert_end(stage: &Stage) {
    let sql = stage.sql().await;
    let hung = waits_anew(&sql, &[]).await;
    eventually("they are ended", async || {
        let there = "select from pg_stat_activity where pid = any($1)";
        let there = sql.query(there, &[&hung]).await.unwrap();
        there.is_empty().then_some(())
    })
    .await;
}

/// Until an instance has given up a whole batch: then somebody else may try what hangs.
async fn assert_hangs(stage: &Stage, load: &Load) {
    let asked = Instant::now();
    let (status, said) = ask(grant(stage, "while_it_hangs")).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{said}");
    assert!(asked.elapsed() < COMMIT_KNOWN, "{:?}", asked.elapsed());
    let done = load.done();
    eventually("a batch is given up", async || {
        let log = stage.instances[0].log() + &stage.instances[1].log();
        log.contains("a batch was not committed").then_some(())
    })
    .await;
    assert_eq!(load.done(), done, "nothing is acknowledged meanwhile");
    assert_end(stage).await;
    // Only commits wait. A session of which another thing does would stay until the standby is back, one for each try.
    let sql = stage.sql().await;
    let others = "select query from pg_stat_activity where wait_event = 'SyncRep' \
                  and application_name = 'credit-ledger lane' and query <> 'commit'";
    let others = sql.query(others, &[]).await.unwrap();
    let others: Vec<String> = others.iter().map(|row| row.get(0)).collect();
    assert_eq!(others, Vec::<String>::new());
}
