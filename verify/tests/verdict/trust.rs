//! What a verdict is worth: what it says of what nobody vouches for, and what witnesses know better.

use credit_ledger_verify::check::Trust;
use credit_ledger_verify::manifest::Scope;
use credit_ledger_verify::report::checks::{HASH_DIFFERS, ROLLED_BACK, ROW_DIFFERS, SEAL_MISSING};
use credit_ledger_verify::report::{LISTED, Verdict};
use serde_json::json;

use super::assert_found;
use super::ledger::{built, key, sound, story, trust};

#[test]
fn clean_is_what_was_sealed_and_what_came_after_is_counted() {
    let text = sound().judge(trust()).to_string();
    let verdict = "verdict     clean up to seal 2; 3 events behind it are proven by nobody\n";
    assert!(text.ends_with(verdict), "{text}");
    // The last seal is cut off, and the manifest with it: that needs no key.
    let mut cut = sound();
    cut.seals.truncate(1);
    let text = cut.judge(trust()).to_string();
    let verdict = "verdict     clean up to seal 1; 10 events behind it are proven by nobody\n";
    assert!(text.ends_with(verdict), "{text}");
    assert!(text.contains("cut off after an earlier seal"), "{text}");
    let text = sound().judge(Trust::waived()).to_string();
    assert!(
        text.ends_with("verdict     clean, but no signature was verified\n"),
        "{text}"
    );
}

#[test]
fn whoever_knows_of_a_seal_asks_for_it() {
    let at_least = |min_seal| {
        let mut trust = trust();
        trust.min_seal = min_seal;
        trust
    };
    assert_found("it is there", &sound().judge(at_least(2)), &[]);
    assert_found("it is not", &sound().judge(at_least(3)), &[SEAL_MISSING]);
}

#[test]
fn where_there_is_nothing_nothing_is_clean() {
    for scope in [Scope::Whole, Scope::User("user_1".to_owned())] {
        let mut nothing = sound();
        nothing.scope = scope;
        nothing.ends.clear();
        nothing.events.clear();
        nothing.deliveries.clear();
        nothing.streams.clear();
        for rows in nothing.rows.values_mut() {
            rows.clear();
        }
        nothing.seals.clear();
        for trust in [trust(), Trust::waived()] {
            let report = nothing.judge(trust);
            assert_eq!(
                (report.verdict(), report.exit_code()),
                (Verdict::Unproven, 2)
            );
            assert!(report.to_string().contains("no event to judge"), "{report}");
        }
    }
}

#[test]
fn witnesses_do_not_forget_a_fork() {
    let mut before = story();
    before[12].2 =
        json!({ "type": "SignupBonusGranted", "credits": 21, "delta": 21, "balance": 21 });
    let (before, now) = (built(before, &key()), sound());
    assert_eq!(before.seals[0].head, now.seals[0].head);
    for told in [[&before, &now], [&now, &before]] {
        let mut trust = trust();
        for seal in told.into_iter().flat_map(|export| &export.seals) {
            trust.witness(seal);
        }
        let report = now.judge(trust);
        assert_found("two heads of seal 2", &report, &[ROLLED_BACK]);
        assert_eq!(report.found, 1, "{report}");
    }
}

#[test]
fn a_flood_hides_nothing() {
    let mut export = sound();
    for index in 0..2 * LISTED {
        let mut row = export.rows[&credit_ledger_verify::manifest::Content::Balance][0].clone();
        row["user_id"] = format!("nobody_{index}").into();
        let rows = export
            .rows
            .get_mut(&credit_ledger_verify::manifest::Content::Balance);
        rows.unwrap().insert(0, row);
    }
    export.at(11).metadata.push(' ');
    let report = export.judge(trust());
    assert_found("a flood", &report, &[HASH_DIFFERS, ROW_DIFFERS]);
    assert_eq!((report.found, report.findings.len()), (201, LISTED));
    assert!(
        report
            .to_string()
            .contains("1 hash_differs, 200 row_differs"),
        "{report}"
    );
    let mut all = trust();
    all.list_all = true;
    assert_eq!(export.judge(all).findings.len(), 201);
}
