//! Duplicates beside new payments: deliveries that were stored before, sent again with the same bytes.

use std::net::SocketAddr;

use super::delivery::{Deliveries, scramble};
use super::goals::{Goal, Goals};
use super::load::{Expected, Requests};
use super::rates::rate;
use super::stage::Stage;

const PAYMENTS: &str = "new payments";
const DUPLICATES: &str = "duplicates";

/// Measures both in turn, on one database that has some payments at first.
///
/// # Errors
/// On the first wrong answer; also when a duplicate has changed anything.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let rates = stage
        .beside_payments("duplicates", [PAYMENTS, DUPLICATES], Again::new)
        .await?;
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
