//! Bad input of all kinds against the real program: texts, numbers and bodies in every place that the description of the
//! API names, in every member of every payload, and bytes that are no HTTP. It never panics, no answer is a fault of ours,
//! what is refused is refused with a described code, what is taken comes back byte for byte, every line of the log is one
//! line, memory has a bound, and a good webhook is recorded right after.

mod bodies;
mod connections;
mod lots;
mod numbers;
mod payloads;
pub mod places;
pub mod target;
mod texts;
