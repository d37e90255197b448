//! What traffic is like on a bad day, beside clean payments: a tenth are duplicates, a fifth is about one user.

use std::net::SocketAddr;

use super::delivery::{Deliveries, scramble};
use super::goals::{Goal, Goals, MIXED_P99_MAX};
use super::load::{Expected, Requests};
use super::rates::{p99, rate};
use super::stage::Stage;

const CLEAN: &str = "clean payments";
const MIXED: &str = "10 % duplicates, 20 % on one user";
/// Of so many deliveries one is a duplicate.
const DUPLICATE_IN: u64 = 10;
/// So many deliveries later an answer has come: far more than there are connections.
const ANSWERED_AFTER: u64 = 4096;

/// Measures both in turn, on one database that has some payments at first.
///
/// # Errors
/// On the first answer that is not `200`, `recorded` for what is new and `duplicate` for what is not.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let rates = stage
        .beside_payments("mixed", [CLEAN, MIXED], Mixed::new)
        .await?;
    let (rate, p99) = (rates.ratio(MIXED, rate), rates.ratio(MIXED, p99));
    let text = format!("{rate:.2}x, p99 {p99:.2}x, no 5xx");
    goals.note_with(Goal::Mixed, stage.pass, rate, text, p99 <= MIXED_P99_MAX);
    Ok(())
}

/// Writes new payments, some of them of one user, and between them old ones again.
struct Mixed {
    deliveries: Deliveries,
    /// The number of the next new payment.
    next: u64,
    turn: u64,
}

impl Mixed {
    fn new(address: SocketAddr, first: u64) -> anyhow::Result<Self> {
        let mut deliveries = Deliveries::new(address, first)?;
        deliveries.payments.hot_from = Some(first);
        Ok(Self {
            deliveries,
            next: first,
            turn: 0,
        })
    }
}

impl Requests for Mixed {
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        self.turn += 1;
        let chance = scramble(self.turn);
        let answered = self.next.saturating_sub(ANSWERED_AFTER);
        if answered > 0 && chance.is_multiple_of(DUPLICATE_IN) {
            self.deliveries
                .write(scramble(chance) % answered, request)?;
            return Ok(Expected {
                text: "\"duplicate\"",
                stored: false,
            });
        }
        self.next += 1;
        self.deliveries.write_new(request)
    }
}
