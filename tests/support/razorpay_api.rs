//! A stand-in for Razorpay's API.

use std::time::Duration;

use credit_ledger::provider::sample::{SamplePayment, razorpay_order, razorpay_payment};
use wiremock::matchers::{basic_auth, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::app::{Options, RAZORPAY_KEY_SECRET};

pub struct RazorpayApi(pub MockServer);

impl RazorpayApi {
    pub async fn start() -> Self {
        Self(MockServer::start().await)
    }

    /// Settings of an application that asks here.
    pub fn options(&self, verify_wait: Duration) -> Options {
        Options {
            razorpay_api: Some(self.0.uri()),
            verify_wait,
            ..Options::default()
        }
    }

    /// What is answered to whoever has the keys and asks for this payment.
    pub async fn answer(&self, payment_id: &str, answer: ResponseTemplate) {
        self.answer_at(format!("/v1/payments/{payment_id}"), answer)
            .await;
    }

    /// And for this order. Of an order of which nothing was said nothing is known.
    pub async fn answer_order(&self, order_id: &str, answer: ResponseTemplate) {
        self.answer_at(format!("/v1/orders/{order_id}"), answer)
            .await;
    }

    async fn answer_at(&self, at: String, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(at))
            .and(basic_auth("rzp_test_tests", RAZORPAY_KEY_SECRET))
            .respond_with(answer)
            .mount(&self.0)
            .await;
    }

    /// The payment is there, in this status.
    pub async fn has(&self, payment: &SamplePayment, status: &str) {
        let answer = ResponseTemplate::new(200).set_body_json(razorpay_payment(payment, status));
        self.answer(&payment.payment_id, answer).await;
    }

    /// The payment's order is there, with the notes.
    pub async fn has_order(&self, payment: &SamplePayment) {
        let answer = ResponseTemplate::new(200).set_body_json(razorpay_order(payment));
        let order_id = payment.order_id.as_deref().unwrap();
        self.answer_order(order_id, answer).await;
    }
}
