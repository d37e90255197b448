//! A lone webhook: one connection, beside one client of `pgbench`.

use super::cell::Cell;
use super::goals::{Goal, Goals};
use super::rates::Rates;
use super::stage::Stage;
use super::{new_payments, pgbench};

const PGBENCH: &str = "`pgbench`, one client, no HTTP";
const OURS: &str = "credit-ledger, one connection";

/// Measures both in turn.
///
/// # Errors
/// On the first wrong answer.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let mut rates = Rates::of(&[PGBENCH, OURS]);
    for round in 0..stage.arguments.rounds {
        for what in Stage::in_turn(round, &[PGBENCH, OURS]) {
            let name = stage.database_name("latency", round);
            let cell = if what == OURS {
                let pay =
                    async |database: &_, target: &_| stage.pay(target, database, 1, &mut 0).await;
                stage.with_service(&name, pay).await?
            } else {
                let database = stage.server.create(&name).await?;
                new_payments::make_two_tables(&database).await?;
                let cell = pgbench::run(stage, &database, 1, 0).await?;
                stage.server.drop_database(&name).await?;
                cell
            };
            rates.add(what, cell);
        }
    }
    rates.print();
    let p50 = |cell: &Cell| cell.measured.p50_ms;
    goals.note(Goal::Latency, stage.pass, rates.ratio(OURS, p50));
    Ok(())
}
