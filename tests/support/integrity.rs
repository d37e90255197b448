//! What must hold of every ledger, whatever was done to it: the checks that auditors run, which share no code with what
//! wrote it.

use credit_ledger::audit::verify;
use credit_ledger::postgres::Database;
use credit_ledger_verify::check::Trust;

use super::TestApp;
use super::seals::key;

/// Fails unless `audit verify` finds nothing: chains, seals, streams, payments, credits, deliveries and all that is stored
/// beside the events.
pub async fn assert_log_is_whole(app: &TestApp) {
    assert_database_is_whole(&app.database).await;
}

/// The same of a database without a service.
pub async fn assert_database_is_whole(database: &Database) {
    let trust = Trust::of_keys(vec![key().public()]);
    let verified = verify::verify(database, trust, None, &mut |_, _| {}).await;
    assert_eq!(verified.unwrap().report.findings, vec![]);
}
