//! Stripe's API (docs.stripe.com/api): a bearer's secret key. Only reads: a restricted key that may read checkout
//! sessions, payment intents and charges is enough.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::client::ApiClient;
use super::{OutboundError, SetupError};
use crate::provider::stripe::is_session_id;

/// Where the API is.
pub const DEFAULT_ORIGIN: &str = "https://api.stripe.com";
/// The layout that is asked for, whatever the account's own is: old ones have no `status` on sessions.
const API_VERSION: &str = "2025-03-31.basil";
/// What comes with a session: its lines name Stripe's prices, the charge has the time of payment and what went back.
const EXPAND: [(&str, &str); 2] = [
    ("expand[]", "line_items"),
    ("expand[]", "payment_intent.latest_charge"),
];

/// A client of Stripe's API. Cheap to clone: clones share their connections.
#[derive(Clone)]
pub struct StripeApi {
    client: ApiClient,
    secret_key: SecretString,
}

impl fmt::Debug for StripeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StripeApi({})", self.client.origin())
    }
}

impl StripeApi {
    /// Takes the API's origin, by default [`DEFAULT_ORIGIN`], and its secret key.
    ///
    /// # Errors
    /// [`SetupError`] for an origin or a key of no use.
    pub fn new(origin: &str, secret_key: SecretString) -> Result<Self, SetupError> {
        let key = secret_key.expose_secret();
        if key.trim().is_empty() {
            return Err(SetupError::EmptyKey);
        }
        if !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SetupError::BadKey);
        }
        Ok(Self {
            client: ApiClient::new(origin)?,
            secret_key,
        })
    }

    /// `GET /v1/checkout/sessions/{id}` with its lines and its latest charge: the session's JSON as it came, at most
    /// 256 KiB, within 2.5 seconds.
    ///
    /// # Errors
    /// [`OutboundError`]; [`OutboundError::NotFound`] without asking for what is no session id.
    pub async fn fetch_session(&self, session_id: &str) -> Result<Vec<u8>, OutboundError> {
        if !is_session_id(session_id) {
            return Err(OutboundError::NotFound);
        }
        self.client
            .get(
                &format!("/v1/checkout/sessions/{session_id}"),
                &EXPAND,
                |request| {
                    request
                        .bearer_auth(self.secret_key.expose_secret())
                        .header("stripe-version", API_VERSION)
                },
                |_| OutboundError::Refused(400),
            )
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use wiremock::matchers::{bearer_token, header, method, path};
    use wiremock::{Match, Mock, MockServer, Request, ResponseTemplate};

    use super::super::client::ANSWER_MAX_BYTES;
    use super::*;

    /// The query as it is sent, brackets and all.
    struct Expands;

    impl Match for Expands {
        fn matches(&self, request: &Request) -> bool {
            let pairs: Vec<_> = request.url.query_pairs().collect();
            pairs
                .iter()
                .map(|(n, v)| (n.as_ref(), v.as_ref()))
                .eq(EXPAND)
        }
    }

    fn api(origin: &str) -> StripeApi {
        StripeApi::new(origin, SecretString::from("sk_test_sesame")).unwrap()
    }

    async fn fetch_from(answer: ResponseTemplate) -> Result<Vec<u8>, OutboundError> {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(path("/v1/checkout/sessions/cs_test_1"))
            .and(Expands)
            .and(bearer_token("sk_test_sesame"))
            .and(header("stripe-version", API_VERSION))
            .respond_with(answer)
            .expect(1)
            .mount(&server)
            .await;
        api(&server.uri()).fetch_session("cs_test_1").await
    }

    #[tokio::test]
    async fn the_answer_comes_as_it_is() {
        let body = br#"{ "id":"cs_test_1" }"#.to_vec();
        let answer = ResponseTemplate::new(200).set_body_bytes(body.clone());
        assert_eq!(fetch_from(answer).await, Ok(body));
    }

    #[tokio::test]
    async fn statuses_are_told_apart() {
        for (status, expected) in [
            (400, OutboundError::Refused(400)),
            (401, OutboundError::Refused(401)),
            (404, OutboundError::NotFound),
            (429, OutboundError::Unavailable("too many requests")),
            (503, OutboundError::Unavailable("server error")),
        ] {
            let answer = ResponseTemplate::new(status).set_body_string("{}");
            assert_eq!(fetch_from(answer).await, Err(expected), "status {status}");
        }
    }

    #[tokio::test]
    async fn no_redirect_is_followed_and_no_size_or_delay_endured() {
        let answer = ResponseTemplate::new(302).insert_header("location", "/v1/balance");
        assert_eq!(fetch_from(answer).await, Err(OutboundError::Refused(302)));
        let answer = ResponseTemplate::new(200).set_body_bytes(vec![b' '; ANSWER_MAX_BYTES + 1]);
        assert_eq!(fetch_from(answer).await, Err(OutboundError::TooLarge));
        let started = Instant::now();
        let answer = ResponseTemplate::new(200).set_delay(Duration::from_secs(20));
        let error = fetch_from(answer).await;
        assert_eq!(error, Err(OutboundError::Unavailable("no answer in time")));
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn what_is_no_session_id_is_never_asked_for() {
        let server = MockServer::start().await;
        let long = format!("cs_{}", "a".repeat(256));
        for id in [
            "",
            "cs_",
            "cs_1/../../balance",
            "pi_1",
            "cs_1?x=1",
            "cs_é",
            "cs_1 ",
            &long,
        ] {
            let error = api(&server.uri()).fetch_session(id).await;
            assert_eq!(error, Err(OutboundError::NotFound), "{id}");
        }
        assert!(server.received_requests().await.unwrap().is_empty());
    }

    #[test]
    fn settings_are_checked_and_not_shown() {
        let new = |origin: &str, key: &str| StripeApi::new(origin, SecretString::from(key)).err();
        assert_eq!(new(DEFAULT_ORIGIN, "sk_live_1"), None);
        assert_eq!(new(DEFAULT_ORIGIN, " "), Some(SetupError::EmptyKey));
        assert_eq!(new(DEFAULT_ORIGIN, "sk_live_\n1"), Some(SetupError::BadKey));
        assert_eq!(
            new("https://api.stripe.com/v1", "sk_live_1"),
            Some(SetupError::BadOrigin)
        );
        assert!(!format!("{:?}", api(DEFAULT_ORIGIN)).contains("sesame"));
    }
}
