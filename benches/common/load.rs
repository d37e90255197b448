//! The load: some connections, each sending its next request when the last one is answered.
//!
//! HTTP/1.1 by hand, kept alive, on one thread of its own, so that it costs little beside what is measured. Any answer
//! but `200` with the expected text ends the run.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

/// The slowest answer that is told apart from slower ones.
const LATENCY_MAX_US: u64 = 60_000_000;
/// How long after the end the last answers may come.
const LAST_ANSWERS: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What the answer to a request must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// It has this in it.
    pub text: &'static str,
    /// Whether it says that something new is stored.
    pub stored: bool,
}

/// What is sent, one request after the other.
pub trait Requests: 'static {
    /// Puts the next request, head and body, into an empty buffer.
    ///
    /// # Errors
    /// Never: writing to memory does not fail.
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected>;
}

/// How to send it.
#[derive(Clone)]
pub struct Load {
    /// Where to; the connections are spread over them.
    pub addresses: Vec<SocketAddr>,
    /// How many connections at once.
    pub connections: usize,
    /// How long before anything counts.
    pub warm_up: Duration,
    /// How long it counts.
    pub measured: Duration,
}

/// What came of it.
pub struct Measured {
    /// Answers in the measured time, a second.
    pub rate: f64,
    /// Time from a request's first byte to its answer's last.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// Answers in all, warm-up and last ones included.
    pub acknowledged: u64,
    /// Those among them that say that something new is stored.
    pub stored: u64,
    /// Processor time that the load itself took.
    pub generator: Duration,
}

struct Shared<R> {
    begin: Instant,
    end: Instant,
    requests: RefCell<R>,
    latencies_us: RefCell<Histogram<u64>>,
    acknowledged: Cell<u64>,
    stored: Cell<u64>,
    in_time: Cell<u64>,
}

/// Runs the load on the calling thread.
///
/// # Errors
/// On the first answer that is not what it must be.
pub fn run<R: Requests>(load: &Load, requests: R) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let begin = Instant::now() + load.warm_up;
    let shared = Rc::new(Shared {
        begin,
        end: begin + load.measured,
        requests: RefCell::new(requests),
        latencies_us: RefCell::new(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?),
        acknowledged: Cell::new(0),
        stored: Cell::new(0),
        in_time: Cell::new(0),
    });
    let cpu_before = cpu_time();
    let to = load
        .addresses
        .iter()
        .copied()
        .cycle()
        .take(load.connections);
    let all = run_connections(Rc::clone(&shared), to.collect());
    let limit = load.warm_up + load.measured + LAST_ANSWERS;
    runtime
        .block_on(LocalSet::new().run_until(async { tokio::time::timeout(limit, all).await }))
        .context("an answer did not come")??;
    let cpu = cpu_time().saturating_sub(cpu_before);
    let latencies = shared.latencies_us.borrow();
    let ms =
        |quantile| Duration::from_micros(latencies.value_at_quantile(quantile)).as_secs_f64() * 1e3;
    Ok(Measured {
        rate: to_f64(shared.in_time.get()) / load.measured.as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        acknowledged: shared.acknowledged.get(),
        stored: shared.stored.get(),
        generator: cpu,
    })
}

async fn run_connections<R: Requests>(
    shared: Rc<Shared<R>>,
    to: Vec<SocketAddr>,
) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    for address in to {
        connections.spawn_local(connection(Rc::clone(&shared), address));
    }
    while let Some(ended) = connections.join_next().await {
        ended??;
    }
    Ok(())
}

async fn connection<R: Requests>(shared: Rc<Shared<R>>, address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    loop {
        if Instant::now() >= shared.end {
            return Ok(());
        }
        request.clear();
        let expected = shared.requests.borrow_mut().write_next(&mut request)?;
        let sent = Instant::now();
        stream.write_all(&request).await?;
        read_answer(&mut stream, &mut answer, expected.text).await?;
        let answered = Instant::now();
        shared.acknowledged.set(shared.acknowledged.get() + 1);
        let stored = shared.stored.get() + u64::from(expected.stored);
        shared.stored.set(stored);
        if (shared.begin..shared.end).contains(&answered) {
            shared.in_time.set(shared.in_time.get() + 1);
            let us = u64::try_from((answered - sent).as_micros()).unwrap_or(LATENCY_MAX_US);
            shared
                .latencies_us
                .borrow_mut()
                .saturating_record(us.max(1));
        }
    }
}

/// Reads one answer and checks it.
async fn read_answer(
    stream: &mut TcpStream,
    answer: &mut Vec<u8>,
    expected: &str,
) -> anyhow::Result<()> {
    answer.clear();
    loop {
        if let Some(length) = answer_length(answer)?
            && answer.len() >= length
        {
            break;
        }
        ensure!(answer.len() < ANSWER_BYTES_MAX, "an answer is too long");
        ensure!(
            stream.read_buf(answer).await? > 0,
            "the connection was closed"
        );
    }
    let text = String::from_utf8_lossy(answer);
    if !text.starts_with("HTTP/1.1 200 ") || !text.contains(expected) {
        bail!("not as expected: {text}");
    }
    Ok(())
}

/// The length of head and body, once the head is whole.
fn answer_length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head_length = head + 4;
    let length = std::str::from_utf8(&answer[..head])?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("an answer without content-length")?
        .1
        .trim()
        .parse::<usize>()?;
    Ok(Some(head_length + length))
}

/// Processor time of the calling thread. Zero where the system does not tell.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    Duration::from_nanos(first.and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Seconds on the command line.
///
/// # Errors
/// For what is no number of seconds, or a senseless one.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be 0.1 to 3600".to_owned()),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
pub const fn to_f64(count: u64) -> f64 {
    count as f64
}
