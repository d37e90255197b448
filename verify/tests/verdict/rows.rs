//! Somebody edits what is worked out from the events: states and read models.

use credit_ledger_verify::manifest::Content;
use credit_ledger_verify::report::checks::{ROW_DIFFERS, ROW_MISSING, STATE_DIFFERS};
use serde_json::{Value, json};

use super::ledger::{built, key, object, sound, story, trust};
use super::{assert_found, checks};

/// Another value of the same kind.
fn other(value: &Value) -> Value {
    match value {
        Value::Null => Value::from(1),
        Value::Bool(value) => Value::from(!value),
        Value::Number(value) => Value::from(value.as_i64().unwrap() + 1),
        Value::String(value) => Value::from(format!("{value}s")),
        Value::Array(_) | Value::Object(_) => Value::Array(vec![]),
    }
}

#[test]
fn every_column_of_every_row_is_compared() {
    for (content, rows) in sound().rows {
        for (index, row) in rows.iter().enumerate() {
            for column in row.keys() {
                let mut export = sound();
                let row = &mut export.rows.get_mut(&content).unwrap()[index];
                row[column] = other(&row[column]);
                let report = export.judge(trust());
                let found = checks(&report);
                let what = format!("{column} of {}:\n{report}", content.as_str());
                assert!(found.contains(&ROW_DIFFERS), "{what}");
                assert!(
                    found
                        .iter()
                        .all(|check| [ROW_DIFFERS, ROW_MISSING].contains(check)),
                    "{what}"
                );
                let mut export = sound();
                export.rows.get_mut(&content).unwrap()[index].shift_remove(column);
                let found = checks(&export.judge(trust()));
                assert!(found.contains(&ROW_DIFFERS), "no {column}");
            }
            let mut export = sound();
            export.rows.get_mut(&content).unwrap().remove(index);
            assert_found(content.as_str(), &export.judge(trust()), &[ROW_MISSING]);
            let mut export = sound();
            export.rows.get_mut(&content).unwrap().push(row.clone());
            assert_found(content.as_str(), &export.judge(trust()), &[ROW_DIFFERS]);
            let mut export = sound();
            export.rows.get_mut(&content).unwrap()[index].insert("more".to_owned(), Value::from(1));
            let found = checks(&export.judge(trust()));
            assert!(found.contains(&ROW_DIFFERS), "{}", content.as_str());
        }
    }
}

#[test]
fn every_field_of_every_state_is_compared() {
    for (index, stream) in sound().streams.iter().enumerate() {
        let state: Value = serde_json::from_str(&stream.state).unwrap();
        for field in object(state.clone())
            .keys()
            .filter(|field| !["holds", "lots"].contains(&field.as_str()))
        {
            let mut state = state.clone();
            state[field] = other(&state[field]);
            let mut export = sound();
            export.streams[index].state = state.to_string();
            assert_found(field, &export.judge(trust()), &[STATE_DIFFERS]);
        }
        let mut export = sound();
        export.streams[index].version += 1;
        assert_found("version", &export.judge(trust()), &[STATE_DIFFERS]);
        let mut export = sound();
        export.streams[index].shard += 1;
        assert_found("shard", &export.judge(trust()), &[STATE_DIFFERS]);
        let mut export = sound();
        export.streams.remove(index);
        assert!(checks(&export.judge(trust())).contains(&ROW_MISSING));
    }
    let mut export = sound();
    export.streams[0].state = export.streams[0]
        .state
        .replace("\"remaining\":160", "\"remaining\":161");
    assert_found("a lot", &export.judge(trust()), &[STATE_DIFFERS]);
    let mut export = sound();
    let late = export.streams[0]
        .state
        .replace("\"holds\":1796000000", "\"holds\":1796000001");
    export.streams[0].state = late;
    assert_found("a hold", &export.judge(trust()), &[STATE_DIFFERS]);
    let mut export = sound();
    export.streams[2].state = export.streams[2]
        .state
        .replace("\"credits\":15", "\"credits\":16");
    assert_found(
        "the lots that are rows",
        &export.judge(trust()),
        &[ROW_MISSING],
    );
    let mut export = sound();
    export.streams[0].state = "{".to_owned();
    assert!(checks(&export.judge(trust())).contains(&STATE_DIFFERS));
}

