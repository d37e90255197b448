//! The description of the API, OpenAPI 3.1: made from the URL map, the problem codes and the types of the answers.
//!
//! `operations` says of each line of the URL map what it takes and answers; what follows from the line itself (who may
//! ask, its path's parameters, the problems that any such route has) is added here. Must never describe a route that is
//! not in the map: what is described is looked up there, and a test compares both.

pub mod operation;
mod operations;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use cqrs_es::Aggregate as _;
use serde_json::{Map, Value, json};
use utoipa::PartialSchema as _;

use super::limits::NOT_COUNTED;
use super::pieces::pieces;
use super::problem::Code;
use super::{Access, Entry, ROUTES};
use crate::access::Scope;
use crate::ledger::{Credits, Place, Purchase, User};
use operation::Operation;
pub use words::{
    constantly_false, constantly_true, delivery_status, lot_kind, not_paid_status, provider,
    purchase_status, recorded_or_duplicate, source,
};

/// Where the description names a schema.
const SCHEMAS: &str = "#/components/schemas/";
/// Where it names the answer of a problem.
const RESPONSES: &str = "#/components/responses/";

/// What ids are made of.
const NO_BLANKS: &str = r"^\S+$";

/// What the description says of the API as a whole.
const ABOUT: &str = "\
Verified webhooks become an append-only history of credits, and the history becomes balances.

Credits are whole numbers, money is in minor units of its currency, times are RFC 3339 in UTC. Bodies are JSON. A member \
or a parameter that a route does not know is refused. Lists are newest first unless they say otherwise: `limit` rows, and `next_cursor` is the \
`cursor` of the next page. Answers may get more members; what is there stays.

Whatever is not done is a problem of RFC 9457 with a stable `code`. Every path can also answer `404 not_found` (no such \
route) and `405 method_not_allowed` (with `Allow`). What answers `GET` answers `HEAD`.";

/// `GET /openapi.json`
pub async fn serve() -> HttpResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    HttpResponse::Ok()
        .content_type("application/json")
        .body(pieces(&TEXT))
}

/// The description as it is committed: readable, with an end of line.
pub fn text() -> String {
    format!("{:#}\n", document())
}

/// The description.
pub fn document() -> Value {
    let operations = operations::all();
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas = BTreeMap::from([("Problem".to_owned(), problem())]);
    let mut responses = BTreeMap::new();
    for entry in &ROUTES {
        let described = operations.iter().find(|operation| operation.is_of(entry));
        if let Some(operation) = described {
            schemas.extend(operation.schemas.clone());
            let path = paths.entry(entry.path).or_insert_with(|| json!({}));
            path[entry.method.to_lowercase()] = described_route(entry, operation, &mut responses);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "tags": Tag::ALL.map(|tag| json!({ "name": tag.name(), "description": tag.about() })),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "securitySchemes": {
                "session": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The session token of a signed-in user, as Clerk or Supabase issue it.",
                },
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": about_keys(),
                },
            },
        },
    })
}

fn about_keys() -> String {
    let scopes = Scope::ALL.map(|scope| format!("`{scope}`")).join(", ");
    format!(
        "An API key. It has scopes, of {scopes}; each route names the one that it needs, and `admin` allows everything."
    )
}

/// Part of the API, by who uses it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Webhooks,
    User,
    Backend,
    Operators,
    Auditors,
    Service,
}

impl Tag {
    const ALL: [Self; 6] = [
        Self::Webhooks,
        Self::User,
        Self::Backend,
        Self::Operators,
        Self::Auditors,
        Self::Service,
    ];

    const fn of(access: Access) -> Self {
        match access {
            Access::Open => Self::Service,
            Access::ProviderSignature => Self::Webhooks,
            Access::Session => Self::User,
            Access::ApiKey(Scope::CreditsRead | Scope::CreditsWrite) => Self::Backend,
            Access::ApiKey(Scope::Admin) => Self::Operators,
            Access::ApiKey(Scope::Audit) => Self::Auditors,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Webhooks => "Webhooks",
            Self::User => "Signed-in user",
            Self::Backend => "Backend",
            Self::Operators => "Operators",
            Self::Auditors => "Auditors",
            Self::Service => "Service",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::Webhooks => "What providers call.",
            Self::User => "What the product's frontend calls, with the user's session token.",
            Self::Backend => "What the product's backend calls, with an API key.",
            Self::Operators => "What waits, and what may be done about it.",
            Self::Auditors => "The log and its proofs.",
            Self::Service => "The service itself.",
        }
    }
}

