//! Each kind by itself, and all at once.

use std::time::Duration;

use credit_ledger::ledger::Source;
use credit_ledger::provider::Catalog;
use credit_ledger::provider::sample::SamplePayment;
use credit_ledger::provider::sample::stripe::{StripeSale, invoice};
use serde_json::{Value, json};

use super::{
    actions, ambiguous, broken, deliver, deliver_unseen, dry_run, found, hopeless,
    known_by_an_update, mended, operators_events, options, parked, pay, recover, repair, tables,
    texts, unclaimed,
};
use crate::support::deliveries::{
    captured, checkout, created, deleted, order_paid, payment, sale, stripe_event, told, user,
};
use crate::support::razorpay_api::RazorpayApi;
use crate::support::{Options, TestApp, integrity};

/// Looks, repairs, looks again: a dry run plans exactly this one thing, a run does it, and then nothing is left.
async fn assert_repaired(app: &TestApp, counts: &Value, thing: [&str; 3], detail: &Value) {
    let [kind, id, deed] = thing;
    app.idle().await;
    let before = tables(app).await;
    let planned = dry_run(app).await;
    planned.assert_ok(&json!({"dry_run": true, "found": counts, "next_cursor": null}));
    assert_eq!(actions(&planned), texts(&[[kind, id, deed, "planned"]]));
    assert_eq!(planned.body["actions"][0]["detail"], *detail);
    assert_eq!(tables(app).await, before, "a dry run changes nothing");

    let done = repair(app).await;
    done.assert_ok(&json!({"dry_run": false, "found": counts, "next_cursor": null}));
    assert_eq!(actions(&done), texts(&[[kind, id, deed, "done"]]));
    app.idle().await;

    let before = tables(app).await;
    for again in [repair(app).await, dry_run(app).await] {
        again.assert_ok(&json!({"found": found(0, 0, 0, 0), "actions": [], "next_cursor": null}));
    }
    assert_eq!(tables(app).await, before, "nothing was left to do");
    integrity::assert_log_is_whole(app).await;
    app.assert_audit_is_clean().await;
}

async fn assert_operator_caused(app: &TestApp, expected: &[(&str, &str)]) {
    let expected: Vec<[String; 4]> = expected
        .iter()
        .map(|(event_type, source)| {
            [event_type, source, "admin", "ticket 12"].map(|text| (*text).to_owned())
        })
        .collect();
    assert_eq!(operators_events(app).await, expected);
}

#[tokio::test]
async fn parked_deliveries_are_tried_again() {
    let app = TestApp::start_with(options(|_| {})).await;
    let key = parked(&app, "user_1").await;
    let id = format!("razorpay/{key}");
    assert_repaired(
        &app,
        &found(1, 0, 0, 0),
        ["parked", &id, "retry"],
        &Value::Null,
    )
    .await;
    assert_eq!(app.balance("user_1").await, 500);
    let caused = [
        ("CreditsPurchased", "razorpay"),
        ("PaymentCaptured", "razorpay"),
    ];
    assert_operator_caused(&app, &caused).await;
    app.stop().await;
}

#[tokio::test]
async fn a_user_gets_the_signup_bonus_that_never_came() {
    let app = TestApp::start_with(broken()).await;
    deliver(&app, Source::Clerk, &created(&user("user_1"))).await;
    // Gone, or known by money alone: no sign-up to give a bonus for.
    deliver(&app, Source::Clerk, &created(&user("user_gone"))).await;
    deliver(&app, Source::Clerk, &deleted("user_gone")).await;
    dry_run(&app).await.assert_ok(
        // A bonus of nothing is missed by nobody.
        &json!({"found": found(0, 0, 0, 0), "actions": []}),
    );
    let app = mended(app).await;
    pay(&app, &payment(Some("user_payer"))).await;
    deliver(&app, Source::Clerk, &created(&user("user_good"))).await;
    assert_repaired(
        &app,
        &found(0, 1, 0, 0),
        ["no_bonus", "user_1", "grant_bonus"],
        &json!("20"),
    )
    .await;
    assert_eq!(app.balance("user_1").await, 20);
    assert_operator_caused(&app, &[("SignupBonusGranted", "admin")]).await;
    app.stop().await;
}

