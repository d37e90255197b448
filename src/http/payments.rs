//! `POST /v1/payments/verify`: a user comes back from checkout and wants to see the credits.
//!
//! The webhook and this call race on every purchase, and either may be first. Whoever is, the payment is booked once:
//! this call only looks, claims what names nobody, or runs the very command that the webhook runs.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::RETRY_AFTER;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, timeout_at};

use super::body::{self, Fields, invalid};
use super::identity::{SignedIn, signed_in};
use super::page::no_query;
use super::problem::{Code, Problem};
use super::submit;
use crate::app::App;
use crate::ledger::event::ClaimedBy;
use crate::ledger::{Command, PurchaseId, Source, UserId};
use crate::provider::razorpay::{ApiStatus, CheckoutRejected, CheckoutSignature, capture_from_api};
use crate::reads::PurchaseRow;
use crate::store::{Delivered, Origin, Outcome, Unit, Work};

/// How often the read model is looked at while waiting for the webhook, which any instance may receive.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When a browser should ask again.
const RETRY_AFTER_S: u32 = 2;

/// Verifies a checkout.
///
/// # Errors
/// The problems of the contract.
pub async fn verify(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let session = signed_in(&app, &request).await?;
    if session.impersonated_by.is_some() {
        return Err(Code::ImpersonationRefused.because("a purchase is verified by its buyer"));
    }
    no_query(&request)?;
    let bytes = body::read(payload, body::REQUEST_BYTES_MAX).await?;
    let checkout = Checkout::parse(&bytes)?;
    checkout.check_signature(&app)?;
    let purchase_id = PurchaseId::new(Source::Razorpay, &checkout.payment_id)
        .map_err(|error| invalid("razorpay_payment_id", error.rule))?;
    let verification = Verification {
        app: &app,
        session: &session,
        checkout: &checkout,
        purchase_id: &purchase_id,
    };
    verification.run().await
}

/// What the browser brings back from Razorpay's checkout.
struct Checkout {
    order_id: String,
    payment_id: String,
    signature: String,
}

impl Checkout {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(bytes)?;
        if fields.has("stripe_session_id") {
            return Err(Code::ProviderNotConfigured.because("Stripe is not set up here"));
        }
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

struct Verification<'a> {
    app: &'a App,
    session: &'a SignedIn,
    checkout: &'a Checkout,
    purchase_id: &'a PurchaseId,
}

/// What asking the provider's API came to.
enum Asked {
    /// The money is ours: what to record.
    Captured(Unit),
    /// The payment failed.
    Failed,
    /// The API knows of no money yet, or could not be asked.
    Unknown,
}

