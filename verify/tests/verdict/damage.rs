//! Somebody changes what is stored, and can neither chain nor seal anew.

use std::fs;

use credit_ledger_verify::chain::{GENESIS, link};
use credit_ledger_verify::check::{Checker, Extent, Trust};
use credit_ledger_verify::export;
use credit_ledger_verify::manifest::Scope;
use credit_ledger_verify::record::EventRecord;
use credit_ledger_verify::report::checks::{
    DELIVERY_DIFFERS, DELIVERY_MISSING, END_DIFFERS, FILE_DIFFERS, HASH_DIFFERS, POSITION_MISSING,
    ROLLED_BACK, ROOT_DIFFERS, SEAL_BROKEN, SEAL_MISSING, SIGNATURE_INVALID, UNREADABLE,
    WITNESS_INVALID,
};
use credit_ledger_verify::report::{Finding, Signatures, Verdict};
use credit_ledger_verify::seal::SealKey;
use sha2::{Digest as _, Sha256};

use super::ledger::{Export, Folder, sound, trust, write_manifest};
use super::{assert_found, checks};

#[test]
fn a_sound_export_is_clean() {
    let report = sound().judge(trust());
    assert_found("sound", &report, &[]);
    assert_eq!((report.verdict(), report.exit_code()), (Verdict::Clean, 0));
    assert_eq!(
        (
            report.events,
            report.streams,
            report.deliveries,
            report.seals
        ),
        (14, 3, 5, 2)
    );
    assert_eq!(
        (report.sealed_up_to.unwrap().seal, report.unsealed_events),
        (2, 3)
    );
    let totals = report.totals;
    assert_eq!(
        (
            totals.purchased,
            totals.granted,
            totals.spent,
            totals.clawed_back
        ),
        (500, 40, 75, 250)
    );
    assert_eq!((totals.balance, totals.owed), (215, 0));
    let text = report.to_string();
    assert!(
        text.contains("up to seal 2 of 2026-11-18T11:07:00Z; 3 events came after it"),
        "{text}"
    );
}

#[test]
fn without_a_key_nothing_is_clean_unless_that_was_asked_for() {
    let report = sound().judge(Trust::default());
    assert_eq!(
        (report.verdict(), report.exit_code()),
        (Verdict::Unproven, 2)
    );
    assert!(report.to_string().contains("NOT VERIFIED"), "{report}");
    let report = sound().judge(Trust::waived());
    assert_eq!(
        (report.verdict(), report.signatures),
        (Verdict::Clean, Signatures::Waived)
    );
    let mut unsealed = sound();
    unsealed.seals.clear();
    let report = unsealed.judge(trust());
    assert_eq!(
        (report.verdict(), report.signatures),
        (Verdict::Unproven, Signatures::NothingSigned)
    );
}

#[test]
fn every_column_of_every_event_is_covered() {
    type Change = fn(&mut EventRecord);
    let changes: [(&str, Change); 13] = [
        ("shard", |event| event.shard = 7),
        ("position", |event| event.position += 1),
        ("aggregate_type", |event| event.aggregate_type.push('s')),
        ("aggregate_id", |event| event.aggregate_id.push('0')),
        ("sequence", |event| event.sequence += 1),
        ("event_type", |event| event.event_type.push('s')),
        ("event_version", |event| event.event_version.push('0')),
        ("payload", |event| event.payload.push(' ')),
        ("metadata", |event| event.metadata.push(' ')),
        ("recorded_at_us", |event| event.recorded_at_us += 1),
        ("source", |event| event.source.push('s')),
        ("provider_event_id", |event| {
            event.provider_event_id = Some("evt_9".to_owned());
        }),
        ("hash", |event| event.hash[31] ^= 1),
    ];
    for index in 0..sound().events.len() {
        for (column, change) in changes {
            let mut export = sound();
            change(&mut export.events[index]);
            let report = export.judge(trust());
            let event = &sound().events[index];
            let named = report.findings.iter().any(|finding| {
                let place = (finding.shard, finding.position);
                [HASH_DIFFERS, POSITION_MISSING].contains(&finding.check)
                    && (column == "shard" || place == (Some(event.shard), Some(event.position)))
            });
            // The hash of a shard's last event is only where the shard is said to end.
            let last = checks(&report).contains(&END_DIFFERS);
            assert!(named || last, "{column} of event {index}:\n{report}");
            if ["payload", "metadata", "hash"].contains(&column) && index != 10 && index != 13 {
                assert_found(column, &report, &[HASH_DIFFERS]);
            }
        }
    }
}

