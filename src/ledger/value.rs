//! The ledger's values: parsed once, at the edge, into types that can not be wrong.
//!
//! Must never accept what the database or a reader downstream would choke on: ids hold no control
//! characters (PostgreSQL text can not hold NUL), numbers stay exact in JSON's doubles.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a value was refused. Holds the rule, never the value: it may be personal or secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidValue {
    /// Which value it was.
    pub field: &'static str,
    /// The rule that it broke.
    pub rule: &'static str,
}

const fn invalid(field: &'static str, rule: &'static str) -> InvalidValue {
    InvalidValue { field, rule }
}

/// The longest id in bytes. Clerk's have 32, Supabase's 36; 255 leaves room for any issuer's subject.
const ID_MAX_BYTES: usize = 255;

fn check_id(field: &'static str, id: &str) -> Result<(), InvalidValue> {
    if id.is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    if id.len() > ID_MAX_BYTES {
        return Err(invalid(field, "must have at most 255 bytes"));
    }
    if id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid(field, "must not hold blanks or control characters"));
    }
    Ok(())
}

/// Who caused a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Identity webhooks of Clerk.
    Clerk,
    /// Payment webhooks of Razorpay, and what its API answered.
    Razorpay,
    /// Payment and subscription webhooks of Stripe, and what its API answered.
    Stripe,
    /// A call of the product's own frontend or backend.
    Api,
    /// An operator, who says why.
    Admin,
    /// The program itself, which follows up what was recorded.
    System,
}

impl Source {
    /// Every source, in the order of their names.
    pub const ALL: [Self; 6] = [
        Self::Admin,
        Self::Api,
        Self::Clerk,
        Self::Razorpay,
        Self::Stripe,
        Self::System,
    ];

    /// The name as stored and as used in routes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::Razorpay => "razorpay",
            Self::Stripe => "stripe",
            Self::Api => "api",
            Self::Admin => "admin",
            Self::System => "system",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A user's id: the subject of the identity provider, 1 to 255 bytes without blanks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(String);

impl UserId {
    /// Takes any id that can be stored and shown.
    ///
    /// # Errors
    /// [`InvalidValue`] when it is empty, too long, or holds blanks or control characters.
    pub fn parse(id: impl Into<String>) -> Result<Self, InvalidValue> {
        let id = id.into();
        check_id("user_id", &id)?;
        Ok(Self(id))
    }

    /// The id as the identity provider writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UserId {
    type Error = InvalidValue;
    fn try_from(id: String) -> Result<Self, InvalidValue> {
        Self::parse(id)
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0
    }
}

/// A purchase's id: `<provider>:<payment id>`, for example `razorpay:pay_29QQoUBi66xm2f`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PurchaseId(String);

impl PurchaseId {
    /// The purchase that a provider's payment is.
    ///
    /// # Errors
    /// [`InvalidValue`] when the payment id can not be an id.
    pub fn new(provider: Source, payment_id: &str) -> Result<Self, InvalidValue> {
        check_id("payment_id", payment_id)?;
        Self::parse(format!("{provider}:{payment_id}"))
    }

    /// Takes an id as [`PurchaseId::as_str`] gives it.
    ///
    /// # Errors
    /// [`InvalidValue`] when it is no id, or names no provider.
    pub fn parse(id: impl Into<String>) -> Result<Self, InvalidValue> {
        let id = id.into();
        check_id("purchase_id", &id)?;
        match id.split_once(':') {
            Some((provider, payment)) if !provider.is_empty() && !payment.is_empty() => {
                Ok(Self(id))
            }
            _ => Err(invalid("purchase_id", "must be <provider>:<payment id>")),
        }
    }

    /// The id as stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whose payment it is to.
    pub fn provider(&self) -> &str {
        self.parts().0
    }

    /// What the provider calls the payment.
    pub fn payment_id(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        // `parse` lets none by without it.
        self.0.split_once(':').unwrap_or_default()
    }
}

impl fmt::Display for PurchaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PurchaseId {
    type Error = InvalidValue;
    fn try_from(id: String) -> Result<Self, InvalidValue> {
        Self::parse(id)
    }
}

impl From<PurchaseId> for String {
    fn from(id: PurchaseId) -> Self {
        id.0
    }
}

/// One stream of events: everything that happened to one user or one purchase.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamId {
    /// `user/<user id>`
    User(UserId),
    /// `purchase/<provider>:<payment id>`
    Purchase(PurchaseId),
}

