//! Syntax, answers from a store in memory, and Loki's own scripts where they are at hand.

mod conformance;
mod memory;
mod script;
mod syntax;
