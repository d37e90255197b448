//! The signature that a browser brings back from Razorpay's checkout (razorpay.com/docs/payments/payment-gateway,
//! "Verify payment signature"): hex HMAC-SHA256 under the API's `key_secret` over ids joined by `|`.
//!
//! It proves that Razorpay issued these ids together for this account, and nothing else: not the amount, not
//! that it was captured, not to whom; and it never ends. Must check the ids' prefixes and letters first: without
//! that, the signature of a subscription or of a payment link passes for one of an order.

use secrecy::SecretString;

use super::payment::has_id_shape;
use crate::provider::signature::{BadSecret, Key, lower_hex};

/// Why a checkout's signature proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutRejected {
    /// The configured `key_secret` is of no use.
    #[error("key_secret: {0}")]
    BadSecret(BadSecret),
    /// A parameter is empty.
    #[error("{0} is missing")]
    MissingParam(&'static str),
    /// An id does not begin as ids in its place do.
    #[error("{0} is not an id of the right kind")]
    BadIdPrefix(&'static str),
    /// The signature is not the one over these ids.
    #[error("the signature does not match")]
    NoMatch,
}

impl CheckoutRejected {
    /// A stable name of the verdict, for metrics and tests.
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::BadSecret(_) => "bad_secret",
            Self::MissingParam(_) => "missing_param",
            Self::BadIdPrefix(_) => "bad_id_prefix",
            Self::NoMatch => "no_match",
        }
    }
}

/// The three signatures that Razorpay's checkouts hand out.
pub struct CheckoutSignature;

impl CheckoutSignature {
    /// The checkout of an order: `order_id|payment_id`.
    ///
    /// # Errors
    /// [`CheckoutRejected`], when the signature is not proven to be Razorpay's over these ids.
    pub fn verify(
        key_secret: &SecretString,
        order_id: &str,
        payment_id: &str,
        signature: &str,
    ) -> Result<(), CheckoutRejected> {
        check_ids(&[
            ("razorpay_order_id", order_id, "order_"),
            ("razorpay_payment_id", payment_id, "pay_"),
        ])?;
        check(key_secret, &[order_id, payment_id], signature)
    }

    /// The checkout of a subscription: `payment_id|subscription_id`, the other way round.
    ///
    /// # Errors
    /// [`CheckoutRejected`], as in [`CheckoutSignature::verify`].
    pub fn verify_subscription(
        key_secret: &SecretString,
        payment_id: &str,
        subscription_id: &str,
        signature: &str,
    ) -> Result<(), CheckoutRejected> {
        check_ids(&[
            ("razorpay_payment_id", payment_id, "pay_"),
            ("razorpay_subscription_id", subscription_id, "sub_"),
        ])?;
        check(key_secret, &[payment_id, subscription_id], signature)
    }

    /// The return from a payment link: `payment_link_id|reference_id|status|payment_id`. A link without a
    /// reference has the empty one. The status is signed too and may be `partially_paid`.
    ///
    /// # Errors
    /// [`CheckoutRejected`], as in [`CheckoutSignature::verify`].
    pub fn verify_payment_link(
        key_secret: &SecretString,
        link: &PaymentLink<'_>,
        signature: &str,
    ) -> Result<(), CheckoutRejected> {
        check_ids(&[
            ("razorpay_payment_link_id", link.payment_link_id, "plink_"),
            ("razorpay_payment_id", link.payment_id, "pay_"),
        ])?;
        if link.status.is_empty() {
            return Err(CheckoutRejected::MissingParam(
                "razorpay_payment_link_status",
            ));
        }
        // A bar inside a part would let the same bytes be read as other parts.
        if link.reference_id.contains('|') || link.status.contains('|') {
            return Err(CheckoutRejected::NoMatch);
        }
        let parts = [
            link.payment_link_id,
            link.reference_id,
            link.status,
            link.payment_id,
        ];
        check(key_secret, &parts, signature)
    }
}

/// What comes back from a payment link.
#[derive(Debug, Clone, Copy)]
pub struct PaymentLink<'a> {
    /// `plink_…`
    pub payment_link_id: &'a str,
    /// Our own reference; empty when the link has none.
    pub reference_id: &'a str,
    /// `paid`, `partially_paid`, …
    pub status: &'a str,
    /// `pay_…`
    pub payment_id: &'a str,
}

/// Every id is there, begins as it must, and is letters and digits from there on.
fn check_ids(ids: &[(&'static str, &str, &str)]) -> Result<(), CheckoutRejected> {
    for (name, id, _) in ids {
        if id.is_empty() {
            return Err(CheckoutRejected::MissingParam(name));
        }
    }
    for (name, id, prefix) in ids {
        if !id.starts_with(prefix) {
            return Err(CheckoutRejected::BadIdPrefix(name));
        }
    }
    if ids.iter().all(|(_, id, prefix)| has_id_shape(id, prefix)) {
        Ok(())
    } else {
        Err(CheckoutRejected::NoMatch)
    }
}

fn check(
    key_secret: &SecretString,
    parts: &[&str],
    signature: &str,
) -> Result<(), CheckoutRejected> {
    let key = Key::of_text(key_secret).map_err(CheckoutRejected::BadSecret)?;
    if signature.is_empty() {
        return Err(CheckoutRejected::MissingParam("razorpay_signature"));
    }
    let candidate = lower_hex(signature).ok_or(CheckoutRejected::NoMatch)?;
    if key.code(&[parts.join("|").as_bytes()]).is(&candidate) {
        Ok(())
    } else {
        Err(CheckoutRejected::NoMatch)
    }
}
