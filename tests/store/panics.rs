//! A defect in the middle of a batch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use credit_ledger::store::StoreError;

use super::*;

/// Whoever waits is told that it is not known, and the lane goes on with another connection.
#[tokio::test]
async fn a_lane_that_panicked_acknowledges_nothing_and_goes_on() {
    let database = cluster::fresh_database().await;
    let settings = LedgerSettings {
        lanes: 1,
        ..LedgerSettings::default()
    };
    let broken = Arc::new(AtomicBool::new(false));
    let (is_broken, now) = (Arc::clone(&broken), system_clock());
    let clock = Arc::new(move || {
        assert!(!is_broken.load(Ordering::Relaxed), "a defect");
        now()
    });
    let (ledger, lanes) = Ledger::start(&database, settings, clock).await.unwrap();
    let unit = || register("msg_1", "user_1", "free");
    broken.store(true, Ordering::Relaxed);
    assert_eq!(ledger.execute(unit()).await, Err(StoreError::Stopping));
    assert!(ledger.gave_up_within(Duration::from_mins(1)));
    broken.store(false, Ordering::Relaxed);
    assert_eq!(ledger.execute(unit()).await, Ok(Outcome::Recorded));
    drop(ledger);
    for lane in lanes {
        lane.await.unwrap();
    }
}
