//! What payments buy: the operator's packs, their prices, how long their credits last.
//!
//! Checked when it is loaded, so that pricing can not fail later. Must never guess: a payment that fits no
//! pack, or two, has no price.
//!
//! The amount that must equal a pack's price is the amount before the merchant's own discounts and without tax, where
//! the provider tells it, or the amount that was paid. So a coupon takes nothing from what was bought, and what was
//! really paid is recorded all the same.

use std::collections::HashSet;

use serde::Deserialize;

use crate::ledger::event::Price;
use crate::ledger::{Credits, Currency, Money};

/// The longest name of anything in the catalog, in bytes.
const NAME_MAX_BYTES: usize = 255;
/// The longest life of credits in days: a hundred years.
const EXPIRY_MAX_DAYS: u32 = 36_500;
const SECONDS_PER_DAY: i64 = 86_400;

/// One thing that is sold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Its name in payments' notes, unique in the catalog; 1 to 255 bytes.
    pub sku: String,
    /// What it gives; at least 1.
    pub credits: Credits,
    /// What it costs: any of these.
    pub prices: Vec<Money>,
    /// How long its credits last from the time of payment, 1 to 36500 days; `None`: for ever.
    #[serde(default)]
    pub expires_after_days: Option<u32>,
    /// The prices at Stripe that stand for it, for example `price_1SjE2UIwn4ecfiRI`; each in one pack only.
    #[serde(default)]
    pub stripe_price_ids: Vec<String>,
    /// The plan that a subscription to it gives; 1 to 255 bytes. Several packs may give one plan.
    #[serde(default)]
    pub plan: Option<String>,
}

/// What is known of what a payment buys.
#[derive(Debug, Clone, Copy)]
pub struct Sale<'a> {
    /// The pack that the payment names. If it names one, nothing else is looked for.
    pub sku: Option<&'a str>,
    /// The provider's prices that were charged. If the catalog has any of them, it must be those of one pack.
    pub stripe_price_ids: &'a [String],
    /// Whether, without both, the amount alone may say it.
    pub by_amount: bool,
    /// The amounts of which one must be the pack's price: before discounts, without tax, or as paid.
    pub amounts: &'a [Money],
}

/// The packs, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Vec<Pack>")]
pub struct Catalog(Vec<Pack>);

/// Why a catalog can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCatalog {
    /// A sku is empty, too long, or holds control characters or blanks around it.
    #[error(
        "catalog: sku {0:?} must be 1 to 255 bytes without control characters or blanks around it"
    )]
    BadSku(String),
    /// Two packs have one sku.
    #[error("catalog: sku {0:?} comes twice")]
    DuplicateSku(String),
    /// A pack gives nothing.
    #[error("catalog: {0}: credits must be at least 1")]
    NoCredits(String),
    /// A pack can not be bought.
    #[error("catalog: {0}: needs at least one price")]
    NoPrices(String),
    /// A price is not above zero.
    #[error("catalog: {0}: amount_minor must be at least 1")]
    BadAmount(String),
    /// A pack has one price twice.
    #[error("catalog: {0}: a price comes twice")]
    DuplicatePrice(String),
    /// Credits end at once or after more than a hundred years.
    #[error("catalog: {0}: expires_after_days must be 1 to 36500")]
    BadExpiry(String),
    /// A price id of Stripe's is empty, too long, or holds blanks or control characters.
    #[error("catalog: {0}: a price id must be 1 to 255 bytes without blanks or control characters")]
    BadPriceId(String),
    /// Two packs have one price of Stripe's, or one has it twice.
    #[error("catalog: the price id {0:?} comes twice")]
    DuplicatePriceId(String),
    /// A plan is empty, too long, or holds control characters or blanks around it.
    #[error(
        "catalog: {0}: plan must be 1 to 255 bytes without control characters or blanks around it"
    )]
    BadPlan(String),
}

/// Whether a text can be the name of a pack or a plan.
fn is_name(text: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&text.len())
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

impl Pack {
    fn check(&self) -> Result<(), InvalidCatalog> {
        let sku = || self.sku.clone();
        if !is_name(&self.sku) {
            return Err(InvalidCatalog::BadSku(sku()));
        }
        if self.credits.is_zero() {
            return Err(InvalidCatalog::NoCredits(sku()));
        }
        if self.prices.is_empty() {
            return Err(InvalidCatalog::NoPrices(sku()));
        }
        if self.prices.iter().any(|price| price.amount_minor < 1) {
            return Err(InvalidCatalog::BadAmount(sku()));
        }
        let distinct: HashSet<(Currency, i64)> = self
            .prices
            .iter()
            .map(|price| (price.currency, price.amount_minor))
            .collect();
        if distinct.len() < self.prices.len() {
            return Err(InvalidCatalog::DuplicatePrice(sku()));
        }
        let is_price_id = |id: &String| is_name(id) && !id.contains(char::is_whitespace);
        if !self.stripe_price_ids.iter().all(is_price_id) {
            return Err(InvalidCatalog::BadPriceId(sku()));
        }
        if self.plan.as_ref().is_some_and(|plan| !is_name(plan)) {
            return Err(InvalidCatalog::BadPlan(sku()));
        }
        match self.expires_after_days {
            Some(0) => Err(InvalidCatalog::BadExpiry(sku())),
            Some(days) if days > EXPIRY_MAX_DAYS => Err(InvalidCatalog::BadExpiry(sku())),
            Some(_) | None => Ok(()),
        }
    }

