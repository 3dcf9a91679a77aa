//! The functions of PromQL: one table that the parser, the evaluator, the documentation and completion read.

pub(crate) mod extended;
mod histogram;
mod info;
mod label;
mod math;
mod mixed;
mod native;
mod native_rate;
mod over_time;
mod rate;
mod starts;
mod time;

pub(crate) use mixed::mixed;
pub(crate) use starts::{is_reset as is_start_reset, started};

use super::ast::{Call, Expr, Kind, Type};
use super::display::number;
use super::eval::{Evaluator, Val};
use super::vector::{Matrix, Name, Steps};
use super::window::WindowFn;
use crate::error::QueryError;

/// How a function is computed.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// Value by value; the name goes.
    Map(fn(f64) -> f64),
    /// Value by value with the scalar arguments of the step; the name goes.
    MapWith(fn(f64, &[f64]) -> f64),
    /// A part of a time in Unix seconds; without an argument, of the step's time.
    Date(fn(f64) -> f64),
    /// From the samples of a window.
    Window {
        /// Fills a row.
        function: WindowFn,
        /// Whether the result is still what the name says.
        keeps_name: bool,
        /// Which argument is the range vector; the others are scalars.
        matrix_at: usize,
    },
    /// Anything else.
    Special(fn(&mut Evaluator<'_>, &Expr, &Call, Steps) -> Result<Val, QueryError>),
}

/// A function: its row in the table.
pub struct Function {
    /// Name in queries.
    pub name: &'static str,
    /// Types of its arguments, the optional ones too.
    pub args: &'static [Type],
    /// Names of its arguments, for usage lines.
    pub arg_names: &'static [&'static str],
    /// How many of the last arguments may be left out.
    pub optional: usize,
    /// Whether the last argument may be repeated.
    pub variadic: bool,
    /// Type of the result.
    pub returns: Type,
    /// One sentence on what it does.
    pub summary: &'static str,
    /// A query that uses it.
    pub example: &'static str,
    /// Whether it is behind the experimental switch.
    pub experimental: bool,
    /// Whether it looks at the step's time beside its arguments.
    pub per_step: bool,
    pub(crate) body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Function {
    /// Least and most arguments; no most when the last may be repeated.
    pub fn arity(&self) -> (usize, Option<usize>) {
        let least = self.args.len() - self.optional;
        (least, (!self.variadic).then_some(self.args.len()))
    }

    /// Type of the argument at `index`.
    pub fn argument_type(&self, index: usize) -> Type {
        self.args[index.min(self.args.len() - 1)]
    }

    /// `name(argument type, [optional type], …)`.
    pub fn usage(&self) -> String {
        let least = self.args.len() - self.optional;
        let mut parts: Vec<String> = Vec::new();
        for (i, (name, t)) in self.arg_names.iter().zip(self.args).enumerate() {
            let dots = if self.variadic && i + 1 == self.args.len() { " …" } else { "" };
            let part = format!("{name} {}{dots}", t.name());
            parts.push(if i < least { part } else { format!("[{part}]") });
        }
        format!("{}({})", self.name, parts.join(", "))
    }
}

const V: Type = Type::Vector;
const M: Type = Type::Matrix;
const S: Type = Type::Scalar;
const T: Type = Type::Text;

const fn function(
    name: &'static str,
    args: &'static [Type],
    arg_names: &'static [&'static str],
    body: Body,
    summary: &'static str,
    example: &'static str,
) -> Function {
    Function {
        name,
        args,
        arg_names,
        optional: 0,
        variadic: false,
        returns: Type::Vector,
        summary,
        example,
        experimental: false,
        per_step: false,
        body,
    }
}

impl Function {
    const fn optional(mut self, n: usize) -> Self {
        self.optional = n;
        self
    }
    const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }
    const fn returns(mut self, t: Type) -> Self {
        self.returns = t;
        self
    }
    const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }
    const fn per_step(mut self) -> Self {
        self.per_step = true;
        self
    }
}

const fn map(name: &'static str, f: fn(f64) -> f64, summary: &'static str, example: &'static str) -> Function {
    function(name, &[V], &["v"], Body::Map(f), summary, example)
}

const fn date(name: &'static str, f: fn(f64) -> f64, summary: &'static str, example: &'static str) -> Function {
    function(name, &[V], &["v"], Body::Date(f), summary, example).optional(1).per_step()
}

const fn window(name: &'static str, f: WindowFn, summary: &'static str, example: &'static str) -> Function {
    function(name, &[M], &["v"], Body::Window { function: f, keeps_name: false, matrix_at: 0 }, summary, example)
}

