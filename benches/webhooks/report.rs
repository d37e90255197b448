//! The table. Owns medians and ratios; never measures.

use std::collections::BTreeMap;

use super::cell::{Cell, median, range};
use super::rates::{rate, ratio};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum System {
    /// This service.
    Ours,
    /// Stock cqrs-es with postgres-es, with the pool that does best.
    Stock,
    /// The same with as many database connections as its own pool has.
    #[value(name = "stock_10")]
    StockOwnPool,
    /// One SQL transaction per webhook.
    #[value(name = "single_tx")]
    SingleTx,
    /// Two statements in a transaction, without HTTP.
    Pgbench,
    /// The same statements over 256 rows, one connection.
    Ceiling,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ours,
        Self::Stock,
        Self::StockOwnPool,
        Self::SingleTx,
        Self::Pgbench,
        Self::Ceiling,
    ];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "credit-ledger",
            Self::Stock => "(a) stock postgres-es",
            Self::StockOwnPool => "(a) stock postgres-es, its own pool of 10",
            Self::SingleTx => "(b) one SQL transaction",
            Self::Pgbench => "(c) `pgbench`, no HTTP",
            Self::Ceiling => "(d) 256 rows a transaction, no HTTP",
        }
    }

    /// Its name in a database's name.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Stock => "stock",
            Self::StockOwnPool => "stock_10",
            Self::SingleTx => "single_tx",
            Self::Pgbench => "pgbench",
            Self::Ceiling => "ceiling",
        }
    }

    /// Whether it is measured at this number of connections. `pgbench` has a database connection for each client, and the
    /// server takes 100.
    pub const fn takes(self, connections: u16) -> bool {
        match self {
            Self::Ours | Self::Stock | Self::StockOwnPool | Self::SingleTx => true,
            Self::Pgbench => connections <= 80,
            Self::Ceiling => connections == 1,
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

    /// The ratio of the service's rate at a number of connections to another system's at its own.
    pub fn ratio(&self, connections: usize, base: (System, usize)) -> Option<f64> {
        let ours = self.cells.get(&(connections, System::Ours))?;
        let (system, connections) = base;
        let base = self.cells.get(&(connections, system))?;
        Some(ratio(ours, base, rate))
    }

    /// Prints medians over the rounds, as Markdown.
    pub fn print(&self) {
        println!(
            "\n| connections | system | webhooks/s (lowest–highest round) | p50 ms | p99 ms | processor µs: service + PostgreSQL | credit-ledger is |"
        );
        println!("|---:|---|---:|---:|---:|---:|---:|");
        for ((connections, system), rounds) in &self.cells {
            let middle = median(rounds, rate);
            let (low, high) = range(rounds, rate);
            let ratio = match (system, self.ratio(*connections, (*system, *connections))) {
                (System::Ours | System::Ceiling, _) | (_, None) => String::new(),
                (_, Some(ratio)) => format!("{ratio:.2}x"),
            };
            println!(
                "| {connections} | {} | {middle:.0} ({low:.0}–{high:.0}) | {:.2} | {:.2} | {:.0} + {:.0} | {ratio} |",
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
