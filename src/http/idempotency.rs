//! One answer for one idempotency key: the key, what is asked in one form however it was written, and the reply.
//!
//! The answers are kept by the store, in the transaction that moves the credits. Must never keep a value that was sent:
//! digests are enough to tell requests apart and to say which fields differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::body::invalid;
use super::problem::{Code, PROBLEM_JSON, Problem};
use super::submit;
use super::webhooks::IDEMPOTENCY_HIT;
use crate::app::App;
use crate::ledger::Command;
use crate::store::{Answer, Answering, Came, Origin, Outcome, Request, Unit, Work};

/// The header with the caller's key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key, in characters.
pub const KEY_MAX_CHARS: usize = 255;
/// How much of a field's digest is kept, in bytes: enough to tell two values of one caller apart.
const FIELD_DIGEST_BYTES: usize = 8;

/// A caller's key: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key of a request, if it has one.
    ///
    /// # Errors
    /// `invalid_request` for one that is none, or comes twice.
    pub fn optional(request: &HttpRequest) -> Result<Option<Self>, Problem> {
        let mut headers = request.headers().get_all(IDEMPOTENCY_KEY);
        let Some(header) = headers.next() else {
            return Ok(None);
        };
        let bytes = header.as_bytes();
        let visible = bytes.iter().all(u8::is_ascii_graphic);
        match header.to_str() {
            Ok(key) if visible && (1..=KEY_MAX_CHARS).contains(&bytes.len()) => {
                if headers.next().is_some() {
                    return Err(invalid("Idempotency-Key", "must come once"));
                }
                Ok(Some(Self(key.to_owned())))
            }
            _ => Err(invalid(
                "Idempotency-Key",
                "must be 1 to 255 visible ASCII characters",
            )),
        }
    }

    /// The key of a request that must have one.
    ///
    /// # Errors
    /// As [`Key::optional`]; `idempotency_key_required`.
    pub fn required(request: &HttpRequest) -> Result<Self, Problem> {
        Self::optional(request)?.ok_or_else(|| {
            Code::IdempotencyKeyRequired
                .because("send the header `Idempotency-Key`: the same on every try of one call")
        })
    }

    /// The key of one item of a call. A caller's key holds no blank, so it is nobody else's.
    pub fn of_item(&self, index: usize) -> Self {
        Self(format!("{} {index}", self.0))
    }
}

/// What is asked, as digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    digest: [u8; 32],
    fields: BTreeMap<String, String>,
}

impl Asked {
    /// Of a route, with its parameters filled in, and the request's fields with their defaults. What is absent and what
    /// is null is the same, and so is any order and any spacing.
    ///
    /// # Errors
    /// `internal` for fields that can not be written as JSON.
    pub fn new(route: &str, fields: &impl Serialize) -> Result<Self, Problem> {
        let fields = serde_json::to_value(fields).map_err(|error| {
            tracing::error!(column = error.column(), "fields that are no JSON");
            Code::Internal.because("the request can not be told from others")
        })?;
        let mut canonical = BTreeMap::from([("route".to_owned(), json!(route))]);
        if let Value::Object(fields) = plain(fields) {
            canonical.extend(fields);
        }
        let mut whole = Sha256::new();
        let mut digests = BTreeMap::new();
        for (name, value) in canonical {
            let digest = Sha256::digest(value.to_string());
            // A name is ours, has no NUL, and a digest has always the same length.
            whole.update(name.as_bytes());
            whole.update([0]);
            whole.update(digest);
            digests.insert(name, hex::encode(&digest[..FIELD_DIGEST_BYTES]));
        }
        Ok(Self {
            digest: whole.finalize().into(),
            fields: digests,
        })
    }
}

/// Without nulls, members in one order.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<String, Value> = members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, plain(value)))
                .collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        other => other,
    }
}

/// A call that gets one answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// The name of whoever calls.
    pub principal: String,
    /// The key; none: the answer is not kept.
    pub key: Option<Key>,
    /// What is asked.
    pub asked: Asked,
}

impl Call {
    /// Does it, or finds that it was done, and replies. What is refused before the rules are asked, by the clock or the
    /// settings, is an answer like any other: a later try of what was done in time gets the first one.
    ///
    /// # Errors
    /// `idempotency_key_reused`, `unavailable`.
    pub async fn reply(
        &self,
        app: &App,
        wish: Result<Command, Problem>,
        answer: Box<Answering>,
    ) -> Result<HttpResponse, Problem> {
        let answered = answered(submit(app, self.unit(wish, answer)).await?)?;
        Ok(answered.response())
    }

    /// Refuses it, or finds how it was answered before. What is not there is a refusal like any other.
    ///
    /// # Errors
    /// As [`Call::reply`].
    pub async fn refuse(&self, app: &App, problem: Problem) -> Result<HttpResponse, Problem> {
        let never = answering(StatusCode::OK, |_| None::<()>);
        self.reply(app, Err(problem), never).await
    }