fn described_route(
    entry: &Entry,
    operation: &Operation,
    shared: &mut BTreeMap<String, Value>,
) -> Value {
    let mut route = json!({
        "tags": [Tag::of(entry.access).name()],
        "operationId": operation.id,
        "summary": operation.summary,
    });
    if !operation.description.is_empty() {
        route["description"] = json!(operation.description);
    }
    let parameters: Vec<Value> = path_parameters(entry.path)
        .map(path_parameter)
        .chain(operation.parameters.iter().cloned())
        .collect();
    if !parameters.is_empty() {
        route["parameters"] = Value::Array(parameters);
    }
    if let Some(body) = &operation.body {
        route["requestBody"] = body.clone();
    }
    route["responses"] = responses(entry, operation, shared);
    route["security"] = match entry.access {
        Access::Open | Access::ProviderSignature => json!([]),
        Access::Session => json!([{ "session": [] }]),
        Access::ApiKey(scope) => json!([{ "apiKey": [scope.as_str()] }]),
    };
    route
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// A parameter means the same in every path.
fn path_parameter(name: &str) -> Value {
    let text = |example: &str| json!({ "type": "string", "minLength": 1, "maxLength": 255, "examples": [example] });
    let (schema, description) = match name {
        "provider" => (json!(provider()), "Who delivers."),
        "source" => (json!(provider()), "Who delivered."),
        "event_id" => (
            text("msg_2abc"),
            "The provider's id of the event, or the inbox key.",
        ),
        "user_id" => (text("user_2abc"), "The subject of the identity provider."),
        "purchase_id" => (text("razorpay:pay_2abc"), "`<provider>:<payment id>`"),
        "hold_id" => (json!(Place::schema()), "What the hold answered."),
        "entry_id" => (
            json!(Place::schema()),
            "What the spend or the capture answered.",
        ),
        "type" => (
            json!({ "type": "string", "enum": [User::TYPE, Purchase::TYPE] }),
            "What the stream is of.",
        ),
        "shard" => (
            json!({ "type": "integer", "minimum": 0, "maximum": i16::MAX }),
            "Which shard.",
        ),
        "position" => (
            json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX }),
            "The place of the event in its shard.",
        ),
        "first" => (
            json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX }),
            "The number of the earlier seal.",
        ),
        "second" => (
            json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX }),
            "The number of the later seal.",
        ),
        "id" => (text("user_2abc"), "Whose or what the stream is."),
        _ => (text("…"), ""),
    };
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": schema,
    })
}

/// The problems that a route has because of what it is, before those of what it does.
fn codes(entry: &Entry, operation: &Operation) -> Vec<Code> {
    let mut codes = vec![];
    if path_parameters(entry.path).next().is_some() {
        // A parameter that is empty or has a slash makes another path.
        codes.push(Code::NotFound);
    }
    match entry.access {
        Access::Open | Access::ProviderSignature => {}
        Access::Session => codes.extend([Code::Unauthenticated, Code::InvalidRequest]),
        Access::ApiKey(_) => codes.extend([
            Code::Unauthenticated,
            Code::InsufficientScope,
            Code::InvalidRequest,
        ]),
    }
    // Whatever takes too long is ended.
    codes.push(Code::Unavailable);
    if !NOT_COUNTED.iter().any(|one| entry.path.starts_with(one)) {
        codes.push(Code::RateLimited(1));
    }
    if operation.body.is_some() {
        codes.extend([Code::Malformed, Code::RequestTimeout, Code::PayloadTooLarge]);
    }
    if entry.method != "GET" {
        codes.push(Code::Internal);
    }
    codes.extend(&operation.codes);
    codes
}

/// What a route answers, by status. Routes share the descriptions of problems, which are named after their codes.
fn responses(entry: &Entry, operation: &Operation, shared: &mut BTreeMap<String, Value>) -> Value {
    let mut responses = operation.successes.clone();
    let mut by_status: BTreeMap<u16, BTreeMap<&str, Code>> = BTreeMap::new();
    for code in codes(entry, operation) {
        let codes = by_status.entry(code.status().as_u16()).or_default();
        codes.insert(code.code(), code);
    }
    for (status, codes) in by_status {
        let names: Vec<&str> = codes.keys().copied().collect();
        let name = names.join("-or-");
        responses.insert(
            status.to_string(),
            json!({ "$ref": format!("{RESPONSES}{name}") }),
        );
        shared
            .entry(name)
            .or_insert_with(|| problems(status, &codes));
    }
    json!(responses)
}

/// The answer of a status that is not a success: the problem, with one of these codes.
fn problems(status: u16, codes: &BTreeMap<&str, Code>) -> Value {
    let lines = codes
        .values()
        .map(|code| format!("`{}`: {}.", code.code(), code.title()));
    let names: Vec<&str> = codes.keys().copied().collect();
    let mut response = json!({ "description": lines.collect::<Vec<_>>().join("\n\n") });
    match status {
        401 => response["headers"]["WWW-Authenticate"] = operation::text_header("`Bearer`"),
        // Seals are made all the time.
        409 if codes.contains_key(Code::NotSealedYet.code()) => {
            response["headers"]["Retry-After"] = operation::retry_after();
        }
        429 | 503 => response["headers"]["Retry-After"] = operation::retry_after(),
        _ => {}
    }
    response["content"]["application/problem+json"]["schema"] = json!({
        "allOf": [
            { "$ref": format!("{SCHEMAS}Problem") },
            {
                "type": "object",
                "properties": { "code": { "type": "string", "enum": names } },
                "required": ["code"],
            },
        ],
    });
    response
}

fn problem() -> Value {
    let codes = Code::ALL.map(Code::code).to_vec();
    json!({
        "type": "object",
        "description": "Why something was not done: RFC 9457. Some codes bring members of their own.",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": { "type": "string", "description": "`about:blank`: the code says what it is." },
            "title": { "type": "string", "description": "What the code means." },
            "status": { "type": "integer", "description": "The status of the answer." },
            "code": { "type": "string", "enum": codes, "description": "What programs compare." },
            "detail": { "type": "string", "description": "What is the matter this time, for people." },
            "required": { "type": "integer", "description": "With `insufficient_credits`: what was asked for." },
            "available": {
                "type": "integer",
                "description": "With `insufficient_credits` and `amount_too_large`: what there is.",
            },
            "resolution": { "type": "string", "description": "With `hold_resolved`: what became of it." },
            "fields": {
                "type": "array",
                "items": { "type": "string" },
                "description": "With `idempotency_key_reused`: what differs.",
            },
            "item": { "type": "integer", "description": "Of several items, which one: from 0." },
        },
    })
}

/// A number of credits that is asked for.
fn credits(least: i64) -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": least, "maximum": Credits::MAX })
}
