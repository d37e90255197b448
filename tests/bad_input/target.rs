//! The program under bad input: asked in every way, and examined in the end.

use chrono::DateTime;
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample;
use futures_util::{StreamExt as _, stream};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use wiremock::MockServer;

use super::places::{At, Place, Route};
use crate::crash::service::{DataDir, Service};
use crate::support::app::{ADMIN_KEY, ISSUER, MINT, STRIPE_SECRET, STRIPE_SECRET_KEY};
use crate::support::deliveries::{captured, clerk, payment, unique};
use crate::support::url::percent_encoded;

/// How many requests are under way at once.
const AT_ONCE: usize = 8;
/// Whoever moves credits here has enough of them.
pub const USER: &str = "user_1";
/// The most memory that the program holds whatever is sent to it, in MiB, but for what connections hold: see
/// `connections`. The program of the tests is not optimised, which makes it larger.
const MEMORY_MAX_MIB: u64 = 256;

pub struct Target {
    pub data: DataDir,
    pub service: Service,
    /// Stripe's API, which knows nothing.
    _stripe: MockServer,
}

/// What is put into a place.
#[derive(Debug, Clone)]
pub struct Input {
    /// As JSON spells it, perhaps wrongly.
    pub json: String,
    /// What it is as a text, if it is one.
    pub text: Option<String>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub body: Value,
}

impl Input {
    pub fn of_text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            json: json!(text).to_string(),
            text: Some(text),
        }
    }

    pub fn spelled(json: impl Into<String>) -> Self {
        Self {
            json: json.into(),
            text: None,
        }
    }
}

impl Target {
    pub async fn start() -> Self {
        let data = DataDir::new();
        let stripe = MockServer::start().await;
        let mut command = data.program(&["serve"]);
        command
            .env("ADMIN_API_KEY", ADMIN_KEY)
            .env("CLERK_JWT_KEY", MINT.public_pem())
            .env("CLERK_ISSUER", ISSUER)
            .env("RAZORPAY_KEY_SECRET", "razorpay-key-secret")
            .env("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET)
            .env("STRIPE_SECRET_KEY", STRIPE_SECRET_KEY)
            .env("STRIPE_API_URL", stripe.uri())
            .env("VERIFY_WAIT_MS", "1")
            .env("RUST_LOG", "warn,credit_ledger=debug");
        let target = Self {
            service: Service::start(command),
            data,
            _stripe: stripe,
        };
        let grant = json!({"amount": 1_000_000, "reason": "to begin with"});
        let path = format!("/v1/users/{USER}/grants");
        target.moved(&path, &grant, "entry_id").await;
        target
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.service.address);
        let method: Method = method.parse().unwrap();
        self.service.client.request(method, url)
    }

    /// Makes an entry or a hold.
    async fn moved(&self, path: &str, body: &Value, id: &str) -> String {
        let request = self.request("POST", path).bearer_auth(ADMIN_KEY).json(body);
        let reply = reply(request.header("idempotency-key", unique("make-"))).await;
        reply.body[id]
            .as_str()
            .unwrap_or_else(|| panic!("{path}: {reply:?}"))
            .to_owned()
    }

    /// A path with something that is there in each parameter, but for the one that is given.
    async fn path(&self, route: &Route, given: Option<(&str, &str)>) -> String {
        let mut path = String::new();
        for part in route.path.split('/').skip(1) {
            path.push('/');
            let name = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            match (name, given) {
                (None, _) => path.push_str(part),
                (Some(name), Some((other, text))) if name == other => {
                    path.push_str(&percent_encoded(text, b""));
                }
                (Some(name), _) => path.push_str(&self.there(route, name).await),
            }
        }
        path
    }

