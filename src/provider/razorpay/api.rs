//! The answers of Razorpay's `GET /v1/payments/{id}` and `GET /v1/orders/{id}`: what has become of a payment, and whom
//! and what it is for.
//!
//! Must read a captured payment exactly as the webhooks do, so that all come to the same command.

use super::STATUS_MAX_BYTES;
use super::payment::{Context, capture, is_payment_id, order_id, order_may_say_more, was_captured};
use crate::ledger::command::CapturePayment;
use crate::ledger::{Salt, UserId};
use crate::provider::Rules;
use crate::provider::json::{Object, clean};

/// A payment as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPayment {
    /// Its id. The caller must see that it is the one that was asked for.
    pub payment_id: String,
    /// Its order, if it has one. The caller must see that it is the one that the signature is over.
    pub order_id: Option<String>,
    /// Whether the order was not read with it, and may name the user or the sku that the payment lacks.
    pub order_may_say_more: bool,
    /// What has become of it.
    pub status: ApiStatus,
}

/// The status of a payment (razorpay.com/docs/api/payments/entity).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiStatus {
    /// Begun. It may still become anything.
    Created,
    /// The money is reserved, not ours yet.
    Authorized,
    /// The money is ours, or was and went back since, in part or whole: this is what to record.
    Captured(Box<CapturePayment>),
    /// It failed. It may still be authorized late, up to days after.
    Failed,
    /// A status that this program does not know.
    Other(String),
}

/// The API's answer can not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is no JSON object.
    #[error("the answer is not a JSON object")]
    NotJson,
    /// A field that must be there is absent or of no use.
    #[error("the answer has no usable {0}")]
    MissingField(&'static str),
    /// The order is not the payment's.
    #[error("the answer is about another order")]
    OtherOrder,
}

/// Reads the payment that the API answered, and its order, if that was asked for, too: what the payment's notes lack is
/// read from the order's, as from `order.paid`. `asked_at_s` (seconds since 1970) stands in for a missing time of
/// payment; `claimant` is the user who showed the checkout's signature; the salt must be fresh.
///
/// # Errors
/// [`BadAnswer`] when either is no JSON object, the payment lacks its id, its status or, captured, its amount or
/// currency, or the order is another one.
pub fn capture_from_api(
    payment_json: &[u8],
    order_json: Option<&[u8]>,
    claimant: Option<UserId>,
    asked_at_s: i64,
    rules: &Rules,
    salt: Salt,
) -> Result<ApiPayment, BadAnswer> {
    let order = order_json.map(object).transpose()?;
    let context = Context {
        paid_for: order.into_iter().collect(),
        subscription_id: None,
        claimant,
        fallback_s: asked_at_s,
        rules,
        salt,
    };
    read(&object(payment_json)?, context)
}

/// Two answers as one JSON text, byte for byte, as they are kept.
pub fn joined(payment_json: &[u8], order_json: &[u8]) -> Vec<u8> {
    [
        b"{\"payment\":",
        payment_json,
        b",\"order\":",
        order_json,
        b"}",
    ]
    .concat()
}

/// Reads an answer that was kept: the payment's, or both as [`joined`] made them one. Whoever showed the checkout's
/// signature is not in it.
///
/// # Errors
/// As [`capture_from_api`].
pub fn capture_from_kept(
    kept_json: &[u8],
    asked_at_s: i64,
    rules: &Rules,
    salt: Salt,
) -> Result<ApiPayment, BadAnswer> {
    let kept = object(kept_json)?;
    let payment = kept.object("payment");
    let order = kept.object("order").filter(|_| payment.is_some());
    let context = Context {
        paid_for: order.into_iter().collect(),
        subscription_id: None,
        claimant: None,
        fallback_s: asked_at_s,
        rules,
        salt,
    };
    read(payment.as_ref().unwrap_or(&kept), context)
}

/// Reads a payment, and its order, which is all that it can be for here.
fn read<'a>(payment: &Object<'a>, context: Context<'a>) -> Result<ApiPayment, BadAnswer> {
    let order = context.paid_for.first();
    let payment_id = payment
        .text("id")
        .filter(|id| is_payment_id(id))
        .ok_or(BadAnswer::MissingField("id"))?;
    let order_id = order_id(payment);
    if let Some(order) = order
        && (order_id.is_none() || order.text("id") != order_id)
    {
        return Err(BadAnswer::OtherOrder);
    }
    let order_may_say_more = order.is_none() && order_may_say_more(payment);
    let status = payment
        .text("status")
        .ok_or(BadAnswer::MissingField("status"))?;
    let status = match status.as_str() {
        "created" => ApiStatus::Created,
        "authorized" => ApiStatus::Authorized,
        status if was_captured(status) => {
            let capture = capture(payment, context)
                .map_err(|unreadable| BadAnswer::MissingField(unreadable.field))?;
            ApiStatus::Captured(Box::new(capture))
        }
        "failed" => ApiStatus::Failed,
        other => ApiStatus::Other(clean(other, STATUS_MAX_BYTES).unwrap_or_default()),
    };
    Ok(ApiPayment {
        payment_id,
        order_id,
        order_may_say_more,
        status,
    })
}

fn object(json: &[u8]) -> Result<Object<'_>, BadAnswer> {
    let text = std::str::from_utf8(json).map_err(|_| BadAnswer::NotJson)?;
    Object::parse(text).ok_or(BadAnswer::NotJson)
}
