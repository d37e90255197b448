//! Sample payloads: small, shaped like the providers' own, for local testing, the demo and tests.
//!
//! Must hold nothing of a real person.

pub mod stripe;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// A user as Clerk would tell of one.
#[derive(Debug, Clone)]
pub struct SampleUser {
    /// `user_…`
    pub user_id: String,
    /// The primary address, verified; `None` for one who signed up by phone.
    pub email: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// The body of Clerk's `user.created`.
pub fn clerk_user_created(user: &SampleUser) -> Value {
    clerk_event("user.created", &clerk_user(user), user.updated_at)
}

/// The body of Clerk's `user.updated`.
pub fn clerk_user_updated(user: &SampleUser) -> Value {
    clerk_event("user.updated", &clerk_user(user), user.updated_at)
}

/// The body of Clerk's `user.deleted`, which says no more than the id.
pub fn clerk_user_deleted(user_id: &str, deleted_at: DateTime<Utc>) -> Value {
    let data = json!({ "deleted": true, "id": user_id, "object": "user" });
    clerk_event("user.deleted", &data, deleted_at)
}

fn clerk_event(event_type: &str, data: &Value, at: DateTime<Utc>) -> Value {
    json!({
        "data": data,
        "object": "event",
        "type": event_type,
        "timestamp": at.timestamp_millis(),
        "instance_id": "ins_sample",
    })
}

fn clerk_user(user: &SampleUser) -> Value {
    let at_ms = user.updated_at.timestamp_millis();
    let address_id = user.email.as_ref().map(|_| "idn_sample");
    let addresses: Vec<Value> = user
        .email
        .iter()
        .map(|email| {
            json!({
                "id": address_id,
                "object": "email_address",
                "email_address": email,
                "verification": { "status": "verified", "strategy": "email_code" },
                "linked_to": [],
            })
        })
        .collect();
    json!({
        "id": user.user_id,
        "object": "user",
        "first_name": user.first_name,
        "last_name": user.last_name,
        "username": null,
        "primary_email_address_id": address_id,
        "email_addresses": addresses,
        "phone_numbers": [],
        "external_accounts": [],
        "external_id": null,
        "public_metadata": {},
        "private_metadata": {},
        "unsafe_metadata": {},
        "banned": false,
        "locked": false,
        "created_at": at_ms,
        "updated_at": at_ms,
    })
}

/// A payment as Razorpay would tell of one.
#[derive(Debug, Clone)]
pub struct SamplePayment {
    /// `pay_…`
    pub payment_id: String,
    /// `order_…`
    pub order_id: Option<String>,
    /// In the currency's minor unit.
    pub amount_minor: i64,
    /// ISO 4217, upper case.
    pub currency: String,
    /// The note `user_id`.
    pub user_id: Option<String>,
    /// The note `sku`.
    pub sku: Option<String>,
    /// Who paid.
    pub email: Option<String>,
    /// When it was paid.
    pub created_at: DateTime<Utc>,
}

impl SamplePayment {
    /// `[]` when there are none, as Razorpay writes it.
    fn notes(&self) -> Value {
        let notes: serde_json::Map<String, Value> =
            [("user_id", &self.user_id), ("sku", &self.sku)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
                .collect();
        if notes.is_empty() {
            json!([])
        } else {
            Value::Object(notes)
        }
    }
}

/// A payment entity of a status: also what `GET /v1/payments/{id}` answers.
pub fn razorpay_payment(payment: &SamplePayment, status: &str) -> Value {
    json!({
        "id": payment.payment_id,
        "entity": "payment",
        "amount": payment.amount_minor,
        "currency": payment.currency,
        "status": status,
        "order_id": payment.order_id,
        "invoice_id": null,
        "international": false,
        "method": "upi",
        "amount_refunded": 0,
        "refund_status": null,
        "captured": status == "captured",
        "description": null,
        "email": payment.email,
        "contact": "+919000090000",
        "notes": payment.notes(),
        "fee": null,
        "tax": null,
        "error_code": null,
        "acquirer_data": {},
        "created_at": payment.created_at.timestamp(),
    })
}

/// The entity of a payment's paid order, with the same notes: also what `GET /v1/orders/{id}` answers.
pub fn razorpay_order(payment: &SamplePayment) -> Value {
    json!({
        "id": payment.order_id,
        "entity": "order",
        "amount": payment.amount_minor,
        "amount_paid": payment.amount_minor,
        "amount_due": 0,
        "currency": payment.currency,
        "status": "paid",
        "attempts": 1,
        "notes": payment.notes(),
        "created_at": payment.created_at.timestamp(),
    })
}

/// The body of Razorpay's `payment.captured`.
pub fn razorpay_payment_captured(payment: &SamplePayment) -> Value {
    razorpay_envelope(
        "payment.captured",
        payment,
        &json!({ "payment": { "entity": razorpay_payment(payment, "captured") } }),
    )
}

/// The body of Razorpay's `order.paid`: the same money, and the order with it.
pub fn razorpay_order_paid(payment: &SamplePayment) -> Value {
    razorpay_envelope(
        "order.paid",
        payment,
        &json!({
            "payment": { "entity": razorpay_payment(payment, "captured") },
            "order": { "entity": razorpay_order(payment) },
        }),
    )
}

/// A refund as Razorpay would tell of one.
#[derive(Debug, Clone)]
pub struct SampleRefund {
    /// `rfnd_…`
    pub refund_id: String,
    /// How much of the payment, in the currency's minor unit.
    pub amount_minor: i64,
    /// All that went back of the payment so far, this refund included.
    pub refunded_total_minor: i64,
}

/// The body of Razorpay's `refund.created`, `refund.processed` or `refund.failed`.
pub fn razorpay_refund(event_type: &str, payment: &SamplePayment, refund: &SampleRefund) -> Value {
    let status = match event_type {
        "refund.created" => "pending",
        "refund.failed" => "failed",
        _ => "processed",
    };
    let entity = json!({
        "id": refund.refund_id,
        "entity": "refund",
        "amount": refund.amount_minor,
        "currency": payment.currency,
        "payment_id": payment.payment_id,
        "notes": [],
        "receipt": null,
        "acquirer_data": { "arn": null },
        "created_at": payment.created_at.timestamp(),
        "status": status,
    });
    let total_minor = refund.refunded_total_minor;
    let (payment_status, refund_status) = if total_minor == payment.amount_minor {
        ("refunded", json!("full"))
    } else if total_minor > 0 {
        ("captured", json!("partial"))
    } else {
        ("captured", json!(null))
    };
    let mut of_payment = razorpay_payment(payment, payment_status);
    of_payment["amount_refunded"] = json!(total_minor);
    of_payment["refund_status"] = refund_status;
    razorpay_envelope(
        event_type,
        payment,
        &json!({ "refund": { "entity": entity }, "payment": { "entity": of_payment } }),
    )
}

/// A dispute as Razorpay would tell of one.
#[derive(Debug, Clone)]
pub struct SampleDispute {
    /// `disp_…`
    pub dispute_id: String,
    /// How much of the payment is contested, in the currency's minor unit.
    pub amount_minor: i64,
    /// `chargeback`, `pre_arbitration`, `arbitration`, `fraud` or `retrieval`.
    pub phase: &'static str,
}

/// The body of Razorpay's `payment.dispute.created`, `.under_review`, `.action_required`, `.won`, `.lost` or `.closed`.
pub fn razorpay_dispute(
    event_type: &str,
    payment: &SamplePayment,
    dispute: &SampleDispute,
) -> Value {
    let step = event_type.rsplit('.').next().unwrap_or_default();
    let entity = json!({
        "id": dispute.dispute_id,
        "entity": "dispute",
        "payment_id": payment.payment_id,
        "amount": dispute.amount_minor,
        "currency": payment.currency,
        "amount_deducted": if step == "lost" { dispute.amount_minor } else { 0 },
        "reason_code": "goods_or_services_not_received_or_partially_received",
        "respond_by": payment.created_at.timestamp() + 864_000,
        "status": if step == "created" { "open" } else { step },
        "phase": dispute.phase,
        "created_at": payment.created_at.timestamp(),
    });
    razorpay_envelope(
        event_type,
        payment,
        &json!({
            "payment": { "entity": razorpay_payment(payment, "captured") },
            "dispute": { "entity": entity },
        }),
    )
}

fn razorpay_envelope(event_type: &str, payment: &SamplePayment, payload: &Value) -> Value {
    let contains: Vec<&String> = payload
        .as_object()
        .into_iter()
        .flat_map(|p| p.keys())
        .collect();
    json!({
        "entity": "event",
        "account_id": "acc_sample",
        "event": event_type,
        "contains": contains,
        "payload": payload,
        "created_at": payment.created_at.timestamp(),
    })
}

/// The types of Razorpay's events of which there is a sample.
pub const RAZORPAY_TYPES: [&str; 10] = [
    "payment.captured",
    "order.paid",
    "refund.created",
    "refund.processed",
    "refund.failed",
    "payment.dispute.created",
    "payment.dispute.under_review",
    "payment.dispute.won",
    "payment.dispute.lost",
    "payment.dispute.closed",
];

/// The body of an event of [`RAZORPAY_TYPES`]. A refund or a dispute is of the whole payment, and its id ends as the
/// payment's does.
pub fn razorpay_event(event_type: &str, payment: &SamplePayment) -> Option<Value> {
    if !RAZORPAY_TYPES.contains(&event_type) {
        return None;
    }
    let (_, tail) = payment.payment_id.rsplit_once('_').unwrap_or_default();
    Some(match event_type {
        "payment.captured" => razorpay_payment_captured(payment),
        "order.paid" => razorpay_order_paid(payment),
        _ if event_type.starts_with("refund.") => {
            let failed = event_type == "refund.failed";
            let refund = SampleRefund {
                refund_id: format!("rfnd_{tail}"),
                amount_minor: payment.amount_minor,
                refunded_total_minor: if failed { 0 } else { payment.amount_minor },
            };
            razorpay_refund(event_type, payment, &refund)
        }
        _ => {
            let dispute = SampleDispute {
                dispute_id: format!("disp_{tail}"),
                amount_minor: payment.amount_minor,
                phase: "chargeback",
            };
            razorpay_dispute(event_type, payment, &dispute)
        }
    })
}
