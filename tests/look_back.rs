//! Looking back: what was, and what would have been, from the events alone.

mod balance;
mod what_if;
