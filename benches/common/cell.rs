//! One measurement and what it cost, and the middle of several. Never measures.

use std::fmt;
use std::time::Duration;

use super::load::{Measured, to_f64};
use super::processor::Used;

/// One measurement, with what it cost.
pub struct Cell {
    pub measured: Measured,
    /// Processor time of a request in the process that serves, without the load generator.
    pub service_us: f64,
    /// The same in PostgreSQL.
    pub postgres_us: f64,
    pub generator_us: f64,
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

/// The median of a figure over the rounds.
pub fn median<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

/// The lowest and the highest of a figure.
pub fn range<'a>(
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
