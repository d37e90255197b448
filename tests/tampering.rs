//! Whoever may write everything but sign changes the history, the tables beside it, or an export: each change is found and
//! named, on the live database and offline where it can be. What can not be found is said, and why.

mod copy;
mod dice;
mod fields;
mod folder;
mod forge;
mod lines;
mod offline;
mod sealed;
