//! What operators do about it. Every act has a reason, which goes into the history with the operator's name.
//!
//! All of it is safe to repeat: an act that was done already changes nothing and says so.

use std::time::Duration;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{OwnedPurchase, operator, purchase};
use crate::app::App;
use crate::http::body::{self, Fields, Incoming, invalid};
use crate::http::page::{Query, encode, no_query};
use crate::http::problem::{Code, Problem};
use crate::http::webhooks::IDEMPOTENCY_HIT;
use crate::http::{COMMIT_WAIT, in_time, submit};
use crate::ledger::event::Price;
use crate::ledger::{Command, Credits, LedgerError, PurchaseId, Source, UserId};
use crate::provider::Providers;
use crate::reads::{InboxRow, PurchaseRow};
use crate::recover::{self, Action, Found, LIMIT_DEFAULT, LIMIT_MAX, Sweep};
use crate::store::{Operator, Origin, Outcome, PARKED, Unit, Work};
use crate::upkeep::retry;

/// What a purchase buys when an operator names plain credits.
const MANUAL_SKU: &str = "manual";

/// How long a sweep may take. What it did by then is done.
const SWEEP_WAIT: Duration = Duration::from_mins(1);

/// What has become of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retried {
    /// What became of it.
    #[schema(schema_with = crate::http::openapi::delivery_status)]
    status: String,
    /// The provider's name for the event.
    event_id: String,
}

/// `POST /v1/admin/inbox/{source}/{event_id}/retry`: tries a parked delivery again, now. `event_id` is the provider's id
/// of the event or the inbox key.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `unknown_provider`, `delivery_not_found`,
/// `unavailable`.
pub async fn retry(
    app: Data<App>,
    path: Path<(String, String)>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let principal = operator(&app, &request).await?;
    no_query(&request)?;
    let (source, event_id) = path.into_inner();
    let source = Providers::KNOWN
        .into_iter()
        .find(|known| known.as_str() == source)
        .ok_or_else(|| Code::UnknownProvider.because("no such provider"))?;
    if event_id.contains('\0') {
        return Err(invalid("event_id", "must not hold control characters"));
    }
    let bytes = body::read(payload, body::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::parse(&bytes)?;
    let operator = Operator::new(&principal.name, &fields.text("reason")?)?;
    fields.finish()?;
    let key = app.backlog.find(source, &event_id).await?;
    let key = key.ok_or_else(not_stored)?;
    let mut response = HttpResponse::Ok();
    if find_delivery(&app, source, &key).await?.outcome == PARKED {
        in_time(COMMIT_WAIT, retry::again(&app, source, &key, operator)).await?;
    } else {
        response.insert_header((IDEMPOTENCY_HIT, "true"));
    }
    let now = find_delivery(&app, source, &key).await?;
    Ok(response.json(Retried {
        status: now.outcome,
        event_id: now.provider_event_id,
    }))
}

async fn find_delivery(app: &App, source: Source, key: &str) -> Result<InboxRow, Problem> {
    let found = app.reads.delivery(source.as_str(), key).await?;
    found.ok_or_else(not_stored)
}

fn not_stored() -> Problem {
    Code::DeliveryNotFound.because("it is neither an event id nor an inbox key")
}

/// What a sweep found and did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Swept {
    /// Whether it only looked.
    dry_run: bool,
    found: Found,
    /// Each of them, in the order of looking.
    actions: Vec<Action>,
    /// Where the next sweep goes on; `null`: all of every kind was looked at.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// `POST /v1/admin/recover`: finds what should have credits and has none, and repairs it. `dry_run=true` only looks.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `unavailable`.
pub async fn recover(
    app: Data<App>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let principal = operator(&app, &request).await?;
    let mut query = Query::of(&request)?;
    let dry_run = match query.take("dry_run").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(invalid("dry_run", "must be true or false")),
    };
    let limit = query.limit(i64::from(LIMIT_DEFAULT), i64::from(LIMIT_MAX))?;
    let from = query.cursor()?.unwrap_or_default();
    query.finish()?;
    let bytes = body::read(payload, body::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::parse_optional(&bytes)?;
    let operator = if dry_run {
        fields.optional_text("reason")?;
        None
    } else {
        Some(Operator::new(&principal.name, &fields.text("reason")?)?)
    };
    fields.finish()?;
    let sweep = Sweep {
        operator,
        limit: u16::try_from(limit).unwrap_or(LIMIT_MAX),
        from,
    };
    let report = in_time(SWEEP_WAIT, recover::sweep(&app, &sweep, &mut |_| {})).await?;
    Ok(HttpResponse::Ok().json(Swept {
        dry_run,
        found: report.found,
        actions: report.actions,
        next_cursor: report.next.as_ref().map(encode),
    }))
}

/// A purchase as an operator left it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Resolved {
    /// `recorded`, or `duplicate`: it was so already.
    #[schema(schema_with = crate::http::openapi::recorded_or_duplicate)]
    status: &'static str,
    purchase: OwnedPurchase,
}

