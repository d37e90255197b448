//! The program itself, killed and stopped while it seals.

use credit_ledger_verify::record::SealRecord;
use credit_ledger_verify::seal::{PublicKey, SealKey};
use futures_util::{StreamExt as _, stream};

use super::assert_chain;
use crate::crash::service::{DataDir, Service};
use crate::ledger::Source;
use crate::support::deliveries::{created, user};
use crate::support::eventually;

/// As `openssl genpkey -algorithm ed25519` writes it.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

fn serve(data: &DataDir) -> Service {
    let mut command = data.program(&["serve"]);
    command
        .env("SEAL_KEY", KEY.replace('\n', "\\n"))
        .env("SEAL_EVERY_MS", "100")
        .env("SEAL_WITNESS_FILE", data.0.join("seals.ndjson"));
    Service::start(command)
}

/// Signs up users of this round until so many are acknowledged.
async fn sign_ups(service: &Service, round: usize, acknowledged: usize) {
    let deliveries = (0..).map(|number| async move {
        let sign_up = created(&user(&format!("user_{round}_{number}")));
        service.deliver(Source::Clerk, &sign_up).await
    });
    let answers = stream::iter(deliveries).buffer_unordered(16);
    let answers: Vec<_> = answers.take(acknowledged).collect().await;
    assert!(answers.iter().flatten().all(|(status, _)| *status == 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_goes_on_where_it_was() {
    let data = DataDir::new();
    let public = SealKey::from_pem(KEY).unwrap().public();
    for round in 0..4 {
        let mut service = serve(&data);
        assert!(
            service.said.contains("seals: signed, to a file address="),
            "{}",
            service.said
        );
        // Others are under way, and so is a seal, now and then.
        sign_ups(&service, round, 100 + 37 * round).await;
        service.kill();
    }
    let mut service = serve(&data);
    sign_ups(&service, 4, 10).await;
    let sql = data.sql().await;
    let seals = eventually("everything is sealed", async || {
        let (seals, unsealed) = assert_chain(&sql, std::slice::from_ref(&public)).await;
        (unsealed == 0 && !seals.is_empty()).then_some(seals)
    })
    .await;
    let file = data.0.join("seals.ndjson");
    eventually("everything is written down", async || {
        let text = std::fs::read_to_string(&file).unwrap();
        let written: Result<Vec<SealRecord>, _> = text.lines().map(serde_json::from_str).collect();
        (written.ok()? == seals).then_some(())
    })
    .await;
    assert!(service.terminate().0.success());
}

#[tokio::test]
async fn the_public_key_is_printed() {
    let data = DataDir::new();
    let mut command = data.program(&["audit", "public-key"]);
    command.env("SEAL_KEY", KEY);
    let output = crate::crash::service::finish(command);
    assert!(output.status.success());
    let pem = String::from_utf8(output.stdout).unwrap();
    let expected = SealKey::from_pem(KEY).unwrap().public();
    assert_eq!(PublicKey::from_pem(&pem).unwrap(), expected);
    assert!(
        data.said(&["audit", "public-key"], 1)
            .contains("SEAL_KEY is not set")
    );
}
