//! The verdict on exports: a sound one, and one for each way in which it may be damaged.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod verdict;