impl StreamId {
    /// The aggregate type of user streams.
    pub const USER: &'static str = "user";
    /// The aggregate type of purchase streams.
    pub const PURCHASE: &'static str = "purchase";

    /// `user` or `purchase`.
    pub const fn aggregate_type(&self) -> &'static str {
        match self {
            Self::User(_) => Self::USER,
            Self::Purchase(_) => Self::PURCHASE,
        }
    }

    /// The id within its type.
    pub fn aggregate_id(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Purchase(id) => id.as_str(),
        }
    }

    /// The stream of a type and an id as they are stored.
    ///
    /// # Errors
    /// [`InvalidValue`] for an unknown type or an id that is none.
    pub fn parse(aggregate_type: &str, aggregate_id: &str) -> Result<Self, InvalidValue> {
        match aggregate_type {
            Self::USER => UserId::parse(aggregate_id).map(Self::User),
            Self::PURCHASE => PurchaseId::parse(aggregate_id).map(Self::Purchase),
            _ => Err(invalid("aggregate_type", "must be user or purchase")),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.aggregate_type(), self.aggregate_id())
    }
}

/// A number of credits, 0 to [`Credits::MAX`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "i64")]
pub struct Credits(i64);

impl Credits {
    /// No credits.
    pub const ZERO: Self = Self(0);
    /// The most that an account can hold: 2^53 - 1, the largest integer that every JSON reader keeps exact.
    pub const MAX: i64 = 9_007_199_254_740_991;

    /// Takes a number in range.
    ///
    /// # Errors
    /// [`InvalidValue`] when it is negative or above [`Credits::MAX`].
    pub const fn new(credits: i64) -> Result<Self, InvalidValue> {
        if credits < 0 || credits > Self::MAX {
            return Err(invalid("credits", "must be 0 to 9007199254740991"));
        }
        Ok(Self(credits))
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whether there are none.
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The difference, or none of them below zero.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        let difference = self.0 - other.0;
        Self(if difference < 0 { 0 } else { difference })
    }

    /// The difference, or `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self::new(self.0 - other.0).ok()
    }

    /// The sum, or `None` above [`Credits::MAX`].
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0
            .checked_add(other.0)
            .and_then(|sum| Self::new(sum).ok())
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::iter::Sum for Credits {
    /// Never above what an account can hold: sums are of parts of one.
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::ZERO, |sum, part| {
            sum.checked_add(part).unwrap_or(Self(Self::MAX))
        })
    }
}

impl TryFrom<i64> for Credits {
    type Error = InvalidValue;
    fn try_from(credits: i64) -> Result<Self, InvalidValue> {
        Self::new(credits)
    }
}

impl From<Credits> for i64 {
    fn from(credits: Credits) -> Self {
        credits.0
    }
}

/// What a user has. `available = balance - held`; debt is what was clawed back, or is contested, after it was spent.
///
/// One number stands behind it, [`Account::net`]: all that was given less all that was taken or set aside. So the account
/// after a set of events is the same in whatever order they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Credits that are the user's, held ones included.
    pub balance: Credits,
    /// Credits that can not be spent now: reserved by holds, or contested. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub held: Credits,
    /// Credits owed. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub debt: Credits,
    /// Credits contested by open disputes: held back as far as there are any, debt beyond. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub disputed: Credits,
    /// Credits set aside by open holds for running work. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub reserved: Credits,
}

impl Account {
    /// The account of somebody to whom so much was given, net of what was taken and reserved, while so much is contested.
    /// `None` when a part of it leaves the range of [`Credits`].
    pub fn of(net: i64, disputed: Credits, reserved: Credits) -> Option<Self> {
        let in_lots = Credits::new(net.max(0)).ok()?;
        Some(Self {
            balance: in_lots.checked_add(reserved)?,
            held: disputed.min(in_lots).checked_add(reserved)?,
            debt: Credits::new(disputed.get().checked_sub(net)?.max(0)).ok()?,
            disputed,
            reserved,
        })
    }

    /// All that was given less all that was taken or is reserved; negative for one who spent what was taken back later.
    pub const fn net(&self) -> i64 {
        if self.debt.is_zero() {
            self.balance.get() - self.reserved.get()
        } else {
            self.disputed.get() - self.debt.get()
        }
    }

    /// Credits that can be spent now.
    pub const fn available(&self) -> i64 {
        self.balance.get() - self.held.get()
    }

    /// Credits that were clawed back after they were spent: whatever comes in repays them first.
    pub fn owed(&self) -> Credits {
        Credits::new(-self.net()).unwrap_or_default()
    }
}

