//! The URL map from outside: who gets in, which methods, and that every problem of the contract really comes up.

pub mod map;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use credit_ledger::access::mint::TokenMint;
use credit_ledger::access::{KeySource, Scope, SupabaseSettings};
use credit_ledger::http::problem::Code;
use credit_ledger::http::{Access, Entry, ROUTES, allowed};
use credit_ledger::ledger::{Credits, Source};
use reqwest::Method;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use self::map::{SHARD_OF_USER_1, concrete, needed_query};
use crate::support::app::{ADMIN_KEY, AUDIT_KEY, Answer, ISSUER, MINT, SERVICE_KEY, answer};
use crate::support::deliveries::{captured, checkout, created, deleted, payment, user};
use crate::support::seals::sealing;
use crate::support::{Options, TestApp, tokens, wire};

async fn call(app: &TestApp, entry: &Entry, authorization: &[String]) -> Answer {
    let mut request = app.request(entry.method.parse().unwrap(), &concrete(entry));
    for value in authorization {
        request = request.header("authorization", value);
    }
    answer(request.body("{}")).await
}

fn bearer(token: &str) -> Vec<String> {
    vec![format!("Bearer {token}")]
}

/// What opens no session route: a name and the `Authorization` headers.
fn bad_sessions(app: &TestApp) -> Vec<(&'static str, Vec<String>)> {
    let now = app.now();
    let good = app.token("user_1");
    let claims = tokens::clerk_claims("user_1", now);
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        tokens::rs256(&changed)
    };
    let stranger = TokenMint::generate()
        .unwrap()
        .clerk_token("user_1", ISSUER, None, now, 60)
        .unwrap();
    let expired = MINT
        .clerk_token("user_1", ISSUER, None, now - TimeDelta::minutes(2), 60)
        .unwrap();
    let early = MINT
        .clerk_token("user_1", ISSUER, None, now + TimeDelta::minutes(2), 60)
        .unwrap();
    let other_issuer = MINT
        .clerk_token("user_1", "https://other.test.invalid", None, now, 60)
        .unwrap();
    let (head, _) = good.rsplit_once('.').unwrap();
    vec![
        ("nothing", vec![]),
        ("empty", vec![String::new()]),
        ("no token", vec!["Bearer ".to_owned()]),
        ("no scheme", vec![good.clone()]),
        ("another scheme", vec![format!("Basic {good}")]),
        (
            "twice",
            vec![format!("Bearer {good}"), format!("Bearer {good}")],
        ),
        ("garbage", bearer("garbage")),
        ("an API key", bearer(SERVICE_KEY)),
        ("an operator's key", bearer(ADMIN_KEY)),
        ("expired", bearer(&expired)),
        ("not yet valid", bearer(&early)),
        ("another issuer", bearer(&other_issuer)),
        ("another key", bearer(&stranger)),
        ("no signature", bearer(&format!("{head}."))),
        ("the algorithm none", bearer(&tokens::unsigned(&claims))),
        (
            "HS256 with the public PEM",
            bearer(&tokens::hs256(MINT.public_pem().as_bytes(), &claims)),
        ),
        (
            "another audience",
            bearer(&with("aud", json!("another service"))),
        ),
        ("no user", bearer(&with("sub", json!(null)))),
        ("a machine", bearer(&with("sub", json!("mch_1")))),
        ("a pending session", bearer(&with("sts", json!("pending")))),
        ("too long", bearer(&with("more", json!("x".repeat(9000))))),
    ]
}

/// What opens no API-key route.
fn bad_keys(app: &TestApp) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("nothing", vec![]),
        ("empty", vec![String::new()]),
        ("no key", vec!["Bearer ".to_owned()]),
        ("no scheme", vec![SERVICE_KEY.to_owned()]),
        ("another scheme", vec![format!("Basic {SERVICE_KEY}")]),
        (
            "twice",
            vec![
                format!("Bearer {SERVICE_KEY}"),
                format!("Bearer {SERVICE_KEY}"),
            ],
        ),
        ("wrong", bearer("wrong-key-of-the-tests-000000")),
        ("cut", bearer(&SERVICE_KEY[..SERVICE_KEY.len() - 1])),
        ("longer", bearer(&format!("{SERVICE_KEY}0"))),
        ("upper case", bearer(&SERVICE_KEY.to_uppercase())),
        ("huge", bearer(&"k".repeat(10_000))),
        ("made up", bearer(&format!("cl_{}", "0a".repeat(38)))),
        ("a session", bearer(&app.token("user_1"))),
    ]
}