const fn named_window(name: &'static str, f: WindowFn, summary: &'static str, example: &'static str) -> Function {
    function(name, &[M], &["v"], Body::Window { function: f, keeps_name: true, matrix_at: 0 }, summary, example)
}

/// All functions, by name.
pub static FUNCTIONS: &[Function] = &[
    map("abs", f64::abs, "Absolute value.", "abs(delta(temperature[5m]))"),
    function(
        "absent",
        &[V],
        &["v"],
        Body::Special(label::absent),
        "1 when the vector is empty, with the labels its selector states; nothing otherwise.",
        "absent(up{job=\"orders\"})",
    ),
    function(
        "absent_over_time",
        &[M],
        &["v"],
        Body::Special(label::absent_over_time),
        "1 when no series has a sample in the window, with the labels its selector states; nothing otherwise.",
        "absent_over_time(up{job=\"orders\"}[1h])",
    ),
    map("acos", f64::acos, "Arc cosine, in radians.", "acos(v)"),
    map("acosh", f64::acosh, "Inverse hyperbolic cosine.", "acosh(v)"),
    map("asin", f64::asin, "Arc sine, in radians.", "asin(v)"),
    map("asinh", math::asinh, "Inverse hyperbolic sine.", "asinh(v)"),
    map("atan", f64::atan, "Arc tangent, in radians.", "atan(v)"),
    map("atanh", f64::atanh, "Inverse hyperbolic tangent.", "atanh(v)"),
    window("avg_over_time", over_time::avg, "Mean of the samples in the window.", "avg_over_time(temperature[1h])"),
    map("ceil", f64::ceil, "Rounds up to a whole number.", "ceil(v)"),
    window("changes", over_time::changes, "How often the value changed in the window.", "changes(process_start_time_seconds[1h])"),
    function(
        "clamp",
        &[V, S, S],
        &["v", "min", "max"],
        Body::Special(math::clamp),
        "Keeps values between a minimum and a maximum.",
        "clamp(v, 0, 1)",
    ),
    function("clamp_max", &[V, S], &["v", "max"], Body::MapWith(math::clamp_max), "Keeps values at or below a maximum.", "clamp_max(v, 100)"),
    function("clamp_min", &[V, S], &["v", "min"], Body::MapWith(math::clamp_min), "Keeps values at or above a minimum.", "clamp_min(v, 0)"),
    map("cos", f64::cos, "Cosine of radians.", "cos(v)"),
    map("cosh", f64::cosh, "Hyperbolic cosine.", "cosh(v)"),
    window("count_over_time", over_time::count, "Number of samples in the window.", "count_over_time(up[1h])"),
    date("day_of_month", time::day_of_month, "Day of the month in UTC, from 1.", "day_of_month()"),
    date("day_of_week", time::day_of_week, "Day of the week in UTC, 0 is Sunday.", "day_of_week() > 0 < 6"),
    date("day_of_year", time::day_of_year, "Day of the year in UTC, from 1.", "day_of_year()"),
    date("days_in_month", time::days_in_month, "Number of days of the month in UTC.", "days_in_month()"),
    map("deg", f64::to_degrees, "Radians to degrees.", "deg(v)"),
    window("delta", rate::delta, "Difference between the window's ends, extrapolated; for gauges.", "delta(temperature[1h])"),
    window("deriv", rate::deriv, "Change per second by linear regression; for gauges.", "deriv(queue_length[10m])"),
    function(
        "double_exponential_smoothing",
        &[M, S, S],
        &["v", "smoothing", "trend"],
        Body::Window { function: rate::smooth, keeps_name: false, matrix_at: 0 },
        "Smoothed value by a smoothing and a trend factor between 0 and 1.",
        "double_exponential_smoothing(queue_length[1h], 0.5, 0.1)",
    )
    .experimental(),
    function("end", &[], &[], Body::Special(time::end), "End of the query's time range, Unix seconds.", "end()").returns(S).experimental(),
    map("exp", f64::exp, "e to the power of the value.", "exp(v)"),
    named_window("first_over_time", over_time::first, "Oldest sample in the window.", "first_over_time(v[1h])"),
    map("floor", f64::floor, "Rounds down to a whole number.", "floor(v)"),
    function(
        "histogram_avg",
        &[V],
        &["v"],
        Body::Special(native::avg),
        "Mean of the observations in each native histogram.",
        "histogram_avg(rate(http_request_duration_seconds[5m]))",
    ),
    function(
        "histogram_count",
        &[V],
        &["v"],
        Body::Special(native::count),
        "Number of observations in each native histogram.",
        "histogram_count(rate(http_request_duration_seconds[5m]))",
    ),
    function(
        "histogram_fraction",
        &[S, S, V],
        &["lower", "upper", "b"],
        Body::Special(histogram::fraction),
        "Share of observations between two bounds, from native histograms or from buckets with an `le` label.",
        "histogram_fraction(0, 0.2, rate(http_request_duration_seconds_bucket[5m]))",
    ),
    function(
        "histogram_quantile",
        &[S, V],
        &["q", "b"],
        Body::Special(histogram::quantile),
        "Quantile of the observations, from native histograms or from buckets with an `le` label.",
        "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    function(
        "histogram_quantiles",
        &[V, T, S],
        &["b", "label", "q"],
        Body::Special(histogram::quantiles),
        "Several quantiles of the observations at once, told apart by a label.",
        "histogram_quantiles(sum by (le) (rate(http_request_duration_seconds_bucket[5m])), \"quantile\", 0.5, 0.99)",
    )
    .variadic()
    .experimental(),
    function(
        "histogram_stddev",
        &[V],
        &["v"],
        Body::Special(native::stddev),
        "Standard deviation of the observations in each native histogram.",
        "histogram_stddev(rate(http_request_duration_seconds[5m]))",
    ),
    function(
        "histogram_stdvar",
        &[V],
        &["v"],
        Body::Special(native::stdvar),
        "Variance of the observations in each native histogram.",
        "histogram_stdvar(rate(http_request_duration_seconds[5m]))",
    ),
    function(
        "histogram_sum",
        &[V],
        &["v"],
        Body::Special(native::sum),
        "Sum of the observations in each native histogram.",
        "histogram_sum(rate(http_request_duration_seconds[5m]))",
    ),
    date("hour", time::hour, "Hour of the day in UTC.", "hour() > 8 < 18"),
    window("idelta", rate::idelta, "Difference between the window's last two samples; for gauges.", "idelta(temperature[5m])"),
    window("increase", rate::increase, "Increase of a counter over the window, extrapolated to its ends.", "increase(http_requests_total[5m])"),
    function(
        "info",
        &[V, V],
        &["v", "label_selector"],
        Body::Special(info::info),
        "Adds the labels of the info metric (`target_info` unless the selector names others) of the same `instance` and `job`.",
        "info(rate(http_requests_total[5m]), {k8s_cluster_name=~\".+\"})",
    )
    .optional(1)
    .experimental(),
    window("irate", rate::irate, "Per-second increase of a counter from the window's last two samples.", "irate(http_requests_total[5m])"),
    function(
        "label_join",
        &[V, T, T, T],
        &["v", "dst", "separator", "src"],
        Body::Special(label::join),
        "Sets a label to the values of others, joined.",
        "label_join(up, \"target\", \":\", \"job\", \"instance\")",
    )
    .optional(1)
    .variadic(),
    function(
        "label_replace",
        &[V, T, T, T, T],
        &["v", "dst", "replacement", "src", "regex"],
        Body::Special(label::replace),
        "Sets a label from another by a regular expression that has to match all of it.",
        "label_replace(up, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
    ),
    named_window("last_over_time", over_time::last, "Newest sample in the window.", "last_over_time(v[1h])"),
    map("ln", f64::ln, "Natural logarithm.", "ln(v)"),
    map("log10", f64::log10, "Decimal logarithm.", "log10(v)"),
    map("log2", f64::log2, "Binary logarithm.", "log2(v)"),
    window("mad_over_time", over_time::mad, "Median absolute deviation of the samples in the window.", "mad_over_time(v[1h])").experimental(),
    function("max_of", &[S, S], &["a", "b"], Body::Special(math::max_of), "The larger of two scalars.", "max_of(step(), 60)")
        .returns(S)
        .experimental(),
    window("max_over_time", over_time::max, "Largest sample in the window.", "max_over_time(v[1h])"),
    function("min_of", &[S, S], &["a", "b"], Body::Special(math::min_of), "The smaller of two scalars.", "min_of(step(), 60)")
        .returns(S)
        .experimental(),
    window("min_over_time", over_time::min, "Smallest sample in the window.", "min_over_time(v[1h])"),
    date("minute", time::minute, "Minute of the hour in UTC.", "minute()"),
    date("month", time::month, "Month of the year in UTC, from 1.", "month()"),
    function("pi", &[], &[], Body::Special(math::pi), "The number pi.", "pi()").returns(S),
    function(
        "predict_linear",
        &[M, S],
        &["v", "seconds"],
        Body::Window { function: rate::predict_linear, keeps_name: false, matrix_at: 0 },
        "Value in so many seconds by linear regression; for gauges.",
        "predict_linear(disk_free_bytes[6h], 86400) < 0",
    )
    .per_step(),
    window("present_over_time", over_time::present, "1 for each series with a sample in the window.", "present_over_time(up[1h])"),
    function(
        "quantile_over_time",
        &[S, M],
        &["q", "v"],
        Body::Window { function: over_time::quantile, keeps_name: false, matrix_at: 1 },
        "Quantile of the samples in the window.",
        "quantile_over_time(0.9, queue_length[1h])",
    ),
    map("rad", f64::to_radians, "Degrees to radians.", "rad(v)"),
    function("range", &[], &[], Body::Special(time::range), "End minus start of the query's time range, seconds.", "range()")
        .returns(S)
        .experimental(),
    window("rate", rate::rate, "Per-second increase of a counter over the window, extrapolated to its ends.", "rate(http_requests_total[5m])"),
    window("resets", over_time::resets, "How often a counter was reset in the window.", "resets(http_requests_total[1h])"),
    function(
        "round",
        &[V, S],
        &["v", "to_nearest"],
        Body::MapWith(math::round),
        "Rounds to the nearest multiple (of 1 unless given); ties go up.",
        "round(v, 0.5)",
    )
    .optional(1),
    function(
        "scalar",
        &[V],
        &["v"],
        Body::Special(math::scalar),
        "The value of a vector's only series, NaN when it has none or several.",
        "scalar(count(up))",
    )
    .returns(S),
    map("sgn", math::sgn, "1, -1 or 0 by the value's sign.", "sgn(v)"),
    map("sin", f64::sin, "Sine of radians.", "sin(v)"),
    map("sinh", f64::sinh, "Hyperbolic sine.", "sinh(v)"),
    function("sort", &[V], &["v"], Body::Special(label::sort), "Sorts by value, smallest first; instant queries only.", "sort(up)"),
    function(
        "sort_by_label",
        &[V, T],
        &["v", "label"],
        Body::Special(label::sort_by_label),
        "Sorts by the values of labels in natural order; instant queries only.",
        "sort_by_label(up, \"instance\")",
    )
    .optional(1)
    .variadic()
    .experimental(),
    function(
        "sort_by_label_desc",
        &[V, T],
        &["v", "label"],
        Body::Special(label::sort_by_label_desc),
        "Sorts by the values of labels in reverse natural order; instant queries only.",
        "sort_by_label_desc(up, \"instance\")",
    )
    .optional(1)
    .variadic()
    .experimental(),
    function("sort_desc", &[V], &["v"], Body::Special(label::sort_desc), "Sorts by value, largest first; instant queries only.", "sort_desc(up)"),
    map("sqrt", f64::sqrt, "Square root.", "sqrt(v)"),
    function("start", &[], &[], Body::Special(time::start), "Start of the query's time range, Unix seconds.", "start()").returns(S).experimental(),
    function(
        "start_timestamp",
        &[V],
        &["v"],
        Body::Special(time::start_timestamp),
        "When the counter of each sample was started, Unix seconds; 0 where that is not known. Nothing unless start timestamps are switched on.",
        "time() - start_timestamp(http_requests_total)",
    )
    .per_step()
    .experimental(),
    window("stddev_over_time", over_time::stddev, "Standard deviation of the samples in the window.", "stddev_over_time(v[1h])"),
    window("stdvar_over_time", over_time::stdvar, "Variance of the samples in the window.", "stdvar_over_time(v[1h])"),
    function("step", &[], &[], Body::Special(time::step), "Resolution of the query, seconds; 0 for an instant query.", "step()")
        .returns(S)
        .experimental(),
    window("sum_over_time", over_time::sum, "Sum of the samples in the window.", "sum_over_time(v[1h])"),
    map("tan", f64::tan, "Tangent of radians.", "tan(v)"),
    map("tanh", f64::tanh, "Hyperbolic tangent.", "tanh(v)"),
    function("time", &[], &[], Body::Special(time::time), "The step's time, Unix seconds.", "time() - process_start_time_seconds")
        .returns(S)
        .per_step(),
    function("timestamp", &[V], &["v"], Body::Special(time::timestamp), "Time of each sample, Unix seconds.", "time() - timestamp(up)").per_step(),
    window(
        "ts_of_first_over_time",
        over_time::time_of_first,
        "Time of the oldest sample in the window, Unix seconds.",
        "ts_of_first_over_time(v[1h])",
    )
    .experimental(),
    window("ts_of_last_over_time", over_time::time_of_last, "Time of the newest sample in the window, Unix seconds.", "ts_of_last_over_time(v[1h])")
        .experimental(),
    window(
        "ts_of_max_over_time",
        over_time::time_of_max,
        "Time of the last largest sample in the window, Unix seconds.",
        "ts_of_max_over_time(v[1h])",
    )
    .experimental(),
    window(
        "ts_of_min_over_time",
        over_time::time_of_min,
        "Time of the last smallest sample in the window, Unix seconds.",
        "ts_of_min_over_time(v[1h])",
    )
    .experimental(),
    function("vector", &[S], &["s"], Body::Special(math::vector), "A vector of one series without labels.", "vector(1)"),
    date("year", time::year, "Year in UTC.", "year()"),
];

