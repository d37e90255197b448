//! How a lane's session is made ready.

use std::future::poll_fn;
use std::pin::pin;

use tokio::runtime::Handle;

use super::*;

/// A lookup of a lane's own type asks again before it has taken all of its first answer. What reads the answers must not run
/// beside it: they are one task until all is prepared. (Otherwise they wait for each other once in some thousand times, when
/// answers come in pieces.)
#[tokio::test]
async fn nobody_else_drives_a_connection_that_is_prepared() {
    let database = cluster::fresh_database().await;
    let settings = LedgerSettings {
        lanes: 1,
        ..LedgerSettings::default()
    };
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let mut before_the_end = 0;
    let mut starting = pin!(Ledger::start(&database, settings, system_clock()));
    let started = poll_fn(|context| {
        let before = tasks();
        let polled = starting.as_mut().poll(context);
        if polled.is_ready() {
            before_the_end = before;
        }
        polled
    });
    let (ledger, lanes) = started.await.unwrap();
    assert_eq!(tasks() - before_the_end, 2, "the lane and its connection");
    end(ledger, lanes).await;
}
