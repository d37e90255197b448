//! The URL map from outside: who gets in, which methods, and that every problem of the contract really comes up.

mod credentials;
mod gates;
mod headers;
pub mod map;
mod problems;
mod supabase;

use std::collections::BTreeSet;

use credit_ledger::http::{Access, ROUTES, allowed};
use credit_ledger::ledger::Source;
use reqwest::Method;
use serde_json::{Value, json};

use self::gates::assert_refused;
use self::map::{concrete, needed_query};
use crate::support::app::{ADMIN_KEY, Answer, answer};
use crate::support::deliveries::{created, user};
use crate::support::seals::sealing;
use crate::support::{TestApp, wire};

#[tokio::test]
async fn every_route_has_the_methods_that_it_says() {
    let app = TestApp::start().await;
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .map(|entry| (entry.path, entry.method))
        .collect();
    assert_eq!(routes.len(), ROUTES.len(), "a route comes twice");
    for entry in &ROUTES {
        let methods = allowed(entry.path).to_string();
        for name in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND",
        ] {
            if methods.split(", ").any(|method| method == name) {
                continue;
            }
            let method: Method = name.parse().unwrap();
            let answer = answer(app.request(method, &concrete(entry)).bearer_auth(ADMIN_KEY)).await;
            assert_eq!(answer.status, 405, "{name} {}", entry.path);
            assert_eq!(answer.headers["allow"], methods, "{name} {}", entry.path);
            if name == "HEAD" {
                assert_eq!(answer.body, Value::Null);
            } else {
                answer.assert_problem(405, "method_not_allowed");
            }
        }
    }
    app.stop().await;
}

/// What `GET` answers, `HEAD` answers without the body: successes and problems, to whoever may and may not ask.
#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = TestApp::start_with(sealing()).await;
    app.deliver(Source::Clerk, &created(&user("user_1")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.seal_all().await;
    for entry in ROUTES.iter().filter(|entry| entry.method == "GET") {
        let good = match entry.access {
            Access::Session => app.token("user_1"),
            _ => ADMIN_KEY.to_owned(),
        };
        let path = format!("{}?{}", concrete(entry), needed_query(entry));
        for (token, path, status) in [
            (good.as_str(), path.clone(), 200),
            (&good, format!("{path}&limit=0"), 400),
            ("garbage", path, 401),
        ] {
            if entry.access == Access::Open && status != 200 {
                continue;
            }
            let ask = |method: Method| answer(app.request(method, &path).bearer_auth(token));
            let (get, head) = (ask(Method::GET).await, ask(Method::HEAD).await);
            assert_eq!(get.status, status, "{path}: {get:?}");
            assert_eq!(head.status, status, "{path}: {head:?}");
            assert_eq!(head.body, Value::Null);
            let comparable = |answer: &Answer| {
                let mut headers = answer.headers.clone();
                headers.remove("date");
                headers
            };
            assert_eq!(comparable(&head), comparable(&get), "{path}");
            if get.body != Value::Null {
                let length = get.body.to_string().len().to_string();
                assert_eq!(get.headers["content-length"], length, "{path}");
            }
        }
    }
    // Not one byte of a body is on the wire: the next answer follows at once.
    let request = b"HEAD /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let text = wire::break_off(app.address, request).await;
    assert!(text.ends_with("\r\n\r\n"), "{text:?}");
    app.stop().await;
}

/// Whoever sends a parameter believes that it changes the answer. Providers may put anything behind the URL that they
/// were given, and so may whoever looks after the instances.
#[tokio::test]
async fn a_query_that_is_not_read_is_refused() {
    let app = TestApp::start().await;
    app.deliver(Source::Clerk, &created(&user("user_1")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let session = app.token("user_1");
    for entry in &ROUTES {
        let path = concrete(entry);
        let token = match entry.access {
            Access::Session => &session,
            _ => ADMIN_KEY,
        };
        for query in ["since=2001-01-01T00:00:00Z", "a", "x=1&x=2", "%FF=%FF"] {
            let request = app.request(entry.method.parse().unwrap(), &format!("{path}?{query}"));
            let answer = answer(request.bearer_auth(token).body("{}")).await;
            let what = format!("{path}?{query}");
            match entry.access {
                Access::Open => assert_eq!(answer.status, 200, "{what}"),
                Access::ProviderSignature => {
                    assert_refused(&answer, &what, 400, "invalid_signature");
                }
                Access::Session | Access::ApiKey(_) => {
                    assert_refused(&answer, &what, 400, "invalid_request");
                    let detail = answer.body["detail"].as_str().unwrap();
                    assert!(detail.starts_with("query "), "{what}: {detail}");
                }
            }
        }
        // An empty one says nothing.
        let request = app.request(entry.method.parse().unwrap(), &format!("{path}?"));
        let answer = answer(request.bearer_auth(token).body("{}")).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert!(!detail.starts_with("query "), "{path}?: {detail}");
    }
    app.deliver_to("/webhooks/clerk?from=clerk", &created(&user("user_2")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_in_the_map_is_not_there() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/me/",
        "/v1/Me",
        "/v1//me",
        "/v1/users/",
        "/v1/users/a/b",
        "/v1/users/a/balance/",
        "/webhooks",
        "/webhooks/",
        "/webhooks/clerk/",
        "/webhooks/clerk/x",
        "/health",
        "/health/live/",
        "/v2/me",
        "/.env",
        "/v1/users//balance",
        "/v1/payments",
        "/favicon.ico",
        "/v1/me%2Fbalance",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let answer = answer(app.request(method.clone(), path).bearer_auth(ADMIN_KEY)).await;
            assert_eq!(
                answer.body["code"], "not_found",
                "{method} {path}: {answer:?}"
            );
            answer.assert_problem(404, "not_found");
        }
    }
    app.stop().await;
}
