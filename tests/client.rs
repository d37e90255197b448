//! The TypeScript client in `clients/typescript`: made from the description as it is now, and its example page against
//! the running service.
//!
//! Runs where Node is, with the packages that `make sdks` installs; elsewhere it says that it did not.

use std::path::{Path, PathBuf};
use std::process::Command;

use credit_ledger::http::openapi;
use credit_ledger::ledger::Source;
use serde_json::{Value, json};

use crate::support::app::SERVICE_KEY;
use crate::support::deliveries::{captured, checkout, created, payment, user};
use crate::support::{TestApp, node};

fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/typescript")
}

/// A tool of the packages with its arguments, and what it says where it fails.
#[track_caller]
fn run(folder: &Path, environment: &[(&str, String)], arguments: &[&str]) {
    let output = Command::new("node")
        .args(arguments)
        .envs(environment.iter().cloned())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn checkout_of(paid: &credit_ledger::provider::sample::SamplePayment) -> Value {
    let (order_id, payment_id, signature) = checkout(paid);
    json!({
        "razorpay_order_id": order_id,
        "razorpay_payment_id": payment_id,
        "razorpay_signature": signature,
    })
}

#[test]
fn the_types_are_made_from_the_description_as_it_is() {
    let Some(folder) = node::packages("typescript") else {
        return;
    };
    std::fs::write(folder.join("openapi.json"), openapi::text()).unwrap();
    let tool = "node_modules/openapi-typescript/bin/cli.js";
    run(&folder, &[], &[tool, "openapi.json", "-o", "made.ts"]);
    let made = std::fs::read_to_string(folder.join("made.ts")).unwrap();
    let committed = std::fs::read_to_string(client().join("src/schema.ts")).unwrap();
    assert!(
        made == committed,
        "run in clients/typescript: npm ci --ignore-scripts && npm run generate"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_after_checkout_shows_what_the_service_says() {
    let Some(folder) = node::packages("typescript") else {
        return;
    };
    // Next to the packages: Node looks for them from where the scripts are.
    for part in ["tsconfig.json", "src", "example", "test"] {
        copy(&client().join(part), &folder.join(part));
    }
    run(&folder, &[], &["node_modules/typescript/bin/tsc"]);

    let app = TestApp::start().await;
    let paid = payment(Some("user_buyer"));
    for (source, delivery) in [
        (Source::Clerk, created(&user("user_buyer"))),
        (Source::Razorpay, captured(&paid)),
    ] {
        let answer = app.deliver(source, &delivery).await;
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    let ledger = json!({
        "url": app.url(""),
        "sessions": { "buyer": app.token("user_buyer"), "other": app.token("user_other") },
        "serviceKey": SERVICE_KEY,
        "checkouts": {
            "paid": checkout_of(&paid),
            "unknown": checkout_of(&payment(Some("user_buyer"))),
        },
    });
    let test = "test/checkout.test.mjs";
    let said = [("LEDGER", ledger.to_string())];
    tokio::task::block_in_place(|| run(&folder, &said, &["--test", test]));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// A file, or a folder of files.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}
