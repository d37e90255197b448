//! Auditors who look all the while: whatever moment they catch, the ledger is whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use credit_ledger::audit::seal::SealError;
use credit_ledger::audit::snapshot::SnapshotError;
use credit_ledger::audit::verify;
use credit_ledger_verify::check::Trust;
use tokio::time::sleep;

use super::World;
use crate::support::seals::key;

pub async fn look_all_the_time(world: Arc<World>) {
    while !world.is_over() {
        sleep(Duration::from_secs(1)).await;
        let trust = Trust::of_keys(vec![key().public()]);
        let mut progress = |_, _| {};
        match verify::verify(&world.stage.database, trust, None, &mut progress).await {
            Ok(verified) => {
                assert_eq!(verified.report.findings, vec![]);
                world.books.audits.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => assert!(database_may_be_down(&error), "{error}"),
        }
    }
}

/// Whether no more is said than that the database did not answer. All else is about what it holds.
const fn database_may_be_down(error: &SnapshotError) -> bool {
    match error {
        SnapshotError::Postgres(_) | SnapshotError::Pool(_) | SnapshotError::Query(_) => true,
        SnapshotError::Seal(error) => matches!(
            error,
            SealError::Pool(_) | SealError::Late(_) | SealError::Query(_) | SealError::CutOff
        ),
        SnapshotError::Row(_) => false,
    }
}
