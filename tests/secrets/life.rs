//! A whole life of the service, in which everything goes wrong that can, at the highest level of its log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{TimeDelta, Utc};
use credit_ledger::http::{Access, ROUTES};
use credit_ledger::provider::sample::{self, SampleUser};
use reqwest::Method;
use serde_json::{Value, json};

use super::faults::{a_rebuild_fails, commands, what_the_database_refuses, without_a_database};
use super::world::World;
use crate::routes::map::{concrete, needed_query};
use crate::support::app::{ADMIN_KEY, ISSUER, MINT, SERVICE_KEY};
use crate::support::deliveries::{
    captured, checkout, clerk, payment, razorpay, sale, stripe, unique, user,
};
use crate::support::tokens::SUPABASE_SECRET;
use crate::support::{tokens, wire};

pub const EMAIL: &str = "quillon.leakproof@example.com";
pub const FIRST_NAME: &str = "Quillonleak";
const LAST_NAME: &str = "Proofleakson";
const PAYER: &str = "payer.leakproof@example.com";
const IN_A_BODY: &str = "what-a-body-says-is-nobodys-business";
pub const REASON: &str = "the-reason-that-somebody-gave";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_says_no_secret_in_all_its_life() {
    let mut world = World::start().await;
    for (what, text) in [
        ("an e-mail address", EMAIL),
        ("a first name", FIRST_NAME),
        ("a last name", LAST_NAME),
        ("a payer's address", PAYER),
        ("a body", IN_A_BODY),
        ("a reason", REASON),
    ] {
        world.needles.personal(what, text);
    }
    sign_up_and_pay(&mut world).await;
    bad_deliveries(&mut world).await;
    every_route(&mut world).await;
    checkouts(&mut world).await;
    by_hand(&world).await;
    what_the_database_refuses(&mut world).await;
    world.look_at_what_is_open().await;
    commands(&mut world);
    a_rebuild_fails(&mut world).await;
    without_a_database(&mut world).await;
    world.look_at_what_is_open().await;
    let (found, log) = world.end();
    // So loud that what could be said was said: by the driver, the server, the client and the program.
    for said in [
        "executing statement batch",
        "preparing query",
        "poll_write: done",
        "request parse error",
        "pooling idle connection",
        "delivery refused",
        "a unit can not be stored",
        "the witness did not take",
        "public keys could not be fetched",
        "the private PostgreSQL is down",
        "violates check constraint",
    ] {
        assert!(log.contains(said), "{said} is not in {} bytes", log.len());
    }
    assert_eq!(found, Vec::<String>::new(), "in {} bytes", log.len());
}

pub fn somebody(user_id: &str) -> SampleUser {
    SampleUser {
        email: Some(EMAIL.to_owned()),
        first_name: Some(FIRST_NAME.to_owned()),
        last_name: Some(LAST_NAME.to_owned()),
        ..user(user_id)
    }
}

/// With something in it that nobody reads.
pub fn marked(mut body: Value) -> String {
    body["not_read"] = json!(IN_A_BODY);
    body.to_string()
}

