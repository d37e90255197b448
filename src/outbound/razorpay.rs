//! Razorpay's API (razorpay.com/docs/api): basic auth with the key id and the key secret.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::client::ApiClient;
use super::{OutboundError, SetupError};
use crate::provider::razorpay::{is_order_id, is_payment_id};

/// Where the API is.
pub const DEFAULT_ORIGIN: &str = "https://api.razorpay.com";

/// A client of Razorpay's API. Cheap to clone: clones share their connections.
#[derive(Clone)]
pub struct RazorpayApi {
    client: ApiClient,
    key_id: String,
    key_secret: SecretString,
}

impl fmt::Debug for RazorpayApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RazorpayApi({})", self.client.origin())
    }
}

impl RazorpayApi {
    /// Takes the API's origin, by default [`DEFAULT_ORIGIN`], and its keys.
    ///
    /// # Errors
    /// [`SetupError`] for an origin or keys of no use.
    pub fn new(
        origin: &str,
        key_id: impl Into<String>,
        key_secret: SecretString,
    ) -> Result<Self, SetupError> {
        let key_id = key_id.into();
        if key_id.trim().is_empty() || key_secret.expose_secret().trim().is_empty() {
            return Err(SetupError::EmptyKey);
        }
        Ok(Self {
            client: ApiClient::new(origin)?,
            key_id,
            key_secret,
        })
    }

    /// `GET /v1/payments/{id}`: the payment's JSON as it came, at most 256 KiB, within 2.5 seconds.
    ///
    /// # Errors
    /// [`OutboundError`]; [`OutboundError::NotFound`] without asking for what is no payment id.
    pub async fn fetch_payment(&self, payment_id: &str) -> Result<Vec<u8>, OutboundError> {
        if !is_payment_id(payment_id) {
            return Err(OutboundError::NotFound);
        }
        self.fetch(&format!("/v1/payments/{payment_id}")).await
    }

    /// `GET /v1/orders/{id}`: the order's JSON as it came, within the same limits.
    ///
    /// # Errors
    /// [`OutboundError`]; [`OutboundError::NotFound`] without asking for what is no order id.
    pub async fn fetch_order(&self, order_id: &str) -> Result<Vec<u8>, OutboundError> {
        if !is_order_id(order_id) {
            return Err(OutboundError::NotFound);
        }
        self.fetch(&format!("/v1/orders/{order_id}")).await
    }

    async fn fetch(&self, path: &str) -> Result<Vec<u8>, OutboundError> {
        let secret = self.key_secret.expose_secret();
        self.client
            .get(
                path,
                &[],
                |request| request.basic_auth(&self.key_id, Some(secret)),
                bad_request,
            )
            .await
    }
}