#[test]
fn what_is_taken_away_or_changes_places_is_missed() {
    let mut export = sound();
    export.events.retain(|event| event.position != 8);
    let report = export.judge(trust());
    let first = &report.findings[0];
    assert_eq!(
        (first.check, first.shard, first.position),
        (POSITION_MISSING, Some(0), Some(8))
    );

    let mut export = sound();
    export.events.retain(|event| event.aggregate_id != "user_2");
    assert!(
        checks(&export.judge(trust())).contains(&END_DIFFERS),
        "a whole stream"
    );

    let mut export = sound();
    export
        .events
        .retain(|event| (event.shard, event.position) != (0, 11));
    let found = checks(&export.judge(trust()));
    assert!(
        found.contains(&END_DIFFERS),
        "a tail that no seal covers: {found:?}"
    );

    let mut export = sound();
    (export.at(6).position, export.at(7).position) = (99, 6);
    export.at(99).position = 7;
    export
        .events
        .sort_by_key(|event| (event.shard, event.position));
    assert!(checks(&export.judge(trust())).contains(&HASH_DIFFERS));

    let mut export = sound();
    let mut elsewhere = export.at(5).clone();
    (elsewhere.shard, elsewhere.position) = (9, 1);
    elsewhere.hash = link(&GENESIS, &elsewhere.link());
    export.events.push(elsewhere);
    assert!(
        checks(&export.judge(trust())).contains(&END_DIFFERS),
        "a shard that is not noted"
    );

    let mut export = sound();
    let twice = export.at(6).clone();
    export.events.insert(6, twice);
    assert_found(
        "an event twice",
        &export.judge(trust()),
        &[POSITION_MISSING],
    );
}

#[test]
fn one_wrong_position_is_told_where_it_should_be_and_where_it_is() {
    // Each event stays where it is in the files: only what one of them says is another.
    let export = sound();
    let mut in_order: Vec<EventRecord> = export.ordered().into_iter().cloned().collect();
    in_order[4].position += 8192;
    let extent = Extent {
        scope: Scope::Whole,
        ends: export.ends.clone(),
        last_seal: 2,
    };
    let mut checker = Checker::new(extent, trust());
    for (index, event) in in_order.iter().enumerate() {
        match index {
            0 => checker.seal(&export.seals[0]),
            4 => checker.seal(&export.seals[1]),
            _ => {}
        }
        checker.event(event);
    }
    let report = checker.finish();
    let first = &report.findings[0];
    assert_eq!(
        (first.check, first.shard, first.position),
        (POSITION_MISSING, Some(0), Some(5))
    );
    let in_log = [POSITION_MISSING, HASH_DIFFERS, END_DIFFERS, ROOT_DIFFERS];
    let missed = |found: &&Finding| in_log.contains(&found.check);
    assert_eq!(report.findings.iter().filter(missed).count(), 2, "{report}");
}

#[test]
fn a_seal_says_what_was_sealed() {
    type Change = fn(&mut Export);
    let changes: [(&str, Change, &[&str]); 11] = [
        (
            "its time",
            |export| export.seals[0].sealed_at_us += 1,
            &[SEAL_BROKEN],
        ),
        (
            "its number of events",
            |export| export.seals[0].events += 1,
            &[SEAL_BROKEN],
        ),
        (
            "its root",
            |export| export.seals[0].root[0] ^= 1,
            &[SEAL_BROKEN, ROOT_DIFFERS],
        ),
        (
            "where a shard ends",
            |export| export.seals[0].ends[0].hash[0] ^= 1,
            &[SEAL_BROKEN, END_DIFFERS],
        ),
        (
            "a shard is left out",
            |export| export.seals[1].ends.truncate(1),
            &[SEAL_BROKEN],
        ),
        (
            "its head",
            |export| export.seals[0].head[0] ^= 1,
            &[SEAL_BROKEN],
        ),
        (
            "its signature",
            |export| export.seals[0].signature[0] ^= 1,
            &[SIGNATURE_INVALID],
        ),
        (
            "its key",
            |export| export.seals[0].key_id = "0011223344556677".to_owned(),
            &[SIGNATURE_INVALID],
        ),
        (
            "the first is gone",
            |export| drop(export.seals.remove(0)),
            &[SEAL_MISSING],
        ),
        (
            "they are swapped",
            |export| export.seals.swap(0, 1),
            &[SEAL_MISSING],
        ),
        (
            "a time runs back",
            |export| export.seals[1].sealed_at_us = 0,
            &[SEAL_BROKEN],
        ),
    ];
    for (what, change, expected) in changes {
        let mut export = sound();
        change(&mut export);
        assert_found(what, &export.judge(trust()), expected);
    }
}

