//! Razorpay's refund events (razorpay.com/docs/webhooks/payloads/refunds): one refund by its id, and beside it the
//! payment with the sum of all its refunds so far.
//!
//! Must never take the sum for this refund's amount, nor count money of another currency.

use super::payment::{has_id_shape, is_in_other_currency, payment_of, refunded_total_minor};
use super::{Payload, Translated, missing};
use crate::ledger::Command;
use crate::ledger::command::{Refund, RefundPayment};
use crate::provider::ParkReason;

/// Reads `refund.created`, `refund.processed` and `refund.failed`. The first may already say that it is processed, and
/// any of them may be the only one to come.
pub(super) fn read(payload: &Payload<'_>, is_failure: bool) -> Result<Translated, ParkReason> {
    let refund = payload
        .entity("refund")
        .ok_or(missing("payload.refund.entity"))?;
    let refund_id = refund
        .text("id")
        .filter(|id| has_id_shape(id, "rfnd_"))
        .ok_or(missing("payload.refund.entity.id"))?;
    let (purchase_id, payment) = payment_of(&refund, payload.entity("payment"))
        .ok_or(missing("payload.refund.entity.payment_id"))?;
    if is_in_other_currency(&refund, payment.as_ref()) {
        return Err(missing("payload.refund.entity.currency"));
    }
    let amount_minor = refund
        .integer("amount")
        .filter(|amount| *amount >= 1)
        .ok_or(missing("payload.refund.entity.amount"))?;
    let failed = is_failure || refund.text("status").as_deref() == Some("failed");
    Ok(Translated::Apply(Command::RefundPayment(RefundPayment {
        purchase_id,
        refund: Some(Refund {
            refund_id,
            amount_minor,
            failed,
        }),
        // The sum may or may not still have a refund that failed: then it says nothing.
        refunded_total_minor: payment
            .filter(|_| !failed)
            .map_or(0, |payment| refunded_total_minor(&payment)),
    })))
}
