//! What Stripe says of one purchase, from checkout to dispute, and of the subscription that it began.
//!
//! In the layout of API version 2026-10-28.endive, with the members that concern money; never a card.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// One purchase, whose ids are all made of one tail.
#[derive(Debug, Clone)]
pub struct StripeSale {
    /// What the ids end in: letters and digits.
    pub tail: String,
    /// In the currency's minor unit.
    pub amount_minor: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// The session's `client_reference_id`, and `user_id` in the metadata of all.
    pub user_id: Option<String>,
    /// `sku` in the metadata of all.
    pub sku: Option<String>,
    /// Stripe's price on the lines of the session, the invoice and the subscription.
    pub price_id: Option<String>,
    /// Who paid.
    pub email: Option<String>,
    /// When it was paid.
    pub created_at: DateTime<Utc>,
}

impl StripeSale {
    /// `cs_test_…`
    pub fn session_id(&self) -> String {
        format!("cs_test_{}", self.tail)
    }

    /// `pi_…`
    pub fn payment_intent_id(&self) -> String {
        format!("pi_{}", self.tail)
    }

    /// `ch_…`
    pub fn charge_id(&self) -> String {
        format!("ch_{}", self.tail)
    }

    /// `in_…`
    pub fn invoice_id(&self) -> String {
        format!("in_{}", self.tail)
    }

    /// `sub_…`
    pub fn subscription_id(&self) -> String {
        format!("sub_{}", self.tail)
    }

    fn at_s(&self) -> i64 {
        self.created_at.timestamp()
    }

