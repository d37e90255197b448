//! Whoever has the key writes a history that can not be: chained and sealed as it should be, but not true to itself.

use credit_ledger_verify::manifest::Content;
use credit_ledger_verify::report::checks::{
    ACCOUNT_DIFFERS, CONSERVATION, CREDITS_WITHOUT_PAYMENT, DELIVERY_MISSING, END_DIFFERS,
    PAYMENT_WITHOUT_CREDITS, ROOT_DIFFERS, RULE_BROKEN, SEQUENCE_BROKEN, TIME_REVERSED,
    UNKNOWN_EVENT, UNREADABLE, WITHHELD_DIFFERS,
};
use credit_ledger_verify::report::{Finding, Report};
use serde_json::{Value, json};

use super::checks;
use super::ledger::{Export, built, key, sound, story, trust};

/// Makes a payload another.
type Change = fn(&mut Value);

/// The verdict on a story in which one payload is another.
fn told(index: usize, change: impl FnOnce(&mut Value)) -> Report {
    let mut story = story();
    change(&mut story[index].2);
    built(story, &key()).judge(trust())
}

/// The verdict on a history that was changed, and chained and sealed again.
fn sealed_anew(change: impl FnOnce(&mut Export)) -> Report {
    let mut export = sound();
    change(&mut export);
    export.chain();
    export.seal(&key());
    export.judge(trust())
}

#[track_caller]
fn assert_among(report: &Report, expected: &str) {
    assert!(checks(report).contains(&expected), "{report}");
}

#[test]
fn a_chain_that_was_made_anew_is_not_what_was_sealed() {
    for position in [3, 6] {
        let mut export = sound();
        export.at(position).metadata.push(' ');
        export.chain();
        let report = export.judge(trust());
        assert_among(&report, END_DIFFERS);
        assert!(
            checks(&report)
                .iter()
                .all(|check| [END_DIFFERS, ROOT_DIFFERS].contains(check)),
            "{report}"
        );
        assert!(
            report
                .findings
                .iter()
                .all(|one| one.shard.is_none_or(|shard| shard == 0)),
            "{report}"
        );
    }
}

#[test]
fn the_account_is_what_the_credits_make() {
    assert_among(
        &told(1, |bonus| bonus["balance"] = json!(21)),
        ACCOUNT_DIFFERS,
    );
    let report = told(13, |spent| spent["balance"] = json!(16));
    assert_among(&report, ACCOUNT_DIFFERS);
    assert_among(&report, CONSERVATION);
    assert_among(
        &told(4, |spent| spent["delta"] = json!(-99)),
        ACCOUNT_DIFFERS,
    );
    assert_among(&told(9, |back| back["debt"] = json!(1)), ACCOUNT_DIFFERS);
}

#[test]
fn credits_are_only_where_they_are() {
    let cases: [(usize, Change); 9] = [
        // More than the slices, other lots than there are, more than a lot has, less than nothing.
        (4, |spent| spent["credits"] = json!(99)),
        (4, |spent| spent["slices"][0]["lot"] = json!(9)),
        (4, |spent| spent["slices"][0]["credits"] = json!(21)),
        (4, |spent| spent["slices"][0]["credits"] = json!(-1)),
        (4, |spent| spent["slices"][0]["amount"] = json!(30)),
        // What was not held, not spent, spent by another event, settled before.
        (6, |released| released["hold_id"] = json!("0-5")),
        (7, |reversed| reversed["credits"] = json!(101)),
        (7, |reversed| reversed["entry_id"] = json!("0-4")),
        (7, |reversed| reversed["entry_id"] = json!("1-5")),
    ];
    for (index, change) in cases {
        assert_among(&told(index, change), RULE_BROKEN);
    }
}

