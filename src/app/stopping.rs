//! How the program stops: in which order doors are closed, so that nobody who came in is left without an answer.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use futures_util::future::join;
use tokio::time::{Instant, sleep, timeout};

use super::App;
use crate::http;

/// No request began for so long: whatever was accepted has been looked at.
const QUIET: Duration = Duration::from_millis(50);
/// How long that is waited for.
const QUIET_WAIT: Duration = Duration::from_secs(1);

/// What it takes to stop without a request that gets no answer.
pub(super) struct Stopper {
    pub(super) app: Arc<App>,
    pub(super) handle: ServerHandle,
    /// The listener once more, so that it outlives the server's.
    pub(super) door: TcpListener,
    pub(super) delay: Duration,
    /// Since when no more is accepted.
    pub(super) told: Arc<OnceLock<Instant>>,
}

impl Stopper {
    /// Readiness goes first, so that a load balancer looks elsewhere, and each answer closes its connection. A moment
    /// later no more is accepted. The server drops what it has accepted and not begun, so it is told to stop only when
    /// nothing begins any more; then what had begun is finished, and who came too late is sent away.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) {
        let Self {
            app,
            handle,
            door,
            delay,
            told,
        } = self;
        stop.await;
        tracing::info!("stopping: finishing what was accepted");
        app.stopping.store(true, Ordering::Relaxed);
        sleep(delay).await;
        told.get_or_init(Instant::now);
        handle.pause().await;
        app.quiet().await;
        drop(app);
        let stopped = handle.stop(true);
        let ((), ()) = join(stopped, http::turn_away(door)).await;
    }
}

impl App {
    /// Waits, for a while, until no more requests come.
    async fn quiet(&self) {
        let began = || self.requests_begun.load(Ordering::Relaxed);
        let quiet = async {
            let mut before = began();
            loop {
                sleep(QUIET).await;
                if began() == before {
                    return;
                }
                before = began();
            }
        };
        // Who goes on asking is answered until the connection is closed.
        let _ = timeout(QUIET_WAIT, quiet).await;
    }
}
