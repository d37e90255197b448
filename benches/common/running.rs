//! A system that serves, until it is told to stop.

use std::net::SocketAddr;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A system that serves.
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    /// Dropping it stops the system.
    pub stop: oneshot::Sender<()>,
    /// Ends when the system has.
    pub serving: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Stops it; every request that was accepted is finished.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.serving.await?
    }
}
