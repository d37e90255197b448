//! Razorpay's refunds and disputes over HTTP, each trap by its name.

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{self, SampleDispute, SamplePayment, SampleRefund};
use credit_ledger::provider::sign::SignedDelivery;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::deliveries::{captured, payment, razorpay, unique};

fn refund(amount_minor: i64, refunded_total_minor: i64) -> SampleRefund {
    SampleRefund {
        refund_id: unique("rfnd_"),
        amount_minor,
        refunded_total_minor,
    }
}

fn signed(body: &Value) -> SignedDelivery {
    razorpay(&unique("evt"), body.to_string())
}

async fn refunded(
    app: &TestApp,
    step: &str,
    paid: &SamplePayment,
    refund: &SampleRefund,
) -> String {
    let body = sample::razorpay_refund(&format!("refund.{step}"), paid, refund);
    status(app, &signed(&body)).await
}

async fn disputed(
    app: &TestApp,
    step: &str,
    paid: &SamplePayment,
    dispute: &SampleDispute,
) -> String {
    let body = sample::razorpay_dispute(&format!("payment.dispute.{step}"), paid, dispute);
    status(app, &signed(&body)).await
}

async fn status(app: &TestApp, delivery: &SignedDelivery) -> String {
    let answer = app.deliver(Source::Razorpay, delivery).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["status"].as_str().unwrap().to_owned()
}

/// Balance, held, debt.
async fn account(app: &TestApp, user_id: &str) -> (i64, i64, i64) {
    let answer = app.get(&format!("/v1/users/{user_id}/balance")).await;
    let number = |name: &str| answer.body[name].as_i64().unwrap();
    (number("balance"), number("held"), number("debt"))
}

#[tokio::test]
async fn a_refund_before_its_payment_is_recorded_and_the_payment_gives_the_rest() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    let part = refund(9980, 9980);
    assert_eq!(refunded(&app, "processed", &paid, &part).await, "recorded");
    assert_eq!(status(&app, &captured(&paid)).await, "recorded");
    assert_eq!(account(&app, "user_1").await, (400, 0, 0));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn one_refund_is_booked_once_whatever_tells_of_it_and_under_whatever_event_id() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    status(&app, &captured(&paid)).await;
    let part = refund(9980, 9980);
    assert_eq!(refunded(&app, "created", &paid, &part).await, "recorded");
    assert_eq!(refunded(&app, "processed", &paid, &part).await, "duplicate");
    let body = sample::razorpay_refund("refund.processed", &paid, &part);
    for invented in ["evt_invented_1", "evt_invented_2"] {
        let replayed = razorpay(invented, body.to_string());
        assert_eq!(status(&app, &replayed).await, "duplicate");
    }
    // The payment is told of again, with the sum of its refunds in it.
    let mut again = sample::razorpay_order_paid(&paid);
    again["payload"]["payment"]["entity"]["amount_refunded"] = json!(9980);
    assert_eq!(status(&app, &signed(&again)).await, "duplicate");
    assert_eq!(account(&app, "user_1").await, (400, 0, 0));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_full_refund_in_uneven_parts_takes_back_exactly_all_and_a_failed_part_comes_back() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    status(&app, &captured(&paid)).await;
    let parts = [
        refund(16_633, 16_633),
        refund(16_633, 33_266),
        refund(16_634, 49_900),
    ];
    for part in &parts {
        assert_eq!(refunded(&app, "processed", &paid, part).await, "recorded");
    }
    assert_eq!(account(&app, "user_1").await, (0, 0, 0));
    // The second one bounced.
    let bounced = SampleRefund {
        refunded_total_minor: 33_267,
        ..parts[1].clone()
    };
    assert_eq!(refunded(&app, "failed", &paid, &bounced).await, "recorded");
    assert_eq!(refunded(&app, "failed", &paid, &bounced).await, "duplicate");
    // 33,267 of 49,900 are gone: 333 of 500.
    assert_eq!(account(&app, "user_1").await, (167, 0, 0));
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_dispute_holds_credits_back_and_one_that_was_won_may_come_back() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    status(&app, &captured(&paid)).await;
    let chargeback = SampleDispute {
        dispute_id: unique("disp_"),
        amount_minor: 49_900,
        phase: "chargeback",
    };
    let reopened = SampleDispute {
        phase: "pre_arbitration",
        ..chargeback.clone()
    };
    for (step, dispute, answer, expected) in [
        ("created", &chargeback, "recorded", (500, 500, 0)),
        ("action_required", &chargeback, "duplicate", (500, 500, 0)),
        ("won", &chargeback, "recorded", (500, 0, 0)),
        ("under_review", &chargeback, "duplicate", (500, 0, 0)),
        ("created", &reopened, "recorded", (500, 500, 0)),
        ("lost", &reopened, "recorded", (0, 0, 0)),
        ("won", &chargeback, "duplicate", (0, 0, 0)),
    ] {
        let got = disputed(&app, step, &paid, dispute).await;
        assert_eq!(got, answer, "{step} of {}", dispute.phase);
        assert_eq!(
            account(&app, "user_1").await,
            expected,
            "{step} of {}",
            dispute.phase
        );
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_question_of_the_bank_holds_nothing_back() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    status(&app, &captured(&paid)).await;
    for phase in ["fraud", "retrieval"] {
        let question = SampleDispute {
            dispute_id: unique("disp_"),
            amount_minor: 49_900,
            phase,
        };
        assert_eq!(disputed(&app, "created", &paid, &question).await, "ignored");
        assert_eq!(account(&app, "user_1").await, (500, 0, 0));
    }
    app.stop().await;
}

#[tokio::test]
async fn a_refund_and_a_dispute_of_one_payment_take_its_credits_once() {
    let app = TestApp::start().await;
    let paid = payment(Some("user_1"));
    status(&app, &captured(&paid)).await;
    refunded(&app, "processed", &paid, &refund(49_900, 49_900)).await;
    let chargeback = SampleDispute {
        dispute_id: unique("disp_"),
        amount_minor: 49_900,
        phase: "chargeback",
    };
    for step in ["created", "lost"] {
        assert_eq!(disputed(&app, step, &paid, &chargeback).await, "recorded");
        assert_eq!(account(&app, "user_1").await, (0, 0, 0), "{step}");
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}
