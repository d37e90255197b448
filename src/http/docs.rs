//! `GET /docs`: the description of the API for people, one page.
//!
//! Written here from the description itself instead of by a script in the browser: the page runs nothing, loads nothing and
//! asks nobody, which its `Content-Security-Policy` holds it to. (A ready-made viewer is megabytes of script, and wants
//! keys typed into it.) Whatever comes from the description is escaped. Must never say what the description does not.

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_SECURITY_POLICY;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::openapi;
use super::pieces::pieces;

const STYLE: &str = include_str!("docs/page.css");

/// `GET /docs`
pub async fn serve() -> HttpResponse {
    static PAGE: LazyLock<(String, String)> = LazyLock::new(|| (page(), policy()));
    let (page, policy) = &*PAGE;
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, policy.as_str()))
        .body(pieces(page))
}

/// Only the style that is in the page, known by its digest.
fn policy() -> String {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn page() -> String {
    let document = openapi::document();
    let info = &document["info"];
    let title = escaped(text(&info["title"]));
    let mut nav = String::new();
    let mut main = String::new();
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        let operations = operations(&document, name);
        if operations.is_empty() {
            continue;
        }
        let heading = escaped(name);
        let _ = write!(nav, "<h2>{heading}</h2><ul>");
        let _ = write!(main, "<h2>{heading}</h2>{}", prose(&tag["description"]));
        for operation in operations {
            nav.push_str(&operation.link());
            main.push_str(&operation.section(&document));
        }
        nav.push_str("</ul>");
    }
    let _ = write!(nav, "<h2>Shapes</h2><ul>");
    let _ = write!(main, "<h2>Shapes</h2>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let name = escaped(name);
        let _ = write!(nav, r##"<li><a href="#shape-{name}">{name}</a></li>"##);
        let _ = write!(
            main,
            r#"<section id="shape-{name}"><h3>{name}</h3>{}{}</section>"#,
            prose(&schema["description"]),
            body(schema)
        );
    }
    nav.push_str("</ul>");
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><nav>{nav}</nav>\
         <main><h1>{title} <small>{}</small></h1>{}\
         <p>For programs: <a href=\"/openapi.json\">/openapi.json</a></p>{main}</main></body></html>",
        escaped(text(&info["version"])),
        prose(&info["description"])
    )
}

/// One route of the description.
struct Operation<'a> {
    method: String,
    path: &'a str,
    said: &'a Value,
}

/// The routes of a part of the API.
fn operations<'a>(document: &'a Value, tag: &str) -> Vec<Operation<'a>> {
    let mut found = vec![];
    for (path, methods) in members(&document["paths"]) {
        for (method, said) in members(methods) {
            if said["tags"][0] == tag {
                let method = method.to_uppercase();
                found.push(Operation { method, path, said });
            }
        }
    }
    found
}

impl Operation<'_> {
    fn id(&self) -> String {
        escaped(text(&self.said["operationId"]))
    }

    fn link(&self) -> String {
        let summary = escaped(text(&self.said["summary"]));
        format!(
            r##"<li><a href="#{}" title="{summary}"><b>{}</b> {}</a></li>"##,
            self.id(),
            self.method,
            escaped(self.path)
        )
    }

    fn section(&self, document: &Value) -> String {
        let said = self.said;
        let mut html = format!(
            r#"<section id="{}"><h3><b>{}</b> <code>{}</code></h3><p class="summary">{}</p>{}<p>{}</p>"#,
            self.id(),
            self.method,
            escaped(self.path),
            escaped(text(&said["summary"])),
            prose(&said["description"]),
            self.access()
        );
        let parameters = list(&said["parameters"]);
        if !parameters.is_empty() {
            html.push_str("<h4>Parameters</h4><table>");
            for parameter in parameters {
                let _ = write!(
                    html,
                    "<tr><td><code>{}</code><br><i>{}{}</i></td><td>{}</td><td>{}</td></tr>",
                    escaped(text(&parameter["name"])),
                    escaped(text(&parameter["in"])),
                    required(parameter["required"] == true),
                    shape(&parameter["schema"]),
                    prose(&parameter["description"])
                );
            }
            html.push_str("</table>");
        }
        for content in members(&said["requestBody"]["content"]).map(|(_, content)| content) {
            let needed = required(said["requestBody"]["required"] == true);
            let _ = write!(
                html,
                "<h4>Body</h4><div>{}<i>{needed}</i></div>",
                shape(&content["schema"])
            );
            if let Some(example) = content.get("example") {
                let _ = write!(html, "<pre>{}</pre>", escaped(&format!("{example:#}")));
            }
        }
        html.push_str("<h4>Answers</h4><table>");
        for (status, response) in members(&said["responses"]) {
            html.push_str(&answer(status, resolved(document, response)));
        }
        html.push_str("</table></section>");
        html
    }

    fn access(&self) -> String {
        let Some(one) = list(&self.said["security"]).first() else {
            return "Needs no token.".to_owned();
        };
        if one.get("session").is_some() {
            return "Needs the user's session token.".to_owned();
        }
        let scope = escaped(text(&one["apiKey"][0]));
        format!("Needs an API key with the scope <code>{scope}</code>.")
    }
}