/// A subscription names its user, who never signed up.
#[tokio::test]
async fn a_plan_alone_is_no_sign_up() {
    let app = TestApp::start_with(options(|config| {
        let pack = json!({
            "sku": "pro", "credits": 1, "prices": [{ "currency": "USD", "amount_minor": 2000 }],
            "plan": "pro", "stripe_price_ids": ["price_pro"],
        });
        let pack = serde_json::from_value(pack).unwrap();
        config.rules.catalog = Catalog::new(vec![pack]).unwrap();
    }))
    .await;
    let subscribed = StripeSale {
        price_id: Some("price_pro".to_owned()),
        ..sale(Some("user_1"))
    };
    let subscribed = told("customer.subscription.created", &subscribed);
    deliver(&app, Source::Stripe, &subscribed).await;
    assert_eq!(
        app.count("select count(*) from users where plan = 'pro'")
            .await,
        1
    );
    dry_run(&app)
        .await
        .assert_ok(&json!({"found": found(0, 0, 0, 0), "actions": []}));
    app.stop().await;
}

/// The sign-up arrives after the operator gave its bonus: there is one bonus.
#[tokio::test]
async fn a_signup_that_arrives_after_all_brings_no_second_bonus() {
    let app = TestApp::start_with(options(|_| {})).await;
    known_by_an_update(&app, "user_1").await;
    assert_repaired(
        &app,
        &found(0, 1, 0, 0),
        ["no_bonus", "user_1", "grant_bonus"],
        &json!("20"),
    )
    .await;
    deliver(&app, Source::Clerk, &created(&user("user_1"))).await;
    assert_eq!(app.balance("user_1").await, 20);
    integrity::assert_log_is_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_purchase_is_priced_by_todays_catalog() {
    let app = TestApp::start_with(broken()).await;
    let id = pay(&app, &payment(Some("user_1"))).await;
    dry_run(&app)
        .await
        .assert_ok(&json!({"found": found(0, 0, 1, 0)}));
    let app = mended(app).await;
    assert_repaired(
        &app,
        &found(0, 0, 1, 0),
        ["unpriced", &id, "price"],
        &json!("credits_500"),
    )
    .await;
    assert_eq!(app.balance("user_1").await, 500);
    let caused = [("CreditsPurchased", "admin"), ("PurchasePriced", "admin")];
    assert_operator_caused(&app, &caused).await;
    app.stop().await;
}

/// The payment's own notes say nothing: what it buys stands in the order's, which another delivery brought.
#[tokio::test]
async fn every_delivery_that_led_to_a_purchase_is_read_again() {
    let app = TestApp::start_with(broken()).await;
    let mut paid = payment(None);
    paid.sku = None;
    let id = pay(&app, &paid).await;
    let full = SamplePayment {
        user_id: Some("user_1".to_owned()),
        sku: Some("credits_500".to_owned()),
        ..paid
    };
    deliver(&app, Source::Razorpay, &order_paid(&full)).await;
    app.idle().await;
    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, ambiguous()).await;
    assert_repaired(
        &app,
        &found(0, 0, 1, 0),
        ["unpriced", &id, "price"],
        &json!("credits_500"),
    )
    .await;
    assert_eq!(app.balance("user_1").await, 500);
    app.stop().await;
}

