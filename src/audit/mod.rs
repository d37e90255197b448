//! For those who do not trust us: the history told again by other means and compared with what we say, and sealed, so that
//! nobody can change it later.
//!
//! Must never use the store, the store's connections, or the SQL of the read models.

pub mod balance;
pub mod export;
pub mod history;
pub mod replay;
pub mod rows;
pub mod seal;
pub mod snapshot;
pub mod tables;
pub mod verify;
pub mod walk;
pub mod what_if;
pub mod whole;
