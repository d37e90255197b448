//! The restore drill: the commands of the README's chapter "Backup and restore", run as they stand there.
//!
//! The history comes from a cluster whose transaction ids are far ahead (beyond 32 bits), and is restored into fresh
//! ones, which begin at about 700: whatever depended on them would lose events, stall, or credit twice.

use std::cell::Cell;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Database, DatabaseSettings, Role};
use credit_ledger::projection::{READ_MODELS, rebuild};
use serde_json::json;
use tokio_postgres::Client;

use crate::crash::service::DataDir;
use crate::support::deliveries::{captured, created, payment, user};
use crate::support::integrity::assert_log_is_whole;
use crate::support::load::{Sent, deliver_all, tally};
use crate::support::seals::{key_pem, sealing};
use crate::support::story::{self, Story};
use crate::support::{Options, TestApp};
use crate::tampering::sealed::{Trusted, assert_clean, verdict_of};

const README: &str = include_str!("../README.md");

/// Seven times around 32 bits, and then the first id of a segment of `pg_xact`: the segment is made when it is used.
const EPOCH: u32 = 7;
const NEXT_XID: u32 = 1431 * 1_048_576;

/// The commands of a block of the chapter: to dump, to restore into a server of one's own, into a private cluster.
#[derive(Clone, Copy)]
enum Block {
    Dump,
    ToServer,
    ToPrivate,
}

fn commands(block: Block) -> &'static str {
    let (_, chapter) = README.split_once("\n## Backup and restore\n").unwrap();
    let (chapter, _) = chapter.split_once("\n## ").unwrap();
    let blocks: Vec<&str> = chapter
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect();
    assert_eq!(blocks.len(), 3, "each block is tried here");
    blocks[block as usize]
}

/// The private cluster of a folder, and one that is not there yet.
fn settings(data: &DataDir) -> DatabaseSettings {
    DatabaseSettings {
        data_dir: Some(data.0.join("data")),
        bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
        ..DatabaseSettings::default()
    }
}

fn url(data: &DataDir, login: &str, database: &str) -> String {
    let socket = data.0.join("data/postgres/socket");
    format!("postgres://{login}@/{database}?host={}", socket.display())
}

/// The application on a database that is not of the cluster of all tests.
async fn start_on(settings: DatabaseSettings) -> TestApp {
    let database = Database::open(&settings).await.unwrap();
    let sealing = sealing();
    let options = Options {
        configure: Arc::new(move |config| {
            (sealing.configure)(config);
            config.database = settings.clone();
        }),
        ..Options::default()
    };
    TestApp::start_on(database, options).await
}

async fn stop(app: TestApp) {
    let database = app.database.clone();
    app.stop().await;
    database.close().await;
}

/// Where the programs are that a cluster runs with.
fn bin_dir(data: &DataDir) -> PathBuf {
    let started = std::fs::read_to_string(data.0.join("data/postgres/data/postmaster.opts"));
    let started = started.unwrap();
    let program = started.split(" \"").next().unwrap();
    Path::new(program).parent().unwrap().to_owned()
}

/// Moves the transaction ids of a stopped cluster far ahead.
fn age(data: &DataDir) {
    let cluster = data.0.join("data/postgres/data");
    let owner = std::fs::metadata(&cluster).unwrap();
    let mut command = Command::new(bin_dir(data).join("pg_resetwal"));
    command
        .args(["-e", &EPOCH.to_string(), "-x", &NEXT_XID.to_string(), "-D"])
        .arg(&cluster)
        .current_dir("/")
        .stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.gid(owner.gid()).uid(owner.uid());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A shell in `data`'s folder that finds the program, PostgreSQL's programs and `schema/`.
struct Shell {
    folder: PathBuf,
    path: std::ffi::OsString,
}

impl Shell {
    fn new(data: &DataDir) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        symlink(here.join("schema"), data.0.join("schema")).unwrap();
        let bin = bin_dir(data);
        let program = Path::new(env!("CARGO_BIN_EXE_credit-ledger"));
        let mut places = vec![program.parent().unwrap().to_owned(), bin.clone()];
        if rustix::process::geteuid().is_root() {
            places.insert(0, as_the_account(data, &bin));
        }
        places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        Self {
            folder: data.0.clone(),
            path: std::env::join_paths(places).unwrap(),
        }
    }

    /// Runs commands; the first one that fails ends it.
    async fn run(&self, block: Block, variables: &[(&str, String)]) -> String {
        let mut command = Command::new("sh");
        command
            .args(["-euc", commands(block)])
            .env_clear()
            .env("PATH", &self.path)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        for name in ["PG_BIN_DIR", "LLVM_PROFILE_FILE"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    }
}

/// "As the account that owns the files", says the README of `pg_ctl`. A folder with a `pg_ctl` that does so.
fn as_the_account(data: &DataDir, bin: &Path) -> PathBuf {
    let owner = std::fs::metadata(data.0.join("data/postgres")).unwrap();
    let folder = data.0.join("bin");
    std::fs::create_dir(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\ncd / && exec setpriv --reuid={} --regid={} --clear-groups {} \"$@\"\n",
        owner.uid(),
        owner.gid(),
        bin.join("pg_ctl").display()
    );
    std::fs::write(folder.join("pg_ctl"), script).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.join("pg_ctl"), executable).unwrap();
    folder
}