/// Razorpay answers 400, not 404, for an id that it does not know (docs, "Fetch a payment", error codes).
fn bad_request(answer: &[u8]) -> OutboundError {
    let description = serde_json::from_slice::<serde_json::Value>(answer)
        .ok()
        .and_then(|value| Some(value.get("error")?.get("description")?.as_str()?.to_owned()))
        .unwrap_or_default();
    if description.contains("does not exist") || description.contains("is not a valid id") {
        OutboundError::NotFound
    } else {
        OutboundError::Refused(400)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;
    use wiremock::matchers::{basic_auth, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::client::ANSWER_MAX_BYTES;
    use super::*;

    const PATH: &str = "/v1/payments/pay_1";

    fn api(origin: &str) -> RazorpayApi {
        RazorpayApi::new(origin, "rzp_test_1", SecretString::from("sesame")).unwrap()
    }

    async fn fetch_from(answer: ResponseTemplate) -> Result<Vec<u8>, OutboundError> {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(path(PATH))
            .and(basic_auth("rzp_test_1", "sesame"))
            .respond_with(answer)
            .expect(1)
            .mount(&server)
            .await;
        api(&server.uri()).fetch_payment("pay_1").await
    }

    #[tokio::test]
    async fn the_answer_comes_as_it_is() {
        let body = br#"{ "id":"pay_1" }"#.to_vec();
        let answer = ResponseTemplate::new(200).set_body_bytes(body.clone());
        assert_eq!(fetch_from(answer).await, Ok(body));
    }

    #[tokio::test]
    async fn an_order_is_fetched_in_the_same_way() {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(path("/v1/orders/order_1"))
            .and(basic_auth("rzp_test_1", "sesame"))
            .respond_with(ResponseTemplate::new(200).set_body_string("{}"))
            .expect(1)
            .mount(&server)
            .await;
        let api = api(&server.uri());
        assert_eq!(api.fetch_order("order_1").await, Ok(b"{}".to_vec()));
        for id in ["", "order_", "order_1/payments", "pay_1", "order_1?x=1"] {
            let error = api.fetch_order(id).await;
            assert_eq!(error, Err(OutboundError::NotFound), "{id}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_have_256_kib_and_no_more() {
        let fits = ResponseTemplate::new(200).set_body_bytes(vec![b' '; ANSWER_MAX_BYTES]);
        assert_eq!(
            fetch_from(fits).await.map(|b| b.len()),
            Ok(ANSWER_MAX_BYTES)
        );
        let large = ResponseTemplate::new(200).set_body_bytes(vec![b' '; ANSWER_MAX_BYTES + 1]);
        assert_eq!(fetch_from(large).await, Err(OutboundError::TooLarge));
    }

    #[tokio::test]
    async fn statuses_are_told_apart() {
        let error = |description: &str| json!({"error": {"code": "BAD_REQUEST_ERROR", "description": description}});
        let unknown = error("The id provided does not exist");
        for (status, body, expected) in [
            (404, json!({}), OutboundError::NotFound),
            (400, unknown, OutboundError::NotFound),
            (400, error("Something else"), OutboundError::Refused(400)),
            (400, json!([]), OutboundError::Refused(400)),
            (401, json!({}), OutboundError::Refused(401)),
            (
                429,
                json!({}),
                OutboundError::Unavailable("too many requests"),
            ),
            (500, json!({}), OutboundError::Unavailable("server error")),
            (204, json!({}), OutboundError::Refused(204)),
        ] {
            let answer = ResponseTemplate::new(status).set_body_json(body);
            assert_eq!(fetch_from(answer).await, Err(expected), "status {status}");
        }
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let answer = ResponseTemplate::new(302).insert_header("location", PATH);
        assert_eq!(fetch_from(answer).await, Err(OutboundError::Refused(302)));
    }

    #[tokio::test]
    async fn a_slow_answer_is_given_up() {
        let started = Instant::now();
        let answer = ResponseTemplate::new(200).set_delay(Duration::from_secs(20));
        let error = fetch_from(answer).await;
        assert_eq!(error, Err(OutboundError::Unavailable("no answer in time")));
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn nobody_there_is_unavailable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = api(&origin).fetch_payment("pay_1").await;
        assert_eq!(error, Err(OutboundError::Unavailable("can not connect")));
    }

    #[tokio::test]
    async fn what_is_no_payment_id_is_never_asked_for() {
        let server = MockServer::start().await;
        for id in [
            "",
            "pay_",
            "pay_1/../../orders",
            "order_1",
            "pay_1?x=1",
            "pay_é",
        ] {
            let error = api(&server.uri()).fetch_payment(id).await;
            assert_eq!(error, Err(OutboundError::NotFound), "{id}");
        }
        assert!(server.received_requests().await.unwrap().is_empty());
    }

    #[test]
    fn settings_are_checked() {
        let new = |origin: &str, id: &str, secret: &str| {
            RazorpayApi::new(origin, id, SecretString::from(secret)).err()
        };
        assert_eq!(new(DEFAULT_ORIGIN, "a", "b"), None);
        assert_eq!(new(DEFAULT_ORIGIN, "", "b"), Some(SetupError::EmptyKey));
        assert_eq!(new(DEFAULT_ORIGIN, "a", " "), Some(SetupError::EmptyKey));
        for origin in [
            "",
            "api.razorpay.com",
            "ftp://api.razorpay.com",
            "https://api.razorpay.com/v1",
            "https://user:word@api.razorpay.com",
            "https://api.razorpay.com?x=1",
        ] {
            assert_eq!(
                new(origin, "a", "b"),
                Some(SetupError::BadOrigin),
                "{origin}"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", api(DEFAULT_ORIGIN)).contains("sesame"));
    }
}
