//! `/v1/audit/…`: what auditors read. No personal data, no bodies, no secrets: the log has none.

mod log;

pub use log::{LoggedEvent, NDJSON, events, stream};
