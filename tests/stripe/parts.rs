//! An invoice and the payment that paid it are one purchase: what only one of them says, and which of them is told first, makes no
//! difference.

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::stripe::{self as sample, StripeSale};
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::json;

use super::{account, period, with_plan};
use crate::support::deliveries::{created, stripe_event, told, user};
use crate::support::random::ORDERS;
use crate::support::{Options, TestApp, eventually};

/// Somebody who has signed up.
async fn somebody(app: &TestApp, name: String) -> String {
    app.deliver(Source::Clerk, &created(&user(&name))).await;
    name
}

pub async fn deliver_in(app: &TestApp, order: [usize; 3], deliveries: &[SignedDelivery; 3]) {
    for number in order {
        let answer = app.deliver(Source::Stripe, &deliveries[number]).await;
        assert_eq!(answer.status, 200, "{order:?}: {answer:?}");
    }
    app.idle().await;
}

/// The payment, which invoice it paid, and the invoice.
fn of(payment: &StripeSale, invoice: &StripeSale) -> [SignedDelivery; 3] {
    [
        told("payment_intent.succeeded", payment),
        told("invoice_payment.paid", invoice),
        told("invoice.paid", invoice),
    ]
}

/// In each order a user of their own gets the credits of the period and of the sign-up.
async fn assert_bought_in_any_order(told_of: impl Fn(&str) -> [SignedDelivery; 3]) {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    for (number, order) in ORDERS.into_iter().enumerate() {
        let user_id = somebody(&app, format!("user_{number}")).await;
        deliver_in(&app, order, &told_of(&user_id)).await;
        let now = account(&app, &user_id).await;
        assert_eq!(now, json!([1020, 0, 0]), "{order:?}");
    }
    app.assert_own_rules_come_to_the_same().await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn whoever_only_the_payment_names_has_the_invoices_credits() {
    assert_bought_in_any_order(|user_id| {
        let invoice = period(None);
        let payment = StripeSale {
            user_id: Some(user_id.to_owned()),
            ..invoice.clone()
        };
        of(&payment, &invoice)
    })
    .await;
}

#[tokio::test]
async fn what_only_the_payment_says_it_buys_is_bought() {
    assert_bought_in_any_order(|user_id| {
        let invoice = StripeSale {
            price_id: Some("price_of_nothing".to_owned()),
            ..period(Some(user_id))
        };
        let payment = StripeSale {
            user_id: None,
            sku: Some("pro_monthly".to_owned()),
            ..invoice.clone()
        };
        of(&payment, &invoice)
    })
    .await;
}

#[tokio::test]
async fn whose_address_only_the_charge_knows_is_found_by_it() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    for (number, order) in ORDERS.into_iter().enumerate() {
        // One signs up before, another after.
        let (before, after) = (format!("before_{number}"), format!("after_{number}"));
        somebody(&app, before.clone()).await;
        for user_id in [&before, &after] {
            let invoice = period(None);
            let paid = StripeSale {
                email: user(user_id).email,
                ..invoice.clone()
            };
            let [_, merged, whole] = of(&paid, &invoice);
            let charge = stripe_event("charge.succeeded", &sample::charge(&paid, 0));
            deliver_in(&app, order, &[charge, merged, whole]).await;
        }
        somebody(&app, after.clone()).await;
        app.idle().await;
        for user_id in [&before, &after] {
            let now = account(&app, user_id).await;
            assert_eq!(now, json!([1020, 0, 0]), "{user_id}: {order:?}");
        }
    }
    app.assert_own_rules_come_to_the_same().await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// The payment names the buyer, so the purchase was somebody's before it was known for which subscription.
#[tokio::test]
async fn a_subscription_whose_buyer_was_known_before_it_waits_no_longer() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    let user_id = somebody(&app, "user_1".to_owned()).await;
    let invoice = period(None);
    let payment = StripeSale {
        user_id: Some(user_id),
        ..invoice.clone()
    };
    let [paid, merged, whole] = of(&payment, &invoice);
    let subscribed = told("customer.subscription.created", &invoice);
    for (delivery, status) in [
        (&paid, "recorded"),
        (&merged, "recorded"),
        (&subscribed, "parked"),
        (&whole, "recorded"),
    ] {
        super::comes_to(&app, delivery, status).await;
    }
    eventually("the plan is known", async || {
        let me = app.get_as("user_1", "/v1/me").await;
        (me.body["plan"] == "pro").then_some(())
    })
    .await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}
