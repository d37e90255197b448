//! What follows a commit, and what waits for its time.

mod matching;
mod plans;
mod races;
mod retries;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use credit_ledger::store::Operator;
use tokio_postgres::types::ToSql;

use crate::support::{Options, TestApp, eventually};

/// Looks for work all the time.
fn restless() -> Options {
    upkeep_every(Duration::from_millis(20))
}

/// Looks only at what its own commits leave: no timer makes up for what is missed.
fn only_told() -> Options {
    upkeep_every(Duration::from_hours(1))
}

fn upkeep_every(every: Duration) -> Options {
    Options {
        configure: Arc::new(move |config| config.upkeep_every = every),
        ..Options::default()
    }
}

/// Stops this instance and starts one that sees.
async fn restart(app: TestApp) -> TestApp {
    let database = app.database.clone();
    app.stop().await;
    TestApp::start_on(database, only_told()).await
}

/// Waits until a query gives true.
async fn until(app: &TestApp, condition: &str, params: &[&(dyn ToSql + Sync)]) {
    let sql = app.sql().await;
    eventually(condition, async || {
        let row = sql.query_one(condition, params).await.unwrap();
        row.get::<_, bool>(0).then_some(())
    })
    .await;
}

fn operator() -> Operator {
    Operator {
        actor: "ops@example.com".to_owned(),
        reason: "ticket 7".to_owned(),
    }
}