#[test]
fn what_a_witness_was_told_is_still_there() {
    let told = sound().seals;
    let with_witness = || {
        let mut trust = trust();
        for seal in &told {
            trust.witness(seal);
        }
        trust
    };
    assert_eq!(sound().judge(with_witness()).witnessed, 2);
    let mut export = sound();
    export.seals.pop();
    assert_found(
        "the last seal is gone",
        &export.judge(with_witness()),
        &[ROLLED_BACK],
    );
    // The ledger's own key sealed another history.
    let mut export = sound();
    export.at(11).metadata = "{}".to_owned();
    export.at(1).metadata.push(' ');
    export.chain();
    export.seal(&super::ledger::key());
    assert_found("sealed anew", &export.judge(with_witness()), &[ROLLED_BACK]);
    // What nobody signed accuses nobody.
    let mut forged = told[1].clone();
    forged.head = [1; 32];
    let mut trust = trust();
    trust.witness(&forged);
    assert_found(
        "a forged witness",
        &sound().judge(trust),
        &[WITNESS_INVALID],
    );
}

#[test]
fn another_key_vouches_for_nothing() {
    let mut export = sound();
    export.seal(&SealKey::from_seed(&[8; 32]));
    assert_found("another key", &export.judge(trust()), &[SIGNATURE_INVALID]);
}

#[test]
fn a_delivery_is_the_one_that_its_events_name() {
    type Change = fn(&mut Export);
    let changes: [(&str, Change, &[&str]); 12] = [
        (
            "source",
            |export| export.deliveries[0].source.push('s'),
            &[DELIVERY_DIFFERS],
        ),
        (
            "key",
            |export| export.deliveries[0].key.push('s'),
            &[DELIVERY_DIFFERS],
        ),
        (
            "provider_event_id",
            |export| export.deliveries[0].provider_event_id.push('s'),
            &[DELIVERY_DIFFERS],
        ),
        (
            "body_sha256",
            |export| export.deliveries[0].body_sha256[0] ^= 1,
            &[DELIVERY_DIFFERS],
        ),
        (
            "headers",
            |export| export.deliveries[0].headers.push(' '),
            &[DELIVERY_DIFFERS],
        ),
        (
            "secret",
            |export| export.deliveries[0].secret.push('0'),
            &[DELIVERY_DIFFERS],
        ),
        (
            "received_at_us",
            |export| export.deliveries[0].received_at_us += 1,
            &[DELIVERY_DIFFERS],
        ),
        (
            "outcome",
            |export| export.deliveries[0].outcome = "ignored".to_owned(),
            &[DELIVERY_DIFFERS],
        ),
        (
            "another outcome",
            |export| export.deliveries[4].outcome = "lost".to_owned(),
            &[DELIVERY_DIFFERS],
        ),
        (
            "a place less",
            |export| export.deliveries[0].led_to.truncate(1),
            &[DELIVERY_MISSING],
        ),
        (
            "a place more",
            |export| export.deliveries[0].led_to.push((0, 5)),
            &[DELIVERY_DIFFERS],
        ),
        (
            "it is gone",
            |export| drop(export.deliveries.remove(0)),
            &[DELIVERY_MISSING],
        ),
    ];
    for (what, change, expected) in changes {
        let mut export = sound();
        change(&mut export);
        assert_found(what, &export.judge(trust()), expected);
    }
}

