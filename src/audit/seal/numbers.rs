//! How far sealing is and whether it can be trusted, in metrics. Labels name a kind of witness, and nothing else.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{Counter, Gauge};

use super::witness::Turn;
use super::{Round, SealError, State};
use crate::telemetry::Telemetry;

const ROLLED_BACK: &str = "credit_ledger_seals_rolled_back";
const ABOUT_ROLLED_BACK: &str = "1: a witness knows a seal that the database does not have";
const WITNESS_LAG: &str = "credit_ledger_witness_lag_seals";
const ABOUT_WITNESS_LAG: &str = "Seals that a witness was not told of yet";

/// No number of a seal: until the first round it is not known what the file has.
const NOBODY_LOOKED: i64 = -1;

/// The numbers of one instance.
pub struct Numbers {
    lag: Gauge,
    unsealed: Gauge,
    last: Gauge,
    changed: Gauge,
    errors: Counter,
    file: Option<Told>,
    server: Option<Told>,
    /// The last seal in the file, or [`NOBODY_LOOKED`].
    in_file: AtomicI64,
}

/// Those of a witness.
struct Told {
    lag: Gauge,
    rolled_back: Gauge,
}

impl Told {
    fn new(telemetry: &Telemetry, kind: &'static str) -> Self {
        Self {
            lag: telemetry.gauge_of(WITNESS_LAG, ABOUT_WITNESS_LAG, ("witness", kind)),
            rolled_back: telemetry.gauge_of(ROLLED_BACK, ABOUT_ROLLED_BACK, ("witness", kind)),
        }
    }
}

impl Numbers {
    /// How long the database may take to say how far it is: whoever scrapes does not wait for ever.
    pub(super) const PATIENCE: Duration = Duration::from_secs(2);

    /// With those of the witnesses that there are.
    pub fn new(telemetry: &Telemetry, file: bool, server: bool) -> Self {
        Self {
            lag: telemetry.gauge(
                "credit_ledger_seal_lag_seconds",
                "Age of the oldest event that is in no seal; 0: all are",
            ),
            unsealed: telemetry.gauge(
                "credit_ledger_unsealed_events",
                "Events that are in no seal",
            ),
            last: telemetry.gauge("credit_ledger_last_seal", "The number of the last seal"),
            changed: telemetry.gauge(
                "credit_ledger_sealed_history_changed",
                "1: what was sealed is not what is stored, so nothing is sealed",
            ),
            errors: telemetry.counter(
                "credit_ledger_seal_errors_total",
                "Rounds of sealing or of telling a witness that failed",
            ),
            file: file.then(|| Told::new(telemetry, "file")),
            server: server.then(|| Told::new(telemetry, "server")),
            in_file: AtomicI64::new(NOBODY_LOOKED),
        }
    }

    /// A round of sealing ended like this.
    pub(super) fn round_ended(&self, result: &Result<Round, SealError>) {
        if result.is_err() {
            self.errors.increment(1);
        }
        match result {
            Ok(Round {
                elsewhere: false, ..
            }) => self.changed.set(0.0),
            Err(SealError::Changed(_)) => self.changed.set(1.0),
            // Whoever did not look does not know.
            Ok(_) | Err(_) => {}
        }
    }

    /// What was done with the file ended like this.
    pub(super) fn file_agrees<T>(&self, result: &Result<T, SealError>) {
        match result {
            Ok(_) => set_rolled_back(self.file.as_ref(), false),
            Err(SealError::RolledBack(_)) => set_rolled_back(self.file.as_ref(), true),
            Err(_) => {}
        }
    }

    /// The file has this seal as its last.
    pub(super) fn file_told(&self, seal: i64) {
        self.in_file.store(seal, Ordering::Relaxed);
    }

    /// A turn of telling the server ended like this.
    pub(super) fn server_told(&self, result: &Result<Turn, SealError>) {
        if result.is_err() {
            self.errors.increment(1);
        }
        match result {
            Ok(Turn::Done | Turn::More) => set_rolled_back(self.server.as_ref(), false),
            Err(SealError::RolledBack(_)) => set_rolled_back(self.server.as_ref(), true),
            Ok(Turn::Elsewhere) | Err(_) => {}
        }
    }

    /// How far it is now. `told`: the last seal that the server was told. None: nobody can say.
    pub(super) fn show(&self, state: Option<(State, i64)>, now: DateTime<Utc>) {
        let Some((state, told)) = state else {
            for gauge in [&self.lag, &self.unsealed, &self.last] {
                gauge.set(f64::NAN);
            }
            return;
        };
        let age = state
            .oldest
            .map_or(0, |oldest| (now - oldest).num_milliseconds().max(0));
        self.lag.set(number(age) / 1000.0);
        self.unsealed.set(number(state.unsealed));
        self.last.set(number(state.seal));
        let in_file = self.in_file.load(Ordering::Relaxed);
        for (witness, told) in [(&self.file, in_file), (&self.server, told)] {
            if let Some(witness) = witness {
                let lag = number((state.seal - told).max(0));
                let known = told != NOBODY_LOOKED;
                witness.lag.set(if known { lag } else { f64::NAN });
            }
        }
    }
}

fn set_rolled_back(witness: Option<&Told>, is_so: bool) {
    if let Some(witness) = witness {
        witness.rolled_back.set(f64::from(u8::from(is_so)));
    }
}

/// Metrics are floating-point; what is beyond 2^53 is shown roughly.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point")]
fn number(integer: i64) -> f64 {
    integer as f64
}
