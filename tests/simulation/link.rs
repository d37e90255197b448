//! The line between an instance and its database, which can be broken: slow, cut, half open, or cut at a named point of a
//! transaction.
//!
//! It understands just enough of PostgreSQL's protocol to know which statements run and when a transaction was committed.
//! Must never change a byte of what it passes on.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::load::RECOVERY;
use crate::support::folder::Folder;

/// The name of a socket is made of its port.
pub const SOCKET: &str = ".s.PGSQL.5432";
const CHUNK_BYTES: usize = 64 * 1024;
/// After one that failed.
const PAUSE_BEFORE_ACCEPT: Duration = Duration::from_millis(20);

/// A moment in the life of a transaction.
#[derive(Debug, Clone)]
pub enum Point {
    /// The client runs a statement with this in its text, and the server has not seen it yet.
    Asked(&'static str),
    /// The server has committed a transaction that ran a statement with this in its text, and the client does not know it
    /// yet.
    Committed(&'static str),
}

/// What becomes of the connection at a point, once the hook has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Pass,
    /// Both sides see it closed, and the message is lost.
    Cut,
    /// Neither side sees anything any more.
    Hang,
}

type Hook = Box<dyn FnOnce() + Send>;

struct Trap {
    point: Point,
    then: Then,
    hook: Hook,
    sprung: oneshot::Sender<()>,
}

/// Waits, not for long, until somebody came to a point.
pub async fn comes(told: oneshot::Receiver<()>, point: &str) {
    let came = timeout(RECOVERY, told).await;
    assert!(matches!(came, Ok(Ok(()))), "nobody came to {point}");
}

/// A proxy in front of a server's socket.
pub struct Link {
    folder: Folder,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    server: Mutex<PathBuf>,
    delay_us: AtomicU64,
    refuses: AtomicBool,
    /// Connections end when it changes.
    cut: watch::Sender<u64>,
    /// Connections pass nothing on any more when it changes.
    hang: watch::Sender<u64>,
    /// How many connections there were so far.
    connections: AtomicU64,
    /// Of connections before this one nothing is passed on.
    paused: watch::Sender<u64>,
    traps: Mutex<Vec<Trap>>,
}

impl Link {
    /// To the server whose socket is in this folder.
    pub fn to(server: &Path) -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.0.join(SOCKET)).unwrap();
        let state = Arc::new(State {
            server: Mutex::new(server.join(SOCKET)),
            delay_us: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
            cut: watch::Sender::new(0),
            hang: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            paused: watch::Sender::new(0),
            traps: Mutex::new(Vec::new()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self {
            folder,
            state,
            accepting,
        }
    }

    /// The folder of the socket that clients connect to.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// New connections go to another server. Those that are there stay.
    pub fn lead_to(&self, server: &Path) {
        *self.state.server.lock().unwrap() = server.join(SOCKET);
    }

    /// Every message takes so long.
    pub fn slow_down(&self, by: Duration) {
        let by = u64::try_from(by.as_micros()).unwrap();
        self.state.delay_us.store(by, Ordering::Relaxed);
    }

    /// Ends all connections. How many there were.
    pub fn cut(&self) -> usize {
        let connections = self.state.cut.receiver_count();
        self.state.cut.send_modify(|epoch| *epoch += 1);
        connections
    }

    /// Leaves all connections open, and passes nothing on. Whether there are any.
    pub fn hang(&self) -> bool {
        let connections = self.state.hang.receiver_count();
        self.state.hang.send_modify(|epoch| *epoch += 1);
        connections > 0
    }

    /// Keeps everything back, of new connections, too, until it is let go again.
    pub fn pause(&self) {
        self.state.paused.send_replace(u64::MAX);
    }

    /// The same of the connections that there are.
    pub fn stall(&self) {
        let connections = self.state.connections.load(Ordering::Relaxed);
        self.state.paused.send_replace(connections);
    }

    /// Lets everything go that was kept back.
    pub fn resume(&self) {
        self.state.paused.send_replace(0);
    }

    /// Whether new connections are refused.
    pub fn refuse(&self, refuse: bool) {
        self.state.refuses.store(refuse, Ordering::Relaxed);
    }

    /// The next time that somebody comes to the point, the hook runs and the connection goes on as said. What is given
    /// back is told then.
    pub fn arm(
        &self,
        point: Point,
        then: Then,
        hook: impl FnOnce() + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let (sprung, told) = oneshot::channel();
        let hook = Box::new(hook);
        let trap = Trap {
            point,
            then,
            hook,
            sprung,
        };
        self.state.traps.lock().unwrap().push(trap);
        told
    }

    /// Nothing waits at any point any more.
    pub fn disarm(&self) {
        self.state.traps.lock().unwrap().clear();
    }

    /// As good as new; connections that hang are cut.
    pub fn mend(&self) {
        self.disarm();
        self.slow_down(Duration::ZERO);
        self.refuse(false);
        self.resume();
        let hung = *self.state.hang.borrow();
        if hung > 0 {
            self.cut();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl State {
    /// Springs the first trap that waits for this.
    fn spring(&self, is_it: impl Fn(&Point) -> bool) -> Then {
        let trap = {
            let mut traps = self.traps.lock().unwrap();
            let found = traps.iter().position(|trap| is_it(&trap.point));
            found.map(|index| traps.remove(index))
        };
        let Some(trap) = trap else { return Then::Pass };
        (trap.hook)();
        let _ = trap.sprung.send(());
        trap.then
    }
}

async fn accept(listener: UnixListener, state: Arc<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // There may be too many files open now.
            sleep(PAUSE_BEFORE_ACCEPT).await;
            continue;
        };
        if state.refuses.load(Ordering::Relaxed) {
            continue;
        }
        let server = state.server.lock().unwrap().clone();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // No server: the client sees its connection closed.
            if let Ok(server) = UnixStream::connect(server).await {
                pass(&state, client, server).await;
            }
        });
    }
}

/// Passes everything on, both ways, until either side closes or the line is cut.
async fn pass(state: &Arc<State>, client: UnixStream, server: UnixStream) {
    let mut cut = state.cut.subscribe();
    cut.mark_unchanged();
    let ran = Mutex::new(Ran::default());
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    let asked = Way {
        number,
        state,
        ran: &ran,
        frames: Frames::of_client(),
        look: Ran::asked,
    };
    let answered = Way {
        number,
        state,
        ran: &ran,
        frames: Frames::of_server(),
        look: Ran::answered,
    };
    tokio::select! {
        _ = asked.run(from_client, to_server) => {}
        _ = answered.run(from_server, to_client) => {}
        _ = cut.changed() => {}
    }
}

/// One direction of a connection.
struct Way<'a> {
    number: u64,
    state: &'a State,
    ran: &'a Mutex<Ran>,
    frames: Frames,
    look: fn(&mut Ran, &State, &[u8]) -> Then,
}

