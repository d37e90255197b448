//! A system that serves, until it is told to stop.

use std::net::SocketAddr;

use actix_web::dev::Server;
use credit_ledger::app::{Application, system_clock};
use credit_ledger::config::Config;
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

/// This service, one instance, on its database.
pub async fn service(config: Config) -> anyhow::Result<Running> {
    let application = Application::build(config, system_clock()).await?;
    let address = application.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        Ok(application.run_until(stopped).await?)
    });
    Ok(Running {
        address,
        stop,
        serving,
    })
}

/// Another server, which listens at this address.
pub fn other(address: SocketAddr, server: Server) -> Running {
    let handle = server.handle();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let _ = stopped.await;
        handle.stop(true).await;
    });
    let serving = tokio::spawn(async move { Ok(server.await?) });
    Running {
        address,
        stop,
        serving,
    }
}
