//! Checkout sessions (docs.stripe.com/api/checkout/sessions/object), which webhooks carry and the API answers.
//!
//! The session alone knows who bought (`client_reference_id`) and what it cost before a coupon (`amount_subtotal`).
//! Must never take `completed` for paid: with a bank debit the session is complete days before the money is there.

use super::fields::{
    Context, Metadata, Missing, amount, captured, currency, id, money, payer, purchase, reference,
    refunded_total,
};
use super::{ignore, shown};
use crate::ledger::command::CapturePayment;
use crate::ledger::{Command, PurchaseId, UserId};
use crate::provider::Translated;
use crate::provider::catalog::Sale;
use crate::provider::json::Object;

/// What a session says of money.
pub(super) enum Standing {
    /// The money is ours, or none was due: what to record.
    Captured(Box<CapturePayment>),
    /// Not paid. It may still be.
    Unpaid,
    /// It gives nothing, and why.
    Nothing(String),
}

/// Reads `checkout.session.completed` and `checkout.session.async_payment_succeeded`.
pub(super) fn read(session: &Object<'_>, context: &Context<'_>) -> Result<Translated, Missing> {
    Ok(match standing(session, context)? {
        Standing::Captured(capture) => Translated::Apply(Command::CapturePayment(capture)),
        Standing::Unpaid => ignore("payment_status unpaid"),
        Standing::Nothing(reason) => Translated::Ignore(reason),
    })
}

/// What kind of payment a session is paid with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Payment,
    Subscription,
}

/// Reads a session of any status.
pub(super) fn standing(session: &Object<'_>, context: &Context<'_>) -> Result<Standing, Missing> {
    let mode = session.text("mode").ok_or(Missing("data.object.mode"))?;
    let status = session
        .text("payment_status")
        .ok_or(Missing("data.object.payment_status"))?;
    let mode = match mode.as_str() {
        "payment" => Mode::Payment,
        "subscription" => Mode::Subscription,
        other => return Ok(Standing::Nothing(format!("checkout mode {}", shown(other)))),
    };
    // The API answers sessions that the buyer has not finished.
    if session
        .text("status")
        .is_some_and(|status| status != "complete")
    {
        return Ok(Standing::Unpaid);
    }
    match status.as_str() {
        "paid" => {}
        "unpaid" => return Ok(Standing::Unpaid),
        // A coupon of 100 %. Of a subscription it is a trial, which gives a plan and no credits.
        "no_payment_required" if mode == Mode::Payment => {}
        other => {
            let other = shown(other);
            return Ok(Standing::Nothing(format!("payment_status {other}")));
        }
    }
    let total = amount(session, "amount_total").ok_or(Missing("data.object.amount_total"))?;
    let (purchase_id, merges) = match (mode, total) {
        (Mode::Subscription, 0) => return Ok(Standing::Nothing("amount_total 0".to_owned())),
        (Mode::Subscription, _) => of_subscription(session)?,
        (Mode::Payment, 0) => (purchase(&id(session)?)?, None),
        (Mode::Payment, _) if status == "no_payment_required" => {
            let reason = "payment_status no_payment_required of an amount that is due";
            return Ok(Standing::Nothing(reason.to_owned()));
        }
        (Mode::Payment, _) => of_payment(session)?,
    };
    let capture = capture(session, mode, total, purchase_id, context)?;
    Ok(Standing::Captured(Box::new(CapturePayment {
        merges,
        ..capture
    })))
}

/// The invoice, if Checkout made one, and the payment intent that paid it; else the payment intent.
fn of_payment(session: &Object<'_>) -> Result<(PurchaseId, Option<PurchaseId>), Missing> {
    let intent = reference(session, "payment_intent");
    match (reference(session, "invoice"), intent) {
        (Some(invoice), intent) => {
            let merges = intent.map(|intent| purchase(&intent)).transpose()?;
            Ok((purchase(&invoice)?, merges))
        }
        (None, Some(intent)) => Ok((purchase(&intent)?, None)),
        (None, None) => Err(Missing("data.object.payment_intent")),
    }
}

/// The first invoice of the subscription.
fn of_subscription(session: &Object<'_>) -> Result<(PurchaseId, Option<PurchaseId>), Missing> {
    let invoice = reference(session, "invoice").ok_or(Missing("data.object.invoice"))?;
    Ok((purchase(&invoice)?, None))
}

fn capture(
    session: &Object<'_>,
    mode: Mode,
    total: i64,
    purchase_id: PurchaseId,
    context: &Context<'_>,
) -> Result<CapturePayment, Missing> {
    let currency = currency(session)?;
    let paid = money(total, currency);
    // The API expands them, a webhook never does.
    let intent = session.object("payment_intent");
    let charge = intent.as_ref().and_then(|i| i.object("latest_charge"));
    let paid_at_s = charge
        .as_ref()
        .and_then(|charge| charge.time_s("created"))
        .unwrap_or(context.at_s);
    let metadata = Metadata::of([Some(session), intent.as_ref()].into_iter().flatten());
    let amounts: Vec<_> = std::iter::once(paid)
        .chain(amount(session, "amount_subtotal").map(|subtotal| money(subtotal, currency)))
        .collect();
    let sku = metadata.sku();
    let price_ids = price_ids(session);
    let sale = Sale {
        sku: sku.as_deref(),
        stripe_price_ids: &price_ids,
        // The lines of the invoice say what a period buys.
        by_amount: mode == Mode::Payment,
        amounts: &amounts,
    };
    let price = context.rules.catalog.price_sale(sale, paid_at_s);
    let email = session
        .object("customer_details")
        .and_then(|details| details.text("email"));
    Ok(CapturePayment {
        user_id: user(session),
        payer: payer([email, session.text("customer_email")], context.salt),
        refunded_total_minor: charge.as_ref().map_or(0, refunded_total),
        subscription_id: reference(session, "subscription"),
        ..captured(purchase_id, paid, price, paid_at_s)
    })
}

/// Whom the session names: `client_reference_id`, then its metadata, then that of its expanded payment intent.
pub(super) fn user(session: &Object<'_>) -> Option<UserId> {
    let intent = session.object("payment_intent");
    let objects = [Some(session), intent.as_ref()].into_iter().flatten();
    session
        .text("client_reference_id")
        .and_then(|id| UserId::parse(id).ok())
        .or_else(|| Metadata::of(objects).user_id())
}

/// Stripe's prices in the session's lines, where those are expanded.
fn price_ids(session: &Object<'_>) -> Vec<String> {
    let lines = session.object("line_items").unwrap_or_default();
    let lines = lines.objects("data");
    lines
        .iter()
        .filter_map(|line| reference(line, "price"))
        .collect()
}
