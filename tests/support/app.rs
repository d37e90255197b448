//! The real application on a port of its own, with throw-away secrets, and a client for it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::access::mint::TokenMint;
use credit_ledger::access::{ApiKeySettings, ClerkSettings, KeySource, SessionSettings};
use credit_ledger::app::{App, Application, Clock};
use credit_ledger::audit::{replay, what_if};
use credit_ledger::config::{Config, OtherRules};
use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use credit_ledger::provider::sign::SignedDelivery;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::cluster;

pub const CLERK_SECRET: &str = "whsec_dGVzdC1zZWNyZXQtb2YtdGhlLXRlc3RzISE=";
pub const RAZORPAY_SECRET: &str = "razorpay-webhook-secret-of-the-tests";
pub const RAZORPAY_KEY_SECRET: &str = "razorpay-key-secret-of-the-tests";
pub const STRIPE_SECRET: &str = "whsec_stripe_webhook_secret_of_the_tests";
pub const STRIPE_SECRET_KEY: &str = "sk_test_of_the_tests";
pub const SERVICE_KEY: &str = "service-key-of-the-tests-0000";
pub const ADMIN_KEY: &str = "admin-key-of-the-tests-000000";
pub const AUDIT_KEY: &str = "audit-key-of-the-tests-000000";
pub const ISSUER: &str = "https://clerk.test.invalid";

/// One RSA key for all tests: making one takes a while.
pub static MINT: LazyLock<TokenMint> = LazyLock::new(|| TokenMint::generate().unwrap());

/// What a test may want otherwise.
#[derive(Clone)]
pub struct Options {
    /// The origin of a stand-in for Razorpay's API; none: its keys are not set.
    pub razorpay_api: Option<String>,
    /// The origin of a stand-in for Stripe's API; none: its key is not set.
    pub stripe_api: Option<String>,
    /// How long verify-payment waits.
    pub verify_wait: Duration,
    /// Changes anything else.
    pub configure: Arc<dyn Fn(&mut Config) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            razorpay_api: None,
            stripe_api: None,
            verify_wait: Duration::from_millis(200),
            configure: Arc::new(|_| {}),
        }
    }
}

/// What the application believes the time to be.
#[derive(Clone, Copy)]
enum Time {
    /// The system's, moved by this.
    Moved(TimeDelta),
    /// This, until somebody moves it.
    Still(DateTime<Utc>),
}

impl Time {
    fn now(self) -> DateTime<Utc> {
        match self {
            Self::Moved(by) => Utc::now() + by,
            Self::Still(time) => time,
        }
    }
}

/// A running application.
pub struct TestApp {
    pub address: SocketAddr,
    pub client: Client,
    pub database: Database,
    app: Weak<App>,
    time: Arc<Mutex<Time>>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<std::io::Result<()>>>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl TestApp {
    /// On a database of its own.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        Self::start_on(cluster::fresh_database().await, options).await
    }

    /// Commits what it is sent and never sees what that leaves to do, as one that ends right after each commit. The next
    /// start on its database gives the right back that it lacks.
    pub async fn start_blind() -> Self {
        let blind = |config: &mut Config| config.upkeep_every = Duration::from_hours(1);
        let app = Self::start_with(Options {
            configure: Arc::new(blind),
            ..Options::default()
        })
        .await;
        let revoke = "revoke select on outbox from credit_ledger_app";
        app.sql().await.batch_execute(revoke).await.unwrap();
        app
    }

