//! What only the database has: tables that no export shows, compared with the events by the database itself. Each statement
//! gives what it should not find, so little is read however long the history is.

use credit_ledger_verify::merkle::Tree;
use credit_ledger_verify::report::{Finding, checks};
use futures_util::TryStreamExt as _;
use tokio_postgres::Row;

use crate::audit::rows::{self, UnreadableRow};
use crate::audit::seal;
use crate::audit::snapshot::{Snapshot, SnapshotError};

/// Each finds what may not be.
const FIND: [&str; 8] = [
    include_str!("sql/find_heads.sql"),
    include_str!("sql/find_homes.sql"),
    include_str!("sql/find_personal.sql"),
    include_str!("sql/find_profiles.sql"),
    include_str!("sql/find_payers.sql"),
    include_str!("sql/find_outbox.sql"),
    include_str!("sql/find_requests.sql"),
    include_str!("sql/find_witnesses.sql"),
];
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
    for sql in FIND {
        let mut found = snapshot.stream(sql, &[]).await?;
        while let Some(row) = found.try_next().await? {
            tell(finding(&row)?);
        }
    }
    find_nodes(snapshot, tell).await
}

fn finding(row: &Row) -> Result<Finding, UnreadableRow> {
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
        let seals = seal::rows::from(client, next, SEALS_PER_PAGE).await?;
        let kept = snapshot.list(PAGE_NODES, &[&next, &SEALS_PER_PAGE]).await?;
        let Some(last) = seals.last() else {
            return Ok(());
        };
        next = last.seal.saturating_add(1);
        for (seal, row) in seals.iter().zip(&kept) {
            if seal.seal != i64::try_from(tree.len()).unwrap_or(i64::MAX) + 1 {
                // A seal is not there, which is found elsewhere; nothing can be said of those behind it.
                return Ok(());
            }
            if tree.push(seal.batch().leaf()) != rows::hashes(row, "nodes")? {
                let what = format!(
                    "seals: seal {} keeps other parts of the tree of seals than it makes",
                    seal.seal
                );
                tell(Finding::new(checks::SEAL_BROKEN, what));
            }
        }
    }
}
