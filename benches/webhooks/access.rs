//! How other programs reach the server: its socket, its account, and the folder of its programs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use credit_ledger::postgres::{ConnectOptions, Database};

/// Who asks the server where.
pub struct Access {
    /// Where the server's own programs are.
    pub bin_dir: PathBuf,
    pub socket_dir: String,
    pub port: String,
    pub user: String,
}

impl Access {
    /// Asks the server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(database: &Database) -> anyhow::Result<Self> {
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await?;
        let row = client
            .query_one(include_str!("sql/access.sql"), &[])
            .await?;
        Ok(Self {
            bin_dir: PathBuf::from(row.try_get::<_, String>("bin_dir")?),
            socket_dir: row.try_get("socket_dir")?,
            port: row.try_get("port")?,
            user: row.try_get("user_name")?,
        })
    }

    /// A program of PostgreSQL: beside the server's own, else on `PATH`.
    ///
    /// # Errors
    /// When it is in neither.
    pub fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::iter::once(self.bin_dir.clone())
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join(name))
            .find(|program| program.is_file())
            .with_context(|| {
                format!(
                    "there is no `{name}` in {} or on PATH: install PostgreSQL's contributed programs",
                    self.bin_dir.display()
                )
            })
    }

    /// `DATABASE_URL` of a database on the server.
    pub fn url(&self, database: &Database) -> String {
        let folder = Path::new(&self.socket_dir).to_string_lossy();
        let folder = folder.replace('%', "%25").replace('/', "%2F");
        let Self { user, port, .. } = self;
        format!("postgres://{user}@{folder}:{port}/{}", database.name())
    }
}
