//! The private cluster and the migrations against a real server. Needs the programs of PostgreSQL; as root they run
//! as `postgres` or `nobody`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;
use tokio_postgres::error::SqlState;

use super::{
    ConnectOptions, Database, DatabaseSettings, PoolOptions, PostgresError, Role, RoleUse,
};

/// Tells the re-run test binary where to open a cluster.
const CHILD_DIR: &str = "CREDIT_LEDGER_TEST_CLUSTER_DIR";
const PATIENCE: Duration = Duration::from_secs(30);

/// A data directory that is gone when the test ends.
struct DataDir(PathBuf);

impl DataDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!(
            "credit-ledger-test-{}-{number}",
            std::process::id()
        ));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn settings(&self) -> DatabaseSettings {
        DatabaseSettings {
            data_dir: Some(self.0.clone()),
            ..DatabaseSettings::default()
        }
    }

    async fn open(&self) -> Database {
        Database::open(&self.settings())
            .await
            .unwrap_or_else(|error| panic!("{}", super::error_chain(&error)))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.join("postgres/postgres.log")).unwrap()
    }

    fn postmaster(&self) -> Pid {
        let text = fs::read_to_string(self.0.join("postgres/data/postmaster.pid")).unwrap();
        Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Is there such a process, other than as a zombie that nobody has waited for yet?
fn is_running(pid: Pid) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn answers(database: &Database) -> bool {
    database
        .connect_as_login(&ConnectOptions::default())
        .await
        .is_ok()
}

async fn text(database: &Database, query: &str) -> String {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// Another process that opens the cluster and stays; killed when dropped.
struct OtherProcess(Child);

impl OtherProcess {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "postgres::tests::other_process",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(
            lines.any(|line| line.unwrap().contains("READY")),
            "the other process did not open the cluster"
        );
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().signal(), Some(9));
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "is the other process of the tests that need one"]
async fn other_process() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let settings = DatabaseSettings {
        data_dir: Some(dir.into()),
        ..DatabaseSettings::default()
    };
    let _database = Database::open(&settings).await.unwrap();
    println!("READY");
    // Until the first process is gone.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
}

#[tokio::test]
async fn a_cluster_starts_stops_and_keeps_its_data() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let settings =
        "select concat_ws(' ', current_setting('fsync'), current_setting('full_page_writes'),
        current_setting('synchronous_commit'), current_setting('data_checksums'),
        '[' || current_setting('listen_addresses') || ']', current_setting('server_encoding'))";
    assert_eq!(text(&database, settings).await, "on on on on [] UTF8");
    assert_eq!(database.name(), "credit_ledger");
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    client
        .batch_execute("create table kept as select 'still here' as word")
        .await
        .unwrap();
    drop(client);
    let postmaster = dir.postmaster();
    database.close().await;
    assert!(!is_running(postmaster));
    assert!(!answers(&database).await);

    let database = dir.open().await;
    assert_eq!(text(&database, "select word from kept").await, "still here");
    database.close().await;
}

#[tokio::test]
async fn dropping_the_last_clone_stops_the_cluster() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let postmaster = dir.postmaster();
    let sibling = database.sibling("postgres");
    drop(database);
    assert!(answers(&sibling).await, "a sibling keeps the cluster");
    drop(sibling);
    wait_until("the server is gone", async || !is_running(postmaster)).await;
}

#[tokio::test]
async fn a_second_instance_joins_and_takes_over() {
    let dir = DataDir::new();
    let (first, second) = tokio::join!(dir.open(), dir.open());
    let is_manager = |database: &Database| database.private_cluster().unwrap().1;
    assert_ne!(
        is_manager(&first),
        is_manager(&second),
        "one manages, the other has joined"
    );
    let (manager, joined) = if is_manager(&first) {
        (first, second)
    } else {
        (second, first)
    };
    let postmaster = dir.postmaster();
    manager.close().await;
    assert!(!is_running(postmaster));
    wait_until("the joined one has started a server", async || {
        answers(&joined).await
    })
    .await;
    assert!(is_manager(&joined));
    joined.close().await;
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    client
        .batch_execute("create table kept as select 'still here' as word")
        .await
        .unwrap();
    let postmaster = dir.postmaster();
    kill_process(postmaster, Signal::KILL).unwrap();
    wait_until("the session is lost", async || client.is_closed()).await;
    wait_until("a new server answers", async || answers(&database).await).await;
    assert_ne!(dir.postmaster(), postmaster);
    assert_eq!(text(&database, "select word from kept").await, "still here");
    database.close().await;
}

