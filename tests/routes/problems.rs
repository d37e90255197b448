//! Every problem of the contract is the answer to some request.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use credit_ledger::access::KeySource;
use credit_ledger::http::problem::Code;
use credit_ledger::ledger::{Credits, Source};
use reqwest::Method;
use serde_json::{Value, json};

use super::headers::assert_private;
use super::map::SHARD_OF_USER_1;
use crate::support::app::{AUDIT_KEY, Answer, SERVICE_KEY, answer};
use crate::support::deliveries::{captured, checkout, created, deleted, payment, user};
use crate::support::{Options, TestApp, tokens, wire};

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

/// An answer as it was on the wire.
pub fn parse(answer: &str) -> Answer {
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
        assert_private(&answer);
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
