//! Query parameters the pages' API shares.

use std::sync::Arc;

use serde::Deserialize;
use skopos_query::filter::{self, Compare, Field, Filter, Value};
use skopos_query::{QueryError, TimeRange};

use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::time_arg::parse_time;

/// `from`, `to`, `env`, `q`.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct RangeParams {
    /// Start: Unix nanoseconds, RFC 3339, `now-3h` or `-3h`. One hour before `to` when absent.
    pub from: Option<String>,
    /// End, exclusive; now when absent.
    pub to: Option<String>,
    /// Only this deployment environment.
    pub env: Option<String>,
    /// Filter, as in `service:orders level:error "free text"`.
    pub q: Option<String>,
}

impl RangeParams {
    /// The range; upside down is an error.
    ///
    /// # Errors
    /// 400 with the parameter's name.
    pub fn range(&self, app: &Arc<App>) -> ApiResult<TimeRange> {
        let now = app.clock.now_nanos();
        let read = |name: &str, text: &Option<String>, default: i64| match text.as_deref().filter(|t| !t.is_empty()) {
            Some(text) => parse_time(text, now).map_err(|e| ApiError::bad_request(format!("{name}: {e}"))),
            None => Ok(default),
        };
        // Rows written this very moment have to be inside a range that ends "now".
        let end = read("to", &self.to, now)?.saturating_add(1);
        let start = read("from", &self.from, end - 3_600_000_000_000)?;
        if start >= end {
            return Err(ApiError::bad_request(format!(
                "the time range is upside down: from ({}) is not before to ({})",
                self.from.as_deref().unwrap_or("one hour ago"),
                self.to.as_deref().unwrap_or("now")
            )));
        }
        Ok(TimeRange { start, end })
    }

    /// The filter, restricted to the environment.
    ///
    /// # Errors
    /// 400 with the position.
    pub fn filter(&self) -> Result<Filter, QueryError> {
        let filter = filter::parse(self.q.as_deref().unwrap_or(""))?;
        Ok(self.in_environment(filter))
    }

    /// `filter` restricted to the environment, if one is given.
    pub fn in_environment(&self, filter: Filter) -> Filter {
        match self.env.as_deref().filter(|e| !e.is_empty()) {
            Some(env) => and([filter, equal(Field::Environment, env)]),
            None => filter,
        }
    }
}

/// `field` equals `text`.
pub fn equal(field: Field, text: &str) -> Filter {
    Filter::Field(field, Compare::Equal(vec![Value::Text(text.to_owned())]))
}

/// All of them; conjunctions inside are flattened.
pub fn and(filters: impl IntoIterator<Item = Filter>) -> Filter {
    let mut all = Vec::new();
    for filter in filters {
        match filter {
            Filter::And(inner) => all.extend(inner),
            other => all.push(other),
        }
    }
    Filter::And(all)
}
