//! `GET /v1/users/{user_id}…`: what the product's backend sees of any user.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::account;
use super::identity::backend;
use super::page::{Page, no_query};
use super::problem::{Code, Problem};
use crate::access::Scope;
use crate::app::App;
use crate::ledger::UserId;
use crate::reads::UserRow;

/// A user, as the backend sees one.
#[derive(Debug, Serialize, ToSchema)]
pub struct KnownUser {
    #[serde(flatten)]
    user: account::User,
    /// Whether the user was deleted.
    deleted: bool,
}

fn shown(user_id: &str, row: UserRow) -> KnownUser {
    KnownUser {
        deleted: row.deleted,
        user: account::user(user_id, row),
    }
}

/// `GET /v1/users/{user_id}`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `user_not_found`, `invalid_request` for the id or any query, `unavailable`.
pub async fn user(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (user_id, user) = known(&app, &path, &request).await?;
    no_query(&request)?;
    Ok(HttpResponse::Ok().json(shown(&user_id, user)))
}

/// `GET /v1/users/{user_id}/balance`
///
/// # Errors
/// As [`user`].
pub async fn balance(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let user_id = asked_by_backend(&app, &path, &request)?;
    no_query(&request)?;
    // One look-up for those who have credits; who has none may still be known.
    let balance = match app.reads.balance(user_id.as_str()).await? {
        Some(balance) => balance,
        None => known_row(&app, &user_id).await?.balance,
    };
    Ok(HttpResponse::Ok().json(account::balance(user_id.as_str(), &balance)))
}

/// `GET /v1/users/{user_id}/entries`
///
/// # Errors
/// As [`user`]; `invalid_request` for the page.
pub async fn entries(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (user_id, _) = known(&app, &path, &request).await?;
    let page = Page::of(&request)?;
    Ok(HttpResponse::Ok().json(account::entries(&app, &user_id, &page).await?))
}

/// `GET /v1/users/{user_id}/purchases`
///
/// # Errors
/// As [`user`]; `invalid_request` for the page.
pub async fn purchases(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (user_id, _) = known(&app, &path, &request).await?;
    let page = Page::of(&request)?;
    Ok(HttpResponse::Ok().json(account::purchases(&app, &user_id, &page).await?))
}

async fn known(app: &App, path: &str, request: &HttpRequest) -> Result<(String, UserRow), Problem> {
    let user_id = asked_by_backend(app, path, request)?;
    let row = known_row(app, &user_id).await?;
    Ok((user_id.into(), row))
}

fn asked_by_backend(app: &App, path: &str, request: &HttpRequest) -> Result<UserId, Problem> {
    backend(app, request, Scope::CreditsRead)?;
    UserId::parse(path).map_err(Problem::from)
}

async fn known_row(app: &App, user_id: &UserId) -> Result<UserRow, Problem> {
    let row = app.reads.user(user_id.as_str()).await?;
    if row.known {
        Ok(row)
    } else {
        Err(Code::UserNotFound.because("no webhook named this user so far"))
    }
}
