//! Witnesses are told of every seal, in order, whatever happens to them or to us; and what they know is believed.

use std::path::PathBuf;

use credit_ledger::audit::seal::witness::Turn;
use credit_ledger::audit::seal::{Changed, RolledBack, Round, SealError};
use credit_ledger::config::WitnessUrlSettings;
use credit_ledger_verify::record::SealRecord;
use sha2::{Digest as _, Sha256};
use wiremock::matchers::{bearer_token, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{assert_chain, stored};
use crate::support::folder::Folder;
use crate::support::seals::{key, sealing_with};
use crate::support::{Options, TestApp};

fn file(folder: &Folder) -> PathBuf {
    folder.0.join("seals.ndjson")
}

fn text(folder: &Folder) -> String {
    std::fs::read_to_string(file(folder)).unwrap()
}

/// What is written in the file.
fn written(folder: &Folder) -> Vec<SealRecord> {
    let text = text(folder);
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn to_file(folder: &Folder) -> Options {
    let file = file(folder);
    sealing_with(move |seals| seals.witness_file = Some(file.clone()))
}

async fn records(app: &TestApp) -> Vec<SealRecord> {
    let stored = stored(&app.sql().await).await;
    stored.into_iter().map(|(record, _)| record).collect()
}

#[tokio::test]
async fn a_file_goes_on_after_a_restart_and_a_torn_line() {
    let folder = Folder::new();
    let app = TestApp::start_with(to_file(&folder)).await;
    app.grants(0..1).await;
    app.seal_all().await;
    app.grants(1..2).await;
    app.seal_all().await;
    assert_eq!(written(&folder), records(&app).await);
    let database = app.database.clone();
    app.stop().await;

    // Meanwhile another instance seals, which has no file; and the last line is cut off.
    let other = TestApp::start_on(database.clone(), sealing_with(|_| {})).await;
    other.grants(2..3).await;
    other.seal_all().await;
    other.stop().await;
    let whole = text(&folder);
    std::fs::write(file(&folder), &whole[..whole.len() - 10]).unwrap();

    let app = TestApp::start_on(database, to_file(&folder)).await;
    let lag = r#"credit_ledger_witness_lag_seals{witness="file"}"#;
    assert!(app.metric(lag).await.is_nan(), "nobody has looked yet");
    app.grants(3..4).await;
    app.seal_all().await;
    let seals = written(&folder);
    assert_eq!(seals.len(), 4);
    assert_eq!(seals, records(&app).await);
    assert_chain(&app.sql().await, &[key().public()]).await;
    assert_eq!(app.metric(lag).await.to_bits(), 0);
    app.stop().await;
}

#[tokio::test]
async fn a_file_that_is_taken_away_begins_again() {
    let folder = Folder::new();
    let app = TestApp::start_with(to_file(&folder)).await;
    for user in 0..3 {
        app.grants(user..user + 1).await;
        app.seal_all().await;
        std::fs::rename(file(&folder), file(&folder).with_extension("old")).unwrap();
    }
    app.seal_all().await;
    assert_eq!(written(&folder), records(&app).await);
    app.stop().await;
}

#[tokio::test]
async fn a_file_that_can_not_be_written_hinders_no_seal() {
    let options = sealing_with(|seals| seals.witness_file = Some("/nowhere/at/all".into()));
    let app = TestApp::start_with(options).await;
    app.grants(0..1).await;
    let error = app.seal().await.unwrap_err();
    assert!(matches!(error, SealError::File(_)), "{error}");
    assert_eq!(records(&app).await.len(), 1);
    app.stop().await;
}

/// What somebody may do who may do anything, to a database with two seals.
const TAKEN_BACK: [(&str, RolledBack); 3] = [
    ("delete from seals where seal = 2", RolledBack::Gone(2)),
    ("delete from seals", RolledBack::Gone(2)),
    (
        "update seals set signature = set_byte(signature, 0, 255 - get_byte(signature, 0))",
        RolledBack::Other(2),
    ),
];

#[tokio::test]
async fn a_file_that_knows_other_seals_is_believed() {
    for (tampering, contradiction) in TAKEN_BACK {
        let folder = Folder::new();
        let app = TestApp::start_with(to_file(&folder)).await;
        for user in 0..2 {
            app.grants(user..user + 1).await;
            app.seal_all().await;
        }
        let changes = format!("alter table seals disable trigger all; {tampering}");
        app.sql().await.batch_execute(&changes).await.unwrap();
        app.grants(2..3).await;
        let (known, before) = (text(&folder), records(&app).await);
        for _ in 0..2 {
            match app.seal().await {
                Err(SealError::RolledBack(found)) => assert_eq!(found, contradiction),
                other => panic!("{tampering}: {other:?}"),
            }
        }
        assert_eq!(text(&folder), known, "nothing is added");
        assert_eq!(records(&app).await, before, "nothing is sealed");
        let rolled_back = r#"credit_ledger_seals_rolled_back{witness="file"}"#;
        assert!(app.metric(rolled_back).await > 0.5);
        // An operator who knows better takes the file away.
        std::fs::remove_file(file(&folder)).unwrap();
        app.seal_all().await;
        assert_eq!(written(&folder), records(&app).await);
        assert!(app.metric(rolled_back).await < 0.5);
        app.stop().await;
    }
}

const TOKEN: &str = "token-of-the-witness-0000";

fn to_server(server: &MockServer) -> Options {
    let url = format!("{}/seals", server.uri());
    sealing_with(move |seals| {
        seals.witness_url = Some(WitnessUrlSettings {
            url: url.clone().into(),
            token: Some(TOKEN.into()),
        });
    })
}

async fn answers(server: &MockServer, answer: ResponseTemplate) {
    server.reset().await;
    Mock::given(method("POST"))
        .and(path("/seals"))
        .and(bearer_token(TOKEN))
        .respond_with(answer)
        .mount(server)
        .await;
}

async fn told(server: &MockServer) -> Vec<SealRecord> {
    let requests = server.received_requests().await.unwrap();
    let record = |request: &Request| serde_json::from_slice(&request.body).unwrap();
    requests.iter().map(record).collect()
}

#[tokio::test]
async fn a_server_that_was_down_is_told_everything_in_order() {
    let server = MockServer::start().await;
    let app = TestApp::start_with(to_server(&server)).await;
    let other = TestApp::start_on(app.database.clone(), to_server(&server)).await;
    let lag = r#"credit_ledger_witness_lag_seals{witness="server"}"#;
    for user in 0..3 {
        app.grants(user..user + 1).await;
        app.seal_all().await;
    }
    answers(&server, ResponseTemplate::new(503)).await;
    for _ in 0..2 {
        match app.sealer().tell_server().await {
            Err(SealError::Witness { seal: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((app.metric(lag).await - 3.0).abs() < 0.5);
    let seals = records(&app).await;
    assert_eq!(told(&server).await, [&seals[..1], &seals[..1]].concat());

    // Up again, but it goes down after the second.
    server.reset().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(201))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    app.sealer().tell_server().await.unwrap_err();
    answers(&server, ResponseTemplate::new(204)).await;
    app.grants(3..4).await;
    app.seal_all().await;
    // Whichever instance is next goes on, and none tells it again.
    assert_eq!(other.sealer().tell_server().await.unwrap(), Turn::Done);
    assert_eq!(app.sealer().tell_server().await.unwrap(), Turn::Done);
    assert_eq!(told(&server).await, &records(&app).await[2..]);
    assert_eq!(app.metric(lag).await.to_bits(), 0);
    other.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_server_is_told_by_one_at_a_time() {
    let server = MockServer::start().await;
    let app = TestApp::start_with(to_server(&server)).await;
    let other = TestApp::start_on(app.database.clone(), to_server(&server)).await;
    answers(&server, ResponseTemplate::new(200)).await;
    for user in 0..30 {
        app.grants(user..user + 1).await;
        app.seal_all().await;
    }
    let (one, another) = (app.sealer(), other.sealer());
    let both = futures_util::future::join(one.tell_server(), another.tell_server()).await;
    both.0.unwrap();
    both.1.unwrap();
    assert_eq!(told(&server).await, records(&app).await);
    drop((one, another));
    other.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_knows_more_than_the_database_is_noticed() {
    let server = MockServer::start().await;
    let app = TestApp::start_with(to_server(&server)).await;
    answers(&server, ResponseTemplate::new(200)).await;
    for user in 0..2 {
        app.grants(user..user + 1).await;
        app.seal_all().await;
    }
    app.sealer().tell_server().await.unwrap();
    let take_back = "alter table seals disable trigger all; delete from seals where seal = 2";
    app.sql().await.batch_execute(take_back).await.unwrap();
    match app.sealer().tell_server().await {
        Err(SealError::RolledBack(RolledBack::Gone(2))) => {}
        other => panic!("{other:?}"),
    }
    let rolled_back = r#"credit_ledger_seals_rolled_back{witness="server"}"#;
    assert!(app.metric(rolled_back).await > 0.5);
    assert_eq!(told(&server).await.len(), 2);
    app.grants(2..3).await;
    match app.seal().await {
        Err(SealError::RolledBack(RolledBack::Gone(2))) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(records(&app).await.len(), 1, "nothing is sealed");
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_knows_another_seal_is_believed() {
    let server = MockServer::start().await;
    let app = TestApp::start_with(to_server(&server)).await;
    app.grants(0..1).await;
    app.seal_all().await;
    app.grants(1..2).await;
    let rolled_back = r#"credit_ledger_seals_rolled_back{witness="server"}"#;
    answers(&server, ResponseTemplate::new(409)).await;
    for _ in 0..2 {
        match app.sealer().tell_server().await {
            Err(SealError::RolledBack(RolledBack::Other(1))) => {}
            other => panic!("{other:?}"),
        }
        match app.seal().await {
            Err(SealError::RolledBack(RolledBack::Other(1))) => {}
            other => panic!("{other:?}"),
        }
        assert!(app.metric(rolled_back).await > 0.5);
    }
    assert_eq!(records(&app).await.len(), 1, "nothing is sealed");
    // Settled: it takes this one.
    answers(&server, ResponseTemplate::new(200)).await;
    assert_eq!(app.sealer().tell_server().await.unwrap(), Turn::Done);
    app.seal_all().await;
    assert_eq!(app.sealer().tell_server().await.unwrap(), Turn::Done);
    assert_eq!(told(&server).await, records(&app).await);
    assert!(app.metric(rolled_back).await < 0.5);
    app.stop().await;
}

/// While another instance is at it, this one knows nothing new.
#[tokio::test]
async fn whoever_does_not_look_says_nothing_else_than_before() {
    let server = MockServer::start().await;
    let app = TestApp::start_with(to_server(&server)).await;
    answers(&server, ResponseTemplate::new(200)).await;
    for user in 0..2 {
        app.grants(user..user + 1).await;
        app.seal_all().await;
    }
    app.sealer().tell_server().await.unwrap();
    let another = "alter table seals disable trigger all;
                   update seals set head = sha256(head) where seal = 2;
                   update witnesses set seal = 3";
    app.sql().await.batch_execute(another).await.unwrap();
    app.grants(2..3).await;
    let rolled_back = r#"credit_ledger_seals_rolled_back{witness="server"}"#;
    let changed = "credit_ledger_sealed_history_changed";
    app.sealer().tell_server().await.unwrap_err();
    let honest = "update witnesses set seal = 2";
    app.sql().await.batch_execute(honest).await.unwrap();
    match app.seal().await {
        Err(SealError::Changed(Changed::Seal(2))) => {}
        other => panic!("{other:?}"),
    }

    let digest = Sha256::digest(format!("{}/seals", server.uri()));
    let of_server = i64::from_be_bytes(digest[..8].try_into().unwrap());
    // "credit-s" in ASCII.
    let of_sealer = 0x6372_6564_6974_2d73_i64;
    let other = app.sql().await;
    let lock = "select pg_advisory_lock($1), pg_advisory_lock($2)";
    let locks: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&of_server, &of_sealer];
    other.query(lock, &locks).await.unwrap();
    assert_eq!(app.sealer().tell_server().await.unwrap(), Turn::Elsewhere);
    let elsewhere = Round {
        elsewhere: true,
        ..Round::default()
    };
    assert_eq!(app.seal().await.unwrap(), elsewhere);
    assert!(app.metric(rolled_back).await > 0.5);
    assert!(app.metric(changed).await > 0.5);
    drop(other);
    app.stop().await;
}
