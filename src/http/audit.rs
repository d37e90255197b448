//! `/v1/audit/…`: what auditors read. No personal data, no bodies, no secrets: the log has none.

mod log;
mod seals;

pub use log::{LoggedEvent, NDJSON, events, stream};
pub use seals::{Consistency, EventProof, Seal, consistency, proof, seals};
