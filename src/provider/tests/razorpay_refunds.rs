//! Every quirk of Razorpay's refunds and disputes by itself.

use super::super::sample::{self, SampleDispute, SamplePayment, SampleRefund};
use super::*;
use crate::ledger::command::{DisputePayment, DisputeStanding, Refund, RefundPayment};

fn payment() -> Value {
    json!({ "id": "pay_1", "amount": 49_900, "currency": "INR", "status": "captured", "amount_refunded": 20_000 })
}

fn refund() -> Value {
    json!({ "id": "rfnd_1", "payment_id": "pay_1", "amount": 15_000, "currency": "INR", "status": "processed" })
}

fn dispute() -> Value {
    json!({ "id": "disp_1", "payment_id": "pay_1", "amount": 30_000, "currency": "INR",
        "amount_deducted": 0, "status": "open", "phase": "chargeback" })
}

fn event(name: &str, payload: &[(&str, &Value)]) -> Value {
    let payload: serde_json::Map<String, Value> = payload
        .iter()
        .map(|(name, entity)| ((*name).to_owned(), json!({ "entity": entity })))
        .collect();
    json!({ "event": name, "payload": payload })
}

fn refund_event(name: &str, refund: &Value, payment: &Value) -> Translated {
    razorpay_says(&event(name, &[("refund", refund), ("payment", payment)]))
}

fn refunded(name: &str, refund: &Value, payment: &Value) -> RefundPayment {
    match refund_event(name, refund, payment) {
        Translated::Apply(Command::RefundPayment(command)) => command,
        other => panic!("no refund: {other:?}"),
    }
}

fn dispute_event(step: &str, dispute: &Value, payment: &Value) -> Translated {
    let payload = [("payment", payment), ("dispute", dispute)];
    razorpay_says(&event(&format!("payment.dispute.{step}"), &payload))
}

fn disputed(step: &str, dispute: &Value) -> DisputePayment {
    match dispute_event(step, dispute, &payment()) {
        Translated::Apply(Command::DisputePayment(command)) => command,
        other => panic!("no dispute: {other:?}"),
    }
}

fn lost(amount_minor: i64) -> DisputeStanding {
    DisputeStanding::Lost { amount_minor }
}

fn open(amount_minor: i64) -> DisputeStanding {
    DisputeStanding::Open { amount_minor }
}

#[test]
fn a_refund_is_known_by_its_id_and_beside_it_the_sum_of_all() {
    for name in ["refund.created", "refund.processed"] {
        for status in [
            json!("pending"),
            json!("processed"),
            json!(null),
            json!("?"),
        ] {
            let command = refunded(name, &with(refund(), "status", status), &payment());
            assert_eq!(command.purchase_id.as_str(), "razorpay:pay_1");
            let one = command.refund.unwrap();
            let one = (one.refund_id.as_str(), one.amount_minor, one.failed);
            assert_eq!(one, ("rfnd_1", 15_000, false));
            assert_eq!(command.refunded_total_minor, 20_000);
        }
    }
}

#[test]
fn a_refund_that_failed_says_nothing_of_the_sum() {
    let failed = with(refund(), "status", json!("failed"));
    for (name, refund) in [
        ("refund.failed", refund()),
        ("refund.failed", failed.clone()),
        ("refund.created", failed.clone()),
        ("refund.processed", failed),
    ] {
        let command = refunded(name, &refund, &payment());
        assert!(command.refund.unwrap().failed, "{name}");
        assert_eq!(command.refunded_total_minor, 0, "{name}");
    }
}

