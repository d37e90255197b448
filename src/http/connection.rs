//! What bounds a connection while no request is under way on it: the head of the next one, a body that nobody reads, an
//! answer that nobody takes.
//!
//! The HTTP library bounds the head of a connection's first request and the silence between two. Without this whoever had
//! one answer could send the next head, or the rest of a body in chunks, byte by byte for ever.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{HEAD_ARRIVAL, KEEP_ALIVE};

/// How long an answer may wait until the other side takes something of it.
const ANSWER_TAKING: Duration = Duration::from_secs(30);

/// What a connection and the requests on it know of each other.
#[derive(Debug, Clone, Default)]
pub struct Requests(Rc<State>);

#[derive(Debug, Default)]
struct State {
    under_way: Cell<bool>,
    /// When the next request must be under way; none: one is, or it is the first, which the library bounds.
    until: Cell<Option<Instant>>,
    /// Bytes came since the last request.
    has_begun: Cell<bool>,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub struct UnderWay(Rc<State>);

impl Requests {
    /// Notes that a request is under way: its head is there.
    pub fn begin(&self) -> UnderWay {
        self.0.under_way.set(true);
        self.0.until.set(None);
        UnderWay(Rc::clone(&self.0))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(false);
        self.0.has_begun.set(false);
        // The library closes what is silent sooner.
        let until = Instant::now() + KEEP_ALIVE + HEAD_ARRIVAL;
        self.0.until.set(Some(until));
    }
}

/// A connection that ends with an error when it takes too long.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    requests: Requests,
    next: Timer,
    taking: Timer,
    /// Until when something of an answer must be taken.
    take_until: Option<Instant>,
}

/// Wakes its task at a time; made when it is first needed.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn is_over(&mut self, until: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl Connection {
    /// Watches over a stream.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            requests: Requests::default(),
            next: Timer::default(),
            taking: Timer::default(),
            take_until: None,
        }
    }

    /// What the requests on it are told of.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Whose it is.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Takes note of bytes that came, and says whether the next request should be under way by now.
    fn is_late(&mut self, some_came: bool, cx: &mut Context<'_>) -> bool {
        let state = &self.requests.0;
        let Some(mut until) = state.until.get() else {
            return false;
        };
        if some_came && !state.has_begun.replace(true) {
            until = until.min(Instant::now() + HEAD_ARRIVAL);
            state.until.set(Some(until));
        }
        if some_came {
            return until <= Instant::now();
        }
        self.next.is_over(until, cx)
    }

    /// What a write came to, or that nothing was taken for too long.
    fn taken(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.take_until = None;
            return result;
        }
        let until = *self
            .take_until
            .get_or_insert_with(|| Instant::now() + ANSWER_TAKING);
        if self.taking.is_over(until, cx) {
            return Poll::Ready(Err(late("the answer was not taken in time")));
        }
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let some_came = buffer.filled().len() > before;
        if self.is_late(some_came, cx) {
            return Poll::Ready(Err(late("the request did not come in time")));
        }
        result
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.taken(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.taken(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