/// The payment intent, which names no pack, was recorded first; the session, which does, made it a part of the session's
/// purchase, or the other way round.
#[tokio::test]
async fn a_sale_that_stripe_told_of_under_two_ids_is_priced_once() {
    for order in [
        ["payment_intent.succeeded", "checkout.session.completed"],
        ["checkout.session.completed", "payment_intent.succeeded"],
    ] {
        let app = TestApp::start_with(broken()).await;
        let sale = sale(Some("user_1"));
        for event_type in order {
            let answer = app.deliver(Source::Stripe, &told(event_type, &sale)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let app = mended(app).await;
        let list = app
            .get_as_operator("/v1/admin/purchases?status=unpriced")
            .await;
        let items = list.body["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{list:?}");
        let id = items[0]["purchase_id"].as_str().unwrap();
        assert_repaired(
            &app,
            &found(0, 0, 1, 0),
            ["unpriced", id, "price"],
            &json!("credits_500"),
        )
        .await;
        assert_eq!(app.balance("user_1").await, 500);
        app.stop().await;
    }
}

/// The browser was faster than the webhook: what Razorpay's API answered is read again, with the order's notes.
#[tokio::test]
async fn what_a_providers_api_answered_is_read_again() {
    let api = RazorpayApi::start().await;
    let asking = Options {
        razorpay_api: Some(api.0.uri()),
        ..broken()
    };
    let app = TestApp::start_with(asking).await;
    let full = payment(Some("user_1"));
    let bare = SamplePayment {
        user_id: None,
        sku: None,
        ..full.clone()
    };
    api.has(&bare, "captured").await;
    api.has_order(&full).await;
    let (order_id, payment_id, signature) = checkout(&full);
    app.verify("user_1", &order_id, &payment_id, &signature)
        .await
        .assert_ok(&json!({"success": true, "credits_added": 0}));
    // The webhook adds nothing that the answer did not say.
    app.deliver(Source::Razorpay, &captured(&bare))
        .await
        .assert_ok(&json!({"status": "duplicate"}));
    app.idle().await;
    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, ambiguous()).await;
    assert_repaired(
        &app,
        &found(0, 0, 1, 0),
        ["unpriced", &format!("razorpay:{payment_id}"), "price"],
        &json!("credits_500"),
    )
    .await;
    assert_eq!(app.balance("user_1").await, 500);
    app.stop().await;
}

#[tokio::test]
async fn a_purchase_is_given_to_its_payer() {
    let app = TestApp::start_with(options(|_| {})).await;
    let id = unclaimed(&app, "user_1").await;
    assert_repaired(
        &app,
        &found(0, 0, 0, 1),
        ["unclaimed", &id, "claim"],
        &json!("user_1"),
    )
    .await;
    assert_eq!(app.balance("user_1").await, 520);
    let caused = [("CreditsPurchased", "admin"), ("PurchaseClaimed", "admin")];
    assert_operator_caused(&app, &caused).await;
    app.stop().await;
}

/// Two periods of a subscription, of which the first was claimed while nobody looked, as in an earlier release.
#[tokio::test]
async fn a_period_is_given_to_its_subscriber() {
    let app = TestApp::start_with(options(|config| {
        let pack = r#"{ "sku": "pro_monthly", "credits": 1000, "stripe_price_ids": ["price_pro"],
                        "prices": [{ "currency": "USD", "amount_minor": 2000 }] }"#;
        let pack = serde_json::from_str(pack).unwrap();
        config.rules.catalog = Catalog::new(vec![pack]).unwrap();
        // The claim leaves work, too, and whoever could not look a moment ago is to look again.
        config.upkeep_every = Duration::from_millis(100);
    }))
    .await;
    let period = || StripeSale {
        amount_minor: 2000,
        sku: None,
        price_id: Some("price_pro".to_owned()),
        ..sale(None)
    };
    let (first, second) = (period(), period());
    let mut renewal = invoice(&second);
    renewal["parent"]["subscription_details"]["subscription"] = json!(first.subscription_id());
    deliver(&app, Source::Stripe, &told("invoice.paid", &first)).await;
    let renewal = stripe_event("invoice.paid", &renewal);
    deliver(&app, Source::Stripe, &renewal).await;
    let named = StripeSale {
        user_id: Some("user_1".to_owned()),
        ..first
    };
    let named = stripe_event("invoice.payment_succeeded", &invoice(&named));
    deliver_unseen(&app, Source::Stripe, &named).await;
    assert_eq!(app.balance("user_1").await, 1000);
    let id = format!("stripe:{}", second.invoice_id());
    assert_repaired(
        &app,
        &found(0, 0, 0, 1),
        ["unclaimed", &id, "claim"],
        &json!("user_1"),
    )
    .await;
    assert_eq!(app.balance("user_1").await, 2000);
    app.stop().await;
}

