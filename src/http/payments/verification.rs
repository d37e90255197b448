//! What verify-payment does for every provider: look, wait, ask, record, claim, reply.
//!
//! The webhook and this call race on every purchase, and either may be first. Whoever is, the payment is booked once:
//! this call only looks, claims what names nobody, or runs the very command that the webhook runs.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::RETRY_AFTER;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, timeout_at};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::identity::SignedIn;
use crate::http::problem::{Code, Problem};
use crate::http::submit;
use crate::ledger::command::CapturePayment;
use crate::ledger::event::ClaimedBy;
use crate::ledger::{Command, PurchaseId, Source, UserId};
use crate::reads::PurchaseRow;
use crate::store::{Delivered, Origin, Outcome, Unit, Work};

/// How often the read model is looked at while waiting for the webhook, which any instance may receive.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When a browser should ask again.
const RETRY_AFTER_S: u32 = 2;

/// The payment is recorded and the session's.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verified {
    /// `true`.
    #[schema(schema_with = crate::http::openapi::constantly_true)]
    success: bool,
    /// `<provider>:<payment id>`.
    purchase_id: String,
    /// What has become of the payment.
    #[schema(schema_with = crate::http::openapi::purchase_status)]
    status: String,
    /// The credits that it gives.
    credits_added: i64,
    /// The user's balance now.
    balance: i64,
    /// Whether it was recorded before this call.
    already_processed: bool,
}

/// There are no credits, or none yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotPaid {
    /// `false`.
    #[schema(schema_with = crate::http::openapi::constantly_false)]
    success: bool,
    /// Why: `pending` (ask again), `failed`, `expired`, `no_payment_required`, `refunded` or `lost`.
    #[schema(schema_with = crate::http::openapi::not_paid_status)]
    status: String,
}

impl NotPaid {
    fn of(status: &str) -> Self {
        Self {
            success: false,
            status: status.to_owned(),
        }
    }
}

/// What asking a provider's API came to.
pub(super) enum Asked {
    /// The money is ours: what to record.
    Captured(Fetched),
    /// There is no money and nothing to wait for, and why: for example `failed`.
    Over(&'static str),
    /// The API knows of no money yet, or could not be asked.
    Unknown,
}

/// A captured payment and the very bytes that say so.
pub(super) struct Fetched {
    /// Whose API it was.
    pub(super) source: Source,
    /// What it answered.
    pub(super) body: Vec<u8>,
    /// When.
    pub(super) asked_at: DateTime<Utc>,
    /// What that means.
    pub(super) capture: Box<CapturePayment>,
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
            source: self.source,
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

/// A user who wants to see the credits of a purchase.
pub(super) struct Verification<'a> {
    pub(super) app: &'a App,
    pub(super) session: &'a SignedIn,
    pub(super) purchase_id: &'a PurchaseId,
    /// Whether what the browser brought is known to have been given to whoever paid. Then it claims a purchase that
    /// names nobody.
    pub(super) proven: bool,
}

impl Verification<'_> {
    /// The answer while the webhook may come at any moment: whoever is first, the webhook or `ask`, which asks the
    /// provider's API.
    pub(super) async fn race<F>(&self, ask: impl Fn() -> F) -> Result<HttpResponse, Problem>
    where
        F: Future<Output = Result<Asked, Problem>>,
    {
        if let Some(purchase) = self.find().await? {
            return self.settle(purchase, ask()).await;
        }
        let until = Instant::now() + self.app.verify_wait;
        let asked = ask();
        let webhook = self.await_webhook(until);
        tokio::pin!(asked, webhook);
        tokio::select! {
            biased;
            purchase = &mut webhook => match purchase? {
                Some(purchase) => self.settle(purchase, ask()).await,
                // The wait is over; the provider's answer has a limit of its own and may still come.
                None => match asked.await? {
                    Asked::Unknown => Ok(pending()),
                    answer => self.answer(answer).await,
                },
            },
            asked = &mut asked => match asked? {
                Asked::Unknown => match webhook.await? {
                    Some(purchase) => self.settle(purchase, ask()).await,
                    None => Ok(pending()),
                },
                answer => self.answer(answer).await,
            },
        }
    }

    /// The answer to what the provider's API said, where only it knew which purchase it is.
    pub(super) async fn told(&self, asked: Asked) -> Result<HttpResponse, Problem> {
        match self.find().await? {
            Some(purchase) => self.settle(purchase, ready(Ok(asked))).await,
            None => self.answer(asked).await,
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

    /// The answer for a purchase that somebody else recorded.
    async fn settle(
        &self,
        purchase: PurchaseRow,
        ask: impl Future<Output = Result<Asked, Problem>>,
    ) -> Result<HttpResponse, Problem> {
        let purchase = self.complete(purchase, ask).await?;
        self.reply(purchase, true).await
    }

    /// What was recorded may lack the user or the price, when the webhook that came first did not bring them. The API is
    /// asked before the session gets a purchase, so that whose it is does not depend on which came first. If it can not
    /// be asked, a proof of the browser's is enough.
    async fn complete(
        &self,
        purchase: PurchaseRow,
        ask: impl Future<Output = Result<Asked, Problem>>,
    ) -> Result<PurchaseRow, Problem> {
        let nobodys = purchase.user_id.is_none();
        let unpriced = purchase.sku.is_none() && self.is_own(&purchase);
        if !nobodys && !unpriced {
            return Ok(purchase);
        }
        match ask.await? {
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
            None if self.proven => self.claim().await?,
            None => return Ok(pending()),
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
            .balance(self.session.user_id.as_str(), self.app.checked_now().await?)
            .await?;
        Ok(HttpResponse::Ok().json(Verified {
            success: true,
            purchase_id: purchase.purchase_id,
            status: purchase.status,
            credits_added: purchase.credits,
            balance: balance.unwrap_or_default().balance,
            already_processed,
        }))
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
pub(super) fn over(status: &str) -> HttpResponse {
    HttpResponse::Ok().json(NotPaid::of(status))
}

pub(super) fn pending() -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((RETRY_AFTER, RETRY_AFTER_S.to_string()))
        .json(NotPaid::of("pending"))
}
