//! One answer of the service, verified with a key and nothing else.

use credit_ledger_verify::chain::GENESIS;
use credit_ledger_verify::merkle;
use credit_ledger_verify::proof::Answer;
use credit_ledger_verify::report::checks::{HASH_DIFFERS, PROOF_INVALID, SIGNATURE_INVALID};
use credit_ledger_verify::seal::{SealKey, event_leaf};
use serde_json::{Value, json};

use super::ledger::{key, sound};

/// What the service answers about position 2 of shard 0, which is in the first seal.
pub fn event_answer() -> Value {
    let export = sound();
    let leaves: Vec<_> = export.events[..4]
        .iter()
        .map(|one| event_leaf(&one.hash))
        .collect();
    let path = merkle::inclusion(1, 4).into_iter().map(|range| {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        hex::encode(merkle::root(&leaves[range]))
    });
    json!({
        "event": export.events[1], "previous": hex::encode(export.events[0].hash),
        "proof": { "seal": 1, "index": 1, "size": 4, "path": path.collect::<Vec<_>>() },
        "seal": export.seals[0], "seal_path": [],
    })
}

pub fn seals_answer() -> Value {
    let export = sound();
    let path = [hex::encode(export.seals[1].batch().leaf())];
    json!({ "first": export.seals[0], "second": export.seals[1], "path": path })
}

fn judge(answer: &Value, key: &SealKey) -> Vec<&'static str> {
    let answer = Answer::read(&answer.to_string()).unwrap();
    let findings = answer.judge(&[key.public()]);
    findings.iter().map(|finding| finding.check).collect()
}

#[test]
fn an_answer_is_enough() {
    for answer in [event_answer(), seals_answer()] {
        assert_eq!(judge(&answer, &key()), Vec::<&str>::new());
        let other = SealKey::from_seed(&[8; 32]);
        assert!(judge(&answer, &other).contains(&SIGNATURE_INVALID));
        let without_key = Answer::read(&answer.to_string()).unwrap().judge(&[]);
        assert!(!without_key.is_empty());
    }
    assert_eq!(Answer::read("{}"), None);
    assert_eq!(Answer::read("[]"), None);
}

#[test]
fn an_answer_that_was_changed_shows_nothing() {
    let zeros = hex::encode(GENESIS);
    for (pointer, value, check) in [
        ("/event/payload", json!("{}"), HASH_DIFFERS),
        ("/event/position", json!(3), HASH_DIFFERS),
        ("/event/hash", json!(zeros), PROOF_INVALID),
        ("/previous", json!(zeros), HASH_DIFFERS),
        ("/proof/index", json!(2), PROOF_INVALID),
        ("/proof/size", json!(5), PROOF_INVALID),
        ("/proof/seal", json!(2), PROOF_INVALID),
        ("/proof/path/0", json!(zeros), PROOF_INVALID),
        ("/seal/root", json!(zeros), PROOF_INVALID),
        ("/seal/sealed_at_us", json!(1), PROOF_INVALID),
        ("/seal/head", json!(zeros), SIGNATURE_INVALID),
        ("/seal/seal", json!(2), SIGNATURE_INVALID),
        ("/seal_path", json!([zeros]), PROOF_INVALID),
    ] {
        let mut answer = event_answer();
        *answer.pointer_mut(pointer).unwrap() = value;
        assert!(judge(&answer, &key()).contains(&check), "{pointer}");
    }
    for (pointer, value, check) in [
        ("/path", json!([]), PROOF_INVALID),
        ("/path/0", json!(zeros), PROOF_INVALID),
        ("/first/head", json!(zeros), SIGNATURE_INVALID),
        ("/second/head", json!(zeros), PROOF_INVALID),
        ("/first/seal", json!(2), SIGNATURE_INVALID),
        (
            "/second/signature",
            json!("0".repeat(128)),
            SIGNATURE_INVALID,
        ),
    ] {
        let mut answer = seals_answer();
        *answer.pointer_mut(pointer).unwrap() = value;
        assert!(judge(&answer, &key()).contains(&check), "{pointer}");
    }
}
