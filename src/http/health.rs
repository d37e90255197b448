//! `GET /health/live` and `/health/ready`: for whoever starts, stops and balances instances.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::problem::{Code, Problem};
use crate::app::App;

/// The process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Work may be sent here: the database answers and the service is not stopping.
///
/// # Errors
/// `unavailable`.
pub async fn ready(app: Data<App>) -> Result<HttpResponse, Problem> {
    if app.is_stopping() {
        return Err(Code::Unavailable.because("the service is stopping"));
    }
    app.reads.ping().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}
