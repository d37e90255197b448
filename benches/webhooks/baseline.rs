//! What the systems that are compared with do exactly as the service does: HTTP, the signature, and reading the payment.
//! They differ in how they record it.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpServer, error::InternalError};
use chrono::{DateTime, Utc};
use credit_ledger::app::{random_bytes, system_now};
use credit_ledger::config::Config;
use credit_ledger::ledger::command::CapturePayment;
use credit_ledger::ledger::{Command, Salt};
use credit_ledger::provider::razorpay::Razorpay;
use credit_ledger::provider::{Delivery, Headers, Provider as _, Rules, Translated};
use tokio::runtime::Handle;

use super::running::{self, Running};

/// A verified payment.
pub struct Payment {
    pub source: &'static str,
    pub key: String,
    pub provider_event_id: String,
    pub body: Vec<u8>,
    pub received_at: DateTime<Utc>,
    pub purchase_id: String,
    pub user_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub order_id: Option<String>,
    pub credits: i64,
    pub paid_at_s: i64,
    /// The same as the service's own command.
    pub capture: Box<CapturePayment>,
}

/// What became of a payment.
pub enum Recorded {
    New,
    Duplicate,
}

/// How a system records a payment. `Ok` means: durable.
pub trait Record: Send + Sync + 'static {
    fn record(&self, payment: Payment) -> impl Future<Output = anyhow::Result<Recorded>> + Send;
}

struct Shared<R> {
    record: Arc<R>,
    razorpay: Razorpay,
    rules: Rules,
    runtime: Handle,
}

/// Serves with as many workers as the service has.
pub fn start<R: Record>(config: Config, record: R) -> anyhow::Result<Running> {
    let shared = Data::new(Shared {
        record: Arc::new(record),
        razorpay: Razorpay::new(&config.razorpay_webhook_secrets)?,
        rules: config.rules,
        runtime: Handle::current(),
    });
    let listener = TcpListener::bind(config.listen)?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(Data::clone(&shared))
            .route("/webhooks/razorpay", web::post().to(receive::<R>))
    })
    .workers(config.workers)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(running::other(address, server))
}

async fn receive<R: Record>(
    shared: Data<Shared<R>>,
    request: HttpRequest,
    body: Bytes,
) -> actix_web::Result<HttpResponse> {
    let payment = read(&shared, &request, &body).map_err(bad_request)?;
    let event_id = payment.provider_event_id.clone();
    let record = Arc::clone(&shared.record);
    // A task of its own: sqlx loses a connection's state when a request that is given up is dropped inside it.
    let recorded = shared
        .runtime
        .spawn(async move { record.record(payment).await })
        .await
        .map_err(|error| unavailable(&error))?
        .map_err(|error| unavailable(&error))?;
    let status = match recorded {
        Recorded::New => "recorded",
        Recorded::Duplicate => "duplicate",
    };
    Ok(HttpResponse::Ok().json(serde_json::json!({ "status": status, "event_id": event_id })))
}

fn bad_request(error: anyhow::Error) -> actix_web::Error {
    InternalError::new(error, StatusCode::BAD_REQUEST).into()
}

fn unavailable(error: &dyn std::fmt::Display) -> actix_web::Error {
    InternalError::new(error.to_string(), StatusCode::SERVICE_UNAVAILABLE).into()
}

fn read<R>(shared: &Shared<R>, request: &HttpRequest, body: &[u8]) -> anyhow::Result<Payment> {
    let headers = request.headers().iter();
    let verified = shared.razorpay.verify(&Delivery {
        headers: Headers::new(headers.map(|(name, value)| (name.as_str(), value.as_bytes()))),
        body,
        received_at: system_now(),
    })?;
    let salt = random_bytes()?;
    let translated = shared
        .razorpay
        .translate(&verified, &shared.rules, Salt(salt));
    let Translated::Apply(Command::CapturePayment(capture)) = translated else {
        anyhow::bail!("not a captured payment");
    };
    let (Some(user_id), Some(price)) = (&capture.user_id, &capture.price) else {
        anyhow::bail!("names no user or fits no price");
    };
    Ok(Payment {
        source: verified.source().as_str(),
        key: verified.key().to_owned(),
        provider_event_id: verified.provider_event_id().to_owned(),
        received_at: verified.received_at(),
        body: verified.into_body(),
        purchase_id: capture.purchase_id.as_str().to_owned(),
        user_id: user_id.as_str().to_owned(),
        amount_minor: capture.money.amount_minor,
        currency: capture.money.currency.as_str().to_owned(),
        order_id: capture.order_id.clone(),
        credits: price.credits.get(),
        paid_at_s: capture.paid_at_s,
        capture,
    })
}
