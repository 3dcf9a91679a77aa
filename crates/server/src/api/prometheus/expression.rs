//! `format_query` and `parse_query`: expressions as text and as a tree.

use serde_json::json;
use skopos_query::promql;

use super::{Params, PromResult, success};

/// `GET|POST /api/v1/format_query`
pub(crate) async fn format_query(params: Params) -> PromResult {
    Ok(success(json!(params.expression()?.to_string())))
}

/// `GET|POST /api/v1/parse_query`
pub(crate) async fn parse_query(params: Params) -> PromResult {
    Ok(success(promql::syntax_tree(&params.expression()?)))
}
