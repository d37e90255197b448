//! A small ledger, made by hand: two users in two shards, a purchase that is half refunded, a hold that is open; and its
//! export in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use credit_ledger_verify::Hash;
use credit_ledger_verify::chain::{GENESIS, link};
use credit_ledger_verify::check::Trust;
use credit_ledger_verify::evidence;
use credit_ledger_verify::export;
use credit_ledger_verify::manifest::{Content, FileEntry, Format, Manifest, Scope, VERSION};
use credit_ledger_verify::merkle::Tree;
use credit_ledger_verify::record::{
    DeliveryRecord, EndRecord, EventRecord, Row, SealRecord, StreamRecord,
};
use credit_ledger_verify::report::Report;
use credit_ledger_verify::seal::{SealKey, event_leaf};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const BEGIN_US: i64 = 1_795_000_000_000_000;
const PURCHASE: &str = "stripe:pi_1";

pub fn key() -> SealKey {
    SealKey::from_seed(&[7; 32])
}

/// An export before it is written.
#[derive(Clone)]
pub struct Export {
    pub scope: Scope,
    pub ends: Vec<EndRecord>,
    pub seals: Vec<SealRecord>,
    pub events: Vec<EventRecord>,
    pub deliveries: Vec<DeliveryRecord>,
    pub streams: Vec<StreamRecord>,
    pub rows: BTreeMap<Content, Vec<Row>>,
}