#[tokio::test]
async fn a_killed_manager_leaves_no_orphan_and_another_takes_over() {
    let dir = DataDir::new();
    let mut other = OtherProcess::start(&dir.0);
    let orphan = dir.postmaster();
    let joined = dir.open().await;
    assert!(!joined.private_cluster().unwrap().1);
    other.kill();
    wait_until("the orphan is gone", async || !is_running(orphan)).await;
    wait_until("the joined one has started a server", async || {
        joined.private_cluster().unwrap().1 && answers(&joined).await
    })
    .await;
    assert_ne!(dir.postmaster(), orphan);
    joined.close().await;
}

#[tokio::test]
async fn a_restart_after_both_were_killed_recovers() {
    let dir = DataDir::new();
    let mut other = OtherProcess::start(&dir.0);
    let postmaster = dir.postmaster();
    kill_process(postmaster, Signal::KILL).unwrap();
    other.kill();
    let database = dir.open().await;
    assert!(answers(&database).await);
    database.close().await;
}

#[tokio::test]
async fn a_server_that_somebody_else_started_is_adopted() {
    let dir = DataDir::new();
    dir.open().await.close().await;
    let root = dir.0.join("postgres");
    let binaries = super::binaries::Binaries::find(None, None).unwrap();
    let mut stranger = super::account::Account::choose()
        .command(&binaries.dir, "postgres")
        .arg("-D")
        .arg(root.join("data"))
        .arg("-k")
        .arg(root.join("socket"))
        .args(["-c", "listen_addresses="])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&stranger);
    wait_until("the stranger answers", async || {
        std::os::unix::net::UnixStream::connect(root.join("socket/.s.PGSQL.5432")).is_ok()
    })
    .await;
    let reaper = std::thread::spawn(move || stranger.wait().unwrap());

    let database = dir.open().await;
    assert_eq!(dir.postmaster(), pid, "no second server on the same files");
    wait_until("it is watched", async || {
        dir.log().contains("postmaster.pid\" already exists")
    })
    .await;
    database.close().await;
    assert!(!is_running(pid), "it is stopped with us");
    assert!(reaper.join().unwrap().success());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works() {
    let dir = DataDir::new();
    let long = DataDir(dir.0.join("x".repeat(120)));
    let database = long.open().await;
    let socket_dir = text(
        &database,
        "select current_setting('unix_socket_directories')",
    )
    .await;
    assert!(socket_dir.len() < 60, "{socket_dir}");
    database.close().await;
    fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test]
