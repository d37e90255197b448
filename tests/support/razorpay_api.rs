//! A stand-in for Razorpay's API.

use std::time::Duration;

use credit_ledger::provider::sample::{SamplePayment, razorpay_payment};
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
        Mock::given(method("GET"))
            .and(path(format!("/v1/payments/{payment_id}")))
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
}
