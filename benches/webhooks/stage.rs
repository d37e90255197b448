//! What all parts are measured on and with: the server, the pass, a service on a database of its own, a load.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use credit_ledger::postgres::Database;

use super::arguments::{Arguments, Pass};
use super::cell::Cell;
use super::delivery::Deliveries;
use super::load::{self, Load, Requests};
use super::rates::Rates;
use super::server::{self, Server};
use super::{ours, processor, running};

/// Of what is measured beside payments.
const CONNECTIONS: usize = 64;

/// Where and how something is measured.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    pub server: &'a Server,
    pub arguments: &'a Arguments,
    pub pass: Pass,
}

/// Who is measured.
#[derive(Clone)]
pub struct Target {
    /// The connections are spread over them.
    pub addresses: Vec<SocketAddr>,
    /// Processes that serve, beside this one.
    pub processes: Vec<u32>,
}

impl Target {
    /// What serves in this process.
    pub fn here(address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
            processes: vec![],
        }
    }

    /// The first address.
    pub fn address(&self) -> SocketAddr {
        self.addresses
            .first()
            .copied()
            .unwrap_or_else(|| ([127, 0, 0, 1], 0).into())
    }
}

impl Stage<'_> {
    /// A database's name that no other part, pass or round has.
    pub fn database_name(&self, of: &str, round: u8) -> String {
        format!("{of}_{}_{round}", self.pass.slug())
    }

    /// What is measured, in this round's order: nobody is always first, nobody always after the same one.
    pub fn in_turn<T: Clone>(round: u8, all: &[T]) -> Vec<T> {
        let mut order = all.to_vec();
        let turns = usize::from(round) % order.len().max(1);
        order.rotate_left(turns);
        order
    }

    /// Sends requests for the time of a measurement.
    ///
    /// # Errors
    /// On the first wrong answer.
    pub async fn send<R: Requests + Send>(
        &self,
        target: &Target,
        connections: usize,
        requests: R,
    ) -> anyhow::Result<Cell> {
        self.send_for(target, connections, self.arguments.seconds, requests)
            .await
    }

    /// The same for another time.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_for<R: Requests + Send>(
        &self,
        target: &Target,
        connections: usize,
        seconds: f64,
        requests: R,
    ) -> anyhow::Result<Cell> {
        let load = Load {
            addresses: target.addresses.clone(),
            connections,
            warm_up: Duration::from_secs_f64(self.arguments.warm_up),
            measured: Duration::from_secs_f64(seconds),
        };
        let used = || processor::used_with(self.server.folder(), &target.processes);
        let before = used();
        let run = move || load::run(&load, requests);
        let measured = tokio::task::spawn_blocking(run).await??;
        Ok(Cell::new(measured, before, used()))
    }

    /// Delivers new payments to the service, on top of those that are stored, and sees that all are there.
    ///
    /// # Errors
    /// On the first wrong answer; also when what is stored is not what was acknowledged.
    pub async fn pay(
        &self,
        target: &Target,
        database: &Database,
        connections: usize,
        stored: &mut u64,
    ) -> anyhow::Result<Cell> {
        let deliveries = Deliveries::new(target.address(), *stored)?;
        self.deliver(target, database, connections, stored, deliveries)
            .await
    }

    /// Delivers to the service what may or may not be new payments, and sees that all those are there and no others.
    ///
    /// # Errors
    /// As [`Self::pay`].
    async fn deliver<R: Requests + Send>(
        &self,
        target: &Target,
        database: &Database,
        connections: usize,
        stored: &mut u64,
        requests: R,
    ) -> anyhow::Result<Cell> {
        let cell = self.send(target, connections, requests).await?;
        *stored += cell.measured.stored;
        check_payments(database, *stored).await?;
        Ok(cell)
    }

    /// Measures new payments, the first of `whats`, and other deliveries, the second, in turn on one database that has some
    /// payments at first. What is delivered is made for an address and so many payments that are stored.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub async fn beside_payments<R: Requests + Send>(
        &self,
        part: &str,
        whats: [&'static str; 2],
        requests: impl Fn(SocketAddr, u64) -> anyhow::Result<R>,
    ) -> anyhow::Result<Rates> {
        let mut rates = Rates::of(&whats);
        for round in 0..self.arguments.rounds {
            let name = self.database_name(part, round);
            self.with_service(&name, async |database, target| {
                let mut stored = 0;
                self.fill(target, &mut stored, self.arguments.warm_up)
                    .await?;
                for what in Self::in_turn(round, &whats) {
                    let cell = if what == whats[0] {
                        self.pay(target, database, CONNECTIONS, &mut stored).await?
                    } else {
                        let requests = requests(target.address(), stored)?;
                        self.deliver(target, database, CONNECTIONS, &mut stored, requests)
                            .await?
                    };
                    rates.add(what, cell);
                }
                Ok(())
            })
            .await?;
        }
        rates.print();
        Ok(rates)
    }

    /// Delivers new payments that are not measured, for so many seconds after a warm-up.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub async fn fill(
        &self,
        target: &Target,
        stored: &mut u64,
        seconds: f64,
    ) -> anyhow::Result<()> {
        let deliveries = Deliveries::new(target.address(), *stored)?;
        let cell = self
            .send_for(target, CONNECTIONS, seconds, deliveries)
            .await?;
        *stored += cell.measured.stored;
        Ok(())
    }

    /// Does something with one instance of the service on a new database, which is removed afterwards.
    ///
    /// # Errors
    /// What failed.
    pub async fn with_service<T>(
        &self,
        name: &str,
        work: impl AsyncFnOnce(&Database, &Target) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let database = self.server.create(name).await?;
        let result = self.with_service_on(&database, work).await;
        self.server.drop_database(name).await?;
        result
    }

    /// The same on a database that stays.
    ///
    /// # Errors
    /// What failed.
    pub async fn with_service_on<T>(
        &self,
        database: &Database,
        work: impl AsyncFnOnce(&Database, &Target) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let config = ours::config(self.server.folder(), database.name())?;
        let running = running::service(config).await?;
        let result = work(database, &Target::here(running.address)).await;
        running.stop().await?;
        result
    }
}

/// Every acknowledged payment is in the history and in a balance, and no other.
///
/// # Errors
/// When it is not so.
pub async fn check_payments(database: &Database, acknowledged: u64) -> anyhow::Result<()> {
    let found = server::count(database, include_str!("sql/ours_found.sql")).await?;
    ensure!(
        found.recorded == acknowledged && found.in_balances == acknowledged,
        "{acknowledged} payments were acknowledged, {} are there, {} are in the balances",
        found.recorded,
        found.in_balances
    );
    Ok(())
}
