//! The table. Owns medians and ratios; never measures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::load::{Measured, to_f64};
use super::processor::Used;

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

/// One measurement, with what it cost.
pub struct Cell {
    pub measured: Measured,
    /// Processor time of a webhook in the process that serves, without the load generator.
    service_us: f64,
    /// The same in PostgreSQL.
    postgres_us: f64,
    generator_us: f64,
}

impl Cell {
    /// A measurement between two looks at the processor.
    pub fn new(measured: Measured, before: Used, after: Used) -> Self {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / to_f64(measured.acknowledged.max(1));
        let process = after.process.saturating_sub(before.process);
        Self {
            service_us: each(process.saturating_sub(measured.generator)),
            postgres_us: each(after.postgres.saturating_sub(before.postgres)),
            generator_us: each(measured.generator),
            measured,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured {
            rate,
            p50_ms,
            p99_ms,
            ..
        } = &self.measured;
        write!(
            f,
            "{rate:.0}/s, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, processor {:.0} + {:.0} us",
            self.service_us, self.postgres_us
        )
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

fn median(rounds: &[Cell], figure: impl Fn(&Cell) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

fn range<'a>(
    rounds: impl IntoIterator<Item = &'a Cell>,
    figure: impl Fn(&Cell) -> f64,
) -> (f64, f64) {
    rounds
        .into_iter()
        .map(figure)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), f| {
            (low.min(f), high.max(f))
        })
}