async fn what_can_not_work_is_said_at_once() {
    let dir = DataDir::new();
    let database = dir.open().await;
    database.close().await;
    let error =
        |settings: DatabaseSettings| async move { Database::open(&settings).await.unwrap_err() };

    fs::write(dir.0.join("postgres/data/PG_VERSION"), "12\n").unwrap();
    let found = error(dir.settings()).await;
    assert!(
        matches!(found, PostgresError::BinariesNotFound { .. }),
        "{found}"
    );
    assert!(found.to_string().contains("version 12"), "{found}");

    let found = error(DatabaseSettings {
        bin_dir: Some("/nowhere".into()),
        ..DataDir::new().settings()
    })
    .await;
    assert!(
        matches!(found, PostgresError::BinariesUnfit { .. }),
        "{found}"
    );

    let found = error(DatabaseSettings {
        database: Some("x".repeat(64)),
        ..dir.settings()
    })
    .await;
    assert!(matches!(found, PostgresError::DatabaseName(_)), "{found}");

    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt as _;
        let closed = DataDir::new();
        fs::create_dir(&closed.0).unwrap();
        fs::set_permissions(&closed.0, fs::Permissions::from_mode(0o700)).unwrap();
        let found = error(closed.settings()).await;
        assert!(
            found.to_string().contains("can not pass through"),
            "{found}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_instances_migrate_one_empty_database_at_once() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let running: Vec<_> = (0..8)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move { database.migrate().await.unwrap() })
        })
        .collect();
    let mut with_work = 0;
    for task in running {
        let report = task.await.unwrap();
        assert_eq!(report.roles, RoleUse::Separate);
        assert!(report.schema_version >= 1);
        with_work += usize::from(!report.applied.is_empty());
    }
    assert_eq!(with_work, 1, "one applied everything, the others nothing");
    assert!(database.has_separate_roles());
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_one_server_migrate_at_once() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let mut siblings = Vec::new();
    for number in 0..6 {
        let sibling = database.sibling(&format!("ledger \"{number}\""));
        assert!(sibling.create(None).await.unwrap());
        siblings.push(sibling);
    }
    let running: Vec<_> = siblings
        .into_iter()
        .map(|sibling| tokio::spawn(async move { sibling.migrate().await.unwrap() }))
        .collect();
    for task in running {
        let report = task.await.unwrap();
        assert_eq!(report.roles, RoleUse::Separate);
        assert!(!report.applied.is_empty());
    }
    let copy = database.sibling("copy");
    assert!(copy.create(Some("ledger \"0\"")).await.unwrap());
    assert!(
        !copy.create(Some("ledger \"0\"")).await.unwrap(),
        "it is there already"
    );
    assert!(
        copy.migrate().await.unwrap().applied.is_empty(),
        "a copy has everything"
    );
    database.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let known = database.migrate().await.unwrap().schema_version;
    let owner = database
        .connect(Role::Owner, &ConnectOptions::default())
        .await
        .unwrap();
    owner
        .execute(
            "insert into refinery_schema_history select version + 1, name, applied_on, checksum
             from refinery_schema_history where version = $1",
            &[&known],
        )
        .await
        .unwrap();
    let error = database.migrate().await.unwrap_err();
    assert!(
        matches!(error, PostgresError::SchemaTooNew { found, known: ours } if found == known + 1 && ours == known)
    );
    database.close().await;
}

