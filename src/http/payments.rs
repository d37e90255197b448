//! `POST /v1/payments/verify`: a user comes back from checkout and wants to see the credits.
//!
//! What the browser brings says which provider it is; what it proves is that provider's matter, the rest is the same for
//! all (`verification`).

mod razorpay;
mod stripe;
mod verification;

pub use verification::{NotPaid, Verified};

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::body::{self, Fields, Incoming};
use super::identity::signed_in;
use super::page::no_query;
use super::problem::{Code, Problem};
use crate::app::App;

/// Verifies a checkout.
///
/// # Errors
/// The problems of the contract.
pub async fn verify(
    app: Data<App>,
    request: HttpRequest,
    payload: Incoming,
) -> Result<HttpResponse, Problem> {
    let session = signed_in(&app, &request).await?;
    if session.impersonated_by.is_some() {
        return Err(Code::ImpersonationRefused.because("a purchase is verified by its buyer"));
    }
    no_query(&request)?;
    let bytes = body::read(payload, body::REQUEST_BYTES_MAX).await?;
    let fields = Fields::parse(&bytes)?;
    if fields.has("stripe_session_id") {
        stripe::verify(&app, &session, fields).await
    } else {
        razorpay::verify(&app, &session, fields).await
    }
}
