//! What is delivered while somebody is erased, and after it.

use std::sync::Arc;

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{self, SamplePayment, SampleRefund};
use credit_ledger::provider::sign::SignedDelivery;
use credit_ledger::store::{Delivered, Origin, Outcome, Unit, Work};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Person, assert_no_trace, assert_whole, bodies, deliver, erase, erase_now, has_body, ignored,
    traces,
};
use crate::support::app::Options;
use crate::support::deliveries::{
    captured, created, order_paid, payment, razorpay, sale, told, unique, updated,
};
use crate::support::load::{deliver_all, tally};
use crate::support::{TestApp, eventually};

fn paid_by_person(user_id: Option<&str>) -> SamplePayment {
    SamplePayment {
        email: Some("nadel.payer@example.com".to_owned()),
        ..payment(user_id)
    }
}

fn refunded(paid: &SamplePayment) -> SignedDelivery {
    let refund = SampleRefund {
        refund_id: unique("rfnd_"),
        amount_minor: paid.amount_minor,
        refunded_total_minor: paid.amount_minor,
    };
    let body = sample::razorpay_refund("refund.processed", paid, &refund);
    razorpay(&unique("evt"), body.to_string())
}

#[tokio::test]
async fn what_comes_later_is_booked_and_leaves_no_trace() {
    let app = TestApp::start().await;
    let mut person = Person::new("user_zoe");
    person.sign_up(&app).await;
    let early = paid_by_person(Some("user_zoe"));
    deliver(&app, Source::Razorpay, &captured(&early), "recorded").await;
    erase_now(&app, "user_zoe").await;
    let stored = bodies(&app).await.1;

    // Known things told again, and news.
    deliver(&app, Source::Razorpay, &order_paid(&early), "duplicate").await;
    deliver(&app, Source::Clerk, &created(&person.before), "duplicate").await;
    person.now.updated_at += TimeDelta::days(1);
    deliver(&app, Source::Clerk, &updated(&person.now), "duplicate").await;
    let late = paid_by_person(Some("user_zoe"));
    deliver(&app, Source::Razorpay, &captured(&late), "recorded").await;
    deliver(&app, Source::Razorpay, &refunded(&late), "recorded").await;
    deliver(&app, Source::Razorpay, &refunded(&early), "recorded").await;
    let mut bought = sale(Some("user_zoe"));
    bought.email = person.email();
    deliver(
        &app,
        Source::Stripe,
        &told("checkout.session.completed", &bought),
        "recorded",
    )
    .await;
    deliver(
        &app,
        Source::Stripe,
        &told("refund.created", &bought),
        "recorded",
    )
    .await;
    // At no moment is any of it there.
    assert_no_trace(&app).await;
    assert_eq!(bodies(&app).await, (0, stored + 8));
    app.idle().await;
    assert_no_trace(&app).await;
    assert_eq!(app.balance("user_zoe").await, 20);
    assert_whole(&app).await;
    app.stop().await;
}