#[tokio::test]
async fn roles_may_do_what_they_need_and_no_more() {
    let dir = DataDir::new();
    let database = dir.open().await;
    database.migrate().await.unwrap();
    let owner = database
        .connect(Role::Owner, &ConnectOptions::default())
        .await
        .unwrap();
    // Tables made later, a rebuild's for example, are covered by another call.
    owner
        .batch_execute(
            "create table rebuild.later (id integer generated always as identity primary key, word text);
             alter table rebuild.later set schema public;",
        )
        .await
        .unwrap();
    super::grant_privileges(&owner).await.unwrap();

    let app = database
        .connect(Role::App, &ConnectOptions::default())
        .await
        .unwrap();
    let auditor = database
        .connect(Role::Auditor, &ConnectOptions::default())
        .await
        .unwrap();
    for client in [&app, &auditor] {
        client
            .batch_execute("select * from events; select * from later")
            .await
            .unwrap();
    }
    app.batch_execute("insert into later (word) values ('a'); update later set word = 'b'")
        .await
        .unwrap();
    let has_insert = "select has_table_privilege('events', 'insert')";
    assert!(
        app.query_one(has_insert, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );
    for statement in [
        "update events set shard = shard",
        "delete from events",
        "truncate events",
        "alter table events add column x integer",
        "drop table events",
        "truncate later",
        "delete from later",
        "delete from inbox",
        "update homes set shard = shard",
        "update requests set status = status",
        "delete from heads",
        "update personal set profile = profile",
        "update ledger set shards = shards",
        "delete from refinery_schema_history",
        "create table public.mine ()",
        "create table rebuild.mine ()",
    ] {
        for client in [&app, &auditor] {
            let error = client.batch_execute(statement).await.unwrap_err();
            assert_eq!(
                error.code(),
                Some(&SqlState::INSUFFICIENT_PRIVILEGE),
                "{statement}: {error}"
            );
        }
    }
    for statement in [
        "insert into later (word) values ('a')",
        "insert into events select * from events",
    ] {
        let error = auditor.batch_execute(statement).await.unwrap_err();
        assert_eq!(
            error.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{statement}: {error}"
        );
    }
    database.close().await;
}

#[tokio::test]
async fn a_right_given_by_mistake_is_taken_back() {
    let dir = DataDir::new();
    let database = dir.open().await;
    database.migrate().await.unwrap();
    let owner = database
        .connect(Role::Owner, &ConnectOptions::default())
        .await
        .unwrap();
    let mistake = "grant update, delete, truncate on events to credit_ledger_app;
                   grant insert on events to credit_ledger_auditor";
    owner.batch_execute(mistake).await.unwrap();
    database.migrate().await.unwrap();
    for right in ["update", "delete", "truncate"] {
        let query =
            format!("select has_table_privilege('credit_ledger_app', 'events', '{right}')::text");
        assert_eq!(text(&database, &query).await, "false", "{right}");
    }
    let query = "select has_table_privilege('credit_ledger_auditor', 'events', 'insert')::text";
    assert_eq!(text(&database, query).await, "false");
    database.close().await;
}

#[tokio::test]
async fn a_login_that_may_not_make_roles_runs_everything_itself() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let admin = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    admin
        .batch_execute("create role modest login")
        .await
        .unwrap();
    admin
        .batch_execute("create database modest owner modest")
        .await
        .unwrap();
    let socket_dir = text(
        &database,
        "select current_setting('unix_socket_directories')",
    )
    .await;
    let url = format!(
        "postgres://modest@{}/modest",
        socket_dir.replace('/', "%2F")
    );
    let settings = DatabaseSettings {
        url: Some(url.into()),
        ..DatabaseSettings::default()
    };
    let modest = Database::open(&settings).await.unwrap();
    for _ in 0..2 {
        let report = modest.migrate().await.unwrap();
        assert!(
            matches!(report.roles, RoleUse::LoginOnly { .. }),
            "{report:?}"
        );
    }
    let app = modest
        .connect(Role::App, &ConnectOptions::default())
        .await
        .unwrap();
    assert_eq!(
        app.query_one("select current_user::text", &[])
            .await
            .unwrap()
            .get::<_, String>(0),
        "modest"
    );

    // Roles that come later do not change whose the tables are.
    admin
        .batch_execute("alter role modest superuser")
        .await
        .unwrap();
    let report = modest.migrate().await.unwrap();
    assert!(
        matches!(report.roles, RoleUse::LoginOnly { reason } if reason.contains("belong to \"modest\""))
    );
    database.close().await;
}

#[tokio::test]
async fn a_login_that_may_not_pass_its_rights_on_runs_everything_itself() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let admin = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    admin
        .batch_execute(
            "create role guest login createrole;
             grant create on database credit_ledger to guest;
             grant usage, create on schema public to guest;",
        )
        .await
        .unwrap();
    let socket_dir = text(
        &database,
        "select current_setting('unix_socket_directories')",
    )
    .await;
    let url = format!(
        "postgres://guest@{}/credit_ledger",
        socket_dir.replace('/', "%2F")
    );
    let settings = DatabaseSettings {
        url: Some(url.into()),
        ..DatabaseSettings::default()
    };
    let guest = Database::open(&settings).await.unwrap();
    let report = guest.migrate().await.unwrap();
    assert!(
        matches!(report.roles, RoleUse::LoginOnly { reason } if reason.contains("may not grant CREATE"))
    );
    database.close().await;
}

#[tokio::test]
async fn a_login_that_makes_roles_becomes_a_member() {
    let dir = DataDir::new();
    let database = dir.open().await;
    let admin = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    admin
        .batch_execute("create role maker login createrole")
        .await
        .unwrap();
    admin
        .batch_execute("create database maker owner maker")
        .await
        .unwrap();
    let socket_dir = text(
        &database,
        "select current_setting('unix_socket_directories')",
    )
    .await;
    let url = format!("postgres://maker@{}/maker", socket_dir.replace('/', "%2F"));
    let settings = DatabaseSettings {
        url: Some(url.into()),
        ..DatabaseSettings::default()
    };
    let maker = Database::open(&settings).await.unwrap();
    assert_eq!(maker.migrate().await.unwrap().roles, RoleUse::Separate);
    // An instance that does not migrate finds the roles by itself.
    let again = Database::open(&settings).await.unwrap();
    assert!(again.has_separate_roles());
    let app = again
        .connect(Role::App, &ConnectOptions::default())
        .await
        .unwrap();
    let error = app.batch_execute("delete from events").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    database.close().await;
}

