//! Who may do what in the database. Owns the three roles and their rights; never touches a table's content.
//!
//! The roles belong to the whole server, so several databases may be making them at the same moment: every
//! statement here is tried again when it meets another that does the same. Nobody logs in as a role: the login
//! (that of `DATABASE_URL`, or the superuser of the private cluster) is a member, and each session starts with one
//! of them set. Where the server does not let us make them, everything runs as the login, and says so.
//!
//! A rebuild makes and drops tables in schema `rebuild` as [`Role::Owner`], moves the new one to `public`, and then
//! calls [`grant_privileges`] in the same transaction.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient, error::SqlState};

use super::error::{PostgresError, error_chain};

/// How often a statement is tried that meets others doing the same.
const RACE_TRIES_MAX: u32 = 10;
/// The first pause between tries; doubled each time, up to 64 times it.
const RACE_PAUSE: Duration = Duration::from_millis(5);

const FIND_ROLE_USE: &str = include_str!("sql/find_role_use.sql");
const GRANT_PRIVILEGES: &str = include_str!("sql/grant_privileges.sql");

/// In whose name a session acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns the tables: migrations and rebuilds.
    Owner,
    /// The service. It can add to `events`, and never change or remove there.
    App,
    /// Reads everything, changes nothing.
    Auditor,
}

impl Role {
    const ALL: [Self; 3] = [Self::Owner, Self::App, Self::Auditor];

    /// Its name on the server.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "credit_ledger_owner",
            Self::App => "credit_ledger_app",
            Self::Auditor => "credit_ledger_auditor",
        }
    }
}

/// Are there roles, or does everything run as the login?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleUse {
    /// Each session acts as one of the three roles.
    Separate,
    /// Each session acts as the login, which can do all that the owner can.
    LoginOnly {
        /// Why there are no roles.
        reason: String,
    },
}

/// What the server says now; makes nothing.
struct Found {
    can_act: bool,
    tables_owner: Option<String>,
    login: String,
}

async fn find(client: &Client) -> Result<Found, PostgresError> {
    let row = client
        .query_one(FIND_ROLE_USE, &[])
        .await
        .map_err(PostgresError::query("look at the roles"))?;
    Ok(Found {
        can_act: row.get::<_, Option<bool>>("can_act").unwrap_or(false),
        tables_owner: row.get("tables_owner"),
        login: row.get("login"),
    })
}

/// Do the sessions of an already migrated database act as roles? `false` before the first migration.
pub(super) async fn in_use(client: &Client) -> Result<bool, PostgresError> {
    let found = find(client).await?;
    Ok(found.can_act && found.tables_owner.as_deref() == Some(Role::Owner.name()))
}

/// Makes the roles, as far as the server lets us. `client` acts as the login.
pub(super) async fn ensure(client: &Client) -> Result<RoleUse, PostgresError> {
    let found = find(client).await?;
    if let Some(owner) = found
        .tables_owner
        .filter(|owner| owner != Role::Owner.name())
    {
        let reason = format!(
            "the tables belong to {owner:?}, not to {:?}",
            Role::Owner.name()
        );
        return Ok(RoleUse::LoginOnly { reason });
    }
    match make(client, found.can_act, &found.login).await {
        Ok(roles) => Ok(roles),
        Err(error) if is_not_allowed(&error) => Ok(RoleUse::LoginOnly {
            reason: error_chain(&error),
        }),
        Err(source) => Err(PostgresError::Query {
            action: "make the roles",
            source,
        }),
    }
}

/// The place where rebuilds make their tables; owned by whoever owns the other tables. `client` acts as the login.
pub(super) async fn ensure_rebuild_schema(
    client: &Client,
    roles: &RoleUse,
) -> Result<(), PostgresError> {
    let statement = match roles {
        RoleUse::Separate => {
            "create schema if not exists rebuild authorization credit_ledger_owner"
        }
        RoleUse::LoginOnly { .. } => "create schema if not exists rebuild",
    };
    let exists = client
        .query_one("select to_regnamespace('rebuild') is not null", &[])
        .await
        .map_err(PostgresError::query("look for schema rebuild"))?
        .get::<_, bool>(0);
    if exists {
        return Ok(());
    }
    execute_in_race(client, statement)
        .await
        .map_err(PostgresError::query("make schema rebuild"))
}

