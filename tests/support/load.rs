//! Many deliveries at once, as providers send them in a busy minute.

use std::collections::BTreeMap;

use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use futures_util::{StreamExt as _, stream};

use super::TestApp;
use super::app::Answer;

/// A delivery and where it goes.
pub type Sent = (Source, SignedDelivery);

/// Delivers everything over so many connections, one instance after the other. The answers come in the order of the
/// deliveries.
pub async fn deliver_all(apps: &[&TestApp], sent: &[Sent], connections: usize) -> Vec<Answer> {
    let requests = sent.iter().enumerate().map(|(number, (source, delivery))| {
        let app = apps[number % apps.len()];
        async move { (number, app.deliver(*source, delivery).await) }
    });
    let answers: BTreeMap<usize, Answer> = stream::iter(requests)
        .buffer_unordered(connections)
        .collect()
        .await;
    answers.into_values().collect()
}

/// How often each status of the contract was answered. Fails unless all are 200.
#[track_caller]
pub fn tally(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        *tally
            .entry(answer.body["status"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    tally
}

/// One delivery, as often as asked.
pub fn repeated(source: Source, delivery: &SignedDelivery, times: usize) -> Vec<Sent> {
    vec![(source, delivery.clone()); times]
}