/// The place of an event in the log, `<shard>-<position>`: what entries and holds are called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The shard, from 0.
    pub shard: i16,
    /// The position in it, from 1.
    pub position: i64,
}

impl Place {
    /// Reads a place as it is shown.
    ///
    /// # Errors
    /// [`InvalidValue`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let parts = text
            .split_once('-')
            .filter(|(shard, position)| digits(shard) && digits(position))
            .and_then(|(shard, position)| Some((shard.parse().ok()?, position.parse().ok()?)));
        match parts {
            Some((shard, position)) if position > 0 => Ok(Self { shard, position }),
            _ => Err(invalid("id", "must be <shard>-<position>")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard, self.position)
    }
}

impl TryFrom<String> for Place {
    type Error = InvalidValue;
    fn try_from(text: String) -> Result<Self, InvalidValue> {
        Self::parse(&text)
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

/// An ISO 4217 code in upper case, as Razorpay writes it; Stripe writes lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Takes three letters of either case.
    ///
    /// # Errors
    /// [`InvalidValue`] for anything else.
    pub fn parse(code: &str) -> Result<Self, InvalidValue> {
        match code.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|x| x.is_ascii_alphabetic()) => {
                Ok(Self([*a, *b, *c].map(|x| x.to_ascii_uppercase())))
            }
            _ => Err(invalid("currency", "must be three letters")),
        }
    }

    /// The code in upper case.
    pub fn as_str(&self) -> &str {
        // Three ASCII letters are always UTF-8; the fallback can not be reached.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Currency {
    type Error = InvalidValue;
    fn try_from(code: String) -> Result<Self, InvalidValue> {
        Self::parse(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

/// An amount of money in the currency's minor unit, as the provider counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units: paise, cents; yen and fils as the provider sends them. Never negative.
    pub amount_minor: i64,
    /// The currency charged.
    pub currency: Currency,
}

impl Money {
    /// Takes a charged amount.
    ///
    /// # Errors
    /// [`InvalidValue`] when the amount is negative.
    pub const fn new(amount_minor: i64, currency: Currency) -> Result<Self, InvalidValue> {
        if amount_minor < 0 {
            return Err(invalid("amount", "must not be negative"));
        }
        Ok(Self {
            amount_minor,
            currency,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_the_database_can_not_hold() {
        for bad in ["", "a b", "a\0b", "a\nb", &"x".repeat(256)] {
            assert!(UserId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(UserId::parse("user_3RkJ4hi245d8WxbYllUz4trG8pG").is_ok());
        assert!(UserId::parse("auth0|5f7c8ec7c33c6c004bbafe82").is_ok());
        for bad in ["razorpay", ":pay_1", "razorpay:", "a:b c"] {
            assert!(PurchaseId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn credits_are_checked() {
        assert!(Credits::new(-1).is_err());
        let max = Credits::new(Credits::MAX).unwrap();
        assert_eq!(max.checked_add(Credits::new(1).unwrap()), None);
        assert_eq!(max.checked_add(Credits::ZERO), Some(max));
        assert!(serde_json::from_str::<Credits>("-1").is_err());
    }

    #[test]
    fn an_account_is_a_function_of_what_was_given_and_what_is_contested() {
        for (net, disputed, balance, held, debt) in [
            (0, 0, 0, 0, 0),
            (500, 0, 500, 0, 0),
            (500, 200, 500, 200, 0),
            (100, 500, 100, 100, 400),
            (0, 500, 0, 0, 500),
            (-300, 0, 0, 0, 300),
            (-300, 500, 0, 0, 800),
        ] {
            let credits = |n| Credits::new(n).unwrap();
            let account = Account::of(net, credits(disputed), Credits::ZERO).unwrap();
            let expected = Account {
                balance: credits(balance),
                held: credits(held),
                debt: credits(debt),
                disputed: credits(disputed),
                reserved: Credits::ZERO,
            };
            assert_eq!(account, expected, "{net} {disputed}");
            assert_eq!(account.net(), net);
            assert!(account.debt.is_zero() || account.available() == 0);
        }
        assert_eq!(
            Account::of(Credits::MAX + 1, Credits::ZERO, Credits::ZERO),
            None
        );
        assert_eq!(Account::of(i64::MIN, Credits::ZERO, Credits::ZERO), None);
    }

    #[test]
    fn currencies_fold_case() {
        assert_eq!(Currency::parse("usd").unwrap().as_str(), "USD");
        for bad in ["", "us", "usdt", "u$d", "ÜS"] {
            assert!(Currency::parse(bad).is_err(), "{bad:?}");
        }
    }
}
