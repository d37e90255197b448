//! What is needed to ask the providers' APIs, and which of Stripe's two modes is taken.

use secrecy::SecretString;

use super::{ConfigError, Settings, value};
use crate::outbound;

/// What verify-payment needs of Razorpay's API.
#[derive(Debug, Clone, Default)]
pub struct RazorpayApiSettings {
    /// `RAZORPAY_KEY_ID`. Without it the API is not asked.
    pub key_id: Option<String>,
    /// `RAZORPAY_KEY_SECRET`. Checkout signatures are made with it.
    pub key_secret: Option<SecretString>,
    /// `RAZORPAY_API_URL`: an origin without `/v1`.
    pub origin: String,
}

/// What verify-payment needs of Stripe's API.
#[derive(Debug, Clone, Default)]
pub struct StripeApiSettings {
    /// `STRIPE_SECRET_KEY`. Without it the API is not asked.
    pub secret_key: Option<SecretString>,
    /// `STRIPE_API_URL`: an origin without `/v1`.
    pub origin: String,
}

impl Settings<'_> {
    pub(super) fn razorpay_api(&self) -> Result<RazorpayApiSettings, ConfigError> {
        let key_secret = self.secret("RAZORPAY_KEY_SECRET");
        if key_secret.is_none() {
            self.refuse("RAZORPAY_KEY_ID", "needs RAZORPAY_KEY_SECRET, too")?;
        }
        Ok(RazorpayApiSettings {
            key_id: self.text("RAZORPAY_KEY_ID"),
            key_secret,
            origin: self
                .text("RAZORPAY_API_URL")
                .unwrap_or_else(|| outbound::razorpay::DEFAULT_ORIGIN.to_owned()),
        })
    }

    pub(super) fn stripe_api(&self) -> Result<StripeApiSettings, ConfigError> {
        let secret_key = self.secret("STRIPE_SECRET_KEY");
        if secret_key.is_none() {
            self.refuse("STRIPE_API_URL", "needs STRIPE_SECRET_KEY, too")?;
        }
        Ok(StripeApiSettings {
            secret_key,
            origin: self
                .text("STRIPE_API_URL")
                .unwrap_or_else(|| outbound::stripe::DEFAULT_ORIGIN.to_owned()),
        })
    }

    /// A key of one mode beside the setting of the other would take one half of the events and ask for the other.
    pub(super) fn stripe_livemode(&self) -> Result<Option<bool>, ConfigError> {
        let set = self.parsed("STRIPE_LIVEMODE", "must be true or false")?;
        let of_key = self.text("STRIPE_SECRET_KEY").and_then(|key| {
            let begins = |prefixes: [&str; 2]| prefixes.iter().any(|one| key.starts_with(one));
            match (
                begins(["sk_live_", "rk_live_"]),
                begins(["sk_test_", "rk_test_"]),
            ) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            }
        });
        match (set, of_key) {
            (Some(set), Some(of_key)) if set != of_key => Err(value(
                "STRIPE_LIVEMODE",
                "must be the mode that STRIPE_SECRET_KEY is of",
            )),
            _ => Ok(set.or(of_key)),
        }
    }
}
