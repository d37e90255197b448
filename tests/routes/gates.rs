//! Every route against everything that somebody may present to be let in.

use std::sync::Arc;

use credit_ledger::access::issued::NewKey;
use credit_ledger::access::{Scope, SupabaseSettings};
use credit_ledger::http::{Access, Entry, ROUTES};
use credit_ledger::ledger::Source;
use reqwest::Method;
use serde_json::{Value, json};

use super::credentials::{
    Door, PARTY, Presented, badly_carried, false_keys, forged_sessions, good_keys, good_sessions,
    well_carried,
};
use super::headers::assert_private;
use super::map::concrete;
use super::problems::parse;
use crate::access::{keep, revoke, until};
use crate::support::app::{ADMIN_KEY, AUDIT_KEY, Answer, SERVICE_KEY, answer};
use crate::support::deliveries::{captured, created, payment, user};
use crate::support::tokens::{SUPABASE_SECRET, supabase_project};
use crate::support::{Options, TestApp, eventually, tokens, wire};

/// Both providers of sessions, each as strict as it can be.
fn strict(project: &str) -> Options {
    let project = project.to_owned();
    Options {
        configure: Arc::new(move |config| {
            let clerk = config.sessions.clerk.as_mut().unwrap();
            clerk.authorized_parties = vec![PARTY.to_owned()];
            config.sessions.supabase = Some(SupabaseSettings {
                url: project.clone(),
                jwt_secret: Some(SUPABASE_SECRET.into()),
            });
        }),
        ..Options::default()
    }
}

async fn call(app: &TestApp, entry: &Entry, presented: &Presented) -> Answer {
    let path = format!("{}?{}", concrete(entry), presented.query);
    let path = path.trim_end_matches('?');
    let mut request = app.request(entry.method.parse().unwrap(), path);
    for (name, value) in &presented.headers {
        request = request.header(*name, value.as_slice());
    }
    answer(request.body("{}")).await
}

/// Says why, to whom it is said how to ask, and to no cache.
#[track_caller]
pub fn assert_refused(answer: &Answer, what: &str, status: u16, code: &str) {
    assert_eq!(answer.body["code"], code, "{what}: {answer:?}");
    answer.assert_problem(status, code);
    assert_private(answer);
    // RFC 9110, section 11.6.1: with 401 and only there.
    let challenge = answer.headers.get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap());
    assert_eq!(challenge, (status == 401).then_some("Bearer"), "{what}");
}

/// None of these opens the route.
async fn assert_closed(app: &TestApp, entry: &Entry, all: &[Presented]) {
    for presented in all {
        let answer = call(app, entry, presented).await;
        let what = format!("{} {} with {}", entry.method, entry.path, presented.what);
        assert_refused(&answer, &what, 401, "unauthenticated");
    }
}

/// Each of these does, whatever comes behind: it is not just closed.
async fn assert_opened(app: &TestApp, entry: &Entry, all: &[Presented]) {
    for presented in all {
        let answer = call(app, entry, presented).await;
        let what = format!("{} {} with {}", entry.method, entry.path, presented.what);
        assert!(
            ![401, 403, 405].contains(&answer.status.as_u16()),
            "{what}: {answer:?}"
        );
        assert_private(&answer);
    }
}

/// The keys of the settings, and what each may do.
const KEYS: [(&str, &[Scope]); 3] = [
    (AUDIT_KEY, &[Scope::Audit]),
    (SERVICE_KEY, &[Scope::CreditsRead, Scope::CreditsWrite]),
    (ADMIN_KEY, &Scope::ALL),
];

/// A key of the registry for each scope, with nothing but that: those of the settings never tell reading from writing.
async fn single_keys(app: &TestApp) -> Vec<(NewKey, Scope)> {
    let mut keys = vec![];
    for (byte, scope) in (101..).zip(Scope::ALL) {
        let key = keep(app, byte, "shop", &[scope]).await;
        // Until it is known, whatever it may.
        eventually("the key is known", async || {
            let answer = app.request(Method::GET, "/v1/users");
            let answer = answer.bearer_auth(key.reveal()).send().await.unwrap();
            (answer.status() != 401).then_some(())
        })
        .await;
        keys.push((key, scope));
    }
    keys
}

/// With a key that may do only one thing the route is open if that is what it asks for, or everything; if not it is
/// refused, and it is said why.
async fn assert_one_scope_opens(
    app: &TestApp,
    entry: &Entry,
    keys: &[(NewKey, Scope)],
    asked: Scope,
) {
    for (key, scope) in keys {
        let presented = Presented::bearer(scope.as_str(), key.reveal());
        if [asked, Scope::Admin].contains(scope) {
            assert_opened(app, entry, &[presented]).await;
            continue;
        }
        let answer = call(app, entry, &presented).await;
        let what = format!("{} {} with {scope}", entry.method, entry.path);
        assert_refused(&answer, &what, 403, "insufficient_scope");
    }
}

/// A key that was good a moment ago.
async fn revoked_key(app: &TestApp) -> NewKey {
    let key = keep(app, 9, "shop", &Scope::ALL).await;
    until(app, &key, 200).await;
    revoke(app, &key).await;
    until(app, &key, 401).await;
    key
}

/// Said once more here, so that no route is open by a slip.
#[test]
fn these_routes_are_open_and_no_others() {
    let open = ROUTES.iter().filter(|entry| entry.access == Access::Open);
    let open: Vec<&str> = open.map(|entry| entry.path).collect();
    assert_eq!(
        open,
        [
            "/health/live",
            "/health/ready",
            "/metrics",
            "/openapi.json",
            "/docs"
        ]
    );
}

