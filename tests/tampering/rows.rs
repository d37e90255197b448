//! The live database: every column of every table, and a random column of 200 events, changed by somebody for whom the
//! triggers and constraints are no hindrance.

use std::collections::BTreeMap;

use credit_ledger_verify::report::checks;
use serde_json::Value;

use super::copy::{Changed, Column, Copy};
use super::dice::{Dice, handfuls};
use super::sealed::{Trusted, assert_clean, ledger, names, verdict_of};

/// How many events are changed.
const EVENTS: usize = 200;

/// Which checks may find a change in an event.
const EVENT_FOUND_BY: &[&str] = &[
    checks::HASH_DIFFERS,
    checks::POSITION_MISSING,
    checks::SEQUENCE_BROKEN,
    checks::END_DIFFERS,
];

/// What nothing vouches for: the table, the column (none: each), and why.
const NOT_DETECTABLE: &[(&str, Option<&str>, &str)] = &[
    (
        "refinery_schema_history",
        None,
        "no history of credits: what the migrations compare",
    ),
    (
        "read_models",
        None,
        "no history of credits: a wrong row makes for one rebuild more",
    ),
    ("api_keys", None, "no history of credits: who may ask"),
    (
        "witnesses",
        None,
        "how far a witness was told; what it was told is with the witness",
    ),
    ("ledger", Some("only_row"), "says nothing"),
    (
        "ledger",
        Some("home_function"),
        "where the streams of new users will be; those that are there stay where they are",
    ),
    (
        "inbox",
        Some("reason"),
        "only for people: it says why nothing came of a delivery",
    ),
    (
        "inbox",
        Some("attempts"),
        "how often a delivery was tried leaves no event",
    ),
    (
        "inbox",
        Some("deliveries"),
        "how often a delivery came leaves no event",
    ),
    (
        "inbox",
        Some("waits_for"),
        "of deliveries that led to nothing yet",
    ),
    (
        "inbox",
        Some("next_attempt_at"),
        "of deliveries that led to nothing yet",
    ),
    (
        "requests",
        Some("digest"),
        "the events name the request, and not what was asked",
    ),
    (
        "requests",
        Some("status"),
        "the events name the request, and not what was answered",
    ),
    (
        "requests",
        Some("body"),
        "the events name the request, and not what was answered",
    ),
    (
        "requests",
        Some("recorded_at"),
        "the events name the request, and not when it was answered",
    ),
    (
        "requests",
        Some("fields"),
        "the events name the request, and not what was asked",
    ),
];

