//! What is stored here, as the verifier would read it from the real store: it must find nothing.

use credit_ledger_verify::chain::{GENESIS, link};
use credit_ledger_verify::check::{Checker, Extent, Trust};
use credit_ledger_verify::manifest::{Content, Scope};
use credit_ledger_verify::record::{EndRecord, EventRecord, Row, StreamRecord};
use credit_ledger_verify::report::checks;
use serde_json::json;

use super::Stored;
use crate::ledger::event::EVENT_VERSION;
use crate::ledger::{Event, StreamId};

impl Stored {
    /// The verifier, which shares no rule with the ledger, comes to the same. The rows of `users` and `purchases`, which
    /// only the database makes, are not there.
    pub(in crate::ledger::tests) fn verify(&self) {
        let events = self.records();
        let end = EndRecord {
            shard: 0,
            position: i64::try_from(events.len()).unwrap(),
            hash: events.last().map_or(GENESIS, |event| event.hash),
        };
        let extent = Extent {
            scope: Scope::Whole,
            ends: vec![end],
            last_seal: 0,
        };
        let mut checker = Checker::new(extent, Trust::default());
        for event in &events {
            checker.event(event);
        }
        self.feed_states(&events, &mut checker);
        self.feed_rows(&events, &mut checker);
        let report = checker.finish();
        let made_elsewhere = ["users has no row of it", "purchases has no row of it"];
        let findings = report.findings.iter().filter(|finding| {
            finding.check != checks::ROW_MISSING || !made_elsewhere.contains(&finding.what.as_str())
        });
        let findings: Vec<String> = findings.map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}\n{:#?}", self.log);
    }

    fn records(&self) -> Vec<EventRecord> {
        let (mut records, mut hash) = (Vec::<EventRecord>::new(), GENESIS);
        for ((stream, event), at_s) in self.log.iter().zip(&self.times_s) {
            let before = records.iter().filter(|one| {
                (one.aggregate_type.as_str(), one.aggregate_id.as_str())
                    == (stream.aggregate_type(), stream.aggregate_id())
            });
            let mut record = EventRecord {
                shard: 0,
                position: i64::try_from(records.len()).unwrap() + 1,
                aggregate_type: stream.aggregate_type().to_owned(),
                aggregate_id: stream.aggregate_id().to_owned(),
                sequence: i64::try_from(before.count()).unwrap() + 1,
                event_type: event.type_name().to_owned(),
                event_version: EVENT_VERSION.to_owned(),
                payload: serde_json::to_string(event).unwrap(),
                metadata: "{}".to_owned(),
                recorded_at_us: at_s * 1_000_000,
                source: "system".to_owned(),
                provider_event_id: None,
                hash,
            };
            hash = link(&hash, &record.link());
            record.hash = hash;
            records.push(record);
        }
        records
    }

    fn feed_states(&self, events: &[EventRecord], checker: &mut Checker) {
        let mut state = |stream: StreamId, state: &String| {
            let of_stream = events.iter().filter(|one| {
                (one.aggregate_type.as_str(), one.aggregate_id.as_str())
                    == (stream.aggregate_type(), stream.aggregate_id())
            });
            let version = i64::try_from(of_stream.count()).unwrap();
            if version > 0 {
                checker.stream(&StreamRecord {
                    shard: 0,
                    aggregate_type: stream.aggregate_type().to_owned(),
                    aggregate_id: stream.aggregate_id().to_owned(),
                    version,
                    state: state.clone(),
                });
            }
        };
        for (id, user) in &self.users {
            state(StreamId::User(id.clone()), user);
        }
        for (id, purchase) in &self.purchases {
            state(StreamId::Purchase(id.clone()), purchase);
        }
    }

    fn feed_rows(&self, events: &[EventRecord], checker: &mut Checker) {
        for ((id, number), lot) in &self.lots {
            let terms = &lot.terms;
            let row = json!({
                "user_id": id, "lot": number, "shard": 0, "kind": terms.kind, "priority": terms.priority,
                "expires_at_s": terms.expires_at_s, "purchase_id": terms.purchase_id, "amount": terms.amount,
                "remaining": lot.remaining, "contested": lot.contested, "expired": lot.expired, "counted": lot.counted,
            });
            checker.row(Content::Lots, &object(row));
        }
        for (place, (id, held)) in &self.holds {
            let row = json!({
                "shard": 0, "position": place.position, "user_id": id, "times_out_at_s": held.times_out_at_s,
            });
            checker.row(Content::Holds, &object(row));
        }
        for (place, how) in &self.settlements {
            let row = json!({ "shard": 0, "position": place.position, "settlement": how.as_str() });
            checker.row(Content::Settlements, &object(row));
        }
        let mut balances = std::collections::BTreeMap::new();
        for (record, (_, event)) in events.iter().zip(&self.log) {
            let Event::User(user_event) = event else {
                continue;
            };
            let Some(movement) = user_event.movement() else {
                continue;
            };
            let payload: Row = serde_json::from_str(&record.payload).unwrap();
            let whole = ["CreditsPurchased", "SignupBonusGranted"].contains(&event.type_name());
            let of = |names: [&str; 2]| {
                let found = names.iter().find_map(|name| payload.get(*name)).cloned();
                found.filter(|_| !whole)
            };
            let row = json!({
                "user_id": record.aggregate_id, "sequence": record.sequence, "shard": 0, "position": record.position,
                "type": record.event_type, "delta": movement.delta, "balance": movement.account.balance,
                "purchase_id": movement.purchase_id, "source": record.source, "provider_event_id": null,
                "recorded_at_us": record.recorded_at_us, "slices": of(["slices", "returned"]),
                "about": of(["entry_id", "hold_id"]), "reason": of(["reason", "reason"]),
                "reference": of(["reference", "reference"]),
            });
            checker.row(Content::Entries, &object(row));
            let account = movement.account;
            let balance = json!({
                "user_id": record.aggregate_id, "balance": account.balance, "held": account.held, "debt": account.debt,
                "version": record.sequence,
            });
            balances.insert(&record.aggregate_id, balance);
        }
        for row in balances.into_values() {
            checker.row(Content::Balance, &object(row));
        }
    }
}

fn object(row: serde_json::Value) -> Row {
    match row {
        serde_json::Value::Object(row) => row,
        other => panic!("no row: {other}"),
    }
}
