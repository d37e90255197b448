//! Makes the history: signed payments and spends, both through the service's own lanes. So chain, states, inbox and read
//! models are what they would be. Never measures.

use anyhow::ensure;
use credit_ledger::app::system_clock;
use credit_ledger::ledger::command::{GrantCredits, SpendCredits};
use credit_ledger::ledger::event::Note;
use credit_ledger::ledger::lots::{LotKind, PRIORITY_DEFAULT};
use credit_ledger::ledger::{Command, Credits, UserId};
use credit_ledger::postgres::{ConnectOptions, Database};
use credit_ledger::store::{Ledger, LedgerSettings, Origin, Outcome, Unit, Work};

use super::payments::{self, EVENTS_PER_PAYMENT};
use super::server::Server;

/// Users who spend. Those who pay are of the deliveries.
const SPENDERS: u64 = 10_000;
/// Commands of one unit.
const TOGETHER: u64 = 1000;

/// What was made.
pub struct Filled {
    /// Events in the log.
    pub events: u64,
    /// Payments among them.
    pub payments: u64,
}

/// Fills an empty database with about so many events: half of them of payments, half of spends.
pub async fn fill(server: &Server, database: &Database, events: u64) -> anyhow::Result<Filled> {
    let config = super::ours::config(server.folder(), database.name())?;
    let payments = events / 2 / EVENTS_PER_PAYMENT;
    payments::store(database, &config, payments).await?;
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
