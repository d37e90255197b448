//! The command line.

use clap::{Parser, ValueEnum};

use super::load::seconds;
use super::report::System;

/// Webhooks per second, compared; and all else that the table of goals asks.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own on the command line"
)]
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
    /// Seconds before each measurement that do not count.
    #[arg(long, env = "BENCH_WARM_UP", default_value_t = 1.0, value_parser = seconds)]
    pub warm_up: f64,
    /// How often everything is measured.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub rounds: u8,
    /// Numbers of connections of the table of systems.
    #[arg(long, env = "BENCH_CONNECTIONS", value_delimiter = ',', default_value = "1,8,64,256",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub connections: Vec<u16>,
    /// Only these systems in the table of systems.
    #[arg(long, env = "BENCH_SYSTEMS", value_delimiter = ',', value_enum)]
    pub systems: Vec<System>,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub only: Vec<Part>,
    /// How many events are stored for the part of that name.
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    pub stored: u64,
    /// Seconds that memory is watched for.
    #[arg(long, default_value_t = 60.0, value_parser = seconds)]
    pub memory_seconds: f64,
    /// One short round of everything: does it run?
    #[arg(long)]
    pub quick: bool,
    /// Only with commits that wait for 1 ms (`commit_delay`): a stand-in for slower disks and synchronous standbys.
    #[arg(long)]
    commit_delay: bool,
    /// Only with the disk as it is.
    #[arg(long, conflicts_with = "commit_delay")]
    as_is: bool,
    /// Database connections of stock postgres-es. Default: what was best when 4 to 64 were tried.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=80))]
    stock_pool: Option<u16>,
    /// Database connections of one SQL transaction per webhook. Default: what was best when 4 to 64 were tried.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=80))]
    single_tx_pool: Option<u16>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How fast commits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// As fast as the disk is.
    AsIs,
    /// 1 ms at least.
    SlowCommits,
}

impl Pass {
    /// Its name in headings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsIs => "disk as it is",
            Self::SlowCommits => "commits of 1 ms",
        }
    }

    /// Its name in a database's name.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::AsIs => "as_is",
            Self::SlowCommits => "slow",
        }
    }
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// New payments: all systems, all numbers of connections.
    Payments,
    /// One connection beside one client of `pgbench`.
    Latency,
    /// New users beside new payments.
    Signups,
    /// Deliveries that were stored before, beside new payments.
    Duplicates,
    /// Duplicates and a hot user among the payments, beside clean payments.
    Mixed,
    /// Balances read, beside a bare handler.
    Reads,
    /// One, two and four instances on one database.
    Instances,
    /// A database that is full beside an empty one.
    Stored,
    /// The memory of a process of its own.
    Memory,
}

impl Part {
    /// Whether slow commits are asked about: reads have none, a full database and memory do not depend on them.
    pub const fn is_of(self, pass: Pass) -> bool {
        match pass {
            Pass::AsIs => true,
            Pass::SlowCommits => !matches!(self, Self::Reads | Self::Stored | Self::Memory),
        }
    }
}

impl Arguments {
    /// With what `--quick` says.
    pub fn read() -> Self {
        let mut arguments = Self::parse();
        if arguments.quick {
            arguments.seconds = 1.0;
            arguments.warm_up = 0.3;
            arguments.rounds = 1;
            arguments.connections = vec![64, 256];
            arguments.stored = 20_000;
            arguments.memory_seconds = 3.0;
        }
        if arguments.systems.is_empty() {
            arguments.systems = System::ALL.to_vec();
        }
        arguments
    }

    /// How fast commits are to be, one after the other.
    pub fn passes(&self) -> Vec<Pass> {
        let mut passes = vec![Pass::AsIs, Pass::SlowCommits];
        passes.retain(|pass| match pass {
            Pass::AsIs => !self.commit_delay,
            Pass::SlowCommits => !self.as_is,
        });
        passes
    }

    /// What is to be measured.
    pub fn parts(&self, pass: Pass) -> Vec<Part> {
        let wanted = |part: &Part| self.only.is_empty() || self.only.contains(part);
        let mut parts = Part::value_variants().to_vec();
        parts.retain(|part| wanted(part) && part.is_of(pass));
        parts
    }

    /// Fast commits leave two cores nothing but work: few connections are best. Slow ones are waited for side by side.
    pub fn stock_pool(&self, pass: Pass) -> u16 {
        self.stock_pool.unwrap_or(match pass {
            Pass::AsIs => 8,
            Pass::SlowCommits => 64,
        })
    }

    /// As [`Self::stock_pool`].
    pub fn single_tx_pool(&self, pass: Pass) -> u16 {
        self.single_tx_pool.unwrap_or(match pass {
            Pass::AsIs => 8,
            Pass::SlowCommits => 32,
        })
    }
}
