//! Lists: `limit`, an opaque `cursor`, newest first (but for the log, which is read from its beginning). A cursor names the last row that was seen, so a page never shifts
//! when something new is written.

use std::collections::HashMap;

use actix_web::HttpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::invalid;
use super::problem::Problem;
use crate::reads::LATEST;

/// The most rows on a page.
pub const LIMIT_MAX: i64 = 200;
/// The rows on a page when nobody says.
pub const LIMIT_DEFAULT: i64 = 50;

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
        let mut query = Query::of(request)?;
        let page = Self::take(&mut query)?;
        query.finish()?;
        Ok(page)
    }

    /// Takes `limit` and `cursor` out of a query that may hold more.
    ///
    /// # Errors
    /// `invalid_request` for one that can not be read.
    pub fn take(query: &mut Query) -> Result<Self, Problem> {
        Ok(Self {
            limit: query.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
            cursor: query.cursor()?,
        })
    }

    /// One row more than asked for, to learn whether there is a next page.
    pub const fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// The answer: the rows and the cursor of the next page, `null` on the last.
    pub fn answer<R, T>(
        &self,
        mut rows: Vec<R>,
        show: impl Fn(R) -> T,
        cursor: impl Fn(&R) -> C,
    ) -> List<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| encode(&cursor(row)));
        List {
            items: rows.into_iter().map(show).collect(),
            next_cursor,
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct List<T> {
    /// The rows.
    items: Vec<T>,
    /// Where the next page begins; none: this is the last.
    next_cursor: Option<String>,
}

/// The parameters of a query, which are taken out one by one; what is left over is a mistake of the caller.
pub struct Query(HashMap<String, String>);

impl Query {
    /// The query's parameters, each at most once.
    ///
    /// # Errors
    /// `invalid_request` for a query that can not be read or has one twice.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        type Pairs = Vec<(String, String)>;
        if !is_text(request.query_string()) {
            return Err(invalid("query", "can not be read"));
        }
        let pairs = actix_web::web::Query::<Pairs>::from_query(request.query_string())
            .map_err(|_| invalid("query", "can not be read"))?
            .into_inner();
        let count = pairs.len();
        let query: HashMap<String, String> = pairs.into_iter().collect();
        if query.len() < count {
            return Err(invalid("query", "has a parameter twice"));
        }
        Ok(Self(query))
    }

    /// A parameter, if it is there.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// A time by RFC 3339, from 1970 to the year 9999.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub fn time(&mut self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        self.take(name)
            .map(|text| {
                DateTime::parse_from_rfc3339(&text)
                    .ok()
                    .map(|time| time.to_utc())
                    .filter(|time| (DateTime::UNIX_EPOCH..=LATEST).contains(time))
                    .ok_or_else(|| invalid(name, "must be a time like 2026-01-31T12:00:00Z"))
            })
            .transpose()
    }

    /// `limit`: 1 to `max`, `default` when nobody says.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub fn limit(&mut self, default: i64, max: i64) -> Result<i64, Problem> {
        match self.take("limit") {
            None => Ok(default),
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|limit| (1..=max).contains(limit))
                .ok_or_else(|| invalid("limit", &format!("must be 1 to {max}"))),
        }
    }

    /// `cursor`, if it is there.
    ///
    /// # Errors
    /// `invalid_request` for one that was not given out.
    pub fn cursor<C: DeserializeOwned>(&mut self) -> Result<Option<C>, Problem> {
        self.take("cursor").map(|text| decode(&text)).transpose()
    }

    /// Refuses what nobody took: whoever sends it believes that it changes the answer.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(invalid(
                "query",
                "has a parameter that this route does not read",
            ))
        }
    }
}

/// Whether a part of a URL is text once it is decoded. The library makes `\u{fffd}` of bytes that are none, so that several
/// names would be one.
pub fn is_text(encoded: &str) -> bool {
    let Some((plain, rest)) = encoded.split_once('%') else {
        return true;
    };
    let mut bytes = plain.as_bytes().to_vec();
    for part in rest.split('%') {
        let Some((digits, plain)) = part.split_at_checked(2) else {
            return false;
        };
        match hex::decode(digits) {
            Ok(decoded) => bytes.extend(decoded),
            Err(_) => return false,
        }
        bytes.extend(plain.as_bytes());
    }
    String::from_utf8(bytes).is_ok()
}

/// Refuses any query where none is read.
///
/// # Errors
/// `invalid_request`.
pub fn no_query(request: &HttpRequest) -> Result<(), Problem> {
    Query::of(request)?.finish()
}

/// A cursor as callers see it: opaque, safe in a URL.
pub fn encode(cursor: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

/// A cursor that was given out.
fn decode<C: DeserializeOwned>(text: &str) -> Result<C, Problem> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| invalid("cursor", "is not one that was given out"))
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn what_is_no_text_is_known() {
        for text in [
            "",
            "a",
            "a%20b",
            "%C3%A9",
            "%c3%a9%25",
            "\u{e9}",
            "%00",
            "100%25",
        ] {
            assert!(is_text(text), "{text}");
        }
        for other in [
            "%",
            "%a",
            "%zz",
            "%+1",
            "a%ff",
            "%c3",
            "%c3b%a9",
            "%ed%a0%80",
            "%\u{e9}",
        ] {
            assert!(!is_text(other), "{other}");
        }
    }
}