impl Way<'_> {
    async fn run(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> std::io::Result<()> {
        let mut hang = self.state.hang.subscribe();
        hang.mark_unchanged();
        let mut paused = self.state.paused.subscribe();
        let mut chunk = vec![0; CHUNK_BYTES];
        // What is under way on a slow line, and when it arrives.
        let mut sent: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        loop {
            let next_at = sent.front().map(|(at, _)| *at);
            let arrived = tokio::select! {
                () = sleep_until(next_at.unwrap_or_else(Instant::now)), if next_at.is_some() => {
                    sent.pop_front().map(|(_, bytes)| bytes).unwrap_or_default()
                }
                read = from.read(&mut chunk) => {
                    let bytes = chunk[..read?].to_vec();
                    let delay_us = self.state.delay_us.load(Ordering::Relaxed);
                    if delay_us > 0 || !sent.is_empty() {
                        let delay = Duration::from_micros(delay_us);
                        sent.push_back((Instant::now() + delay, bytes));
                        continue;
                    }
                    bytes
                }
            };
            if arrived.is_empty() {
                return Ok(());
            }
            // The sender lives as long as the line.
            let _ = paused.wait_for(|first| self.number >= *first).await;
            if hang.has_changed().unwrap_or(true) {
                std::future::pending::<()>().await;
            }
            for frame in self.frames.read(&arrived) {
                let then = (self.look)(&mut self.ran.lock().unwrap(), self.state, &frame);
                match then {
                    Then::Pass => to.write_all(&frame).await?,
                    Then::Cut => return Ok(()),
                    Then::Hang => std::future::pending::<()>().await,
                }
            }
        }
    }
}