impl Verification<'_> {
    async fn run(&self) -> Result<HttpResponse, Problem> {
        if let Some(purchase) = self.find().await? {
            return self.settle(purchase, true).await;
        }
        let until = Instant::now() + self.app.verify_wait;
        let asked = self.ask_provider();
        let webhook = self.await_webhook(until);
        tokio::pin!(asked, webhook);
        tokio::select! {
            biased;
            purchase = &mut webhook => match purchase? {
                Some(purchase) => self.settle(purchase, true).await,
                // The wait is over; the provider's answer has a limit of its own and may still come.
                None => match asked.await? {
                    Asked::Unknown => Ok(pending()),
                    answer => self.answer(answer).await,
                },
            },
            asked = &mut asked => match asked? {
                Asked::Unknown => match webhook.await? {
                    Some(purchase) => self.settle(purchase, true).await,
                    None => Ok(pending()),
                },
                answer => self.answer(answer).await,
            },
        }
    }

    /// Records outside of the race with the webhook: whoever looks while the unit is under way would find this
    /// call's own work and take it for the webhook's.
    async fn answer(&self, asked: Asked) -> Result<HttpResponse, Problem> {
        match asked {
            Asked::Failed => {
                Ok(HttpResponse::Ok().json(json!({ "success": false, "status": "failed" })))
            }
            Asked::Unknown => Ok(pending()),
            Asked::Captured(unit) => {
                let outcome = submit(self.app, unit).await?;
                match self.find().await? {
                    Some(purchase) => self.settle(purchase, outcome != Outcome::Recorded).await,
                    None => Ok(pending()),
                }
            }
        }
    }

    async fn find(&self) -> Result<Option<PurchaseRow>, Problem> {
        Ok(self.app.reads.purchase(self.purchase_id.as_str()).await?)
    }

    /// Looks until the webhook was recorded, by this instance or another, or the wait is over.
    async fn await_webhook(&self, until: Instant) -> Result<Option<PurchaseRow>, Problem> {
        loop {
            if timeout_at(until, sleep(LOOK_EVERY)).await.is_err() {
                return self.find().await;
            }
            if let Some(purchase) = self.find().await? {
                return Ok(Some(purchase));
            }
        }
    }

    /// Asks Razorpay what became of the payment.
    async fn ask_provider(&self) -> Result<Asked, Problem> {
        let Some(api) = &self.app.razorpay_api else {
            return Ok(Asked::Unknown);
        };
        let bytes = match api.fetch_payment(&self.checkout.payment_id).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "Razorpay's API could not be asked");
                return Ok(Asked::Unknown);
            }
        };
        let now = self.app.now();
        let payment = match capture_from_api(
            &bytes,
            Some(self.session.user_id.clone()),
            now.timestamp(),
            &self.app.rules,
            self.app.salt()?,
        ) {
            Ok(payment) => payment,
            Err(error) => {
                tracing::warn!(%error, "Razorpay's API gave an answer that can not be read");
                return Ok(Asked::Unknown);
            }
        };
        let same = payment.payment_id == self.checkout.payment_id
            && payment.order_id.as_deref() == Some(&self.checkout.order_id);
        match payment.status {
            _ if !same => {
                tracing::warn!("Razorpay's API answered with another payment or order");
                Ok(Asked::Unknown)
            }
            ApiStatus::Captured(capture) => {
                let command = Command::CapturePayment(capture);
                Ok(Asked::Captured(fetched(bytes, now, command)))
            }
            ApiStatus::Failed => Ok(Asked::Failed),
            ApiStatus::Created
            | ApiStatus::Authorized
            | ApiStatus::Refunded
            | ApiStatus::Other(_) => Ok(Asked::Unknown),
        }
    }

    /// The answer for a recorded purchase, once it is known to be the session's.
    async fn settle(
        &self,
        purchase: PurchaseRow,
        already_processed: bool,
    ) -> Result<HttpResponse, Problem> {
        let purchase = match &purchase.user_id {
            Some(_) => purchase,
            None => self.claim().await?,
        };
        if purchase.user_id.as_deref() != Some(self.session.user_id.as_str()) {
            return Err(Code::NotYourPurchase.because("this payment was made for another user"));
        }
        let balance = self
            .app
            .reads
            .balance(self.session.user_id.as_str())
            .await?;
        Ok(HttpResponse::Ok().json(json!({
            "success": true,
            "purchase_id": purchase.purchase_id,
            "status": purchase.status,
            "credits_added": purchase.credits,
            "balance": balance.unwrap_or_default().balance,
            "already_processed": already_processed,
        })))
    }

    /// The checkout's signature was made for whoever paid, so it claims a purchase that names nobody.
    async fn claim(&self) -> Result<PurchaseRow, Problem> {
        let user_id: UserId = self.session.user_id.clone();
        let unit = Unit {
            origin: Origin::Session {
                user_id: user_id.as_str().to_owned(),
            },
            work: Work::Apply(Command::ClaimPurchase {
                purchase_id: self.purchase_id.clone(),
                user_id,
                by: ClaimedBy::CheckoutSignature,
            }),
        };
        if let Outcome::Refused(error) = submit(self.app, unit).await? {
            return Err(error.into());
        }
        self.find()
            .await?
            .ok_or_else(|| Code::Unavailable.because("the purchase is not readable yet"))
    }
}

fn pending() -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((RETRY_AFTER, RETRY_AFTER_S.to_string()))
        .json(json!({ "success": false, "status": "pending" }))
}

/// An answer of the provider's API goes through the inbox as a delivery does, so that every fact has its bytes.
fn fetched(bytes: Vec<u8>, now: chrono::DateTime<chrono::Utc>, command: Command) -> Unit {
    let body_sha256: [u8; 32] = Sha256::digest(&bytes).into();
    let key = format!("api:{}", hex::encode(body_sha256));
    let delivered = Delivered {
        source: Source::Razorpay,
        provider_event_id: key.clone(),
        key,
        body: bytes,
        body_sha256,
        headers_json: "{}".to_owned(),
        secret: "api".to_owned(),
        received_at: now,
    };
    Unit {
        origin: Origin::Delivery(Arc::new(delivered)),
        work: Work::Apply(command),
    }
}
