//! Lists: `limit`, an opaque `cursor`, newest first. A cursor names the last row that was seen, so a page never shifts
//! when something new is written.

use std::collections::HashMap;

use actix_web::HttpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::body::invalid;
use super::problem::Problem;

/// The most rows on a page.
const LIMIT_MAX: i64 = 200;
/// The rows on a page when nobody says.
const LIMIT_DEFAULT: i64 = 50;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<C> {
    /// At most so many rows, 1 to 200.
    pub limit: i64,
    /// Only what comes after this row.
    pub cursor: Option<C>,
}

impl<C: DeserializeOwned + Serialize> Page<C> {
    /// Reads `limit` and `cursor` from the query.
    ///
    /// # Errors
    /// `invalid_request` for anything that is neither, or comes twice, or can not be read.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let mut query = query(request)?;
        let limit = match query.remove("limit") {
            None => LIMIT_DEFAULT,
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| invalid("limit", "must be 1 to 200"))?,
        };
        let cursor = query
            .remove("cursor")
            .map(|text| decode(&text))
            .transpose()?;
        if !query.is_empty() {
            return Err(invalid(
                "query",
                "has a parameter other than limit and cursor",
            ));
        }
        Ok(Self { limit, cursor })
    }

    /// One row more than asked for, to learn whether there is a next page.
    pub const fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// The answer: the rows and the cursor of the next page, `null` on the last.
    pub fn answer<R>(
        &self,
        mut rows: Vec<R>,
        show: impl Fn(&R) -> Value,
        cursor: impl Fn(&R) -> C,
    ) -> Value {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| encode(&cursor(row)));
        json!({ "items": rows.iter().map(show).collect::<Vec<_>>(), "next_cursor": next })
    }
}

/// Refuses any query where none is read: whoever sends one believes that it changes the answer.
///
/// # Errors
/// `invalid_request`.
pub fn no_query(request: &HttpRequest) -> Result<(), Problem> {
    if query(request)?.is_empty() {
        Ok(())
    } else {
        Err(invalid("query", "is not read by this route"))
    }
}

/// The query's parameters, each at most once.
///
/// # Errors
/// `invalid_request` for a query that can not be read or has one twice.
fn query(request: &HttpRequest) -> Result<HashMap<String, String>, Problem> {
    type Pairs = Vec<(String, String)>;
    let pairs = actix_web::web::Query::<Pairs>::from_query(request.query_string())
        .map_err(|_| invalid("query", "can not be read"))?
        .into_inner();
    let count = pairs.len();
    let query: HashMap<String, String> = pairs.into_iter().collect();
    if query.len() < count {
        return Err(invalid("query", "has a parameter twice"));
    }
    Ok(query)
}

fn encode(cursor: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

fn decode<C: DeserializeOwned>(text: &str) -> Result<C, Problem> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| invalid("cursor", "is not one that was given out"))
}
