//! Unit tests of rules in promtool's file format: series are written down, the rules are evaluated over virtual time,
//! and alerts and expressions are compared with what is expected.
//!
//! Knows no file: the caller reads the test file, follows its globs, and brings the rules. What passes with promtool
//! passes here, its oddities included: rules of every group run at the file's evaluation interval from the start on, and
//! samples after the last evaluation do not exist.

mod compare;
mod file;
mod run;

pub use file::{AlertTest, ExpectedAlert, ExpectedSample, ExpressionTest, InputSeries, TestGroup, UnitTestFile, parse_unit_tests};
pub use run::run_test;

#[cfg(test)]
mod tests;