/// A bound that is too late hides rows from whoever spends or ends what is in them.
#[test]
fn what_a_state_says_of_rows_is_a_bound() {
    let mut story = story();
    story[12].2["expires_at_s"] = json!(1_797_000_000);
    story[13].2["slices"][0]["expires_at_s"] = json!(1_797_000_000);
    let judge = |behind: Value| {
        let mut export = built(story.clone(), &key());
        export.rows.get_mut(&Content::Lots).unwrap()[0]["expires_at_s"] = json!(1_797_000_000);
        let state: Value = serde_json::from_str(&export.streams[2].state).unwrap();
        let mut state = object(state);
        state["lots"] = json!({ "behind": behind });
        export.streams[2].state = Value::Object(state).to_string();
        export.judge(trust())
    };
    for (after, due_at_s) in [
        (json!([100, 1_797_000_000, false, 2]), json!(1_797_000_000)),
        (json!([99, 0, true, 9]), json!(0)),
    ] {
        let behind = json!({ "credits": 15, "after": after, "due_at_s": due_at_s });
        assert_found("a bound", &judge(behind), &[]);
    }
    for behind in [
        json!({ "credits": 15, "after": [100, 1_797_000_000, false, 3], "due_at_s": 0 }),
        json!({ "credits": 15, "after": [100, 1_797_000_001, false, 0], "due_at_s": 0 }),
        json!({ "credits": 15, "after": [0, 0, false, 0], "due_at_s": 1_797_000_001 }),
        json!({ "credits": 15, "after": [0, 0, false, 0] }),
    ] {
        assert_found("none", &judge(behind), &[STATE_DIFFERS]);
    }
    let more = json!({ "credits": 15, "after": [0, 0, false, 0], "due_at_s": 0, "more": 1 });
    assert!(checks(&judge(more)).contains(&STATE_DIFFERS));
}

#[test]
fn a_state_says_that_rows_remember_what_ended() {
    let at_s = 1_795_000_005;
    let purchase = "stripe:pi_2";
    let price = json!({ "sku": "pack", "credits": 100, "expires_at_s": at_s });
    let slice = json!({
        "lot": 4, "credits": 100, "kind": "paid", "expires_at_s": at_s, "purchase_id": purchase, "amount": 100,
    });
    let mut story = story();
    for (stream, payload) in [
        (
            "purchase/stripe:pi_2",
            json!({
                "type": "PaymentCaptured", "amount_minor": 9, "user_id": "user_2", "price": price, "paid_at_s": 1,
            }),
        ),
        (
            "user/user_2",
            json!({
                "type": "CreditsPurchased", "purchase_id": purchase, "credits": 100, "expires_at_s": at_s, "delta": 100,
                "balance": 115,
            }),
        ),
        (
            "user/user_2",
            json!({
                "type": "CreditsExpired", "credits": 100, "expired_at_s": at_s, "slices": [slice], "delta": -100,
                "balance": 15,
            }),
        ),
    ] {
        story.push((1, stream, payload, None));
    }
    let told = |lots: &str| {
        let mut export = built(story.clone(), &key());
        export.rows.get_mut(&Content::Lots).unwrap().push(object(json!({
            "user_id": "user_2", "lot": 4, "shard": 1, "kind": "paid", "priority": 100, "expires_at_s": at_s,
            "purchase_id": purchase, "amount": 100, "remaining": 0, "contested": 0, "expired": 100, "counted": 0,
        })));
        let state = &mut export.streams[2].state;
        *state = state.replace("\"lots\":{", lots);
        export
            .judge(trust())
            .to_string()
            .contains("rows of lots that ended")
    };
    assert!(told("\"lots\":{"));
    assert!(!told("\"lots\":{\"remembers\":true,"));
}