async fn sign_up_and_pay(world: &mut World) {
    let sign_up = marked(sample::clerk_user_created(&somebody("user_1")));
    let mut paid = payment(None);
    paid.email = Some(PAYER.to_owned());
    let paid = marked(sample::razorpay_payment_captured(&paid));
    let mut sold = sale(Some("user_1"));
    sold.email = Some(PAYER.to_owned());
    let sold = sample::stripe::event("checkout.session.completed", &unique("evt_"), &sold);
    for (path, delivery) in [
        ("/webhooks/clerk", clerk("msg_1", sign_up)),
        ("/webhooks/razorpay", razorpay("evt_1", paid)),
        ("/webhooks/stripe", stripe(marked(sold.unwrap()))),
        ("/webhooks/razorpay", captured(&payment(Some("user_1")))),
    ] {
        for status in ["recorded", "duplicate"] {
            let (code, body) = world.deliver(path, &delivery).await.unwrap();
            assert_eq!((code, body["status"].as_str()), (200, Some(status)));
        }
    }
    for (key, what, body, status) in [
        (
            "key_1",
            "grants",
            json!({"amount": 5, "reason": REASON}),
            200,
        ),
        (
            "key_2",
            "spends",
            json!({"amount": 5, "reason": REASON, "reference": REASON}),
            200,
        ),
        (
            "key_2",
            "spends",
            json!({"amount": 6, "reason": REASON}),
            409,
        ),
        (
            "key_3",
            "spends",
            json!({"amount": 90_000, "reason": REASON}),
            402,
        ),
    ] {
        let request = world.request(Method::POST, &format!("/v1/users/user_1/{what}"));
        let request = request
            .bearer_auth(SERVICE_KEY)
            .header("idempotency-key", key);
        assert_eq!(world.status(request.json(&body)).await, status, "{what}");
    }
}

/// Signed wrongly, cut, no JSON, of no use.
async fn bad_deliveries(world: &mut World) {
    for path in ["/webhooks/clerk", "/webhooks/razorpay", "/webhooks/stripe"] {
        let body = marked(sample::clerk_user_created(&somebody("user_2")));
        let sign = |body: String| match path {
            "/webhooks/clerk" => clerk(&unique("msg_"), body),
            "/webhooks/razorpay" => razorpay(&unique("evt_"), body),
            _ => stripe(body),
        };
        let good = sign(body.clone());
        let mut changed = good.clone();
        changed.body.extend(b" ");
        let mut unsigned = good.clone();
        unsigned.headers.clear();
        let mut doubled = good.clone();
        doubled.headers.extend(good.headers.clone());
        let garbage = sign(format!("{{\"{IN_A_BODY}: {EMAIL}"));
        let useless = sign(json!({"type": IN_A_BODY, "event": EMAIL, "data": [EMAIL]}).to_string());
        for delivery in [changed, unsigned, doubled, garbage, useless] {
            world.deliver(path, &delivery).await.unwrap();
        }
        let huge = sign(format!("\"{}\"", IN_A_BODY.repeat(40_000)));
        // It may be refused while it is still sent.
        world.deliver(path, &huge).await;
    }
}

/// Everything that opens something or looks like it; each is a secret.
fn credentials(world: &mut World) -> Vec<String> {
    let now = Utc::now();
    let claims = tokens::clerk_claims("user_1", now);
    let mut supabase = tokens::supabase_claims(&world.providers.uri(), now);
    supabase["email"] = json!(EMAIL);
    let good = tokens::hs256(SUPABASE_SECRET.as_bytes(), &supabase);
    supabase["role"] = json!("service_role");
    let old = MINT.clerk_token("user_1", ISSUER, None, now - TimeDelta::hours(1), 60);
    let mut all = vec![
        tokens::rs256(&claims),
        old.unwrap(),
        good,
        tokens::hs256(SUPABASE_SECRET.as_bytes(), &supabase),
        tokens::hs256(b"another-secret-of-at-least-32-bytes", &supabase),
        tokens::unsigned("none", &claims),
        format!("cl_{}", "0a".repeat(38)),
        "a-key-that-nobody-has-made-0000".to_owned(),
    ];
    for (number, token) in all.iter().enumerate() {
        world.needles.secret(&format!("credential {number}"), token);
        for part in token.split('.').filter(|part| part.len() > 60) {
            world.needles.secret("a part of a token", part);
        }
    }
    all.push(ADMIN_KEY.to_owned());
    all
}

