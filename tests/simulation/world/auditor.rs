//! Auditors who look all the while: whatever moment they catch, the ledger is whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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
            Err(SnapshotError::Row(row)) => panic!("{row}"),
            // The database may be down.
            Err(_) => {}
        }
    }
}
