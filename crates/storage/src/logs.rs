//! The logs table.