#[track_caller]
fn assert_refused(answer: &Answer, what: &str, status: u16, code: &str) {
    assert_eq!(answer.body["code"], code, "{what}: {answer:?}");
    answer.assert_problem(status, code);
    let challenge = answer
        .headers
        .get("www-authenticate")
        .map(|value| value.to_str().unwrap());
    assert_eq!(challenge, (status == 401).then_some("Bearer"), "{what}");
}

/// The keys of the tests, and what each may do.
const KEYS: [(&str, &[Scope]); 3] = [
    (AUDIT_KEY, &[Scope::Audit]),
    (SERVICE_KEY, &[Scope::CreditsRead, Scope::CreditsWrite]),
    (ADMIN_KEY, &Scope::ALL),
];

#[tokio::test]
async fn every_route_asks_for_what_it_must() {
    let app = TestApp::start().await;
    let session = bearer(&app.token("user_1"));
    for entry in &ROUTES {
        let path = entry.path;
        match entry.access {
            Access::Open => {
                for header in [vec![], bearer("garbage")] {
                    assert_eq!(call(&app, entry, &header).await.status, 200, "{path}");
                }
            }
            Access::ProviderSignature => {
                for header in [
                    vec![],
                    session.clone(),
                    bearer(SERVICE_KEY),
                    bearer(ADMIN_KEY),
                ] {
                    let answer = call(&app, entry, &header).await;
                    assert_refused(&answer, path, 400, "invalid_signature");
                }
            }
            Access::Session => {
                for (what, header) in bad_sessions(&app) {
                    let answer = call(&app, entry, &header).await;
                    assert_refused(
                        &answer,
                        &format!("{path} with {what}"),
                        401,
                        "unauthenticated",
                    );
                }
                // And with what is right it is another answer, so it is not just closed.
                let status = call(&app, entry, &session).await.status;
                assert!(
                    ![401, 403, 404].contains(&status.as_u16()),
                    "{path}: {status}"
                );
            }
            Access::ApiKey(scope) => {
                for (what, header) in bad_keys(&app) {
                    let answer = call(&app, entry, &header).await;
                    assert_refused(
                        &answer,
                        &format!("{path} with {what}"),
                        401,
                        "unauthenticated",
                    );
                }
                for (key, scopes) in KEYS {
                    let answer = call(&app, entry, &bearer(key)).await;
                    if scopes.contains(&scope) {
                        // Another answer, so it is not just closed.
                        let status = answer.status.as_u16();
                        assert!(![401, 403, 405].contains(&status), "{path}: {answer:?}");
                    } else {
                        assert_refused(&answer, path, 403, "insufficient_scope");
                    }
                }
            }
        }
    }
    app.stop().await;
}

/// A refusal never says what was sent, nor which of several things was wrong with a key.
#[tokio::test]
async fn a_refusal_repeats_no_secret() {
    let app = TestApp::start().await;
    for secret in ["wrong-key-of-the-tests-000000", &app.token("user_1")] {
        let answer = answer(
            app.request(Method::GET, "/v1/users/user_1")
                .bearer_auth(secret),
        )
        .await;
        assert!(
            !format!("{} {:?}", answer.body, answer.headers).contains(secret),
            "{answer:?}"
        );
    }
    app.stop().await;
}

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

/// On every kind of answer: nothing of it is kept by a cache or guessed at by a browser, and no origin is let in.
#[tokio::test]
async fn every_answer_has_the_headers_that_keep_it_private() {
    let app = TestApp::start().await;
    let mut answers = vec![
        app.get_as("user_1", "/v1/me").await,
        app.deliver(Source::Clerk, &created(&user("user_1"))).await,
        app.get("/v1/users/user_1").await,
        app.get("/nothing").await,
        answer(
            app.request(Method::OPTIONS, "/v1/me")
                .header("origin", "https://evil.example"),
        )
        .await,
        answer(app.request(Method::HEAD, "/health/live")).await,
    ];
    for entry in &ROUTES {
        answers.push(call(&app, entry, &[]).await);
    }
    for answer in &answers {
        assert_eq!(answer.headers["cache-control"], "no-store", "{answer:?}");
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{answer:?}"
        );
        for name in ["access-control-allow-origin", "set-cookie", "server"] {
            assert!(!answer.headers.contains_key(name), "{name} in {answer:?}");
        }
    }
    let statuses: BTreeSet<u16> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    assert!(
        statuses.is_superset(&BTreeSet::from([200, 400, 401, 404, 405])),
        "{statuses:?}"
    );
    app.stop().await;
}