    fn costs(&self, amounts: &[Money]) -> bool {
        self.prices.iter().any(|price| amounts.contains(price))
    }

    fn has_price_id(&self, ids: &[String]) -> bool {
        self.stripe_price_ids.iter().any(|id| ids.contains(id))
    }

    fn price(&self, paid_at_s: i64) -> Price {
        Price {
            sku: self.sku.clone(),
            credits: self.credits,
            expires_at_s: self
                .expires_after_days
                .map(|days| paid_at_s.saturating_add(i64::from(days) * SECONDS_PER_DAY)),
        }
    }
}

impl TryFrom<Vec<Pack>> for Catalog {
    type Error = InvalidCatalog;

    fn try_from(packs: Vec<Pack>) -> Result<Self, InvalidCatalog> {
        Self::new(packs)
    }
}

impl Catalog {
    /// Takes packs that keep the rules.
    ///
    /// # Errors
    /// [`InvalidCatalog`], naming the first pack that does not.
    pub fn new(packs: Vec<Pack>) -> Result<Self, InvalidCatalog> {
        let (mut skus, mut price_ids) = (HashSet::new(), HashSet::new());
        for pack in &packs {
            pack.check()?;
            if !skus.insert(pack.sku.as_str()) {
                return Err(InvalidCatalog::DuplicateSku(pack.sku.clone()));
            }
            for id in &pack.stripe_price_ids {
                if !price_ids.insert(id.as_str()) {
                    return Err(InvalidCatalog::DuplicatePriceId(id.clone()));
                }
            }
        }
        Ok(Self(packs))
    }

    /// The packs, in the order of the settings.
    pub fn packs(&self) -> &[Pack] {
        &self.0
    }

    /// What a pack gives, whatever was paid for it; `None`: there is no such pack. For operators, who know why.
    pub fn pack_price(&self, sku: &str, paid_at_s: i64) -> Option<Price> {
        let pack = self.0.iter().find(|pack| pack.sku == sku)?;
        Some(pack.price(paid_at_s))
    }

    /// What a payment buys. With a sku: that pack, if the money is one of its prices. Without: the one pack that
    /// has this price. `paid_at_s` (seconds since 1970, from the provider) is when the credits' life begins.
    pub fn price(&self, sku: Option<&str>, money: Money, paid_at_s: i64) -> Option<Price> {
        let sale = Sale {
            sku,
            stripe_price_ids: &[],
            by_amount: true,
            amounts: &[money],
        };
        self.price_sale(sale, paid_at_s)
    }

    /// What a sale buys: the pack of its sku; else the one pack of its price ids; else, if the amount may say it, the
    /// one pack of that price. Always only if one of the amounts is a price of the pack. `paid_at_s` as in
    /// [`Catalog::price`].
    pub fn price_sale(&self, sale: Sale<'_>, paid_at_s: i64) -> Option<Price> {
        let costs = |pack: &&Pack| pack.costs(sale.amounts);
        let pack = if let Some(sku) = sale.sku {
            only(self.0.iter().filter(|pack| pack.sku == sku)).filter(costs)
        } else if self.has_price_id(sale.stripe_price_ids) {
            only(self.with_price_id(sale.stripe_price_ids)).filter(costs)
        } else if sale.by_amount {
            only(self.0.iter().filter(costs))
        } else {
            None
        };
        pack.map(|pack| pack.price(paid_at_s))
    }

    /// Whether the catalog has any of these prices of Stripe's.
    pub fn has_price_id(&self, stripe_price_ids: &[String]) -> bool {
        self.with_price_id(stripe_price_ids).next().is_some()
    }

    /// The plan that a subscription to these prices of Stripe's gives: that of the first pack in the catalog that has
    /// one of them and a plan; else that of the pack of the sku. A subscriber may change to another price, and the sku
    /// in the metadata stays, so the price goes first.
    pub fn plan(&self, stripe_price_ids: &[String], sku: Option<&str>) -> Option<&str> {
        let by_price = self
            .with_price_id(stripe_price_ids)
            .find_map(|pack| pack.plan.as_deref());
        let of_sku = |pack: &&Pack| Some(pack.sku.as_str()) == sku;
        by_price.or_else(|| self.0.iter().find(of_sku)?.plan.as_deref())
    }

    fn with_price_id(&self, ids: &[String]) -> impl Iterator<Item = &Pack> {
        self.0.iter().filter(move |pack| pack.has_price_id(ids))
    }
}

/// The pack, if it is a single one.
fn only<'a>(mut packs: impl Iterator<Item = &'a Pack>) -> Option<&'a Pack> {
    let first = packs.next();
    first.filter(|_| packs.next().is_none())
}

#[cfg(test)]
mod tests;
