//! A user comes back from Razorpay's checkout: what the browser brings is signed, and Razorpay's API says what became of
//! the payment, and its order whose it is.
//!
//! At most two calls, one after the other, each with a limit of its own; the order only when the payment's own notes
//! lack the user or the sku. Must never take a payment or an order for another one, nor record anything itself.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};

use super::verification::{Asked, Fetched, Verification};
use crate::app::App;
use crate::http::body::{Fields, invalid};
use crate::http::identity::SignedIn;
use crate::http::problem::{Code, Problem};
use crate::ledger::{PurchaseId, Source, UserId};
use crate::outbound::{OutboundError, RazorpayApi};
use crate::provider::razorpay::{
    ApiPayment, ApiStatus, CheckoutRejected, CheckoutSignature, capture_from_api, joined,
};

/// Verifies what Razorpay's checkout gave the browser. The signature was made for whoever paid, so it claims a purchase
/// that names nobody.
pub(super) async fn verify(
    app: &App,
    session: &SignedIn,
    fields: Fields,
) -> Result<HttpResponse, Problem> {
    let checkout = Checkout::parse(fields)?;
    checkout.check_signature(app)?;
    let purchase_id = PurchaseId::new(Source::Razorpay, &checkout.payment_id)
        .map_err(|error| invalid("razorpay_payment_id", error.rule))?;
    let question = Question {
        app,
        checkout: &checkout,
        claimant: &session.user_id,
    };
    let verification = Verification {
        app,
        session,
        purchase_id: &purchase_id,
        proven: true,
    };
    verification.race(|| question.ask()).await
}

/// What the browser brings back from Razorpay's checkout.
struct Checkout {
    order_id: String,
    payment_id: String,
    signature: String,
}

impl Checkout {
    fn parse(mut fields: Fields) -> Result<Self, Problem> {
        let checkout = Self {
            order_id: fields.text("razorpay_order_id")?,
            payment_id: fields.text("razorpay_payment_id")?,
            signature: fields.text("razorpay_signature")?,
        };
        fields.finish()?;
        Ok(checkout)
    }

    fn check_signature(&self, app: &App) -> Result<(), Problem> {
        let secret = app
            .razorpay_key_secret
            .as_ref()
            .ok_or_else(|| Code::ProviderNotConfigured.because("RAZORPAY_KEY_SECRET is not set"))?;
        CheckoutSignature::verify(secret, &self.order_id, &self.payment_id, &self.signature)
            .map_err(|rejected| match rejected {
                CheckoutRejected::MissingParam(_) => {
                    Code::InvalidRequest.because(rejected.to_string())
                }
                CheckoutRejected::BadIdPrefix(_) | CheckoutRejected::NoMatch => {
                    Code::InvalidSignature.because(rejected.to_string())
                }
                CheckoutRejected::BadSecret(_) => {
                    Code::ProviderNotConfigured.because("RAZORPAY_KEY_SECRET can not be used")
                }
            })
    }
}

/// Who asks about what.
struct Question<'a> {
    app: &'a App,
    checkout: &'a Checkout,
    /// Gets the purchase if neither the payment nor its order names anybody.
    claimant: &'a UserId,
}

impl Question<'_> {
    /// Asks about the payment and, if need be, its order.
    async fn ask(&self) -> Result<Asked, Problem> {
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
                    source: Source::Razorpay,
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

fn usable(answer: Result<Vec<u8>, OutboundError>) -> Option<Vec<u8>> {
    answer
        .inspect_err(|error| tracing::warn!(%error, "Razorpay's API could not be asked"))
        .ok()
}
