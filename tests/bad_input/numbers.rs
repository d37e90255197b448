//! Numbers that no integer holds, and what is no number, in every place that takes a number.

use super::places::{Kind, Place, places};
use super::target::{Input, Target};

/// More credits than anybody may have, and no whole numbers at all: taken nowhere.
const NEVER: [&str; 28] = [
    "9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "-1",
    "-0",
    "-0.0",
    "0.5",
    "1.0",
    "1e0",
    "1e2",
    "1e308",
    "1e400",
    "-1e400",
    "1e-400",
    "NaN",
    "Infinity",
    "0x10",
    "01",
    "+1",
    "1_000",
    "\"1\"",
    "true",
    "[1]",
    "{\"a\":1}",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_guessed() {
    let target = Target::start().await;
    let places: Vec<Place> = places()
        .into_iter()
        .filter(|place| place.kind != Kind::Text)
        .collect();
    assert!(!places.is_empty());
    let long = "9".repeat(10_000);
    let fraction = format!("0.{long}");
    let inputs = NEVER.iter().copied().chain([&*long, &*fraction]);
    let inputs: Vec<Input> = inputs.map(Input::spelled).collect();
    let cases = places.iter().flat_map(|place| {
        let flag = |input: &&Input| place.kind == Kind::Number || input.json != "true";
        inputs
            .iter()
            .filter(flag)
            .map(|input| (place.clone(), input.clone()))
    });
    let cases: Vec<_> = cases.collect();
    println!("{} places, {} requests", places.len(), cases.len());
    for (place, input, reply) in target.all(cases).await {
        assert_eq!(
            reply.status, 400,
            "{} {:?} {}: {reply:?}",
            place.route.path, place.at, input.json
        );
    }
    target.assert_unharmed().await;
}