fn answer(status: &str, response: &Value) -> String {
    let headers: Vec<String> = members(&response["headers"])
        .map(|(name, _)| format!("<br><i>{}</i>", escaped(name)))
        .collect();
    let shapes: Vec<String> = members(&response["content"])
        .filter(|(kind, _)| !kind.contains("problem"))
        .map(|(_, content)| format!("<div>{}</div>", body(&content["schema"])))
        .collect();
    format!(
        "<tr><td><code>{}</code>{}</td><td>{}{}</td></tr>",
        escaped(status),
        headers.concat(),
        prose(&response["description"]),
        shapes.concat()
    )
}

/// What an answer's description stands for, where it is shared.
fn resolved<'a>(document: &'a Value, response: &'a Value) -> &'a Value {
    response["$ref"]
        .as_str()
        .and_then(|target| document.pointer(target.strip_prefix('#')?))
        .unwrap_or(response)
}

/// A shape with its members, where it has some.
fn body(schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object() else {
        return shape(schema);
    };
    let needed = list(&schema["required"]);
    let rows: Vec<String> = properties
        .iter()
        .map(|(name, schema)| {
            format!(
                "<tr><td><code>{}</code><i>{}</i></td><td>{}</td><td>{}</td></tr>",
                escaped(name),
                required(needed.iter().any(|one| one == name)),
                shape(schema),
                prose(&schema["description"])
            )
        })
        .collect();
    format!("<table>{}</table>", rows.concat())
}

/// A shape in one line, or with its members where it has no name.
fn shape(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        let name = escaped(target.rsplit('/').next().unwrap_or(target));
        return format!(r##"<a href="#shape-{name}">{name}</a>"##);
    }
    for (members, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(parts) = schema[members].as_array() {
            let parts: Vec<String> = parts.iter().map(body).collect();
            return parts.join(between);
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| code(&word.to_string())).collect();
        return words.join(" or ");
    }
    if schema.get("properties").is_some() {
        return body(schema);
    }
    if let Some(items) = schema.get("items") {
        return format!("list of {}", shape(items));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect(),
        kind => vec![text(kind)],
    };
    let kind = escaped(&kinds.join(" or "));
    format!("{kind}{}", limits(schema))
}

fn limits(schema: &Value) -> String {
    let names = [
        ("format", ""),
        ("minimum", "at least "),
        ("maximum", "at most "),
        ("maxLength", "at most characters: "),
        ("default", "default "),
    ];
    let said: Vec<String> = names
        .into_iter()
        .filter_map(|(name, what)| {
            let value = schema.get(name)?;
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            Some(format!("{what}{}", escaped(&value)))
        })
        .collect();
    if said.is_empty() {
        String::new()
    } else {
        format!(" <i>({})</i>", said.join(", "))
    }
}

const fn required(is: bool) -> &'static str {
    if is { "" } else { " (optional)" }
}

/// Paragraphs with code between backticks.
fn prose(value: &Value) -> String {
    let mut html = String::new();
    for paragraph in text(value).split("\n\n").filter(|one| !one.is_empty()) {
        html.push_str("<p>");
        for (index, part) in paragraph.split('`').enumerate() {
            let part = if index % 2 == 0 {
                escaped(part)
            } else {
                code(part)
            };
            html.push_str(&part);
        }
        html.push_str("</p>");
    }
    html
}

fn code(value: &str) -> String {
    format!("<code>{}</code>", escaped(value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn escaped(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ROUTES;
    use crate::http::problem::Code;

    #[test]
    fn every_route_and_every_code_of_the_description_is_on_the_page() {
        let page = page();
        for entry in &ROUTES {
            let heading = format!("<b>{}</b> <code>{}</code>", entry.method, entry.path);
            assert!(page.contains(&heading), "{heading}");
        }
        for code in Code::ALL {
            assert!(
                page.contains(&format!("{}</code>", code.code())),
                "{code:?}"
            );
        }
    }

    /// No element that fetches, and no link that leaves.
    #[test]
    fn the_page_loads_nothing_and_leads_nowhere() {
        let page = page();
        for element in [
            "<script", "<link", "<img", "<iframe", "<form", "@import", "url(",
        ] {
            assert!(!page.contains(element), "{element}");
        }
        for target in page.split("href=\"").skip(1) {
            assert!(
                target.starts_with('#') || target.starts_with("/openapi.json\""),
                "{}",
                &target[..20]
            );
        }
    }

    #[test]
    fn links_within_the_page_lead_somewhere() {
        let page = page();
        for target in page.split("href=\"#").skip(1) {
            let (id, _) = target.split_once('"').unwrap();
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn what_is_said_is_text_and_nothing_else() {
        let said = Value::from("a <b> & `c < \"d\"`\n\nnext");
        assert_eq!(
            prose(&said),
            "<p>a &lt;b&gt; &amp; <code>c &lt; &quot;d&quot;</code></p><p>next</p>"
        );
    }
}
