//! What Stripe's objects have in common: ids, references, money, metadata, the buyer's address.
//!
//! Must never read how many credits something buys from metadata: what a payment buys is the catalog's word.

use crate::ledger::command::CapturePayment;
use crate::ledger::event::Price;
use crate::ledger::{Currency, Money, Personal, Profile, PurchaseId, Salt, Source, UserId};
use crate::provider::Rules;
use crate::provider::json::{Object, clean, clean_email};

/// The longest id in bytes (docs.stripe.com/upgrades: "accommodate IDs of up to 255 characters").
const ID_MAX_BYTES: usize = 255;

/// A field that an object can not go without is absent or of no use. Holds its path in a webhook's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing(pub &'static str);

impl Missing {
    /// The path within the object.
    pub fn in_object(self) -> &'static str {
        self.0.strip_prefix("data.object.").unwrap_or(self.0)
    }
}

/// What an object is read with.
pub(super) struct Context<'a> {
    /// The event's type; empty where no event carried the object.
    pub event_type: &'a str,
    pub event_id: &'a str,
    /// The event's time, seconds since 1970.
    pub created_s: Option<i64>,
    /// The time to take where the object has none, seconds since 1970.
    pub at_s: i64,
    /// What the object's changed members were before.
    pub previous: Option<Object<'a>>,
    pub rules: &'a Rules,
    pub salt: Salt,
}

/// Letters, digits and underscores. Kinds of objects differ in their prefix, and one kind may have several of them
/// (`ch_` and `py_`, `du_` and `dp_`), so the member that holds an id says what it is of.
fn is_id(id: &str) -> bool {
    (1..=ID_MAX_BYTES).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a text has the shape of a checkout session's id: `cs_`, then letters, digits and underscores. Safe in a
/// URL's path.
pub fn is_session_id(id: &str) -> bool {
    id.strip_prefix("cs_").is_some_and(|tail| !tail.is_empty()) && is_id(id)
}

/// The object's own id.
pub(super) fn id(object: &Object<'_>) -> Result<String, Missing> {
    object
        .text("id")
        .filter(|id| is_id(id))
        .ok_or(Missing("data.object.id"))
}

/// The id of what a member refers to: it holds the id or, expanded, the object.
pub(super) fn reference(object: &Object<'_>, name: &str) -> Option<String> {
    object
        .text(name)
        .or_else(|| object.object(name)?.text("id"))
        .filter(|id| is_id(id))
}

/// The purchase that an object of Stripe's is.
pub(super) fn purchase(id: &str) -> Result<PurchaseId, Missing> {
    PurchaseId::new(Source::Stripe, id).map_err(|_| Missing("data.object.id"))
}

/// The payment that a refund, a dispute or an invoice is of: the payment intent or, where there is none, the charge.
pub(super) fn payment_of(object: &Object<'_>) -> Option<String> {
    reference(object, "payment_intent").or_else(|| reference(object, "charge"))
}

/// An amount in the currency's minor unit, which Stripe counts in whole numbers; never negative.
pub(super) fn amount(object: &Object<'_>, name: &str) -> Option<i64> {
    object.integer(name).filter(|amount| *amount >= 0)
}

pub(super) fn currency(object: &Object<'_>) -> Result<Currency, Missing> {
    object
        .text("currency")
        .and_then(|code| Currency::parse(&code).ok())
        .ok_or(Missing("data.object.currency"))
}

/// How much of a charge went back. What was authorized and not captured is counted in `amount_refunded` as if it had
/// gone back, though it never came.
pub(super) fn refunded_total(charge: &Object<'_>) -> i64 {
    let refunded = amount(charge, "amount_refunded").unwrap_or(0);
    let never_came = match (amount(charge, "amount"), amount(charge, "amount_captured")) {
        (Some(authorized), Some(captured)) => authorized.saturating_sub(captured).max(0),
        _ => 0,
    };
    refunded.saturating_sub(never_came).max(0)
}

/// The metadata of several objects, the one that counts most first.
#[derive(Default)]
pub(super) struct Metadata<'a>(Vec<Object<'a>>);

impl<'a> Metadata<'a> {
    /// That of these objects.
    pub fn of<'o>(objects: impl IntoIterator<Item = &'o Object<'a>>) -> Self
    where
        'a: 'o,
    {
        let all = objects.into_iter();
        Self(all.filter_map(|object| object.object("metadata")).collect())
    }

    pub fn user_id(&self) -> Option<UserId> {
        self.find("user_id", |id| UserId::parse(id).ok())
    }

    pub fn sku(&self) -> Option<String> {
        self.find("sku", |sku| clean(&sku, usize::MAX))
    }

    /// The first value of a name that can be read; one that can not counts as absent.
    fn find<T>(&self, name: &str, read: impl Fn(String) -> Option<T>) -> Option<T> {
        self.0
            .iter()
            .find_map(|metadata| metadata.text(name).and_then(&read))
    }
}

/// Who paid, by the first of these texts that can be an address.
pub(super) fn payer(
    emails: impl IntoIterator<Item = Option<String>>,
    salt: Salt,
) -> Option<Personal> {
    let email = emails
        .into_iter()
        .flatten()
        .find_map(|email| clean_email(&email))?;
    let profile = Profile {
        email: Some(email),
        ..Profile::default()
    };
    Some(Personal::new(&profile, salt))
}

/// A captured payment of which nothing more is known than that.
pub(super) fn captured(
    purchase_id: PurchaseId,
    money: Money,
    price: Option<Price>,
    paid_at_s: i64,
) -> CapturePayment {
    CapturePayment {
        purchase_id,
        user_id: None,
        claimant: None,
        money,
        order_id: None,
        price,
        paid_at_s,
        payer: None,
        merges: None,
        refunded_total_minor: 0,
        subscription_id: None,
        subscriber: None,
    }
}

/// An amount with its currency. It was seen not to be negative.
pub(super) const fn money(amount_minor: i64, currency: Currency) -> Money {
    Money {
        amount_minor,
        currency,
    }
}