#[test]
fn credits_and_payments_are_one_to_one() {
    let mut story_without_credits = story();
    story_without_credits.remove(3);
    assert_among(
        &built(story_without_credits, &key()).judge(trust()),
        PAYMENT_WITHOUT_CREDITS,
    );
    for change in [
        (|paid: &mut Value| paid["user_id"] = json!("user_2")) as Change,
        |paid| paid["price"]["credits"] = json!(400),
        |paid| drop(paid.as_object_mut().unwrap().remove("price")),
    ] {
        assert_among(&told(2, change), CREDITS_WITHOUT_PAYMENT);
    }
    let report = told(3, |purchased| {
        purchased["purchase_id"] = json!("stripe:pi_2");
    });
    assert_among(&report, CREDITS_WITHOUT_PAYMENT);
    assert_among(&report, PAYMENT_WITHOUT_CREDITS);
    let mut twice = story();
    twice.insert(4, twice[3].clone());
    assert_among(
        &built(twice, &key()).judge(trust()),
        CREDITS_WITHOUT_PAYMENT,
    );
}

/// The verdict on a story to which user 2's next event is added.
fn with(payload: Value) -> Report {
    let mut story = story();
    story.push((1, "user/user_2", payload, None));
    built(story, &key()).judge(trust())
}

#[test]
fn no_paid_credits_come_of_nothing() {
    for payload in [
        json!({ "type": "CreditsPurchased", "credits": 1000, "delta": 1000, "balance": 1015 }),
        json!({
            "type": "CreditsRestored", "credits": 1000, "delta": 1000, "balance": 1015,
            "slices": [{ "lot": 4, "credits": 1000, "kind": "paid", "amount": 1000 }],
        }),
    ] {
        assert_among(&with(payload), CREDITS_WITHOUT_PAYMENT);
    }
    let report = with(json!({
        "type": "CreditsGranted", "kind": "paid", "purchase_id": "stripe:pi_1", "credits": 5, "delta": 5, "balance": 20,
    }));
    assert_among(&report, RULE_BROKEN);
}

#[test]
fn what_a_provider_caused_has_a_delivery() {
    let report = sealed_anew(|export| {
        for event in export
            .events
            .iter_mut()
            .filter(|one| one.source == "stripe")
        {
            event.provider_event_id = None;
            event.metadata = "{}".to_owned();
        }
        for delivery in export
            .deliveries
            .iter_mut()
            .filter(|one| one.source == "stripe")
        {
            delivery.led_to.clear();
            delivery.outcome = "ignored".to_owned();
        }
        let rows = export.rows.get_mut(&Content::Entries).unwrap();
        for row in rows.iter_mut().filter(|row| row["source"] == "stripe") {
            row["provider_event_id"] = Value::Null;
        }
    });
    assert_eq!(checks(&report), [DELIVERY_MISSING], "{report}");
    assert_eq!(report.found, 4, "{report}");
}

#[test]
fn a_lot_stays_what_it_was() {
    let invented =
        json!({ "lot": 777, "credits": 30, "kind": "paid", "amount": 99999, "priority": 1 });
    // The bonus of user 1 is spent, and comes back as something else.
    let other_terms = json!({ "lot": 2, "credits": 30, "kind": "paid", "amount": 20 });
    for slice in [invented, other_terms] {
        let lot = slice["lot"].as_i64().unwrap();
        let mut story = story();
        story[7].2["slices"] = json!([slice]);
        let mut export = built(story, &key());
        let mut known = slice.as_object().unwrap().clone();
        known.remove("lot");
        known.remove("credits");
        known.insert("id".to_owned(), lot.into());
        known.insert("remaining".to_owned(), 30.into());
        let state = &mut export.streams[0].state;
        *state = state.replace("\"remaining\":160", "\"remaining\":130");
        let open = format!("\"open\":[{},", Value::Object(known));
        *state = state.replace("\"open\":[", &open);
        assert_among(&export.judge(trust()), RULE_BROKEN);
    }
    // As it was it may come back.
    let mut story = story();
    story[7].2["credits"] = json!(20);
    story[7].2["delta"] = json!(20);
    story[7].2["balance"] = json!(440);
    story[7].2["slices"] = json!([{ "lot": 2, "credits": 20, "kind": "bonus", "amount": 20 }]);
    let report = built(story, &key()).judge(trust());
    let wrong = |finding: &&Finding| finding.position == Some(8) && finding.check == RULE_BROKEN;
    assert_eq!(report.findings.iter().find(wrong), None);
}

