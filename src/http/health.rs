//! `GET /health/live` and `/health/ready`: for whoever starts, stops and balances instances.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Code, Problem};
use crate::app::App;

/// How an instance is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `live` or `ready`: what was asked for.
    status: &'static str,
}

/// The process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "live" })
}

/// How long a batch that could not be committed counts. After that, work is let in again to try: while nothing comes,
/// nothing can show that the database takes it.
const GAVE_UP_COUNTS: Duration = Duration::from_secs(5);

/// Work may be sent here: the database answers, its clock and ours agree, it took the last batch, and the service is not
/// stopping.
///
/// # Errors
/// `unavailable`.
pub async fn ready(app: Data<App>) -> Result<HttpResponse, Problem> {
    if app.is_stopping() {
        return Err(Code::Unavailable.because("the service is stopping"));
    }
    if app.ledger.gave_up_within(GAVE_UP_COUNTS) {
        return Err(Code::Unavailable.because("the database does not take what is written"));
    }
    app.ask_database().await?;
    Ok(HttpResponse::Ok().json(Health { status: "ready" }))
}