    /// Another instance on a database that is there.
    pub async fn start_on(database: Database, options: Options) -> Self {
        let time = Arc::new(Mutex::new(Time::Moved(TimeDelta::zero())));
        let believed = Arc::clone(&time);
        let clock: Clock = Arc::new(move || believed.lock().unwrap().now());
        let config = config(database.name(), &options);
        let application = Application::build(config, clock).await.unwrap();
        let address = application.address();
        let app = Arc::downgrade(application.app());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(application.run_until(async {
            let _ = stopped.await;
        }));
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(256)
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            address,
            client,
            database,
            app,
            time,
            stop: Some(stop),
            serving: Some(serving),
        }
    }

    /// The application from within. It can not stop while this is held.
    pub fn app(&self) -> Arc<App> {
        self.app.upgrade().unwrap()
    }

    /// Waits until all work that commits left is done.
    pub async fn idle(&self) {
        let sql = self.sql().await;
        super::eventually("the outbox is empty", async || {
            let left = sql.query_one("select count(*) from outbox", &[]).await;
            (left.unwrap().get::<_, i64>(0) == 0).then_some(())
        })
        .await;
    }

    /// Waits until the upkeep of the start is over.
    pub async fn looked_once(&self) {
        super::eventually("upkeep has looked", async || {
            (self.app().upkeep_rounds() > 0).then_some(())
        })
        .await;
    }

    /// What the application believes the time to be.
    pub fn now(&self) -> DateTime<Utc> {
        self.time.lock().unwrap().now()
    }

    /// Moves the application's clock.
    pub fn move_clock(&self, by: TimeDelta) {
        let mut time = self.time.lock().unwrap();
        *time = match *time {
            Time::Moved(before) => Time::Moved(before + by),
            Time::Still(before) => Time::Still(before + by),
        };
    }

    /// Makes the application's clock stand still at a time.
    pub fn stop_clock(&self, at: DateTime<Utc>) {
        *self.time.lock().unwrap() = Time::Still(at);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub async fn deliver(&self, source: Source, delivery: &SignedDelivery) -> Answer {
        self.deliver_to(&format!("/webhooks/{source}"), delivery)
            .await
    }

    pub async fn deliver_to(&self, path: &str, delivery: &SignedDelivery) -> Answer {
        let mut request = self.client.post(self.url(path));
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        answer(request.body(delivery.body.clone())).await
    }

    /// A `GET` as a signed-in user.
    pub async fn get_as(&self, user_id: &str, path: &str) -> Answer {
        answer(
            self.client
                .get(self.url(path))
                .bearer_auth(self.token(user_id)),
        )
        .await
    }

    /// A `GET` as the product's backend.
    pub async fn get(&self, path: &str) -> Answer {
        answer(self.client.get(self.url(path)).bearer_auth(SERVICE_KEY)).await
    }

    /// A `GET` as an operator.
    pub async fn get_as_operator(&self, path: &str) -> Answer {
        answer(self.client.get(self.url(path)).bearer_auth(ADMIN_KEY)).await
    }

    /// A `POST` as an operator.
    pub async fn post_as_operator(&self, path: &str, body: &Value) -> Answer {
        let request = self.client.post(self.url(path));
        answer(request.bearer_auth(ADMIN_KEY).json(body)).await
    }

    /// Verify-payment as a signed-in user.
    pub async fn verify(
        &self,
        user_id: &str,
        order_id: &str,
        payment_id: &str,
        signature: &str,
    ) -> Answer {
        let body = json!({
            "razorpay_order_id": order_id,
            "razorpay_payment_id": payment_id,
            "razorpay_signature": signature,
        });
        let request = self.client.post(self.url("/v1/payments/verify"));
        answer(request.bearer_auth(self.token(user_id)).json(&body)).await
    }

    /// A good session token.
    pub fn token(&self, user_id: &str) -> String {
        MINT.clerk_token(user_id, ISSUER, None, self.now(), 60)
            .unwrap()
    }

    /// What the read models say that a user has.
    pub async fn balance(&self, user_id: &str) -> i64 {
        let answer = self.get(&format!("/v1/users/{user_id}/balance")).await;
        match answer.status.as_u16() {
            200 => answer.body["balance"].as_i64().unwrap(),
            404 => 0,
            _ => panic!("{answer:?}"),
        }
    }

    /// A session that may do anything, to look behind the application.
    pub async fn sql(&self) -> tokio_postgres::Client {
        self.database
            .connect_as_login(&ConnectOptions::default())
            .await
            .unwrap()
    }

    /// A session in one of the roles.
    pub async fn sql_as(&self, role: Role) -> tokio_postgres::Client {
        self.database
            .connect(role, &ConnectOptions::default())
            .await
            .unwrap()
    }

    /// The types of all events, by stream, in the order of the stream.
    pub async fn events(&self, aggregate_type: &str, aggregate_id: &str) -> Vec<String> {
        let sql = "select event_type from events where aggregate_type = $1 and aggregate_id = $2 order by sequence";
        let rows = self
            .sql()
            .await
            .query(sql, &[&aggregate_type, &aggregate_id])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Sends a webhook's body with any headers to any path.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.client.post(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.body(body)).await
    }

    /// A number that a query gives.
    pub async fn count(&self, sql: &str) -> i64 {
        self.sql().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The auditor's checks and replay find nothing, and the history told again by the same rules comes to the same.
    pub async fn assert_audit_is_clean(&self) {
        super::integrity::assert_log_is_whole(self).await;
        let report = replay::replay(&self.database, &mut |_, _| {})
            .await
            .unwrap();
        assert_eq!(report.differences, vec![]);
        self.assert_same_under(&OtherRules::default()).await;
    }

    /// The same by the very rules of this instance, looked up anew: for histories that were made by them alone.
    pub async fn assert_own_rules_come_to_the_same(&self) {
        let rules = self.app().rules.clone();
        let own = OtherRules {
            signup_bonus: Some(rules.signup.bonus_credits),
            catalog: Some(rules.catalog),
            ..OtherRules::default()
        };
        self.assert_same_under(&own).await;
    }

    async fn assert_same_under(&self, other: &OtherRules) {
        let report = self.what_if(other).await;
        assert_eq!(report.differences, vec![]);
        assert_eq!((report.refused, report.refusals), (0, vec![]));
        assert_eq!((report.purchases, report.old), (0, report.new));
    }

    /// What users would have under other rules.
    pub async fn what_if(&self, other: &OtherRules) -> what_if::Report {
        self.what_if_listing(other, 100).await
    }

    /// The same with at most so many refused calls listed.
    pub async fn what_if_listing(&self, other: &OtherRules, limit: usize) -> what_if::Report {
        let today = self.app().rules.catalog.clone();
        let now = self.now();
        what_if::what_if(&self.database, &today, other, now, limit, &mut |_, _| {})
            .await
            .unwrap()
    }

    /// Stops as SIGTERM does.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap().unwrap();
        }
    }
}