/// What can not be repaired is shown each time, says why, and stays as it is.
#[tokio::test]
async fn what_can_not_be_repaired_is_shown_and_left_alone() {
    let app = TestApp::start_with(options(|_| {})).await;
    let event_id = hopeless(&app).await;
    let stranger = pay(&app, &payment(None)).await;
    let mut odd = payment(Some("user_1"));
    odd.amount_minor += 1;
    let odd = pay(&app, &odd).await;
    app.idle().await;
    let key = app
        .sql()
        .await
        .query_one(
            "select key from inbox where provider_event_id = $1",
            &[&event_id],
        )
        .await
        .unwrap()
        .get::<_, String>(0);
    let id = format!("razorpay/{key}");
    let expected = texts(&[
        ["parked", &id, "retry", "unchanged"],
        ["unpriced", &odd, "price", "unchanged"],
        ["unclaimed", &stranger, "claim", "unchanged"],
    ]);
    let events = app.count("select count(*) from events").await;
    for report in [dry_run(&app).await, repair(&app).await, repair(&app).await] {
        report.assert_ok(&json!({"found": found(1, 0, 1, 1)}));
        assert_eq!(actions(&report), expected);
        for action in report.body["actions"].as_array().unwrap() {
            assert!(action["detail"].is_string(), "{action}");
        }
    }
    assert_eq!(app.count("select count(*) from events").await, events);
    app.stop().await;
}

