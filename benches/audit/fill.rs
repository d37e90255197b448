//! Makes the history: payments as signed webhooks over HTTP, spends through the service's own lanes. So chain, states,
//! inbox and read models are what they would be. Never measures.

use std::time::Duration;

use anyhow::ensure;
use credit_ledger::app::system_clock;
use credit_ledger::ledger::command::{GrantCredits, SpendCredits};
use credit_ledger::ledger::event::Note;
use credit_ledger::ledger::lots::{LotKind, PRIORITY_DEFAULT};
use credit_ledger::ledger::{Command, Credits, UserId};
use credit_ledger::postgres::{ConnectOptions, Database};
use credit_ledger::store::{Ledger, LedgerSettings, Origin, Outcome, Unit, Work};

use super::delivery::Deliveries;
use super::load::{self, Load};
use super::running::{self, Running};
use super::server::Server;

/// Users who spend. Those who pay are of the deliveries.
const SPENDERS: u64 = 10_000;
/// Commands of one unit.
const TOGETHER: u64 = 1000;
/// A payment leads to `PaymentCaptured` and `CreditsPurchased`.
pub const EVENTS_PER_PAYMENT: u64 = 2;
const CONNECTIONS: usize = 64;

/// What was made.
pub struct Filled {
    /// Events in the log.
    pub events: u64,
    /// Payments among them; the next one's number.
    pub payments: u64,
}

/// Fills an empty database with about so many events: half of them of payments, half of spends.
pub async fn fill(server: &Server, database: &Database, events: u64) -> anyhow::Result<Filled> {
    let config = super::ours::config(server.folder(), database.name())?;
    let running = running::service(config).await?;
    let result = pay(&running, events / 2).await;
    running.stop().await?;
    let payments = result?;
    spend(
        database,
        events.saturating_sub(payments * EVENTS_PER_PAYMENT),
    )
    .await?;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    // As autovacuum would have it before long.
    client.batch_execute("vacuum (analyze)").await?;
    let row = client.query_one("select count(*) from events", &[]).await?;
    Ok(Filled {
        events: row.get::<_, i64>(0).try_into()?,
        payments,
    })
}

/// Delivers payments until there are so many events of them; how many payments there are.
async fn pay(running: &Running, events: u64) -> anyhow::Result<u64> {
    let mut payments = 0;
    while payments * EVENTS_PER_PAYMENT < events {
        let left = events - payments * EVENTS_PER_PAYMENT;
        // Ten thousand a second is what it does on two cores.
        let seconds = (load::to_f64(left) / 20_000.0).clamp(0.1, 10.0);
        let load = Load {
            address: running.address,
            connections: CONNECTIONS,
            warm_up: Duration::ZERO,
            measured: Duration::from_secs_f64(seconds),
        };
        let deliveries = Deliveries::new(running.address, payments)?;
        let measured = tokio::task::spawn_blocking(move || load::run(load, deliveries)).await??;
        payments += measured.acknowledged;
    }
    Ok(payments)
}

/// Lets users spend, each in turn, until there are so many events of it.
async fn spend(database: &Database, events: u64) -> anyhow::Result<()> {
    let (ledger, ended) =
        Ledger::start(database, LedgerSettings::default(), system_clock()).await?;
    let users: Vec<UserId> = (0..SPENDERS.min(events.div_ceil(10)))
        .map(|number| UserId::parse(format!("user_spends_{number}")))
        .collect::<Result<_, _>>()?;
    let mut commands = users
        .iter()
        .map(grant)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let spends = usize::try_from(events)?.saturating_sub(commands.len());
    for user_id in users.iter().cycle().take(spends) {
        commands.push(spend_one(user_id)?);
    }
    for together in commands.chunks(usize::try_from(TOGETHER)?) {
        let unit = Unit {
            origin: Origin::System,
            work: Work::Apply(Command::Together(together.to_vec())),
        };
        let outcome = ledger.execute(unit).await?;
        ensure!(outcome == Outcome::Recorded, "not recorded: {outcome:?}");
    }
    drop(ledger);
    for lane in ended {
        lane.await?;
    }
    Ok(())
}

fn grant(user_id: &UserId) -> anyhow::Result<Command> {
    Ok(Command::GrantCredits(GrantCredits {
        user_id: user_id.clone(),
        credits: Credits::new(1_000_000_000)?,
        kind: LotKind::Bonus,
        priority: PRIORITY_DEFAULT,
        expires_at_s: None,
        reason: "to be spent".to_owned(),
        actor: "bench".to_owned(),
    }))
}

fn spend_one(user_id: &UserId) -> anyhow::Result<Command> {
    Ok(Command::SpendCredits(SpendCredits {
        user_id: user_id.clone(),
        credits: Credits::new(1)?,
        allow_partial: false,
        note: Note {
            reason: Some("one request".to_owned()),
            reference: None,
        },
    }))
}
