//! Sessions, payment intents, charges and refunds, each quirk by itself.

use super::*;

fn session() -> Value {
    // A webhook has no lines in it.
    without(sample::session(&sale(), "paid"), "line_items")
}

fn completed(session: &Value) -> String {
    shown(says("checkout.session.completed", session))
}

fn subscribed() -> Value {
    let session = with(session(), "mode", json!("subscription"));
    let session = with(session, "payment_intent", json!(null));
    let session = with(session, "invoice", json!("in_1"));
    with(session, "subscription", json!("sub_1"))
}

#[test]
fn a_session_is_paid_when_its_payment_status_says_so() {
    let status = |status: &str| completed(&with(session(), "payment_status", json!(status)));
    assert_eq!(
        status("paid"),
        "capture stripe:pi_1 4900 USD user=user_1 sku=pack_500 payer=payer@example.com"
    );
    assert_eq!(status("unpaid"), "ignore payment_status unpaid");
    assert_eq!(status("a new\0 word"), "ignore payment_status a new word");
    // Complete or not, it is the money that counts; and without completion there is none.
    let open = with(session(), "status", json!("open"));
    assert_eq!(completed(&open), "ignore payment_status unpaid");
    let old = without(session(), "status");
    assert!(completed(&old).starts_with("capture stripe:pi_1"));
}

#[test]
fn a_coupon_takes_nothing_from_what_was_bought() {
    let free = with(session(), "payment_intent", json!(null));
    let free = with(free, "amount_total", json!(0));
    for status in ["no_payment_required", "paid"] {
        let free = with(free.clone(), "payment_status", json!(status));
        assert_eq!(
            completed(&free),
            "capture stripe:cs_test_1 0 USD user=user_1 sku=pack_500 payer=payer@example.com"
        );
    }
    // Checkout's invoice of nothing is ignored, so it is not the purchase.
    let invoiced = with(free, "invoice", json!("in_1"));
    assert!(completed(&invoiced).starts_with("capture stripe:cs_test_1 0"));
    let half = with(session(), "amount_total", json!(2450));
    assert!(completed(&half).starts_with("capture stripe:pi_1 2450 USD user=user_1 sku=pack_500"));
    // The tax is on top of the price.
    let taxed = with(session(), "amount_total", json!(5831));
    assert!(completed(&taxed).starts_with("capture stripe:pi_1 5831 USD user=user_1 sku=pack_500"));
    // Neither amount is a price.
    let other = with(half, "amount_subtotal", json!(4901));
    assert_eq!(
        completed(&other),
        "capture stripe:pi_1 2450 USD user=user_1 payer=payer@example.com"
    );
}

#[test]
fn nothing_is_given_for_a_payment_that_is_only_put_off() {
    let later = with(session(), "payment_status", json!("no_payment_required"));
    assert_eq!(
        completed(&later),
        "ignore payment_status no_payment_required of an amount that is due"
    );
}

#[test]
fn an_invoice_is_the_purchase_and_its_payment_intent_a_part_of_it() {
    let invoiced = with(session(), "invoice", json!("in_1"));
    assert_eq!(
        completed(&invoiced),
        "capture stripe:in_1 4900 USD user=user_1 sku=pack_500 merges=stripe:pi_1 payer=payer@example.com"
    );
    let expanded = with(
        invoiced,
        "invoice",
        json!({"id": "in_1", "object": "invoice"}),
    );
    let expanded = with(expanded, "payment_intent", json!({"id": "pi_1"}));
    assert!(
        completed(&expanded).contains("stripe:in_1")
            && completed(&expanded).contains("merges=stripe:pi_1")
    );
}

#[test]
fn a_session_of_a_subscription_names_who_and_never_prices_by_amount() {
    // 4900 USD is the price of a pack.
    assert_eq!(
        completed(&subscribed()),
        "capture stripe:in_1 4900 USD user=user_1 subscription=sub_1 payer=payer@example.com"
    );
    let named = with(subscribed(), "metadata", json!({"sku": "pack_500"}));
    assert!(completed(&named).contains("sku=pack_500"));
    let trial = with(subscribed(), "amount_total", json!(0));
    assert_eq!(completed(&trial), "ignore amount_total 0");
    let trial = with(subscribed(), "payment_status", json!("no_payment_required"));
    assert_eq!(
        completed(&trial),
        "ignore payment_status no_payment_required"
    );
    let lost = with(subscribed(), "invoice", json!(null));
    assert_eq!(completed(&lost), "park missing_fields: data.object.invoice");
    let setup = with(session(), "mode", json!("setup"));
    assert_eq!(completed(&setup), "ignore checkout mode setup");
}