async fn resolve(app: &TestApp, purchase_id: &str, mut says: Value) -> Answer {
    says["reason"] = json!("a test");
    let path = format!("/v1/admin/purchases/{purchase_id}/resolve");
    app.post_as_operator(&path, &says).await
}

/// A request that makes the service answer with this code. No `_`: a new code has to find its place here.
#[allow(clippy::too_many_lines)] // One table.
async fn provoke(app: &TestApp, code: Code) -> Answer {
    let verify = "/v1/payments/verify";
    let post = async |path: &str, token: &str, body: String| {
        answer(
            app.request(Method::POST, path)
                .bearer_auth(token)
                .body(body),
        )
        .await
    };
    match code {
        Code::InvalidSignature => app.post("/webhooks/clerk", &[], "{}").await,
        Code::Malformed => post(verify, &app.token("user_1"), "[]".to_owned()).await,
        Code::InvalidRequest => post(verify, &app.token("user_1"), "{}".to_owned()).await,
        Code::Unauthenticated => answer(app.request(Method::GET, "/v1/me")).await,
        Code::InsufficientScope => {
            answer(
                app.request(Method::GET, "/v1/users/user_1")
                    .bearer_auth(AUDIT_KEY),
            )
            .await
        }
        Code::NotYourPurchase => {
            let paid = payment(Some("user_1"));
            app.deliver(Source::Razorpay, &captured(&paid))
                .await
                .assert_ok(&json!({"status": "recorded"}));
            let (order_id, payment_id, signature) = checkout(&paid);
            app.verify("user_2", &order_id, &payment_id, &signature)
                .await
        }
        Code::UserDeleted => {
            app.deliver(Source::Clerk, &deleted("user_gone"))
                .await
                .assert_ok(&json!({"status": "recorded"}));
            app.get_as("user_gone", "/v1/me").await
        }
        Code::ImpersonationRefused => {
            let mut claims = tokens::clerk_claims("user_1", app.now());
            claims["act"] = json!({"sub": "user_operator"});
            post(verify, &tokens::rs256(&claims), "{}".to_owned()).await
        }
        Code::NotFound => app.get("/nothing").await,
        Code::UnknownProvider => app.post("/webhooks/paypal", &[], "{}").await,
        Code::UserNotFound => app.get("/v1/users/nobody").await,
        Code::DeliveryNotFound => {
            let path = "/v1/admin/inbox/clerk/msg_unknown/retry";
            app.post_as_operator(path, &json!({"reason": "a test"}))
                .await
        }
        Code::PurchaseNotFound => resolve(app, "razorpay:pay_unknown", json!({"credits": 1})).await,
        Code::AlreadyClaimed => {
            let paid = payment(Some("user_1"));
            app.deliver(Source::Razorpay, &captured(&paid)).await;
            let id = format!("razorpay:{}", paid.payment_id);
            resolve(app, &id, json!({"user_id": "user_2"})).await
        }
        Code::AlreadyPriced => {
            let paid = payment(Some("user_1"));
            app.deliver(Source::Razorpay, &captured(&paid)).await;
            let id = format!("razorpay:{}", paid.payment_id);
            resolve(app, &id, json!({"credits": 1})).await
        }
        Code::IdempotencyKeyRequired => {
            let body = json!({"amount": 1}).to_string();
            post("/v1/users/user_1/spends", SERVICE_KEY, body).await
        }
        Code::IdempotencyKeyReused => {
            let path = "/v1/users/user_1/spends";
            app.post_under("k", path, &json!({"amount": 1})).await;
            app.post_under("k", path, &json!({"amount": 2})).await
        }
        Code::HoldNotFound => app.post_new("/v1/holds/0-1/release", &json!({})).await,
        Code::SpendNotFound => app.post_new("/v1/spends/0-1/reverse", &json!({})).await,
        Code::ReferralNotConfigured | Code::AlreadyReferred => {
            let path = "/v1/users/user_1/referral";
            app.post_new(path, &json!({"referred_by": "user_2"})).await;
            app.post_new(path, &json!({"referred_by": "user_3"})).await
        }
        Code::BalanceTooLarge => {
            app.grant("user_1", 9_007_199_254_740_991).await;
            let more = json!({"amount": 1, "reason": "a test"});
            app.post_new("/v1/users/user_1/grants", &more).await
        }
        Code::InsufficientCredits => app.spend("user_1", 1).await,
        Code::HoldResolved => {
            app.grant("user_1", 5).await;
            let hold_id = app.hold("user_1", 5).await.text("hold_id");
            let path = format!("/v1/holds/{hold_id}/release");
            assert_eq!(app.post_new(&path, &json!({})).await.status, 200);
            app.post_new(&path, &json!({})).await
        }
        Code::AlreadyReversed | Code::AmountTooLarge => {
            app.grant("user_1", 5).await;
            let entry_id = app.spend("user_1", 5).await.text("entry_id");
            let path = format!("/v1/spends/{entry_id}/reverse");
            if code == Code::AlreadyReversed {
                assert_eq!(app.post_new(&path, &json!({})).await.status, 200);
            }
            app.post_new(&path, &json!({"amount": 6})).await
        }
        Code::NotSealedYet => {
            app.deliver(Source::Clerk, &created(&user("user_1"))).await;
            let path = format!("/v1/audit/proof/{SHARD_OF_USER_1}/1");
            app.get_as_operator(&path).await
        }
        Code::MethodNotAllowed(_) => answer(app.request(Method::DELETE, "/v1/me")).await,
        Code::RequestTimeout => {
            let head = b"POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n";
            parse(&wire::exchange(app.address, head).await)
        }
        Code::PayloadTooLarge => {
            post(verify, &app.token("user_1"), " ".repeat(64 * 1024 + 1)).await
        }
        Code::RateLimited(_) => loop {
            // One a second is taken, so it is not long until one is too many.
            let answer = app.get("/v1/users").await;
            if answer.status != 200 {
                break answer;
            }
        },
        Code::ProviderNotConfigured => app.post("/webhooks/razorpay", &[], "{}").await,
        Code::Unavailable => app.get_as("user_1", "/v1/me").await,
        Code::Internal => {
            let paid = payment(None);
            app.deliver(Source::Razorpay, &captured(&paid))
                .await
                .assert_ok(&json!({"status": "recorded"}));
            // What no version of this program has written.
            let spoil = "update streams set state = '{\"captured\": \"perhaps\"}' where aggregate_type = 'purchase'";
            assert_eq!(app.sql().await.execute(spoil, &[]).await.unwrap(), 1);
            let (order_id, payment_id, signature) = checkout(&paid);
            app.verify("user_1", &order_id, &payment_id, &signature)
                .await
        }
    }
}

