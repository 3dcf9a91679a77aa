//! Samples, series, exemplars.