    fn metadata(&self) -> Value {
        let values: serde_json::Map<String, Value> =
            [("user_id", &self.user_id), ("sku", &self.sku)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
                .collect();
        Value::Object(values)
    }

    fn price(&self) -> Value {
        json!({
            "id": self.price_id,
            "object": "price",
            "currency": self.currency,
            "unit_amount": self.amount_minor,
        })
    }
}

/// The event types of which there is a sample.
pub const TYPES: [&str; 10] = [
    "checkout.session.completed",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice_payment.paid",
    "charge.refunded",
    "refund.created",
    "charge.dispute.created",
    "charge.dispute.closed",
    "customer.subscription.created",
    "customer.subscription.deleted",
];

/// The body of an event of one of [`TYPES`] about a sale; `None` for other types. Refunds and disputes are of the whole
/// amount, a closed dispute is lost.
pub fn event(event_type: &str, event_id: &str, sale: &StripeSale) -> Option<Value> {
    let object = match event_type {
        "checkout.session.completed" => session(sale, "paid"),
        "payment_intent.succeeded" => payment_intent(sale),
        "invoice.paid" => invoice(sale),
        "invoice_payment.paid" => invoice_payment(sale),
        "charge.refunded" => charge(sale, sale.amount_minor),
        "refund.created" => refund(sale, &format!("re_{}", sale.tail), sale.amount_minor),
        "charge.dispute.created" => dispute(sale, "needs_response"),
        "charge.dispute.closed" => dispute(sale, "lost"),
        "customer.subscription.created" => subscription(sale, "active"),
        "customer.subscription.deleted" => subscription(sale, "canceled"),
        _ => return None,
    };
    Some(envelope(event_type, event_id, sale.created_at, &object))
}

/// An event around any object.
pub fn envelope(
    event_type: &str,
    event_id: &str,
    created_at: DateTime<Utc>,
    object: &Value,
) -> Value {
    json!({
        "id": event_id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": created_at.timestamp(),
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": event_type,
    })
}

/// A one-time checkout of a payment status, with its lines: also what `GET /v1/checkout/sessions/{id}` answers.
pub fn session(sale: &StripeSale, payment_status: &str) -> Value {
    json!({
        "id": sale.session_id(),
        "object": "checkout.session",
        "amount_subtotal": sale.amount_minor,
        "amount_total": sale.amount_minor,
        "client_reference_id": sale.user_id,
        "created": sale.at_s(),
        "currency": sale.currency,
        "customer": null,
        "customer_details": { "email": sale.email },
        "invoice": null,
        "line_items": { "object": "list", "data": [{ "object": "item", "quantity": 1, "price": sale.price() }] },
        "livemode": false,
        "metadata": sale.metadata(),
        "mode": "payment",
        "payment_intent": sale.payment_intent_id(),
        "payment_status": payment_status,
        "status": "complete",
        "subscription": null,
    })
}

/// A payment intent that succeeded.
pub fn payment_intent(sale: &StripeSale) -> Value {
    json!({
        "id": sale.payment_intent_id(),
        "object": "payment_intent",
        "amount": sale.amount_minor,
        "amount_received": sale.amount_minor,
        "created": sale.at_s(),
        "currency": sale.currency,
        "latest_charge": sale.charge_id(),
        "livemode": false,
        "metadata": sale.metadata(),
        "receipt_email": sale.email,
        "status": "succeeded",
    })
}

/// A charge of which so much went back.
pub fn charge(sale: &StripeSale, refunded_minor: i64) -> Value {
    json!({
        "id": sale.charge_id(),
        "object": "charge",
        "amount": sale.amount_minor,
        "amount_captured": sale.amount_minor,
        "amount_refunded": refunded_minor,
        "billing_details": { "email": sale.email },
        "captured": true,
        "created": sale.at_s(),
        "currency": sale.currency,
        "livemode": false,
        "metadata": sale.metadata(),
        "paid": true,
        "payment_intent": sale.payment_intent_id(),
        "refunded": refunded_minor == sale.amount_minor,
        "status": "succeeded",
    })
}

/// The paid invoice of a subscription's period.
pub fn invoice(sale: &StripeSale) -> Value {
    json!({
        "id": sale.invoice_id(),
        "object": "invoice",
        "amount_due": sale.amount_minor,
        "amount_paid": sale.amount_minor,
        "billing_reason": "subscription_cycle",
        "created": sale.at_s(),
        "currency": sale.currency,
        "customer_email": sale.email,
        "lines": { "object": "list", "data": [{
            "id": format!("il_{}", sale.tail),
            "object": "line_item",
            "amount": sale.amount_minor,
            "currency": sale.currency,
            "metadata": {},
            "parent": {
                "type": "subscription_item_details",
                "subscription_item_details": {
                    "proration": false,
                    "subscription": sale.subscription_id(),
                },
            },
            "pricing": { "type": "price_details", "price_details": { "price": sale.price_id } },
            "quantity": 1,
        }] },
        "livemode": false,
        "metadata": {},
        "parent": {
            "type": "subscription_details",
            "subscription_details": {
                "metadata": sale.metadata(),
                "subscription": sale.subscription_id(),
            },
        },
        "status": "paid",
        "status_transitions": { "paid_at": sale.at_s() },
        "subtotal": sale.amount_minor,
        "total": sale.amount_minor,
    })
}

/// Which payment intent paid the invoice.
pub fn invoice_payment(sale: &StripeSale) -> Value {
    json!({
        "id": format!("inpay_{}", sale.tail),
        "object": "invoice_payment",
        "amount_paid": sale.amount_minor,
        "amount_requested": sale.amount_minor,
        "created": sale.at_s(),
        "currency": sale.currency,
        "invoice": sale.invoice_id(),
        "livemode": false,
        "payment": { "type": "payment_intent", "payment_intent": sale.payment_intent_id() },
        "status": "paid",
    })
}

/// A refund that was made.
pub fn refund(sale: &StripeSale, refund_id: &str, amount_minor: i64) -> Value {
    json!({
        "id": refund_id,
        "object": "refund",
        "amount": amount_minor,
        "charge": sale.charge_id(),
        "created": sale.at_s(),
        "currency": sale.currency,
        "metadata": {},
        "payment_intent": sale.payment_intent_id(),
        "reason": "requested_by_customer",
        "status": "succeeded",
    })
}

/// A dispute about the whole amount, which was withdrawn when it opened and given back if it is won.
pub fn dispute(sale: &StripeSale, status: &str) -> Value {
    let movement = |amount_minor: i64| json!({ "object": "balance_transaction", "amount": amount_minor, "currency": sale.currency });
    let mut movements = vec![movement(-sale.amount_minor)];
    if status == "won" {
        movements.push(movement(sale.amount_minor));
    }
    json!({
        "id": format!("du_{}", sale.tail),
        "object": "dispute",
        "amount": sale.amount_minor,
        "balance_transactions": movements,
        "charge": sale.charge_id(),
        "created": sale.at_s(),
        "currency": sale.currency,
        "livemode": false,
        "metadata": {},
        "payment_intent": sale.payment_intent_id(),
        "payment_method_details": { "type": "card", "card": { "brand": "visa", "case_type": "chargeback" } },
        "reason": "fraudulent",
        "status": status,
    })
}

/// A subscription of a status.
pub fn subscription(sale: &StripeSale, status: &str) -> Value {
    json!({
        "id": sale.subscription_id(),
        "object": "subscription",
        "created": sale.at_s(),
        "currency": sale.currency,
        "items": { "object": "list", "data": [{
            "id": format!("si_{}", sale.tail),
            "object": "subscription_item",
            "price": sale.price(),
            "quantity": 1,
        }] },
        "latest_invoice": sale.invoice_id(),
        "livemode": false,
        "metadata": sale.metadata(),
        "status": status,
    })
}
