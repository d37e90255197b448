//! Subscriptions: plans by their status, credits by their invoices.

use chrono::TimeDelta;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::stripe::{self as sample, StripeSale};
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::{Value, json};

use super::parts::deliver_in;
use super::{account, comes_to, period, with_plan};
use crate::support::deliveries::{created, some_time, stripe, stripe_event, told, unique, user};
use crate::support::integrity::assert_log_is_whole;
use crate::support::random::ORDERS;
use crate::support::{Options, TestApp, eventually};

async fn plan(app: &TestApp, user_id: &str) -> Value {
    app.get_as(user_id, "/v1/me").await.body["plan"].clone()
}

/// A subscription's status, so many seconds after it began.
fn at(seconds: i64, name: &str, sale: &StripeSale, status: &str) -> SignedDelivery {
    let object = sample::subscription(sale, status);
    let event_type = format!("customer.subscription.{name}");
    let created_at = some_time() + TimeDelta::seconds(seconds);
    stripe(sample::envelope(&event_type, &unique("evt_"), created_at, &object).to_string())
}

#[tokio::test]
async fn a_subscription_gives_a_plan_and_its_invoices_credits() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    let first = period(Some("user_1"));
    comes_to(&app, &at(0, "created", &first, "incomplete"), "recorded").await;
    assert_eq!(plan(&app, "user_1").await, "free");
    comes_to(&app, &at(0, "updated", &first, "active"), "recorded").await;
    assert_eq!(plan(&app, "user_1").await, "pro");
    comes_to(&app, &told("invoice.paid", &first), "recorded").await;
    let again = stripe_event("invoice.payment_succeeded", &sample::invoice(&first));
    comes_to(&app, &again, "duplicate").await;
    comes_to(&app, &told("invoice_payment.paid", &first), "recorded").await;
    comes_to(&app, &told("payment_intent.succeeded", &first), "duplicate").await;
    assert_eq!(account(&app, "user_1").await, json!([1020, 0, 0]));
    // The next period adds to what is there and touches nothing else.
    let second = period(Some("user_1"));
    comes_to(&app, &told("invoice.paid", &second), "recorded").await;
    assert_eq!(account(&app, "user_1").await, json!([2020, 0, 0]));
    comes_to(&app, &at(60, "updated", &first, "past_due"), "recorded").await;
    assert_eq!(plan(&app, "user_1").await, "pro");
    comes_to(&app, &at(90, "deleted", &first, "canceled"), "recorded").await;
    assert_eq!(plan(&app, "user_1").await, "free");
    // Late, and older.
    comes_to(&app, &at(70, "updated", &first, "active"), "duplicate").await;
    assert_eq!(plan(&app, "user_1").await, "free");
    assert_eq!(account(&app, "user_1").await, json!([2020, 0, 0]));
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// `updated` to active and `created` as incomplete in one second, the later one first.
#[tokio::test]
async fn a_late_created_takes_no_plan_away() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    let sale = period(Some("user_1"));
    comes_to(&app, &at(0, "updated", &sale, "active"), "recorded").await;
    comes_to(&app, &at(0, "created", &sale, "incomplete"), "duplicate").await;
    let sql = "select plan from users where user_id = 'user_1'";
    let plan: String = app.sql().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(plan, "pro");
    app.stop().await;
}

/// Of a checkout for a subscription only the invoice gives credits.
#[tokio::test]
async fn a_checkout_and_its_invoice_give_once() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    for session_first in [true, false] {
        let buyer = format!("user_{session_first}");
        let sale = period(Some(&buyer));
        let mut session = sample::session(&sale, "paid");
        session["mode"] = json!("subscription");
        session["payment_intent"] = json!(null);
        session["invoice"] = json!(sale.invoice_id());
        session["subscription"] = json!(sale.subscription_id());
        session.as_object_mut().unwrap().remove("line_items");
        let session = stripe_event("checkout.session.completed", &session);
        // The invoice itself names nobody.
        let mut invoice = sample::invoice(&sale);
        invoice["parent"]["subscription_details"]["metadata"] = json!({});
        let invoice = stripe_event("invoice.paid", &invoice);
        let both = if session_first {
            [session, invoice]
        } else {
            [invoice, session]
        };
        for delivery in &both {
            comes_to(&app, delivery, "recorded").await;
        }
        assert_eq!(account(&app, &buyer).await, json!([1000, 0, 0]));
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// The subscription names nobody: it is whose who paid for it, as soon as that is known.
#[tokio::test]
async fn a_subscription_that_names_nobody_waits_for_who_pays() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    let paid = period(Some("user_1"));
    let mut nobodys = sample::subscription(&paid, "active");
    nobodys["metadata"] = json!({});
    comes_to(
        &app,
        &stripe_event("customer.subscription.updated", &nobodys),
        "parked",
    )
    .await;
    let reason = format!("no_user: stripe:{}", paid.subscription_id());
    let sql = "select reason from inbox where outcome = 'parked'";
    let kept: String = app.sql().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(kept, reason);
    comes_to(&app, &told("invoice.paid", &paid), "recorded").await;
    eventually("the plan is given", async || {
        (plan(&app, "user_1").await == "pro").then_some(())
    })
    .await;
    // From now on it is known at once.
    comes_to(
        &app,
        &stripe_event("customer.subscription.deleted", &nobodys),
        "recorded",
    )
    .await;
    assert_eq!(plan(&app, "user_1").await, "free");
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// The invoice of a later period of the same subscription.
fn renewal(second: &StripeSale, first: &StripeSale) -> SignedDelivery {
    let mut renewal = sample::invoice(second);
    renewal["parent"]["subscription_details"]["subscription"] = json!(first.subscription_id());
    stripe_event("invoice.paid", &renewal)
}

/// Two periods are stored that name nobody; another event of the first one names the buyer.
#[tokio::test]
async fn periods_that_name_nobody_are_the_subscribers_whichever_is_told_first() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    for (number, order) in ORDERS.into_iter().enumerate() {
        let user_id = format!("user_{number}");
        let (first, second) = (period(None), period(None));
        let named = StripeSale {
            user_id: Some(user_id.clone()),
            ..first.clone()
        };
        let deliveries = [
            told("invoice.paid", &first),
            renewal(&second, &first),
            stripe_event("invoice.payment_succeeded", &sample::invoice(&named)),
        ];
        deliver_in(&app, order, &deliveries).await;
        let now = account(&app, &user_id).await;
        assert_eq!(now, json!([2000, 0, 0]), "{order:?}");
    }
    app.assert_own_rules_come_to_the_same().await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Only the first checkout named the user, and nobody has the address that the invoices are sent to.
#[tokio::test]
async fn a_renewal_that_names_nobody_is_paid_by_who_paid_the_first_period() {
    let app = TestApp::start_with(with_plan(Options::default())).await;
    let (first, second) = (period(Some("user_1")), period(None));
    comes_to(&app, &told("invoice.paid", &first), "recorded").await;
    comes_to(&app, &renewal(&second, &first), "recorded").await;
    assert_eq!(account(&app, "user_1").await, json!([2000, 0, 0]));
    let id = format!("stripe:in_{}", second.tail);
    assert_eq!(
        app.events("purchase", &id).await,
        ["PaymentCaptured", "PurchaseClaimed"]
    );
    app.assert_audit_is_clean().await;
    app.stop().await;
}
