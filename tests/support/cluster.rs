//! One private cluster for all tests of a checkout, and fresh databases in it, cloned from a migrated template.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use credit_ledger::postgres::{ConnectOptions, Database, DatabaseSettings};
use credit_ledger::projection::rebuild;
use tokio::sync::OnceCell;

static TEMPLATE: OnceCell<(Database, String)> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Where the cluster of this checkout lives. Not below it: as root, PostgreSQL runs as another user, who may not be
/// able to enter it.
pub fn data_dir() -> PathBuf {
    let mut hash = DefaultHasher::new();
    env!("CARGO_MANIFEST_DIR").hash(&mut hash);
    std::env::temp_dir().join(format!("credit-ledger-tests-{:016x}", hash.finish()))
}

/// How to open a database of the cluster as the application does.
pub fn settings(database: &str) -> DatabaseSettings {
    DatabaseSettings {
        url: None,
        data_dir: Some(data_dir()),
        bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
        database: Some(database.to_owned()),
    }
}

/// A new, migrated, empty database.
pub async fn fresh_database() -> Database {
    let (server, template) = TEMPLATE.get_or_init(make_template).await;
    let database = server.sibling(&new_name());
    assert!(
        database.create(Some(template)).await.unwrap(),
        "the name was free"
    );
    database
}

/// A new database without anything in it.
pub async fn empty_database() -> Database {
    let (server, _) = TEMPLATE.get_or_init(make_template).await;
    let database = server.sibling(&new_name());
    assert!(database.create(None).await.unwrap(), "the name was free");
    database
}

fn new_name() -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("t_{}_{number}", std::process::id())
}

async fn make_template() -> (Database, String) {
    std::fs::create_dir_all(data_dir()).unwrap();
    let name = new_name();
    let database = Database::open(&settings(&name)).await.unwrap();
    drop_leftovers(&database).await;
    database.migrate().await.unwrap();
    rebuild::bring_up_to_date(&database).await.unwrap();
    (database, name)
}

/// Databases of test runs that have ended. Those of a run beside this one stay.
async fn drop_leftovers(database: &Database) {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let names = client
        .query(
            "select datname::text from pg_database where datname like 't\\_%'",
            &[],
        )
        .await
        .unwrap();
    for row in names {
        let name: String = row.get(0);
        let process = name.split('_').nth(1).unwrap_or_default();
        if !PathBuf::from(format!("/proc/{process}")).exists() {
            let _ = client
                .batch_execute(&format!("drop database if exists \"{name}\" with (force)"))
                .await;
        }
    }
}
