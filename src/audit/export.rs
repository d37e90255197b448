//! `audit export`: the history as files, with what proves it. No personal data is in them.
//!
//! All of it is one moment of the database, read by a role that can not write. Files are written one record at a time, so
//! memory does not grow with the history. Sealed events and seals only ever grow, and so do the events of a shard until
//! they are sealed: what an earlier run left of these files, finished or not, is continued behind its last complete line.
//! Every other file is written anew.

mod digested;
mod folder;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod user;
mod whole;

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use credit_ledger_verify::manifest::{Content, FileEntry, Manifest, Scope, VERSION};
use futures_util::TryStreamExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::rows::{self, UnreadableRow};
use super::seal;
use super::snapshot::{self, Count, Progress, Snapshot, SnapshotError};
use super::tables::{ChosenBy, SELECT_STREAMS, TABLES, columns};
use crate::postgres::Database;
use folder::Folder;
pub use lines::Format;
use lines::{Lines, Written};

const SELECT_DELIVERIES: &str = include_str!("sql/select_deliveries.sql");

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database could not be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder holds something, and no export.
    #[error("{} is not empty, and no export is in it", .0.display())]
    NotEmpty(PathBuf),
    /// The folder holds another export.
    #[error("{} holds another export: of another history or in another format", .0.display())]
    OtherExport(PathBuf),
    /// Another run writes into the folder.
    #[error("{} is being written by another run", .0.display())]
    InUse(PathBuf),
    /// What is there can not be continued.
    #[error("{} ends with what is not in the database: it is of another ledger or was changed; export into another folder", .0.display())]
    Diverged(PathBuf),
    /// There is no such user.
    #[error("nothing is known of user {0}")]
    UnknownUser(String),
}

impl ExportError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// What is to be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Into which folder.
    pub folder: PathBuf,
    /// Whose history.
    pub scope: Scope,
    /// How files are written.
    pub format: Format,
}

/// Writes an export, or brings an earlier one up to date. Gives its manifest.
///
/// # Errors
/// [`ExportError`]. What was written by then is continued by the next run.
pub async fn export(
    database: &Database,
    request: &Request,
    now: DateTime<Utc>,
    progress: Progress<'_>,
) -> Result<Manifest, ExportError> {
    // Whatever can be wrong with what is asked is found before the folder is touched.
    let mut connection = snapshot::connect(database).await?;
    let snapshot = Snapshot::begin(&mut connection).await?;
    let (chosen, of) = match &request.scope {
        Scope::Whole => (Chosen::Everything, snapshot.count().await?),
        Scope::User(user_id) => (user::choose(&snapshot, user_id).await?, 0),
    };
    let ends = seal::rows::heads(snapshot.transaction()).await;
    let ends = ends.map_err(SnapshotError::from)?;
    let folder = Folder::open(&request.folder, &request.scope, request.format)?;
    let mut writer = Writer {
        folder: &folder,
        scope: &request.scope,
        snapshot: &snapshot,
        files: vec![],
        count: Count::new(of, progress),
    };
    let last_seal = match &chosen {
        Chosen::Everything => whole::write(&mut writer).await?,
        Chosen::Of { user_id, purchases } => user::write(&mut writer, user_id, purchases).await?,
    };
    writer.write_tables(&chosen).await?;
    let manifest = Manifest {
        version: VERSION.to_owned(),
        made_at_us: now.timestamp_micros(),
        scope: request.scope.clone(),
        format: request.format.into(),
        ends,
        last_seal,
        files: writer.files,
    };
    folder.finish(&manifest)?;
    Ok(manifest)
}

/// Which rows are written.
enum Chosen {
    Everything,
    /// Those of a user, and of some purchases.
    Of {
        user_id: String,
        purchases: Vec<String>,
    },
}

/// What all files have in common while they are written.
struct Writer<'a> {
    folder: &'a Folder,
    scope: &'a Scope,
    snapshot: &'a Snapshot<'a>,
    files: Vec<FileEntry>,
    count: Count<'a>,
}

impl Writer<'_> {
    /// A new file of this name.
    fn create(&self, stem: &str, content: Content) -> Result<Lines, ExportError> {
        let path = self.folder.file(stem);
        Lines::create(self.folder.format(), &path, columns(content, self.scope))
            .map_err(|error| ExportError::io(&path, error))
    }

    /// A file is complete.
    fn close(&mut self, stem: &str, content: Content, lines: Lines) -> Result<(), ExportError> {
        let written = lines
            .close()
            .map_err(|error| ExportError::io(&self.folder.file(stem), error))?;
        let Written {
            records,
            bytes,
            sha256,
        } = written;
        self.files.push(FileEntry {
            name: self.folder.name(stem),
            content,
            lines: records,
            bytes,
            sha256,
        });
        Ok(())
    }

    /// All but the log.
    async fn write_tables(&mut self, chosen: &Chosen) -> Result<(), ExportError> {
        let (user_id, purchases) = match chosen {
            Chosen::Everything => (None, None),
            Chosen::Of { user_id, purchases } => (Some(user_id), Some(purchases)),
        };
        let (types, ids) = match chosen {
            Chosen::Everything => (None, None),
            Chosen::Of { user_id, purchases } => {
                let (types, ids) = user::streams(user_id, purchases);
                (Some(types), Some(ids))
            }
        };
        let streams: [&(dyn ToSql + Sync); 2] = [&types, &ids];
        self.write_rows(Content::Deliveries, SELECT_DELIVERIES, &streams, |row| {
            rows::delivery(row)
        })
        .await?;
        self.write_rows(Content::Streams, SELECT_STREAMS, &streams, |row| {
            rows::stream(row)
        })
        .await?;
        for table in TABLES {
            let by: &(dyn ToSql + Sync) = match table.chosen_by {
                ChosenBy::User => &user_id,
                ChosenBy::Purchases => &purchases,
            };
            let columns = columns(table.content, self.scope);
            self.write_rows(table.content, table.sql, &[by], |row| {
                rows::table(row, table.content, columns)
            })
            .await?;
        }
        Ok(())
    }

    async fn write_rows<R: serde::Serialize>(
        &mut self,
        content: Content,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        read: impl Fn(&Row) -> Result<R, UnreadableRow>,
    ) -> Result<(), ExportError> {
        let stem = content.as_str();
        let path = self.folder.file(stem);
        let mut lines = self.create(stem, content)?;
        let mut found = self.snapshot.stream(sql, params).await?;
        while let Some(row) = found.try_next().await.map_err(SnapshotError::from)? {
            let record = read(&row).map_err(SnapshotError::from)?;
            lines
                .write(&record)
                .map_err(|error| ExportError::io(&path, error))?;
            self.count.add(1);
        }
        self.close(stem, content, lines)
    }
}
