//! Invoices of both layouts, and what paid them.

use super::*;

const PRO: &str = "price_1SjE2UIwn4ecfiRIZWn4YDvA";

/// The invoice of a period of the plan, in the newer layout.
fn newer() -> Value {
    let sale = StripeSale {
        amount_minor: 2000,
        price_id: Some(PRO.to_owned()),
        ..sale()
    };
    sample::invoice(&sale)
}

/// The same in the layout of API versions before 2025-03-31.
fn older() -> Value {
    json!({
        "id": "in_1", "object": "invoice", "status": "paid", "paid": true, "amount_paid": 2000, "subtotal": 2000,
        "currency": "usd", "customer_email": "payer@example.com", "created": 7,
        "payment_intent": "pi_1", "charge": "ch_1", "subscription": "sub_1",
        "subscription_details": {"metadata": {"user_id": "user_1"}},
        "lines": {"data": [{"amount": 2000, "proration": false, "price": {"id": PRO}, "plan": {"id": PRO}}]},
    })
}

/// A one-time purchase with an invoice.
fn one_time() -> Value {
    let invoice = without(without(older(), "subscription"), "subscription_details");
    let invoice = with(invoice, "lines", json!({"data": []}));
    with(
        with(invoice, "amount_paid", json!(4900)),
        "subtotal",
        json!(4900),
    )
}

fn paid(invoice: &Value) -> String {
    let one = shown(says("invoice.paid", invoice));
    assert_eq!(one, shown(says("invoice.payment_succeeded", invoice)));
    one
}

fn lines(invoice: Value, lines: &Value) -> Value {
    with(invoice, "lines", json!({"data": lines}))
}

#[test]
fn both_layouts_are_read() {
    assert_eq!(
        paid(&newer()),
        "capture stripe:in_1 2000 USD user=user_1 sku=pro_monthly subscription=sub_1 payer=payer@example.com"
    );
    assert_eq!(
        paid(&older()),
        "capture stripe:in_1 2000 USD user=user_1 sku=pro_monthly merges=stripe:pi_1 subscription=sub_1 payer=payer@example.com"
    );
    let by_charge = without(older(), "payment_intent");
    assert!(paid(&by_charge).contains("merges=stripe:ch_1"));
    let payments =
        json!({"data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_9"}}]});
    assert!(paid(&with(newer(), "payments", payments)).contains("merges=stripe:pi_9"));
}

#[test]
fn an_invoice_of_nothing_or_of_a_part_gives_nothing() {
    assert_eq!(
        paid(&with(newer(), "amount_paid", json!(0))),
        "ignore amount_paid 0"
    );
    assert_eq!(
        paid(&with(newer(), "status", json!("open"))),
        "ignore invoice status open"
    );
    let silent = without(newer(), "status");
    assert!(paid(&silent).starts_with("capture stripe:in_1"));
}

#[test]
fn the_user_and_the_sku_come_from_the_invoice_then_the_subscription_then_the_lines() {
    let mut invoice = newer();
    invoice["metadata"] = json!({"user_id": "of_invoice", "sku": "pack_500"});
    invoice["lines"]["data"][0]["metadata"] = json!({"user_id": "of_line", "sku": "pro_monthly"});
    // A sku that does not cost that is not what was bought, whatever else is known.
    assert_eq!(
        paid(&invoice),
        "capture stripe:in_1 2000 USD user=of_invoice subscription=sub_1 payer=payer@example.com"
    );
    invoice["metadata"] = json!({});
    assert!(paid(&invoice).contains("user=user_1 sku=pro_monthly"));
    invoice["parent"]["subscription_details"]["metadata"] = json!(null);
    assert!(paid(&invoice).contains("user=of_line sku=pro_monthly"));
}

#[test]
fn an_invoice_of_a_subscription_is_never_priced_by_its_amount() {
    for invoice in [newer(), older()] {
        let invoice = lines(
            invoice,
            &json!([{"amount": 4900, "price": {"id": "price_unknown"}}]),
        );
        let invoice = with(
            with(invoice, "amount_paid", json!(4900)),
            "subtotal",
            json!(4900),
        );
        assert!(!paid(&invoice).contains("sku="), "{invoice}");
    }
    assert!(paid(&one_time()).contains("sku=pack_500"));
}

