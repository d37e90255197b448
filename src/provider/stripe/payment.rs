//! Payment intents and charges: the same money as a session or an invoice that owns them, and less known of it.
//!
//! Must never price one by its amount: a subscription's payment would buy a pack that happens to cost the same, and the
//! session or the invoice knows better. A sku in the metadata says it as well as theirs.

use super::fields::{
    Context, Metadata, Missing, amount, captured, currency, id, money, payer, purchase, reference,
    refunded_total,
};
use super::{ignore, shown};
use crate::ledger::command::CapturePayment;
use crate::ledger::{Command, PurchaseId};
use crate::provider::Translated;
use crate::provider::catalog::Sale;
use crate::provider::json::Object;

/// Reads `payment_intent.succeeded` (`docs.stripe.com/api/payment_intents/object`).
pub(super) fn read_intent(
    intent: &Object<'_>,
    context: &Context<'_>,
) -> Result<Translated, Missing> {
    if let Some(reason) = other_status("payment intent", intent) {
        return Ok(reason);
    }
    let received = amount(intent, "amount_received")
        .or_else(|| amount(intent, "amount"))
        .ok_or(Missing("data.object.amount_received"))?;
    let capture = CapturePayment {
        payer: payer([intent.text("receipt_email")], context.salt),
        ..capture(intent, &id(intent)?, received, context)?
    };
    Ok(apply(capture))
}

/// Reads `charge.succeeded` and `charge.captured` (docs.stripe.com/api/charges/object).
pub(super) fn read_charge(
    charge: &Object<'_>,
    context: &Context<'_>,
) -> Result<Translated, Missing> {
    if let Some(reason) = other_status("charge", charge) {
        return Ok(reason);
    }
    // Only authorized: the money is not ours yet.
    if !charge
        .flag("captured")
        .ok_or(Missing("data.object.captured"))?
    {
        return Ok(ignore("charge not captured"));
    }
    if charge.flag("paid") == Some(false) {
        return Ok(ignore("charge not paid"));
    }
    let received = amount(charge, "amount_captured")
        .or_else(|| amount(charge, "amount"))
        .ok_or(Missing("data.object.amount_captured"))?;
    let own = match reference(charge, "payment_intent") {
        Some(intent) => intent,
        None => id(charge)?,
    };
    let billing = charge.object("billing_details").unwrap_or_default();
    let emails = [billing.text("email"), charge.text("receipt_email")];
    let capture = CapturePayment {
        payer: payer(emails, context.salt),
        refunded_total_minor: refunded_total(charge),
        ..capture(charge, &own, received, context)?
    };
    Ok(apply(capture))
}

fn apply(capture: CapturePayment) -> Translated {
    Translated::Apply(Command::CapturePayment(Box::new(capture)))
}

/// The status decides, whatever the event is called.
fn other_status(what: &str, object: &Object<'_>) -> Option<Translated> {
    let status = object.text("status").filter(|s| s != "succeeded")?;
    Some(ignore(format!("{what} status {}", shown(&status))))
}

/// A payment by its own id, or as a part of the invoice that API versions before 2025-03-31 name.
fn capture(
    payment: &Object<'_>,
    own: &str,
    received: i64,
    context: &Context<'_>,
) -> Result<CapturePayment, Missing> {
    let own = purchase(own)?;
    let invoice: Option<PurchaseId> = reference(payment, "invoice")
        .map(|invoice| purchase(&invoice))
        .transpose()?;
    let paid = money(received, currency(payment)?);
    let metadata = Metadata::of([payment]);
    let sku = metadata.sku();
    let sale = Sale {
        sku: sku.as_deref(),
        stripe_price_ids: &[],
        by_amount: false,
        amounts: &[paid],
    };
    let price = context.rules.catalog.price_sale(sale, context.at_s);
    let (purchase_id, merges) = match invoice {
        Some(invoice) => (invoice, Some(own)),
        None => (own, None),
    };
    Ok(CapturePayment {
        user_id: metadata.user_id(),
        merges,
        ..captured(purchase_id, paid, price, context.at_s)
    })
}
