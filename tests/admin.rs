//! What operators see and do: the shapes of the contract to the letter, pages, and what is refused.

mod look;
mod resolve;
mod retry;
