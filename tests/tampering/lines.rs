//! An export in which whole lines were taken away, added, or put elsewhere, and seals were undone or made anew.

use credit_ledger_verify::record::SealRecord;
use credit_ledger_verify::report::checks;
use credit_ledger_verify::seal::SealKey;
use serde_json::{Value, json};

use super::folder::Folder;
use super::sealed::{Ledger, Trusted, assert_clean, ledger, names, verdict_on};

/// What was done: where findings must name it, in any of these words.
type Done = Vec<String>;
/// Does it to a copy.
type Tamper = fn(&Folder, &Ledger) -> Done;

/// What is done, and which check says so.
const KINDS: &[(&str, Tamper, &[&str])] = &[
    (
        "the last events are gone",
        last_events_gone,
        &[checks::END_DIFFERS],
    ),
    ("an event is gone", event_gone, &[checks::POSITION_MISSING]),
    (
        "a whole stream is gone",
        stream_gone,
        &[checks::POSITION_MISSING],
    ),
    (
        "two events have changed places",
        events_swapped,
        &[checks::POSITION_MISSING],
    ),
    (
        "two events have each other's payload",
        payloads_swapped,
        &[checks::HASH_DIFFERS],
    ),
    (
        "an event is there twice",
        event_twice,
        &[checks::POSITION_MISSING],
    ),
    ("a shard more", another_shard, &[checks::END_DIFFERS]),
    ("a seal is gone", seal_gone, &[checks::SEAL_MISSING]),
    (
        "the last seal is gone, the manifest knows it",
        last_seal_forgotten,
        &[checks::SEAL_MISSING],
    ),
    (
        "two seals have changed places",
        seals_swapped,
        &[checks::SEAL_MISSING],
    ),
    (
        "somebody else has signed",
        signed_by_another,
        &[checks::SIGNATURE_INVALID],
    ),
    (
        "somebody else has signed under the name of the key",
        signed_under_its_name,
        &[checks::SIGNATURE_INVALID],
    ),
    (
        "a delivery is gone",
        delivery_gone,
        &[checks::DELIVERY_MISSING],
    ),
    (
        "a state is gone",
        |folder, _| row_gone(folder, "streams"),
        &[checks::ROW_MISSING],
    ),
    (
        "a lot is gone",
        |folder, _| row_gone(folder, "lots"),
        &[checks::ROW_MISSING],
    ),
    (
        "a hold is gone",
        |folder, _| row_gone(folder, "holds"),
        &[checks::ROW_MISSING],
    ),
    (
        "a settlement is gone",
        |folder, _| row_gone(folder, "settlements"),
        &[checks::ROW_MISSING],
    ),
    (
        "a balance is gone",
        |folder, _| row_gone(folder, "balance"),
        &[checks::ROW_MISSING],
    ),
    (
        "a user is gone",
        |folder, _| row_gone(folder, "users"),
        &[checks::ROW_MISSING],
    ),
    (
        "a purchase is gone",
        |folder, _| row_gone(folder, "purchases"),
        &[checks::ROW_MISSING],
    ),
    (
        "an entry is gone",
        |folder, _| row_gone(folder, "entries"),
        &[checks::ROW_MISSING],
    ),
    (
        "a balance of nobody",
        |folder, _| row_added(folder, "balance", "user_id"),
        &[checks::ROW_DIFFERS],
    ),
    (
        "a purchase of nothing",
        |folder, _| row_added(folder, "purchases", "purchase_id"),
        &[checks::ROW_DIFFERS],
    ),
    (
        "a lot of nobody",
        |folder, _| row_added(folder, "lots", "user_id"),
        &[checks::ROW_DIFFERS],
    ),
    (
        "a state of nothing",
        |folder, _| row_added(folder, "streams", "aggregate_id"),
        &[checks::STATE_DIFFERS],
    ),
    ("a file is gone", file_gone, &[checks::FILE_DIFFERS]),
    (
        "a content is not named",
        content_forgotten,
        &[checks::FILE_DIFFERS],
    ),
    (
        "a file outside is named",
        path_outside,
        &[checks::FILE_DIFFERS],
    ),
    (
        "a shard is said to end earlier",
        end_moved,
        &[checks::END_DIFFERS],
    ),
];

#[tokio::test]
async fn each_kind_of_tampering_is_found_and_named() {
    let ledger = ledger().await;
    for (kind, tamper, found_by) in KINDS {
        let folder = Folder::copy_of(&ledger.folder.0);
        let done = tamper(&folder, ledger);
        let report = verdict_on(&folder.0, &Trusted::key());
        let said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(
            names(&report, found_by, &done),
            "{kind}: none of {done:?} in {said:#?}"
        );
        assert_eq!(report.exit_code(), 1, "{kind}");
    }
}

