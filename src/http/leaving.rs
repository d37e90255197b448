//! Who came too late: connections that the system had accepted for a server that takes no more.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::http::header::{CONNECTION, RETRY_AFTER};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::problem::{Code, PROBLEM_JSON};

/// The longest that sending them away takes.
pub const TURNING_AWAY: Duration = Duration::from_secs(2);
/// How long one of them may take to send what is not read any more and to read the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How long they are looked for: the server's own listener is closed by then, and the system hands this one everybody.
const LATE: Duration = Duration::from_millis(100);
/// How often meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// Tells each that waits to be accepted to ask again, then closes the listener: whoever comes later is refused.
pub async fn turn_away(listener: TcpListener) {
    // The server has made it one that does not block, but what it was before is nobody's promise.
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let mut told = JoinSet::new();
    let end = Instant::now() + LATE;
    loop {
        let last = Instant::now() > end;
        while let Ok((stream, _)) = listener.accept() {
            told.spawn(tell(stream));
        }
        if last {
            break;
        }
        sleep(LOOK).await;
    }
    drop(listener);
    while told.join_next().await.is_some() {}
}

async fn tell(stream: std::net::TcpStream) {
    let told = async {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream)?;
        stream.write_all(&answer()).await?;
        stream.shutdown().await?;
        // Closing on bytes that were not read would take the answer back.
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Who does not listen has gone already.
    let _ = timeout(LINGER, told).await;
}

fn answer() -> Vec<u8> {
    let body = Code::Unavailable.because("the service is stopping").body();
    let mut answer = Vec::new();
    // Writing to a Vec can not fail.
    let _ = write!(
        answer,
        "HTTP/1.1 503 Service Unavailable\r\n{CONNECTION}: close\r\n{RETRY_AFTER}: 1\r\n\
         content-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    answer
}
