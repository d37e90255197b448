//! What a provider says, apart from how often, when and under which secret it is delivered.

use chrono::{DateTime, Utc};
use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::{self, SignedDelivery};
use secrecy::SecretString;

use super::app::{CLERK_SECRET, RAZORPAY_SECRET, STRIPE_SECRET};

/// One event of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub source: Source,
    /// Of Stripe it is also in the body.
    pub event_id: String,
    pub body: String,
}

impl Told {
    pub fn new(source: Source, event_id: impl Into<String>, body: impl ToString) -> Self {
        Self {
            source,
            event_id: event_id.into(),
            body: body.to_string(),
        }
    }

    /// Delivered now, by the system's clock, under the secret of the tests.
    pub fn signed(&self) -> SignedDelivery {
        let secret = match self.source {
            Source::Clerk => CLERK_SECRET,
            Source::Stripe => STRIPE_SECRET,
            _ => RAZORPAY_SECRET,
        };
        self.signed_under(secret, Utc::now())
    }

    /// Delivered at a time under a secret.
    pub fn signed_under(&self, secret: &str, at: DateTime<Utc>) -> SignedDelivery {
        let secret = SecretString::from(secret);
        let body = self.body.as_str();
        let signed = match self.source {
            Source::Clerk => sign::svix(&secret, &self.event_id, at, body),
            Source::Stripe => sign::stripe_webhook(&secret, at, body),
            _ => sign::razorpay_webhook(&secret, &self.event_id, body),
        };
        signed.unwrap()
    }
}
