//! For those who do not trust us: the history told again by other means, and compared with what we say.
//!
//! Must never use the store, the store's connections, or the SQL of the read models.

pub mod export;
pub mod replay;
pub mod rows;
pub mod snapshot;
pub mod tables;
pub mod walk;
