//! Proofs over HTTP, verified with nothing but the public key.

use credit_ledger_verify::chain;
use credit_ledger_verify::merkle::{verify_consistency, verify_inclusion};
use credit_ledger_verify::record::{EventRecord, SealRecord};
use credit_ledger_verify::seal::event_leaf;
use credit_ledger_verify::{Hash, merkle};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::assert_chain;
use crate::support::app::{AUDIT_KEY, Answer, answer};
use crate::support::seals::{key, sealing, sealing_with};
use crate::support::{TestApp, eventually};

async fn get(app: &TestApp, path: &str) -> Answer {
    answer(app.request(Method::GET, path).bearer_auth(AUDIT_KEY)).await
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn hash(value: &Value) -> Hash {
    hex::decode(value.as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

/// A ledger whose 40 events are in seals of 1 to 7.
async fn sealed() -> TestApp {
    let app = TestApp::start_with(sealing_with(|seals| seals.events_max = 7)).await;
    let mut begin = 0;
    for events in [1, 2, 3, 14, 5, 1, 14] {
        app.grants(begin..begin + events).await;
        app.seal_all().await;
        begin += events;
    }
    app
}

#[tokio::test]
async fn every_event_is_proven_to_be_in_the_history() {
    let app = sealed().await;
    let (seals, _) = assert_chain(&app.sql().await, &[key().public()]).await;
    let rows = app
        .sql()
        .await
        .query("select shard, position from events", &[])
        .await
        .unwrap();
    assert_eq!(rows.len(), 40);
    for row in rows {
        let (shard, position): (i16, i64) = (row.get(0), row.get(1));
        let proof = get(&app, &format!("/v1/audit/proof/{shard}/{position}")).await;
        assert_eq!(proof.status, 200, "{proof:?}");
        let body = &proof.body;
        // The event is what was hashed.
        let event: EventRecord = read(&body["event"]);
        assert_eq!((event.shard, event.position), (shard, position));
        let previous = hash(&body["previous"]);
        assert_eq!(previous == chain::GENESIS, position == 1);
        assert_eq!(chain::link(&previous, &event.link()), event.hash);
        // It is in the seal.
        let seal: SealRecord = read(&body["seal"]);
        assert!(seals.contains(&seal));
        assert_eq!(body["proof"]["seal"], seal.seal);
        assert_eq!(body["proof"]["size"], seal.events);
        let index = body["proof"]["index"].as_u64().unwrap();
        let size = u64::try_from(seal.events).unwrap();
        let path = hashes(&body["proof"]["path"]);
        let leaf = event_leaf(&event.hash);
        assert!(verify_inclusion(&leaf, index, size, &path, &seal.root));
        assert!(!verify_inclusion(&previous, index, size, &path, &seal.root));
        // The seal is in its head, and the head is signed.
        let size = u64::try_from(seal.seal).unwrap();
        let path = hashes(&body["seal_path"]);
        let leaf = seal.batch().leaf();
        assert!(verify_inclusion(&leaf, size - 1, size, &path, &seal.head));
        let public = key().public();
        assert!(public.verifies(seal.seal, &seal.head, &seal.signature));
    }
    app.stop().await;
}

#[tokio::test]
async fn any_two_seals_are_proven_to_be_one_history() {
    let app = sealed().await;
    let (seals, _) = assert_chain(&app.sql().await, &[key().public()]).await;
    assert!(seals.len() >= 9);
    for second in &seals {
        for first in &seals[..usize::try_from(second.seal).unwrap()] {
            let path = format!("/v1/audit/consistency/{}/{}", first.seal, second.seal);
            let proof = get(&app, &path).await;
            assert_eq!(proof.status, 200, "{proof:?}");
            assert_eq!(&read::<SealRecord>(&proof.body["first"]), first);
            assert_eq!(&read::<SealRecord>(&proof.body["second"]), second);
            let path = hashes(&proof.body["path"]);
            let verify = |old: &SealRecord, head: &Hash| {
                let [old_size, size] = [old, second].map(|seal| u64::try_from(seal.seal).unwrap());
                verify_consistency(old_size, size, head, &second.head, &path)
            };
            assert!(verify(first, &first.head));
            assert!(!verify(first, &merkle::leaf(b"another history")));
        }
    }
    for (path, status, code) in [
        ("2/1", 400, "invalid_request"),
        ("0/1", 404, "not_found"),
        ("1/999", 404, "not_found"),
        ("-1/1", 404, "not_found"),
        ("1/x", 404, "not_found"),
    ] {
        let refused = get(&app, &format!("/v1/audit/consistency/{path}")).await;
        refused.assert_problem(status, code);
    }
    app.stop().await;
}

#[tokio::test]
async fn seals_are_listed_as_they_are_told_to_witnesses() {
    let app = sealed().await;
    let (mut seals, _) = assert_chain(&app.sql().await, &[key().public()]).await;
    seals.reverse();
    let (mut listed, mut cursor) = (vec![], String::new());
    loop {
        let page = get(&app, &format!("/v1/audit/seals?limit=4{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        listed.extend(read::<Vec<SealRecord>>(&page.body["items"]));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, seals);
    app.stop().await;
}

#[tokio::test]
async fn an_event_has_no_proof_before_it_is_sealed() {
    let app = TestApp::start_with(sealing()).await;
    app.grant("user_1", 1).await;
    let first = "select shard from events";
    let shard: i16 = app.sql().await.query_one(first, &[]).await.unwrap().get(0);
    let proof =
        async |position: &str| get(&app, &format!("/v1/audit/proof/{shard}/{position}")).await;
    for position in ["1", "2"] {
        let early = proof(position).await;
        early.assert_problem(409, "not_sealed_yet");
        assert!(early.headers.contains_key("retry-after"));
        app.seal_all().await;
        let sealed = proof(position).await;
        assert_eq!(sealed.status, 200, "{sealed:?}");
        assert_eq!(sealed.body["seal"]["seal"].to_string(), position);
        app.grant("user_1", 1).await;
    }
    proof("3").await.assert_problem(409, "not_sealed_yet");
    for position in ["0", "4", "-1", "x", "99999999999999999999"] {
        proof(position).await.assert_problem(404, "not_found");
    }
    let nowhere = get(&app, "/v1/audit/proof/9999/1").await;
    nowhere.assert_problem(404, "not_found");
    app.stop().await;
}

/// What is stored is not what was sealed: nobody is given a proof of it.
#[tokio::test]
async fn a_changed_event_has_no_proof() {
    let app = sealed().await;
    let sql = app.sql().await;
    let change = "alter table events disable trigger all;
                  update events set hash = sha256(hash) where position = 2";
    sql.batch_execute(change).await.unwrap();
    let row = "select shard from events where position = 2 limit 1";
    let shard: i16 = sql.query_one(row, &[]).await.unwrap().get(0);
    let proof = get(&app, &format!("/v1/audit/proof/{shard}/2")).await;
    proof.assert_problem(500, "internal");
    app.stop().await;
}

/// Proofs of events read much: they wait for each other, and nobody for them.
#[tokio::test]
async fn proofs_that_take_long_hold_up_nobody_else() {
    let app = sealed().await;
    let mut at_work = app.sql().await;
    let locked = at_work.transaction().await.unwrap();
    locked.batch_execute("lock table seals").await.unwrap();
    let proofs = (0..20).map(|_| {
        let request = app.request(Method::GET, "/v1/audit/proof/0/1");
        tokio::spawn(answer(request.bearer_auth(AUDIT_KEY)))
    });
    let proofs: Vec<_> = proofs.collect();
    let waiting = "select count(*) from pg_stat_activity
                    where wait_event_type = 'Lock' and datname = current_database()";
    eventually("the proofs wait", async || {
        (app.count(waiting).await > 1).then_some(())
    })
    .await;
    for _ in 0..20 {
        let user = app.get("/v1/users/user_1").await;
        assert_eq!(user.status, 200, "{user:?}");
    }
    assert_eq!(app.count(waiting).await, 2);
    locked.commit().await.unwrap();
    for proof in proofs {
        let proof = proof.await.unwrap();
        assert_eq!(proof.status, 200, "{proof:?}");
    }
    app.stop().await;
}
