//! The tables. Owns medians and ratios; never measures.

use std::collections::BTreeMap;

use super::cell::{Cell, median, range};
use super::load::Measured;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// This service.
    Ours,
    /// One SQL transaction per spend.
    SingleTx,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ours, Self::SingleTx];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "credit-ledger",
            Self::SingleTx => "one SQL transaction",
        }
    }

    /// Its name in a database's name.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::SingleTx => "single_tx",
        }
    }
}

/// What is done to users with histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A spend of one credit.
    Spend,
    /// A look at the balance.
    Balance,
}

impl Call {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Spend, Self::Balance];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spend => "spend",
            Self::Balance => "balance",
        }
    }
}

/// All that was measured.
#[derive(Default)]
pub struct Report {
    /// By whose credits are used, the number of connections, and the system.
    rates: BTreeMap<(&'static str, usize, System), Vec<Cell>>,
    /// By the call, and how many events the user has.
    decay: BTreeMap<(Call, u64), Vec<Measured>>,
}

impl Report {
    /// Adds one round's figures of a system.
    pub fn add(&mut self, whose: &'static str, connections: usize, system: System, cell: Cell) {
        let key = (whose, connections, system);
        self.rates.entry(key).or_default().push(cell);
    }

    /// Adds one round's figures of a call to a user with so many events.
    pub fn add_decay(&mut self, call: Call, events: u64, measured: Measured) {
        self.decay.entry((call, events)).or_default().push(measured);
    }

    /// Prints medians over the rounds, as Markdown.
    pub fn print(&self) {
        if !self.rates.is_empty() {
            self.print_rates();
        }
        if !self.decay.is_empty() {
            self.print_decay();
        }
    }

    fn print_rates(&self) {
        println!(
            "| spends of | connections | system | spends/s (lowest–highest round) | p50 ms | p99 ms | processor µs: service + PostgreSQL | credit-ledger is |"
        );
        println!("|---|---:|---|---:|---:|---:|---:|---:|");
        for ((whose, connections, system), rounds) in &self.rates {
            let rate = median(rounds, |round| round.measured.rate);
            let (low, high) = range(rounds, |round| round.measured.rate);
            let ours = self.rates.get(&(*whose, *connections, System::Ours));
            let ratio = match (system, ours) {
                (System::Ours, _) | (_, None) => String::new(),
                (System::SingleTx, Some(ours)) => {
                    format!("{:.2}x", median(ours, |round| round.measured.rate) / rate)
                }
            };
            println!(
                "| {whose} | {connections} | {} | {rate:.0} ({low:.0}–{high:.0}) | {:.2} | {:.2} | {:.0} + {:.0} | {ratio} |",
                system.name(),
                median(rounds, |round| round.measured.p50_ms),
                median(rounds, |round| round.measured.p99_ms),
                median(rounds, |round| round.service_us),
                median(rounds, |round| round.postgres_us),
            );
        }
        let (_, dearest) = range(self.rates.values().flatten(), |cell| cell.generator_us);
        println!(
            "\nThe load generator took {dearest:.0} µs of processor time for a spend at most.\n"
        );
    }

    fn print_decay(&self) {
        println!("| call | events of the user | p50 ms | p99 ms | p50 to the shortest history |");
        println!("|---|---:|---:|---:|---:|");
        let mut shortest = BTreeMap::new();
        for ((call, events), rounds) in &self.decay {
            let p50 = median(rounds, |round| round.p50_ms);
            let p99 = median(rounds, |round| round.p99_ms);
            // The shortest comes first.
            let first = shortest.entry(*call).or_insert(p50);
            println!(
                "| {} | {events} | {p50:.3} | {p99:.3} | {:.2}x |",
                call.name(),
                p50 / *first
            );
        }
    }
}
