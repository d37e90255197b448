//! The table of goals: what is asked, what was measured, whether that is enough. Never measures.

use std::collections::BTreeMap;

use super::arguments::{Arguments, Pass};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    Stock,
    Pgbench,
    Pgbench256,
    Ceiling256,
    Latency,
    Signups,
    Duplicates,
    Mixed,
    Reads,
    TwoInstances,
    FourInstances,
    Stored,
    Memory,
}

impl Goal {
    /// In the order of the table.
    const ALL: [Self; 13] = [
        Self::Stock,
        Self::Pgbench,
        Self::Pgbench256,
        Self::Ceiling256,
        Self::Latency,
        Self::Signups,
        Self::Duplicates,
        Self::Mixed,
        Self::Reads,
        Self::TwoInstances,
        Self::FourInstances,
        Self::Stored,
        Self::Memory,
    ];

    const fn what(self) -> &'static str {
        match self {
            Self::Stock => "new payments, 64 connections, against stock",
            Self::Pgbench => {
                "new payments, 64 connections, against the `pgbench` transaction at 64 clients"
            }
            Self::Pgbench256 => "new payments, 256 connections, against the same",
            Self::Ceiling256 => "new payments, 256 connections, share of the 256-row ceiling",
            Self::Latency => {
                "one connection, p50 against the `pgbench` transaction's latency at one client"
            }
            Self::Signups => "sign-ups (two events), of the payment rate",
            Self::Duplicates => "duplicates, of the payment rate",
            Self::Mixed => {
                "10 % duplicates and 20 % of the traffic on one hot user, of the clean rate; p99; no 5xx"
            }
            Self::Reads => {
                "balance reads, 64 connections, against a bare handler with the same prepared SELECT"
            }
            Self::TwoInstances => "2 instances on one database, total against one instance",
            Self::FourInstances => "4 instances on one database, total against one instance",
            Self::Stored => "a full database, against an empty one",
            Self::Memory => "resident memory at 256 connections, flat over the run",
        }
    }

    /// The figure that is asked for; `None`: nothing is asked in this pass.
    const fn asked(self, pass: Pass) -> Option<f64> {
        let (as_is, slow) = match self {
            Self::Stock => (6.0, Some(10.0)),
            Self::Pgbench => (1.0, Some(1.5)),
            Self::Pgbench256 => (1.4, Some(2.5)),
            Self::Ceiling256 => (0.5, Some(0.5)),
            Self::Latency => (1.5, Some(1.15)),
            Self::Signups | Self::Mixed => (0.8, Some(0.8)),
            Self::Duplicates => (1.5, Some(1.5)),
            Self::Reads => (0.8, None),
            Self::TwoInstances | Self::FourInstances => (1.0, Some(1.0)),
            Self::Stored => (0.9, None),
            Self::Memory => (80.0, None),
        };
        match pass {
            Pass::AsIs => Some(as_is),
            Pass::SlowCommits => slow,
        }
    }

    /// Whether a figure is what is asked for.
    fn is_met(self, pass: Pass, figure: f64) -> bool {
        let Some(asked) = self.asked(pass) else {
            return true;
        };
        match self {
            Self::Latency | Self::Memory => figure <= asked,
            Self::Stock
            | Self::Pgbench
            | Self::Pgbench256
            | Self::Ceiling256
            | Self::Signups
            | Self::Duplicates
            | Self::Mixed
            | Self::Reads
            | Self::TwoInstances
            | Self::FourInstances
            | Self::Stored => figure >= asked,
        }
    }

    fn asked_text(self, pass: Pass) -> Option<String> {
        let asked = self.asked(pass)?;
        Some(match self {
            Self::Latency => format!("≤ {asked}x"),
            Self::Memory => format!("≤ {asked} MiB, flat"),
            Self::Mixed => format!("≥ {asked}x, p99 ≤ {MIXED_P99_MAX}x"),
            _ => format!("≥ {asked}x"),
        })
    }
}

/// How much slower the slowest answers may be with duplicates and a hot user.
pub const MIXED_P99_MAX: f64 = 3.0;

struct Got {
    text: String,
    met: bool,
}

impl Got {
    const fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "**missed**" }
    }
}

/// What came of them.
#[derive(Default)]
pub struct Goals {
    got: BTreeMap<(Goal, Pass), Got>,
}

impl Goals {
    /// Notes a ratio.
    pub fn note(&mut self, goal: Goal, pass: Pass, ratio: f64) {
        self.note_with(goal, pass, ratio, format!("{ratio:.2}x"), true);
    }

    /// Notes a figure, how it is shown, and whether what else is asked is so.
    pub fn note_with(&mut self, goal: Goal, pass: Pass, figure: f64, text: String, also: bool) {
        let met = also && goal.is_met(pass, figure);
        self.got.insert((goal, pass), Got { text, met });
    }

    /// Prints them, as Markdown.
    pub fn print(&self, arguments: &Arguments) {
        println!("\n# goals\n");
        println!(
            "| what | asked: disk as it is / commits of 1 ms | got: disk as it is | got: commits of 1 ms | |"
        );
        println!("|---|---:|---:|---:|---|");
        let passes = [Pass::AsIs, Pass::SlowCommits];
        for goal in Goal::ALL {
            let asked = passes.map(|pass| goal.asked_text(pass));
            let asked = asked.into_iter().flatten().collect::<Vec<_>>();
            let got = passes.map(|pass| self.got.get(&(goal, pass)));
            let [as_is, slow] = got.map(|got| got.map_or("", |got| got.text.as_str()));
            let verdicts = got.into_iter().flatten().map(Got::verdict);
            println!(
                "| {} | {} | {as_is} | {slow} | {} |",
                goal.what(),
                asked.join(" / "),
                verdicts.collect::<Vec<_>>().join(" / ")
            );
        }
        println!(
            "\nThe full database had {} events at first.",
            arguments.stored
        );
        if arguments.quick {
            println!("A quick run: it says that all runs, not how fast.");
        }
    }
}
