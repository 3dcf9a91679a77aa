//! What PromQL evaluation reads from, and label look-ups.

use std::sync::Arc;

use skopos_model::{Exemplar, Labels, MetricMetadata, NativeHistogram};

use crate::cardinality::{Cardinality, Floods};
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::windows::{Digest, WindowHint};

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`, anchored at both ends
    NotRegex,
}

/// A label matcher. An absent label has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// Comparison.
    pub op: MatchOp,
    /// Value or pattern as written.
    pub value: String,
    regex: Option<regex::Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Matcher {
    /// Builds a matcher; patterns are anchored as Prometheus anchors them (`^(?s:…)$`).
    ///
    /// # Errors
    /// With the reason when the pattern is no regular expression.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, String> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(regex::Regex::new(&format!("^(?s:{value})$")).map_err(|e| e.to_string())?),
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Whether a label value (empty when the label is absent) is taken.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, Some(re)) => re.is_match(value),
            (MatchOp::NotRegex, Some(re)) => !re.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }
}

/// Samples of the series that satisfy all matchers.
#[derive(Debug, Clone)]
pub struct Select<'a> {
    /// All have to match.
    pub matchers: &'a [Matcher],
    /// First timestamp wanted, Unix milliseconds.
    pub start: i64,
    /// Last timestamp wanted, Unix milliseconds (inclusive).
    pub end: i64,
    /// Labels the query groups by, or none: a hint, never needed for a right answer.
    pub grouping: Option<&'a [String]>,
}

/// One series' samples in time order: floats, native histograms, seldom both.
///
/// Series scraped together share one `timestamps` allocation: evaluation plans its windows once for each distinct
/// `Arc` (compare pointers).
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Labels, the name among them.
    pub labels: Arc<Labels>,
    /// Unix milliseconds, strictly ascending.
    pub timestamps: Arc<[i64]>,
    /// Values, NaN payloads (stale markers) kept.
    pub values: Vec<f64>,
    /// Native histograms by time, strictly ascending; no time of theirs is one of `timestamps`.
    pub histograms: Vec<(i64, Arc<NativeHistogram>)>,
    /// When the counter was started, where its sender said so: (from which sample on, start), Unix milliseconds.
    pub starts: Vec<(i64, i64)>,
    /// What the samples stand for when they are not all there are; only [`Queryable::select_windows`] gives such series.
    pub digest: Option<Box<Digest>>,
}

/// A series and its exemplars in time order.
pub type SeriesExemplars = (Arc<Labels>, Vec<Exemplar>);

/// Reads samples. Calls block: run them on a thread that may.
pub trait Queryable: Send + Sync {
    /// Series with at least one sample in range, in order of their labels. Counts them and their samples in the
    /// context's statistics and stops at its limits, before they fill the memory.
    fn select(&self, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError>;

    /// The same series, handed out in batches of some tens, in any order: what folds them into groups need not have
    /// all of them in memory at once. Who cannot do so, or not for these series, calls `each` never and returns
    /// them all.
    ///
    /// # Errors
    /// As [`Self::select`], and with what `each` returns, which also ends it.
    fn select_batches(
        &self,
        select: &Select<'_>,
        ctx: &QueryContext,
        _each: &mut dyn FnMut(Vec<Series>) -> Result<(), QueryError>,
    ) -> Result<Option<Vec<Series>>, QueryError> {
        self.select(select, ctx).map(Some)
    }

    /// The same for windows of which only some facts are looked at: a store that has these at hand may leave out
    /// samples, and says with each series what the others stand for.
    fn select_windows(&self, select: &Select<'_>, _windows: &WindowHint<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        self.select(select, ctx)
    }

    /// Whether [`Self::select_windows`] would leave out samples: then it is the way to read them.
    fn has_rollups(&self, _select: &Select<'_>, _windows: &WindowHint<'_>) -> bool {
        false
    }

    /// Label sets with a sample in range that match any of the matcher lists (all series when there is none).
    fn series(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, limit: usize, ctx: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError>;

    /// Names of labels of such series, sorted.
    fn label_names(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError>;

    /// Values of one label over such series, sorted.
    fn label_values(&self, label: &str, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError>;

    /// Exemplars of matching series in the range, Unix milliseconds.
    fn exemplars(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<SeriesExemplars>, QueryError>;

    /// Metadata by family, of one family when it is named.
    fn metadata(&self, family: Option<&str>) -> Vec<MetricMetadata>;

    /// How many series there are; lists of at most `top` entries. What keeps no index of its series tells nothing.
    fn cardinality(&self, _top: usize) -> Cardinality {
        Cardinality::default()
    }

    /// Metrics whose new series are refused, at most `top` of them.
    fn floods(&self, _top: usize) -> Floods {
        Floods::default()
    }
}
