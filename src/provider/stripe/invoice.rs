//! Invoices (docs.stripe.com/api/invoices/object): what a period of a subscription, or a one-time purchase with an
//! invoice, is booked as. And invoice payments, which say what paid an invoice.
//!
//! API version 2025-03-31 moved the subscription under `parent`, took the payment out of the invoice, and renamed the
//! lines' prices. Both layouts are read. Must never credit an invoice of nothing: a trial's is `paid`, too.

use super::fields::{
    Context, Metadata, Missing, amount, captured, currency, id, money, payer, payment_of, purchase,
    reference,
};
use super::{ignore, shown};
use crate::ledger::command::CapturePayment;
use crate::ledger::{Command, Currency, Money};
use crate::provider::Translated;
use crate::provider::catalog::Sale;
use crate::provider::json::Object;

/// Reads `invoice.paid` and `invoice.payment_succeeded`.
pub(super) fn read(invoice: &Object<'_>, context: &Context<'_>) -> Result<Translated, Missing> {
    // A payment of a part succeeds, too.
    if let Some(status) = invoice.text("status").filter(|status| status != "paid") {
        return Ok(ignore(format!("invoice status {}", shown(&status))));
    }
    let paid = amount(invoice, "amount_paid").ok_or(Missing("data.object.amount_paid"))?;
    if paid == 0 {
        return Ok(ignore("amount_paid 0"));
    }
    let currency = currency(invoice)?;
    let paid = money(paid, currency);
    let paid_at_s = invoice
        .object("status_transitions")
        .and_then(|times| times.time_s("paid_at"))
        .or_else(|| invoice.time_s("created"))
        .unwrap_or(context.at_s);
    let parts = Parts::of(invoice);
    let metadata = Metadata::of(parts.in_order(invoice));
    let subscription_id = parts.subscription_id(invoice);
    let sku = metadata.sku();
    let price_ids = parts.price_ids();
    let sale = Sale {
        sku: sku.as_deref(),
        stripe_price_ids: &price_ids,
        by_amount: subscription_id.is_none(),
        amounts: &parts.amounts(invoice, paid, context),
    };
    let capture = CapturePayment {
        user_id: metadata.user_id(),
        payer: payer([invoice.text("customer_email")], context.salt),
        merges: paid_by(invoice)
            .map(|payment| purchase(&payment))
            .transpose()?,
        subscription_id,
        ..captured(
            purchase(&id(invoice)?)?,
            paid,
            context.rules.catalog.price_sale(sale, paid_at_s),
            paid_at_s,
        )
    };
    Ok(Translated::Apply(Command::CapturePayment(Box::new(
        capture,
    ))))
}

/// Reads `invoice_payment.paid` (docs.stripe.com/api/invoice-payment/object): the only place that tells which payment
/// paid an invoice of a newer API version.
pub(super) fn read_payment(
    invoice_payment: &Object<'_>,
    _: &Context<'_>,
) -> Result<Translated, Missing> {
    let invoice = reference(invoice_payment, "invoice").ok_or(Missing("data.object.invoice"))?;
    let payment = invoice_payment
        .object("payment")
        .ok_or(Missing("data.object.payment"))?;
    let kind = payment
        .text("type")
        .ok_or(Missing("data.object.payment.type"))?;
    // Anything else was paid outside of Stripe and has no events of its own.
    if !matches!(kind.as_str(), "payment_intent" | "charge") {
        return Ok(ignore(format!("invoice payment by {}", shown(&kind))));
    }
    let payment = payment_of(&payment).ok_or(Missing("data.object.payment.payment_intent"))?;
    Ok(Translated::Apply(Command::MergePayments {
        payment_id: purchase(&payment)?,
        into: purchase(&invoice)?,
    }))
}

/// The parts of an invoice that say whom and what it is for.
struct Parts<'a> {
    /// `subscription_details`, of the older layout and of the newer one.
    subscription: Vec<Object<'a>>,
    lines: Vec<Object<'a>>,
}

impl<'a> Parts<'a> {
    fn of(invoice: &Object<'a>) -> Self {
        let newer = invoice.object("parent");
        Self {
            subscription: [
                invoice.object("subscription_details"),
                newer.and_then(|parent| parent.object("subscription_details")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            lines: invoice
                .object("lines")
                .map(|lines| lines.objects("data"))
                .unwrap_or_default(),
        }
    }

    /// The invoice, then its subscription, then its lines.
    fn in_order<'o>(&'o self, invoice: &'o Object<'a>) -> impl Iterator<Item = &'o Object<'a>> {
        std::iter::once(invoice)
            .chain(&self.subscription)
            .chain(&self.lines)
    }

    fn subscription_id(&self, invoice: &Object<'_>) -> Option<String> {
        std::iter::once(invoice)
            .chain(&self.subscription)
            .find_map(|object| reference(object, "subscription"))
    }

    /// The lines that are no correction of an earlier period.
    fn regular_lines(&self) -> impl Iterator<Item = &Object<'a>> {
        self.lines.iter().filter(|line| !is_proration(line))
    }

    fn price_ids(&self) -> Vec<String> {
        self.regular_lines().flat_map(price_ids).collect()
    }

    /// What may be the pack's price: what was paid, what it was before discounts with and without tax, and the line of
    /// the pack alone, beside which there may be others. If a credit note took from the invoice before it was paid, only
    /// what was paid counts.
    fn amounts(&self, invoice: &Object<'_>, paid: Money, context: &Context<'_>) -> Vec<Money> {
        let mut amounts = vec![paid];
        if amount(invoice, "pre_payment_credit_notes_amount").is_some_and(|credited| credited > 0) {
            return amounts;
        }
        let before = ["subtotal", "subtotal_excluding_tax"];
        amounts.extend(
            before
                .iter()
                .filter_map(|name| of(invoice, name, paid.currency)),
        );
        let catalog = &context.rules.catalog;
        let packs = self
            .regular_lines()
            .filter(|line| catalog.has_price_id(&price_ids(line)));
        amounts.extend(packs.filter_map(|line| of(line, "amount", paid.currency)));
        amounts
    }
}

/// The payment intent or the charge that paid an invoice: of the older layout, or of the newer one where it is expanded.
fn paid_by(invoice: &Object<'_>) -> Option<String> {
    payment_of(invoice).or_else(|| {
        invoice
            .object("payments")?
            .objects("data")
            .iter()
            .find_map(|one| payment_of(&one.object("payment")?))
    })
}

fn of(object: &Object<'_>, name: &str, currency: Currency) -> Option<Money> {
    amount(object, name).map(|amount_minor| money(amount_minor, currency))
}

fn is_proration(line: &Object<'_>) -> bool {
    let parent = line.object("parent").unwrap_or_default();
    let details = ["subscription_item_details", "invoice_item_details"];
    line.flag("proration") == Some(true)
        || details
            .iter()
            .filter_map(|name| parent.object(name))
            .any(|details| details.flag("proration") == Some(true))
}

/// Stripe's price of a line: of the newer layout, and of the older ones.
fn price_ids(line: &Object<'_>) -> Vec<String> {
    let newer = line
        .object("pricing")
        .and_then(|pricing| reference(&pricing.object("price_details")?, "price"));
    [newer, reference(line, "price"), reference(line, "plan")]
        .into_iter()
        .flatten()
        .collect()
}
