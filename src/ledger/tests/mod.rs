//! Tests of the rules: given events, when a command, then events; and properties of whole lives.

mod decision;
mod event;
mod order;
mod purchase;
mod refunds;
mod user;
