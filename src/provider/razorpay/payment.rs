//! Razorpay's payment entity, which webhooks carry and the API answers, read into one command.
//!
//! Must never read how many credits a payment buys from its notes: the browser that paid may have written them.

use crate::ledger::command::CapturePayment;
use crate::ledger::{Currency, Money, Personal, Profile, PurchaseId, Salt, Source, UserId};
use crate::provider::Rules;
use crate::provider::json::{Object, clean, clean_email};

/// The longest part of an id after its prefix, in bytes. Today all have 14.
const ID_TAIL_MAX_BYTES: usize = 64;

/// Whether a text is a prefix and letters and digits, like `pay_29QQoUBi66xm2f`.
pub(super) fn has_id_shape(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|tail| {
        (1..=ID_TAIL_MAX_BYTES).contains(&tail.len())
            && tail.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// Whether a text has the shape of a payment's id: `pay_`, then letters and digits. Safe in a URL's path.
pub fn is_payment_id(id: &str) -> bool {
    has_id_shape(id, "pay_")
}

/// Whether a text has the shape of an order's id: `order_`, then letters and digits. Safe in a URL's path.
pub fn is_order_id(id: &str) -> bool {
    has_id_shape(id, "order_")
}

/// What goes into the command besides the payment itself.
pub(super) struct Context<'a> {
    /// What the payment is for, as far as it came along: its link, its subscription, its order. They have notes too, and
    /// are asked in this order.
    pub paid_for: Vec<Object<'a>>,
    /// The subscription that it pays a period of.
    pub subscription_id: Option<String>,
    /// Who brought the checkout's signature.
    pub claimant: Option<UserId>,
    /// The time to take when the payment has none, seconds since 1970.
    pub fallback_s: i64,
    pub rules: &'a Rules,
    pub salt: Salt,
}

/// A field that a capture can not go without.
pub(super) struct Unreadable {
    pub field: &'static str,
    pub webhook_path: &'static str,
}

/// Whether the money became ours, by the payment's status. `refunded` is said of one that was captured and went back
/// whole; a part that went back leaves it `captured` (razorpay.com/docs/api/payments/entity).
pub(super) fn was_captured(status: &str) -> bool {
    matches!(status, "captured" | "refunded")
}

/// How much of a payment went back so far, minor units: 0 to its amount; all of it when its status says so.
pub(super) fn refunded_total_minor(payment: &Object<'_>) -> i64 {
    let amount_minor = payment.integer("amount").unwrap_or(0).max(0);
    if payment.text("status").as_deref() == Some("refunded") {
        return amount_minor;
    }
    let told = payment.integer("amount_refunded").unwrap_or(0);
    told.clamp(0, amount_minor)
}

/// Reads a payment that [`was_captured`].
pub(super) fn capture(
    payment: &Object<'_>,
    context: Context<'_>,
) -> Result<CapturePayment, Unreadable> {
    let payment_id = payment
        .text("id")
        .filter(|id| is_payment_id(id))
        .ok_or(Unreadable {
            field: "id",
            webhook_path: "payload.payment.entity.id",
        })?;
    let purchase_id = PurchaseId::new(Source::Razorpay, &payment_id).map_err(|_| Unreadable {
        field: "id",
        webhook_path: "payload.payment.entity.id",
    })?;
    let currency = payment
        .text("currency")
        .and_then(|code| Currency::parse(&code).ok())
        .ok_or(Unreadable {
            field: "currency",
            webhook_path: "payload.payment.entity.currency",
        })?;
    let money = payment
        .integer("amount")
        .and_then(|amount_minor| Money::new(amount_minor, currency).ok())
        .ok_or(Unreadable {
            field: "amount",
            webhook_path: "payload.payment.entity.amount",
        })?;
    let paid_at_s = payment.time_s("created_at").unwrap_or(context.fallback_s);
    let notes = Notes::of(payment, &context.paid_for);
    let user_id = notes.user_id();
    let sku = notes.sku();
    Ok(CapturePayment {
        purchase_id,
        user_id,
        claimant: context.claimant,
        money,
        order_id: order_id(payment),
        price: context
            .rules
            .catalog
            .price(sku.as_deref(), money, paid_at_s),
        paid_at_s,
        payer: payer(payment, context.salt),
        merges: None,
        refunded_total_minor: refunded_total_minor(payment),
        subscription_id: context.subscription_id,
        subscriber: None,
    })
}

/// The payment's order, if it has one. An order that comes along with a payment link's payment has its id without the
/// prefix: the payment's own word is taken.
pub(super) fn order_id(payment: &Object<'_>) -> Option<String> {
    payment.text("order_id").filter(|id| is_order_id(id))
}

/// Whether the payment's own notes lack the user or the sku, which its order's notes may have.
pub(super) fn order_may_say_more(payment: &Object<'_>) -> bool {
    let own = Notes::of(payment, &[]);
    order_id(payment).is_some() && (own.user_id().is_none() || own.sku().is_none())
}

/// The purchase that a refund or a dispute is about, and its payment, if that came along.
pub(super) fn payment_of<'a>(
    entity: &Object<'_>,
    payment: Option<Object<'a>>,
) -> Option<(PurchaseId, Option<Object<'a>>)> {
    let brought = payment.as_ref().and_then(|payment| payment.text("id"));
    let named = entity.text("payment_id").or_else(|| brought.clone());
    let payment_id = named.filter(|id| is_payment_id(id))?;
    let purchase_id = PurchaseId::new(Source::Razorpay, &payment_id).ok()?;
    let is_it = brought.as_ref() == Some(&payment_id);
    Some((purchase_id, payment.filter(|_| is_it)))
}

/// Whether a refund or a dispute and its payment both say their currency, and not the same.
pub(super) fn is_in_other_currency(entity: &Object<'_>, payment: Option<&Object<'_>>) -> bool {
    let currency = |of: &Object<'_>| of.text("currency");
    match (currency(entity), payment.and_then(currency)) {
        (Some(one), Some(other)) => !one.eq_ignore_ascii_case(&other),
        _ => false,
    }
}

fn payer(payment: &Object<'_>, salt: Salt) -> Option<Personal> {
    let email = clean_email(&payment.text("email")?)?;
    let profile = Profile {
        email: Some(email),
        ..Profile::default()
    };
    Some(Personal::new(&profile, salt))
}

/// The notes of the payment, then those of what it is for. Notes are an object; `[]` or null when there are none.
struct Notes<'a>(Vec<Object<'a>>);

impl<'a> Notes<'a> {
    fn of(payment: &Object<'a>, paid_for: &[Object<'a>]) -> Self {
        Self(
            std::iter::once(payment)
                .chain(paid_for)
                .filter_map(|entity| entity.object("notes"))
                .collect(),
        )
    }

    fn user_id(&self) -> Option<UserId> {
        self.find("user_id", |id| UserId::parse(id).ok())
    }

    fn sku(&self) -> Option<String> {
        self.find("sku", |sku| clean(&sku, usize::MAX))
    }

    /// The first note of a name that can be read; one that can not counts as absent.
    fn find<T>(&self, name: &str, read: impl Fn(String) -> Option<T>) -> Option<T> {
        self.0
            .iter()
            .find_map(|notes| notes.text(name).and_then(&read))
    }
}
