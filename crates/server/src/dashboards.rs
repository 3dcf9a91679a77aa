//! Dashboards as code: a documented subset of Perses' dashboard document, from files, through the API, or made by
//! themselves where the data is there.
//!
//! Everything about a dashboard is worked out here once, for the pages, for pictures and for the command line:
//! variables, queries, repeats. Nothing here knows HTTP.

pub mod document;
pub mod unit;

pub mod judge;

mod read;

pub mod build;
pub mod data;
pub mod diff;
pub mod grafana;
pub mod heatmap;
pub mod interpolate;
pub mod picture;
pub mod store;
pub mod templates;
pub mod variables;

pub use read::{DOCUMENT_BYTES_MAX, is_dashboard, parse};
