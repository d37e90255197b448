//! Payments that are the same money, or somebody else's, and who paid them.

use credit_ledger::ledger::command::CapturePayment;
use credit_ledger::ledger::event::Price;
use credit_ledger::ledger::personal::{Profile, Salt};
use credit_ledger::ledger::{
    Command, Credits, Currency, Money, Personal, PurchaseId, Source, UserId,
};
use credit_ledger::provider::sample::SamplePayment;
use credit_ledger::store::Outcome;
use serde_json::json;

use super::steps::apply;
use super::{Person, assert_no_trace, assert_whole, deliver, erase_now, has_body, ignored, traces};
use crate::support::TestApp;
use crate::support::deliveries::{captured, created, payment, stripe_event, user};

fn purchase(id: &str) -> PurchaseId {
    PurchaseId::parse(format!("stripe:{id}")).unwrap()
}

/// A payment of the person's.
fn paid(id: &str, user_id: Option<&str>) -> CapturePayment {
    let profile = Profile {
        email: Some("nadel.payer@example.com".to_owned()),
        ..Profile::default()
    };
    CapturePayment {
        purchase_id: purchase(id),
        user_id: user_id.map(|id| UserId::parse(id).unwrap()),
        claimant: None,
        money: Money::new(599, Currency::parse("USD").unwrap()).unwrap(),
        order_id: None,
        price: Some(Price {
            sku: "credits_500".to_owned(),
            credits: Credits::new(500).unwrap(),
            expires_at_s: None,
        }),
        paid_at_s: 1,
        payer: Some(Personal::new(&profile, Salt([3; 16]))),
        merges: None,
        refunded_total_minor: 0,
        subscription_id: None,
        subscriber: None,
    }
}

async fn capture(app: &TestApp, capture: CapturePayment) {
    let command = Command::CapturePayment(Box::new(capture));
    assert_eq!(apply(app, command).await, Outcome::Recorded);
}

async fn merge(app: &TestApp, part: &str, whole: &str) {
    let merge = Command::MergePayments {
        payment_id: purchase(part),
        into: purchase(whole),
    };
    assert_eq!(apply(app, merge).await, Outcome::Recorded);
}

async fn erased_person() -> TestApp {
    let app = TestApp::start().await;
    Person::new("user_zoe").sign_up(&app).await;
    erase_now(&app, "user_zoe").await;
    app
}

async fn assert_given_once(app: &TestApp) {
    app.idle().await;
    assert_no_trace(app).await;
    assert_eq!(app.balance("user_zoe").await, 520);
    assert_whole(app).await;
}

#[tokio::test]
async fn an_invoice_takes_over_a_payment_of_an_erased_user() {
    let app = erased_person().await;
    capture(&app, paid("pi_1", Some("user_zoe"))).await;
    let invoice = CapturePayment {
        merges: Some(purchase("pi_1")),
        ..paid("in_1", None)
    };
    capture(&app, invoice).await;
    assert_given_once(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn an_invoice_that_was_nobodys_takes_over_a_payment_of_an_erased_user() {
    let app = erased_person().await;
    capture(&app, paid("in_1", None)).await;
    assert_eq!(traces(&app).await.len(), 2, "the payer and the read model");
    capture(&app, paid("pi_1", Some("user_zoe"))).await;
    merge(&app, "pi_1", "in_1").await;
    assert_given_once(&app).await;
    app.stop().await;
}

/// Nobody's and a part of nobody's, until the whole says whose they are.
#[tokio::test]
async fn a_part_forgets_who_paid_once_the_whole_is_an_erased_users() {
    let app = erased_person().await;
    let unpriced = CapturePayment {
        price: None,
        ..paid("pi_1", None)
    };
    capture(&app, unpriced).await;
    merge(&app, "pi_1", "in_1").await;
    app.idle().await;
    assert_eq!(traces(&app).await.len(), 2, "the payer and the read model");
    capture(&app, paid("in_1", Some("user_zoe"))).await;
    assert_given_once(&app).await;
    app.stop().await;
}

/// It was nobody's when it was paid with the address.
#[tokio::test]
async fn who_paid_for_anothers_purchase_is_erased_too() {
    let app = TestApp::start().await;
    let person = Person::new("user_zoe");
    person.sign_up(&app).await;
    deliver(
        &app,
        Source::Clerk,
        &created(&user("user_other")),
        "recorded",
    )
    .await;
    // It fits nothing, so it is not matched.
    let given = SamplePayment {
        email: person.email(),
        sku: None,
        amount_minor: 7,
        ..payment(None)
    };
    deliver(&app, Source::Razorpay, &captured(&given), "recorded").await;
    let path = format!("/v1/admin/purchases/razorpay:{}/resolve", given.payment_id);
    let resolve = json!({"user_id": "user_other", "credits": 5, "reason": "ticket 7"});
    app.post_as_operator(&path, &resolve)
        .await
        .assert_ok(&json!({"status": "recorded"}));
    app.idle().await;
    erase_now(&app, "user_zoe").await;
    assert_no_trace(&app).await;
    assert_eq!(app.balance("user_other").await, 25);
    assert_whole(&app).await;
    app.stop().await;
}

/// What was stored before a purchase came to an erased user may name only the subscription that it pays.
#[tokio::test]
async fn a_late_purchase_is_looked_for_by_its_subscription() {
    let app = erased_person().await;
    let customer = json!({"object": "customer", "subscription": "sub_1PgafmB7WZ01", "email": "nadel.payer@example.com"});
    let customer = stripe_event("customer.updated", &customer);
    deliver(&app, Source::Stripe, &customer, "ignored").await;
    let late = CapturePayment {
        subscription_id: Some("sub_1PgafmB7WZ01".to_owned()),
        ..paid("in_1", Some("user_zoe"))
    };
    capture(&app, late).await;
    assert_given_once(&app).await;
    app.stop().await;
}

/// Who asks again has what was stored since gone through, by the ids that are left.
#[tokio::test]
async fn asking_again_looks_again() {
    let app = erased_person().await;
    let [.., (source, about_nothing)] = &ignored("nadel.old@example.com")[..] else {
        panic!("several");
    };
    let said = json!({"type": "email.created", "object": "event", "data": {
        "id": "ema_1", "body": "<a href=\"https://shop.example/users/user_zoe\">Zoë Nadelöhr</a>",
    }});
    let said = crate::support::deliveries::clerk("msg_said", said.to_string());
    deliver(&app, Source::Clerk, &said, "ignored").await;
    deliver(&app, *source, about_nothing, "ignored").await;
    let events = app.count("select count(*) from events").await;
    let again = super::erase(&app, "user_zoe").await;
    again.assert_ok(&json!({"deleted": true, "erased": true}));
    assert_eq!(again.headers["idempotency-hit"], "true");
    app.idle().await;
    assert!(!has_body(&app, &said).await);
    assert!(has_body(&app, about_nothing).await);
    assert_eq!(app.count("select count(*) from events").await, events);
    assert_whole(&app).await;
    app.stop().await;
}