    /// The unit that does it.
    pub fn unit(&self, wish: Result<Command, Problem>, answer: Box<Answering>) -> Unit {
        let (work, answer) = match wish {
            Ok(command) => (Work::Apply(command), answer),
            Err(problem) => {
                let reason = problem.code().code().to_owned();
                let refuse: Box<Answering> = Box::new(move |_| problem.answer());
                (Work::Ignore { reason }, refuse)
            }
        };
        Unit {
            origin: Origin::Request(Arc::new(Request {
                principal: self.principal.clone(),
                idempotency_key: self.key.as_ref().map(|key| key.0.clone()),
                digest: self.asked.digest,
                fields: self.asked.fields.clone(),
                answer,
            })),
            work,
        }
    }

    /// The same call, for one of its items.
    pub fn of_item(&self, index: usize) -> Self {
        Self {
            key: self.key.as_ref().map(|key| key.of_item(index)),
            ..self.clone()
        }
    }
}

/// An answer, new or given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Whether nothing new was done for it.
    pub hit: bool,
}

impl Answered {
    /// The reply.
    pub fn response(self) -> HttpResponse {
        let status = u16::try_from(self.answer.status).ok();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        let is_problem = status.is_client_error() || status.is_server_error();
        let content_type = if is_problem {
            PROBLEM_JSON
        } else {
            "application/json"
        };
        response.insert_header((CONTENT_TYPE, content_type));
        if self.hit {
            response.insert_header((IDEMPOTENCY_HIT, "true"));
        }
        response.body(self.answer.body)
    }
}

/// What a call came to.
///
/// # Errors
/// `idempotency_key_reused`.
pub fn answered(outcome: Outcome) -> Result<Answered, Problem> {
    match outcome {
        Outcome::Answered { answer, hit } => Ok(Answered { answer, hit }),
        Outcome::KeyReused { fields } => Err(Code::IdempotencyKeyReused
            .because("another request was made under this key before")
            .with("fields", json!(fields))),
        Outcome::Recorded
        | Outcome::Duplicate
        | Outcome::Ignored
        | Outcome::Parked
        | Outcome::Refused(_) => {
            Err(Code::Internal.because("it is not known what became of the call"))
        }
    }
}

/// Answers with what is made of the events, or with why they were refused.
pub fn answering<T: Serialize>(
    status: StatusCode,
    reply: impl Fn(Came<'_>) -> Option<T> + Send + Sync + 'static,
) -> Box<Answering> {
    Box::new(move |came| match came {
        Ok(came) => match reply(came) {
            Some(reply) => Answer {
                status: i16::try_from(status.as_u16()).unwrap_or(i16::MAX),
                body: json!(reply).to_string(),
            },
            None => Code::Internal
                .because("what was recorded does not say what was asked")
                .answer(),
        },
        Err(error) => Problem::from(error.clone()).answer(),
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn asked(route: &str, fields: &str) -> Asked {
        let fields: Value = serde_json::from_str(fields).unwrap();
        Asked::new(route, &fields).unwrap()
    }

    #[test]
    fn the_same_is_the_same_however_it_is_written() {
        let first = asked(
            "POST /a",
            r#"{"amount":5,"reason":"x","more":{"a":1,"b":2}}"#,
        );
        for same in [
            r#"{ "reason" : "x", "more" : {"b":2, "a":1}, "amount" : 5 }"#,
            r#"{"amount":5,"reason":"\u0078","more":{"a":1,"b":2,"c":null},"gone":null}"#,
        ] {
            assert_eq!(asked("POST /a", same), first, "{same}");
        }
        for (route, other) in [
            (
                "POST /b",
                r#"{"amount":5,"reason":"x","more":{"a":1,"b":2}}"#,
            ),
            (
                "POST /a",
                r#"{"amount":6,"reason":"x","more":{"a":1,"b":2}}"#,
            ),
            ("POST /a", r#"{"amount":5,"more":{"a":1,"b":2}}"#),
            (
                "POST /a",
                r#"{"amount":5,"reason":"x","more":{"a":2,"b":1}}"#,
            ),
        ] {
            assert_ne!(asked(route, other).digest, first.digest, "{other}");
        }
    }

    #[test]
    fn a_key_is_visible_ascii_once() {
        let longest = "k".repeat(255);
        for key in ["a", "5f3c1b1e-8f0a-4f9b", "!~", &longest] {
            let request = TestRequest::default().insert_header(("idempotency-key", key));
            let found = Key::required(&request.to_http_request()).unwrap();
            assert_eq!(found, Key(key.to_owned()));
        }
        let too_long = "k".repeat(256);
        for key in ["", "a b", "a\tb", "\u{e9}", &too_long] {
            let request = TestRequest::default().insert_header(("idempotency-key", key));
            let problem = Key::required(&request.to_http_request()).unwrap_err();
            assert_eq!(problem.code(), Code::InvalidRequest, "{key:?}");
        }
        let twice = TestRequest::default()
            .append_header(("idempotency-key", "a"))
            .append_header(("idempotency-key", "a"));
        let problem = Key::required(&twice.to_http_request()).unwrap_err();
        assert_eq!(problem.code(), Code::InvalidRequest);
        let none = TestRequest::default().to_http_request();
        let problem = Key::required(&none).unwrap_err();
        assert_eq!(problem.code(), Code::IdempotencyKeyRequired);
    }
}
