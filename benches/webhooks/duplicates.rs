//! Duplicates beside new payments: deliveries that were stored before, sent again with the same bytes.

use std::net::SocketAddr;

use super::delivery::{Deliveries, scramble};
use super::goals::{Goal, Goals};
use super::load::{Expected, Requests};
use super::rates::{Rates, rate};
use super::stage::{Stage, check_payments};

const PAYMENTS: &str = "new payments";
const DUPLICATES: &str = "duplicates";
const CONNECTIONS: usize = 64;

/// Measures both in turn, on one database that has some payments at first.
///
/// # Errors
/// On the first wrong answer; also when a duplicate has changed anything.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let mut rates = Rates::of(&[PAYMENTS, DUPLICATES]);
    for round in 0..stage.arguments.rounds {
        let name = stage.database_name("duplicates", round);
        stage
            .with_service(&name, async |database, target| {
                let mut stored = 0;
                stage.fill(target, &mut stored).await?;
                for what in Stage::in_turn(round, &[PAYMENTS, DUPLICATES]) {
                    let cell = if what == PAYMENTS {
                        stage
                            .pay(target, database, CONNECTIONS, &mut stored)
                            .await?
                    } else {
                        let again = Again::new(target.address(), stored)?;
                        let cell = stage.send(target, CONNECTIONS, again).await?;
                        check_payments(database, stored).await?;
                        cell
                    };
                    rates.add(what, cell);
                }
                Ok(())
            })
            .await?;
    }
    rates.print();
    goals.note(Goal::Duplicates, stage.pass, rates.ratio(DUPLICATES, rate));
    Ok(())
}

/// Writes deliveries that were stored before, in no order.
struct Again {
    deliveries: Deliveries,
    stored: u64,
    turn: u64,
}

impl Again {
    fn new(address: SocketAddr, stored: u64) -> anyhow::Result<Self> {
        anyhow::ensure!(stored > 0, "nothing is stored that could be sent again");
        Ok(Self {
            deliveries: Deliveries::new(address, 0)?,
            stored,
            turn: 0,
        })
    }
}

impl Requests for Again {
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        self.turn += 1;
        let number = scramble(self.turn) % self.stored;
        self.deliveries.write(number, request)?;
        Ok(Expected {
            text: "\"duplicate\"",
            stored: false,
        })
    }
}
