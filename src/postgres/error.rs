//! What can go wrong between us and PostgreSQL. Owns the error enum of this layer; never carries a password.
//!
//! A cause is given as `source`, not repeated in the message: print the chain (see [`error_chain`]).

use std::{error::Error, fmt::Write as _, io, path::PathBuf};

use tokio_postgres::error::DbError;

/// Everything that can go wrong when finding, starting, reaching or migrating the database.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No usable PostgreSQL programs on this machine.
    #[error(
        "no PostgreSQL programs found{wanted}; looked in {searched}. Install PostgreSQL 15 or newer, \
         or set PG_BIN_DIR to the directory of `postgres` and `initdb`, or set DATABASE_URL"
    )]
    BinariesNotFound {
        /// What was wanted, e.g. ` for version 15`, or nothing.
        wanted: String,
        /// Where we looked, and why it did not fit.
        searched: String,
    },
    /// `PG_BIN_DIR` names a directory that does not fit.
    #[error("PG_BIN_DIR {path:?} can not be used: {problem}")]
    BinariesUnfit {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No place for the data: neither `DATA_DIR` nor a home directory.
    #[error(
        "no place for the database: set DATA_DIR (neither XDG_DATA_HOME nor HOME is an absolute path)"
    )]
    NoDataDir,
    /// The data directory can not be used.
    #[error("data directory {path:?} can not be used: {problem}")]
    DataDir {
        /// The directory, or the parent that is in the way.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file operation failed.
    #[error("can not {action} {path:?}")]
    File {
        /// What we tried, e.g. `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program of PostgreSQL could not be run at all.
    #[error("can not run {program:?}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `initdb` failed or took too long.
    #[error("a new database cluster could not be made: {problem}; initdb said:\n{log_tail}")]
    Init {
        /// How it ended.
        problem: String,
        /// The end of its output.
        log_tail: String,
    },
    /// The private cluster did not come up in time.
    #[error(
        "the private PostgreSQL did not come up within {waited_s} s ({problem}); its log {log:?} ends:\n{log_tail}"
    )]
    Start {
        /// How long we waited, in seconds.
        waited_s: u64,
        /// What is known of the failure.
        problem: String,
        /// The log file.
        log: PathBuf,
        /// Its end.
        log_tail: String,
    },
    /// `DATABASE_URL` can not be used. The message never holds the URL.
    #[error("DATABASE_URL can not be used: {0}")]
    Url(String),
    /// The certificates to trust could not be read, or TLS could not be set up.
    #[error("TLS to the database can not be set up: {0}")]
    Tls(String),
    /// A database name that PostgreSQL can not have.
    #[error("{0:?} is not a database name: 1 to 63 bytes, no NUL")]
    DatabaseName(String),
    /// No connection.
    #[error("can not connect to {target}{hint}")]
    Connect {
        /// Host, port and database; no password.
        target: String,
        /// What may help, or nothing.
        hint: &'static str,
        /// Why not.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No connection within the time allowed.
    #[error("can not connect to {target} within {waited_ms} ms")]
    ConnectTimeout {
        /// Host, port and database; no password.
        target: String,
        /// How long we waited, in milliseconds.
        waited_ms: u128,
    },
    /// The server is older than [`OLDEST_SERVER_VERSION_NUM`](super::OLDEST_SERVER_VERSION_NUM).
    #[error("the PostgreSQL server is version {found}; 15 or newer is needed")]
    ServerTooOld {
        /// What the server calls itself.
        found: String,
    },
    /// Another instance held the migration lock for too long.
    #[error("another instance is migrating this database and did not finish within {waited_s} s")]
    MigrationLock {
        /// How long we waited, in seconds.
        waited_s: u64,
    },
    /// The database was migrated by a newer release.
    #[error(
        "the schema of the database is at version {found}, this program knows versions up to {known}: \
         a newer release has been here; run that release or newer"
    )]
    SchemaTooNew {
        /// The newest migration in the database.
        found: i32,
        /// The newest migration in this program.
        known: i32,
    },
    /// A migration failed, or the history in the database differs from ours.
    #[error("migrating the database failed")]
    Migration(#[source] refinery::Error),
    /// A statement of ours failed.
    #[error("can not {action}")]
    Query {
        /// What we tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A pool could not be built.
    #[error("can not build a connection pool")]
    Pool(#[source] deadpool_postgres::BuildError),
    /// A thread or a blocking task of ours ended early.
    #[error("the thread that looks after the private PostgreSQL ended early")]
    SupervisorGone,
}

impl PostgresError {
    pub(super) fn file(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn query(action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Query { action, source }
    }
}

/// An error and all its causes in one line, each once: `a: b: c`. tokio-postgres says only `db error` without its cause.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = without_data(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = without_data(error);
        if !text.contains(&more) {
            // Writing to a String can not fail.
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    text
}

/// What an error says. Of the server's its details are left out, which show the rows that it did not take, and of those of
/// data (class 22) its message, too, which shows the value.
fn without_data(error: &(dyn Error + 'static)) -> String {
    let Some(db) = error.downcast_ref::<DbError>() else {
        return error.to_string();
    };
    let code = db.code().code();
    if code.starts_with("22") {
        return format!(
            "{}: a value can not be used (SQLSTATE {code})",
            db.severity()
        );
    }
    match db.hint() {
        Some(hint) => format!("{}: {} ({hint})", db.severity(), db.message()),
        None => format!("{}: {}", db.severity(), db.message()),
    }
}
