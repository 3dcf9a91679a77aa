//! PromQL: parser, planner, vectorised evaluator over [`crate::metrics::Queryable`].
