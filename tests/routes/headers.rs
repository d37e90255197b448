//! The headers that keep every answer private, whatever it answers.

use std::collections::BTreeSet;

use credit_ledger::http::{Access, ROUTES};
use credit_ledger::ledger::Source;
use reqwest::Method;

use super::map::{concrete, needed_query};
use crate::support::app::{ADMIN_KEY, Answer, answer};
use crate::support::deliveries::{created, user};
use crate::support::{TestApp, wire};

/// Nothing of it is kept by a cache or guessed at by a browser, it is no page that could do anything, and no origin is let in.
#[track_caller]
pub fn assert_private(answer: &Answer) {
    let header = |name: &str| {
        let all: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(all.len(), 1, "{name} of {answer:?}");
        all[0].to_str().unwrap().to_owned()
    };
    assert_eq!(header("cache-control"), "no-store", "{answer:?}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{answer:?}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{answer:?}");
    let policy = header("content-security-policy");
    let is_page = answer
        .headers
        .get("content-type")
        .is_some_and(|of_type| of_type.as_bytes().starts_with(b"text/html"));
    if is_page {
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "form-action 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(
            !policy.contains("script") && !policy.contains("unsafe"),
            "{policy}"
        );
    } else {
        assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'");
    }
    for name in [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "set-cookie",
        "server",
        "x-powered-by",
        // Said by who speaks TLS.
        "strict-transport-security",
    ] {
        assert!(!answer.headers.contains_key(name), "{name} in {answer:?}");
    }
}

/// Every route, let in, refused, misunderstood and asked in a way that it has not. (Every problem code: `problems.rs`.)
#[tokio::test]
async fn every_answer_has_the_headers_that_keep_it_private() {
    let app = TestApp::start().await;
    let mut answers = vec![
        app.deliver(Source::Clerk, &created(&user("user_1"))).await,
        app.get("/nothing").await,
    ];
    for entry in &ROUTES {
        let token = match entry.access {
            Access::Session => app.token("user_1"),
            _ => ADMIN_KEY.to_owned(),
        };
        let method: Method = entry.method.parse().unwrap();
        let (path, query) = (concrete(entry), needed_query(entry));
        for (method, path, token) in [
            (method.clone(), format!("{path}?{query}"), token.as_str()),
            (method.clone(), path.clone(), "garbage"),
            (method.clone(), format!("{path}?nonsense=1"), &token),
            (Method::PATCH, path.clone(), &token),
            (Method::HEAD, path.clone(), &token),
            (Method::OPTIONS, path.clone(), &token),
            (method, format!("{path}/nothing"), &token),
        ] {
            let request = app.request(method, &path).bearer_auth(token);
            let request = request.header("origin", "https://evil.example");
            answers.push(answer(request.body("{}")).await);
        }
    }
    let mut statuses = BTreeSet::new();
    for answer in &answers {
        assert_private(answer);
        statuses.insert(answer.status.as_u16());
    }
    assert!(
        statuses.is_superset(&BTreeSet::from([200, 400, 401, 404, 405, 409])),
        "{statuses:?}"
    );
    app.stop().await;
}

/// What the server itself refuses, before there is a request: nothing is said that could be kept, and nothing more is read.
#[tokio::test]
async fn what_is_no_request_is_answered_by_a_bare_status() {
    let app = TestApp::start().await;
    for request in [
        "nonsense\r\n\r\n",
        "GET /v1/me HTTP/9.9\r\n\r\n",
        "GET /v1/me\r\n\r\n",
        "GET /v1/me HTTP/1.1\r\nhost: a\r\nname without a colon\r\n\r\n",
        "GET /v1/me HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
        "GET /v1/ me HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        "POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ncontent-length: many\r\n\r\n{}",
        "POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
    ] {
        // A second one behind it is not read.
        let both = format!("{request}GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n");
        let said = wire::break_off(app.address, both.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{request:?}: {said:?}");
        assert!(said.ends_with("\r\n\r\n"), "{request:?}: {said:?}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{request:?}: {said:?}");
        let names = said
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let names: BTreeSet<&str> = names.map(|(name, _)| name).collect();
        assert!(
            names.is_subset(&BTreeSet::from(["connection", "content-length", "date"])),
            "{names:?}"
        );
    }
    // What is a request, however odd, is answered like any other.
    for request in [
        "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "TRACE /v1/me HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET http://evil.example/v1/me HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /v1/me HTTP/1.0\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET //evil.example/%2e%2e HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    ] {
        let said = wire::break_off(app.address, request.as_bytes()).await;
        assert_private(&super::problems::parse(&said));
    }
    app.stop().await;
}
