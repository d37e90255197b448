//! What a provider's subscription is known by, between those who learn who pays for it and those who wait to know.

use std::fmt;

use super::value::{PurchaseId, Source};

/// A provider's subscription: `<provider>:<subscription id>`, for example `stripe:sub_1MowQVLkdIwHu7ixeRlqHVzs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionKey(String);

impl SubscriptionKey {
    /// What a provider calls by this id.
    pub fn new(provider: Source, subscription_id: &str) -> Self {
        Self(format!("{provider}:{subscription_id}"))
    }

    /// What the provider of a purchase calls so.
    pub fn beside(purchase: &PurchaseId, subscription_id: &str) -> Self {
        Self(format!("{}:{subscription_id}", purchase.provider()))
    }

    /// Takes a key as [`SubscriptionKey::as_str`] gives it; `None`: the text is no key.
    pub fn parse(key: impl Into<String>) -> Option<Self> {
        let key = key.into();
        key.contains(':').then_some(Self(key))
    }

    /// The key as stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The provider, and what it calls the subscription.
    pub fn parts(&self) -> (&str, &str) {
        // `parse` lets none by without it.
        self.0.split_once(':').unwrap_or_default()
    }
}

impl fmt::Display for SubscriptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
