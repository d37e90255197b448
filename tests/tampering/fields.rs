//! An export in which the lines beside the events were changed: every column of every content.

use std::collections::BTreeMap;

use credit_ledger_verify::manifest::Content;
use credit_ledger_verify::report::checks;
use serde_json::Value;

use super::dice::Dice;
use super::folder::{Folder, column, places};
use super::sealed::{Trusted, ledger, names, verdict_on};

/// What an export says that nothing vouches for: the content, the column, and why.
const NOT_DETECTABLE: &[(Content, &str, &str)] = &[(
    Content::Deliveries,
    "reason",
    "only for people: it says why nothing came of a delivery",
)];

/// Which checks may find a change, beside `unreadable`.
fn found_by(content: Content) -> &'static [&'static str] {
    match content {
        Content::Events => &[],
        Content::Seals => &[
            checks::UNREADABLE,
            checks::SEAL_BROKEN,
            checks::SEAL_MISSING,
            checks::SIGNATURE_INVALID,
        ],
        Content::Deliveries => &[
            checks::UNREADABLE,
            checks::DELIVERY_DIFFERS,
            checks::DELIVERY_MISSING,
        ],
        Content::Streams => &[
            checks::UNREADABLE,
            checks::STATE_DIFFERS,
            checks::ROW_MISSING,
        ],
        _ => &[checks::UNREADABLE, checks::ROW_DIFFERS, checks::ROW_MISSING],
    }
}

/// What findings may name a record by.
fn names_of(content: Content, record: &Value) -> Vec<String> {
    let at = |name: &str| match &record[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let of_user = || format!("user/{}", at("user_id"));
    let place = || format!("shard {} position {}", at("shard"), at("position"));
    match content {
        Content::Events => vec![],
        Content::Seals => vec![
            format!("seal {}", at("seal")),
            format!("seals {}", at("seal")),
        ],
        Content::Deliveries => {
            let led_to = record["led_to"].as_array().unwrap();
            let places = led_to
                .iter()
                .map(|place| format!("shard {} position {}", place[0], place[1]));
            places.chain([format!("delivery {}", at("key"))]).collect()
        }
        Content::Streams => vec![format!("{}/{}", at("aggregate_type"), at("aggregate_id"))],
        Content::Holds | Content::Settlements | Content::Entries => vec![place(), of_user()],
        Content::Lots | Content::Balance | Content::Users => vec![of_user()],
        Content::Purchases => vec![format!("purchase/{}", at("purchase_id"))],
    }
}

/// Whether the record is one of which every column counts.
fn is_fit(content: Content, record: &Value) -> bool {
    match content {
        // What led to nothing is named by nothing.
        Content::Deliveries => record["outcome"] == "recorded",
        // The states of users hold bounds beside facts.
        Content::Streams => record["aggregate_type"] == "purchase",
        _ => true,
    }
}

/// A change: which content, which record, which column, and the record before and after.
struct Change {
    content: Content,
    column: String,
    named: Vec<String>,
    said: String,
}

/// Changes the `turn`th column of one record of each content.
fn change(folder: &Folder, turn: usize, dice: &mut Dice) -> Vec<Change> {
    let mut changes = vec![];
    for content in Content::ALL
        .into_iter()
        .filter(|one| *one != Content::Events)
    {
        let mut records = folder.records(content.as_str());
        let fit: Vec<usize> = (0..records.len())
            .filter(|index| is_fit(content, &records[*index]))
            .collect();
        // Of every column one place, of all records together: some are empty in most.
        let mut columns: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
        for index in fit {
            for place in places(&records[index]) {
                columns
                    .entry(column(&place))
                    .or_default()
                    .push((index, place));
            }
        }
        let detectable = |name: &String| {
            let mut not = NOT_DETECTABLE.iter();
            !not.any(|(other, column, _)| *other == content && column == name)
        };
        let Some((name, all)) = columns
            .iter()
            .filter(|(name, _)| detectable(name))
            .nth(turn)
        else {
            continue;
        };
        let (index, place) = all[dice.below(all.len())].clone();
        let mut named = names_of(content, &records[index]);
        let value = records[index].pointer_mut(&place).unwrap();
        let (was, is) = (value.clone(), dice.flip(value));
        *value = is.clone();
        named.extend(names_of(content, &records[index]));
        let file = folder.files(content.as_str())[0].clone();
        let file = file.file_name().unwrap().to_str().unwrap().to_owned();
        named.push(format!("{file} line {}", index + 1));
        folder.write_records(content.as_str(), &records);
        changes.push(Change {
            content,
            column: name.clone(),
            named,
            said: format!("{was} became {is}"),
        });
    }
    changes
}

#[tokio::test]
async fn a_changed_byte_in_any_column_beside_the_events_is_found_and_named() {
    let ledger = ledger().await;
    let mut dice = Dice::of("a changed byte beside the events, offline");
    let mut tried = 0;
    for turn in 0.. {
        let folder = Folder::copy_of(&ledger.folder.0);
        let changes = change(&folder, turn, &mut dice);
        if changes.is_empty() {
            break;
        }
        folder.mend_manifest();
        let report = verdict_on(&folder.0, &Trusted::key());
        for Change {
            content,
            column,
            named,
            said,
        } in &changes
        {
            assert!(
                names(&report, found_by(*content), named),
                "{} {column}: {said}: none of {named:?} in {:#?}",
                content.as_str(),
                report
                    .findings
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            );
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried} columns");
}

/// So that the list above stays true: what it names is not found, or it need not be named.
#[tokio::test]
async fn what_is_said_not_to_be_detectable_is_not() {
    let ledger = ledger().await;
    let mut dice = Dice::of("what is not detectable");
    for (content, name, why) in NOT_DETECTABLE {
        let folder = Folder::copy_of(&ledger.folder.0);
        folder.change(content.as_str(), |records| {
            let record = records.iter_mut().find(|record| is_fit(*content, record));
            let value = &mut record.unwrap()[*name];
            *value = dice.flip(value);
        });
        folder.mend_manifest();
        let report = verdict_on(&folder.0, &Trusted::key());
        assert_eq!(report.findings, vec![], "{name}: {why}");
    }
}
