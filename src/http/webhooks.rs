//! `POST /webhooks/{provider}`: raw bytes in; an answer only when what they say is durable.

use std::sync::Arc;

use actix_web::http::header::HeaderName;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{self, Incoming};
use super::problem::{Code, Problem};
use super::submit;
use crate::app::App;
use crate::intake;
use crate::ledger::Source;
use crate::provider::{Delivery, Headers, Lookup, Rejected, Verified};
use crate::store::{Origin, Outcome, StoreError, Unit, Work};

/// Says that nothing new was done, on any answer that only repeats an earlier one.
pub const IDEMPOTENCY_HIT: HeaderName = HeaderName::from_static("idempotency-hit");

/// Takes a delivery.
///
/// # Errors
/// The problems of the contract. None says that it was stored, so whoever gets one sends it again.
pub async fn receive(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let provider = match app.providers.find(&path) {
        Lookup::Found(provider) => provider,
        Lookup::NotConfigured => {
            return Err(Code::ProviderNotConfigured.because("no webhook secret is set for it"));
        }
        Lookup::Unknown => return Err(Code::UnknownProvider.because("no such provider")),
    };
    // Said before the body is read: it costs little then, and what is asked is more than can be done.
    if app.ledger.is_full() {
        return Err(StoreError::Overloaded.into());
    }
    let received_at = app.now();
    let bytes = body::read(payload, body::WEBHOOK_BYTES_MAX).await?;
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let verified = provider.verify(&Delivery {
        headers: Headers::new(headers),
        body: &bytes,
        received_at,
    });
    let verified = match verified {
        Ok(verified) => verified,
        Err(rejected) => return Err(refuse(&app, provider.source(), rejected, received_at).await),
    };
    let work = intake::work(&app, provider, &verified).await?;
    let event_id = verified.provider_event_id().to_owned();
    let waits_for = intake::may_wait_for(provider.source(), &work);
    let outcome = submit(&app, unit(verified, work)?).await?;
    if let Some(subscription) = waits_for {
        let looked = intake::wake_if_known(&app, &subscription);
        match outcome {
            Outcome::Parked => {
                looked.await?;
            }
            // Whoever stored it may not have come to this. A duplicate is none the less one.
            Outcome::Duplicate => {
                if let Err(error) = looked.await {
                    tracing::warn!(%error, "a delivery may wait for what is known");
                }
            }
            _ => {}
        }
    }
    answer(&outcome, &event_id)
}

/// Between the receipt of a delivery and its verdict less time passes: a body may take 10 s.
const VERDICT_MAX: TimeDelta = TimeDelta::seconds(30);

/// What is said of a delivery that is not genuine. Who has the wrong time, or had it a moment ago, or does not know, can not
/// say of one that is signed that it is too old.
async fn refuse(
    app: &App,
    source: Source,
    rejected: Rejected,
    received_at: DateTime<Utc>,
) -> Problem {
    tracing::info!(provider = %source, verdict = rejected.verdict(), "delivery refused");
    if matches!(rejected, Rejected::TooOld | Rejected::TooNew) {
        if let Err(doubt) = app.compare_clock().await {
            return doubt.into();
        }
        if (app.now() - received_at).abs() > VERDICT_MAX {
            return Code::Unavailable.because("the clock was set meanwhile");
        }
    }
    rejected.into()
}

fn unit(verified: Verified, work: Work) -> Result<Unit, Problem> {
    let delivered = intake::delivered(verified)
        .map_err(|_| Code::Internal.because("the headers can not be kept"))?;
    Ok(Unit {
        origin: Origin::Delivery(Arc::new(delivered)),
        work,
    })
}

/// What became of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct Received {
    /// `recorded`: it changed something. `duplicate`: it was recorded before. `ignored`: it changes nothing here.
    /// `parked`: it is kept, and tried again.
    #[schema(schema_with = super::openapi::delivery_status)]
    status: &'static str,
    /// The provider's name for the event.
    event_id: String,
    /// `true` on a duplicate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    idempotent: Option<bool>,
}

fn answer(outcome: &Outcome, event_id: &str) -> Result<HttpResponse, Problem> {
    let status = match outcome {
        Outcome::Recorded => "recorded",
        Outcome::Duplicate => {
            return Ok(HttpResponse::Ok()
                .insert_header((IDEMPOTENCY_HIT, "true"))
                .json(Received {
                    status: "duplicate",
                    event_id: event_id.to_owned(),
                    idempotent: Some(true),
                }));
        }
        Outcome::Ignored => "ignored",
        Outcome::Parked => "parked",
        // Never the outcome of a delivery: the store parks one that a rule refuses, and the others come to requests
        // only. None of them says that the bytes were kept, so the provider must send them again.
        Outcome::Refused(_) | Outcome::Answered { .. } | Outcome::KeyReused { .. } => {
            return Err(Code::Internal.because("it is not known that the delivery was stored"));
        }
    };
    Ok(HttpResponse::Ok().json(Received {
        status,
        event_id: event_id.to_owned(),
        idempotent: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerError;
    use crate::store::Answer;

    #[test]
    fn only_what_is_kept_is_a_success() {
        for kept in [
            Outcome::Recorded,
            Outcome::Duplicate,
            Outcome::Ignored,
            Outcome::Parked,
        ] {
            assert!(answer(&kept, "evt_1").is_ok(), "{kept:?}");
        }
        let status_200 = Answer {
            status: 200,
            body: "{}".to_owned(),
        };
        for other in [
            Outcome::Refused(LedgerError::NotYourPurchase),
            Outcome::Answered {
                answer: status_200,
                hit: true,
            },
            Outcome::KeyReused { fields: vec![] },
        ] {
            let problem = answer(&other, "evt_1").unwrap_err();
            assert_eq!(problem.code(), Code::Internal, "{other:?}");
        }
    }
}