#[test]
fn what_is_contested_is_not_free_however_it_is_sliced() {
    let of_purchase = |credits| json!({ "lot": 3, "credits": credits, "kind": "paid", "purchase_id": "stripe:pi_1", "amount": 500 });
    let mut story = story();
    story.truncate(4);
    story.push((0, "user/user_1", json!({
        "type": "CreditsHeldBack", "purchase_id": "stripe:pi_1", "credits": 250, "own": 250, "delta": 0,
        "balance": 520, "held": 250, "disputed": 250,
    }), None));
    story.push((0, "user/user_1", json!({
        "type": "CreditsSpent", "credits": 300, "slices": [of_purchase(200), of_purchase(100)], "delta": -300,
        "balance": 220, "held": 220, "debt": 30, "disputed": 250,
    }), None));
    let report = built(story, &key()).judge(trust());
    let not_free = |finding: &Finding| finding.what.contains("not free");
    assert!(report.findings.iter().any(not_free), "{report}");
}

#[test]
fn a_hold_times_out_at_its_time() {
    assert_among(
        &told(6, |released| released["timed_out_at_s"] = json!(1)),
        RULE_BROKEN,
    );
    // Nor before anybody could know.
    assert_among(
        &told(6, |released| {
            released["timed_out_at_s"] = json!(1_796_000_000);
        }),
        RULE_BROKEN,
    );
}

#[test]
fn sums_of_money_stay_at_their_bound() {
    let most = i64::MAX;
    let mut story = story();
    for refund in ["re_8", "re_9"] {
        story.push((0, "purchase/stripe:pi_1", json!({
            "type": "PaymentRefunded", "refund_id": refund, "amount_minor": most, "after": { "refunded_minor": most },
        }), None));
    }
    let report = built(story, &key()).judge(trust());
    assert!(!checks(&report).contains(&RULE_BROKEN), "{report}");
}

#[test]
fn what_is_taken_back_is_what_the_money_says() {
    assert_among(
        &told(9, |back| back["credits"] = json!(200)),
        WITHHELD_DIFFERS,
    );
    assert_among(
        &told(9, |back| back["credits"] = json!(501)),
        WITHHELD_DIFFERS,
    );
    let report = told(8, |refunded| refunded["amount_minor"] = json!(900));
    assert_among(&report, WITHHELD_DIFFERS);
    assert_among(&report, RULE_BROKEN);
}

#[test]
fn streams_and_times_run_on() {
    assert_among(
        &sealed_anew(|export| export.at(5).sequence = 9),
        SEQUENCE_BROKEN,
    );
    let report = sealed_anew(|export| export.at(5).recorded_at_us = 0);
    assert_among(&report, TIME_REVERSED);
    let report = sealed_anew(|export| {
        for event in export.events.iter_mut().filter(|one| one.shard == 1) {
            event.aggregate_id = "user_1".to_owned();
        }
    });
    assert_among(&report, SEQUENCE_BROKEN);
}

#[test]
fn what_is_not_known_is_not_guessed() {
    assert_among(
        &told(0, |event| event["type"] = json!("UserPromoted")),
        UNKNOWN_EVENT,
    );
    assert_among(
        &sealed_anew(|export| export.at(1).event_version = "2.0".to_owned()),
        UNKNOWN_EVENT,
    );
    assert_among(
        &sealed_anew(|export| export.at(1).event_type = "UserDeleted".to_owned()),
        UNREADABLE,
    );
    assert_among(&told(1, |bonus| bonus["credits"] = json!("20")), UNREADABLE);
    // Numbers beyond all bounds are no reason to fall over.
    for index in 0..story().len() {
        for huge in [
            json!(i64::MAX),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e300),
        ] {
            let report = told(index, |payload| {
                for field in payload
                    .as_object_mut()
                    .unwrap()
                    .values_mut()
                    .filter(|field| field.is_number())
                {
                    *field = huge.clone();
                }
            });
            assert!(report.found > 0 || index == 0 || index == 11, "{report}");
        }
    }
}
