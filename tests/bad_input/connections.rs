//! Bytes that are no HTTP or mean two things, and clients that are slow, silent or many.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::target::Target;
use crate::support::app::ADMIN_KEY;
use crate::support::deliveries::{created, unique, user};
use crate::support::open_files::open_many_files;
use crate::support::{not_run, wire};
use credit_ledger::ledger::Source;

/// How many connections are open at once; fewer where the system does not let a program have as many.
const IDLE: u64 = 10_000;
/// Files of this program and of the service that are no connections of this test.
const OTHER_FILES: u64 = 1000;
/// The most memory with that many connections, in MiB. A connection has two buffers of 8 KiB.
const MEMORY_MAX_MIB: u64 = 512;
/// How many ask and do not read.
const READERS: u64 = 2000;
/// What is held for each of them, in KiB.
const READER_MAX_KIB: u64 = 76;
/// A question that is always answered.
const ASK: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /webhooks/clerk HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}").into_bytes()
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    let mut bytes =
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {ADMIN_KEY}\r\n")
            .into_bytes();
    bytes.extend(format!("{headers}\r\n").into_bytes());
    bytes
}

/// Requests that are refused before any route is asked, since it can not be told where they end or what they say: the
/// answer has no body, and the connection is closed. Nothing behind them is read as a request.
#[expect(clippy::too_many_lines, reason = "a table")]
fn not_to_be_understood() -> Vec<(&'static str, Vec<u8>, u16)> {
    let ask = String::from_utf8_lossy(ASK);
    let many = "x: a\r\n".repeat(5000);
    vec![
        (
            "a length and chunks",
            post(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                &format!("0\r\n\r\n{ask}"),
            ),
            400,
        ),
        (
            "chunks and a length",
            post(
                "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
                &format!("0\r\n\r\n{ask}"),
            ),
            400,
        ),
        (
            "two lengths",
            post("content-length: 2\r\ncontent-length: 3\r\n", "{} "),
            400,
        ),
        (
            "a length twice",
            post("content-length: 2\r\ncontent-length: 2\r\n", "{}"),
            400,
        ),
        (
            "a list of lengths",
            post("content-length: 2, 2\r\n", "{}"),
            400,
        ),
        (
            "a length with a sign",
            post("content-length: +2\r\n", "{}"),
            400,
        ),
        (
            "less than nothing",
            post("content-length: -2\r\n", "{}"),
            400,
        ),
        (
            "a length of no machine",
            post("content-length: 99999999999999999999\r\n", "{}"),
            400,
        ),
        (
            "a length in hex",
            post("content-length: 0x2\r\n", "{}"),
            400,
        ),
        (
            "an unknown coding",
            post("transfer-encoding: xchunked\r\n", &ask),
            400,
        ),
        (
            "no coding",
            post("transfer-encoding: identity\r\n", &ask),
            400,
        ),
        (
            "two codings",
            post(
                "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            "a blank before the colon",
            post("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        ("a folded header", get("/", "x: a\r\n b\r\n"), 400),
        ("a NUL in a header", get("/", "x: a\0b\r\n"), 400),
        ("a CR in a header", get("/", "x: a\rb\r\n"), 400),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("two hosts", get("/", "host: b\r\n"), 400),
        ("no version", b"GET /health/live\r\n\r\n".to_vec(), 400),
        (
            "another version",
            b"GET / HTTP/3.0\r\nhost: a\r\n\r\n".to_vec(),
            400,
        ),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400),
        (
            "TLS",
            [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[0; 200]].concat(),
            400,
        ),
        ("no letters", b"\0\xff\xfe\r\n\r\n".repeat(100), 400),
        (
            "a path that is no text",
            b"GET /v1/users/\xff HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            400,
        ),
        (
            "a long path",
            get(&format!("/{}", "a".repeat(70_000)), ""),
            400,
        ),
        ("thousands of headers", get("/", &many), 431),
        (
            "a long header",
            get("/", &format!("x: {}\r\n", "a".repeat(140_000))),
            431,
        ),
        (
            "a header without end",
            format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(3_000_000)).into_bytes(),
            431,
        ),
    ]
}

/// Requests that a route refuses, or that no route has.
fn refused() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    vec![
        (
            "a path of other bytes",
            get("/v1/users/%ff", ""),
            404,
            "not_found",
        ),
        (
            "a path that breaks off",
            get("/v1/users/user_1%", ""),
            404,
            "not_found",
        ),
        (
            "half a character in a path",
            get("/v1/users/%ed%a0%80", ""),
            404,
            "not_found",
        ),
        (
            "a query of other bytes",
            get("/v1/users?email=%ff", ""),
            400,
            "invalid_request",
        ),
        (
            "a query that breaks off",
            get("/v1/users?email=%a", ""),
            400,
            "invalid_request",
        ),
        (
            "a long query",
            get(&format!("/v1/users?email={}", "a".repeat(60_000)), ""),
            400,
            "invalid_request",
        ),
        (
            "a parameter twice",
            get("/v1/users?limit=1&limit=2", ""),
            400,
            "invalid_request",
        ),
        (
            "dots",
            get("/v1/users/../admin/overview", ""),
            404,
            "not_found",
        ),
        (
            "dots in percent",
            get("/v1/users/%2e%2e/balance", ""),
            404,
            "user_not_found",
        ),
        (
            "another method",
            b"A".repeat(10_000)
                .into_iter()
                .chain(ASK[3..].to_vec())
                .collect(),
            405,
            "method_not_allowed",
        ),
        (
            "CONNECT",
            b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            404,
            "not_found",
        ),
        (
            "chunks that are none",
            post("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
            400,
            "malformed",
        ),
        (
            "a chunk of no machine",
            post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\n{}"),
            400,
            "malformed",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_ends_its_connection_and_nothing_else() {
    let target = Target::start().await;
    let address = target.service.address;
    for (what, bytes, status) in not_to_be_understood() {
        let answer = wire::exchange(address, &bytes).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{what}: {answer}"
        );
        assert!(answer.contains("content-length: 0\r\n"), "{what}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
        // The same behind a good request: that one is answered.
        let mut behind = ASK.to_vec();
        behind.extend(&bytes);
        let answers = until_closed(address, &behind).await;
        assert!(answers.starts_with("HTTP/1.1 200 "), "{what}: {answers}");
        // Who sends megabytes may be cut off while it sends.
        assert!(
            answers.matches("HTTP/1.1").count() <= 2,
            "{what}: {answers}"
        );
    }
    for (what, bytes, status, code) in refused() {
        let answer = wire::exchange(address, &bytes).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{what}: {answer}"
        );
        assert!(
            answer.contains("content-type: application/problem+json"),
            "{what}: {answer}"
        );
        assert!(
            answer.contains(&format!("\"code\":\"{code}\"")),
            "{what}: {answer}"
        );
    }
    let many = ASK.repeat(5000);
    let last = b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answers = until_closed(address, &[&many[..], last].concat()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 5001);
    target.assert_unharmed().await;
}

/// Sends while it reads, until the other side closes.
async fn until_closed(address: SocketAddr, bytes: &[u8]) -> String {
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let mut answer = vec![];
    let sending = async {
        // The other side may close before it has read all.
        let _ = write.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let reading = timeout(Duration::from_secs(30), read.read_to_end(&mut answer));
    tokio::select! {
        () = sending => {}
        done = reading => assert!(done.is_ok(), "the connection stayed open"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// How long the other side keeps a connection on which a byte comes each half second, and what it answers to the first
/// bytes and to the rest.
async fn dripped(address: SocketAddr, first: &[u8], byte: u8) -> (Duration, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(first).await.unwrap();
    let started = Instant::now();
    let mut answer = vec![];
    while started.elapsed() < Duration::from_mins(1) {
        let _ = stream.write_all(&[byte]).await;
        let read = timeout(Duration::from_millis(500), stream.read_buf(&mut answer)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
    }
    (
        started.elapsed(),
        String::from_utf8_lossy(&answer).into_owned(),
    )
}

/// The README's limits of time, on a connection's first request and on any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_waited_for_longer_than_it_is_said() {
    let target = Target::start().await;
    let address = target.service.address;
    let head = [ASK, b"GET /health/live HTTP/1.1\r\nx: "].concat();
    let unread = "transfer-encoding: chunked\r\n\r\nffff\r\n";
    let cases = [
        (
            "nothing but a line",
            b"GET ".to_vec(),
            b'/',
            5,
            "HTTP/1.1 408 ",
        ),
        (
            "a head",
            head[ASK.len()..].to_vec(),
            b'a',
            5,
            "HTTP/1.1 408 ",
        ),
        ("a second head", head, b'a', 5, "HTTP/1.1 200 "),
        (
            "a body",
            post("content-length: 100000\r\n", ""),
            b' ',
            10,
            "HTTP/1.1 408 ",
        ),
        // Answered after 10 seconds, and cut off after 5 more.
        (
            "a body in chunks",
            post("transfer-encoding: chunked\r\n", "ffff\r\n"),
            b' ',
            15,
            "HTTP/1.1 408 ",
        ),
        (
            "a body that no route reads",
            format!("POST / HTTP/1.1\r\nhost: a\r\n{unread}").into_bytes(),
            b' ',
            5,
            "HTTP/1.1 404 ",
        ),
        (
            "a body of whoever may not ask",
            format!("POST /v1/bulk HTTP/1.1\r\nhost: a\r\n{unread}").into_bytes(),
            b' ',
            5,
            "HTTP/1.1 401 ",
        ),
    ];
    let drips = cases.map(async |(what, first, byte, seconds, status)| {
        let (took, answer) = dripped(address, &first, byte).await;
        println!("{what}: {took:.1?}");
        assert!(answer.starts_with(status), "{what}: {answer}");
        // The rest is what it takes to notice that a connection was closed.
        assert!(took < Duration::from_secs(seconds + 4), "{what}: {took:?}");
    });
    tokio::join!(join_all(drips), assert_a_reader_must_read(address));
    target.assert_unharmed().await;
}

/// Whoever takes nothing of the answers is left after 30 seconds.
async fn assert_a_reader_must_read(address: SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let asked = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
    let started = Instant::now();
    // More than the buffers of both systems hold. It ends when the other side is gone.
    let sent = timeout(Duration::from_mins(1), async {
        loop {
            if stream.write_all(&asked).await.is_err() {
                return;
            }
        }
    });
    assert!(sent.await.is_ok(), "it waits for ever");
    println!("a reader that does not read: {:.1?}", started.elapsed());
}

/// So many connections, or as many as the system allows, which is said.
fn connections_of(wanted: u64) -> u64 {
    let allowed = open_many_files().saturating_sub(OTHER_FILES);
    if allowed < wanted {
        not_run(&format!(
            "more than {allowed} connections: the system allows no more files"
        ));
    }
    wanted.min(allowed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_silent_connections_keep_nobody_out() {
    let connections = connections_of(IDLE);
    let target = Target::start().await;
    let address = target.service.address;
    let before_mib = target.service.memory_max_mib();
    // Each had an answer and sends no more than the beginning of another head.
    let open = stream::iter(0..connections).map(async |_| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream
    });
    let started = Instant::now();
    let mut open: Vec<TcpStream> = open.buffer_unordered(64).collect().await;
    println!("{} connections in {:.1?}", open.len(), started.elapsed());
    if let Some(files) = target.service.open_files() {
        assert!(files > open.len(), "not all are open: {files}");
    }
    for number in 0..50 {
        let delivery = created(&user(&unique("user_beside")));
        let (status, _) = target
            .service
            .deliver(Source::Clerk, &delivery)
            .await
            .unwrap();
        assert_eq!(status, 200, "{number}");
    }
    println!(
        "{before_mib} MiB before, at most {} MiB with them",
        target.service.memory_max_mib()
    );
    for stream in &mut open {
        // Some may be closed already, if it took long to open them.
        let _ = stream.write_all(b"GET /").await;
    }
    // They are closed by the service: the last byte of each came a moment ago.
    let started = Instant::now();
    let closed = open.iter_mut().map(async |stream| {
        let mut rest = vec![];
        let _ = stream.read_to_end(&mut rest).await;
    });
    let closed = timeout(Duration::from_secs(20), join_all(closed)).await;
    assert!(closed.is_ok(), "they stayed open");
    println!("closed after {:.1?}", started.elapsed());
    drop(open);
    target.assert_unharmed_in(MEMORY_MAX_MIB).await;
}

/// Each asks for the longest text that anybody may have, and takes nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_read_holds_no_more_than_a_piece() {
    let readers = connections_of(READERS);
    let target = Target::start().await;
    let address = target.service.address;
    let before_mib = target.service.memory_max_mib();
    let asked = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(5);
    let open = stream::iter(0..readers).map(async |_| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(&asked).await.unwrap();
        stream.readable().await.unwrap();
        stream
    });
    let open: Vec<TcpStream> = open.buffer_unordered(64).collect().await;
    // Answered after all of them had been begun.
    let delivery = created(&user(&unique("user_beside")));
    let (status, _) = target
        .service
        .deliver(Source::Clerk, &delivery)
        .await
        .unwrap();
    assert_eq!(status, 200);
    let held_kib = (target.service.memory_max_mib() - before_mib) * 1024 / readers;
    println!("{held_kib} KiB for each");
    assert!(held_kib <= READER_MAX_KIB, "{held_kib} KiB for each");
    drop(open);
    target.assert_unharmed().await;
}