/// All kinds at once, in small sweeps: each thing is looked at once, and what can not be repaired blocks nothing.
#[tokio::test]
async fn a_sweep_goes_on_where_the_last_one_ended() {
    let app = TestApp::start_with(broken()).await;
    for number in 0..5 {
        pay(&app, &payment(Some(&format!("user_{number}")))).await;
        known_by_an_update(&app, &format!("user_{number}")).await;
    }
    let app = mended(app).await;
    // The newest are hopeless.
    for _ in 0..3 {
        pay(&app, &payment(None)).await;
        let mut odd = payment(Some("user_odd"));
        odd.amount_minor += 1;
        pay(&app, &odd).await;
        hopeless(&app).await;
        parked(&app, "user_parked").await;
    }
    let body = json!({"reason": "in small steps"});
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for steps in 1.. {
        let report = recover(&app, &format!("?limit=2{cursor}"), &body).await;
        seen.extend(actions(&report));
        assert!(report.body["actions"].as_array().unwrap().len() <= 8);
        let Some(next) = report.body["next_cursor"].as_str() else {
            assert_eq!(steps, 5, "8 unpriced purchases, two at a time, and the end");
            break;
        };
        cursor = format!("&cursor={next}");
    }
    let count = |kind: &str, result: &str| {
        seen.iter()
            .filter(|action| action[0] == kind && action[3] == result)
            .count()
    };
    assert_eq!(count("parked", "done"), 3);
    assert_eq!(count("parked", "unchanged"), 3);
    assert_eq!(count("no_bonus", "done"), 5);
    assert_eq!(count("unpriced", "done"), 5);
    assert_eq!(count("unpriced", "unchanged"), 3);
    assert_eq!(count("unclaimed", "unchanged"), 3);
    assert_eq!(seen.len(), 22);
    for number in 0..5 {
        assert_eq!(app.balance(&format!("user_{number}")).await, 520);
    }
    assert_eq!(app.balance("user_parked").await, 1500);
    integrity::assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn sweeps_side_by_side_repair_once() {
    let app = TestApp::start_with(broken()).await;
    for number in 0..10 {
        pay(&app, &payment(Some(&format!("user_{number}")))).await;
        known_by_an_update(&app, &format!("user_{number}")).await;
    }
    let app = mended(app).await;
    for _ in 0..5 {
        parked(&app, "user_parked").await;
    }
    unclaimed(&app, "user_payer").await;
    let reports = futures_util::future::join_all((0..4).map(|_| repair(&app))).await;
    for report in &reports {
        assert_eq!(report.status, 200, "{report:?}");
    }
    for number in 0..10 {
        assert_eq!(app.balance(&format!("user_{number}")).await, 520);
    }
    assert_eq!(app.balance("user_parked").await, 2500);
    assert_eq!(app.balance("user_payer").await, 520);
    dry_run(&app).await.assert_ok(&json!({"actions": []}));
    integrity::assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_sweep_that_repairs_needs_a_reason() {
    let app = TestApp::start_with(options(|_| {})).await;
    known_by_an_update(&app, "user_1").await;
    for (query, body) in [
        ("", json!({})),
        ("?dry_run=false", json!({})),
        ("", json!({"reason": " "})),
        ("", json!({"reason": "good", "user_id": "user_1"})),
        ("?dry_run=1", json!({"reason": "good"})),
        ("?limit=0", json!({"reason": "good"})),
        ("?limit=1001", json!({"reason": "good"})),
        ("?cursor=nonsense", json!({"reason": "good"})),
        ("?kind=parked", json!({"reason": "good"})),
    ] {
        let answer = recover(&app, query, &body).await;
        assert_eq!(answer.body["code"], "invalid_request", "{query} {body}");
        answer.assert_problem(400, "invalid_request");
    }
    recover(&app, "", &json!([]))
        .await
        .assert_problem(400, "malformed");
    assert_eq!(app.balance("user_1").await, 0);
    // Looking needs none, and no body either.
    let request = app
        .request(
            reqwest::Method::POST,
            "/v1/admin/recover?dry_run=true&limit=1000",
        )
        .bearer_auth(crate::support::app::ADMIN_KEY);
    crate::support::app::answer(request)
        .await
        .assert_ok(&json!({"found": found(0, 1, 0, 0)}));
    app.stop().await;
}

/// A cursor that was made up does not get as far as the database.
#[tokio::test]
async fn a_cursor_that_was_made_up_is_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let app = TestApp::start_with(options(|_| {})).await;
    let good = json!({
        "parked": {"after": [1, "k", "razorpay"]},
        "no_bonus": {"after": "user_1"},
        "unpriced": {"after": [1, "razorpay:pay_1"]},
        "unclaimed": "end",
    });
    let ask = async |cursor: &Value| {
        let cursor = URL_SAFE_NO_PAD.encode(cursor.to_string());
        recover(&app, &format!("?dry_run=true&cursor={cursor}"), &json!({})).await
    };
    ask(&good).await.assert_ok(&json!({"actions": []}));
    for (name, place) in [
        ("parked", json!({"after": [i64::MAX, "k", "razorpay"]})),
        ("parked", json!({"after": [-1, "k", "razorpay"]})),
        ("parked", json!({"after": [1, "\u{0}", "razorpay"]})),
        ("no_bonus", json!({"after": "a\u{0}b"})),
        ("no_bonus", json!({"after": ""})),
        ("unpriced", json!({"after": [1, "no provider"]})),
        ("unclaimed", json!("middle")),
    ] {
        let mut bad = good.clone();
        bad[name] = place;
        ask(&bad).await.assert_problem(400, "invalid_request");
    }
    app.stop().await;
}

/// A delivery that comes while the sweep is under way is a delivery like any other.
#[tokio::test]
async fn a_retry_by_hand_and_a_sweep_record_once() {
    let app = TestApp::start_with(options(|_| {})).await;
    let paid = payment(Some("user_1"));
    let delivery = captured(&paid);
    let key = super::park(&app, &delivery).await;
    let path = format!("/v1/admin/inbox/razorpay/{key}/retry");
    let by_hand = json!({"reason": "by hand"});
    let (one, other, third) = futures_util::join!(
        repair(&app),
        app.post_as_operator(&path, &by_hand),
        app.deliver(Source::Razorpay, &delivery)
    );
    for answer in [one, other, third] {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(app.balance("user_1").await, 500);
    integrity::assert_log_is_whole(&app).await;
    app.stop().await;
}
