//! Every member of every payload of every provider, replaced by what it should never be, and properly signed.

use std::collections::HashSet;
use std::path::Path;

use credit_ledger::ledger::Source;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::target::Target;
use crate::fuzz::mutate::pointers;
use crate::support::deliveries::signed;

const AT_ONCE: usize = 16;

/// As JSON spells them: statements, bytes that no text has, lines of a log and numbers that do not fit first.
const SPELLINGS: [&str; 26] = [
    r#""'; drop table events; --""#,
    r#""a\u0000b""#,
    r#""a\r\n2026-01-01T00:00:00Z ERROR it is all over""#,
    "9223372036854775808",
    r#""$1""#,
    r#""%s%n""#,
    r#""\u0000""#,
    r#""\u001b[2J\u001b[8m""#,
    r#""\u2028\u202e\ufeff""#,
    r#""\ud800""#,
    r#""""#,
    r#""../../etc/passwd""#,
    r#"" ""#,
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e400",
    "-0",
    "-1",
    "0",
    "0.5",
    "true",
    "null",
    "[]",
    "{}",
    r#"[[{"id":"\u0000"}]]"#,
];

/// How many of the first are tried for every member that a provider's payloads have. Of all, each payload gets one after the
/// other.
const FOR_EACH: usize = 4;

/// Each payload with each of its members replaced.
fn replaced() -> Vec<(Source, String)> {
    let mut spellings = SPELLINGS.into_iter().cycle();
    let mut members = HashSet::new();
    let mut payloads = vec![];
    for source in [Source::Clerk, Source::Razorpay, Source::Stripe] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(source.as_str());
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            let whole: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            for pointer in pointers(&whole) {
                let mut payload = whole.clone();
                // What is not asked for is looked at as a text only.
                if pointer.is_empty() {
                    continue;
                }
                *payload.pointer_mut(&pointer).unwrap() = json!("@here@");
                let payload = payload.to_string();
                let mut put = |spelling| {
                    payloads.push((source, payload.replace("\"@here@\"", spelling)));
                };
                if members.insert((source, without_numbers(&pointer))) {
                    SPELLINGS[..FOR_EACH].iter().copied().for_each(&mut put);
                }
                put(spellings.next().unwrap());
            }
        }
    }
    payloads
}

/// The same of each item of a list.
fn without_numbers(pointer: &str) -> String {
    let parts = pointer.split('/');
    let parts = parts.filter(|part| part.parse::<usize>().is_err());
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_member_of_a_payload_is_believed() {
    let target = Target::start().await;
    let payloads = replaced();
    println!("{} payloads", payloads.len());
    let answers = stream::iter(payloads).map(async |(source, body)| {
        let answer = target
            .service
            .deliver(source, &signed(source, body.clone()))
            .await;
        (source, body, answer.unwrap())
    });
    let mut answers = answers.buffer_unordered(AT_ONCE);
    while let Some((source, body, (status, answer))) = answers.next().await {
        let is_good = match status.as_u16() {
            200 => answer["status"].is_string(),
            400 => answer["code"] == "malformed",
            _ => false,
        };
        assert!(is_good, "{source} {status} {answer}\n{body}");
    }
    drop(answers);
    target.assert_unharmed().await;
}
