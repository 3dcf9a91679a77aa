//! The spans table.
