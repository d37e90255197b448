//! A service that has every secret there is, between stand-ins that misbehave, and all that it says.

use std::process::{Command, Output};

use credit_ledger::http::{Access, ROUTES};
use credit_ledger::provider::sign::SignedDelivery;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::needles::Needles;
use crate::crash::service::{DataDir, Service, finish};
use crate::support::app::{
    ADMIN_KEY, AUDIT_KEY, CLERK_SECRET, ISSUER, RAZORPAY_KEY_SECRET, RAZORPAY_SECRET, SERVICE_KEY,
    STRIPE_SECRET, STRIPE_SECRET_KEY,
};
use crate::support::tokens::SUPABASE_SECRET;
use crate::support::{seals, tokens};

const DATABASE_PASSWORD: &str = "database+password/of the tests";
const WITNESS_TOKEN: &str = "witness-token-of-the-tests";
const WITNESS_QUERY: &str = "what-lets-one-in-by-the-url";

/// The program on a database that wants a password, beside the program that runs the database.
pub struct World {
    pub data: DataDir,
    keeper: Service,
    pub service: Service,
    pub providers: MockServer,
    pub needles: Needles,
    /// What was found in answers.
    found: Vec<String>,
    database: String,
}

impl World {
    pub async fn start() -> Self {
        let data = DataDir::new();
        let mut keeper = data.program(&["serve"]);
        keeper.env("RUST_LOG", LOUD);
        let keeper = Service::start(keeper);
        let providers = providers().await;
        let url = with_password(&data).await;
        let service = Service::start(settings(&data, &["serve"], &url, &providers.uri()));
        let mut needles = Needles::default();
        for (what, text) in [
            ("the database's password", DATABASE_PASSWORD),
            ("CLERK_WEBHOOK_SECRET", CLERK_SECRET),
            ("its key", "test-secret-of-the-tests!!"),
            ("RAZORPAY_WEBHOOK_SECRET", RAZORPAY_SECRET),
            ("RAZORPAY_KEY_SECRET", RAZORPAY_KEY_SECRET),
            ("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET),
            ("STRIPE_SECRET_KEY", STRIPE_SECRET_KEY),
            ("SUPABASE_JWT_SECRET", SUPABASE_SECRET),
            ("ADMIN_API_KEY", ADMIN_KEY),
            ("SERVICE_API_KEY", SERVICE_KEY),
            ("AUDIT_API_KEY", AUDIT_KEY),
            ("SEAL_KEY", seals::key_pem().lines().nth(1).unwrap()),
            ("SEAL_WITNESS_TOKEN", WITNESS_TOKEN),
            ("SEAL_WITNESS_URL", WITNESS_QUERY),
        ] {
            needles.secret(what, text);
        }
        Self {
            data,
            keeper,
            service,
            providers,
            needles,
            found: vec![],
            database: url,
        }
    }

    /// Runs a command with the same settings.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let uri = self.providers.uri();
        finish(settings(&self.data, arguments, &self.database, &uri))
    }

    /// Looks through what a command said.
    pub fn look_at(&mut self, said: &[u8]) {
        let said = String::from_utf8_lossy(said);
        self.found.extend(self.needles.in_log(&said));
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.service.address);
        self.service.client.request(method, url)
    }

    /// Sends it, looks through what comes back, and gives the status. No answer: the connection broke.
    pub async fn ask(&mut self, request: RequestBuilder) -> Option<(u16, Value)> {
        let response = request.send().await.ok()?;
        let status = response.status();
        let head = format!("{:?}", response.headers());
        let body = response.text().await.ok()?;
        let said = format!("{head}\n{body}");
        let found = if status.is_success() {
            self.needles.in_answer(&said)
        } else {
            self.needles.in_log(&said)
        };
        self.found.extend(found);
        let body = serde_json::from_str(&body).unwrap_or(Value::Null);
        Some((status.as_u16(), body))
    }

    /// The same where there must be an answer.
    pub async fn status(&mut self, request: RequestBuilder) -> u16 {
        self.ask(request).await.unwrap().0
    }

    /// Posts a delivery; its signatures are nobody's business either.
    pub async fn deliver(&mut self, path: &str, delivery: &SignedDelivery) -> Option<(u16, Value)> {
        let mut request = self.request(Method::POST, path);
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
            let code = value.rsplit([',', '=']).next().unwrap();
            if name.contains("signature") && code.len() > 20 {
                self.needles.secret("a signature", code);
            }
        }
        self.ask(request.body(delivery.body.clone())).await
    }

    /// What the instance says of itself to anybody.
    pub async fn look_at_what_is_open(&mut self) {
        for entry in ROUTES {
            if entry.access == Access::Open {
                let response = self.request(Method::GET, entry.path).send().await.unwrap();
                let found = self.needles.in_log(&response.text().await.unwrap());
                self.found.extend(found);
            }
        }
    }

    /// Stops everything; what was found in answers, in the logs of both programs and in that of PostgreSQL.
    pub fn end(mut self) -> (Vec<String>, String) {
        let mut log = self.service.whole_log();
        log += &self.keeper.whole_log();
        let postgres = self.data.0.join("data/postgres/postgres.log");
        log += &std::fs::read_to_string(postgres).unwrap();
        self.found.extend(self.needles.in_log(&log));
        (self.found, log)
    }
}

