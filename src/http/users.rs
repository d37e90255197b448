//! `/v1/users…`: what the product's backend sees of any user, and that it may delete one.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::account;
use super::body::invalid;
use super::identity::backend;
use super::page::{Page, Query, no_query};
use super::problem::{Code, Problem};
use super::submit;
use super::webhooks::IDEMPOTENCY_HIT;
use crate::access::Scope;
use crate::app::App;
use crate::ledger::{Command, UserId};
use crate::reads::{BalanceRow, LATEST, ListedUser, UserRow};
use crate::store::{Origin, Outcome, Unit, Work};

/// The longest e-mail address looked up, in characters: 64, `@` and 255 (RFC 5321, section 4.5.3.1).
const EMAIL_MAX_CHARS: usize = 320;

/// Where a page of users ends: microseconds since 1970, and the user id.
type UserCursor = (i64, String);

/// `GET /v1/users`: all, or those with an e-mail address, which need not be one.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request` for the address and the page, `unavailable`.
pub async fn list(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    backend(&app, &request, Scope::CreditsRead).await?;
    let mut query = Query::of(&request)?;
    let email = query.take("email").map(address).transpose()?;
    let page: Page<UserCursor> = Page::take(&mut query)?;
    query.finish()?;
    let before = before(&page)?;
    let rows = app
        .reads
        .users(
            email.as_deref(),
            before,
            page.fetch(),
            app.checked_now().await?,
        )
        .await?;
    Ok(HttpResponse::Ok().json(page.answer(
        rows,
        |row: ListedUser| shown(&row.user_id, row.user),
        |row: &ListedUser| (row.listed_at.timestamp_micros(), row.user_id.clone()),
    )))
}

/// An address that can be looked up.
fn address(text: String) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(invalid("email", "must not be empty"));
    }
    if text.chars().count() > EMAIL_MAX_CHARS || text.chars().any(char::is_control) {
        return Err(invalid(
            "email",
            &format!("must have at most {EMAIL_MAX_CHARS} characters and no control characters"),
        ));
    }
    Ok(text)
}

/// The time and the user id that a page begins behind.
fn before(page: &Page<UserCursor>) -> Result<(DateTime<Utc>, &str), Problem> {
    match &page.cursor {
        None => Ok((LATEST, "")),
        Some((micros, id)) => account::time_of_cursor(*micros)
            .filter(|_| UserId::parse(id.as_str()).is_ok())
            .map(|time| (time, id.as_str()))
            .ok_or_else(account::not_given_out),
    }
}

/// A user, as the backend sees one.
#[derive(Debug, Serialize, ToSchema)]
pub struct KnownUser {
    #[serde(flatten)]
    user: account::User,
    /// Whether the user was deleted.
    deleted: bool,
    /// Whether the personal data was erased.
    erased: bool,
}

fn shown(user_id: &str, row: UserRow) -> KnownUser {
    KnownUser {
        deleted: row.deleted,
        erased: row.erased,
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

/// That a user is deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Who.
    user_id: String,
    /// Always true.
    #[schema(schema_with = super::openapi::constantly_true)]
    deleted: bool,
    /// Whether the personal data is erased already. If not, it will be within minutes.
    erased: bool,
}

/// `DELETE /v1/users/{user_id}`: what the identity provider's deletion does, and the personal data is erased, which
/// [`crate::upkeep::erasing`] sees to. Credits stay; nothing revives the user.
///
/// # Errors
/// As [`user`].
pub async fn delete(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let principal = backend(&app, &request, Scope::CreditsWrite).await?;
    let user_id = UserId::parse(path.as_str())?;
    no_query(&request)?;
    let known = known_row(&app, &user_id).await?;
    let unit = Unit {
        origin: Origin::Backend {
            principal: principal.name.clone(),
        },
        work: Work::Apply(Command::EraseUser {
            user_id: user_id.clone(),
        }),
    };
    let mut response = HttpResponse::Ok();
    match submit(&app, unit).await? {
        Outcome::Recorded => {}
        Outcome::Duplicate => {
            response.insert_header((IDEMPOTENCY_HIT, "true"));
        }
        Outcome::Refused(error) => return Err(error.into()),
        // None of these comes to a call without an idempotency key.
        Outcome::Ignored
        | Outcome::Parked
        | Outcome::Answered { .. }
        | Outcome::KeyReused { .. } => {
            return Err(Code::Internal.because("it is not known what became of the deletion"));
        }
    }
    Ok(response.json(Deleted {
        user_id: user_id.into(),
        deleted: true,
        erased: known.erased,
    }))
}

/// `GET /v1/users/{user_id}/balance`: the account now, or `at` any other time.
///
/// # Errors
/// As [`user`].
pub async fn balance(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let user_id = asked_by_backend(&app, &path, &request).await?;
    let mut query = Query::of(&request)?;
    let at = query.time("at")?;
    query.finish()?;
    if let Some(at) = at {
        return balance_at(&app, &user_id, at).await;
    }
    // One look-up for those who have credits; who has none may still be known.
    let balance = match app
        .reads
        .balance(user_id.as_str(), app.checked_now().await?)
        .await?
    {
        Some(balance) => balance,
        None => known_row(&app, &user_id).await?.balance,
    };
    Ok(HttpResponse::Ok().json(account::balance(user_id.as_str(), &balance)))
}

/// What the user had at a time past, or will have if nothing happens until a time to come but what is known to end.
async fn balance_at(
    app: &App,
    user_id: &UserId,
    at: DateTime<Utc>,
) -> Result<HttpResponse, Problem> {
    let known = app.reads.balance_at(user_id.as_str(), at).await?;
    let balance = if let Some(balance) = known {
        balance
    } else {
        known_row(app, user_id).await?;
        BalanceRow::default()
    };
    Ok(HttpResponse::Ok().json(account::balance_at(user_id.as_str(), &balance, at)))
}

/// `GET /v1/users/{user_id}/lots`: the credits that the user has, by how they came.
///
/// # Errors
/// As [`user`]; `invalid_request` for the page.
pub async fn lots(
    app: Data<App>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (user_id, _) = known(&app, &path, &request).await?;
    let page = Page::of(&request)?;
    Ok(HttpResponse::Ok().json(account::lots(&app, &user_id, &page).await?))
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
    let user_id = asked_by_backend(app, path, request).await?;
    let row = known_row(app, &user_id).await?;
    Ok((user_id.into(), row))
}

async fn asked_by_backend(app: &App, path: &str, request: &HttpRequest) -> Result<UserId, Problem> {
    backend(app, request, Scope::CreditsRead).await?;
    UserId::parse(path).map_err(Problem::from)
}

async fn known_row(app: &App, user_id: &UserId) -> Result<UserRow, Problem> {
    let row = app
        .reads
        .user(user_id.as_str(), app.checked_now().await?)
        .await?;
    if row.known {
        Ok(row)
    } else {
        Err(Code::UserNotFound.because("nothing is known of this user"))
    }
}
