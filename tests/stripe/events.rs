//! One payment told in many ways, and what becomes of its money.

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::stripe as sample;
use serde_json::{Value, json};

use super::{account, comes_to};
use crate::support::deliveries::{
    created, sale, some_time, stripe, stripe_event, told, unique, user,
};
use crate::support::integrity::assert_log_is_whole;
use crate::support::{Options, TestApp};

/// Every order of some things.
fn orders<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    if all.is_empty() {
        return vec![vec![]];
    }
    let mut found = Vec::new();
    for (n, first) in all.iter().enumerate() {
        let mut rest = all.to_vec();
        rest.remove(n);
        for mut order in orders(&rest) {
            order.insert(0, first.clone());
            found.push(order);
        }
    }
    found
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

/// A checkout with an invoice: session, payment intent, charge, invoice and what paid it, all for one grant.
#[tokio::test]
async fn one_payment_gives_once_whatever_tells_of_it_in_any_order() {
    let app = TestApp::start().await;
    let kinds = ["session", "intent", "charge", "invoice", "link"];
    for (n, order) in orders(&kinds).into_iter().enumerate() {
        let buyer = format!("user_{n}");
        let sale = sale(Some(&buyer));
        let session = with(
            sample::session(&sale, "paid"),
            "invoice",
            json!(sale.invoice_id()),
        );
        let mut invoice = sample::invoice(&sale);
        invoice["parent"] = json!(null);
        invoice["metadata"] = json!({"user_id": buyer});
        for kind in &order {
            let delivery = match *kind {
                "session" => stripe_event("checkout.session.completed", &session),
                "intent" => told("payment_intent.succeeded", &sale),
                "charge" => stripe_event("charge.succeeded", &sample::charge(&sale, 0)),
                "invoice" => stripe_event("invoice.paid", &invoice),
                _ => told("invoice_payment.paid", &sale),
            };
            let answer = app.deliver(Source::Stripe, &delivery).await;
            assert_eq!(answer.status, 200, "{order:?}: {answer:?}");
        }
        assert_eq!(account(&app, &buyer).await, json!([500, 0, 0]), "{order:?}");
        let answer = app.get(&format!("/v1/users/{buyer}/purchases")).await;
        let items = answer.body["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{order:?}: {answer:?}");
        assert_eq!(
            items[0]["purchase_id"],
            format!("stripe:{}", sale.invoice_id())
        );
    }
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// The same event twice, and the same fact under two events of one type.
#[tokio::test]
async fn two_events_may_tell_one_fact() {
    let app = TestApp::start().await;
    let paid = sale(Some("user_1"));
    let delivery = told("checkout.session.completed", &paid);
    comes_to(&app, &delivery, "recorded").await;
    let again = app.deliver(Source::Stripe, &delivery).await;
    assert_eq!(again.headers["idempotency-hit"], "true");
    again.assert_ok(&json!({"status": "duplicate", "idempotent": true}));
    comes_to(
        &app,
        &told("checkout.session.completed", &paid),
        "duplicate",
    )
    .await;
    comes_to(&app, &told("payment_intent.succeeded", &paid), "duplicate").await;
    assert_eq!(account(&app, "user_1").await, json!([500, 0, 0]));
    assert_eq!(
        app.count("select count(*) from inbox where source = 'stripe'")
            .await,
        3
    );
    app.stop().await;
}

#[tokio::test]
async fn a_completed_session_is_not_a_paid_one() {
    let app = TestApp::start().await;
    let debit = sale(Some("user_1"));
    let unpaid = stripe_event(
        "checkout.session.completed",
        &sample::session(&debit, "unpaid"),
    );
    comes_to(&app, &unpaid, "ignored").await;
    assert_eq!(app.balance("user_1").await, 0);
    // Days later.
    let paid = sample::session(&debit, "paid");
    comes_to(
        &app,
        &stripe_event("checkout.session.async_payment_succeeded", &paid),
        "recorded",
    )
    .await;
    assert_eq!(app.balance("user_1").await, 500);
    app.stop().await;
}

#[tokio::test]
async fn a_free_checkout_gives_what_was_bought() {
    let app = TestApp::start().await;
    let sale = sale(Some("user_1"));
    let free = sample::session(&sale, "no_payment_required");
    let free = with(
        with(free, "amount_total", json!(0)),
        "payment_intent",
        json!(null),
    );
    comes_to(
        &app,
        &stripe_event("checkout.session.completed", &free),
        "recorded",
    )
    .await;
    assert_eq!(app.balance("user_1").await, 500);
    let answer = app.get("/v1/users/user_1/purchases").await;
    let purchase = &answer.body["items"][0];
    assert_eq!(
        purchase["purchase_id"],
        format!("stripe:{}", sale.session_id())
    );
    assert_eq!(purchase["amount_minor"], 0);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Known first by an event that names neither user nor pack, completed by the one that does.
#[tokio::test]
async fn a_bare_payment_is_completed_by_its_session() {
    let app = TestApp::start().await;
    let full = sale(Some("user_1"));
    let bare = with(sample::payment_intent(&full), "metadata", json!({}));
    comes_to(
        &app,
        &stripe_event("payment_intent.succeeded", &bare),
        "recorded",
    )
    .await;
    assert_eq!(app.balance("user_1").await, 0);
    comes_to(&app, &told("checkout.session.completed", &full), "recorded").await;
    let id = format!("stripe:{}", full.payment_intent_id());
    assert_eq!(
        app.events("purchase", &id).await,
        ["PaymentCaptured", "PurchaseClaimed", "PurchasePriced"]
    );
    assert_eq!(app.balance("user_1").await, 500);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// A subscription's payment that happens to cost what a pack costs.
#[tokio::test]
async fn an_amount_alone_prices_no_payment_intent() {
    let app = TestApp::start().await;
    let mut paid = sale(Some("user_1"));
    paid.sku = None;
    comes_to(&app, &told("payment_intent.succeeded", &paid), "recorded").await;
    assert_eq!(app.balance("user_1").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn refunds_are_booked_by_id_or_by_their_sum_and_never_by_both() {
    let app = TestApp::start().await;
    let paid = sale(Some("user_1"));
    comes_to(&app, &told("checkout.session.completed", &paid), "recorded").await;
    let refund = |nth: u8, amount: i64, status: &str| {
        let refund = sample::refund(&paid, &format!("re_{}{nth}", paid.tail), amount);
        with(refund, "status", json!(status))
    };
    let sum = |refunded: i64| stripe_event("charge.refunded", &sample::charge(&paid, refunded));
    // 299 of 599 is 249 of 500.
    comes_to(
        &app,
        &stripe_event("refund.created", &refund(1, 299, "pending")),
        "recorded",
    )
    .await;
    comes_to(
        &app,
        &stripe_event("refund.updated", &refund(1, 299, "succeeded")),
        "duplicate",
    )
    .await;
    comes_to(&app, &sum(299), "recorded").await;
    assert_eq!(account(&app, "user_1").await, json!([251, 0, 0]));
    // The sum of the second comes before the second.
    comes_to(&app, &sum(599), "recorded").await;
    assert_eq!(account(&app, "user_1").await, json!([0, 0, 0]));
    comes_to(
        &app,
        &stripe_event("refund.created", &refund(2, 300, "succeeded")),
        "recorded",
    )
    .await;
    assert_eq!(account(&app, "user_1").await, json!([0, 0, 0]));
    // Weeks later the bank sends it back.
    comes_to(
        &app,
        &stripe_event("refund.failed", &refund(2, 300, "failed")),
        "recorded",
    )
    .await;
    assert_eq!(account(&app, "user_1").await, json!([251, 0, 0]));
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_refund_may_come_before_the_payment() {
    let app = TestApp::start().await;
    let paid = sale(Some("user_1"));
    let refund = sample::refund(&paid, "re_early", 599);
    comes_to(&app, &stripe_event("refund.created", &refund), "recorded").await;
    comes_to(&app, &told("checkout.session.completed", &paid), "recorded").await;
    assert_eq!(account(&app, "user_1").await, json!([0, 0, 0]));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_dispute_holds_back_and_its_end_decides() {
    let app = TestApp::start().await;
    for (buyer, end, left) in [("user_1", "won", 500), ("user_2", "lost", 0)] {
        let paid = sale(Some(buyer));
        comes_to(&app, &told("checkout.session.completed", &paid), "recorded").await;
        let inquiry = with(
            sample::dispute(&paid, "warning_needs_response"),
            "balance_transactions",
            json!([]),
        );
        comes_to(
            &app,
            &stripe_event("charge.dispute.created", &inquiry),
            "ignored",
        )
        .await;
        assert_eq!(account(&app, buyer).await, json!([500, 0, 0]));
        let open = sample::dispute(&paid, "needs_response");
        comes_to(
            &app,
            &stripe_event("charge.dispute.created", &open),
            "recorded",
        )
        .await;
        comes_to(
            &app,
            &stripe_event("charge.dispute.funds_withdrawn", &open),
            "duplicate",
        )
        .await;
        assert_eq!(account(&app, buyer).await, json!([500, 500, 0]));
        let closed = sample::dispute(&paid, end);
        comes_to(
            &app,
            &stripe_event("charge.dispute.closed", &closed),
            "recorded",
        )
        .await;
        assert_eq!(account(&app, buyer).await, json!([left, 0, 0]));
        // Late, and older.
        comes_to(
            &app,
            &stripe_event("charge.dispute.updated", &open),
            "duplicate",
        )
        .await;
        let warning = with(inquiry, "status", json!("warning_closed"));
        comes_to(
            &app,
            &stripe_event("charge.dispute.closed", &warning),
            "ignored",
        )
        .await;
        assert_eq!(account(&app, buyer).await, json!([left, 0, 0]));
    }
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_ours_is_kept_and_ignored() {
    let mode = Options {
        configure: std::sync::Arc::new(|config| config.stripe_livemode = Some(true)),
        ..Options::default()
    };
    let app = TestApp::start_with(mode).await;
    let event = |name: &str, value: Value| {
        let paid = sample::payment_intent(&sale(Some("user_1")));
        let event = sample::envelope(
            "payment_intent.succeeded",
            &unique("evt_"),
            some_time(),
            &paid,
        );
        let event = with(event, "livemode", json!(true));
        stripe(with(event, name, value).to_string())
    };
    for (name, value, reason) in [
        ("livemode", json!(false), "livemode false"),
        ("account", json!("acct_1"), "connect account acct_1"),
        (
            "object",
            json!("v2.core.event"),
            "thin event payment_intent.succeeded: the endpoint must send snapshot events",
        ),
    ] {
        let delivery = event(name, value);
        comes_to(&app, &delivery, "ignored").await;
        let sql = "select reason from inbox order by received_at desc limit 1";
        let kept: String = app.sql().await.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(kept, reason);
    }
    assert_eq!(app.count("select count(*) from events").await, 0);
    comes_to(&app, &event("pending_webhooks", json!(0)), "recorded").await;
    app.stop().await;
}

#[tokio::test]
async fn without_a_usable_id_it_is_kept_by_its_digest() {
    let app = TestApp::start().await;
    for body in [
        json!({"type": "invoice.paid"}),
        json!({"id": " ", "type": "invoice.paid"}),
    ] {
        comes_to(&app, &stripe(body.to_string()), "parked").await;
    }
    let parked =
        "select count(*) from inbox where key like 'sha256:%' and reason = 'missing_fields: id'";
    assert_eq!(app.count(parked).await, 2);
    app.stop().await;
}

/// Nobody is named, the payer's address is a user's: whichever comes first.
#[tokio::test]
async fn a_payment_that_names_nobody_finds_its_payer() {
    let app = TestApp::start().await;
    let paid = |user_id: &str| {
        let mut paid = sale(None);
        paid.email = Some(format!("{user_id}@example.com"));
        paid
    };
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    comes_to(
        &app,
        &told("checkout.session.completed", &paid("user_1")),
        "recorded",
    )
    .await;
    comes_to(
        &app,
        &told("checkout.session.completed", &paid("user_2")),
        "recorded",
    )
    .await;
    app.deliver(Source::Clerk, &created(&user("user_2"))).await;
    for user_id in ["user_1", "user_2"] {
        crate::support::eventually("matched by e-mail", async || {
            (app.balance(user_id).await == 520).then_some(())
        })
        .await;
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}
