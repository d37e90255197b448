//! What operators do about it. Every act has a reason, which goes into the history with the operator's name.
//!
//! All of it is safe to repeat: an act that was done already changes nothing and says so.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::{operator, purchase};
use crate::app::App;
use crate::http::body::{self, Fields, invalid};
use crate::http::page::no_query;
use crate::http::problem::{Code, Problem};
use crate::http::submit;
use crate::http::webhooks::IDEMPOTENCY_HIT;
use crate::ledger::event::Price;
use crate::ledger::{Command, Credits, LedgerError, PurchaseId, UserId};
use crate::reads::PurchaseRow;
use crate::store::{Operator, Origin, Outcome, Unit, Work};

/// What a purchase buys when an operator names plain credits.
const MANUAL_SKU: &str = "manual";

/// `POST /v1/admin/purchases/{purchase_id}/resolve`: says whose a purchase is, what it buys, or both.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request`, `malformed`, `purchase_not_found`, `already_claimed`,
/// `already_priced`, `unavailable`.
pub async fn resolve(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let actor = &operator(&app, &request)?.name;
    no_query(&request)?;
    let purchase_id = PurchaseId::parse(path.into_inner())?;
    let bytes = body::read(payload, body::REQUEST_BYTES_MAX).await?;
    let resolution = Resolution::parse(&bytes, actor)?;
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
    Ok(response.json(json!({ "status": status, "purchase": purchase(&now) })))
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
                let price = catalog.price_of(sku, purchase.paid_at.timestamp());
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
