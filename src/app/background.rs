//! Work that goes on beside the requests as long as the service does.
//!
//! Owns that it does: should a round of it panic, which is a defect, it begins again after a pause, since nobody would
//! notice that it is gone.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// After a panic, where the work is done seldom.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The running work.
pub(super) struct Background {
    stop: oneshot::Sender<()>,
    task: JoinHandle<bool>,
}

impl Background {
    /// Begins. The work must leave nothing behind, wherever it is cut off, that it could not begin again with, and does not
    /// end by itself. `pause`: after a panic, at most `PAUSE_MAX`.
    pub fn start<W>(pause: Duration, mut work: impl FnMut() -> W + Send + 'static) -> Self
    where
        W: Future<Output = ()> + Send,
    {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut sound = true;
            loop {
                let once = async {
                    let whole = AssertUnwindSafe(async { work().await });
                    if whole.catch_unwind().await.is_err() {
                        tracing::error!("work beside the requests panicked; it begins again");
                        sound = false;
                    }
                    sleep(pause.min(PAUSE_MAX)).await;
                };
                tokio::select! {
                    biased;
                    _ = &mut stopped => return sound,
                    () = once => {}
                }
            }
        });
        Self { stop, task }
    }

    /// Stops it where it is. Whether it was sound: it never panicked.
    pub async fn stop(self) -> bool {
        drop(self.stop);
        self.task.await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_panicked_begins_again_and_is_remembered() {
        for panics in [0, 2] {
            let begun = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&begun);
            let background = Background::start(Duration::from_millis(1), move || {
                let number = count.fetch_add(1, Ordering::Relaxed);
                async move {
                    assert!(number >= panics, "a defect");
                    pending::<()>().await;
                }
            });
            while begun.load(Ordering::Relaxed) <= panics {
                tokio::task::yield_now().await;
            }
            assert_eq!(background.stop().await, panics == 0);
        }
    }
}