/// A folder that goes with it.
pub struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("credit-ledger-verify-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

fn slice(lot: i64, credits: i64) -> Value {
    match lot {
        3 => {
            json!({ "lot": 3, "credits": credits, "kind": "paid", "purchase_id": PURCHASE, "amount": 500 })
        }
        _ => json!({ "lot": lot, "credits": credits, "kind": "bonus", "amount": 20 }),
    }
}

#[allow(clippy::too_many_lines)]
/// The history, before it is chained: shard, stream, payload, and the delivery behind it.
pub fn story() -> Vec<(i16, &'static str, Value, Option<&'static str>)> {
    let bonus = json!({ "type": "SignupBonusGranted", "credits": 20, "delta": 20, "balance": 20 });
    vec![
        (
            0,
            "user/user_1",
            json!({ "type": "UserRegistered", "plan": "free" }),
            Some("msg_1"),
        ),
        (0, "user/user_1", bonus.clone(), Some("msg_1")),
        (
            0,
            "purchase/stripe:pi_1",
            json!({
                "type": "PaymentCaptured", "amount_minor": 900, "currency": "USD", "user_id": "user_1",
                "price": { "sku": "pack", "credits": 500 }, "paid_at_s": 1_795_000_000,
            }),
            Some("evt_1"),
        ),
        (
            0,
            "user/user_1",
            json!({
                "type": "CreditsPurchased", "purchase_id": PURCHASE, "credits": 500, "delta": 500, "balance": 520,
            }),
            Some("evt_1"),
        ),
        (
            0,
            "user/user_1",
            json!({
                "type": "CreditsSpent", "credits": 100, "slices": [slice(2, 20), slice(3, 80)], "reason": "a picture",
                "delta": -100, "balance": 420,
            }),
            None,
        ),
        (
            0,
            "user/user_1",
            json!({
                "type": "CreditsHeld", "credits": 50, "slices": [slice(3, 50)], "times_out_at_s": 1_796_000_000,
                "delta": 0, "balance": 420, "held": 50, "reserved": 50,
            }),
            None,
        ),
        (
            0,
            "user/user_1",
            json!({
                "type": "HoldReleased", "hold_id": "0-6", "credits": 50, "returned": [slice(3, 50)],
                "delta": 0, "balance": 420,
            }),
            None,
        ),
        (
            0,
            "user/user_1",
            json!({
                "type": "SpendReversed", "entry_id": "0-5", "credits": 30, "slices": [slice(3, 30)],
                "delta": 30, "balance": 450,
            }),
            None,
        ),
        (
            0,
            "purchase/stripe:pi_1",
            json!({
                "type": "PaymentRefunded", "refund_id": "re_1", "amount_minor": 450, "after": { "refunded_minor": 450 },
            }),
            Some("evt_2"),
        ),
        (
            0,
            "user/user_1",
            json!({
                "type": "CreditsClawedBack", "purchase_id": PURCHASE, "credits": 250, "slices": [slice(3, 250)],
                "delta": -250, "balance": 200,
            }),
            Some("evt_2"),
        ),
        (
            0,
            "user/user_1",
            json!({
                "type": "CreditsHeld", "credits": 40, "slices": [slice(3, 40)], "times_out_at_s": 1_796_000_000,
                "delta": 0, "balance": 200, "held": 40, "reserved": 40,
            }),
            None,
        ),
        (
            1,
            "user/user_2",
            json!({ "type": "UserRegistered", "plan": "free" }),
            Some("msg_2"),
        ),
        (1, "user/user_2", bonus, Some("msg_2")),
        (
            1,
            "user/user_2",
            json!({
                "type": "CreditsSpent", "credits": 5, "slices": [slice(2, 5)], "delta": -5, "balance": 15,
            }),
            None,
        ),
    ]
}

/// How far each seal goes: the ends of both shards.
const SEALED: [[i64; 2]; 2] = [[4, 0], [8, 3]];

pub fn sound() -> Export {
    built(story(), &key())
}

/// Whoever has the key can chain and seal anything.
pub fn built(
    story: Vec<(i16, &'static str, Value, Option<&'static str>)>,
    key: &SealKey,
) -> Export {
    let mut deliveries: Vec<DeliveryRecord> = ["msg_1", "evt_1", "evt_2", "msg_2", "evt_3"]
        .map(delivery)
        .into();
    let mut events: Vec<EventRecord> = Vec::new();
    for (shard, stream, payload, caused) in story {
        let (aggregate_type, aggregate_id) = stream.split_once('/').unwrap();
        let position = events.iter().filter(|one| one.shard == shard).count() + 1;
        let sequence = events
            .iter()
            .filter(|one| one.aggregate_id == aggregate_id)
            .count()
            + 1;
        let place = (shard, i64::try_from(position).unwrap());
        let delivery = deliveries
            .iter_mut()
            .find(|one| caused == Some(one.key.as_str()));
        let metadata = match delivery {
            None => json!({ "principal": "service", "request": "k1" }),
            Some(delivery) => {
                delivery.led_to.push(place);
                "recorded".clone_into(&mut delivery.outcome);
                delivery.reason = None;
                let evidence = evidence::digest(&delivery.evidence());
                json!({ "inbox": delivery.key, "evidence": hex::encode(evidence) })
            }
        };
        events.push(EventRecord {
            shard,
            position: place.1,
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            sequence: i64::try_from(sequence).unwrap(),
            event_type: payload["type"].as_str().unwrap().to_owned(),
            event_version: "1.0".to_owned(),
            payload: payload.to_string(),
            metadata: metadata.to_string(),
            recorded_at_us: BEGIN_US + place.1 * 1_000_000,
            source: caused.map_or("api", source).to_owned(),
            provider_event_id: caused.map(str::to_owned),
            hash: GENESIS,
        });
    }
    let rows = rows(&events);
    let mut export = Export {
        scope: Scope::Whole,
        ends: vec![],
        seals: vec![],
        events,
        deliveries,
        streams: streams(),
        rows,
    };
    export.chain();
    export.seal(key);
    export
}

fn source(delivery: &str) -> &'static str {
    if delivery.starts_with("msg") {
        "clerk"
    } else {
        "stripe"
    }
}

fn delivery(key: &str) -> DeliveryRecord {
    DeliveryRecord {
        source: source(key).to_owned(),
        key: key.to_owned(),
        provider_event_id: key.to_owned(),
        body_sha256: Sha256::digest(key).into(),
        headers: "{}".to_owned(),
        secret: "0123abcd".to_owned(),
        received_at_us: BEGIN_US,
        outcome: "ignored".to_owned(),
        reason: Some("it concerns nothing here".to_owned()),
        led_to: vec![],
        erased: false,
    }
}