/// As loud as it can be set.
pub const LOUD: &str = "trace,tokio_postgres::query=trace,tokio_postgres::query[{message}]=trace,\
     actix_http::h1::decoder=trace";

fn settings(data: &DataDir, arguments: &[&str], database: &str, providers: &str) -> Command {
    let mut command = data.program(arguments);
    command.env_remove("DATA_DIR").envs([
        ("RUST_LOG", LOUD),
        ("DATABASE_URL", database),
        ("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET),
        ("STRIPE_SECRET_KEY", STRIPE_SECRET_KEY),
        ("STRIPE_API_URL", providers),
        ("RAZORPAY_KEY_ID", "rzp_test_tests"),
        ("RAZORPAY_KEY_SECRET", RAZORPAY_KEY_SECRET),
        ("RAZORPAY_API_URL", providers),
        ("CLERK_JWKS_URL", &format!("{providers}/jwks")),
        ("CLERK_ISSUER", ISSUER),
        ("SUPABASE_URL", providers),
        ("SUPABASE_JWT_SECRET", SUPABASE_SECRET),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("AUDIT_API_KEY", AUDIT_KEY),
        ("SEAL_KEY", &seals::key_pem()),
        ("SEAL_EVERY_MS", "100"),
        (
            "SEAL_WITNESS_URL",
            &format!("{providers}/seals?token={WITNESS_QUERY}"),
        ),
        ("SEAL_WITNESS_TOKEN", WITNESS_TOKEN),
        ("VERIFY_WAIT_MS", "50"),
        ("MATCH_AFTER_MS", "0"),
        ("UPKEEP_EVERY_MS", "100"),
        ("LANES", "1"),
    ]);
    command
}

/// A login of the private cluster that is asked for its password, and the URL with it.
async fn with_password(data: &DataDir) -> String {
    let sql = data.sql().await;
    let make = format!(
        "set password_encryption = 'scram-sha-256';
         create role leaky login superuser password '{DATABASE_PASSWORD}'"
    );
    sql.batch_execute(&make).await.unwrap();
    sql.batch_execute("create database leaky owner leaky")
        .await
        .unwrap();
    let rules = data.0.join("data/postgres/data/pg_hba.conf");
    let old = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("local all leaky scram-sha-256\n{old}")).unwrap();
    sql.batch_execute("select pg_reload_conf()").await.unwrap();
    let socket = data.0.join("data/postgres/socket");
    let password = DATABASE_PASSWORD
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace(' ', "%20");
    format!(
        "postgres://leaky:{password}@/leaky?host={}",
        socket.display()
    )
}

/// A stand-in for every API that we ask. It knows nothing, and says in its refusals what it was asked with.
async fn providers() -> MockServer {
    let server = MockServer::start().await;
    let keys = ResponseTemplate::new(200).set_body_json(tokens::key_set());
    for at in ["/jwks", "/auth/v1/.well-known/jwks.json"] {
        // At first it is down.
        Mock::given(path(at))
            .respond_with(echo(500))
            .up_to_n_times(1)
            .mount(&server)
            .await;
        Mock::given(path(at))
            .respond_with(keys.clone())
            .mount(&server)
            .await;
    }
    Mock::given(method("POST"))
        .and(path("/seals"))
        .respond_with(echo(500))
        .up_to_n_times(3)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/seals"))
        .respond_with(ResponseTemplate::new(204))
        .mount(&server)
        .await;
    for (which, status) in [("401", 401), ("500", 500), ("400", 400), ("200", 200)] {
        Mock::given(path_regex(format!("^/v1/.*{which}$")))
            .respond_with(echo(status))
            .mount(&server)
            .await;
    }
    Mock::given(path_regex("^/v1/.*302$"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", "/v1/payments/401"))
        .mount(&server)
        .await;
    server
}

/// An answer that repeats all that it was asked with.
fn echo(status: u16) -> impl Fn(&Request) -> ResponseTemplate {
    move |request: &Request| {
        let headers = format!("{:?}", request.headers);
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let said = json!({"error": {"description": format!("{headers} {body}")}});
        ResponseTemplate::new(status).set_body_json(said)
    }
}
