//! Handlers, one file a noun.

pub mod admin;
pub mod alerts;
pub mod capacity;
pub mod cardinality;
pub mod correlate;
pub mod dashboards;
pub mod dashboards_panels;
pub mod drills;
pub mod events;
pub mod explain;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod openapi;
pub mod palette;
pub mod params;
pub mod prometheus;
pub mod rules;
pub mod runbooks;
pub mod services;
pub mod shapes;
pub mod slos;
pub mod sql;
pub mod status;
pub mod tempo;
pub mod traces;
