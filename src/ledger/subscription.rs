//! What a provider's subscription is known by, between those who learn who pays for it and those who wait to know.

use std::fmt;

/// A provider's subscription: `<provider>:<subscription id>`, for example `stripe:sub_1MowQVLkdIwHu7ixeRlqHVzs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionKey {
    provider: String,
    subscription_id: String,
}

impl SubscriptionKey {
    /// Of these two.
    pub fn new(provider: impl Into<String>, subscription_id: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            subscription_id: subscription_id.into(),
        }
    }

    /// Takes a key as it is written; `None`: it is none.
    pub fn parse(key: &str) -> Option<Self> {
        let (provider, subscription_id) = key.split_once(':')?;
        Some(Self::new(provider, subscription_id))
    }

    /// Whose subscription it is to.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// What the provider calls it.
    pub fn subscription_id(&self) -> &str {
        &self.subscription_id
    }
}

impl fmt::Display for SubscriptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.provider, self.subscription_id)
    }
}
