//! Bodies that are no JSON, are JSON of another form, or are too much, to every route that reads one.

use reqwest::{Body, Request};
use serde_json::json;

use super::places::{Route, bodies, routes};
use super::target::{Reply, Target, assert_described};
use crate::support::wire;

/// The largest body of a route.
fn most(route: &Route) -> usize {
    if route.path == "/v1/bulk" {
        1024 * 1024
    } else {
        64 * 1024
    }
}

/// A body and what must come of it; no code: whatever is described.
type Case = (&'static str, Vec<u8>, Option<(u16, &'static str)>);

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases(most: usize, good: &str) -> Vec<Case> {
    let malformed = Some((400, "malformed"));
    let deep = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    let inside = good.strip_suffix('}').unwrap();
    let comma = if inside == "{" { "" } else { "," };
    let with = |member: &str| format!("{inside}{comma}{member}}}").into_bytes();
    let wide: Vec<String> = (0..3000).map(|number| format!("\"a{number}\":1")).collect();
    let mut utf_16 = vec![0xff, 0xfe];
    utf_16.extend(good.encode_utf16().flat_map(u16::to_le_bytes));
    let mut cut = good.as_bytes().to_vec();
    cut.pop();
    vec![
        ("blank", b" ".to_vec(), malformed),
        ("a list", b"[]".to_vec(), malformed),
        ("null", b"null".to_vec(), malformed),
        ("a number", b"7".to_vec(), malformed),
        ("a text", b"\"a\"".to_vec(), malformed),
        ("cut off", cut, malformed),
        ("two", format!("{good}{good}").into_bytes(), malformed),
        ("a tail", format!("{good}x").into_bytes(), malformed),
        ("a NUL behind", format!("{good}\0").into_bytes(), malformed),
        ("a NUL before", format!("\0{good}").into_bytes(), malformed),
        (
            "a byte order mark",
            format!("\u{feff}{good}").into_bytes(),
            malformed,
        ),
        ("UTF-16", utf_16, malformed),
        ("no UTF-8", b"{\"a\":\"\xff\"}".to_vec(), malformed),
        (
            "a name that is no UTF-8",
            b"{\"\xc3\":1}".to_vec(),
            malformed,
        ),
        (
            "half a character",
            b"{\"a\":\"\\ud800\"}".to_vec(),
            malformed,
        ),
        ("single quotes", b"{'amount':1}".to_vec(), malformed),
        ("a comment", format!("{good}/**/").into_bytes(), malformed),
        ("a form", b"amount=1&reason=x".to_vec(), malformed),
        (
            "gzip",
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0".to_vec(),
            malformed,
        ),
        ("deep lists", deep("[", "]", most / 2), malformed),
        ("deep objects", deep("{\"a\":", "}", most / 8), malformed),
        ("deep and open", "[".repeat(most).into_bytes(), malformed),
        (
            "a deep member",
            with(&format!(
                "\"a\":{}",
                String::from_utf8(deep("[", "]", 1000)).unwrap()
            )),
            malformed,
        ),
        ("a number of no machine", with("\"a\":1e400"), malformed),
        ("a name twice", with("\"a\":1,\"a\":1"), malformed),
        (
            "a name twice, spelled differently",
            with("\"a\":1,\"\\u0061\":1"),
            malformed,
        ),
        (
            "a name twice, farther in",
            with("\"a\":[{\"b\":1,\"b\":1}]"),
            malformed,
        ),
        (
            "a field too many",
            with("\"a\\u0000\\n\\u001b\":1"),
            Some((400, "invalid_request")),
        ),
        (
            "a prototype",
            with("\"__proto__\":{\"admin\":true}"),
            Some((400, "invalid_request")),
        ),
        (
            "wide",
            with(&wide.join(",")),
            Some((400, "invalid_request")),
        ),
        (
            "a long name",
            with(&format!("{:?}:1", "n".repeat(60_000))),
            Some((400, "invalid_request")),
        ),
        (
            "too large",
            vec![b' '; most + 1],
            Some((413, "payload_too_large")),
        ),
        (
            "much too large",
            vec![b' '; 8 * most],
            Some((413, "payload_too_large")),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_is_guessed() {
    let target = Target::start().await;
    for (route, operation) in routes().iter().filter(|(route, _)| route.has_body) {
        let good = bodies(operation)[0].to_string();
        for (what, body, expected) in cases(most(route), &good) {
            // Once with its length, once in chunks.
            for is_whole in [true, false] {
                let request = target.with_body(route, body.clone()).await.build().unwrap();
                let what = format!(
                    "{} {}: {what}, with a length: {is_whole}",
                    route.method, route.path
                );
                let answer =
                    wire::exchange(target.service.address, &written(&request, is_whole)).await;
                let reply = read(&answer);
                assert_described(route, &reply, &what);
                if let Some((status, code)) = expected {
                    assert_eq!(
                        (reply.status, &reply.body["code"]),
                        (status, &json!(code)),
                        "{what}"
                    );
                }
            }
        }
    }
    target.assert_unharmed().await;
}

/// A request as it is on the wire.
fn written(request: &Request, is_whole: bool) -> Vec<u8> {
    let body = request.body().and_then(Body::as_bytes).unwrap_or_default();
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\nhost: a\r\n",
        request.method(),
        request.url().path()
    )
    .into_bytes();
    for (name, value) in request.headers() {
        bytes.extend(
            [
                name.as_str().as_bytes(),
                &b": "[..],
                value.as_bytes(),
                b"\r\n",
            ]
            .concat(),
        );
    }
    if is_whole {
        bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        bytes.extend(body);
        return bytes;
    }
    bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
    for chunk in body.chunks(4096) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend([chunk, &b"\r\n"[..]].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn read(answer: &str) -> Reply {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| {
            line.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(": "))
        })
    };
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        content_type: header("content-type").unwrap_or_default().to_owned(),
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}
