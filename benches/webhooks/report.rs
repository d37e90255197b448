//! The table. Owns medians and ratios; never measures.

use std::collections::BTreeMap;

use super::cell::{Cell, median, range};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// This service.
    Ours,
    /// Stock cqrs-es with postgres-es.
    Stock,
    /// One SQL transaction per webhook.
    SingleTx,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Stock, Self::SingleTx];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "credit-ledger",
            Self::Stock => "(a) stock postgres-es",
            Self::SingleTx => "(b) one SQL transaction",
        }
    }

    /// Its name in a database's name.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Stock => "stock",
            Self::SingleTx => "single_tx",
        }
    }
}

/// All that was measured.
#[derive(Default)]
pub struct Report {
    cells: BTreeMap<(usize, System), Vec<Cell>>,
}

impl Report {
    /// Adds one round's figures of a system at a number of connections.
    pub fn add(&mut self, system: System, connections: usize, cell: Cell) {
        self.cells
            .entry((connections, system))
            .or_default()
            .push(cell);
    }

    /// Prints medians over the rounds, as Markdown.
    pub fn print(&self) {
        println!(
            "| connections | system | webhooks/s (lowest–highest round) | p50 ms | p99 ms | processor µs: service + PostgreSQL | credit-ledger is |"
        );
        println!("|---:|---|---:|---:|---:|---:|---:|");
        for ((connections, system), rounds) in &self.cells {
            let rate = median(rounds, |round| round.measured.rate);
            let (low, high) = range(rounds, |round| round.measured.rate);
            let ratio = match (system, self.cells.get(&(*connections, System::Ours))) {
                (System::Ours, _) | (_, None) => String::new(),
                (_, Some(ours)) => {
                    format!("{:.2}x", median(ours, |round| round.measured.rate) / rate)
                }
            };
            println!(
                "| {connections} | {} | {rate:.0} ({low:.0}–{high:.0}) | {:.2} | {:.2} | {:.0} + {:.0} | {ratio} |",
                system.name(),
                median(rounds, |round| round.measured.p50_ms),
                median(rounds, |round| round.measured.p99_ms),
                median(rounds, |round| round.service_us),
                median(rounds, |round| round.postgres_us),
            );
        }
        let all = self.cells.values().flatten();
        let (_, dearest) = range(all, |cell| cell.generator_us);
        println!(
            "\nThe load generator took {dearest:.0} µs of processor time for a webhook at most."
        );
    }
}
