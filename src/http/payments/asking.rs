//! Asking Razorpay's API what became of a payment, and what its order says of it.
//!
//! At most two calls, one after the other, each with a limit of its own; the order only when the payment's own notes
//! lack the user or the sku. Must never take a payment or an order for another one, nor record anything itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::Checkout;
use crate::app::App;
use crate::http::problem::Problem;
use crate::ledger::command::CapturePayment;
use crate::ledger::{Command, Source, UserId};
use crate::outbound::{OutboundError, RazorpayApi};
use crate::provider::razorpay::{ApiPayment, ApiStatus, capture_from_api};
use crate::store::{Delivered, Origin, Unit, Work};

/// What asking came to.
pub(super) enum Asked {
    /// The money is ours: what to record.
    Captured(Fetched),
    /// There is no money and nothing to wait for: `failed`.
    Over(&'static str),
    /// The API knows of no money yet, or could not be asked.
    Unknown,
}

/// A captured payment and the very bytes that say so.
pub(super) struct Fetched {
    body: Vec<u8>,
    asked_at: DateTime<Utc>,
    capture: Box<CapturePayment>,
}

/// Who asks about what.
pub(super) struct Question<'a> {
    pub(super) app: &'a App,
    pub(super) checkout: &'a Checkout,
    /// Gets the purchase if neither the payment nor its order names anybody.
    pub(super) claimant: &'a UserId,
}

impl Question<'_> {
    /// Asks about the payment and, if need be, its order.
    pub(super) async fn ask(&self) -> Result<Asked, Problem> {
        let Some(api) = &self.app.razorpay_api else {
            return Ok(Asked::Unknown);
        };
        let now = self.app.now();
        let Some(body) = usable(api.fetch_payment(&self.checkout.payment_id).await) else {
            return Ok(Asked::Unknown);
        };
        let Some(payment) = self.read(&body, None, now)? else {
            return Ok(Asked::Unknown);
        };
        let order_may_say_more = payment.order_may_say_more;
        match payment.status {
            ApiStatus::Captured(capture) => {
                let fetched = Fetched {
                    body,
                    asked_at: now,
                    capture,
                };
                if order_may_say_more {
                    self.with_order(api, fetched).await
                } else {
                    Ok(Asked::Captured(fetched))
                }
            }
            ApiStatus::Failed => Ok(Asked::Over("failed")),
            ApiStatus::Created | ApiStatus::Authorized | ApiStatus::Other(_) => Ok(Asked::Unknown),
        }
    }

    /// The payment as its order completes it. If the order can not be asked, a payment that names nobody is as good as
    /// unknown: its order may name another user than the one who asks.
    async fn with_order(&self, api: &RazorpayApi, payment: Fetched) -> Result<Asked, Problem> {
        let order = match api.fetch_order(&self.checkout.order_id).await {
            // Then there is nothing more to learn.
            Err(OutboundError::NotFound) => return Ok(Asked::Captured(payment)),
            answer => usable(answer),
        };
        if let Some(order) = order
            && let Some(both) = self.read(&payment.body, Some(&order), payment.asked_at)?
            && let ApiStatus::Captured(capture) = both.status
        {
            return Ok(Asked::Captured(Fetched {
                body: joined(&payment.body, &order),
                capture,
                ..payment
            }));
        }
        Ok(match payment.capture.user_id {
            Some(_) => Asked::Captured(payment),
            None => Asked::Unknown,
        })
    }

    /// What the answers say, if they can be read and are about the checkout's payment and order.
    fn read(
        &self,
        payment: &[u8],
        order: Option<&[u8]>,
        now: DateTime<Utc>,
    ) -> Result<Option<ApiPayment>, Problem> {
        let answer = capture_from_api(
            payment,
            order,
            Some(self.claimant.clone()),
            now.timestamp(),
            &self.app.rules,
            self.app.salt()?,
        );
        match answer {
            Ok(payment) if self.is_about_checkout(&payment) => Ok(Some(payment)),
            Ok(_) => {
                tracing::warn!("Razorpay's API answered with another payment or order");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%error, "Razorpay's API gave an answer that can not be read");
                Ok(None)
            }
        }
    }

    fn is_about_checkout(&self, payment: &ApiPayment) -> bool {
        payment.payment_id == self.checkout.payment_id
            && payment.order_id.as_deref() == Some(&self.checkout.order_id)
    }
}

impl Fetched {
    /// Whether it is known what the payment buys.
    pub(super) fn is_priced(&self) -> bool {
        self.capture.price.is_some()
    }

    /// The answer goes through the inbox as a delivery does, so that every fact has its bytes.
    pub(super) fn into_unit(self) -> Unit {
        let body_sha256: [u8; 32] = Sha256::digest(&self.body).into();
        let key = format!("api:{}", hex::encode(body_sha256));
        let delivered = Delivered {
            source: Source::Razorpay,
            provider_event_id: key.clone(),
            key,
            body: self.body,
            body_sha256,
            headers_json: "{}".to_owned(),
            secret: Delivered::API_ANSWER.to_owned(),
            received_at: self.asked_at,
        };
        Unit {
            origin: Origin::Delivery(Arc::new(delivered)),
            work: Work::Apply(Command::CapturePayment(self.capture)),
        }
    }
}

fn usable(answer: Result<Vec<u8>, OutboundError>) -> Option<Vec<u8>> {
    answer
        .inspect_err(|error| tracing::warn!(%error, "Razorpay's API could not be asked"))
        .ok()
}

/// Two JSON texts as one, byte for byte.
fn joined(payment: &[u8], order: &[u8]) -> Vec<u8> {
    [b"{\"payment\":", payment, b",\"order\":", order, b"}"].concat()
}