#[tokio::test]
async fn every_way_in_acts_as_the_role_with_its_settings() {
    let dir = DataDir::new();
    let database = dir.open().await;
    database.migrate().await.unwrap();
    let query = "select concat_ws(' ', current_user, current_setting('lock_timeout'),
        current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'),
        current_setting('application_name'))";
    let options = ConnectOptions {
        application_name: "test".to_owned(),
        lock_timeout: Some(Duration::from_secs(5)),
        statement_timeout: Some(Duration::from_millis(1500)),
        idle_in_transaction_session_timeout: Some(Duration::from_secs(3)),
        ..ConnectOptions::default()
    };
    let expected = |role: Role| format!("{} 5s 1500ms 3s test", role.name());

    for role in [Role::Owner, Role::App, Role::Auditor] {
        let client = database.connect(role, &options).await.unwrap();
        assert_eq!(
            client
                .query_one(query, &[])
                .await
                .unwrap()
                .get::<_, String>(0),
            expected(role)
        );

        let pool_options = PoolOptions {
            connect: options.clone(),
            ..PoolOptions::for_reads(2)
        };
        let pool = database.pool(role, &pool_options).unwrap();
        let client = pool.get().await.unwrap();
        assert_eq!(
            client
                .query_one(query, &[])
                .await
                .unwrap()
                .get::<_, String>(0),
            expected(role)
        );

        let mut sqlx = sqlx::PgConnection::connect_with(&database.sqlx_options(role, &options))
            .await
            .unwrap();
        let (found,): (String,) = sqlx::query_as(query).fetch_one(&mut sqlx).await.unwrap();
        assert_eq!(found, expected(role));
    }
    database.close().await;
}

/// With the URL of a server in `DATABASE_URL_TO_TRY`: everything that a URL can lead to.
#[tokio::test]
#[ignore = "needs a server: DATABASE_URL_TO_TRY"]
async fn a_server_of_a_url_works() {
    let url = std::env::var("DATABASE_URL_TO_TRY").unwrap();
    let settings = DatabaseSettings {
        url: Some(url.into()),
        ..DatabaseSettings::default()
    };
    let database = match Database::open(&settings).await {
        Ok(database) => database,
        Err(error) => panic!("{}", super::error_chain(&error)),
    };
    println!("{database:?}");
    let report = database
        .migrate()
        .await
        .unwrap_or_else(|error| panic!("{}", super::error_chain(&error)));
    println!("{report:?}");
    let who = "select current_user::text";
    // A role does not see the connection of the login it belongs to.
    let login = "set role none";
    let tls =
        "select coalesce((select version from pg_stat_ssl where pid = pg_backend_pid()), 'no TLS')";
    let options = ConnectOptions::default();

    let client = database.connect(Role::App, &options).await.unwrap();
    let our_role: String = client.query_one(who, &[]).await.unwrap().get(0);
    client.batch_execute(login).await.unwrap();
    let our_tls: String = client.query_one(tls, &[]).await.unwrap().get(0);

    let mut sqlx = sqlx::PgConnection::connect_with(&database.sqlx_options(Role::App, &options))
        .await
        .unwrap();
    let (their_role,): (String,) = sqlx::query_as(who).fetch_one(&mut sqlx).await.unwrap();
    sqlx::query(login).execute(&mut sqlx).await.unwrap();
    let (their_tls,): (String,) = sqlx::query_as(tls).fetch_one(&mut sqlx).await.unwrap();
    println!("tokio-postgres: {our_role} {our_tls}; sqlx: {their_role} {their_tls}");
    assert_eq!((our_role, our_tls), (their_role, their_tls));
}