/// The function of that name.
pub fn by_name(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

/// The name most like a mistyped one, of functions and aggregations.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let aggregations = super::ast::AggregateOp::ALL.iter().map(|op| op.name());
    let names = FUNCTIONS.iter().map(|f| f.name).chain(aggregations);
    let alike = |n: &str| n.bytes().zip(lower.bytes()).take_while(|(a, b)| a == b).count();
    let near = names.map(|n| (strsim::damerau_levenshtein(&lower, n), n)).filter(|(d, n)| *d <= 1 + n.len() / 4);
    // Of names as near, the one that begins most alike.
    near.min_by_key(|(d, n)| (*d, std::cmp::Reverse(alike(n)))).map(|(_, n)| n)
}

/// Suffixes that counters and the parts of histograms and summaries end in.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// Says what looks wrong about a function's input.
///
/// # Errors
/// When a scalar argument is outside what the function is defined for.
pub(crate) fn note(ev: &mut Evaluator<'_>, c: &Call, matrix: &Matrix, scalars: &[Vec<f64>]) -> Result<(), QueryError> {
    if c.function.name == "double_exponential_smoothing" {
        for (what, factors) in ["smoothing factor", "trend factor"].iter().zip(scalars) {
            if let Some(bad) = factors.iter().find(|f| !(**f > 0.0 && **f < 1.0)) {
                return Err(QueryError::Execution(format!("invalid {what}. Expected: 0 < factor < 1, got: {}", number(*bad))));
            }
        }
    }
    if matches!(c.function.name, "rate" | "increase") {
        let mut last = "";
        // What is no longer the metric its name says is not judged by that name.
        let named = |i: usize| matrix.names.as_ref().is_none_or(|n| n[i] == Name::Kept);
        for (_, series) in matrix.series.iter().enumerate().filter(|(i, s)| s.values.len() > 1 && named(*i)) {
            // `__name__` sorts before other usual labels, so it is found at once.
            let name = match series.labels.iter().next() {
                Some((super::METRIC_NAME, name)) => name,
                _ => series.labels.name(),
            };
            if name == last || name.is_empty() {
                continue;
            }
            last = name;
            if !COUNTER_SUFFIXES.iter().any(|s| name.ends_with(s)) {
                let message = format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}");
                ev.notes.info(&message, &c.args[0]);
            }
        }
    }
    if c.function.name == "quantile_over_time" && matrix.series.iter().any(|s| !s.values.is_empty()) {
        for bad in scalars.iter().take(1).flatten().filter(|q| !(0.0..=1.0).contains(*q)) {
            ev.notes.warn(&format!("quantile value should be between 0 and 1, got {}", number(*bad)), &c.args[0]);
        }
    }
    Ok(())
}

