//! The port while the program starts: listened on when there is an answer.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use credit_ledger::app::{Application, StartError, system_clock};
use tokio::sync::oneshot;

use crate::support::app::config;
use crate::support::{Options, cluster, eventually};

/// "credit-l" in ASCII: who holds this lock of the database keeps others from migrating.
const MIGRATION_LOCK: i64 = 0x6372_6564_6974_2d6c;

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_in_before_there_is_an_answer() {
    let database = cluster::fresh_database().await;
    let address = free_address();
    let mut settings = config(database.name(), &Options::default());
    settings.listen = address;
    let again = settings.clone();

    let other = database
        .connect_as_login(&credit_ledger::postgres::ConnectOptions::default())
        .await
        .unwrap();
    let lock = format!("select pg_advisory_lock({MIGRATION_LOCK})");
    other.batch_execute(&lock).await.unwrap();
    let building = tokio::spawn(Application::build(settings, system_clock()));
    let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                   and application_name = 'credit-ledger migrate' and wait_event = 'advisory'";
    let other = Arc::new(other);
    eventually("the start waits for the migration", || {
        let other = Arc::clone(&other);
        async move {
            let count: i64 = other.query_one(waiting, &[]).await.unwrap().get(0);
            (count > 0).then_some(())
        }
    })
    .await;
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let unlock = format!("select pg_advisory_unlock({MIGRATION_LOCK})");
    other.batch_execute(&unlock).await.unwrap();
    let application = building.await.unwrap().unwrap();
    assert_eq!(application.address(), address);
    TcpStream::connect(address).unwrap();
    // A second start fails at once, and not for the database's sake.
    match Application::build(again, system_clock()).await {
        Err(StartError::Listen { address: named, .. }) => assert_eq!(named, address),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two listen on one port"),
    }

    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(application.run_until(async {
        let _ = stopped.await;
    }));
    let ready = reqwest::get(format!("http://{address}/health/ready")).await;
    assert_eq!(ready.unwrap().status(), 200);
    drop(stop);
    serving.await.unwrap().unwrap();
}
