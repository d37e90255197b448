//! The description and the code are one: routes, parameters, codes, words.

use std::collections::BTreeSet;

use super::*;

fn operations_of(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let mut found = vec![];
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            found.push((method.to_uppercase(), path.clone(), operation));
        }
    }
    found
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let described: BTreeSet<(String, String)> = operations_of(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let routes: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|entry| (entry.method.to_owned(), entry.path.to_owned()))
        .collect();
    assert_eq!(described, routes, "see src/http/openapi/operations.rs");
    for operation in operations::all() {
        assert!(
            ROUTES.iter().any(|entry| operation.is_of(entry)),
            "{} is described and not in the URL map",
            operation.id
        );
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_and_a_success() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations_of(&document) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id), "{method} {path}: its id comes twice");
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{method} {path}"
        );
        for parameter in operation["parameters"].as_array().unwrap_or(&vec![]) {
            let description = parameter["description"].as_str().unwrap();
            assert!(!description.is_empty(), "{method} {path}: {parameter}");
        }
    }
}

/// Those that any path may answer stand in the text about the whole; every other one is some route's.
#[test]
fn every_code_is_described() {
    let document = document();
    let mut described: BTreeSet<String> = BTreeSet::new();
    for (_, _, operation) in operations_of(&document) {
        for response in operation["responses"].as_object().unwrap().values() {
            let response = match response["$ref"].as_str() {
                Some(target) => document.pointer(&target[1..]).unwrap(),
                None => response,
            };
            let schema = &response["content"]["application/problem+json"]["schema"];
            let codes = schema["allOf"][1]["properties"]["code"]["enum"].as_array();
            described.extend(
                codes
                    .into_iter()
                    .flatten()
                    .map(|code| code.as_str().unwrap().to_owned()),
            );
        }
    }
    let missing: Vec<&str> = Code::ALL
        .map(Code::code)
        .into_iter()
        .filter(|code| !described.contains(*code) && !ABOUT.contains(&format!(" {code}`")))
        .collect();
    assert_eq!(
        missing,
        Vec::<&str>::new(),
        "no route says that it has them"
    );
}

#[test]
fn every_schema_that_is_named_is_there() {
    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(target) if name == "$ref" => {
                            let schema = target.strip_prefix(SCHEMAS);
                            found.extend(schema.map(str::to_owned));
                        }
                        _ => names(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut named = BTreeSet::new();
    names(&document, &mut named);
    let there: BTreeSet<String> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(named, there);
}

/// What is never left out is said to be there: clients need not ask.
#[test]
fn every_member_of_an_answer_is_required() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in [
        "User",
        "Balance",
        "Entry",
        "Purchase",
        "Delivery",
        "Overview",
        "SweepItem",
        "Lot",
    ] {
        let schema = &schemas[name];
        let members: BTreeSet<&str> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let required: BTreeSet<&str> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member.as_str().unwrap())
            .collect();
        assert_eq!(members, required, "{name}");
    }
}

#[test]
fn the_statuses_of_purchases_are_those_of_the_table() {
    let table = include_str!("../../../projections/purchases/table.sql");
    let (_, status) = table.split_once("  status text").unwrap();
    let (status, _) = status.split_once("stored").unwrap();
    let of_table: BTreeSet<&str> = status
        .split('\'')
        .skip(1)
        .step_by(2)
        // A payment that was not captured is nowhere shown.
        .filter(|word| *word != "uncaptured")
        .collect();
    assert_eq!(of_table, BTreeSet::from(words::PURCHASE_STATUSES));
}

#[test]
fn the_committed_description_is_current() {
    let committed = include_str!("../../../clients/openapi.json");
    assert!(
        committed == text(),
        "run: cargo run -- openapi > clients/openapi.json"
    );
}
