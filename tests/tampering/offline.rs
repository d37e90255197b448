//! An export whose events were changed: every column of 200 of them. Whoever changes the files can change the
//! manifest, too, so that digests of files stop nobody.

use std::collections::BTreeMap;
use std::slice::from_ref;

use credit_ledger_verify::manifest::Content;
use credit_ledger_verify::report::{LISTED, Verdict, checks};
use serde_json::Value;

use super::dice::{Dice, handfuls};
use super::folder::{Folder, places};
use super::sealed::{Trusted, assert_clean, ledger, names, verdict_on};

/// How many events are changed, in each of their columns.
const EVENTS: usize = 200;

/// Which checks may find a change in an event.
const EVENT_FOUND_BY: &[&str] = &[
    checks::HASH_DIFFERS,
    checks::POSITION_MISSING,
    checks::SEQUENCE_BROKEN,
    checks::END_DIFFERS,
    checks::UNREADABLE,
];

#[tokio::test]
async fn an_honest_export_is_clean() {
    let ledger = ledger().await;
    let report = verdict_on(&ledger.folder.0, &Trusted::witness(ledger));
    assert_clean(&report);
    assert!(report.events >= 300, "{}", report.events);
    assert_eq!(report.unsealed_events, 0);
    assert_eq!(report.witnessed, ledger.witness.len() as u64);
    for content in Content::ALL.map(Content::as_str) {
        assert!(!ledger.folder.records(content).is_empty(), "{content}");
    }
}

/// Without a key nothing is proven, and that is not called clean.
#[tokio::test]
async fn without_a_key_nothing_is_proven() {
    let ledger = ledger().await;
    let mut trusted = Trusted::nobody();
    assert_eq!(
        verdict_on(&ledger.folder.0, &trusted).verdict(),
        Verdict::Clean
    );
    trusted.waived = false;
    let report = verdict_on(&ledger.folder.0, &trusted);
    assert_eq!(
        (report.verdict(), report.exit_code()),
        (Verdict::Unproven, 2)
    );
}

/// How findings name an event: by its place as it is or was, or by its line.
fn named_as(event: &Value, file: &str, line: usize) -> [String; 2] {
    [
        format!("shard {} position {}", event["shard"], event["position"]),
        format!("{file} line {}", line + 1),
    ]
}

#[tokio::test]
async fn a_changed_byte_in_any_column_of_any_event_is_found_and_named() {
    let ledger = ledger().await;
    let mut dice = Dice::of("a changed byte of an event, offline");
    let folder = Folder::copy_of(&ledger.folder.0);
    let events = folder.records("events");
    let file = folder.files("events")[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let manifest = folder.manifest();
    let columns = places(&events[0]);
    assert_eq!(columns.len(), 13, "{columns:?}");
    let trusted = Trusted::key();
    let places_of = |event: &Value| {
        (
            event["shard"].as_i64().unwrap(),
            event["position"].as_i64().unwrap(),
        )
    };
    let lines: BTreeMap<(i64, i64), usize> = events.iter().map(places_of).zip(0..).collect();
    let chosen = dice.some(&lines.keys().copied().collect::<Vec<_>>(), EVENTS);
    assert_eq!(chosen.len(), EVENTS);
    for handful in handfuls(chosen) {
        let handful: Vec<usize> = handful.iter().map(|place| lines[place]).collect();
        for column in &columns {
            let mut changed = events.clone();
            for index in &handful {
                let value = changed[*index].pointer_mut(column).unwrap();
                *value = dice.flip(value);
            }
            folder.write_records("events", &changed);
            // Once for each handful whoever changed it was careless.
            if column == "/hash" {
                let report = verdict_on(&folder.0, &trusted);
                assert!(
                    names(&report, &[checks::FILE_DIFFERS], from_ref(&file)),
                    "{:#?}",
                    report.findings
                );
            }
            folder.mend_manifest();
            let of_all = verdict_on(&folder.0, &trusted);
            assert!(!names(&of_all, &[checks::FILE_DIFFERS], from_ref(&file)));
            for index in &handful {
                // More than are listed: then each by itself.
                let mut report = of_all.clone();
                if report.found > LISTED as u64 {
                    let mut alone = events.clone();
                    alone[*index] = changed[*index].clone();
                    folder.write_records("events", &alone);
                    folder.mend_manifest();
                    report = verdict_on(&folder.0, &trusted);
                }
                let mut places = named_as(&events[*index], &file, *index).to_vec();
                places.extend(named_as(&changed[*index], &file, *index));
                assert!(
                    names(&report, EVENT_FOUND_BY, &places),
                    "{column} of {} was {}: {:#?}",
                    changed[*index],
                    events[*index].pointer(column).unwrap(),
                    report.findings
                );
            }
            folder.write_manifest(&manifest);
        }
    }
}
