//! What all clients share: one place to ask, limits on time and size, and no way out of either.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};

use super::{OutboundError, SetupError};

/// A user waits for the answer, so it must come soon or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// From the first byte sent to the last byte read.
const TOTAL_TIMEOUT: Duration = Duration::from_millis(2_500);
/// A payment has about 2 KiB, a checkout session with its lines about 10.
pub(super) const ANSWER_MAX_BYTES: usize = 256 * 1024;

/// A client of one API. Clones share their connections.
#[derive(Clone)]
pub(super) struct ApiClient {
    client: Client,
    origin: Url,
}

impl ApiClient {
    /// Takes the API's origin.
    ///
    /// # Errors
    /// [`SetupError::BadOrigin`], [`SetupError::Client`].
    pub fn new(origin: &str) -> Result<Self, SetupError> {
        Ok(Self {
            client: http_client(TOTAL_TIMEOUT)?,
            origin: parse_origin(origin)?,
        })
    }

    /// Where it asks.
    pub const fn origin(&self) -> &Url {
        &self.origin
    }

    /// `GET` of a path and a query: the body as it came, at most 256 KiB, within 2.5 seconds. `finish` adds what proves who asks;
    /// `bad_request` says what a 400 with this body means.
    ///
    /// # Errors
    /// [`OutboundError`], for every status but 200, too.
    pub async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        finish: impl FnOnce(RequestBuilder) -> RequestBuilder,
        bad_request: impl FnOnce(&[u8]) -> OutboundError,
    ) -> Result<Vec<u8>, OutboundError> {
        let mut url = self.origin.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let response = finish(self.client.get(url))
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let status = response.status();
        match status {
            StatusCode::OK => read_bounded(response).await,
            StatusCode::NOT_FOUND => Err(OutboundError::NotFound),
            StatusCode::BAD_REQUEST => Err(bad_request(&read_bounded(response).await?)),
            StatusCode::TOO_MANY_REQUESTS => Err(OutboundError::Unavailable("too many requests")),
            _ if status.is_server_error() => Err(OutboundError::Unavailable("server error")),
            _ => Err(OutboundError::Refused(status.as_u16())),
        }
    }
}

/// A client that gives up after `timeout`, from the first byte sent to the last byte read.
pub(super) fn http_client(timeout: Duration) -> Result<Client, SetupError> {
    // The proxy of the environment would see the payments; a redirect would be sent the keys.
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|_| SetupError::Client)
}

/// Scheme, host and port, and nothing else.
fn parse_origin(text: &str) -> Result<Url, SetupError> {
    parse_url(text)
        .filter(|url| url.path() == "/" && url.query().is_none())
        .ok_or(SetupError::BadOrigin)
}

/// A URL of HTTP that names no user and no fragment.
pub(super) fn parse_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, OutboundError> {
    let mut answer = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unavailable(&error))?
    {
        if answer.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(OutboundError::TooLarge);
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// Names what went wrong and nothing of the request.
pub(super) fn unavailable(error: &reqwest::Error) -> OutboundError {
    OutboundError::Unavailable(if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "can not connect"
    } else {
        "the connection broke"
    })
}