/// Settings that make some codes possible.
fn options_for(code: Code) -> Options {
    match code {
        Code::ProviderNotConfigured => Options {
            configure: Arc::new(|config| config.razorpay_webhook_secrets.clear()),
            ..Options::default()
        },
        Code::RateLimited(_) => Options {
            configure: Arc::new(|config| config.rate_limits.per_key = NonZeroU32::new(1)),
            ..Options::default()
        },
        Code::AlreadyReferred => Options {
            configure: Arc::new(|config| {
                config.referral.referrer_credits = Credits::new(1).unwrap();
            }),
            ..Options::default()
        },
        // Nobody listens there, so no session can be judged.
        Code::Unavailable => Options {
            configure: Arc::new(|config| {
                let clerk = config.sessions.clerk.as_mut().unwrap();
                clerk.keys = KeySource::Jwks("http://127.0.0.1:1/.well-known/jwks.json".to_owned());
            }),
            ..Options::default()
        },
        _ => Options::default(),
    }
}

/// What a problem of this code says beside what all say.
const fn members_of(code: Code) -> &'static [&'static str] {
    match code {
        Code::IdempotencyKeyReused => &["fields"],
        Code::InsufficientCredits => &["required", "available"],
        Code::HoldResolved => &["resolution"],
        Code::AmountTooLarge => &["available"],
        _ => &[],
    }
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (
            name.parse::<reqwest::header::HeaderName>().unwrap(),
            value.parse().unwrap(),
        )
    });
    Answer {
        status,
        headers: headers.collect(),
        body: serde_json::from_str(body).unwrap(),
    }
}

