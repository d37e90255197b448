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
        self.0.until.set(None);
        UnderWay(Rc::clone(&self.0))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.has_begun.set(false);
        self.0.wait_for_next();
    }
}

impl State {
    /// The time of the next request begins.
    fn wait_for_next(&self) -> Instant {
        let wait = if self.has_begun.get() {
            HEAD_ARRIVAL
        } else {
            // The library closes what is silent sooner.
            KEEP_ALIVE + HEAD_ARRIVAL
        };
        let until = Instant::now() + wait;
        self.until.set(Some(until));
        until
    }
}

/// A connection that ends with an error when it takes too long.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: S,
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
    /// Whose it is.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }
}

impl<S> Connection<S> {
    /// Watches over a stream.
    pub fn new(stream: S) -> Self {
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
        // An answer is on its way, which has a bound of its own. The library reads meanwhile, too.
        if self.take_until.is_some() {
            return false;
        }
        if some_came {
            return until <= Instant::now();
        }
        self.next.is_over(until, cx)
    }

    /// The answer to the last request goes on after the request has ended: only its end begins the time of the next one.
    fn went_on(&mut self, cx: &mut Context<'_>) {
        let state = &self.requests.0;
        if state.until.get().is_some() {
            let until = state.wait_for_next();
            // Wakes its task: it may be that nothing is read any more until then.
            let _ = self.next.is_over(until, cx);
        }
    }

    /// What a write came to, or that nothing was taken for too long.
    fn taken(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.take_until = None;
            self.went_on(cx);
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

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    /// How much of an answer the other side has room for.
    const ROOM: usize = 16;

    /// A connection whose next request should have been under way a moment ago, and its other side.
    fn late() -> (Connection<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(ROOM);
        let connection = Connection::new(near);
        drop(connection.requests().begin());
        be_late(&connection);
        (connection, far)
    }

    fn be_late(connection: &Connection<DuplexStream>) {
        let past = Instant::now() - Duration::from_millis(5);
        connection.requests.0.until.set(Some(past));
    }

    async fn read(connection: &mut Connection<DuplexStream>) -> Poll<io::Result<()>> {
        let mut bytes = [0; ROOM];
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut bytes);
            Poll::Ready(Pin::new(&mut *connection).poll_read(cx, &mut buffer))
        })
        .await
    }

    async fn write(connection: &mut Connection<DuplexStream>) -> Poll<io::Result<usize>> {
        let bytes = [b'x'; ROOM];
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *connection).poll_write(cx, &bytes))).await
    }

    #[tokio::test]
    async fn who_is_silent_too_long_is_cut() {
        let (mut connection, _far) = late();
        assert!(matches!(read(&mut connection).await, Poll::Ready(Err(_))));
    }

    /// The library reads on every poll, also while an answer is being taken.
    #[tokio::test]
    async fn an_answer_that_is_taken_is_not_cut_however_slowly() {
        for begun in [false, true] {
            let (mut connection, mut far) = late();
            for _ in 0..3 {
                connection.requests.0.has_begun.set(begun);
                assert!(matches!(
                    write(&mut connection).await,
                    Poll::Ready(Ok(ROOM))
                ));
                assert!(read(&mut connection).await.is_pending(), "it went on");
                assert!(write(&mut connection).await.is_pending());
                be_late(&connection);
                assert!(
                    read(&mut connection).await.is_pending(),
                    "it is being taken"
                );
                far.read_exact(&mut [0; ROOM]).await.unwrap();
            }
            // All of it is taken: the time of the next request has begun.
            assert!(matches!(
                write(&mut connection).await,
                Poll::Ready(Ok(ROOM))
            ));
            let until = connection.requests.0.until.get().unwrap();
            let wait = if begun {
                HEAD_ARRIVAL
            } else {
                KEEP_ALIVE + HEAD_ARRIVAL
            };
            assert!(until <= Instant::now() + wait);
            be_late(&connection);
            assert!(matches!(read(&mut connection).await, Poll::Ready(Err(_))));
        }
    }
}
