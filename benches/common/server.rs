//! The PostgreSQL server that all systems share: the project's own private cluster, in a folder that goes away.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use credit_ledger::app::random_bytes;
use credit_ledger::postgres::{ConnectOptions, Database, DatabaseSettings};

/// The server, as long as this lives.
pub struct Server {
    database: Database,
    folder: Folder,
}

impl Server {
    /// Makes a cluster and starts it. `PG_BIN_DIR` says which PostgreSQL, as for the service.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let database = Database::open(&DatabaseSettings {
            data_dir: Some(folder.0.clone()),
            bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
            ..DatabaseSettings::default()
        })
        .await?;
        Ok(Self { database, folder })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// A new, empty database on it.
    pub async fn create(&self, name: &str) -> anyhow::Result<Database> {
        let database = self.database.sibling(name);
        anyhow::ensure!(database.create(None).await?, "{name} is there already");
        // What the last system left to be written is not to be paid for by the next one.
        self.run("checkpoint").await?;
        Ok(database)
    }

    /// Removes a database, with the sessions that still use it.
    pub async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        self.run(&format!("drop database {name} with (force)"))
            .await
    }

    /// Lets every commit wait for 1 ms, as slower disks and synchronous standbys do.
    pub async fn delay_commits(&self) -> anyhow::Result<()> {
        for statement in [
            "alter system set commit_delay = 1000",
            "alter system set commit_siblings = 0",
            "select pg_reload_conf()",
        ] {
            self.run(statement).await?;
        }
        Ok(())
    }

    /// Names and values of the settings that matter.
    pub async fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let client = self.connect().await?;
        let rows = client.query(include_str!("settings.sql"), &[]).await?;
        let settings = rows.iter().map(|row| (row.get("name"), row.get("value")));
        Ok(settings.collect())
    }

    /// Stops it and removes its files.
    pub async fn stop(self) {
        self.database.close().await;
    }

    async fn connect(&self) -> anyhow::Result<tokio_postgres::Client> {
        Ok(self
            .database
            .connect_as_login(&ConnectOptions::default())
            .await?)
    }

    async fn run(&self, statement: &str) -> anyhow::Result<()> {
        let client = self.connect().await?;
        client
            .batch_execute(statement)
            .await
            .with_context(|| statement.to_owned())
    }
}

/// What a database holds.
pub struct Found {
    /// Requests in the history.
    pub recorded: u64,
    /// Requests in the balances.
    pub in_balances: u64,
}

/// Counts with a query that gives `recorded` and `in_balances`.
pub async fn count(database: &Database, sql: &str) -> anyhow::Result<Found> {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    let row = client.query_one(sql, &[]).await?;
    Ok(Found {
        recorded: row.get::<_, i64>("recorded").try_into()?,
        in_balances: row.get::<_, i64>("in_balances").try_into()?,
    })
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let id = hex::encode(random_bytes::<7>()?);
        let name = format!("credit-ledger-bench-{id}");
        let path = std::env::temp_dir().join(name);
        // The account that runs PostgreSQL must get through.
        std::fs::DirBuilder::new().mode(0o755).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