#[test]
fn the_user_is_the_client_reference_then_the_metadata() {
    let user = |reference: Value, metadata: Value| {
        let session = with(session(), "client_reference_id", reference);
        let capture = capture_in(says(
            "checkout.session.completed",
            &with(session, "metadata", metadata),
        ));
        capture.user_id.map(String::from)
    };
    let metadata = json!({"user_id": "other"});
    assert_eq!(
        user(json!("user_1"), metadata.clone()),
        Some("user_1".to_owned())
    );
    for none in [json!(null), json!(""), json!("a b"), json!(7)] {
        assert_eq!(
            user(none.clone(), metadata.clone()),
            Some("other".to_owned()),
            "{none}"
        );
        assert_eq!(user(none, json!([])), None);
    }
}

#[test]
fn credits_are_never_read_from_metadata() {
    let metadata = json!({"user_id": "user_1", "credits": "1000000", "pack": "pack_500"});
    let session = with(
        with(session(), "metadata", metadata.clone()),
        "amount_subtotal",
        json!(1),
    );
    assert!(!completed(&with(session, "amount_total", json!(1))).contains("sku="));
    let intent = with(sample::payment_intent(&sale()), "metadata", metadata);
    assert!(!shown(says("payment_intent.succeeded", &intent)).contains("sku="));
}

#[test]
fn a_payment_intent_or_a_charge_is_never_priced_by_its_amount() {
    let with_sku = |object: Value| {
        with(
            object,
            "metadata",
            json!({"user_id": "u", "sku": "pack_500"}),
        )
    };
    for (name, object) in [
        ("payment_intent.succeeded", sample::payment_intent(&sale())),
        ("charge.succeeded", sample::charge(&sale(), 0)),
        ("charge.captured", sample::charge(&sale(), 0)),
    ] {
        assert_eq!(
            shown(says(name, &object)),
            "capture stripe:pi_1 4900 USD user=user_1 payer=payer@example.com"
        );
        assert_eq!(
            shown(says(name, &with_sku(object))),
            "capture stripe:pi_1 4900 USD user=u sku=pack_500 payer=payer@example.com"
        );
    }
}

#[test]
fn of_a_payment_intent_what_was_received_counts() {
    let intent = with(
        sample::payment_intent(&sale()),
        "amount_received",
        json!(100),
    );
    assert!(
        shown(says("payment_intent.succeeded", &intent)).starts_with("capture stripe:pi_1 100 USD")
    );
    let status = with(intent, "status", json!("requires_capture"));
    assert_eq!(
        shown(says("payment_intent.succeeded", &status)),
        "ignore payment intent status requires_capture"
    );
}

#[test]
fn a_charge_must_be_captured_and_paid() {
    let says = |name: &str, value: Value| {
        let charge = with(sample::charge(&sale(), 0), name, value);
        shown(says("charge.succeeded", &charge))
    };
    assert_eq!(says("captured", json!(false)), "ignore charge not captured");
    assert_eq!(
        says("captured", json!(null)),
        "park missing_fields: data.object.captured"
    );
    assert_eq!(says("paid", json!(false)), "ignore charge not paid");
    assert_eq!(
        says("status", json!("pending")),
        "ignore charge status pending"
    );
    assert!(says("amount_captured", json!(700)).starts_with("capture stripe:pi_1 700 USD"));
    // Without a payment intent it stands for itself.
    assert!(says("payment_intent", json!(null)).starts_with("capture stripe:ch_1 4900 USD"));
    // What already went back, it says itself.
    let back = says("amount_refunded", json!(1500));
    assert!(back.starts_with("capture stripe:pi_1 4900 USD") && back.contains("refunded=1500"));
}

/// `invoice` is on payment intents and charges of API versions before 2025-03-31.
#[test]
fn an_invoice_that_a_payment_names_is_the_purchase() {
    let intent = with(sample::payment_intent(&sale()), "invoice", json!("in_1"));
    assert_eq!(
        shown(says("payment_intent.succeeded", &intent)),
        "capture stripe:in_1 4900 USD user=user_1 merges=stripe:pi_1 payer=payer@example.com"
    );
    let charge = with(sample::charge(&sale(), 0), "invoice", json!("in_1"));
    assert!(shown(says("charge.succeeded", &charge)).contains("merges=stripe:pi_1"));
    let charge = with(charge, "payment_intent", json!(null));
    assert_eq!(
        shown(says("charge.succeeded", &charge)),
        "capture stripe:in_1 4900 USD user=user_1 merges=stripe:ch_1 payer=payer@example.com"
    );
}

#[test]
fn amounts_are_minor_units_as_stripe_counts_them() {
    // No decimals, three decimals, and two that are written and always zero.
    for (amount_minor, currency) in [(7500, "jpy"), (15_250, "kwd"), (500, "isk"), (500, "ugx")] {
        let sale = StripeSale {
            amount_minor,
            currency: currency.to_owned(),
            ..sale()
        };
        let money = capture_in(says(
            "payment_intent.succeeded",
            &sample::payment_intent(&sale),
        ))
        .money;
        assert_eq!(money, self::money(amount_minor, &currency.to_uppercase()));
    }
}

