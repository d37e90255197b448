//! The providers' own Node libraries against the service: what they sign is taken, what is changed afterwards is not,
//! and what we sign ourselves they take.
//!
//! Runs where Node is, with the packages that `make sdks` installs; elsewhere it says that it did not.

use std::io::Write as _;
use std::process::{Command, Stdio};

use chrono::TimeDelta;
use credit_ledger::provider::sample;
use credit_ledger::provider::sign::SignedDelivery;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::app::{Answer, CLERK_SECRET, RAZORPAY_SECRET, STRIPE_SECRET};
use crate::support::deliveries::{captured, created, payment, sale, told, unique, user};
use crate::support::{TestApp, node};

/// What `sign.mjs` says.
#[derive(Deserialize)]
struct Said {
    signed: Vec<serde_json::Map<String, Value>>,
    judged: Vec<Option<String>>,
}

/// Asks the libraries. `None`: they are not here.
fn libraries(sign: &[Value], judge: &[Value]) -> Option<Said> {
    let folder = node::packages("sdk")?;
    // Next to the packages: Node looks for them from where the script is.
    let script = folder.join("sign.mjs");
    std::fs::write(&script, include_str!("sdk/sign.mjs")).unwrap();
    let mut node = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let question = json!({ "sign": sign, "judge": judge }).to_string();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(question.as_bytes()).unwrap();
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "sign.mjs failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A body for a provider to sign. It has what breaks a signature over anything but the raw bytes: letters beyond ASCII,
/// escapes that no encoder here writes, blanks between members.
struct Case {
    provider: &'static str,
    secret: &'static str,
    body: String,
}

fn cases() -> Vec<Case> {
    let mut person = user("user_1");
    person.first_name = Some("Zoë 🦀".to_owned());
    let sign_up = sample::clerk_user_created(&person);
    let paid = sample::razorpay_payment_captured(&payment(Some("user_1")));
    let sold = sample::stripe::event(
        "checkout.session.completed",
        &unique("evt_"),
        &sale(Some("user_1")),
    )
    .unwrap();
    vec![
        Case {
            provider: "clerk",
            secret: CLERK_SECRET,
            body: serde_json::to_string_pretty(&sign_up).unwrap(),
        },
        Case {
            provider: "stripe",
            secret: STRIPE_SECRET,
            body: serde_json::to_string_pretty(&sold).unwrap(),
        },
        Case {
            provider: "razorpay",
            secret: RAZORPAY_SECRET,
            body: paid.to_string().replace("upi", r"\u0075p\u0069"),
        },
    ]
}

impl Case {
    fn event_id(&self) -> String {
        format!("of_{}", self.provider)
    }

    fn to_sign(&self) -> Value {
        json!({
            "provider": self.provider,
            "secret": self.secret,
            "id": self.event_id(),
            "body": self.body,
        })
    }
}

async fn deliver(
    app: &TestApp,
    provider: &str,
    headers: &serde_json::Map<String, Value>,
    body: &str,
) -> Answer {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    app.post(&format!("/webhooks/{provider}"), &headers, body.to_owned())
        .await
}

#[tokio::test]
async fn what_the_providers_libraries_sign_is_taken_and_nothing_that_was_changed_since() {
    let cases = cases();
    let to_sign: Vec<Value> = cases.iter().map(Case::to_sign).collect();
    let Some(said) = libraries(&to_sign, &[]) else {
        return;
    };
    let app = TestApp::start().await;
    for (case, headers) in cases.iter().zip(&said.signed) {
        let provider = case.provider;
        let tampered = case.body.replace("user_1", "user_2");
        assert_ne!(tampered, case.body, "{provider}");
        let reformatted = format!("{} ", case.body);
        for changed in [tampered, reformatted] {
            let answer = deliver(&app, provider, headers, &changed).await;
            answer.assert_problem(400, "invalid_signature");
        }
        let answer = deliver(&app, provider, headers, &case.body).await;
        answer.assert_ok(&json!({"status": "recorded"}));
        let again = deliver(&app, provider, headers, &case.body).await;
        again.assert_ok(&json!({"status": "duplicate"}));
    }
    assert_eq!(app.balance("user_1").await, 1020);
    assert_eq!(app.balance("user_2").await, 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Where the signature covers the time, a delivery is good for five minutes either way.
#[tokio::test]
async fn what_a_library_signed_long_ago_is_refused() {
    let app = TestApp::start().await;
    let mut to_sign = vec![];
    let mut expected = vec![];
    for case in cases().iter().filter(|case| case.provider != "razorpay") {
        for (minutes, status) in [(-6, 400), (-4, 200), (4, 200), (6, 400)] {
            let sent_at = app.now() + TimeDelta::minutes(minutes);
            let mut delivery = case.to_sign();
            delivery["sent_at_s"] = json!(sent_at.timestamp());
            to_sign.push(delivery);
            expected.push(StatusCode::from_u16(status).unwrap());
        }
    }
    let Some(said) = libraries(&to_sign, &[]) else {
        return app.stop().await;
    };
    for ((delivery, headers), expected) in to_sign.iter().zip(&said.signed).zip(expected) {
        let provider = delivery["provider"].as_str().unwrap();
        let body = delivery["body"].as_str().unwrap();
        let answer = deliver(&app, provider, headers, body).await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    app.stop().await;
}

/// `send`, the demo and these tests sign deliveries themselves: as the providers would.
#[test]
fn what_we_sign_is_taken_by_the_providers_libraries() {
    let judge = |provider: &str, secret: &str, delivery: &SignedDelivery, body: &str| {
        let headers: serde_json::Map<String, Value> = delivery
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({ "provider": provider, "secret": secret, "headers": headers, "body": body })
    };
    let ours = [
        ("clerk", CLERK_SECRET, created(&user("user_1"))),
        (
            "stripe",
            STRIPE_SECRET,
            told("invoice.paid", &sale(Some("user_1"))),
        ),
        (
            "razorpay",
            RAZORPAY_SECRET,
            captured(&payment(Some("user_1"))),
        ),
    ];
    let mut questions = vec![];
    for (provider, secret, delivery) in &ours {
        let body = String::from_utf8(delivery.body.clone()).unwrap();
        questions.push(judge(provider, secret, delivery, &body));
        questions.push(judge(provider, secret, delivery, &format!("{body} ")));
    }
    let Some(said) = libraries(&[], &questions) else {
        return;
    };
    for (question, verdict) in questions.iter().zip(&said.judged) {
        let changed = question["body"].as_str().unwrap().ends_with(' ');
        assert_eq!(
            verdict.is_some(),
            changed,
            "{} says {verdict:?}",
            question["provider"]
        );
    }
    assert_eq!(said.judged.len(), questions.len());
}
