//! A proxy in front of PostgreSQL that counts round trips, and can keep answers back.
//!
//! It understands just enough of the wire protocol: each `Query` and each `Sync` of a client is answered with one
//! `ReadyForQuery`. Answers go on only when all that was sent is answered and the client has no more to say. So whatever
//! comes after them was waited for: that is a new round trip. A client that waits for a part of its answers only would
//! wait for ever; ours never does.
//!
//! It must share its one thread with the client (`#[tokio::test]` does so), and they talk over a unix socket, where bytes
//! arrive at once: then a client with more to say has said it when the proxy had nothing to do for some turns.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use credit_ledger::postgres::{ConnectOptions, Database, DatabaseSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};

use super::folder::Folder;

/// The name of a socket is made of its port.
const SOCKET: &str = ".s.PGSQL.5432";
/// So many turns of all other tasks a client may use to say more.
const TURNS: u8 = 16;
const CHUNK_BYTES: usize = 64 * 1024;

pub struct Proxy {
    folder: Folder,
    login: String,
    name: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    round_trips: AtomicUsize,
    /// Whether answers may go on.
    open: watch::Sender<bool>,
    /// Answers that wait for that.
    kept_back: watch::Sender<usize>,
}

impl Proxy {
    /// In front of the server of a database.
    pub async fn before(database: &Database) -> Self {
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await
            .unwrap();
        let sql = "select session_user::text, current_setting('unix_socket_directories')";
        let row = client.query_one(sql, &[]).await.unwrap();
        let server = PathBuf::from(row.get::<_, String>(1)).join(SOCKET);
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.0.join(SOCKET)).unwrap();
        let shared = Arc::new(Shared {
            round_trips: AtomicUsize::new(0),
            open: watch::Sender::new(true),
            kept_back: watch::Sender::new(0),
        });
        let of_connections = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(Connection::new(Arc::clone(&of_connections)).run(client, server));
            }
        });
        Self {
            folder,
            login: row.get(0),
            name: database.name().to_owned(),
            shared,
            accepting,
        }
    }

    /// The same database, through the proxy.
    pub async fn database(&self) -> Database {
        let folder = self.folder.0.display();
        let url = format!("postgres://{}@/{}?host={folder}", self.login, self.name);
        let settings = DatabaseSettings {
            url: Some(url.into()),
            ..DatabaseSettings::default()
        };
        Database::open(&settings).await.unwrap()
    }

    /// Round trips of all connections so far, but for the one that opens each.
    pub fn round_trips(&self) -> usize {
        self.shared.round_trips.load(Ordering::Relaxed)
    }

    /// Keeps answers back from now on.
    pub fn keep_back(&self) {
        self.shared.open.send_replace(false);
    }

    /// Waits until somebody's answers are kept back.
    pub async fn has_kept_back(&self) {
        let mut kept_back = self.shared.kept_back.subscribe();
        kept_back.wait_for(|answers| *answers > 0).await.unwrap();
    }

    /// Lets answers go on again.
    pub fn let_go(&self) {
        self.shared.open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Connection {
    shared: Arc<Shared>,
    asked: Messages,
    answered: Messages,
    /// What is asked and not answered. What opens a connection is answered with a `ReadyForQuery`, too.
    outstanding: usize,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Connection {
    const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            asked: Messages::of_client(),
            answered: Messages::of_server(),
            outstanding: 1,
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Until either side closes.
    async fn run(mut self, mut client: UnixStream, mut server: UnixStream) -> std::io::Result<()> {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (mut asked, mut answer) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let mut turns = 0;
        loop {
            let complete = self.outstanding == 0 && !self.to_client.is_empty();
            tokio::select! {
                biased;
                read = from_client.read(&mut asked) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    self.ask(&asked[..read]);
                    turns = 0;
                }
                written = to_server.write(&self.to_server), if !self.to_server.is_empty() => {
                    self.to_server.drain(..written?);
                }
                read = from_server.read(&mut answer) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    self.answer(&answer[..read]);
                }
                () = yield_now(), if complete && turns < TURNS => turns += 1,
                () = self.shared.pass(), if complete && turns == TURNS => {
                    to_client.write_all(&self.to_client).await?;
                    self.to_client.clear();
                    turns = 0;
                }
            }
        }
    }

    fn ask(&mut self, bytes: &[u8]) {
        for kind in self.asked.read(bytes) {
            if matches!(kind, b'Q' | b'S') {
                if self.outstanding == 0 {
                    self.shared.round_trips.fetch_add(1, Ordering::Relaxed);
                }
                self.outstanding += 1;
            }
        }
        self.to_server.extend_from_slice(bytes);
    }

    fn answer(&mut self, bytes: &[u8]) {
        for kind in self.answered.read(bytes) {
            if kind == b'Z' {
                self.outstanding = self.outstanding.checked_sub(1).unwrap();
            }
        }
        self.to_client.extend_from_slice(bytes);
    }
}

impl Shared {
    /// Waits until answers may go on.
    async fn pass(&self) {
        let mut open = self.open.subscribe();
        if !*open.borrow() {
            self.kept_back.send_modify(|answers| *answers += 1);
            open.wait_for(|open| *open).await.unwrap();
            self.kept_back.send_modify(|answers| *answers -= 1);
        }
    }
}

/// Tells where messages end, however the bytes come in.
struct Messages {
    /// The very first message of a client has no kind.
    begun: bool,
    head: Vec<u8>,
    /// Bytes that are still to come of the message whose head was read.
    left: usize,
}

impl Messages {
    const fn of_client() -> Self {
        Self::new(false)
    }

    const fn of_server() -> Self {
        Self::new(true)
    }

    const fn new(begun: bool) -> Self {
        Self {
            begun,
            head: Vec::new(),
            left: 0,
        }
    }

    /// The kinds of the messages that are complete with these bytes.
    fn read(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut complete = Vec::new();
        while let Some((first, rest)) = bytes.split_first() {
            let kind_bytes = usize::from(self.begun);
            if self.head.len() < kind_bytes + 4 {
                self.head.push(*first);
                bytes = rest;
                if let Some(length) = self.head[kind_bytes.min(self.head.len())..].first_chunk() {
                    // It counts itself.
                    self.left = usize::try_from(u32::from_be_bytes(*length)).unwrap() - 4;
                }
            } else {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
            }
            if self.head.len() == kind_bytes + 4 && self.left == 0 {
                complete.push(if self.begun { self.head[0] } else { 0 });
                self.begun = true;
                self.head.clear();
            }
        }
        complete
    }
}

#[test]
fn messages_are_told_apart_however_they_come_in() {
    let mut sent = vec![0, 0, 0, 9, 0, 3, 0, 0, 0];
    sent.extend(b"Q\0\0\0\x06S\0");
    sent.extend(b"S\0\0\0\x04");
    sent.extend(b"P\0\0\0\x05Q");
    for size in 1..=sent.len() {
        let mut messages = Messages::of_client();
        let chunks = sent.chunks(size);
        let read: Vec<u8> = chunks.flat_map(|chunk| messages.read(chunk)).collect();
        assert_eq!(read, b"\0QSP", "in chunks of {size}");
    }
    assert_eq!(
        Messages::of_server().read(b"C\0\0\0\x05ZZ\0\0\0\x05I"),
        b"CZ"
    );
}
