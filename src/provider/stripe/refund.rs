//! Refunds (docs.stripe.com/api/refunds/object), one by one and, on the charge, as the sum of all.
//!
//! Must never take the sum for one refund: `amount_refunded` is cumulative. One that failed, weeks later too, left the
//! money with us.

use super::fields::{
    Context, Missing, amount, id, payment_of, purchase, reference, refunded_total,
};
use super::ignore;
use crate::ledger::Command;
use crate::ledger::command::{Refund, RefundPayment};
use crate::provider::Translated;
use crate::provider::json::Object;

/// Reads `refund.created`, `refund.updated`, `refund.failed` and `charge.refund.updated`. A refund that is on its way
/// (`pending`, `requires_action`) counts as made: the money is gone from our balance.
pub(super) fn read(refund: &Object<'_>, context: &Context<'_>) -> Result<Translated, Missing> {
    let payment = payment_of(refund).ok_or(Missing("data.object.payment_intent"))?;
    let amount_minor = amount(refund, "amount")
        .filter(|amount| *amount > 0)
        .ok_or(Missing("data.object.amount"))?;
    let status = refund.text("status");
    let failed = context.event_type == "refund.failed"
        || matches!(status.as_deref(), Some("failed" | "canceled"));
    Ok(Translated::Apply(Command::RefundPayment(RefundPayment {
        purchase_id: purchase(&payment)?,
        refund: Some(Refund {
            refund_id: id(refund)?,
            amount_minor,
            failed,
        }),
        refunded_total_minor: 0,
    })))
}

/// Reads `charge.refunded`.
pub(super) fn read_charge(charge: &Object<'_>, _: &Context<'_>) -> Result<Translated, Missing> {
    amount(charge, "amount_refunded").ok_or(Missing("data.object.amount_refunded"))?;
    let refunded_total_minor = refunded_total(charge);
    if refunded_total_minor == 0 {
        // An authorization that ended is told in the same way.
        return Ok(ignore("nothing that was captured went back"));
    }
    let payment = match reference(charge, "payment_intent") {
        Some(intent) => intent,
        None => id(charge)?,
    };
    Ok(Translated::Apply(Command::RefundPayment(RefundPayment {
        purchase_id: purchase(&payment)?,
        refund: None,
        refunded_total_minor,
    })))
}