#[test]
fn the_time_of_payment_is_that_of_the_event() {
    let paid_at = |body: &Value| capture_in(stripe_says(body)).paid_at_s;
    let body = event(
        "checkout.session.completed",
        &with(session(), "created", json!(5)),
    );
    assert_eq!(paid_at(&body), AT_S);
    assert_eq!(paid_at(&without(body, "created")), now().timestamp());
}

#[test]
fn payments_that_can_not_be_read_are_parked() {
    for (name, value) in [
        ("mode", json!(null)),
        ("payment_status", json!(1)),
        ("amount_total", json!("4900")),
        ("amount_total", json!(-1)),
        ("amount_total", json!(1.5)),
        ("currency", json!("dollar")),
        ("payment_intent", json!("pi 1")),
        ("payment_intent", json!({"id": ""})),
    ] {
        let wanted = format!("park missing_fields: data.object.{name}");
        assert_eq!(completed(&with(session(), name, value)), wanted);
    }
    for (name, object, field) in [
        ("payment_intent.succeeded", json!({}), "amount_received"),
        ("payment_intent.succeeded", json!({"amount": 1}), "id"),
        (
            "payment_intent.succeeded",
            json!({"amount": 1, "id": "pi_1"}),
            "currency",
        ),
        (
            "charge.succeeded",
            json!({"captured": true}),
            "amount_captured",
        ),
        (
            "charge.succeeded",
            json!({"captured": true, "amount": 1}),
            "id",
        ),
        ("refund.created", json!({}), "payment_intent"),
        (
            "refund.created",
            json!({"charge": "ch_1", "amount": 0}),
            "amount",
        ),
        (
            "refund.created",
            json!({"charge": "ch_1", "amount": 1}),
            "id",
        ),
        ("charge.refunded", json!({}), "amount_refunded"),
        ("charge.refunded", json!({"amount_refunded": 1}), "id"),
    ] {
        assert_eq!(says(name, &object), parked_object(field), "{name} {object}");
    }
}

fn parked_object(field: &str) -> Translated {
    let path = format!("data.object.{field}");
    parked(Box::leak(path.into_boxed_str()))
}

// ---- what went back

#[test]
fn a_refund_is_told_by_its_own_id_and_counts_until_it_fails() {
    let refund = sample::refund(&sale(), "re_1", 1500);
    let says = |name: &str, refund: &Value| shown(says(name, refund));
    for name in ["refund.created", "refund.updated", "charge.refund.updated"] {
        for status in ["succeeded", "pending", "requires_action", "tomorrow"] {
            let refund = with(refund.clone(), "status", json!(status));
            assert_eq!(says(name, &refund), "refund stripe:pi_1 re_1 1500");
        }
        for status in ["failed", "canceled"] {
            let refund = with(refund.clone(), "status", json!(status));
            assert_eq!(says(name, &refund), "refund stripe:pi_1 re_1 1500 failed");
        }
    }
    assert_eq!(
        says("refund.failed", &refund),
        "refund stripe:pi_1 re_1 1500 failed"
    );
    let of_charge = with(refund, "payment_intent", json!(null));
    assert_eq!(
        says("refund.created", &of_charge),
        "refund stripe:ch_1 re_1 1500"
    );
}

#[test]
fn what_a_charge_says_went_back_is_the_sum_of_all() {
    let refunded = |charge: &Value| shown(says("charge.refunded", charge));
    let charge = sample::charge(&sale(), 1500);
    assert_eq!(refunded(&charge), "refund stripe:pi_1 total 1500");
    // Not needed, and not believed.
    let previous = with(
        charge.clone(),
        "previous_attributes",
        json!({"amount_refunded": 1000}),
    );
    assert_eq!(refunded(&previous), "refund stripe:pi_1 total 1500");
    let alone = with(charge, "payment_intent", json!(null));
    assert_eq!(refunded(&alone), "refund stripe:ch_1 total 1500");
}

/// What was authorized and not captured is counted as refunded by Stripe, and was never ours.
#[test]
fn what_was_never_captured_did_not_go_back() {
    let partly = |refunded: i64| {
        with(
            sample::charge(&sale(), refunded),
            "amount_captured",
            json!(4000),
        )
    };
    let refunded = |charge: &Value| shown(says("charge.refunded", charge));
    assert_eq!(
        refunded(&partly(900)),
        "ignore nothing that was captured went back"
    );
    assert_eq!(refunded(&partly(1000)), "refund stripe:pi_1 total 100");
    assert_eq!(refunded(&partly(4900)), "refund stripe:pi_1 total 4000");
    let captured = shown(says("charge.captured", &partly(900)));
    assert!(
        captured.starts_with("capture stripe:pi_1 4000 USD") && !captured.contains("refunded=")
    );
    // An authorization that was given up.
    let given_up = with(sample::charge(&sale(), 4900), "amount_captured", json!(0));
    assert_eq!(
        refunded(&given_up),
        "ignore nothing that was captured went back"
    );
}
