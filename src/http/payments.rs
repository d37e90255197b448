//! `POST /v1/payments/verify`: a user comes back from checkout and wants to see the credits.
//!
//! The webhook and this call race on every purchase, and either may be first. Whoever is, the payment is booked once:
//! this call only looks, claims what names nobody, or runs the very command that the webhook runs. Whose it is and what
//! it buys is asked for (`asking`) where it is not known.

mod asking;

use std::time::Duration;

use actix_web::http::header::RETRY_AFTER;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use asking::{Asked, Question};

use super::body::{self, Fields, invalid};
use super::identity::{SignedIn, signed_in};
use super::page::no_query;
use super::problem::{Code, Problem};
use super::submit;
use crate::app::App;
use crate::ledger::event::ClaimedBy;
use crate::ledger::{Command, PurchaseId, Source, UserId};
use crate::provider::razorpay::{CheckoutRejected, CheckoutSignature};
use crate::reads::PurchaseRow;
use crate::store::{Origin, Outcome, Unit, Work};

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

impl Verification<'_> {
    async fn run(&self) -> Result<HttpResponse, Problem> {
        if let Some(purchase) = self.find().await? {
            return self.settle(purchase).await;
        }
        let until = Instant::now() + self.app.verify_wait;
        let asked = self.ask_provider();
        let webhook = self.await_webhook(until);
        tokio::pin!(asked, webhook);
        tokio::select! {
            biased;
            purchase = &mut webhook => match purchase? {
                Some(purchase) => self.settle(purchase).await,
                // The wait is over; the provider's answer has a limit of its own and may still come.
                None => match asked.await? {
                    Asked::Unknown => Ok(pending()),
                    answer => self.answer(answer).await,
                },
            },
            asked = &mut asked => match asked? {
                Asked::Unknown => match webhook.await? {
                    Some(purchase) => self.settle(purchase).await,
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
            Asked::Over(status) => Ok(over(status)),
            Asked::Unknown => Ok(pending()),
            Asked::Captured(fetched) => {
                let outcome = submit(self.app, fetched.into_unit()).await?;
                match self.find().await? {
                    Some(purchase) => self.reply(purchase, outcome != Outcome::Recorded).await,
                    None => Ok(pending()),
                }
            }
        }
    }

    async fn find(&self) -> Result<Option<PurchaseRow>, Problem> {
        Ok(self.app.reads.purchase(self.purchase_id.as_str()).await?)
    }

    async fn find_again(&self) -> Result<PurchaseRow, Problem> {
        self.find()
            .await?
            .ok_or_else(|| Code::Unavailable.because("the purchase is not readable yet"))
    }

    fn is_own(&self, purchase: &PurchaseRow) -> bool {
        purchase.user_id.as_deref() == Some(self.session.user_id.as_str())
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
        let question = Question {
            app: self.app,
            checkout: self.checkout,
            claimant: &self.session.user_id,
        };
        question.ask().await
    }

    /// The answer for a purchase that somebody else recorded.
    async fn settle(&self, purchase: PurchaseRow) -> Result<HttpResponse, Problem> {
        let purchase = self.complete(purchase).await?;
        self.reply(purchase, true).await
    }

    /// What was recorded may lack the user or the price, when the webhook that came first did not bring the order's
    /// notes. The API is asked before the session gets a purchase, so that whose it is does not depend on which came
    /// first. If it can not be asked, the checkout's signature is proof enough.
    async fn complete(&self, purchase: PurchaseRow) -> Result<PurchaseRow, Problem> {
        let nobodys = purchase.user_id.is_none();
        let unpriced = purchase.sku.is_none() && self.is_own(&purchase);
        if !nobodys && !unpriced {
            return Ok(purchase);
        }
        match self.ask_provider().await? {
            Asked::Captured(fetched) if nobodys || fetched.is_priced() => {
                submit(self.app, fetched.into_unit()).await?;
                self.find_again().await
            }
            Asked::Captured(_) | Asked::Over(_) | Asked::Unknown => Ok(purchase),
        }
    }

    /// The answer for a recorded purchase, once it is known to be the session's.
    async fn reply(
        &self,
        purchase: PurchaseRow,
        already_processed: bool,
    ) -> Result<HttpResponse, Problem> {
        let purchase = match &purchase.user_id {
            Some(_) => purchase,
            None => self.claim().await?,
        };
        if !self.is_own(&purchase) {
            return Err(Code::NotYourPurchase.because("this payment was made for another user"));
        }
        // The money is not ours any more.
        if matches!(purchase.status.as_str(), "refunded" | "lost") {
            return Ok(over(&purchase.status));
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
        self.find_again().await
    }
}

/// There is no money, and nothing to wait for.
fn over(status: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "success": false, "status": status }))
}

fn pending() -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((RETRY_AFTER, RETRY_AFTER_S.to_string()))
        .json(json!({ "success": false, "status": "pending" }))
}