/// Who takes back the last seal, in the seals and in the manifest, leaves an honest export of a moment before it: the
/// verdict says how many events are not sealed, and only who was told of the seal knows better.
#[tokio::test]
async fn a_seal_that_was_taken_back_is_known_to_the_witness_alone() {
    let ledger = ledger().await;
    let folder = Folder::copy_of(&ledger.folder.0);
    let last = folder.records("seals").len();
    folder.change("seals", |seals| seals.truncate(last - 1));
    folder.mend_manifest();
    let mut manifest = folder.manifest();
    manifest["last_seal"] = json!(last - 1);
    folder.write_manifest(&manifest);
    let report = verdict_on(&folder.0, &Trusted::key());
    assert_clean(&report);
    assert!(report.unsealed_events > 0);
    let report = verdict_on(&folder.0, &Trusted::witness(ledger));
    let place = format!("seal {last}");
    assert!(
        names(&report, &[checks::ROLLED_BACK], &[place]),
        "{report:?}"
    );
}

/// The other way: the operator seals another history under the same key.
#[tokio::test]
async fn a_seal_that_was_made_anew_is_known_to_the_witness_alone() {
    let ledger = ledger().await;
    let folder = Folder::copy_of(&ledger.folder.0);
    sign_again(
        &folder,
        &crate::support::seals::key(),
        true,
        |seal, last| {
            // As if the clock had been another: nothing else in an export says when it was sealed.
            seal.sealed_at_us += i64::from(last);
        },
    );
    assert_clean(&verdict_on(&folder.0, &Trusted::key()));
    let report = verdict_on(&folder.0, &Trusted::witness(ledger));
    let place = format!("seal {}", ledger.witness.len());
    assert!(
        names(&report, &[checks::ROLLED_BACK], &[place]),
        "{report:?}"
    );
}

fn place_of(event: &Value) -> String {
    format!("shard {} position {}", event["shard"], event["position"])
}

fn write(folder: &Folder, content: &str, records: &[Value]) {
    folder.write_records(content, records);
    folder.mend_manifest();
}

/// The place of an event of the middle whose next one is the next of its shard.
fn middle(events: &[Value]) -> usize {
    (events.len() / 2..events.len() - 1)
        .find(|at| events[*at]["shard"] == events[at + 1]["shard"])
        .unwrap()
}

fn last_events_gone(folder: &Folder, _: &Ledger) -> Done {
    let mut events = folder.records("events");
    let end = place_of(events.last().unwrap());
    events.truncate(events.len() - 3);
    write(folder, "events", &events);
    vec![end]
}

fn event_gone(folder: &Folder, _: &Ledger) -> Done {
    let mut events = folder.records("events");
    let event = events.remove(middle(&events));
    write(folder, "events", &events);
    vec![place_of(&event)]
}

fn stream_gone(folder: &Folder, ledger: &Ledger) -> Done {
    let user_id = &ledger.users[1];
    let mut events = folder.records("events");
    let of_user =
        |event: &Value| event["aggregate_type"] == "user" && event["aggregate_id"] == **user_id;
    let first = events.iter().find(|event| of_user(event)).map(place_of);
    events.retain(|event| !of_user(event));
    folder.write_records("events", &events);
    for content in ["balance", "users", "entries", "lots", "holds"] {
        folder.change(content, |rows| {
            rows.retain(|row| row["user_id"] != **user_id);
        });
    }
    folder.change("streams", |rows| {
        rows.retain(|row| row["aggregate_id"] != **user_id);
    });
    folder.mend_manifest();
    vec![first.unwrap()]
}

fn events_swapped(folder: &Folder, _: &Ledger) -> Done {
    let mut events = folder.records("events");
    let at = middle(&events);
    events.swap(at, at + 1);
    write(folder, "events", &events);
    vec![place_of(&events[at + 1])]
}

fn payloads_swapped(folder: &Folder, _: &Ledger) -> Done {
    let mut events = folder.records("events");
    let at = middle(&events);
    let other = events[at + 1]["payload"].clone();
    let one = std::mem::replace(&mut events[at]["payload"], other);
    events[at + 1]["payload"] = one;
    write(folder, "events", &events);
    vec![place_of(&events[at])]
}

fn event_twice(folder: &Folder, _: &Ledger) -> Done {
    let mut events = folder.records("events");
    let at = middle(&events);
    events.insert(at, events[at].clone());
    write(folder, "events", &events);
    vec![place_of(&events[at])]
}

/// A chain of its own, which nobody said would be there.
fn another_shard(folder: &Folder, _: &Ledger) -> Done {
    let mut events = folder.records("events");
    let mut event = events
        .iter()
        .find(|event| event["event_type"] == "SubscriptionChanged" || event["sequence"] == 1)
        .unwrap()
        .clone();
    event["shard"] = json!(99);
    event["position"] = json!(1);
    event["aggregate_id"] = json!("user_of_another_shard");
    let record: credit_ledger_verify::record::EventRecord =
        serde_json::from_value(event.clone()).unwrap();
    let hash =
        credit_ledger_verify::chain::link(&credit_ledger_verify::chain::GENESIS, &record.link());
    event["hash"] = json!(hex::encode(hash));
    events.push(event);
    write(folder, "events", &events);
    vec!["shard 99".to_owned()]
}

