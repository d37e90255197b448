//! `GET /v1/me…`: what a signed-in user sees, which is only ever their own.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::account;
use super::identity::signed_in;
use super::page::{Page, no_query};
use super::problem::{Code, Problem};
use crate::app::App;
use crate::reads::UserRow;

/// `GET /v1/me`
///
/// # Errors
/// `unauthenticated`, `user_deleted`, `invalid_request` for any query, `unavailable`.
pub async fn me(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (user_id, user) = own(&app, &request).await?;
    no_query(&request)?;
    Ok(HttpResponse::Ok().json(account::user(&user_id, user)))
}

/// `GET /v1/me/balance`
///
/// # Errors
/// As [`me`].
pub async fn balance(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (user_id, user) = own(&app, &request).await?;
    no_query(&request)?;
    Ok(HttpResponse::Ok().json(account::balance(&user_id, &user.balance)))
}

/// `GET /v1/me/entries`
///
/// # Errors
/// As [`me`]; `invalid_request` for the page.
pub async fn entries(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (user_id, _) = own(&app, &request).await?;
    let page = Page::of(&request)?;
    Ok(HttpResponse::Ok().json(account::entries(&app, &user_id, &page).await?))
}

/// `GET /v1/me/purchases`
///
/// # Errors
/// As [`me`]; `invalid_request` for the page.
pub async fn purchases(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (user_id, _) = own(&app, &request).await?;
    let page = Page::of(&request)?;
    Ok(HttpResponse::Ok().json(account::purchases(&app, &user_id, &page).await?))
}

/// The session's user. One that we have not heard of yet is a new one, with nothing; a deleted one sees nothing.
async fn own(app: &App, request: &HttpRequest) -> Result<(String, UserRow), Problem> {
    let session = signed_in(app, request).await?;
    let user = app
        .reads
        .user(session.user_id.as_str(), app.checked_now().await?)
        .await?;
    if user.deleted {
        return Err(Code::UserDeleted.because("this user was deleted"));
    }
    Ok((session.user_id.into(), user))
}
