//! A small table of rates: what was measured in one part, each beside the first. Never measures.

use super::cell::{Cell, median, range};

/// Figures of several rounds, in the order in which they are shown.
#[derive(Default)]
pub struct Rates {
    rows: Vec<(&'static str, Vec<Cell>)>,
}

impl Rates {
    /// A table with these rows; the others are compared with the first.
    pub fn of(names: &[&'static str]) -> Self {
        Self {
            rows: names.iter().map(|name| (*name, Vec::new())).collect(),
        }
    }

    /// Adds one round's figures.
    pub fn add(&mut self, name: &'static str, cell: Cell) {
        println!("{name}: {cell}");
        if let Some((_, cells)) = self.rows.iter_mut().find(|(known, _)| *known == name) {
            cells.push(cell);
        }
    }

    /// The ratio of a row to the first one.
    pub fn ratio(&self, name: &str, figure: impl Fn(&Cell) -> f64) -> f64 {
        let row = self.rows.iter().find(|(known, _)| *known == name);
        match (row, self.rows.first()) {
            (Some((_, cells)), Some((_, first))) => ratio(cells, first, figure),
            _ => f64::NAN,
        }
    }

    /// Prints medians over the rounds, as Markdown.
    pub fn print(&self) {
        println!(
            "\n| what | a second (lowest–highest round) | p50 ms | p99 ms | processor µs: service + PostgreSQL | of the first |"
        );
        println!("|---|---:|---:|---:|---:|---:|");
        for (name, cells) in &self.rows {
            let (low, high) = range(cells, rate);
            println!(
                "| {name} | {:.0} ({low:.0}–{high:.0}) | {:.3} | {:.3} | {:.0} + {:.0} | {:.2}x |",
                median(cells, rate),
                median(cells, |cell| cell.measured.p50_ms),
                median(cells, p99),
                median(cells, |cell| cell.service_us),
                median(cells, |cell| cell.postgres_us),
                self.ratio(name, rate)
            );
        }
    }
}

/// The median of the rounds' ratios: what is compared was measured in the same round, when the machine was as fast.
pub fn ratio(rounds: &[Cell], base: &[Cell], figure: impl Fn(&Cell) -> f64) -> f64 {
    let pairs: Vec<(&Cell, &Cell)> = rounds.iter().zip(base).collect();
    median(&pairs, |(cell, base)| figure(cell) / figure(base))
}

/// Answers a second.
pub const fn rate(cell: &Cell) -> f64 {
    cell.measured.rate
}

/// The slowest answer of a hundred.
pub const fn p99(cell: &Cell) -> f64 {
    cell.measured.p99_ms
}
