//! Every route but the webhooks, with mutated bodies, queries, cursors, ids in paths, keys and headers.

use futures_util::{StreamExt as _, stream};
use reqwest::RequestBuilder;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::mutate::Mutator;
use super::{mutator, rounds};
use crate::bad_input::places::{Route, bodies, routes};
use crate::bad_input::target::{Target, USER, assert_described, reply};
use crate::support::url::percent_encoded;

/// How many mutations of each route are tried.
const ROUNDS_ROUTE: usize = 40;
const AT_ONCE: usize = 8;
/// What stands for every parameter of a query: each is taken from here and changed.
const QUERY: &str = "limit=2&cursor=eyJhZnRlciI6NH0&at=2026-01-31T12:00:00Z&shard=3&after=1&status=parked&email=a@b.c&dry_run=true";
/// Headers that mean something.
const HEADERS: [&str; 6] = [
    "idempotency-key",
    "authorization",
    "content-type",
    "accept",
    "x-forwarded-for",
    "expect",
];

/// What has a meaning in a query, and is to keep it.
const KEPT: &[u8] = b"-_=&";

/// A request of a route with something about it changed, and what that was.
async fn changed(
    target: &Target,
    route: &Route,
    operation: &Value,
    mutator: &mut Mutator,
) -> (RequestBuilder, String) {
    let forms = if route.has_body {
        bodies(operation)
    } else {
        vec![json!({})]
    };
    let body = mutator.one_of(&forms).to_string();
    let other = mutator.one_of(&forms).to_string();
    match mutator.below(4) {
        0 => {
            let query = percent_encoded(
                mutator.bytes(QUERY.as_bytes(), b"&limit=200&cursor=&after=-1"),
                KEPT,
            );
            let id = percent_encoded(mutator.bytes(USER.as_bytes(), b"0-1/razorpay:pay_1"), KEPT)
                .replace(['&', '='], "");
            let parts = route.path.split('/').skip(1);
            let parts = parts.map(|part| if part.starts_with('{') { &*id } else { part });
            let parts: Vec<&str> = parts.collect();
            let path = format!("/{}?{query}", parts.join("/"));
            (target.at(route, &path).body(body), path)
        }
        1 => {
            let name = *mutator.one_of(&HEADERS);
            let value = mutator.bytes(
                b"Bearer admin-key-of-the-tests-000000, 1.2.3.4",
                b"100-continue text/html",
            );
            let request = target.with_body(route, body).await;
            let said = format!("{name}: {}", String::from_utf8_lossy(&value));
            match HeaderValue::from_bytes(&value) {
                Ok(value) => (
                    request.header(name.parse::<HeaderName>().unwrap(), value),
                    said,
                ),
                Err(_) => (request, said),
            }
        }
        _ => {
            let body = mutator.payload(body.as_bytes(), other.as_bytes());
            let said = String::from_utf8_lossy(&body).into_owned();
            (target.with_body(route, body).await, said)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_makes_a_route_answer_that_it_broke() {
    let target = Target::start().await;
    let mut mutator = mutator();
    let routes = routes();
    let mut requests = vec![];
    for (route, operation) in &routes {
        for _ in 0..rounds(ROUNDS_ROUTE) {
            let (request, said) = changed(&target, route, operation, &mut mutator).await;
            requests.push((route, request, said));
        }
    }
    let answers = stream::iter(requests)
        .map(async |(route, request, said)| (route, reply(request).await, said));
    let mut answers = answers.buffer_unordered(AT_ONCE);
    while let Some((route, reply, said)) = answers.next().await {
        // Whoever is asked with another key is not let in, whatever else is wrong.
        assert_described(
            route,
            &reply,
            &format!("{} {}: {said:.300}", route.method, route.path),
        );
    }
    drop(answers);
    target.assert_unharmed().await;
}
