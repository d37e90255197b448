//! Texts that mean something to a database, a log, a terminal, a shell or a page, in every place that takes a text.

use std::collections::BTreeSet;

use serde_json::Value;

use super::places::{At, Kind, Place, places};
use super::target::{Input, Reply, Target, USER};
use crate::support::app::ADMIN_KEY;

/// How many shards the log has.
const SHARDS: i16 = 16;

fn texts() -> Vec<Input> {
    let mut inputs: Vec<Input> = [
        "'; drop table events; --",
        "' or '1'='1",
        "\"; select pg_sleep(30); --",
        "$1",
        "$$a$$",
        "%s%n%d",
        "%00",
        "%2e%2e%2f",
        "../../etc/passwd",
        "a/b",
        "\\",
        "\\u0000",
        "\\x00",
        "\"",
        "`id`",
        "$(id)",
        "${jndi:ldap://a/b}",
        "{{7*7}}",
        "<script>alert(1)</script>",
        "{\"a\":1}",
        "null",
        "-0",
        "1e400",
        "9223372036854775808",
        "\u{0}",
        "a\u{0}b",
        "a\nb",
        "a\r\nx-injected: b",
        "2026-01-01T00:00:00Z ERROR it is all over",
        "\n2026-01-01T00:00:00Z ERROR it is all over",
        "\u{1b}[2J\u{1b}[8m",
        "\u{7f}",
        "\u{85}",
        "\u{9b}2J",
        "\u{a0}",
        "\u{2028}",
        "a\u{202e}b",
        "\u{200b}",
        "\u{feff}a",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10ffff}",
        "e\u{301}",
        "\u{1f4a9}",
        "",
        " ",
        " a ",
        "\t",
    ]
    .map(Input::of_text)
    .into();
    for (character, count) in [
        ("a", 255),
        ("a", 256),
        ("a", 501),
        ("é", 255),
        ("\u{1f4a9}", 255),
        ("a", 9000),
    ] {
        inputs.push(Input::of_text(character.repeat(count)));
    }
    let spelled = [
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\u0000\"",
        "\"\\x\"",
        "\"a\nb\"",
        "\"a",
        "7",
        "true",
        "[]",
        "{}",
        "null",
        "[[\"a\"]]",
        "{\"\":\"a\"}",
        "'a'",
    ];
    inputs.extend(spelled.map(Input::spelled));
    inputs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_is_more_than_a_text() {
    let target = Target::start().await;
    let places: Vec<Place> = places()
        .into_iter()
        .filter(|place| place.kind == Kind::Text)
        .collect();
    let cases = places
        .iter()
        .flat_map(|place| texts().into_iter().map(|input| (place.clone(), input)));
    let cases: Vec<_> = cases.collect();
    println!("{} places, {} requests", places.len(), cases.len());
    let answered = target.all(cases).await;
    let taken: Vec<_> = answered
        .iter()
        .filter(|(_, _, reply)| reply.status < 300)
        .collect();
    // What is refused everywhere is not tried.
    assert!(
        taken.len() > answered.len() / 20,
        "{} of {}",
        taken.len(),
        answered.len()
    );
    assert_kept(&target, &taken).await;
    target.assert_unharmed().await;
}

/// What was taken is in the history, and in the entries that show it, byte for byte.
async fn assert_kept(target: &Target, taken: &[&(Place, Input, Reply)]) {
    let mut history = BTreeSet::new();
    for shard in 0..SHARDS {
        let mut after = 0;
        loop {
            let path = format!("/v1/audit/events?shard={shard}&after={after}&limit=200");
            let page = target
                .request("GET", &path)
                .bearer_auth(ADMIN_KEY)
                .send()
                .await
                .unwrap();
            let page = page.text().await.unwrap();
            let events: Vec<Value> = page
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let Some(last) = events.last() else { break };
            after = last["position"].as_i64().unwrap();
            for event in &events {
                collect(event, &mut history);
            }
        }
    }
    let entries = target.rows(&format!("/v1/users/{USER}/entries")).await;
    let mut shown = BTreeSet::new();
    for entry in &entries {
        collect(entry, &mut shown);
    }
    for (place, input, _) in taken {
        let (At::Body(pointer, _), Some(text)) = (&place.at, &input.text) else {
            continue;
        };
        let field = pointer.rsplit('/').next().unwrap();
        // An operator's reason is kept without the blanks around it, and only where something changed.
        if ["/retry", "/recover"]
            .iter()
            .any(|end| place.route.path.ends_with(end))
        {
            continue;
        }
        let is_operators = place.route.path.starts_with("/v1/admin/") && field == "reason";
        let text = if is_operators { text.trim() } else { text };
        // Who decided stands behind the name of the key.
        let is_kept = history.contains(text) || history.contains(&format!("admin:{text}"));
        assert!(is_kept, "{} {field} {text:?}", place.route.path);
        let is_shown = ["/spends", "/grants"]
            .iter()
            .any(|end| place.route.path.ends_with(end));
        if is_shown && ["reason", "reference"].contains(&field) {
            assert!(
                shown.contains(text),
                "{} {field} {text:?}",
                place.route.path
            );
        }
    }
}

/// All texts in a value, and in texts of it that are JSON.
fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if text.starts_with('{')
                && let Ok(inner) = serde_json::from_str(text)
            {
                collect(&inner, found);
            }
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        _ => {}
    }
}