async fn make(
    client: &Client,
    can_act: bool,
    login: &str,
) -> Result<RoleUse, tokio_postgres::Error> {
    if !can_act {
        for role in Role::ALL {
            let exists = client
                .query_one(
                    "select exists (select from pg_roles where rolname = $1)",
                    &[&role.name()],
                )
                .await?
                .get::<_, bool>(0);
            if !exists {
                execute_in_race(client, &format!("create role {} nologin", role.name())).await?;
            }
        }
        // A superuser may act as anyone; a maker of roles must make itself a member, since version 16 even of those
        // it has made.
        if !find_can_act(client).await? {
            for role in Role::ALL {
                execute_in_race(
                    client,
                    &format!("grant {} to {}", role.name(), quote_identifier(login)),
                )
                .await?;
            }
        }
    }
    for (role, privilege) in [
        (Role::Owner, "USAGE"),
        (Role::Owner, "CREATE"),
        (Role::App, "USAGE"),
        (Role::Auditor, "USAGE"),
    ] {
        if !has_schema_privilege(client, role, privilege).await? {
            execute_in_race(
                client,
                &format!("grant {privilege} on schema public to {}", role.name()),
            )
            .await?;
        }
        // A login that has the right but may not pass it on gets a warning, no error.
        if !has_schema_privilege(client, role, privilege).await? {
            let reason = format!("{login:?} may not grant {privilege} on schema public");
            return Ok(RoleUse::LoginOnly { reason });
        }
    }
    Ok(RoleUse::Separate)
}

async fn has_schema_privilege(
    client: &Client,
    role: Role,
    privilege: &str,
) -> Result<bool, tokio_postgres::Error> {
    let query = "select has_schema_privilege($1::text, 'public', $2::text)";
    Ok(client
        .query_one(query, &[&role.name(), &privilege])
        .await?
        .get(0))
}

async fn find_can_act(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one(FIND_ROLE_USE, &[]).await?;
    Ok(row.get::<_, Option<bool>>("can_act").unwrap_or(false))
}

/// Lets each role do what `sql/grant_privileges.sql` says with the tables of schema `public` as they are now. Run as
/// [`Role::Owner`], in the transaction that has made or moved tables; not where [`RoleUse::LoginOnly`] holds.
pub async fn grant_privileges(client: &impl GenericClient) -> Result<(), PostgresError> {
    client
        .batch_execute(GRANT_PRIVILEGES)
        .await
        .map_err(PostgresError::query("grant privileges on the tables"))
}

/// Runs a statement that others may be running at the same moment, on this database or another of the server.
async fn execute_in_race(client: &Client, statement: &str) -> Result<(), tokio_postgres::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match client.batch_execute(statement).await {
            Ok(()) => return Ok(()),
            Err(error) if is_already_there(&error) => return Ok(()),
            Err(error) if is_race(&error) && tries < RACE_TRIES_MAX => {
                tokio::time::sleep(RACE_PAUSE * 2_u32.pow(tries.min(6))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_already_there(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| [SqlState::DUPLICATE_OBJECT, SqlState::DUPLICATE_SCHEMA].contains(code))
}

/// Another session wrote the same catalogue row: a unique index of a catalogue, or "tuple concurrently updated",
/// which has only the code of an internal error.
fn is_race(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| [SqlState::UNIQUE_VIOLATION, SqlState::INTERNAL_ERROR].contains(code))
}

fn is_not_allowed(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::INVALID_GRANT_OPERATION,
        ]
        .contains(code)
    })
}

/// A name as SQL writes it, whatever is in it.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
