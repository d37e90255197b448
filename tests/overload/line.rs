//! A client that costs little, so that what is measured is the service and not who asks: HTTP by hand over connections that
//! are used again.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;

use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections to a service.
pub struct Line {
    address: SocketAddr,
    free: Mutex<Vec<TcpStream>>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub retry_after: bool,
}

impl Line {
    pub const fn to(address: SocketAddr) -> Self {
        Self {
            address,
            free: Mutex::new(vec![]),
        }
    }

    /// Sends a request over a connection that nobody uses, and gives the whole answer.
    pub async fn ask(&self, request: &[u8]) -> std::io::Result<Answered> {
        let free = self.free.lock().unwrap().pop();
        let mut stream = match free {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await?,
        };
        stream.write_all(request).await?;
        let mut answer = Vec::with_capacity(1024);
        let head = loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            }
        };
        let has = |line: &str| head.split("\r\n").any(|one| one.starts_with(line));
        let length = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("content-length: "));
        let whole = head.len() + 4 + length.map_or(0, |length| length.parse().unwrap());
        while answer.len() < whole {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !has("connection: close") {
            self.free.lock().unwrap().push(stream);
        }
        Ok(Answered {
            status: head[9..12].parse().unwrap(),
            retry_after: has("retry-after: "),
        })
    }
}

/// A delivery as bytes.
pub fn post(source: Source, delivery: &SignedDelivery) -> Vec<u8> {
    let mut request = format!("POST /webhooks/{source} HTTP/1.1\r\nhost: x\r\n");
    for (name, value) in &delivery.headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    let _ = write!(request, "content-length: {}\r\n\r\n", delivery.body.len());
    let mut request = request.into_bytes();
    request.extend_from_slice(&delivery.body);
    request
}

/// A question of the product's backend.
pub fn get(path: &str, key: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n").into_bytes()
}