#[test]
fn a_price_must_be_the_only_one_of_the_catalog() {
    let priced = |data: Value| paid(&lines(newer(), &data)).contains("sku=pro_monthly");
    let line = |amount: i64, price: &str| json!({"amount": amount, "pricing": {"price_details": {"price": price}}});
    assert!(priced(json!([line(2000, PRO)])));
    // What is not sold here does not matter.
    assert!(priced(json!([line(2000, PRO), line(500, "price_other")])));
    assert!(!priced(json!([line(2000, PRO), line(4900, "price_pack")])));
    assert!(!priced(json!([])));
    // A correction of an earlier period is none, in any layout.
    let mut correction = line(4900, "price_pack");
    for parent in ["subscription_item_details", "invoice_item_details"] {
        correction["parent"] = json!({parent: {"proration": true}});
        assert!(priced(json!([line(2000, PRO), correction])));
    }
    let older = json!({"amount": 4900, "price": {"id": "price_pack"}, "proration": true});
    assert!(priced(json!([line(2000, PRO), older])));
}

#[test]
fn the_price_is_compared_before_discounts_and_without_tax() {
    let priced = |changes: &[(&str, i64)]| {
        let mut invoice = newer();
        invoice["lines"]["data"][0]["amount"] = json!(null);
        for (name, amount) in changes {
            invoice = with(invoice, name, json!(amount));
        }
        paid(&invoice).contains("sku=pro_monthly")
    };
    assert!(priced(&[("amount_paid", 1000)]), "a coupon");
    assert!(priced(&[("amount_paid", 2400)]), "with tax on top");
    assert!(
        priced(&[
            ("amount_paid", 2400),
            ("subtotal", 2400),
            ("subtotal_excluding_tax", 2000)
        ]),
        "with tax within"
    );
    assert!(priced(&[("subtotal", 2500)]), "paid what it costs");
    assert!(!priced(&[("amount_paid", 1000), ("subtotal", 1900)]));
    // What a credit note took before it was paid is no coupon.
    let credited = ("pre_payment_credit_notes_amount", 1000);
    assert!(!priced(&[("amount_paid", 1000), credited]));
}

/// A period with something else on its invoice: the line of the pack says what it costs.
#[test]
fn the_line_of_the_pack_is_compared_alone() {
    let mut invoice = with(
        with(newer(), "amount_paid", json!(2300)),
        "subtotal",
        json!(2300),
    );
    assert!(paid(&invoice).contains("sku=pro_monthly"));
    assert!(paid(&invoice).starts_with("capture stripe:in_1 2300 USD"));
    // Two of them are not one.
    invoice["lines"]["data"][0]["amount"] = json!(4000);
    assert!(!paid(&invoice).contains("sku="));
}

#[test]
fn the_time_of_payment_falls_back() {
    let paid_at = |invoice: &Value| capture_in(says("invoice.paid", invoice)).paid_at_s;
    let invoice = with(older(), "status_transitions", json!({"paid_at": 9}));
    assert_eq!(paid_at(&invoice), 9);
    assert_eq!(paid_at(&older()), 7);
    assert_eq!(paid_at(&without(older(), "created")), AT_S);
}

#[test]
fn an_invoice_payment_says_what_paid_the_invoice() {
    let says = |payment: Value| {
        let object =
            json!({"id": "inpay_1", "invoice": "in_1", "payment": payment, "status": "paid"});
        shown(says("invoice_payment.paid", &object))
    };
    assert_eq!(
        says(json!({"type": "payment_intent", "payment_intent": "pi_1"})),
        "merge stripe:pi_1 into stripe:in_1"
    );
    assert_eq!(
        says(json!({"type": "payment_intent", "payment_intent": {"id": "pi_1"}})),
        "merge stripe:pi_1 into stripe:in_1"
    );
    assert_eq!(
        says(json!({"type": "charge", "charge": "ch_1"})),
        "merge stripe:ch_1 into stripe:in_1"
    );
    assert_eq!(
        says(json!({"type": "payment_record", "payment_record": "pr_1"})),
        "ignore invoice payment by payment_record"
    );
    assert_eq!(
        says(json!({"type": "payment_intent"})),
        "park missing_fields: data.object.payment.payment_intent"
    );
    assert_eq!(
        says(json!({})),
        "park missing_fields: data.object.payment.type"
    );
    assert_eq!(
        says(json!(null)),
        "park missing_fields: data.object.payment"
    );
}

#[test]
fn invoices_that_can_not_be_read_are_parked() {
    for (name, value) in [
        ("id", json!(null)),
        ("id", json!("in_1/../x")),
        ("amount_paid", json!("2000")),
        ("amount_paid", json!(-1)),
        ("currency", json!(null)),
    ] {
        let wanted = format!("park missing_fields: data.object.{name}");
        assert_eq!(paid(&with(newer(), name, value)), wanted);
    }
    let nameless = json!({"payment": {"type": "charge", "charge": "ch_1"}});
    assert_eq!(
        shown(says("invoice_payment.paid", &nameless)),
        "park missing_fields: data.object.invoice"
    );
}