/// Who never signed up as far as we knew, was erased, and signs up after all.
#[tokio::test]
async fn a_sign_up_after_the_erasure_keeps_no_profile() {
    let app = TestApp::start().await;
    let person = Person::new("user_zoe");
    deliver(
        &app,
        Source::Razorpay,
        &captured(&paid_by_person(Some("user_zoe"))),
        "recorded",
    )
    .await;
    erase_now(&app, "user_zoe").await;
    deliver(&app, Source::Clerk, &created(&person.now), "recorded").await;
    let shown = app.get("/v1/users/user_zoe").await.body;
    assert_eq!(
        (&shown["registered"], &shown["email"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(shown["balance"], 520);
    assert_no_trace(&app).await;
    assert_whole(&app).await;
    app.stop().await;
}

/// What was told of a late payment before it came to the user: nothing then said that it would.
#[tokio::test]
async fn a_purchase_that_becomes_an_erased_users_is_looked_for() {
    let app = TestApp::start().await;
    Person::new("user_zoe").sign_up(&app).await;
    erase_now(&app, "user_zoe").await;
    let late = paid_by_person(Some("user_zoe"));
    let mut authorized = sample::razorpay_payment_captured(&late);
    authorized["event"] = json!("payment.authorized");
    let authorized = razorpay(&unique("evt"), authorized.to_string());
    deliver(&app, Source::Razorpay, &authorized, "ignored").await;
    assert!(has_body(&app, &authorized).await);
    deliver(&app, Source::Razorpay, &captured(&late), "recorded").await;
    app.idle().await;
    assert_no_trace(&app).await;

    // By an operator's word.
    let nobodys = paid_by_person(None);
    deliver(&app, Source::Razorpay, &captured(&nobodys), "recorded").await;
    app.idle().await;
    assert_eq!(
        traces(&app).await.len(),
        3,
        "the body, the payer and the read model"
    );
    let path = format!(
        "/v1/admin/purchases/razorpay:{}/resolve",
        nobodys.payment_id
    );
    let resolve = json!({"user_id": "user_zoe", "reason": "ticket 7"});
    app.post_as_operator(&path, &resolve)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.idle().await;
    assert_no_trace(&app).await;
    assert_eq!(app.balance("user_zoe").await, 20 + 2 * 500);
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn no_delivery_slips_through_while_somebody_is_erased() {
    let app = TestApp::start().await;
    let second = TestApp::start_on(app.database.clone(), Options::default()).await;
    Person::new("user_zoe").sign_up(&app).await;
    let known: Vec<SamplePayment> = (0..40).map(|_| paid_by_person(Some("user_zoe"))).collect();
    let known_sent: Vec<_> = known
        .iter()
        .map(|paid| (Source::Razorpay, captured(paid)))
        .collect();
    tally(&deliver_all(&[&app, &second], &known_sent, 8).await);
    let mut sent: Vec<_> = known
        .iter()
        .map(|paid| (Source::Razorpay, refunded(paid)))
        .collect();
    sent.extend(
        known
            .iter()
            .map(|paid| (Source::Razorpay, order_paid(paid))),
    );
    sent.extend((0..40).map(|_| {
        (
            Source::Razorpay,
            captured(&paid_by_person(Some("user_zoe"))),
        )
    }));
    let both = [&app, &second];
    let (answers, erased) = tokio::join!(deliver_all(&both, &sent, 8), erase(&app, "user_zoe"));
    erased.assert_ok(&json!({"deleted": true}));
    assert_eq!(tally(&answers).values().sum::<usize>(), 120);
    app.idle().await;
    assert_no_trace(&app).await;
    assert_eq!(app.balance("user_zoe").await, 20 + 40 * 500);
    assert_whole(&app).await;
    second.stop().await;
    app.stop().await;
}

/// Stores a delivery as a release that did not understand it: parked.
async fn park(app: &TestApp, paid: &SamplePayment, waits: TimeDelta) -> SignedDelivery {
    let delivery = captured(paid);
    let delivered = Delivered {
        source: Source::Razorpay,
        key: hex::encode(Sha256::digest(&delivery.body)),
        provider_event_id: unique("evt"),
        body_sha256: Sha256::digest(&delivery.body).into(),
        body: delivery.body.clone(),
        headers_json: "{}".to_owned(),
        secret: "00000000".to_owned(),
        received_at: app.now() + waits,
    };
    let unit = Unit {
        origin: Origin::Delivery(Arc::new(delivered)),
        work: Work::Park {
            reason: "not understood".to_owned(),
            waits_for: None,
        },
    };
    assert_eq!(app.app().ledger.execute(unit).await, Ok(Outcome::Parked));
    delivery
}

#[tokio::test]
async fn a_delivery_that_waits_keeps_its_body_until_it_waits_no_more() {
    let app = TestApp::start().await;
    Person::new("user_zoe").sign_up(&app).await;
    // One that will be recorded, and one that will not: its user has nothing to do with the address.
    let owed = park(&app, &paid_by_person(Some("user_zoe")), TimeDelta::days(1)).await;
    let mut stray = paid_by_person(Some("user_other"));
    stray.email = Some("nadel.old@example.com".to_owned());
    let stray = park(&app, &stray, TimeDelta::days(1)).await;
    erase_now(&app, "user_zoe").await;
    assert!(has_body(&app, &owed).await && has_body(&app, &stray).await);
    let marked = "select count(*) from inbox where outcome = 'parked' and erased_at is not null";
    assert_eq!(app.count(marked).await, 2);

    app.move_clock(TimeDelta::days(2));
    let found = json!({"reason": "ticket 7"});
    app.post_as_operator("/v1/admin/recover", &found)
        .await
        .assert_ok(&json!({}));
    assert_eq!(
        app.count("select count(*) from inbox where outcome = 'parked'")
            .await,
        0
    );
    app.idle().await;
    assert_no_trace(&app).await;
    assert_eq!(
        (
            app.balance("user_zoe").await,
            app.balance("user_other").await
        ),
        (520, 500)
    );
    assert_whole(&app).await;
    app.stop().await;
}

/// Nothing can be done with a delivery without a body, and nobody tries for ever.
#[tokio::test]
async fn what_was_erased_is_not_tried_again() {
    let app = TestApp::start().await;
    Person::new("user_zoe").sign_up(&app).await;
    // It fits nothing, so that every sweep looks at its deliveries.
    let unpriced = SamplePayment {
        sku: None,
        amount_minor: 7,
        ..paid_by_person(Some("user_zoe"))
    };
    let delivery = captured(&unpriced);
    deliver(&app, Source::Razorpay, &delivery, "recorded").await;
    erase_now(&app, "user_zoe").await;
    let sweep = json!({"reason": "ticket 7"});
    let report = app.post_as_operator("/v1/admin/recover", &sweep).await;
    report
        .assert_ok(&json!({"found": {"parked": 0, "no_bonus": 0, "unpriced": 1, "unclaimed": 0}}));
    assert_eq!(report.body["actions"][0]["result"], "unchanged");
    let why = report.body["actions"][0]["detail"].as_str().unwrap();
    assert!(why.contains("erased"), "{why}");
    let key = hex::encode(Sha256::digest(&delivery.body));
    let retry = format!("/v1/admin/inbox/razorpay/{key}/retry");
    app.post_as_operator(&retry, &sweep)
        .await
        .assert_ok(&json!({"status": "recorded"}));

    // Whatever emptied one that waits.
    let waiting = park(
        &app,
        &paid_by_person(Some("user_other")),
        TimeDelta::days(1),
    )
    .await;
    let key = hex::encode(Sha256::digest(&waiting.body));
    let empty = format!("update inbox set body = '' where key = '{key}'");
    app.sql().await.batch_execute(&empty).await.unwrap();
    let retry = format!("/v1/admin/inbox/razorpay/{key}/retry");
    app.post_as_operator(&retry, &sweep)
        .await
        .assert_ok(&json!({"status": "ignored"}));
    let reason = format!("select count(*) from inbox where key = '{key}' and reason = 'erased'");
    assert_eq!(app.count(&reason).await, 1);
    app.stop().await;
}

/// A limit that the README names.
#[tokio::test]
async fn what_concerns_nothing_and_comes_later_stays() {
    let app = TestApp::start().await;
    let person = Person::new("user_zoe");
    person.sign_up(&app).await;
    erase_now(&app, "user_zoe").await;
    for (source, delivery) in &ignored(&person.email().unwrap()) {
        deliver(&app, *source, delivery, "ignored").await;
    }
    eventually("nothing is left to do", async || {
        (app.count("select count(*) from outbox").await == 0).then_some(())
    })
    .await;
    assert_eq!(bodies(&app).await.0, 3);
    app.stop().await;
}
