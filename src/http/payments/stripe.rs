//! A user comes back from Stripe's checkout with the id of the session, which nobody signed: Stripe's API says what became
//! of it and whom it names.
//!
//! A session's id stands in the browser's address line and can be passed on, so it proves nothing about who has it. Must
//! never give a purchase to whoever brings the id: it is the session's user's if Stripe says so, or if the ledger knows
//! so from elsewhere (a later event, a verified e-mail address, an operator); until then the answer is to ask again.

use actix_web::HttpResponse;

use super::verification::{Asked, Fetched, Verification, over, pending};
use crate::app::App;
use crate::http::body::{Fields, invalid};
use crate::http::identity::SignedIn;
use crate::http::problem::{Code, Problem};
use crate::ledger::Source;
use crate::outbound::{OutboundError, StripeApi};
use crate::provider::stripe::{
    ApiSession, BadAnswer, SessionStatus, is_session_id, session_from_api,
};

const FIELD: &str = "stripe_session_id";

/// Verifies a checkout session. Without Stripe's API nobody can say which purchase a session is, so there is nothing to
/// wait for; the webhook books it all the same.
pub(super) async fn verify(
    app: &App,
    session: &SignedIn,
    mut fields: Fields,
) -> Result<HttpResponse, Problem> {
    let session_id = fields.text(FIELD)?;
    fields.finish()?;
    if !is_session_id(&session_id) {
        return Err(invalid(FIELD, "is not the id of a checkout session"));
    }
    let api = app.stripe_api.as_ref().ok_or_else(|| {
        Code::ProviderNotConfigured
            .because("STRIPE_SECRET_KEY is not set, so a checkout session can not be looked up")
    })?;
    let Some((body, answer)) = ask(app, api, &session_id).await? else {
        return Ok(pending());
    };
    if answer.user_id.is_some_and(|named| named != session.user_id) {
        return Err(Code::NotYourPurchase.because("this checkout was made for another user"));
    }
    match answer.status {
        SessionStatus::Captured(capture) => {
            let purchase_id = capture.purchase_id.clone();
            let verification = Verification {
                app,
                session,
                purchase_id: &purchase_id,
                proven: false,
            };
            let fetched = Fetched {
                source: Source::Stripe,
                body,
                asked_at: app.now(),
                capture,
            };
            verification.told(Asked::Captured(fetched)).await
        }
        SessionStatus::Pending => Ok(pending()),
        SessionStatus::Failed => Ok(over("failed")),
        SessionStatus::Expired => Ok(over("expired")),
        SessionStatus::NothingDue => Ok(over("no_payment_required")),
    }
}

/// The session and the very bytes that tell of it. None when the API is of no use now.
async fn ask(
    app: &App,
    api: &StripeApi,
    session_id: &str,
) -> Result<Option<(Vec<u8>, ApiSession)>, Problem> {
    let body = match api.fetch_session(session_id).await {
        Ok(body) => body,
        Err(OutboundError::NotFound) => return Err(invalid(FIELD, "is of no session at Stripe")),
        Err(error) => {
            tracing::warn!(%error, "Stripe's API could not be asked");
            return Ok(None);
        }
    };
    let answer = session_from_api(
        &body,
        app.stripe_livemode,
        app.now().timestamp(),
        &app.rules,
        app.salt()?,
    );
    match answer {
        Ok(answer) if answer.session_id == session_id => Ok(Some((body, answer))),
        Ok(_) => {
            tracing::warn!("Stripe's API answered with another session");
            Ok(None)
        }
        Err(error @ BadAnswer::OtherMode) => Err(invalid(FIELD, &error.to_string())),
        Err(error) => {
            tracing::warn!(%error, "Stripe's API gave an answer that can not be read");
            Ok(None)
        }
    }
}