/// What a session has run.
#[derive(Default)]
struct Ran {
    prepared: HashMap<Vec<u8>, String>,
    /// The statements of the transaction that is open.
    texts: Vec<String>,
}

impl Ran {
    /// A message of the client: its kind is the first byte, unless it is the one that opens the connection.
    fn asked(&mut self, state: &State, frame: &[u8]) -> Then {
        let text = match frame {
            [b'P', _, _, _, _, rest @ ..] => {
                let (name, rest) = until_nul(rest);
                let (text, _) = until_nul(rest);
                let text = String::from_utf8_lossy(text).into_owned();
                self.prepared.insert(name.to_vec(), text);
                return Then::Pass;
            }
            [b'Q', _, _, _, _, rest @ ..] => {
                String::from_utf8_lossy(until_nul(rest).0).into_owned()
            }
            [b'B', _, _, _, _, rest @ ..] => {
                let (statement, _) = until_nul(until_nul(rest).1);
                self.prepared.get(statement).cloned().unwrap_or_default()
            }
            _ => return Then::Pass,
        };
        if text.starts_with("begin") {
            self.texts.clear();
        }
        let then = state.spring(|point| matches!(point, Point::Asked(part) if text.contains(part)));
        self.texts.push(text);
        then
    }

    fn answered(&mut self, state: &State, frame: &[u8]) -> Then {
        if !matches!(frame, [b'C', _, _, _, _, rest @ ..] if rest.starts_with(b"COMMIT")) {
            return Then::Pass;
        }
        let texts = std::mem::take(&mut self.texts);
        let ran = |part: &str| texts.iter().any(|text| text.contains(part));
        state.spring(|point| matches!(point, Point::Committed(part) if ran(part)))
    }
}

fn until_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

/// Tells where messages end, however the bytes come in.
struct Frames {
    /// The very first message of a client has no kind.
    begun: bool,
    rest: Vec<u8>,
}

impl Frames {
    const fn of_client() -> Self {
        Self {
            begun: false,
            rest: Vec::new(),
        }
    }

    const fn of_server() -> Self {
        Self {
            begun: true,
            rest: Vec::new(),
        }
    }

    /// The messages that are complete with these bytes.
    fn read(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.rest.extend_from_slice(bytes);
        let mut frames = Vec::new();
        loop {
            let kind = usize::from(self.begun);
            let Some(length) = self.rest.get(kind..kind + 4) else {
                return frames;
            };
            // It counts itself, but not the kind.
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let end = kind + usize::try_from(length).unwrap();
            if self.rest.len() < end {
                return frames;
            }
            let after = self.rest.split_off(end);
            frames.push(std::mem::replace(&mut self.rest, after));
            self.begun = true;
        }
    }
}

#[test]
fn messages_are_whole_however_they_come_in() {
    let messages: [&[u8]; 3] = [b"\0\0\0\x09\0\x03\0\0\0", b"Q\0\0\0\x06S\0", b"S\0\0\0\x04"];
    let sent = messages.concat();
    for size in 1..=sent.len() {
        let mut frames = Frames::of_client();
        let read: Vec<Vec<u8>> = sent
            .chunks(size)
            .flat_map(|chunk| frames.read(chunk))
            .collect();
        assert_eq!(read, messages, "in chunks of {size}");
    }
}
