//! A credit ledger: verified webhooks become commands, commands become events, events become balances.

pub mod access;
pub mod ledger;
pub mod outbound;
pub mod provider;