    /// Something that is there.
    async fn there(&self, route: &Route, name: &str) -> String {
        let amount = json!({"amount": 3});
        match name {
            "user_id" if route.path.ends_with("/referral") => unique("user_came"),
            "user_id" if route.method == "DELETE" => unique("user_gone"),
            "user_id" | "id" => USER.to_owned(),
            "hold_id" => {
                self.moved(&format!("/v1/users/{USER}/holds"), &amount, name)
                    .await
            }
            "entry_id" => {
                self.moved(&format!("/v1/users/{USER}/spends"), &amount, name)
                    .await
            }
            "purchase_id" => {
                let unclaimed = payment(None);
                self.deliver(Source::Razorpay, &captured(&unclaimed)).await;
                format!("razorpay:{}", unclaimed.payment_id)
            }
            "event_id" => {
                let id = unique("msg_parked");
                let parked = clerk(&id, r#"{"type":"user.created","data":{}}"#);
                self.deliver(Source::Clerk, &parked).await;
                id
            }
            "source" => "clerk".to_owned(),
            "type" => "user".to_owned(),
            "shard" | "position" | "first" | "second" => "1".to_owned(),
            other => panic!("a new parameter {other}"),
        }
    }

    async fn deliver(
        &self,
        source: Source,
        delivery: &credit_ledger::provider::sign::SignedDelivery,
    ) {
        let (status, body) = self.service.deliver(source, delivery).await.unwrap();
        assert_eq!(status, 200, "{body}");
    }

    /// The request of a route, by whoever may ask, with something in one place; none: that can not be sent.
    pub async fn with(&self, place: &Place, input: &Input) -> Option<RequestBuilder> {
        let route = &place.route;
        let text = || {
            input.text.as_deref().or_else(|| {
                input
                    .json
                    .strip_prefix('"')
                    .is_none()
                    .then_some(&*input.json)
            })
        };
        let path = match &place.at {
            At::Path(name) => self.path(route, Some((name, text()?))).await,
            At::Query(name) => {
                let path = self.path(route, None).await;
                let shard = if route.path == "/v1/audit/events" && name != "shard" {
                    "shard=0&"
                } else {
                    ""
                };
                format!("{path}?{shard}{name}={}", percent_encoded(text()?, b""))
            }
            At::Header(_) | At::Body(..) => self.path(route, None).await,
        };
        let request = self.authorized(route, &path);
        let request = match &place.at {
            At::Header(name) if name == "Idempotency-Key" => {
                let value = HeaderValue::from_bytes(text()?.as_bytes()).ok()?;
                let name: HeaderName = name.parse().unwrap();
                return Some(request.header(name, value).body(least_body(route)));
            }
            At::Header(name) => panic!("a new header {name}"),
            At::Body(pointer, body) => request.body(filled(body, pointer, &input.json)),
            At::Path(_) | At::Query(_) => request.body(least_body(route)),
        };
        Some(keyed(route, request))
    }

    /// A request of a route, with this body.
    pub async fn with_body(&self, route: &Route, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let path = self.path(route, None).await;
        keyed(route, self.authorized(route, &path)).body(body)
    }

    /// A request of a route at a path of its own, by whoever may ask.
    pub fn at(&self, route: &Route, path: &str) -> RequestBuilder {
        keyed(route, self.authorized(route, path))
    }

    fn authorized(&self, route: &Route, path: &str) -> RequestBuilder {
        let request = self.request(&route.method, path);
        if route.is_session {
            let now = credit_ledger::app::system_now();
            request.bearer_auth(MINT.clerk_token(USER, ISSUER, None, now, 60).unwrap())
        } else {
            request.bearer_auth(ADMIN_KEY)
        }
    }

    /// Puts each input into its place. Every answer is as it is described, and none is a fault of ours.
    pub async fn all(&self, cases: Vec<(Place, Input)>) -> Vec<(Place, Input, Reply)> {
        let asked = stream::iter(cases).map(async |(place, input)| {
            let request = self.with(&place, &input).await?;
            let reply = reply(request).await;
            let what = format!(
                "{} {} {:?} {:.200}",
                place.route.method, place.route.path, place.at, input.json
            );
            assert_described(&place.route, &reply, &what);
            Some((place, input, reply))
        });
        asked
            .buffer_unordered(AT_ONCE)
            .filter_map(async |one| one)
            .collect()
            .await
    }

    /// Pages through a list as an operator.
    pub async fn rows(&self, path: &str) -> Vec<Value> {
        let (mut rows, mut cursor) = (vec![], String::new());
        loop {
            let path = format!("{path}?limit=200{cursor}");
            let page = reply(self.request("GET", &path).bearer_auth(ADMIN_KEY))
                .await
                .body;
            rows.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// It is as well as before: it has not panicked, every line of its log is one, its memory has a bound, it records a
    /// good webhook, and the auditor finds nothing.
    pub async fn assert_unharmed(self) {
        self.assert_unharmed_in(MEMORY_MAX_MIB).await;
    }

    pub async fn assert_unharmed_in(mut self, memory_max_mib: u64) {
        let good =
            sample::clerk_user_created(&crate::support::deliveries::user(&unique("user_good")));
        let good = clerk(&unique("msg_"), good.to_string());
        let (status, body) = self.service.deliver(Source::Clerk, &good).await.unwrap();
        assert_eq!(
            (status.as_u16(), &body["status"]),
            (200, &json!("recorded")),
            "{body}"
        );
        assert_log_is_good(&self.service.log());
        let memory_mib = self.service.memory_max_mib();
        println!("at most {memory_mib} MiB");
        assert!(memory_mib <= memory_max_mib, "{memory_mib} MiB");
        let said = self.data.said(&["audit", "replay"], 0);
        assert!(said.contains("agrees with everything"), "{said}");
        let (status, _) = self.service.terminate();
        assert_eq!(status.code(), Some(0));
        assert_log_is_good(&self.service.log());
    }
}

/// With a key of its own, where one is needed.
fn keyed(route: &Route, request: RequestBuilder) -> RequestBuilder {
    if route.needs_key {
        request.header("idempotency-key", unique("bad-"))
    } else {
        request
    }
}

/// Whatever others sent, a line of the log is a line of ours.
fn assert_log_is_good(log: &str) {
    assert!(!log.contains("panicked"), "{log}");
    for line in log.lines() {
        let time = line.split(' ').next().unwrap();
        assert!(
            DateTime::parse_from_rfc3339(time).is_ok(),
            "no line of ours: {line:?}\n{log}"
        );
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(!line.contains(" ERROR "), "{line}");
    }
}

/// What is described of a route, and no fault of ours.
#[track_caller]
pub fn assert_described(route: &Route, reply: &Reply, what: &str) {
    assert!(reply.status < 500, "{what}: {reply:?}");
    if reply.status >= 400 {
        assert_eq!(
            reply.content_type, "application/problem+json",
            "{what}: {reply:?}"
        );
        let code = reply.body["code"].as_str().unwrap_or_default();
        assert!(
            route.has_problem(reply.status, code),
            "not described, {what}: {reply:?}"
        );
    } else {
        assert!(
            route.has_status(reply.status),
            "not described, {what}: {reply:?}"
        );
    }
}

pub async fn reply(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let content_type = response.headers().get("content-type");
    let content_type = content_type.map(|value| value.to_str().unwrap().to_owned());
    Reply {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
    }
}

/// A body that is taken where the input is somewhere else.
fn least_body(route: &Route) -> String {
    let body = match route.path.rsplit('/').next().unwrap() {
        "spends" | "holds" => json!({"amount": 1}),
        "grants" => json!({"amount": 1, "reason": "x"}),
        "plan" => json!({"plan": "free"}),
        "referral" => json!({"referred_by": USER}),
        "retry" | "recover" => json!({"reason": "x"}),
        "resolve" => json!({"sku": "credits_500", "reason": "x"}),
        "bulk" => {
            json!({"mode": "each", "items": [{"type": "spend", "user_id": USER, "amount": 1}]})
        }
        _ if route.has_body => json!({}),
        _ => return String::new(),
    };
    body.to_string()
}

/// A body with this spelling in one place.
fn filled(body: &Value, pointer: &str, json: &str) -> String {
    const HERE: &str = "@here@";
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = json!(HERE);
    body.to_string().replace(&json!(HERE).to_string(), json)
}
