//! A defect in the middle of a batch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use credit_ledger::store::StoreError;
use futures_util::future::join_all;

use super::*;

/// Only the unit that it comes of fails, and the lane goes on.
#[tokio::test]
async fn a_unit_that_panics_harms_no_other() {
    let database = cluster::fresh_database().await;
    let (ledger, lanes) = one_lane(&database).await;
    let mut units: Vec<Unit> = (0..20)
        .map(|n| register(&format!("msg_{n}"), &format!("user_{n}"), "free"))
        .collect();
    units[7].origin = Origin::Request(Arc::new(Request {
        principal: "shop".to_owned(),
        idempotency_key: Some("key".to_owned()),
        digest: [7; 32],
        fields: BTreeMap::new(),
        answer: Box::new(|_| panic!("a defect")),
    }));
    let outcomes = join_all(units.into_iter().map(|unit| ledger.execute(unit))).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = match n {
            7 => Err(StoreError::Failed("it panicked".to_owned())),
            _ => Ok(Outcome::Recorded),
        };
        assert_eq!(outcome, expected, "unit {n}");
    }
    assert!(!ledger.gave_up_within(Duration::from_mins(1)));
    end(ledger, lanes).await;
}

/// A delivery is kept, and waits: it is tried again when its time has come.
#[tokio::test]
async fn a_delivery_that_panics_is_kept() {
    let database = cluster::fresh_database().await;
    let settings = LedgerSettings {
        lanes: 1,
        ..LedgerSettings::default()
    };
    let broken = Arc::new(AtomicBool::new(false));
    let (is_broken, now) = (Arc::clone(&broken), system_clock());
    // Asked once for each attempt.
    let clock = Arc::new(move || {
        assert!(!is_broken.swap(false, Ordering::Relaxed), "a defect");
        now()
    });
    let (ledger, lanes) = Ledger::start(&database, settings, clock).await.unwrap();
    broken.store(true, Ordering::Relaxed);
    let outcome = ledger.execute(register("msg_1", "user_1", "free")).await;
    assert_eq!(outcome, Ok(Outcome::Parked));
    let options = ConnectOptions::default();
    let sql = database.connect_as_login(&options).await.unwrap();
    let stored = "select reason from inbox where key = 'msg_1' and outcome = 'parked'";
    let row = sql.query_one(stored, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "panicked");
    end(ledger, lanes).await;
}
