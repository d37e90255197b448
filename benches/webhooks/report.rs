//! The table. Owns medians and ratios; never measures.

use std::collections::BTreeMap;

use super::load::Measured;

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
    cells: BTreeMap<(usize, System), Vec<Measured>>,
}

impl Report {
    /// Adds one round's figures of a system at a number of connections.
    pub fn add(&mut self, system: System, connections: usize, measured: Measured) {
        self.cells
            .entry((connections, system))
            .or_default()
            .push(measured);
    }

    /// Prints medians over the rounds, as Markdown.
    pub fn print(&self) {
        println!(
            "| connections | system | webhooks/s (lowest–highest round) | p50 ms | p99 ms | credit-ledger is |"
        );
        println!("|---:|---|---:|---:|---:|---:|");
        for ((connections, system), rounds) in &self.cells {
            let rate = median(rounds, |round| round.rate);
            let (low, high) = range(rounds, |round| round.rate);
            let ratio = match (system, self.cells.get(&(*connections, System::Ours))) {
                (System::Ours, _) | (_, None) => String::new(),
                (_, Some(ours)) => format!("{:.2}x", median(ours, |round| round.rate) / rate),
            };
            println!(
                "| {connections} | {} | {rate:.0} ({low:.0}–{high:.0}) | {:.2} | {:.2} | {ratio} |",
                system.name(),
                median(rounds, |round| round.p50_ms),
                median(rounds, |round| round.p99_ms),
            );
        }
        let all = self.cells.values().flatten();
        let (_, busiest) = range(all, |round| round.generator_cores);
        println!("\nThe load generator took {busiest:.2} of a core at most.");
    }
}

fn median(rounds: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
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
    rounds: impl IntoIterator<Item = &'a Measured>,
    figure: impl Fn(&Measured) -> f64,
) -> (f64, f64) {
    rounds
        .into_iter()
        .map(figure)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), f| {
            (low.min(f), high.max(f))
        })
}
