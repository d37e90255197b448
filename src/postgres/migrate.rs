//! Bringing the schema up to date. Owns the lock that lets one instance migrate at a time, and the order: roles,
//! migrations, rights. Never runs on a pooled connection: the lock belongs to the session and goes with it.

use std::time::Duration;

use tokio_postgres::{Client, error::SqlState};

use super::{
    connect::ConnectOptions,
    error::PostgresError,
    roles::{self, Role, RoleUse},
};

/// Every instance that migrates takes this lock of the database first: "credit-l" in ASCII.
const LOCK_KEY: i64 = 0x6372_6564_6974_2d6c;
/// The longest to wait for another instance that migrates.
const LOCK_TIMEOUT: Duration = Duration::from_mins(2);
/// The longest that a migration may wait for a table: all other users of the table wait behind it.
const TABLE_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the session may stand still, with its locks or the lock of migrations alone, before the server ends it: others
/// wait for them.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// The migrations, as they were when the program was built.
mod embedded {
    refinery::embed_migrations!("schema/migrations");
}

/// What a call of [`Database::migrate`](super::Database::migrate) did and found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The migrations applied by this call, oldest first, e.g. `V1__ledger`.
    pub applied: Vec<String>,
    /// The newest migration in the database.
    pub schema_version: i32,
    /// Are there roles?
    pub roles: RoleUse,
}

/// Of the session that migrates: it waits long for the lock, and a migration may run long.
pub(super) fn connect_options() -> ConnectOptions {
    ConnectOptions {
        application_name: "credit-ledger migrate".to_owned(),
        lock_timeout: Some(LOCK_TIMEOUT),
        statement_timeout: Some(Duration::ZERO),
        idle_in_transaction_session_timeout: Some(IDLE_MAX),
        ..ConnectOptions::default()
    }
}

/// `client` is a session of its own that acts as the login, with [`connect_options`].
pub(super) async fn run(mut client: Client) -> Result<MigrationReport, PostgresError> {
    lock(&client).await?;
    let limits = format!(
        "set lock_timeout = {}; set idle_session_timeout = {}",
        TABLE_LOCK_TIMEOUT.as_millis(),
        IDLE_MAX.as_millis()
    );
    client
        .batch_execute(&limits)
        .await
        .map_err(PostgresError::query("set its limits"))?;

    let roles = roles::ensure(&client).await?;
    roles::ensure_rebuild_schema(&client, &roles).await?;
    let separate = roles == RoleUse::Separate;
    if separate {
        let set_role = format!("set role {}", Role::Owner.name());
        client
            .batch_execute(&set_role)
            .await
            .map_err(PostgresError::query("act as the owner"))?;
    }
    let known = refuse_newer(&client).await?;
    let report = embedded::migrations::runner()
        .run_async(&mut client)
        .await
        .map_err(PostgresError::Migration)?;
    if separate {
        roles::grant_privileges(&client).await?;
    }
    Ok(MigrationReport {
        applied: report
            .applied_migrations()
            .iter()
            .map(ToString::to_string)
            .collect(),
        schema_version: known,
        roles,
    })
}

async fn lock(client: &Client) -> Result<(), PostgresError> {
    match client
        .execute("select pg_advisory_lock($1)", &[&LOCK_KEY])
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(PostgresError::MigrationLock {
                waited_s: LOCK_TIMEOUT.as_secs(),
            })
        }
        Err(source) => Err(PostgresError::Query {
            action: "take the migration lock",
            source,
        }),
    }
}

/// A newer release may have given the tables a meaning that this program would break, or misread. Gives the newest
/// migration that it knows.
pub(super) async fn refuse_newer(client: &Client) -> Result<i32, PostgresError> {
    let known = embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or(0);
    let failed = || PostgresError::query("read the migration history");
    let history: Option<String> = client
        .query_one(
            "select to_regclass('public.refinery_schema_history')::text",
            &[],
        )
        .await
        .map_err(failed())?
        .get(0);
    if history.is_none() {
        return Ok(known);
    }
    let found: Option<i32> = client
        .query_one(
            "select max(version) from public.refinery_schema_history",
            &[],
        )
        .await
        .map_err(failed())?
        .get(0);
    match found {
        Some(found) if found > known => Err(PostgresError::SchemaTooNew { found, known }),
        _ => Ok(known),
    }
}
