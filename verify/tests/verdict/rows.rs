//! Somebody edits what is worked out from the events: states and read models.

use credit_ledger_verify::report::checks::{ROW_DIFFERS, ROW_MISSING, STATE_DIFFERS};
use serde_json::Value;

use super::ledger::{object, sound, trust};
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
