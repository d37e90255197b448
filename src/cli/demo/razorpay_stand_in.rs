//! A stand-in for Razorpay's API: it knows the payments that the story tells it of.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::web::{Data, Path, get};
use actix_web::{App, HttpResponse, HttpServer};
use serde_json::{Value, json};

type Payments = Mutex<HashMap<String, Value>>;

pub struct RazorpayStandIn {
    address: SocketAddr,
    payments: Arc<Payments>,
}

impl RazorpayStandIn {
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let payments = Arc::new(Payments::default());
        let shared = Data::from(Arc::clone(&payments));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/v1/payments/{id}", get().to(payment))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)?;
        tokio::spawn(server.run());
        Ok(Self { address, payments })
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the API knows this payment.
    pub fn knows(&self, payment: &Value) {
        if let Some(id) = payment["id"].as_str() {
            let mut payments = self.payments.lock().unwrap_or_else(PoisonError::into_inner);
            payments.insert(id.to_owned(), payment.clone());
        }
    }
}

async fn payment(id: Path<String>, payments: Data<Payments>) -> HttpResponse {
    let payments = payments.lock().unwrap_or_else(PoisonError::into_inner);
    match payments.get(&*id) {
        Some(payment) => HttpResponse::Ok().json(payment),
        None => HttpResponse::BadRequest().json(json!({
            "error": { "code": "BAD_REQUEST_ERROR", "description": "The id provided does not exist" }
        })),
    }
}
