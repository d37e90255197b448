//! A credit ledger: verified webhooks become commands, commands become events, events become balances.

pub mod postgres;
