//! Every place of every route where a caller may put something, as the description of the API names them: a field that is
//! new is among them by itself.

use credit_ledger::http::openapi;
use serde_json::{Map, Value, json};

/// What a place takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// True or false.
    Flag,
}

/// Where it is in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    Path(String),
    Query(String),
    Header(String),
    /// A pointer (RFC 6901), and the least body around it.
    Body(String, Value),
}

/// A place of a route.
#[derive(Debug, Clone)]
pub struct Place {
    pub route: Route,
    pub at: At,
    pub kind: Kind,
}

/// A route, as it is described.
#[derive(Debug, Clone)]
pub struct Route {
    pub method: String,
    pub path: String,
    /// Whether a signed-in user asks, not a backend.
    pub is_session: bool,
    pub needs_key: bool,
    /// Whether it reads a body.
    pub has_body: bool,
    /// The codes that are described of each status.
    codes: Map<String, Value>,
}

impl Route {
    /// Whether a problem is described.
    pub fn has_problem(&self, status: u16, code: &str) -> bool {
        let described = self.codes.get(&status.to_string());
        let described =
            described.is_some_and(|codes| codes.to_string().contains(&format!("{code:?}")));
        described || (status, code) == (404, "not_found")
    }

    /// Whether an answer of this status is described.
    pub fn has_status(&self, status: u16) -> bool {
        self.codes.contains_key(&status.to_string())
    }
}

/// All routes but those that providers sign, which have a test of their own.
pub fn routes() -> Vec<(Route, Value)> {
    let document = openapi::document();
    let mut routes = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if path == "/webhooks/{provider}" {
                continue;
            }
            let responses = operation["responses"].as_object().unwrap();
            let codes = responses.iter().map(|(status, response)| {
                let response = resolved(&document, response);
                let schema = &response["content"]["application/problem+json"];
                (status.clone(), schema.clone())
            });
            let parameters = operation["parameters"].to_string();
            let route = Route {
                method: method.to_uppercase(),
                path: path.clone(),
                is_session: path.starts_with("/v1/me") || path.starts_with("/v1/payments"),
                needs_key: parameters.contains("\"Idempotency-Key\""),
                has_body: operation.get("requestBody").is_some(),
                codes: codes.collect(),
            };
            routes.push((route, operation.clone()));
        }
    }
    routes
}

/// Every place of every route.
pub fn places() -> Vec<Place> {
    let document = openapi::document();
    let mut places = vec![];
    for (route, operation) in routes() {
        let mut push = |at, kind| {
            let route = route.clone();
            places.push(Place { route, at, kind });
        };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = resolved(&document, parameter);
            let name = parameter["name"].as_str().unwrap().to_owned();
            let at = match parameter["in"].as_str().unwrap() {
                "path" => At::Path(name),
                "query" => At::Query(name),
                _ => At::Header(name),
            };
            // All of them are texts on the wire.
            push(at, Kind::Text);
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_null() {
            for (body, pointer, kind) in fields(&document, schema, "") {
                push(At::Body(pointer, body), kind);
            }
        }
    }
    places
}

/// The least bodies of a route that reads one, one of each form.
pub fn bodies(operation: &Value) -> Vec<Value> {
    let document = openapi::document();
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let mut bodies: Vec<Value> = alternatives(&document, schema)
        .iter()
        .map(|form| least(&document, form, ""))
        .collect();
    bodies.dedup();
    bodies
}

/// Every field of a schema: the least value that has it, where it is in there, and what it takes.
fn fields(document: &Value, schema: &Value, name: &str) -> Vec<(Value, String, Kind)> {
    let mut found = vec![];
    for form in alternatives(document, schema) {
        match kind(&form) {
            "object" => {
                let whole = least(document, &form, name);
                for (name, member) in form["properties"].as_object().into_iter().flatten() {
                    for (value, pointer, kind) in fields(document, member, name) {
                        let mut whole = whole.clone();
                        whole[name] = value;
                        found.push((whole, format!("/{name}{pointer}"), kind));
                    }
                }
            }
            "array" => {
                for (value, pointer, kind) in fields(document, &form["items"], name) {
                    found.push((json!([value]), format!("/0{pointer}"), kind));
                }
            }
            "string" => found.push((least(document, &form, name), String::new(), Kind::Text)),
            "integer" => found.push((least(document, &form, name), String::new(), Kind::Number)),
            "boolean" => found.push((least(document, &form, name), String::new(), Kind::Flag)),
            other => panic!("{name}: a schema of type {other:?}"),
        }
    }
    found
}

/// The least value of a schema that is taken.
fn least(document: &Value, schema: &Value, name: &str) -> Value {
    let forms = alternatives(document, schema);
    let form = &forms[0];
    match kind(form) {
        "object" => {
            let required = form["required"].as_array().into_iter().flatten();
            let members = required.map(|name| {
                let name = name.as_str().unwrap();
                (
                    name.to_owned(),
                    least(document, &form["properties"][name], name),
                )
            });
            Value::Object(members.collect())
        }
        "array" => json!([least(document, &form["items"], name)]),
        "integer" => json!(form["minimum"].as_i64().unwrap_or(0).max(1)),
        "boolean" => json!(false),
        _ if form["enum"].is_array() => form["enum"][0].clone(),
        _ if form["format"] == "date-time" => json!("2099-01-01T00:00:00Z"),
        _ if name == "sku" => json!("credits_500"),
        _ => json!("user_other"),
    }
}

/// The forms that a schema may have, without null.
fn alternatives(document: &Value, schema: &Value) -> Vec<Value> {
    let schema = resolved(document, schema);
    match schema["oneOf"].as_array() {
        Some(forms) => forms
            .iter()
            .filter(|form| form["type"] != "null")
            .flat_map(|form| alternatives(document, form))
            .collect(),
        None => vec![schema.clone()],
    }
}

/// The type of a schema, without null.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str().unwrap(),
        kind => kind.as_str().unwrap_or_default(),
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}