#[test]
fn the_sum_of_refunds_is_between_nothing_and_the_payment() {
    let total =
        |payment: Value| refunded("refund.processed", &refund(), &payment).refunded_total_minor;
    for (told, counted) in [
        (json!(0), 0),
        (json!(null), 0),
        (json!("20000"), 0),
        (json!(-1), 0),
        (json!(49_900), 49_900),
        (json!(49_901), 49_900),
        (json!(i64::MAX), 49_900),
    ] {
        assert_eq!(total(with(payment(), "amount_refunded", told)), counted);
    }
    assert_eq!(total(without(payment(), "amount_refunded")), 0);
    assert_eq!(total(json!(null)), 0);
    assert_eq!(total(with(payment(), "id", json!("pay_2"))), 0, "another's");
    let whole = with(payment(), "status", json!("refunded"));
    assert_eq!(total(whole), 49_900, "the status says all of it");
}

#[test]
fn the_payment_of_a_refund_is_the_one_it_names_else_the_one_that_came_along() {
    let nameless = without(refund(), "payment_id");
    let command = refunded("refund.created", &nameless, &payment());
    assert_eq!(command.purchase_id.as_str(), "razorpay:pay_1");
    let alone = razorpay_says(&event("refund.created", &[("refund", &refund())]));
    assert!(matches!(
        alone,
        Translated::Apply(Command::RefundPayment(r)) if r.purchase_id.as_str() == "razorpay:pay_1"
    ));
}

#[test]
fn a_refund_that_can_not_be_read_is_parked() {
    let park = |refund: Value, payment: Value, field| {
        let translated = refund_event("refund.processed", &refund, &payment);
        assert_eq!(translated, parked(field), "{refund}");
    };
    park(json!(null), payment(), "payload.refund.entity");
    for id in [
        json!(null),
        json!("pay_1"),
        json!("rfnd_"),
        json!("rfnd_1 2"),
    ] {
        let field = "payload.refund.entity.id";
        park(with(refund(), "id", id), payment(), field);
    }
    for amount in [json!(null), json!(0), json!(-1), json!("1"), json!(1.5)] {
        let field = "payload.refund.entity.amount";
        park(with(refund(), "amount", amount), payment(), field);
    }
    let field = "payload.refund.entity.payment_id";
    park(
        with(refund(), "payment_id", json!("order_1")),
        payment(),
        field,
    );
    park(without(refund(), "payment_id"), json!(null), field);
    // Paise are no cents.
    let field = "payload.refund.entity.currency";
    park(refund(), with(payment(), "currency", json!("USD")), field);
}

#[test]
fn a_changed_speed_moves_no_money() {
    let translated = refund_event("refund.speed_changed", &refund(), &payment());
    let reason = "event type refund.speed_changed".to_owned();
    assert_eq!(translated, Translated::Ignore(reason));
}

#[test]
fn a_payment_that_went_back_in_part_or_whole_was_captured_all_the_same() {
    let captured = |payment: &Value| {
        let translated = razorpay_says(&event("payment.captured", &[("payment", payment)]));
        capture_in(translated).refunded_total_minor
    };
    assert_eq!(captured(&payment()), 20_000);
    assert_eq!(captured(&without(payment(), "amount_refunded")), 0);
    assert_eq!(
        captured(&with(payment(), "status", json!("refunded"))),
        49_900
    );
}

#[test]
fn a_dispute_goes_up_through_its_stages() {
    let stages: Vec<(u32, DisputeStanding)> = [
        ("chargeback", "open", "created"),
        ("chargeback", "under_review", "under_review"),
        ("chargeback", "action_required", "action_required"),
        ("chargeback", "closed", "closed"),
        ("chargeback", "lost", "lost"),
        ("chargeback", "won", "won"),
        ("pre_arbitration", "open", "created"),
        ("pre_arbitration", "won", "won"),
        ("arbitration", "open", "created"),
        ("arbitration", "lost", "lost"),
        ("a_phase_of_tomorrow", "lost", "lost"),
    ]
    .into_iter()
    .map(|(phase, status, step)| {
        let entity = with(dispute(), "phase", json!(phase));
        let command = disputed(step, &with(entity, "status", json!(status)));
        assert_eq!(command.purchase_id.as_str(), "razorpay:pay_1");
        assert_eq!(command.dispute_id, "disp_1");
        (command.stage.0, command.standing)
    })
    .collect();
    assert_eq!(
        stages,
        [
            (0, open(30_000)),
            (0, open(30_000)),
            (0, open(30_000)),
            (1, DisputeStanding::Won),
            (2, lost(30_000)),
            (3, DisputeStanding::Won),
            (10, open(30_000)),
            (13, DisputeStanding::Won),
            (20, open(30_000)),
            (22, lost(30_000)),
            (2, lost(30_000)),
        ]
    );
}