fn streams() -> Vec<StreamRecord> {
    let stream = |shard, stream: &str, version, state: Value| {
        let (aggregate_type, aggregate_id) = stream.split_once('/').unwrap();
        StreamRecord {
            shard,
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            version,
            state: state.to_string(),
        }
    };
    vec![
        stream(
            0,
            "user/user_1",
            9,
            json!({
                "registered": true, "bonus": true, "plan": "free", "events": 9, "balance": 200, "held": 40, "reserved": 40,
                "lots": { "open": [{ "id": 3, "kind": "paid", "purchase_id": PURCHASE, "amount": 500, "remaining": 160 }] },
                "holds": 1_796_000_000,
            }),
        ),
        stream(
            0,
            "purchase/stripe:pi_1",
            2,
            json!({
                "captured": true, "amount_minor": 900, "currency": "USD", "paid_at_s": 1_795_000_000, "user_id": "user_1",
                "price": { "sku": "pack", "credits": 500 }, "refunds": { "re_1": { "amount_minor": 450 } },
            }),
        ),
        stream(
            1,
            "user/user_2",
            3,
            json!({
                "registered": true, "bonus": true, "plan": "free", "events": 3, "balance": 15,
                "lots": { "behind": { "credits": 15, "after": [100, 0, false, 2] } },
            }),
        ),
    ]
}

fn rows(events: &[EventRecord]) -> BTreeMap<Content, Vec<Row>> {
    let user = |id: &str, at_us: i64| {
        json!({
            "user_id": id, "registered": true, "deleted": false, "erasure_requested": false, "erased": false,
            "bonus": true, "plan": "free", "plan_sequence": 0, "profile_sequence": 0, "registered_at_us": at_us,
            "deleted_at_us": null,
        })
    };
    let mut rows = BTreeMap::from([
        (
            Content::Lots,
            vec![json!({
                "user_id": "user_2", "lot": 2, "shard": 1, "kind": "bonus", "priority": 100, "expires_at_s": null,
                "purchase_id": null, "amount": 20, "remaining": 15, "contested": 0, "expired": 0, "counted": 0,
            })],
        ),
        (
            Content::Holds,
            vec![
                json!({ "shard": 0, "position": 11, "user_id": "user_1", "times_out_at_s": 1_796_000_000 }),
            ],
        ),
        (
            Content::Settlements,
            vec![
                json!({ "shard": 0, "position": 6, "settlement": "released" }),
                json!({ "shard": 0, "position": 5, "settlement": "reversed" }),
            ],
        ),
        (
            Content::Balance,
            vec![
                json!({ "user_id": "user_1", "balance": 200, "held": 40, "debt": 0, "version": 9 }),
                json!({ "user_id": "user_2", "balance": 15, "held": 0, "debt": 0, "version": 3 }),
            ],
        ),
        (
            Content::Users,
            vec![
                user("user_1", BEGIN_US + 1_000_000),
                user("user_2", BEGIN_US + 1_000_000),
            ],
        ),
        (
            Content::Purchases,
            vec![json!({
                "purchase_id": PURCHASE, "user_id": "user_1", "captured": true, "amount_minor": 900, "currency": "USD",
                "order_id": null, "sku": "pack", "credits": 500, "subscription_id": null, "payer_erased": false,
                "refunded_minor": 450, "disputed_minor": 0, "lost_minor": 0, "standing_sequence": 2, "part_of": null,
                "status": "partially_refunded", "paid_at_us": 1_795_000_000_000_000_i64,
                "recorded_at_us": BEGIN_US + 3_000_000,
            })],
        ),
    ]);
    let entries = events.iter().filter_map(entry).collect();
    rows.insert(Content::Entries, entries);
    rows.into_iter()
        .map(|(content, rows)| (content, rows.into_iter().map(object).collect()))
        .collect()
}

fn entry(event: &EventRecord) -> Option<Value> {
    let payload: Value = serde_json::from_str(&event.payload).unwrap();
    let delta = payload.get("delta")?;
    let slices = payload.get("slices").or_else(|| payload.get("returned"));
    Some(json!({
        "user_id": event.aggregate_id, "sequence": event.sequence, "shard": event.shard, "position": event.position,
        "type": event.event_type, "delta": delta, "balance": payload["balance"], "purchase_id": payload.get("purchase_id"),
        "source": event.source, "provider_event_id": event.provider_event_id, "recorded_at_us": event.recorded_at_us,
        "slices": slices, "about": payload.get("entry_id").or_else(|| payload.get("hold_id")),
        "reason": payload.get("reason"), "reference": null,
    }))
}

pub fn object(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        other => panic!("no row: {other}"),
    }
}

impl Export {
    /// Hashes every event anew, and notes the ends.
    pub fn chain(&mut self) {
        self.ends = vec![];
        for shard in 0..2 {
            let mut end = EndRecord {
                shard,
                position: 0,
                hash: GENESIS,
            };
            for event in self.events.iter_mut().filter(|one| one.shard == shard) {
                event.hash = link(&end.hash, &event.link());
                (end.position, end.hash) = (event.position, event.hash);
            }
            self.ends.push(end);
        }
    }

