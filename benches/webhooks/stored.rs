//! A database that is full beside an empty one: whether writing gets slower with the history.

use std::time::Instant;

use credit_ledger::postgres::{ConnectOptions, Database};

use super::goals::{Goal, Goals};
use super::ours;
use super::payments::{self, EVENTS_PER_PAYMENT};
use super::rates::{Rates, rate};
use super::stage::Stage;

const EMPTY: &str = "an empty database";
const FULL: &str = "a full database";
const CONNECTIONS: usize = 64;

/// Fills a database once, then measures both in turn; the empty one is a new one each time.
///
/// # Errors
/// On the first wrong answer; also when what is stored is not what was acknowledged.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let name = stage.database_name("full", 0);
    let full = stage.server.create(&name).await?;
    let mut stored = stage.arguments.stored / EVENTS_PER_PAYMENT;
    fill(stage, &full, stored).await?;
    let mut rates = Rates::of(&[EMPTY, FULL]);
    for round in 0..stage.arguments.rounds {
        for what in Stage::in_turn(round, &[EMPTY, FULL]) {
            let cell = if what == EMPTY {
                let name = stage.database_name("empty", round);
                let pay = async |database: &_, target: &_| {
                    stage.pay(target, database, CONNECTIONS, &mut 0).await
                };
                stage.with_service(&name, pay).await?
            } else {
                // As before an empty one: what was left to be written is not to be paid for now.
                run(&full, "checkpoint").await?;
                let pay = async |database: &_, target: &_| {
                    stage.pay(target, database, CONNECTIONS, &mut stored).await
                };
                stage.with_service_on(&full, pay).await?
            };
            rates.add(what, cell);
        }
    }
    stage.server.drop_database(&name).await?;
    rates.print();
    goals.note(Goal::Stored, stage.pass, rates.ratio(FULL, rate));
    Ok(())
}

/// Then it is as autovacuum would have it before long.
async fn fill(stage: &Stage<'_>, database: &Database, stored: u64) -> anyhow::Result<()> {
    let begin = Instant::now();
    let config = ours::config(stage.server.folder(), database.name())?;
    payments::store(database, &config, stored).await?;
    run(database, "vacuum (analyze)").await?;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    let size = "select pg_size_pretty(pg_database_size(current_database()))";
    println!(
        "{} events stored in {:.0} s: {}\n",
        stored * EVENTS_PER_PAYMENT,
        begin.elapsed().as_secs_f64(),
        client.query_one(size, &[]).await?.get::<_, String>(0)
    );
    Ok(())
}

async fn run(database: &Database, statement: &str) -> anyhow::Result<()> {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    Ok(client.batch_execute(statement).await?)
}