fn seal_gone(folder: &Folder, _: &Ledger) -> Done {
    let mut seals = folder.records("seals");
    seals.remove(3);
    write(folder, "seals", &seals);
    vec!["seals 4 to 4".to_owned()]
}

fn last_seal_forgotten(folder: &Folder, _: &Ledger) -> Done {
    let mut seals = folder.records("seals");
    seals.pop();
    write(folder, "seals", &seals);
    vec![format!("the last seal is {}", seals.len())]
}

fn seals_swapped(folder: &Folder, _: &Ledger) -> Done {
    let mut seals = folder.records("seals");
    seals.swap(1, 2);
    write(folder, "seals", &seals);
    vec!["seal 2".to_owned()]
}

fn signed_by_another(folder: &Folder, _: &Ledger) -> Done {
    let other = SealKey::from_seed(&[8; 32]);
    sign_again(folder, &other, false, |seal, _| {
        seal.key_id = other.public().id();
    });
    vec!["seal 1".to_owned()]
}

fn signed_under_its_name(folder: &Folder, _: &Ledger) -> Done {
    sign_again(folder, &SealKey::from_seed(&[8; 32]), false, |_, _| {});
    vec!["seal 1".to_owned()]
}

/// Lets somebody change seals, makes what follows from that, and signs all, or only the last one.
fn sign_again(
    folder: &Folder,
    key: &SealKey,
    only_last: bool,
    change: impl Fn(&mut SealRecord, bool),
) {
    let seals = folder.records("seals");
    let number = seals.len();
    let mut tree = credit_ledger_verify::merkle::Tree::default();
    let seals = seals.into_iter().map(|seal| {
        let mut seal: SealRecord = serde_json::from_value(seal).unwrap();
        let last = usize::try_from(seal.seal).unwrap() == number;
        change(&mut seal, last);
        let _ = tree.push(seal.batch().leaf());
        seal.head = tree.root();
        if last || !only_last {
            seal.signature = key.sign(seal.seal, &seal.head);
        }
        serde_json::to_value(seal).unwrap()
    });
    let seals: Vec<Value> = seals.collect();
    write(folder, "seals", &seals);
}

fn delivery_gone(folder: &Folder, _: &Ledger) -> Done {
    let mut deliveries = folder.records("deliveries");
    let at = deliveries
        .iter()
        .position(|delivery| delivery["outcome"] == "recorded")
        .unwrap();
    let place = deliveries.remove(at)["led_to"][0].clone();
    write(folder, "deliveries", &deliveries);
    vec![format!("shard {} position {}", place[0], place[1])]
}

fn row_gone(folder: &Folder, content: &str) -> Done {
    let mut rows = folder.records(content);
    let row = rows.remove(rows.len() / 2);
    write(folder, content, &rows);
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    match content {
        "purchases" => vec![format!("purchase/{}", text("purchase_id").unwrap())],
        "streams" => vec![format!(
            "{}/{}",
            text("aggregate_type").unwrap(),
            text("aggregate_id").unwrap()
        )],
        "settlements" => vec![place_of(&row)],
        _ => vec![format!("user/{}", text("user_id").unwrap())],
    }
}

fn row_added(folder: &Folder, content: &str, id: &str) -> Done {
    let mut rows = folder.records(content);
    let mut row = rows[0].clone();
    row[id] = json!("somebody_else");
    rows.push(row);
    write(folder, content, &rows);
    vec!["/somebody_else".to_owned()]
}

fn file_gone(folder: &Folder, _: &Ledger) -> Done {
    let file = folder.files("purchases")[0].clone();
    std::fs::remove_file(&file).unwrap();
    vec![file.file_name().unwrap().to_str().unwrap().to_owned()]
}

fn content_forgotten(folder: &Folder, _: &Ledger) -> Done {
    let mut manifest = folder.manifest();
    let files = manifest["files"].as_array_mut().unwrap();
    files.retain(|file| file["content"] != "deliveries");
    folder.write_manifest(&manifest);
    vec!["deliveries".to_owned()]
}

fn path_outside(folder: &Folder, _: &Ledger) -> Done {
    let mut manifest = folder.manifest();
    manifest["files"][0]["name"] = json!("../manifest.json");
    folder.write_manifest(&manifest);
    vec!["../manifest.json".to_owned()]
}

fn end_moved(folder: &Folder, _: &Ledger) -> Done {
    let mut manifest = folder.manifest();
    let ends = manifest["ends"].as_array_mut().unwrap();
    let end = ends.iter_mut().find(|end| end["position"] != 0).unwrap();
    end["position"] = json!(end["position"].as_i64().unwrap() - 1);
    let place = place_of(end);
    folder.write_manifest(&manifest);
    vec![place]
}