#[tokio::test]
async fn every_route_asks_for_what_it_must() {
    let provider = supabase_project().await;
    let project = provider.uri();
    let app = TestApp::start_with(strict(&project)).await;
    let door = Door {
        app: &app,
        project: &project,
    };
    let revoked = revoked_key(&app).await;
    let single_keys = single_keys(&app).await;
    let mut false_keys = false_keys();
    false_keys.push(Presented::bearer("a revoked key", revoked.reveal()));
    let good_sessions = good_sessions(door);
    let as_bearer = |token: &String| Presented::bearer("a good session", token);
    for entry in &ROUTES {
        // Tokens of a minute, made anew for each route.
        let forged = forged_sessions(door);
        match entry.access {
            Access::Open => {
                for presented in forged
                    .iter()
                    .chain(&good_keys())
                    .chain(&badly_carried("garbage-garbage"))
                {
                    let answer = call(&app, entry, presented).await;
                    assert_eq!(answer.status, 200, "{}: {}", entry.path, presented.what);
                    assert_private(&answer);
                }
            }
            Access::ProviderSignature => {
                let sessions: Vec<_> = good_sessions.iter().map(as_bearer).collect();
                for presented in good_keys().iter().chain(&sessions).chain(&forged) {
                    let answer = call(&app, entry, presented).await;
                    assert_refused(&answer, &presented.what, 400, "invalid_signature");
                }
            }
            Access::Session => {
                assert_closed(&app, entry, &forged).await;
                assert_closed(&app, entry, &false_keys).await;
                assert_closed(&app, entry, &good_keys()).await;
                for session in &good_sessions {
                    assert_closed(&app, entry, &badly_carried(session)).await;
                    assert_opened(&app, entry, &well_carried(session)).await;
                }
            }
            Access::ApiKey(scope) => {
                assert_closed(&app, entry, &forged).await;
                assert_closed(&app, entry, &false_keys).await;
                let sessions: Vec<_> = good_sessions.iter().map(as_bearer).collect();
                assert_closed(&app, entry, &sessions).await;
                assert_closed(&app, entry, &badly_carried(ADMIN_KEY)).await;
                for (key, scopes) in KEYS {
                    if scopes.contains(&scope) {
                        assert_opened(&app, entry, &well_carried(key)).await;
                        continue;
                    }
                    for presented in well_carried(key) {
                        let answer = call(&app, entry, &presented).await;
                        assert_refused(&answer, entry.path, 403, "insufficient_scope");
                    }
                }
                assert_one_scope_opens(&app, entry, &single_keys, scope).await;
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
        let request = app.request(Method::GET, "/v1/users/user_1");
        let answer = answer(request.bearer_auth(secret)).await;
        let said = format!("{} {:?}", answer.body, answer.headers);
        assert!(!said.contains(secret), "{answer:?}");
    }
    app.stop().await;
}

/// Whoever is not known is refused before a byte of the body is read, which may be slow to come.
#[tokio::test]
async fn nothing_is_read_of_somebody_who_is_not_known() {
    let app = TestApp::start().await;
    for entry in &ROUTES {
        if !matches!(entry.access, Access::Session | Access::ApiKey(_)) {
            continue;
        }
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer nobody\r\ncontent-length: 9\r\n\r\n",
            entry.method,
            concrete(entry)
        );
        let said = wire::exchange(app.address, head.as_bytes()).await;
        assert_refused(&parse(&said), entry.path, 401, "unauthenticated");
    }
    app.stop().await;
}

/// Whoever acts as a user looks at everything and moves nothing.
#[tokio::test]
async fn who_acts_as_a_user_only_looks() {
    let project = "https://project.test.invalid";
    let app = TestApp::start_with(strict(project)).await;
    let mut claims = Door { app: &app, project }.clerk_claims();
    claims["act"] = json!({"sub": "user_operator"});
    let acting = Presented::bearer("an actor", &tokens::rs256(&claims));
    for entry in ROUTES
        .iter()
        .filter(|entry| entry.access == Access::Session)
    {
        let answer = call(&app, entry, &acting).await;
        if entry.method == "GET" {
            assert_eq!(answer.status, 200, "{}: {answer:?}", entry.path);
        } else {
            assert_refused(&answer, entry.path, 403, "impersonation_refused");
        }
    }
    app.stop().await;
}

/// What a session shows is its own user's, whatever else is asked for.
#[tokio::test]
async fn a_session_shows_nothing_of_another_user() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    for (source, delivery) in [
        (Source::Clerk, created(&user("user_1"))),
        (Source::Razorpay, captured(&paid)),
    ] {
        let answer = app.deliver(source, &delivery).await;
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    for entry in ROUTES
        .iter()
        .filter(|entry| entry.access == Access::Session)
    {
        if entry.method != "GET" {
            // Verify-payment: tests/verify.rs asks it for another one's purchase.
            assert_eq!(entry.path, "/v1/payments/verify");
            continue;
        }
        let [own, other] = ["user_1", "user_2"].map(|user_id| app.get_as(user_id, entry.path));
        let (own, other) = (own.await, other.await);
        let what = format!("{}: {} {}", entry.path, own.body, other.body);
        assert_eq!(
            (own.status.as_u16(), other.status.as_u16()),
            (200, 200),
            "{what}"
        );
        let numbers = |body: &Value| body.to_string();
        assert_ne!(numbers(&own.body), numbers(&other.body), "{what}");
        let said = format!("{} {:?}", other.body, other.headers);
        for text in ["user_1", "Asha", &paid.payment_id, "520", "500"] {
            assert!(!said.contains(text), "{text} in {what}");
        }
        for answer in [own, other] {
            assert_private(&answer);
        }
    }
    app.stop().await;
}
