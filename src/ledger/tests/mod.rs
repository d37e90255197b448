//! Tests of the rules: given events, when a command, then events; and properties of whole lives.

mod decision;
mod ending;
mod event;
mod lots;
mod model;
mod order;
mod plain;
mod purchase;
mod refunds;
mod stored;
mod user;
