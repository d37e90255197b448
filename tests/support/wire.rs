//! HTTP written by hand, for what a good client would not send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends these bytes and nothing more, leaves the connection open, and gives the answer once it is whole.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Whoever refuses a request may do so before all of it is there.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read =
        async { while !is_whole(&answer) && stream.read_buf(&mut answer).await.unwrap() > 0 {} };
    let read = timeout(Duration::from_secs(30), read).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(read.is_ok(), "no whole answer: {text:?}");
    text
}

/// Whether there is a head and as much of a body as it says.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse::<usize>().unwrap())
}

/// Sends these bytes, says that there will be no more, and gives all that comes back until the other side closes.
pub async fn break_off(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stayed open");
    String::from_utf8_lossy(&answer).into_owned()
}