/// `POST /v1/admin/purchases/{purchase_id}/resolve`: says whose a purchase is, what it buys, or both.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `purchase_not_found`, `already_claimed`,
/// `already_priced`, `unavailable`.
pub async fn resolve(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let principal = operator(&app, &request).await?;
    no_query(&request)?;
    let purchase_id = PurchaseId::parse(path.into_inner())?;
    let bytes = body::read(payload, body::REQUEST_BYTES_MAX).await?;
    let resolution = Resolution::parse(&bytes, &principal.name)?;
    let known = find(&app, &purchase_id).await?;
    let command = Command::ResolvePurchase {
        price: resolution.price(&app, &known)?,
        user_id: resolution.user_id,
        purchase_id: purchase_id.clone(),
    };
    let unit = Unit {
        origin: Origin::Operator(resolution.operator),
        work: Work::Apply(command),
    };
    let mut response = HttpResponse::Ok();
    let status = match submit(&app, unit).await? {
        Outcome::Refused(LedgerError::NotYourPurchase) => {
            return Err(Code::AlreadyClaimed.because("it can not be given to another user"));
        }
        Outcome::Refused(error) => return Err(error.into()),
        Outcome::Recorded => "recorded",
        _ => {
            response.insert_header((IDEMPOTENCY_HIT, "true"));
            "duplicate"
        }
    };
    let now = find(&app, &purchase_id).await?;
    Ok(response.json(Resolved {
        status,
        purchase: purchase(now),
    }))
}

async fn find(app: &App, id: &PurchaseId) -> Result<PurchaseRow, Problem> {
    let found = app.reads.purchase(id.as_str()).await?;
    found.ok_or_else(|| Code::PurchaseNotFound.because("no payment of that purchase is recorded"))
}

/// What an operator says of a purchase.
struct Resolution {
    operator: Operator,
    user_id: Option<UserId>,
    buys: Option<Buys>,
}

enum Buys {
    /// A pack of the catalog, whatever was paid.
    Pack(String),
    /// So many.
    Credits(Credits),
}

impl Resolution {
    fn parse(bytes: &[u8], actor: &str) -> Result<Self, Problem> {
        let mut fields = Fields::parse(bytes)?;
        let operator = Operator::new(actor, &fields.text("reason")?)?;
        let user_id = fields.optional_text("user_id")?;
        let user_id = user_id.map(UserId::parse).transpose()?;
        let sku = fields.optional_text("sku")?;
        let credits = fields.optional_integer("credits")?;
        let credits = credits.map(Credits::new).transpose()?;
        fields.finish()?;
        let buys = match (sku, credits) {
            (Some(_), Some(_)) => return Err(invalid("sku", "must not be sent beside credits")),
            (Some(sku), None) => Some(Buys::Pack(sku)),
            (None, credits) => credits.map(Buys::Credits),
        };
        if user_id.is_none() && buys.is_none() {
            return Err(invalid("user_id", "or sku or credits must be there"));
        }
        Ok(Self {
            operator,
            user_id,
            buys,
        })
    }

    /// A pack's credits live from the time of payment, as if the catalog had known it then. Plain ones do not end.
    fn price(&self, app: &App, purchase: &PurchaseRow) -> Result<Option<Price>, Problem> {
        match &self.buys {
            None => Ok(None),
            Some(Buys::Pack(sku)) => {
                let catalog = &app.rules.catalog;
                let price = catalog.pack_price(sku, purchase.paid_at.timestamp());
                match price {
                    Some(price) => Ok(Some(price)),
                    None => Err(invalid("sku", "is not in the catalog")),
                }
            }
            Some(Buys::Credits(credits)) => Ok(Some(Price {
                sku: MANUAL_SKU.to_owned(),
                credits: *credits,
                expires_at_s: None,
            })),
        }
    }
}