#[tokio::test]
async fn every_code_is_the_answer_to_some_request() {
    let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.code()).collect();
    assert_eq!(names.len(), Code::ALL.len(), "a code comes twice");
    for code in Code::ALL {
        let app = TestApp::start_with(options_for(code)).await;
        let answer = provoke(&app, code).await;
        answer.assert_problem(code.status().as_u16(), code.code());
        let members: BTreeSet<&str> = answer
            .body
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            members,
            &BTreeSet::from(["code", "detail", "status", "title", "type"])
                | &members_of(code).iter().copied().collect()
        );
        assert_eq!(answer.body["type"], "about:blank");
        let retry_after = answer.headers.contains_key("retry-after");
        let waits = [429, 503].contains(&answer.status.as_u16()) || code == Code::NotSealedYet;
        assert_eq!(retry_after, waits, "{answer:?}");
        app.stop().await;
    }
}

const SUPABASE_SECRET: &str = "supabase-jwt-secret-of-the-tests-of-32-bytes";
const SUPABASE_USER: &str = "5f3c1b1e-8f0a-4f9b-9d66-3f0e0c5f1a2b";

fn supabase_claims(origin: &str, now: chrono::DateTime<chrono::Utc>) -> Value {
    json!({
        "iss": format!("{origin}/auth/v1"),
        "aud": "authenticated",
        "role": "authenticated",
        "sub": SUPABASE_USER,
        "exp": now.timestamp() + 3600,
        "iat": now.timestamp(),
        "session_id": "7f3c1b1e-8f0a-4f9b-9d66-3f0e0c5f1a2b",
        "email": "a@example.com",
        "phone": "",
        "aal": "aal1",
        "is_anonymous": false,
    })
}

#[tokio::test]
async fn sessions_of_supabase_open_the_same_routes() {
    let provider = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/auth/v1/.well-known/jwks.json"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(tokens::key_set())
                .set_delay(Duration::from_millis(20)),
        )
        .expect(1)
        .mount(&provider)
        .await;
    let origin = provider.uri();
    let url = origin.clone();
    let options = Options {
        configure: Arc::new(move |config| {
            config.sessions.supabase = Some(SupabaseSettings {
                url: url.clone(),
                jwt_secret: Some(SUPABASE_SECRET.into()),
            });
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    app.deliver(Source::Razorpay, &captured(&payment(Some(SUPABASE_USER))))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let me =
        async |token: &str| answer(app.request(Method::GET, "/v1/me").bearer_auth(token)).await;
    let claims = supabase_claims(&origin, app.now());
    let secret = SUPABASE_SECRET.as_bytes();
    // The keys are fetched once for any number of sessions.
    for token in [
        tokens::hs256(secret, &claims),
        tokens::rs256(&claims),
        tokens::rs256(&claims),
    ] {
        me(&token)
            .await
            .assert_ok(&json!({"user_id": SUPABASE_USER, "balance": 500}));
    }
    // Clerk's sessions go on beside them.
    app.get_as("user_1", "/v1/me")
        .await
        .assert_ok(&json!({"user_id": "user_1", "registered": false}));

    // The project's public `anon` key is a JWT with a good signature and years of life.
    let anon = json!({
        "iss": "supabase",
        "ref": "abcdefghijklmnopqrst",
        "role": "anon",
        "iat": app.now().timestamp(),
        "exp": app.now().timestamp() + 315_360_000,
    });
    let change = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    let bad = [
        ("the anon key", tokens::hs256(secret, &anon)),
        (
            "the role anon",
            tokens::hs256(secret, &change("role", json!("anon"))),
        ),
        (
            "the role of the service",
            tokens::hs256(secret, &change("role", json!("service_role"))),
        ),
        (
            "anonymous",
            tokens::hs256(secret, &change("is_anonymous", json!(true))),
        ),
        (
            "another audience",
            tokens::hs256(secret, &change("aud", json!("anon"))),
        ),
        (
            "no UUID",
            tokens::hs256(secret, &change("sub", json!("user_1"))),
        ),
        (
            "expired",
            tokens::hs256(secret, &change("exp", json!(app.now().timestamp() - 60))),
        ),
        (
            "Clerk's issuer",
            tokens::hs256(secret, &change("iss", json!(ISSUER))),
        ),
        (
            "another secret",
            tokens::hs256(b"another-secret-of-at-least-32-bytes", &claims),
        ),
        (
            "the public key as secret",
            tokens::hs256(MINT.public_pem().as_bytes(), &claims),
        ),
        ("unsigned", tokens::unsigned(&claims)),
    ];
    for (what, token) in bad {
        assert_refused(&me(&token).await, what, 401, "unauthenticated");
    }
    provider.verify().await;
    app.stop().await;
}
