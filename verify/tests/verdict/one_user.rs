//! An export of one user is verified without the rest of the log.

use credit_ledger_verify::chain::{GENESIS, link};
use credit_ledger_verify::check::{Checker, Extent};
use credit_ledger_verify::manifest::Scope;
use credit_ledger_verify::merkle;
use credit_ledger_verify::record::{EventRecord, Hex, Inclusion, ProvenEvent, ProvenSeal};
use credit_ledger_verify::report::Report;
use credit_ledger_verify::report::checks::{
    HASH_DIFFERS, PROOF_INVALID, ROLLED_BACK, SCOPE_DIFFERS, SIGNATURE_INVALID,
};
use credit_ledger_verify::seal::event_leaf;

use super::ledger::{Export, sound, trust};
use super::{assert_found, checks};

const USER: &str = "user_2";

struct Part {
    export: Export,
    seals: Vec<ProvenSeal>,
    events: Vec<ProvenEvent>,
}

/// What is proven of user 2, whose events are in the second seal.
fn part() -> Part {
    let mut export = sound();
    let leaves: Vec<_> = export
        .seals
        .iter()
        .map(|seal| seal.batch().leaf())
        .collect();
    let seals = export.seals[1..]
        .iter()
        .map(|seal| ProvenSeal {
            seal: seal.clone(),
            path: vec![Hex(leaves[0])],
        })
        .collect();
    let in_seal: Vec<_> = export
        .events
        .iter()
        .filter(|event| {
            if event.shard == 0 {
                (5..=8).contains(&event.position)
            } else {
                event.position <= 3
            }
        })
        .map(|event| event_leaf(&event.hash))
        .collect();
    let mut previous = GENESIS;
    let mut events = Vec::new();
    for event in export
        .events
        .iter()
        .filter(|event| event.aggregate_id == USER)
    {
        let index = 4 + u64::try_from(event.position).unwrap() - 1;
        let size = in_seal.len() as u64;
        let path = merkle::inclusion(index, size).into_iter().map(|range| {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            Hex(merkle::root(&in_seal[range]))
        });
        let proof = Some(Inclusion {
            seal: 2,
            index,
            size,
            path: path.collect(),
        });
        events.push(ProvenEvent {
            event: event.clone(),
            previous,
            proof,
        });
        previous = event.hash;
    }
    export.streams.retain(|stream| stream.aggregate_id == USER);
    export.deliveries.retain(|delivery| delivery.key == "msg_2");
    for rows in export.rows.values_mut() {
        rows.retain(|row| {
            row.get("user_id").is_some_and(|id| id == USER) && !row.contains_key("sku")
        });
    }
    export.scope = Scope::User(USER.to_owned());
    Part {
        export,
        seals,
        events,
    }
}

impl Part {
    fn judge(&self) -> Report {
        self.judge_by(trust())
    }

    fn judge_by(&self, trust: credit_ledger_verify::check::Trust) -> Report {
        let extent = Extent {
            scope: self.export.scope.clone(),
            ends: self.export.ends.clone(),
            last_seal: 2,
        };
        let mut checker = Checker::new(extent, trust);
        for seal in &self.seals {
            checker.proven_seal(seal);
        }
        for event in &self.events {
            checker.proven_event(event);
        }
        for delivery in &self.export.deliveries {
            checker.delivery(delivery, None);
        }
        for stream in &self.export.streams {
            checker.stream(stream);
        }
        for (content, rows) in &self.export.rows {
            for row in rows {
                checker.row(*content, row);
            }
        }
        checker.finish()
    }
}

#[test]
fn a_part_is_proven_without_the_whole() {
    let report = part().judge();
    assert_found("sound", &report, &[]);
    assert_eq!(
        (report.events, report.unsealed_events, report.seals),
        (3, 0, 1)
    );
    assert!(report.to_string().contains("not proven"), "{report}");
}

#[test]
fn an_event_that_no_seal_has_is_told() {
    type Change = fn(&mut Part);
    let cases: [(&str, Change, &[&str]); 6] = [
        (
            "its hash",
            |part| part.events[1].event.metadata.push(' '),
            &[HASH_DIFFERS],
        ),
        (
            "the hash before it",
            |part| part.events[1].previous[0] ^= 1,
            &[HASH_DIFFERS],
        ),
        (
            "its place",
            |part| part.events[1].proof.as_mut().unwrap().index -= 1,
            &[PROOF_INVALID],
        ),
        (
            "its seal",
            |part| part.events[1].proof.as_mut().unwrap().seal = 1,
            &[PROOF_INVALID],
        ),
        (
            "the place of the seal",
            |part| part.seals[0].path[0].0[0] ^= 1,
            &[PROOF_INVALID],
        ),
        (
            "the seal's signature",
            |part| part.seals[0].seal.signature[0] ^= 1,
            &[SIGNATURE_INVALID],
        ),
    ];
    for (what, change, expected) in cases {
        let mut part = part();
        change(&mut part);
        assert_found(what, &part.judge(), expected);
    }
}

/// Whoever can not prove what is written leaves the proof out.
#[test]
fn what_a_seal_covers_is_proven() {
    let mut part = part();
    for proven in &mut part.events {
        proven.proof = None;
    }
    assert_found("true", &part.judge(), &[PROOF_INVALID]);
    let forge = |text: &str| {
        text.replace(":20,", ":2000000,")
            .replace(":20}", ":2000000}")
            .replace(":15", ":1999995")
    };
    for proven in &mut part.events {
        let event = &mut proven.event;
        event.payload = forge(&event.payload);
        event.hash = link(&proven.previous, &event.link());
    }
    for stream in &mut part.export.streams {
        stream.state = forge(&stream.state);
    }
    for row in part.export.rows.values_mut().flatten() {
        *row = serde_json::from_str(&forge(&serde_json::to_string(row).unwrap())).unwrap();
    }
    assert_found("forged", &part.judge(), &[PROOF_INVALID]);
    // What came after the last seal can have none.
    let mut after = super::one_user::part();
    for proven in &mut after.events {
        proven.proof = None;
    }
    after.seals[0].seal.ends[1].position = 0;
    assert!(!checks(&after.judge()).contains(&HASH_DIFFERS));
    assert_eq!(
        after.judge().found_by_check.get(PROOF_INVALID),
        Some(&1),
        "{}",
        after.judge()
    );
}

#[test]
fn a_part_is_of_whom_it_says() {
    let mut other = part();
    other.export.scope = Scope::User("user_1".to_owned());
    assert_found("another user", &other.judge(), &[SCOPE_DIFFERS]);
    // A purchase of somebody else is no part of this user's history.
    let mut more = part();
    let export = sound();
    let purchase = |event: &&EventRecord| event.aggregate_type == "purchase";
    for event in export.events.iter().filter(purchase) {
        let previous = export
            .events
            .iter()
            .find(|one| (one.shard, one.position) == (event.shard, event.position - 1));
        more.events.push(ProvenEvent {
            event: event.clone(),
            previous: previous.unwrap().hash,
            proof: None,
        });
    }
    let found = checks(&more.judge());
    assert!(found.contains(&SCOPE_DIFFERS), "{found:?}");
}

#[test]
fn a_witness_knows_of_later_seals() {
    let mut told = sound().seals.remove(1);
    told.seal = 3;
    told.signature = super::ledger::key().sign(3, &told.head);
    let mut trust = trust();
    trust.witness(&told);
    assert_found("a later seal", &part().judge_by(trust), &[ROLLED_BACK]);
}
