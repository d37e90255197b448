//! Several instances on one database, each a process of its own; so is the single one that they are compared with.

use super::goals::{Goal, Goals};
use super::program::Programs;
use super::rates::{Rates, rate};
use super::stage::Stage;

const ONE: &str = "1 instance";
const TWO: &str = "2 instances";
const FOUR: &str = "4 instances";
/// In total, spread over the instances.
const CONNECTIONS: usize = 64;

/// Measures one, two and four in turn.
///
/// # Errors
/// On the first wrong answer; also when what is stored is not what was acknowledged.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let mut rates = Rates::of(&[ONE, TWO, FOUR]);
    for round in 0..stage.arguments.rounds {
        for (what, instances) in Stage::in_turn(round, &[(ONE, 1), (TWO, 2), (FOUR, 4)]) {
            let name = stage.database_name("instances", round);
            let database = stage.server.create(&name).await?;
            let programs = Programs::start(&database, instances).await?;
            let cell = stage
                .pay(&programs.target, &database, CONNECTIONS, &mut 0)
                .await?;
            programs.stop().await?;
            stage.server.drop_database(&name).await?;
            rates.add(what, cell);
        }
    }
    rates.print();
    goals.note(Goal::TwoInstances, stage.pass, rates.ratio(TWO, rate));
    goals.note(Goal::FourInstances, stage.pass, rates.ratio(FOUR, rate));
    Ok(())
}
