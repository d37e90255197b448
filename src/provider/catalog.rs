//! What payments buy: the operator's packs, their prices, how long their credits last.
//!
//! Checked when it is loaded, so that pricing can not fail later. Must never guess: a payment that fits no
//! pack, or two, has no price.

use std::collections::HashSet;

use serde::Deserialize;

use crate::ledger::event::Price;
use crate::ledger::{Credits, Currency, Money};

/// The longest sku in bytes.
const SKU_MAX_BYTES: usize = 255;
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
}

impl Pack {
    fn check(&self) -> Result<(), InvalidCatalog> {
        let sku = || self.sku.clone();
        if self.sku.is_empty()
            || self.sku.len() > SKU_MAX_BYTES
            || self.sku.trim() != self.sku
            || self.sku.chars().any(char::is_control)
        {
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
        match self.expires_after_days {
            Some(0) => Err(InvalidCatalog::BadExpiry(sku())),
            Some(days) if days > EXPIRY_MAX_DAYS => Err(InvalidCatalog::BadExpiry(sku())),
            Some(_) | None => Ok(()),
        }
    }

    fn costs(&self, money: Money) -> bool {
        self.prices.contains(&money)
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
        let mut skus = HashSet::new();
        for pack in &packs {
            pack.check()?;
            if !skus.insert(pack.sku.as_str()) {
                return Err(InvalidCatalog::DuplicateSku(pack.sku.clone()));
            }
        }
        Ok(Self(packs))
    }

    /// The packs, in the order of the settings.
    pub fn packs(&self) -> &[Pack] {
        &self.0
    }

    /// What a pack gives, whatever was paid for it; `None`: there is no such pack. For operators, who know why.
    pub fn price_of(&self, sku: &str, paid_at_s: i64) -> Option<Price> {
        let pack = self.0.iter().find(|pack| pack.sku == sku)?;
        Some(pack.price(paid_at_s))
    }

    /// What a payment buys. With a sku: that pack, if the money is one of its prices. Without: the one pack that
    /// has this price. `paid_at_s` (seconds since 1970, from the provider) is when the credits' life begins.
    pub fn price(&self, sku: Option<&str>, money: Money, paid_at_s: i64) -> Option<Price> {
        let mut fitting = self
            .0
            .iter()
            .filter(|pack| sku.is_none_or(|sku| pack.sku == sku) && pack.costs(money));
        match (fitting.next(), fitting.next()) {
            (Some(pack), None) => Some(pack.price(paid_at_s)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &str) -> Result<Catalog, String> {
        #[derive(Deserialize)]
        struct Settings {
            catalog: Catalog,
        }
        toml::from_str::<Settings>(settings)
            .map(|s| s.catalog)
            .map_err(|e| e.to_string())
    }

    fn money(currency: &str, amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::parse(currency).unwrap()).unwrap()
    }

    const TWO_PACKS: &str = r#"
        [[catalog]]
        sku = "credits_500"
        credits = 500
        prices = [ { currency = "INR", amount_minor = 49900 }, { currency = "usd", amount_minor = 599 } ]
        expires_after_days = 365
        [[catalog]]
        sku = "team_500"
        credits = 500
        prices = [ { currency = "INR", amount_minor = 49900 }, { currency = "EUR", amount_minor = 599 } ]
    "#;

    #[test]
    fn a_price_is_found_by_sku_or_by_a_unique_amount() {
        let catalog = load(TWO_PACKS).unwrap();
        let sku = |sku, money| catalog.price(sku, money, 1000).map(|price| price.sku);
        let found = |name: &str| Some(name.to_owned());
        assert_eq!(
            sku(Some("team_500"), money("INR", 49900)),
            found("team_500")
        );
        assert_eq!(sku(Some("team_500"), money("INR", 49901)), None);
        assert_eq!(sku(Some("team_500"), money("USD", 599)), None);
        assert_eq!(sku(Some("nothing"), money("USD", 599)), None);
        assert_eq!(sku(None, money("USD", 599)), found("credits_500"));
        assert_eq!(sku(None, money("EUR", 599)), found("team_500"));
        assert_eq!(sku(None, money("INR", 49900)), None, "two packs cost this");
        assert_eq!(sku(None, money("JPY", 599)), None);
    }

    #[test]
    fn credits_end_by_the_time_of_payment() {
        let catalog = load(TWO_PACKS).unwrap();
        let expiry = |currency, paid_at_s| {
            catalog
                .price(None, money(currency, 599), paid_at_s)
                .unwrap()
                .expires_at_s
        };
        assert_eq!(expiry("USD", 1000), Some(1000 + 365 * 86_400));
        assert_eq!(expiry("EUR", 1000), None);
        assert_eq!(expiry("USD", i64::MAX), Some(i64::MAX));
    }

    #[test]
    fn a_catalog_that_breaks_a_rule_is_refused() {
        let pack = |sku: &str, credits: &str, prices: &str, more: &str| {
            format!(
                "[[catalog]]\nsku = \"{sku}\"\ncredits = {credits}\nprices = [{prices}]\n{more}\n"
            )
        };
        let price = r#"{ currency = "INR", amount_minor = 100 }"#;
        let good = pack("a", "1", price, "");
        assert!(load(&good).is_ok());
        for (bad, why) in [
            (format!("{good}{good}"), "comes twice"),
            (pack("", "1", price, ""), "must be 1 to 255 bytes"),
            (pack("a ", "1", price, ""), "must be 1 to 255 bytes"),
            (pack("a", "0", price, ""), "credits must be at least 1"),
            (pack("a", "-1", price, ""), "credits"),
            (pack("a", "1", "", ""), "needs at least one price"),
            (
                pack("a", "1", &format!("{price},{price}"), ""),
                "a price comes twice",
            ),
            (
                pack("a", "1", &price.replace("100", "0"), ""),
                "amount_minor must be at least 1",
            ),
            (
                pack("a", "1", &price.replace("100", "-1"), ""),
                "amount_minor must be at least 1",
            ),
            (
                pack("a", "1", &price.replace("INR", "rupee"), ""),
                "three letters",
            ),
            (
                pack("a", "1", price, "expires_after_days = 0"),
                "expires_after_days",
            ),
            (
                pack("a", "1", price, "expires_after_days = 36501"),
                "expires_after_days",
            ),
            (pack("a", "1", price, "expires_after = 3"), "unknown field"),
        ] {
            let error = load(&bad).unwrap_err();
            assert!(error.contains(why), "{bad}\n{error}");
        }
    }
}