/// Sends a request and reads what comes back as JSON.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer {
        status,
        headers,
        body,
    }
}

impl Answer {
    /// Fails unless this is a problem with this status and code, in the form of RFC 9457.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.body["code"], code, "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert!(
            self.body["title"].is_string() && self.body["detail"].is_string(),
            "{self:?}"
        );
    }

    /// Fails unless this is a 200 whose body has these members.
    #[track_caller]
    pub fn assert_ok(&self, expected: &Value) {
        self.assert_has(200, expected);
    }

    /// Fails unless this has the status and its body has these members.
    #[track_caller]
    pub fn assert_has(&self, status: u16, expected: &Value) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(self.body[name], *value, "{name} of {self:?}");
        }
    }
}

/// The settings of the tests; nothing of the environment.
pub fn config(database: &str, options: &Options) -> Config {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/settings.toml");
    let mut config = Config::load(Some(&file), |_| None).unwrap();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.database = cluster::settings(database);
    config.clerk_webhook_secrets = vec![CLERK_SECRET.into()];
    config.razorpay_webhook_secrets = vec![RAZORPAY_SECRET.into()];
    config.razorpay_api.key_secret = Some(RAZORPAY_KEY_SECRET.into());
    if let Some(origin) = &options.razorpay_api {
        config.razorpay_api.key_id = Some("rzp_test_tests".to_owned());
        config.razorpay_api.origin.clone_from(origin);
    }
    config.stripe_webhook_secrets = vec![STRIPE_SECRET.into()];
    if let Some(origin) = &options.stripe_api {
        config.stripe_api.secret_key = Some(STRIPE_SECRET_KEY.into());
        config.stripe_api.origin.clone_from(origin);
    }
    config.sessions = SessionSettings {
        clerk: Some(ClerkSettings {
            keys: KeySource::Pem(MINT.public_pem().to_owned()),
            issuer: Some(ISSUER.to_owned()),
            authorized_parties: vec![],
        }),
        supabase: None,
    };
    config.api_keys = ApiKeySettings {
        admin: Some(ADMIN_KEY.into()),
        service: Some(SERVICE_KEY.into()),
        audit: Some(AUDIT_KEY.into()),
    };
    config.verify_wait = options.verify_wait;
    config.match_after = Duration::ZERO;
    config.stop_delay = Duration::ZERO;
    config.workers = 1;
    // Tests move clocks as they like.
    config.store.clocks_differ_max = None;
    (options.configure)(&mut config);
    config
}