async fn every_route(world: &mut World) {
    let all = credentials(world);
    for entry in &ROUTES {
        let method: Method = entry.method.parse().unwrap();
        let path = concrete(entry);
        let query = needed_query(entry);
        for credential in &all {
            let bodies = [
                json!({"amount": 1, "reason": REASON, "actor": "ops", "plan": "pro", "credits": 1}),
                json!({"amount": IN_A_BODY, "reason": [EMAIL], IN_A_BODY: EMAIL}),
                json!({"items": [{"type": IN_A_BODY, "user_id": EMAIL, "amount": REASON}], "mode": EMAIL}),
            ];
            for body in bodies {
                let request = world.request(method.clone(), &format!("{path}?{query}"));
                let request = request
                    .bearer_auth(credential)
                    .header("idempotency-key", unique("k"));
                world.status(request.body(body.to_string())).await;
            }
            for (name, value) in [
                ("authorization", credential.clone()),
                (
                    "authorization",
                    format!("Basic {}", STANDARD.encode(format!("me:{credential}"))),
                ),
                ("x-api-key", credential.clone()),
                ("cookie", format!("__session={credential}")),
            ] {
                let request = world.request(method.clone(), &path).header(name, value);
                world.status(request.body(format!("{{\"{IN_A_BODY}"))).await;
            }
            for path in [
                format!("{path}?api_key={credential}"),
                format!("{path}?{credential}"),
                format!("{path}/{credential}"),
            ] {
                world
                    .status(world.request(method.clone(), &path).bearer_auth(ADMIN_KEY))
                    .await;
            }
        }
        if entry.access == Access::Session {
            let token = world_session();
            world.needles.secret("a session", &token);
            let request = world.request(method, &path).bearer_auth(&token);
            world.status(request.body("{}")).await;
        }
    }
}

fn world_session() -> String {
    MINT.clerk_token("user_1", ISSUER, None, Utc::now(), 60)
        .unwrap()
}

/// Checkouts that the providers' APIs answer in every way.
async fn checkouts(world: &mut World) {
    let token = world_session();
    world.needles.secret("a session", &token);
    for answer in ["401", "500", "400", "200", "302", "404"] {
        let mut paid = payment(None);
        paid.payment_id = format!("pay_{:0>11}{answer}", unique("").split_off(4));
        paid.order_id = Some(format!("order_{:0>11}{answer}", unique("").split_off(4)));
        let (order_id, payment_id, signature) = checkout(&paid);
        world.needles.secret("a checkout's signature", &signature);
        let forged = signature.replace(['0', '1', '2'], "f");
        for signature in [&signature, &forged, &signature[..40].to_owned()] {
            let body = json!({
                "razorpay_order_id": order_id,
                "razorpay_payment_id": payment_id,
                "razorpay_signature": signature,
            });
            let request = world.request(Method::POST, "/v1/payments/verify");
            world.status(request.bearer_auth(&token).json(&body)).await;
        }
        let body = json!({"stripe_session_id": format!("cs_test_a{answer}")});
        let request = world.request(Method::POST, "/v1/payments/verify");
        world.status(request.bearer_auth(&token).json(&body)).await;
    }
}

/// What no good client would send.
async fn by_hand(world: &World) {
    for request in [
        format!("GET /v1/users HTTP/1.1\r\nauthorization Bearer {ADMIN_KEY}\r\n\r\n"),
        format!("GET /v1/users?key={ADMIN_KEY} HTTP/9.9\r\n\r\n"),
        format!("{ADMIN_KEY} {EMAIL}\r\n\r\n"),
        format!(
            "GET /v1/users HTTP/1.1\r\nauthorization: Bearer {ADMIN_KEY}\r\nx: \0{EMAIL}\r\n\r\n"
        ),
        format!(
            "POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{IN_A_BODY}"
        ),
        format!(
            "POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\ncontent-length: {IN_A_BODY}\r\n\r\n{EMAIL}"
        ),
    ] {
        let answer = wire::break_off(world.service.address, request.as_bytes()).await;
        assert_eq!(world.needles.in_log(&answer), Vec::<String>::new());
    }
}
