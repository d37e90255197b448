//! The description of the API against the running service: Schemathesis makes requests of all kinds from it, and no
//! answer may be a fault, have a status, a content type or a header that is not described, or a body of another shape.
//!
//! Runs where the packages are that `make schemathesis` installs; elsewhere it says that it did not.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use credit_ledger::http::openapi;
use credit_ledger::ledger::{Credits, Source};
use credit_ledger::provider::sample;
use serde_json::json;
use tokio::process::Command;

use crate::support::app::{ADMIN_KEY, ISSUER, MINT, answer};
use crate::support::deliveries::{captured, clerk, payment, user};
use crate::support::{Options, TestApp, not_run};

/// How long one session may last, which is longer than any test.
const SESSION_TTL_S: u32 = 3600;

/// Where the program is, if its packages are installed.
fn schemathesis() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("schemathesis/bin/st");
    if program.is_file() {
        return Some(program);
    }
    not_run("Schemathesis is not installed: `make schemathesis` does it");
    None
}

/// Settings with which every route has something to do.
fn rewarding() -> Options {
    let some = Credits::new(5).unwrap();
    Options {
        configure: Arc::new(move |config| {
            config.referral.referred_credits = some;
            config.referral.referrer_credits = some;
        }),
        ..Options::default()
    }
}

/// The user, the delivery and the purchase that the description has as examples; who has the session is somebody else,
/// whom nobody deletes.
async fn with_examples(app: &TestApp) {
    let mut paid = payment(Some("user_2abc"));
    "pay_2abc".clone_into(&mut paid.payment_id);
    let sign_up = sample::clerk_user_created(&user("user_2abc"));
    for (source, delivery) in [
        (Source::Clerk, clerk("msg_2abc", sign_up.to_string())),
        (Source::Razorpay, captured(&paid)),
        (Source::Razorpay, captured(&payment(Some("user_session")))),
        (Source::Razorpay, captured(&payment(None))),
    ] {
        let answer = app.deliver(source, &delivery).await;
        answer.assert_ok(&json!({"status": "recorded"}));
    }
}

#[tokio::test]
async fn the_service_does_what_its_description_says() {
    let Some(program) = schemathesis() else {
        return;
    };
    let app = TestApp::start_with(rewarding()).await;
    with_examples(&app).await;
    let session = MINT
        .clerk_token("user_session", ISSUER, None, app.now(), SESSION_TTL_S)
        .unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi");
    let output = Command::new(program)
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &app.url("/openapi.json"), "--no-color"])
        .env("SESSION_TOKEN", session)
        .env("API_KEY", ADMIN_KEY)
        // It keeps a folder of its own where it runs.
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// What is served is what is committed, and what clients are made from.
#[tokio::test]
async fn the_description_is_served() {
    let app = TestApp::start().await;
    let served = answer(app.request(reqwest::Method::GET, "/openapi.json")).await;
    assert_eq!(served.status, 200);
    assert_eq!(served.headers["content-type"], "application/json");
    assert_eq!(served.body, openapi::document());
    app.stop().await;
}
