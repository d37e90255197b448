//! Everybody who acts in a round, each with a name for whoever looks for the one that finds no end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

/// Those who act, and what each does last.
#[derive(Default)]
pub struct Actors {
    tasks: JoinSet<()>,
    open: Arc<Mutex<BTreeSet<String>>>,
}

impl Actors {
    pub fn spawn(&mut self, name: String, work: impl Future<Output = ()> + Send + 'static) {
        let open = Arc::clone(&self.open);
        open.lock().unwrap().insert(name.clone());
        self.tasks.spawn(async move {
            work.await;
            open.lock().unwrap().remove(&name);
        });
    }

    /// Waits for all, so long; fails as the first does.
    pub async fn end_within(&mut self, limit: Duration) {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.unwrap();
            }
        };
        let ended = tokio::time::timeout(limit, all).await;
        let open: Vec<String> = self.open.lock().unwrap().iter().cloned().collect();
        assert!(ended.is_ok(), "they find no end: {open:#?}");
    }
}