/// Payloads are snapshots: what the dispute says of itself is newer than why it was sent.
#[test]
fn the_status_of_a_dispute_decides_and_then_the_type_of_the_event() {
    let late = disputed("created", &with(dispute(), "status", json!("lost")));
    assert_eq!((late.stage.0, late.standing), (2, lost(30_000)));
    for status in [json!(null), json!("a status of tomorrow"), json!(7)] {
        let command = disputed("won", &with(dispute(), "status", status));
        assert_eq!(
            (command.stage.0, command.standing),
            (3, DisputeStanding::Won)
        );
    }
    let translated = dispute_event("appealed", &dispute(), &payment());
    let reason = "event type payment.dispute.appealed".to_owned();
    assert_eq!(translated, Translated::Ignore(reason));
}

#[test]
fn a_question_of_the_bank_moves_no_money() {
    for phase in ["fraud", "retrieval"] {
        for step in ["created", "under_review", "closed", "lost", "won"] {
            let status = if step == "created" { "open" } else { step };
            let entity = with(dispute(), "status", json!(status));
            let entity = with(entity, "phase", json!(phase));
            let reason = format!("dispute phase {phase}: no money moves");
            let translated = dispute_event(step, &entity, &payment());
            assert_eq!(translated, Translated::Ignore(reason), "{step}");
        }
    }
    let entity = with(dispute(), "phase", json!("fraud"));
    let entity = with(entity, "amount_deducted", json!(30_000));
    let command = disputed("lost", &with(entity, "status", json!("lost")));
    assert_eq!(command.standing, lost(30_000), "this one did");
}

#[test]
fn what_a_lost_dispute_took_is_what_was_deducted() {
    let standing = |status: &str, deducted: Value, payment: &Value| {
        let entity = with(dispute(), "status", json!(status));
        let entity = with(entity, "amount_deducted", deducted);
        match dispute_event(status, &entity, payment) {
            Translated::Apply(Command::DisputePayment(command)) => command.standing,
            other => panic!("no dispute: {other:?}"),
        }
    };
    for status in ["lost", "closed"] {
        for (deducted, amount) in [(json!(10_000), 10_000), (json!(30_000), 30_000)] {
            assert_eq!(standing(status, deducted, &payment()), lost(amount));
        }
        // With a fee on top: the fee bought no credits.
        assert_eq!(standing(status, json!(30_500), &payment()), lost(30_000));
    }
    for none in [json!(0), json!(null), json!(-5), json!("10000")] {
        assert_eq!(standing("lost", none.clone(), &payment()), lost(30_000));
        assert_eq!(standing("closed", none, &payment()), DisputeStanding::Won);
    }
    // The deduction is counted in the account's own currency, the dispute in the payment's.
    let converted = with(payment(), "base_currency", json!("USD"));
    assert_eq!(standing("lost", json!(400), &converted), lost(30_000));
    let same = with(payment(), "base_currency", json!("INR"));
    assert_eq!(standing("lost", json!(400), &same), lost(400));
}