/// Whatever a byte becomes, it is told, and nothing falls over it; also if the manifest says that it is as it should be.
#[test]
fn a_changed_byte_of_any_file_is_told() {
    let folder = Folder::new();
    let manifest = sound().write(&folder.0);
    let mut random = 1_u32;
    for (index, file) in manifest.files.iter().enumerate() {
        let path = folder.0.join(&file.name);
        let sound = fs::read(&path).unwrap();
        for _ in 0..40 {
            // Numbers that look random, the same in each run.
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut bytes = sound.clone();
            let at = random as usize / 8 % bytes.len();
            // Not the bit that only makes hex upper-case.
            bytes[at] ^= 1 << (random % 5);
            fs::write(&path, &bytes).unwrap();
            write_manifest(&folder.0, &manifest);
            let report = export::verify(&folder.0, trust()).unwrap();
            assert!(report.found > 0, "byte {at} of {}", file.name);
            let mut fitting = manifest.clone();
            fitting.files[index].sha256 = Sha256::digest(&bytes).into();
            write_manifest(&folder.0, &fitting);
            let report = export::verify(&folder.0, trust()).unwrap();
            // Why a delivery waits, and when a state may change by itself, is said nowhere else.
            let alone = ["deliveries.ndjson", "streams.ndjson"].contains(&file.name.as_str());
            assert!(report.found > 0 || alone, "byte {at} of {}", file.name);
        }
        fs::write(&path, &sound).unwrap();
    }
}

#[test]
fn a_body_is_the_one_that_was_digested_or_was_erased() {
    let judge = |outcome: &str, body: &[u8], erased| {
        let mut delivery = sound().deliveries.remove(4);
        delivery.erased = erased;
        outcome.clone_into(&mut delivery.outcome);
        let extent = Extent {
            scope: Scope::User("user_1".to_owned()),
            ends: vec![],
            last_seal: 0,
        };
        let mut checker = Checker::new(extent, Trust::waived());
        checker.delivery(&delivery, Some(body));
        checker.finish()
    };
    let cases: [(&str, &str, &[u8], bool, bool); 8] = [
        ("the body", "ignored", b"evt_3", false, true),
        ("another body", "ignored", b"evt_4", false, false),
        ("no body", "ignored", b"", false, false),
        ("an erased body", "ignored", b"", true, true),
        ("not erased after all", "ignored", b"evt_3", true, false),
        (
            "erased once it waits no more",
            "parked",
            b"evt_3",
            true,
            true,
        ),
        ("another while it waits", "parked", b"evt_4", true, false),
        ("erased while it waits", "parked", b"", true, false),
    ];
    for (what, outcome, body, erased, clean) in cases {
        let expected: &[&str] = if clean { &[] } else { &[DELIVERY_DIFFERS] };
        assert_found(what, &judge(outcome, body, erased), expected);
    }
}

#[test]
fn files_are_as_the_manifest_says() {
    let folder = Folder::new();
    let manifest = sound().write(&folder.0);
    let judge = || export::verify(&folder.0, trust()).unwrap();
    let balance = manifest
        .files
        .iter()
        .position(|file| file.name == "balance.ndjson")
        .unwrap();
    let text = fs::read_to_string(folder.0.join("balance.ndjson")).unwrap();

    let mut other = manifest.clone();
    other.files[balance].lines += 1;
    write_manifest(&folder.0, &other);
    assert_found("lines", &judge(), &[FILE_DIFFERS]);

    let mut other = manifest.clone();
    other.files[balance].sha256[0] ^= 1;
    write_manifest(&folder.0, &other);
    assert_found("sha256", &judge(), &[FILE_DIFFERS]);

    let mut other = manifest.clone();
    other.files[balance].name = format!(
        "../{}/balance.ndjson",
        folder.0.file_name().unwrap().display()
    );
    write_manifest(&folder.0, &other);
    assert!(checks(&judge()).contains(&FILE_DIFFERS), "a path");

    let mut other = manifest.clone();
    other
        .files
        .retain(|file| file.name != "holds.ndjson" && file.name != "settlements.ndjson");
    write_manifest(&folder.0, &other);
    assert!(checks(&judge()).contains(&FILE_DIFFERS), "no file");

    write_manifest(&folder.0, &manifest);
    fs::write(
        folder.0.join("balance.ndjson"),
        format!("{text}{{\"user_id\": \n"),
    )
    .unwrap();
    let report = judge();
    assert_found("a broken line", &report, &[FILE_DIFFERS, UNREADABLE]);
    assert!(
        report.to_string().contains("balance.ndjson line 3"),
        "{report}"
    );

    fs::write(
        folder.0.join("balance.ndjson"),
        format!("{}\n", "x".repeat(17 << 20)),
    )
    .unwrap();
    assert!(judge().to_string().contains("the line is too long"));

    fs::remove_file(folder.0.join("manifest.json")).unwrap();
    assert!(export::verify(&folder.0, trust()).is_err());
}