/// Labels that a selector states by `=` and nothing else contradicts.
pub(crate) fn stated_labels(expr: &Expr) -> skopos_model::Labels {
    let matchers = match &expr.without_parens().kind {
        Kind::Selector(s) => &s.matchers[..],
        Kind::Range(r) => &r.selector.matchers[..],
        _ => &[],
    };
    let stated = matchers.iter().filter(|m| {
        m.op == crate::metrics::MatchOp::Equal && m.name != super::METRIC_NAME && matchers.iter().filter(|o| o.name == m.name).count() == 1
    });
    stated.map(|m| (m.name.as_str(), m.value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_examples_parse() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
        for f in FUNCTIONS {
            assert_eq!(f.args.len(), f.arg_names.len(), "{}", f.name);
            assert!(f.summary.ends_with('.'), "{}", f.name);
            let parsed = crate::promql::parse(f.example);
            assert!(parsed.is_ok(), "{}: {parsed:?}", f.example);
            assert!(f.example.contains(f.name), "{}", f.name);
        }
    }

    #[test]
    fn typos() {
        assert_eq!(nearest("rat"), Some("rate"));
        assert_eq!(nearest("histogram_quantil"), Some("histogram_quantile"));
        assert_eq!(nearest("completely_else"), None);
    }
}
