//! Who is asking, as the handlers want to know it: a signed-in user, or a backend with a scope.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::problem::{Code, Problem, insufficient_scope};
use crate::access::{InvalidToken, Principal, Scope, SessionError};
use crate::app::App;
use crate::ledger::UserId;

/// The user of a session token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub user_id: UserId,
    /// The operator who acts as this user, if one does.
    pub impersonated_by: Option<String>,
}

/// The user whose session token came with the request.
///
/// # Errors
/// `unauthenticated` without a valid token, `rate_limited`, `unavailable` where it can not be judged.
pub async fn signed_in(app: &App, request: &HttpRequest) -> Result<SignedIn, Problem> {
    let session = app.sessions.verify(bearer(request)?, app.now()).await;
    if let Err(SessionError::Expired | SessionError::Invalid(InvalidToken::NotYetValid)) = session {
        // Only whoever has the right time can say so.
        app.check_clock().await?;
    }
    let session = session?;
    let user_id = UserId::parse(session.user_id)
        .map_err(|_| Code::Unauthenticated.because("the session names no usable user id"))?;
    app.limits.count_user(user_id.as_str())?;
    Ok(SignedIn {
        user_id,
        impersonated_by: session.impersonated_by,
    })
}

/// The principal whose API key came with the request, if it has the scope.
///
/// # Errors
/// `unauthenticated` without a known key, `rate_limited`, `insufficient_scope` where it may not do this, `unavailable`
/// where it can not be judged.
pub async fn backend(
    app: &App,
    request: &HttpRequest,
    scope: Scope,
) -> Result<Arc<Principal>, Problem> {
    let key = bearer(request)?;
    let principal = match app.api_keys.find(key) {
        Some(principal) => Some(Arc::clone(principal)),
        None => app.issued_keys.find(key).await?,
    };
    let principal =
        principal.ok_or_else(|| Code::Unauthenticated.because("the API key is not known"))?;
    app.limits.count_principal(&principal.name)?;
    if principal.allows(scope) {
        Ok(principal)
    } else {
        Err(insufficient_scope(scope))
    }
}

/// The token after `Bearer `. Two such headers are none: two readers could take two.
fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
    let missing = || Code::Unauthenticated.because("send `Authorization: Bearer <token>`, once");
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next().ok_or_else(missing)?;
    if headers.next().is_some() {
        return Err(missing());
    }
    let text = header.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(missing());
    }
    Ok(token.trim())
}