/// Of which rows every column counts, and which checks may find a change in them.
fn table(name: &str) -> (&'static str, &'static [&'static str]) {
    match name {
        // What led to nothing is named by nothing.
        "inbox" => (
            "outcome = 'recorded'",
            &[checks::DELIVERY_DIFFERS, checks::DELIVERY_MISSING],
        ),
        // The states of users hold bounds beside facts.
        "streams" => (
            "aggregate_type = 'purchase'",
            &[checks::STATE_DIFFERS, checks::ROW_MISSING],
        ),
        "requests" => (
            "exists (select from events where metadata->>'request' = idempotency_key)",
            &[checks::ROW_MISSING],
        ),
        "seals" => (
            "true",
            &[
                checks::SEAL_BROKEN,
                checks::SEAL_MISSING,
                checks::SIGNATURE_INVALID,
            ],
        ),
        "heads" => (
            "position > 0",
            &[
                checks::END_DIFFERS,
                checks::ROW_DIFFERS,
                checks::ROW_MISSING,
            ],
        ),
        _ => (
            "true",
            &[
                checks::ROW_DIFFERS,
                checks::ROW_MISSING,
                checks::END_DIFFERS,
            ],
        ),
    }
}

/// What findings may name a row by.
fn names_of(table: &str, row: &Value) -> Vec<String> {
    let at = |name: &str| match &row[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let place = format!("shard {} position {}", at("shard"), at("position"));
    match table {
        "events" | "settlements" => vec![place],
        "entries" | "holds" => vec![place, format!("user/{}", at("user_id"))],
        "inbox" => vec![format!("delivery {}", at("key")), led_to(row)],
        "streams" | "personal" | "outbox" => {
            vec![format!("{}/{}", at("aggregate_type"), at("aggregate_id"))]
        }
        "seals" => vec![
            format!("seal {}", at("seal")),
            format!("seals {}", at("seal")),
        ],
        "heads" => vec![format!("shard {}", at("shard"))],
        "homes" | "purchases" => vec![at("purchase_id")],
        "lots" | "balance" | "users" => vec![format!("user/{}", at("user_id"))],
        // A finding about an event that was caused by it, or about a shard that is not there.
        "requests" | "ledger" => vec![String::new()],
        other => panic!("{other}: say here how findings name its rows, or why nothing finds them"),
    }
}

fn led_to(row: &Value) -> String {
    format!(
        "shard {} position {}",
        row["shards"][0], row["positions"][0]
    )
}

#[tokio::test]
async fn a_changed_value_in_any_column_of_any_table_is_found_and_named() {
    let ledger = ledger().await;
    let mut dice = Dice::of("a changed value of a row");
    let copy = Copy::of(&ledger.database).await;
    copy.lift_keys().await;
    assert_clean(&verdict_of(&copy.database, &Trusted::witness(ledger)).await);
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for column in copy.columns().await {
        let mut not = NOT_DETECTABLE.iter();
        let is_not = not.any(|(table, name, _)| {
            *table == column.table && name.is_none_or(|name| name == column.name)
        });
        if column.table != "events" && !is_not {
            columns
                .entry(column.table.clone())
                .or_default()
                .push(column);
        }
    }
    // The first column of each table, the second of each …: they do not hide each other. But what says how many shards
    // there are hides everything.
    let alone: Vec<Column> = columns.remove("ledger").unwrap();
    let last = columns.values().map(Vec::len).max().unwrap();
    let nth = |turn: usize| columns.values().filter_map(|all| all.get(turn)).collect();
    let mut turns: Vec<Vec<&Column>> = (0..last).map(nth).collect();
    turns.push(alone.iter().collect());
    let mut tried = 0;
    for turn in turns {
        let mut changes: Vec<(&Column, Changed)> = vec![];
        for column in turn {
            let rows = copy.rows(&column.table, table(&column.table).0).await;
            if !rows.is_empty() {
                let row = &rows[dice.below(rows.len())];
                changes.push((column, copy.change(column, row, &mut dice).await));
            }
        }
        let report = verdict_of(&copy.database, &Trusted::witness(ledger)).await;
        for (column, changed) in &changes {
            let mut places = names_of(&column.table, &changed.before);
            places.extend(names_of(&column.table, &changed.after));
            assert!(
                names(&report, table(&column.table).1, &places),
                "{column:?}: none of {places:?} in {:#?}",
                report
                    .findings
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            );
            tried += 1;
        }
        for (_, changed) in changes {
            copy.undo(changed).await;
        }
    }
    assert!(tried > 100, "{tried} columns");
    assert_clean(&verdict_of(&copy.database, &Trusted::witness(ledger)).await);
}

#[tokio::test]
async fn a_changed_value_in_any_of_200_events_is_found_and_named() {
    let ledger = ledger().await;
    let mut dice = Dice::of("a changed value of an event");
    let copy = Copy::of(&ledger.database).await;
    copy.lift_keys().await;
    let columns = copy.columns().await;
    let columns: Vec<Column> = columns
        .into_iter()
        .filter(|one| one.table == "events")
        .collect();
    assert_eq!(columns.len(), 13);
    let places = copy.places().await;
    let chosen = dice.some(&places, EVENTS);
    assert_eq!(chosen.len(), EVENTS);
    for handful in handfuls(chosen) {
        let mut changes = vec![];
        for (shard, position) in &handful {
            let condition = format!("shard = {shard} and position = {position}");
            let row = copy.rows("events", &condition).await.remove(0);
            let column = &columns[dice.below(columns.len())];
            changes.push((&column.name, copy.change(column, &row, &mut dice).await));
        }
        let report = verdict_of(&copy.database, &Trusted::key()).await;
        for (column, changed) in &changes {
            let mut places = names_of("events", &changed.before);
            places.extend(names_of("events", &changed.after));
            assert!(
                names(&report, EVENT_FOUND_BY, &places),
                "{column} of {places:?}: {:#?}",
                report
                    .findings
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            );
        }
        for (_, changed) in changes {
            copy.undo(changed).await;
        }
    }
    assert_clean(&verdict_of(&copy.database, &Trusted::witness(ledger)).await);
}