    /// Seals every event anew.
    pub fn seal(&mut self, key: &SealKey) {
        self.seals = vec![];
        let mut history = Tree::default();
        let mut before = [0, 0];
        for (number, ends) in (1..).zip(SEALED) {
            let mut tree = Tree::default();
            for event in &self.events {
                let shard = usize::try_from(event.shard).unwrap();
                if event.position > before[shard] && event.position <= ends[shard] {
                    tree.push(event_leaf(&event.hash));
                }
            }
            let hash = |shard: i16, position: i64| {
                let mut events = self.events.iter();
                let found = events.find(|one| (one.shard, one.position) == (shard, position));
                found.map_or(GENESIS, |event| event.hash)
            };
            let ends: Vec<EndRecord> = (0..)
                .zip(ends)
                .map(|(shard, position)| EndRecord {
                    shard,
                    position,
                    hash: hash(shard, position),
                })
                .collect();
            let mut seal = SealRecord {
                seal: number,
                sealed_at_us: BEGIN_US + number * 10_000_000,
                events: i64::try_from(tree.len()).unwrap(),
                root: tree.root(),
                ends,
                head: GENESIS,
                key_id: key.public().id(),
                signature: [0; 64],
            };
            history.push(seal.batch().leaf());
            seal.head = history.root();
            seal.signature = key.sign(number, &seal.head);
            before = [seal.ends[0].position, seal.ends[1].position];
            self.seals.push(seal);
        }
    }

    /// The event at a position of shard 0.
    pub fn at(&mut self, position: i64) -> &mut EventRecord {
        self.events
            .iter_mut()
            .find(|one| (one.shard, one.position) == (0, position))
            .unwrap()
    }

    /// Seal by seal, then the rest; each by shard and position.
    pub fn ordered(&self) -> Vec<&EventRecord> {
        let sealed_by = |event: &EventRecord| {
            let covers = |seal: &&SealRecord| {
                let mut ends = seal.ends.iter();
                ends.any(|end| end.shard == event.shard && event.position <= end.position)
            };
            self.seals
                .iter()
                .find(covers)
                .map_or(i64::MAX, |seal| seal.seal)
        };
        let mut events: Vec<&EventRecord> = self.events.iter().collect();
        events.sort_by_key(|event| (sealed_by(event), event.shard));
        events
    }

    /// Writes it into a folder.
    pub fn write(&self, folder: &Path) -> Manifest {
        let mut files = vec![
            write(folder, Content::Seals, &self.seals),
            write(folder, Content::Events, &self.ordered()),
            write(folder, Content::Deliveries, &self.deliveries),
            write(folder, Content::Streams, &self.streams),
        ];
        for (content, rows) in &self.rows {
            files.push(write(folder, *content, rows));
        }
        let manifest = Manifest {
            version: VERSION.to_owned(),
            made_at_us: BEGIN_US,
            scope: self.scope.clone(),
            format: Format::Ndjson,
            ends: self.ends.clone(),
            last_seal: self.seals.last().map_or(0, |seal| seal.seal),
            files,
        };
        write_manifest(folder, &manifest);
        manifest
    }

    pub fn judge(&self, trust: Trust) -> Report {
        let folder = Folder::new();
        self.write(&folder.0);
        export::verify(&folder.0, trust).unwrap()
    }
}

/// Trusts the ledger's key.
pub fn trust() -> Trust {
    Trust::of_keys(vec![key().public()])
}

pub fn write_manifest(folder: &Path, manifest: &Manifest) {
    fs::write(
        folder.join("manifest.json"),
        serde_json::to_string(manifest).unwrap(),
    )
    .unwrap();
}

pub fn sha256(text: &str) -> Hash {
    Sha256::digest(text).into()
}

pub fn write<T: Serialize>(folder: &Path, content: Content, records: &[T]) -> FileEntry {
    let name = format!("{}.ndjson", content.as_str());
    let mut text = String::new();
    for record in records {
        text.push_str(&serde_json::to_string(record).unwrap());
        text.push('\n');
    }
    fs::write(folder.join(&name), &text).unwrap();
    let sha256 = sha256(&text);
    FileEntry {
        name,
        content,
        lines: records.len() as u64,
        bytes: text.len() as u64,
        sha256,
    }
}
