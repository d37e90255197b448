//! `audit what-if`: by hand. That the same rules change nothing is also asked after the random stories of other tests, see
//! [`TestApp::assert_audit_is_clean`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use credit_ledger::audit::what_if::{Report, Why};
use credit_ledger::config::OtherRules;
use credit_ledger::ledger::{Account, LedgerError, Source};
use credit_ledger::provider::sample::stripe::StripeSale;
use credit_ledger::provider::sample::{self, SampleDispute, SamplePayment, SampleRefund};
use serde_json::{Value, json};

use crate::crash::service::DataDir;
use crate::support::deliveries::{captured, created, payment, razorpay, sale, told, unique, user};
use crate::support::{Options, TestApp};

/// Looks for nothing by itself, at a time that stands still.
async fn still() -> (TestApp, DateTime<Utc>) {
    let app = TestApp::start_with(Options {
        configure: Arc::new(|config| config.upkeep_every = Duration::from_hours(1)),
        ..Options::default()
    })
    .await;
    app.looked_once().await;
    let begin = Utc.timestamp_opt(Utc::now().timestamp() + 5, 0).unwrap();
    app.stop_clock(begin);
    (app, begin)
}

fn rules(toml: &str) -> OtherRules {
    let path =
        std::env::temp_dir().join(format!("{}-{}.toml", std::process::id(), unique("other_")));
    std::fs::write(&path, toml).unwrap();
    let rules = OtherRules::load(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    rules
}

async fn sign_up(app: &TestApp, user_id: &str) {
    let answer = app.deliver(Source::Clerk, &created(&user(user_id))).await;
    answer.assert_ok(&json!({"status": "recorded"}));
}

async fn buy(app: &TestApp, user_id: &str, sku: Option<&str>, amount_minor: i64) -> SamplePayment {
    let paid = SamplePayment {
        sku: sku.map(str::to_owned),
        amount_minor,
        ..payment(Some(user_id))
    };
    let answer = app.deliver(Source::Razorpay, &captured(&paid)).await;
    answer.assert_ok(&json!({"status": "recorded"}));
    paid
}

async fn refund(app: &TestApp, paid: &SamplePayment, amount_minor: i64) {
    let refund = SampleRefund {
        refund_id: unique("rfnd_"),
        amount_minor,
        refunded_total_minor: amount_minor,
    };
    let body = sample::razorpay_refund("refund.created", paid, &refund);
    let delivery = razorpay(&unique("evt"), body.to_string());
    let answer = app.deliver(Source::Razorpay, &delivery).await;
    answer.assert_ok(&json!({"status": "recorded"}));
}

async fn post(app: &TestApp, path: &str, body: Value) -> Value {
    let answer = app.post_new(path, &body).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.body
}

async fn reverse(app: &TestApp, entry_id: &str, amount: i64) {
    let path = format!("/v1/spends/{entry_id}/reverse");
    post(app, &path, json!({"amount": amount})).await;
}

async fn hold(app: &TestApp, user_id: &str, amount: i64) -> String {
    let body = json!({"amount": amount, "expires_in_s": 86_400});
    let placed = post(app, &format!("/v1/users/{user_id}/holds"), body).await;
    placed["hold_id"].as_str().unwrap().to_owned()
}

fn shown(account: &Account) -> [i64; 4] {
    let Account {
        balance,
        held,
        debt,
        ..
    } = account;
    [balance.get(), held.get(), account.available(), debt.get()]
}

/// User, what is, what would be: balance, held, available, debt.
fn differences(report: &Report) -> Vec<(&str, [i64; 4], [i64; 4])> {
    let differences = report.differences.iter();
    differences
        .map(|one| (one.user_id.as_str(), shown(&one.old), shown(&one.new)))
        .collect()
}

fn refusals(report: &Report) -> Vec<(&str, String)> {
    let refusals = report.refusals.iter();
    refusals
        .map(|one| (one.event_type, one.why.to_string()))
        .collect()
}

const TWICE: &str = r#"
[signup]
bonus_credits = 40
[[catalog]]
sku = "credits_500"
credits = 1000
prices = [ { currency = "INR", amount_minor = 1 } ]
[[catalog]]
sku = "credits_100"
credits = 200
prices = [ { currency = "INR", amount_minor = 2 } ]
expires_after_days = 365
"#;

#[tokio::test]
async fn twice_the_credits_leave_what_was_not_spent() {
    let app = TestApp::start().await;
    // Spends 300, gets 50 of it back, and half of the money: of 500 are left 20, of 1000 with a bonus of 40 are left 290.
    sign_up(&app, "user_1").await;
    let paid = buy(&app, "user_1", Some("credits_500"), 49_900).await;
    let spent = app.spend("user_1", 300).await.text("entry_id");
    reverse(&app, &spent, 50).await;
    refund(&app, &paid, 24_950).await;
    // Spends 500 and gets all of the money back: owes 500, whatever it was given.
    let paid = buy(&app, "user_2", Some("credits_500"), 49_900).await;
    app.spend("user_2", 500)
        .await
        .assert_ok(&json!({"spent": 500}));
    refund(&app, &paid, 49_900).await;
    // Spends 60 and holds 30 of 100.
    buy(&app, "user_3", Some("credits_100"), 9900).await;
    app.spend("user_3", 60)
        .await
        .assert_ok(&json!({"spent": 60}));
    hold(&app, "user_3", 30).await;
    // What was given by hand stays as it was.
    app.grant("user_4", 7).await;
    let report = app.what_if(&rules(TWICE)).await;
    assert_eq!(
        differences(&report),
        [
            ("user_1", [20, 0, 20, 0], [290, 0, 290, 0]),
            ("user_3", [40, 30, 10, 0], [140, 30, 110, 0]),
        ]
    );
    let (old, new) = (report.old, report.new);
    assert_eq!([old.balance, old.available, old.debt], [67, 37, 500]);
    assert_eq!([new.balance, new.available, new.debt], [437, 407, 500]);
    assert_eq!((report.users, report.purchases), (4, 3));
    assert_eq!(report.refusals, vec![]);
    app.assert_audit_is_clean().await;
    app.assert_own_rules_come_to_the_same().await;
    app.stop().await;
}

const LESS: &str = r#"
[signup]
bonus_credits = 0
[[catalog]]
sku = "credits_500"
credits = 100
prices = [ { currency = "INR", amount_minor = 49900 } ]
"#;

#[tokio::test]
async fn what_there_are_too_few_credits_for_is_refused_with_all_that_follows() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    buy(&app, "user_1", Some("credits_500"), 49_900).await;
    let spent = app.spend("user_1", 300).await.text("entry_id");
    let held = hold(&app, "user_1", 101).await;
    app.spend("user_1", 60)
        .await
        .assert_ok(&json!({"spent": 60}));
    reverse(&app, &spent, 10).await;
    post(
        &app,
        &format!("/v1/holds/{held}/capture"),
        json!({"amount": 1}),
    )
    .await;
    let other = hold(&app, "user_1", 40).await;
    post(&app, &format!("/v1/holds/{other}/capture"), json!({})).await;
    // A pack that is not sold there.
    buy(&app, "user_2", Some("credits_100"), 9900).await;
    let report = app.what_if(&rules(LESS)).await;
    let too_few = |required: i64, available: i64| {
        format!("{required} credits are needed and {available} are available")
    };
    let gone = || "what it is about was refused before".to_owned();
    assert_eq!(
        refusals(&report),
        [
            ("CreditsSpent", too_few(300, 100)),
            ("CreditsHeld", too_few(101, 100)),
            ("SpendReversed", gone()),
            ("HoldCaptured", gone()),
        ]
    );
    assert_eq!(report.refused, 4);
    let short = app.what_if_listing(&rules(LESS), 1).await;
    assert_eq!((short.refused, short.refusals.len()), (4, 1));
    assert_eq!(short.refusals[0], report.refusals[0]);
    assert!(matches!(
        report.refusals[0].why,
        Why::Rule(LedgerError::InsufficientCredits { .. })
    ));
    assert_eq!(
        differences(&report),
        [
            ("user_1", [129, 0, 129, 0], [0; 4]),
            ("user_2", [100, 0, 100, 0], [0; 4]),
        ]
    );
    assert_eq!(report.purchases, 2);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

const MORE_PRICES: &str = r#"
[[catalog]]
sku = "credits_500"
credits = 500
prices = [ { currency = "INR", amount_minor = 49900 }, { currency = "USD", amount_minor = 599 } ]
[[catalog]]
sku = "credits_700"
credits = 700
prices = [ { currency = "INR", amount_minor = 59900 } ]
expires_after_days = 1
[[catalog]]
sku = "credits_800"
credits = 800
prices = [ { currency = "INR", amount_minor = 59900 }, { currency = "INR", amount_minor = 69900 } ]
[[catalog]]
sku = "credits_900"
credits = 900
prices = [ { currency = "INR", amount_minor = 79900 } ]
"#;

#[tokio::test]
async fn what_fitted_nothing_is_priced_by_its_amount_if_only_one_pack_has_it() {
    let app = TestApp::start().await;
    // Two packs have this amount; one has the next; nobody resolves them.
    buy(&app, "user_1", None, 59_900).await;
    buy(&app, "user_2", None, 69_900).await;
    // An operator said what this one buys.
    let paid = buy(&app, "user_3", None, 79_900).await;
    let path = format!("/v1/admin/purchases/razorpay:{}/resolve", paid.payment_id);
    let body = json!({"credits": 5, "reason": "a test"});
    app.post_as_operator(&path, &body)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    // A payment intent is never priced by its amount, which today's catalog has, too.
    let intent = StripeSale {
        sku: None,
        ..sale(Some("user_4"))
    };
    app.deliver(Source::Stripe, &told("payment_intent.succeeded", &intent))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let report = app.what_if(&rules(MORE_PRICES)).await;
    assert_eq!(differences(&report), [("user_2", [0; 4], [800, 0, 800, 0])]);
    assert_eq!((report.purchases, report.users), (1, 2));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn another_order_of_burning_changes_who_pays_for_an_end() {
    let (app, begin) = still().await;
    let ends = (begin + TimeDelta::days(10)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for user_id in ["user_1", "user_2"] {
        buy(&app, user_id, Some("credits_500"), 49_900).await;
        let promo = json!({"amount": 100, "reason": "a test", "kind": "promo", "expires_at": ends});
        post(&app, &format!("/v1/users/{user_id}/grants"), promo).await;
    }
    app.stop_clock(begin + TimeDelta::days(1));
    // The promotion ends first, so it burns first: of 80 used nothing is paid, and 20 end.
    app.spend("user_1", 50)
        .await
        .assert_ok(&json!({"spent": 50}));
    let held = hold(&app, "user_1", 40).await;
    post(
        &app,
        &format!("/v1/holds/{held}/capture"),
        json!({"amount": 30}),
    )
    .await;
    // All of the promotion, then 50 of what is paid.
    app.spend("user_2", 150)
        .await
        .assert_ok(&json!({"spent": 150}));
    app.stop_clock(begin + TimeDelta::days(11));
    let paid_first = rules("[burn]\npaid = 0");
    let report = app.what_if(&paid_first).await;
    assert_eq!(
        differences(&report),
        [
            ("user_1", [500, 0, 500, 0], [420, 0, 420, 0]),
            ("user_2", [450, 0, 450, 0], [350, 0, 350, 0]),
        ]
    );
    let as_it_is = rules("[burn]\npaid = 100\npromo = 100");
    assert_eq!(app.what_if(&as_it_is).await.differences, vec![]);
    let promo_first = rules("[burn]\npromo = 0");
    assert_eq!(app.what_if(&promo_first).await.differences, vec![]);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// One user who goes through everything.
#[tokio::test]
async fn the_same_rules_come_to_the_same() {
    let app = TestApp::start().await;
    sign_up(&app, "user_1").await;
    // Two ids of the same money, one of them refunded before it is known what it is a part of.
    let bought = sale(Some("user_1"));
    for event_type in [
        "payment_intent.succeeded",
        "charge.refunded",
        "invoice_payment.paid",
        "invoice.paid",
    ] {
        let answer = app
            .deliver(Source::Stripe, &told(event_type, &bought))
            .await;
        assert_eq!(answer.status, 200, "{event_type}: {answer:?}");
    }
    // A payment that names nobody belongs to whoever has proven to own the payer's address.
    let nobodys = SamplePayment {
        email: Some("user_1@example.com".to_owned()),
        ..payment(None)
    };
    app.deliver(Source::Razorpay, &captured(&nobodys)).await;
    app.idle().await;
    let paid = buy(&app, "user_1", Some("credits_100"), 9900).await;
    refund(&app, &paid, 3000).await;
    let ends = Utc::now() + TimeDelta::seconds(1000);
    let ends = ends.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let ending = json!({"amount": 30, "reason": "a test", "expires_at": ends, "priority": 200});
    post(&app, "/v1/users/user_1/grants", ending).await;
    hold(&app, "user_1", 15).await;
    let spent = app.spend("user_1", 400).await.text("entry_id");
    app.move_clock(TimeDelta::seconds(90_000));
    reverse(&app, &spent, 390).await;
    let contested = SampleDispute {
        dispute_id: "disp_1".to_owned(),
        amount_minor: 49_900,
        phase: "chargeback",
    };
    for step in ["created", "lost"] {
        let event_type = format!("payment.dispute.{step}");
        let body = sample::razorpay_dispute(&event_type, &nobodys, &contested);
        let delivery = razorpay(&unique("evt"), body.to_string());
        let answer = app.deliver(Source::Razorpay, &delivery).await;
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    let kinds = "select count(distinct event_type) from events";
    assert!(app.count(kinds).await >= 18, "{}", app.count(kinds).await);
    app.assert_audit_is_clean().await;
    app.assert_own_rules_come_to_the_same().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_what_would_be() {
    let data = DataDir::new();
    let service = data.serve();
    let url = format!("http://{}", service.address);
    for user_id in ["user_1", "user_2"] {
        let send = [
            "send",
            "clerk",
            "user.created",
            "--user",
            user_id,
            "--url",
            &url,
        ];
        data.said(&send, 0);
    }
    let file = |name: &str, toml: &str| {
        let path = data.0.join(name);
        std::fs::write(&path, toml).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let other = file("other.toml", "[signup]\nbonus_credits = 50\n");
    let asked = ["audit", "what-if", "--catalog", &other, "--limit", "1"];
    assert_eq!(
        data.said(&asked, 0),
        "user_1: balance 20 → 50, available 20 → 50, debt 0 → 0\n\
         and 1 more\n\
         all: balance 40 → 100, available 40 → 100, debt 0 → 0\n\
         4 events: 2 of 2 users would have something else, 0 purchases would give other credits, \
         0 calls would be refused\n"
    );
    let json = [&asked[..4], &["--json"]].concat();
    let said: Value = serde_json::from_str(&data.said(&json, 0)).unwrap();
    assert_eq!(said["users_that_differ"], 2);
    assert_eq!(said["items"][1]["new"]["available"], 50);
    assert_eq!(
        said["new"],
        json!({"balance": 100, "available": 100, "debt": 0})
    );
    // The settings themselves are rules, too, and change nothing.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/settings.toml");
    let said = data.said(&["audit", "what-if", "--catalog", own.to_str().unwrap()], 0);
    assert!(
        said.contains("0 of 2 users would have something else"),
        "{said}"
    );
    let wrong = file("wrong.toml", "[burn]\ngold = 1\n");
    assert!(
        data.said(&["audit", "what-if", "--catalog", &wrong], 1)
            .contains("wrong.toml")
    );
    data.said(&["audit", "what-if"], 2);
    drop(service);
}

/// Purchases that lived elsewhere before they were their users', on whichever side of the users' shards.
#[tokio::test]
async fn what_happened_in_one_moment_is_told_in_an_order_that_was_possible() {
    let (app, begin) = still().await;
    let ends = (begin + TimeDelta::seconds(10)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for number in 0..12 {
        let user_id = format!("user_{number}");
        // Burns behind what is paid, so that it matters which came first.
        let last = json!({"amount": 10, "reason": "a test", "priority": 200, "expires_at": ends});
        post(&app, &format!("/v1/users/{user_id}/grants"), last).await;
        let paid = SamplePayment {
            payment_id: format!("pay_{number}"),
            ..payment(None)
        };
        app.deliver(Source::Razorpay, &captured(&paid)).await;
        app.spend(&user_id, 5).await.assert_ok(&json!({"spent": 5}));
        let path = format!("/v1/admin/purchases/razorpay:pay_{number}/resolve");
        let body = json!({"user_id": user_id, "reason": "a test"});
        app.post_as_operator(&path, &body)
            .await
            .assert_ok(&json!({"status": "recorded"}));
        app.spend(&user_id, 400)
            .await
            .assert_ok(&json!({"spent": 400}));
    }
    let sides = "select count(distinct p.shard < u.shard) from events p join events u on u.payload->>'purchase_id' = p.aggregate_id
                  where p.event_type = 'PurchaseClaimed' and p.shard <> u.shard and p.recorded_at = u.recorded_at";
    assert_eq!(app.count(sides).await, 2);
    app.stop_clock(begin + TimeDelta::seconds(10));
    assert_eq!(app.account("user_0").await, [100, 0, 100, 0]);
    app.assert_audit_is_clean().await;
    app.assert_own_rules_come_to_the_same().await;
    app.stop().await;
}