/// Delivers payments, one after the other, as long as it is told to.
async fn keep_paying(app: &TestApp, user_id: &str, go_on: &Cell<bool>) -> Vec<Sent> {
    let mut sent = vec![];
    while go_on.get() {
        let delivery = captured(&payment(Some(user_id)));
        let answer = app.deliver(Source::Razorpay, &delivery).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        sent.push((Source::Razorpay, delivery));
    }
    sent
}

/// Everything that makes up the schema, and who may do what with it.
async fn catalogue(sql: &Client) -> Vec<String> {
    let none: &[&str] = &[];
    let rows = sql
        .query(include_str!("support/catalogue.sql"), &[&none])
        .await
        .unwrap();
    let mut lines: Vec<String> = rows.iter().map(|row| row.get("line")).collect();
    let rights = "select format('%s belongs to %s, rights %s', c.relname, pg_get_userbyid(relowner),
                                (select array_agg(item::text order by item::text collate \"C\") from unnest(relacl) as item))
                    from pg_class c where relnamespace = 'public'::regnamespace order by 1";
    let rows = sql.query(rights, &[]).await.unwrap();
    lines.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    lines
}

async fn next_xid(sql: &Client) -> i64 {
    let xid = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    sql.query_one(xid, &[]).await.unwrap().get(0)
}

async fn accounts(sql: &Client) -> Vec<(String, i64, i64, i64)> {
    let accounts = "select user_id, balance, held, debt from balance order by user_id";
    let rows = sql.query(accounts, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect()
}

/// The history before the disaster: the service that has it, and what happened to it.
struct Before {
    data: DataDir,
    app: TestApp,
    story: Story,
    /// Delivered while the dump was made: some are in it.
    meanwhile: Vec<Sent>,
    shell: Shell,
}

/// A service in an aged cluster, dumped while it is busy.
async fn dumped() -> Before {
    let data = DataDir::new();
    data.said(&["migrate"], 0);
    age(&data);
    let app = start_on(settings(&data)).await;
    assert!(next_xid(&app.sql().await).await > i64::from(EPOCH) << 32);
    let story = story::tell(&app, 6).await;
    app.seal_all().await;

    let shell = Shell::new(&data);
    let busy = Cell::new(true);
    let dumping = async {
        let variables = [("DATABASE_URL", url(&data, "credit_ledger", "credit_ledger"))];
        shell.run(Block::Dump, &variables).await;
        busy.set(false);
    };
    let (meanwhile, ()) = tokio::join!(keep_paying(&app, "user_meanwhile", &busy), dumping);
    app.idle().await;
    Before {
        data,
        app,
        story,
        meanwhile,
        shell,
    }
}

/// The service on what was restored is as it was, and goes on.
async fn assert_goes_on(before: &Before, restored: &TestApp) {
    let (old, sql) = (before.app.sql().await, restored.sql().await);
    assert!(next_xid(&sql).await < 100_000, "the cluster is younger");
    assert!(restored.database.has_separate_roles());
    assert_eq!(catalogue(&old).await, catalogue(&sql).await);
    assert_the_log_is_guarded(restored).await;
    restored.assert_audit_is_clean().await;
    assert_log_is_whole(restored).await;
    // What came while it was dumped is not sealed.
    let report = verdict_of(&restored.database, &Trusted::key()).await;
    assert_clean(&report);
    let seals = report.seals;
    assert!(seals > 0 && report.events > report.unsealed_events);

    // What was answered is answered the same, and nothing comes of it.
    let events = "select count(*) from events";
    let then = restored.count(events).await;
    let again = deliver_all(&[restored], &before.story.sent, 8).await;
    for (answer, (source, _)) in again.iter().zip(&before.story.sent) {
        let status = answer.body["status"].as_str().unwrap();
        let known = ["duplicate", "ignored", "parked"].contains(&status);
        assert!(known && answer.is_hit(), "{source}: {answer:?}");
    }
    for asked in &before.story.asked {
        let answer = restored
            .post_under(&asked.key, &asked.path, &asked.body)
            .await;
        assert_eq!(
            (answer.status, &answer.body),
            (asked.answer.status, &asked.answer.body)
        );
        assert!(answer.is_hit(), "{answer:?}");
    }
    assert_eq!(restored.count(events).await, then);

    // The dump is one moment: what came after it comes again and is recorded, and then all is as it was.
    let statuses = tally(&deliver_all(&[restored], &before.meanwhile, 1).await);
    assert!(statuses.contains_key("recorded"), "{statuses:?}");
    restored.idle().await;
    assert_eq!(accounts(&old).await, accounts(&sql).await);

    // Life goes on, in the same chains.
    let new = user("user_new");
    restored.deliver(Source::Clerk, &created(&new)).await;
    restored
        .spend("user_new", 5)
        .await
        .assert_ok(&json!({"spent": 5}));
    for model in READ_MODELS {
        rebuild::rebuild(&restored.database, model.name, &mut |_, _| {})
            .await
            .unwrap();
    }
    assert_eq!(restored.balance("user_new").await, 15);
    restored.assert_audit_is_clean().await;
    restored.seal_all().await;
    let report = verdict_of(&restored.database, &Trusted::key()).await;
    assert_clean(&report);
    assert!(report.seals > seals && report.unsealed_events == 0);
    assert_log_is_whole(restored).await;
}

async fn assert_the_log_is_guarded(app: &TestApp) {
    for role in [Role::Owner, Role::App, Role::Auditor] {
        let session = app.sql_as(role).await;
        for statement in [
            "update events set hash = hash",
            "delete from events",
            "truncate events",
            "truncate seals",
        ] {
            let refused = session.batch_execute(statement).await.unwrap_err();
            assert_eq!(
                refused.code().unwrap().code(),
                "42501",
                "{role:?}: {statement}"
            );
        }
    }
}

#[tokio::test]
async fn a_dump_of_a_busy_service_goes_on_in_a_younger_private_cluster() {
    let before = dumped().await;
    let new = DataDir::new();
    let data_dir = new.0.join("data").display().to_string();
    let variables = [("DATA_DIR", data_dir), ("SEAL_KEY", key_pem())];
    let said = before.shell.run(Block::ToPrivate, &variables).await;
    assert!(said.contains("agrees with everything that is stored"));
    assert!(said.contains("verdict     clean"), "{said}");
    let restored = start_on(settings(&new)).await;
    assert_goes_on(&before, &restored).await;
    stop(restored).await;
    stop(before.app).await;
    drop(before.data);
}

/// As managed servers have it: the login is no superuser, and may make roles and databases.
#[tokio::test]
async fn a_dump_goes_on_on_a_server_whose_login_is_no_superuser() {
    let before = dumped().await;
    let new = DataDir::new();
    let server = Database::open(&settings(&new)).await.unwrap();
    let superuser = server
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    for statement in [
        "create role shop login createrole createdb",
        "create database ledger owner shop",
    ] {
        superuser.batch_execute(statement).await.unwrap();
    }
    let url = url(&new, "shop", "ledger");
    let variables = [("NEW_DATABASE_URL", url.clone()), ("SEAL_KEY", key_pem())];
    let said = before.shell.run(Block::ToServer, &variables).await;
    assert!(said.contains("agrees with everything that is stored"));
    assert!(said.contains("verdict     clean"), "{said}");
    let restored = start_on(DatabaseSettings {
        url: Some(url.into()),
        ..DatabaseSettings::default()
    })
    .await;
    assert_goes_on(&before, &restored).await;
    stop(restored).await;
    server.close().await;
    stop(before.app).await;
    drop(before.data);
}

/// Transaction ids do not survive a restore, so no statement may look at them.
#[tokio::test]
async fn no_statement_looks_at_transaction_ids() {
    let forbidden = [
        "xmin",
        "xmax",
        "txid_",
        "xid8",
        "pg_current_xact",
        "pg_snapshot",
        "pg_visible_in_snapshot",
        "pg_xact_",
        "ctid",
        "backend_xid",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![
        root.join("src"),
        root.join("schema"),
        root.join("projections"),
    ];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_code = |kind: &std::ffi::OsStr| kind == "sql" || kind == "rs";
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(is_code) {
                seen += 1;
                let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
                for word in forbidden {
                    assert!(!text.contains(word), "{word} in {}", path.display());
                }
            }
        }
    }
    assert!(seen > 100, "{seen} files");
}
