//! A stand-in for Stripe's API.

use credit_ledger::provider::sample::stripe::{StripeSale, session};
use serde_json::Value;
use wiremock::matchers::{bearer_token, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::app::{Options, STRIPE_SECRET_KEY};

pub struct StripeApi(pub MockServer);

impl StripeApi {
    pub async fn start() -> Self {
        Self(MockServer::start().await)
    }

    /// Settings of an application that asks here.
    pub fn options(&self) -> Options {
        Options {
            stripe_api: Some(self.0.uri()),
            ..Options::default()
        }
    }

    /// What is answered to whoever has the key and asks for this session. Of another nothing is known.
    pub async fn answer(&self, session_id: &str, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(format!("/v1/checkout/sessions/{session_id}")))
            .and(query_param("expand[]", "line_items"))
            .and(bearer_token(STRIPE_SECRET_KEY))
            .respond_with(answer)
            .mount(&self.0)
            .await;
    }

    /// The session is there, as this.
    pub async fn has(&self, session: &Value) {
        let id = session["id"].as_str().unwrap();
        let answer = ResponseTemplate::new(200).set_body_json(session);
        self.answer(id, answer).await;
    }

    /// The sale's session is there, paid.
    pub async fn has_paid(&self, sale: &StripeSale) {
        self.has(&session(sale, "paid")).await;
    }
}
