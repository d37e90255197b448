//! What bounds every request: how long it may take, how often one client address may ask, and how many are in progress.
//!
//! Owns the question which address a client has. Providers and whoever looks after the instances are never counted: the
//! signature is the gate of `/webhooks`, and a burst of retries must not be refused.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::body::MessageBody;
use actix_web::dev::{ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::middleware::Next;
use actix_web::web::Data;

use super::HEADERS;
use super::admission::{Admission, Place};
use super::connection::Requests;
use super::page::is_text;
use super::problem::{Code, Problem};
use crate::app::App;

/// The longest any request may take, its body included. Longer than anything it waits for: a sweep of an operator has the
/// longest limit of its own.
const REQUEST_WAIT: Duration = Duration::from_secs(90);

/// Where addresses are not counted.
pub const NOT_COUNTED: [&str; 2] = ["/webhooks/", "/health/"];

/// Each proxy adds the address that it was asked from.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Bounds a request.
///
/// # Errors
/// `rate_limited`; `not_found` for a path that is no text; `unavailable` when it takes too long, or too many are in progress.
pub async fn bounded(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let _under_way = request.conn_data::<Requests>().map(Requests::begin);
    let app = request.app_data::<Data<App>>().cloned();
    let closes = || app.as_ref().is_some_and(|app| app.is_stopping());
    let refused = |problem| answered(problem, closes());
    let place = match &app {
        Some(app) => begin(app, &request).map_err(refused)?,
        None => None,
    };
    if !is_text(request.uri().path()) {
        return Err(refused(Code::NotFound.because("the path is no text")));
    }
    let result = tokio::time::timeout(REQUEST_WAIT, next.call(request)).await;
    drop(place);
    let mut result =
        result.unwrap_or_else(|_| Err(refused(Code::Unavailable.because("it takes too long"))));
    if let Ok(response) = &mut result
        && closes()
    {
        close(response.response_mut().head_mut());
    }
    result
}

/// The next request of this client shall come to another instance.
fn close(head: &mut ResponseHead) {
    head.set_connection_type(ConnectionType::Close);
}

/// A problem with the headers of every answer, which no other layer adds to an error.
fn answered(problem: Problem, closes: bool) -> actix_web::Error {
    let mut response = problem.error_response();
    if closes {
        close(response.head_mut());
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    InternalError::from_response(problem, response).into()
}

/// Counts a request, and gives its place among those in progress.
fn begin(app: &App, request: &ServiceRequest) -> Result<Option<Place>, Problem> {
    app.request_began();
    count(app, request)?;
    match request.app_data::<Data<Admission>>() {
        Some(admission) => admission.admit(app, request).map(Some),
        None => Ok(None),
    }
}

fn count(app: &App, request: &ServiceRequest) -> Result<(), Problem> {
    let path = request.path();
    if !app.limits.counts_addresses() || NOT_COUNTED.iter().any(|one| path.starts_with(one)) {
        return Ok(());
    }
    let proxies = app.limits.trusted_proxies();
    // A connection without an address comes over no network.
    match client(request.peer_addr(), request.headers(), proxies) {
        Some(address) => Ok(app.limits.count_address(address)?),
        None => Ok(()),
    }
}

/// The address of the client: that of the connection, or, behind so many proxies, the one that the farthest of them was
/// asked from. Entries farther to the left are whatever the client made up. Fewer entries than proxies: somebody asked a
/// nearer proxy directly, so the first entry is its word. An entry that is no address says nothing.
fn client(peer: Option<SocketAddr>, headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    let peer = peer.map(|peer| peer.ip());
    let Some(farthest) = proxies.checked_sub(1) else {
        return peer;
    };
    let entries: Vec<&[u8]> = headers
        .get_all(FORWARDED_FOR)
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b','))
        .collect();
    let index = entries.len().saturating_sub(farthest + 1);
    let entry = entries.get(index);
    entry.and_then(|entry| address(entry)).or(peer)
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn client_of(proxies: usize, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for &value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let peer = Some("10.0.0.9:40000".parse().unwrap());
        client(peer, &headers, proxies).unwrap().to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let peer = "10.0.0.9";
        for (proxies, forwarded, address) in [
            // Nobody is trusted.
            (0, &[][..], peer),
            (0, &["192.0.2.1"], peer),
            // One proxy: the last entry is its word, the others are the client's own.
            (1, &[], peer),
            (1, &["192.0.2.1"], "192.0.2.1"),
            (1, &["1.1.1.1, 192.0.2.1"], "192.0.2.1"),
            (1, &["1.1.1.1", "2.2.2.2,192.0.2.1"], "192.0.2.1"),
            // Two: the last entry is the first proxy's address, the one before it the client's.
            (2, &["192.0.2.1, 10.0.0.1"], "192.0.2.1"),
            (2, &["1.1.1.1,192.0.2.1", "10.0.0.1"], "192.0.2.1"),
            // The nearer proxy was asked directly.
            (2, &["192.0.2.1"], "192.0.2.1"),
            // As some proxies write it.
            (1, &["192.0.2.1:4711"], "192.0.2.1"),
            (1, &["[2001:db8::1]:4711"], "2001:db8::1"),
            (1, &["[2001:db8::1]"], "2001:db8::1"),
            (1, &["2001:db8::1"], "2001:db8::1"),
            // What is no address says nothing.
            (1, &["1.1.1.1, unknown"], peer),
            (1, &[""], peer),
            (16, &[","], peer),
        ] {
            assert_eq!(
                client_of(proxies, forwarded),
                address,
                "{proxies} {forwarded:?}"
            );
        }
    }
}
