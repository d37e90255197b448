//! What only the database has: tables that no export shows, compared with the events by the database itself. Each statement
//! gives what it should not find, so little is read however long the history is.

use credit_ledger_verify::merkle::Tree;
use credit_ledger_verify::report::{Finding, checks};
use futures_util::TryStreamExt as _;
use tokio_postgres::Row;

use crate::audit::rows;
use crate::audit::seal;
use crate::audit::snapshot::{Snapshot, SnapshotError};

/// Each finds what may not be in a table.
const FIND: [(&str, &str); 7] = [
    ("heads", include_str!("sql/find_heads.sql")),
    ("personal", include_str!("sql/find_personal.sql")),
    ("users", include_str!("sql/find_profiles.sql")),
    ("purchases", include_str!("sql/find_payers.sql")),
    ("outbox", include_str!("sql/find_outbox.sql")),
    ("requests", include_str!("sql/find_requests.sql")),
    ("witnesses", include_str!("sql/find_witnesses.sql")),
];
/// The class of errors of values that the database can not work with, as the first two letters of their SQLSTATE.
const DATA_EXCEPTION: &str = "22";
const PAGE_NODES: &str = include_str!("sql/page_nodes.sql");
/// How many seals are read at once.
const SEALS_PER_PAGE: i64 = 200;

/// Tells of everything that is found.
///
/// # Errors
/// [`SnapshotError`]
pub async fn find(
    snapshot: &Snapshot<'_>,
    tell: &mut impl FnMut(Finding),
) -> Result<(), SnapshotError> {
    let client = snapshot.transaction();
    for (table, sql) in FIND {
        client.batch_execute("savepoint find").await?;
        match find_in(snapshot, sql, tell).await {
            Ok(()) => {}
            Err(SnapshotError::Query(error)) if is_of_data(&error) => {
                client.batch_execute("rollback to savepoint find").await?;
                let state = error.code().map_or("", |state| state.code());
                // The message could show a value.
                let what = format!(
                    "{table}: can not be compared with the events, for something in one of the two has no meaning \
                     (SQLSTATE {state})"
                );
                tell(Finding::new(checks::UNREADABLE, what));
            }
            Err(error) => return Err(error),
        }
        client.batch_execute("release savepoint find").await?;
    }
    find_nodes(snapshot, tell).await
}

fn is_of_data(error: &tokio_postgres::Error) -> bool {
    let state = error.code();
    state.is_some_and(|state| state.code().starts_with(DATA_EXCEPTION))
}

async fn find_in(
    snapshot: &Snapshot<'_>,
    sql: &str,
    tell: &mut impl FnMut(Finding),
) -> Result<(), SnapshotError> {
    let mut found = snapshot.stream(sql, &[]).await?;
    while let Some(row) = found.try_next().await? {
        tell(finding(&row)?);
    }
    Ok(())
}

fn finding(row: &Row) -> Result<Finding, SnapshotError> {
    let check = if row.try_get("missing")? {
        checks::ROW_MISSING
    } else {
        checks::ROW_DIFFERS
    };
    let what: String = row.try_get("what")?;
    Ok(Finding {
        shard: row.try_get("shard")?,
        position: row.try_get("position")?,
        stream: row.try_get("stream")?,
        ..Finding::new(check, what)
    })
}

/// The subtrees that seals keep for proofs, which no export shows.
async fn find_nodes(
    snapshot: &Snapshot<'_>,
    tell: &mut impl FnMut(Finding),
) -> Result<(), SnapshotError> {
    let mut tree = Tree::default();
    let mut next = 1_i64;
    loop {
        let client = snapshot.transaction();
        let seals = seal::rows::follow(client, next, SEALS_PER_PAGE).await?;
        let kept = snapshot.list(PAGE_NODES, &[&next, &SEALS_PER_PAGE]).await?;
        let Some((last, _)) = seals.last() else {
            return Ok(());
        };
        next = last.saturating_add(1);
        for ((number, seal), row) in seals.iter().zip(&kept) {
            let follows = *number == i64::try_from(tree.len()).unwrap_or(i64::MAX) + 1;
            let (Ok(seal), true) = (seal, follows) else {
                // It is not there, or can not be read, which is found elsewhere; nothing can be said of those behind it.
                return Ok(());
            };
            let nodes = tree.push(seal.batch().leaf());
            let kept = match rows::nodes(row) {
                Ok(kept) => kept,
                Err(row) => {
                    tell(row.finding());
                    continue;
                }
            };
            if nodes != kept {
                let what = format!(
                    "seals: seal {} keeps other parts of the tree of seals than it makes",
                    seal.seal
                );
                tell(Finding::new(checks::SEAL_BROKEN, what));
            }
        }
    }
}
