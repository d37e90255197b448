//! What is said of one route: built up beside the URL map, see `operations`.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::SCHEMAS;
use crate::http::Entry;
use crate::http::idempotency::KEY_MAX_CHARS;
use crate::http::page::{LIMIT_DEFAULT, LIMIT_MAX};
use crate::http::problem::Code;

/// What a route takes and answers, apart from what its line of the URL map says already.
#[must_use]
pub struct Operation {
    method: &'static str,
    path: &'static str,
    /// What generated clients call it.
    pub(super) id: &'static str,
    /// In a few words.
    pub(super) summary: &'static str,
    /// In more.
    pub(super) description: String,
    /// Those of the query and the headers.
    pub(super) parameters: Vec<Value>,
    /// What is sent.
    pub(super) body: Option<Value>,
    /// The successes, by status.
    pub(super) successes: Map<String, Value>,
    /// The problems that only this route has.
    pub(super) codes: Vec<Code>,
    /// The schemas that it names.
    pub(super) schemas: Vec<(String, Value)>,
}

/// A route that reads.
pub fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("GET", path, id, summary)
}

/// A route that acts.
pub fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("POST", path, id, summary)
}

/// A route that sets something.
pub fn put(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("PUT", path, id, summary)
}

/// A route that deletes.
pub fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("DELETE", path, id, summary)
}

impl Operation {
    fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            description: String::new(),
            parameters: vec![],
            body: None,
            successes: Map::new(),
            codes: vec![],
            schemas: vec![],
        }
    }

    /// Whether it is about this line of the URL map.
    pub fn is_of(&self, entry: &Entry) -> bool {
        self.method == entry.method && self.path == entry.path
    }

    /// What else there is to know, in Markdown.
    pub fn about(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// A parameter of the query that may be left out.
    pub fn query(self, name: &str, schema: &Value, description: &str) -> Self {
        self.parameter("query", name, false, schema, description)
    }

    /// A parameter of the query that must be there.
    pub fn needs_query(self, name: &str, schema: &Value, description: &str) -> Self {
        self.parameter("query", name, true, schema, description)
    }

    /// Moves credits once for each key of the caller.
    pub fn keyed(self) -> Self {
        self.with_key(true).refuses(&[Code::IdempotencyKeyRequired])
    }

    /// As [`Operation::keyed`] where a key is sent.
    pub fn may_be_keyed(self) -> Self {
        self.with_key(false)
    }

    fn with_key(self, required: bool) -> Self {
        let schema = json!({
            "type": "string",
            "minLength": 1,
            "maxLength": KEY_MAX_CHARS,
            "pattern": "^[!-~]+$",
        });
        let description = "The same on every try of one call. The first answer comes again, be it a success or a \
                           refusal, with `Idempotency-Hit: true`. Keys live for ever and are the caller's own.";
        self.parameter("header", "Idempotency-Key", required, &schema, description)
            .refuses(&[Code::IdempotencyKeyReused])
    }

    fn parameter(
        mut self,
        place: &str,
        name: &str,
        required: bool,
        schema: &Value,
        description: &str,
    ) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": place,
            "required": required,
            "description": description,
            "schema": schema,
        }));
        self
    }

    /// `limit`.
    pub fn limit(self, default: i64, max: i64) -> Self {
        let schema = json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default });
        self.query("limit", &schema, "At most so many.")
    }

    /// `cursor`.
    pub fn cursor(self) -> Self {
        let cursor = json!({ "type": "string" });
        self.query("cursor", &cursor, "`next_cursor` of the page before.")
    }

    /// What is sent: a schema of this name.
    pub fn takes(self, name: &str, schema: Value) -> Self {
        self.with_body(true, name, schema)
    }

    /// What may be sent.
    pub fn may_take(self, name: &str, schema: Value) -> Self {
        self.with_body(false, name, schema)
    }

    fn with_body(mut self, required: bool, name: &str, schema: Value) -> Self {
        self.schemas.push((name.to_owned(), schema));
        self.body = Some(json!({
            "required": required,
            "content": { "application/json": { "schema": reference(name) } },
        }));
        self
    }

    /// What is sent, for example.
    pub fn such_as(mut self, example: Value) -> Self {
        if let Some(body) = &mut self.body {
            body["content"]["application/json"]["example"] = example;
        }
        self
    }

    /// What may follow a success: a member of its answer is the path parameter of the same name of another route.
    pub fn then(mut self, status: u16, id: &str, parameter: &str) -> Self {
        if let Some(response) = self.successes.get_mut(&status.to_string()) {
            response["links"][id] = json!({
                "operationId": id,
                "parameters": { parameter: format!("$response.body#/{parameter}") },
            });
        }
        self
    }

    /// A success with this type as its body.
    pub fn answers<T: ToSchema>(mut self, status: u16, description: &str) -> Self {
        let schema = self.name::<T>();
        self.success(status, description, "application/json", &schema)
    }

    /// A success whose body is one of two types.
    pub fn answers_either<A: ToSchema, B: ToSchema>(
        mut self,
        status: u16,
        description: &str,
    ) -> Self {
        let schema = json!({ "anyOf": [self.name::<A>(), self.name::<B>()] });
        self.success(status, description, "application/json", &schema)
    }

    /// A page of a list whose rows are of this type.
    pub fn lists<T: ToSchema>(mut self, description: &str) -> Self {
        let schema = json!({
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": { "type": "array", "items": self.name::<T>() },
                "next_cursor": {
                    "type": ["string", "null"],
                    "description": "Where the next page begins; `null`: this is the last.",
                },
            },
        });
        self.limit(LIMIT_DEFAULT, LIMIT_MAX).cursor().success(
            200,
            description,
            "application/json",
            &schema,
        )
    }

    /// A success with any body.
    pub fn success(
        mut self,
        status: u16,
        description: &str,
        content_type: &str,
        schema: &Value,
    ) -> Self {
        let response = json!({
            "description": description,
            "content": { content_type: { "schema": schema } },
        });
        self.successes.insert(status.to_string(), response);
        self
    }

    /// A success that may only repeat an earlier one, and says so.
    pub fn may_repeat(self, status: u16) -> Self {
        let header = text_header("`true`: nothing new was done, this repeats an earlier answer.");
        self.with_header(status, "Idempotency-Hit", header)
    }

    /// A success after which one asks again.
    pub fn asks_again(self, status: u16) -> Self {
        self.with_header(status, "Retry-After", retry_after())
    }

    fn with_header(mut self, status: u16, name: &str, header: Value) -> Self {
        if let Some(response) = self.successes.get_mut(&status.to_string()) {
            response["headers"][name] = header;
        }
        self
    }

    /// The problems that come of what it does.
    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend_from_slice(codes);
        self
    }

    /// Where a type is described; it and those that it is made of are kept.
    fn name<T: ToSchema>(&mut self) -> Value {
        let mut schemas: Vec<(String, RefOr<Schema>)> = vec![];
        T::schemas(&mut schemas);
        let name = T::name();
        schemas.push((name.clone().into_owned(), <T as PartialSchema>::schema()));
        let schemas = schemas
            .into_iter()
            .map(|(name, schema)| (name, json!(schema)));
        self.schemas.extend(schemas);
        reference(&name)
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

/// A header with a text.
pub fn text_header(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

/// `Retry-After`.
pub fn retry_after() -> Value {
    json!({
        "description": "After so many seconds one may ask again.",
        "schema": { "type": "integer", "minimum": 0 },
    })
}