#[test]
fn a_dispute_in_another_currency_is_about_the_whole_payment() {
    let dollars = with(payment(), "currency", json!("USD"));
    let is_whole = |step: &str, entity: &Value, standing: DisputeStanding| match dispute_event(
        step, entity, &dollars,
    ) {
        Translated::Apply(Command::DisputePayment(command)) => {
            assert_eq!(command.standing, standing);
        }
        other => panic!("no dispute: {other:?}"),
    };
    is_whole("created", &dispute(), open(49_900));
    let entity = with(dispute(), "status", json!("lost"));
    let entity = with(entity, "amount_deducted", json!(30_000));
    is_whole("lost", &entity, lost(49_900));
}

#[test]
fn a_dispute_that_can_not_be_read_is_parked() {
    let park = |dispute: Value, field| {
        let translated = dispute_event("created", &dispute, &payment());
        assert_eq!(translated, parked(field), "{dispute}");
    };
    park(json!(null), "payload.dispute.entity");
    for id in [
        json!(null),
        json!("dispute"),
        json!("disp_"),
        json!("rfnd_1"),
    ] {
        park(with(dispute(), "id", id), "payload.dispute.entity.id");
    }
    for amount in [json!(null), json!(0), json!(-1), json!("1")] {
        let field = "payload.dispute.entity.amount";
        park(with(dispute(), "amount", amount), field);
    }
    let field = "payload.dispute.entity.payment_id";
    park(with(dispute(), "payment_id", json!("order_1")), field);
    // One that was won needs no amount.
    let won = with(without(dispute(), "amount"), "status", json!("won"));
    assert_eq!(disputed("won", &won).standing, DisputeStanding::Won);
}

#[test]
fn the_samples_are_read_like_the_real_ones() {
    let payment = SamplePayment {
        payment_id: "pay_1".to_owned(),
        order_id: None,
        amount_minor: 49_900,
        currency: "INR".to_owned(),
        user_id: None,
        sku: None,
        email: None,
        created_at: now(),
    };
    let purchase_id = crate::ledger::PurchaseId::parse("razorpay:pay_1").unwrap();
    for event_type in sample::RAZORPAY_TYPES {
        let body = sample::razorpay_event(event_type, &payment).unwrap();
        assert_eq!(body["event"], event_type);
        let translated = razorpay_says(&body);
        assert!(
            matches!(translated, Translated::Apply(_)),
            "{event_type}: {translated:?}"
        );
    }
    assert_eq!(sample::razorpay_event("refund.?", &payment), None);
    for (event_type, refunded_total_minor, failed) in [
        ("refund.created", 20_000, false),
        ("refund.processed", 49_900, false),
        ("refund.failed", 0, true),
    ] {
        let refund = SampleRefund {
            refund_id: "rfnd_1".to_owned(),
            amount_minor: 20_000,
            refunded_total_minor,
        };
        let expected = RefundPayment {
            purchase_id: purchase_id.clone(),
            refund: Some(Refund {
                refund_id: "rfnd_1".to_owned(),
                amount_minor: 20_000,
                failed,
            }),
            refunded_total_minor,
        };
        assert_eq!(
            razorpay_says(&sample::razorpay_refund(event_type, &payment, &refund)),
            Translated::Apply(Command::RefundPayment(expected))
        );
    }
    let dispute = SampleDispute {
        dispute_id: "disp_1".to_owned(),
        amount_minor: 20_000,
        phase: "pre_arbitration",
    };
    for (step, stage, standing) in [
        ("created", 10, open(20_000)),
        ("under_review", 10, open(20_000)),
        ("closed", 11, DisputeStanding::Won),
        ("lost", 12, lost(20_000)),
        ("won", 13, DisputeStanding::Won),
    ] {
        let event_type = format!("payment.dispute.{step}");
        let expected = DisputePayment {
            purchase_id: purchase_id.clone(),
            dispute_id: "disp_1".to_owned(),
            stage: crate::ledger::event::DisputeStage(stage),
            standing,
            currency: None,
        };
        assert_eq!(
            razorpay_says(&sample::razorpay_dispute(&event_type, &payment, &dispute)),
            Translated::Apply(Command::DisputePayment(expected))
        );
    }
}
