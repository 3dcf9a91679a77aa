//! The file format.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config_error::{Finding, FindingSeverity, Findings};
use crate::yaml::{Fields, Node, documents};

const FILE_KEYS: &[&str] = &["rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare"];
const TEST_KEYS: &[&str] =
    &["interval", "input_series", "alert_rule_test", "promql_expr_test", "external_labels", "external_url", "name", "start_timestamp"];

/// Interval where none is stated, milliseconds.
const INTERVAL_MS: i64 = 60_000;

/// A file of unit tests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnitTestFile {
    /// Rule files, globs relative to the test file.
    pub rule_files: Vec<String>,
    /// Time between evaluations, milliseconds.
    pub evaluation_interval_ms: i64,
    /// Names of groups in the order they are evaluated; others come first, in the order of their files.
    pub group_eval_order: Vec<String>,
    /// Whether neighbouring floats are equal.
    pub fuzzy_compare: bool,
    /// The tests.
    pub tests: Vec<TestGroup>,
}

/// Series and what is expected of the rules over them. Times in milliseconds from the test's start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TestGroup {
    /// Name, may be empty.
    pub name: String,
    /// Time between the points of series.
    pub interval_ms: i64,
    /// The series.
    pub input_series: Vec<InputSeries>,
    /// Alerts that have to fire.
    pub alerts: Vec<AlertTest>,
    /// Expressions and their samples.
    pub expressions: Vec<ExpressionTest>,
    /// `{{ $externalLabels }}`.
    pub external_labels: BTreeMap<String, String>,
    /// `{{ $externalURL }}`.
    pub external_url: String,
    /// When it begins, Unix milliseconds.
    pub start: i64,
}

/// A series in the notation of [`skopos_query::promql::series_notation`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InputSeries {
    /// Name and labels.
    pub series: String,
    /// Points.
    pub values: String,
}

/// Alerts of one name at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertTest {
    /// When.
    pub eval_time: i64,
    /// Name.
    pub alertname: String,
    /// All that fire.
    pub expected: Vec<ExpectedAlert>,
}

/// An alert that has to fire.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpectedAlert {
    /// Labels without `alertname`.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An expression at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpressionTest {
    /// PromQL.
    pub expr: String,
    /// When.
    pub eval_time: i64,
    /// All samples it has to give.
    pub expected: Vec<ExpectedSample>,
}

/// A sample an expression has to give.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpectedSample {
    /// Name and labels.
    pub labels: String,
    /// Value.
    pub value: f64,
    /// Histogram, where one is expected; else empty.
    pub histogram: String,
}

/// Reads a file of unit tests; unknown keys are errors unless `ignore_unknown`.
///
/// # Errors
/// With everything that is wrong with it.
pub fn parse_unit_tests(file: &str, text: &str, ignore_unknown: bool) -> Result<UnitTestFile, Vec<Finding>> {
    let mut reader = Reader { out: Findings::new(file), ignore_unknown };
    let documents = documents(text, &mut reader.out);
    let parsed = documents.first().filter(|d| !d.is_null()).and_then(|document| reader.file(document));
    let findings = reader.out.into_list();
    if findings.iter().any(|f| f.severity == FindingSeverity::Error) {
        return Err(findings);
    }
    Ok(parsed.unwrap_or(UnitTestFile { evaluation_interval_ms: INTERVAL_MS, ..UnitTestFile::default() }))
}

struct Reader {
    out: Findings,
    ignore_unknown: bool,
}

impl Reader {
    fn fields<'n>(&mut self, node: &'n Node, path: &str, known: &[&str]) -> Option<Fields<'n>> {
        if self.ignore_unknown { Fields::open(node, path, &mut self.out) } else { Fields::new(node, path, known, &mut self.out) }
    }

    /// A duration; none and zero are `default`.
    fn interval(&mut self, fields: &Fields<'_>, key: &str, default: i64) -> i64 {
        fields.duration_ms(key, &mut self.out).filter(|ms| *ms > 0).unwrap_or(default)
    }

    fn file(&mut self, node: &Node) -> Option<UnitTestFile> {
        let fields = self.fields(node, "", FILE_KEYS)?;
        let evaluation_interval_ms = self.interval(&fields, "evaluation_interval", INTERVAL_MS);
        let mut file = UnitTestFile {
            rule_files: fields.text_list("rule_files", &mut self.out),
            evaluation_interval_ms,
            group_eval_order: fields.text_list("group_eval_order", &mut self.out),
            fuzzy_compare: fields.boolean("fuzzy_compare", &mut self.out).unwrap_or(false),
            tests: Vec::new(),
        };
        for (i, name) in file.group_eval_order.iter().enumerate() {
            if file.group_eval_order[..i].contains(name) {
                self.out.error(fields.at("group_eval_order"), "group_eval_order", format!("group name repeated in evaluation order: {name}"));
            }
        }
        for (i, node) in fields.list("tests", &mut self.out).iter().enumerate() {
            file.tests.extend(self.test(node, &format!("tests[{i}]"), evaluation_interval_ms));
        }
        Some(file)
    }

    fn test(&mut self, node: &Node, path: &str, interval: i64) -> Option<TestGroup> {
        let fields = self.fields(node, path, TEST_KEYS)?;
        let mut test = TestGroup {
            name: fields.text("name", &mut self.out).unwrap_or("").to_owned(),
            interval_ms: self.interval(&fields, "interval", interval),
            external_labels: fields.text_map("external_labels", &mut self.out),
            external_url: fields.text("external_url", &mut self.out).unwrap_or("").to_owned(),
            start: self.start(&fields),
            ..TestGroup::default()
        };
        for (i, node) in fields.list("input_series", &mut self.out).iter().enumerate() {
            let path = format!("{path}.input_series[{i}]");
            let Some(fields) = self.fields(node, &path, &["series", "values"]) else { continue };
            let series = fields.required_text("series", &mut self.out).unwrap_or("").to_owned();
            test.input_series.push(InputSeries { series, values: fields.text("values", &mut self.out).unwrap_or("").to_owned() });
        }
        for (i, node) in fields.list("alert_rule_test", &mut self.out).iter().enumerate() {
            test.alerts.extend(self.alert(node, &format!("{path}.alert_rule_test[{i}]"), &test.name));
        }
        for (i, node) in fields.list("promql_expr_test", &mut self.out).iter().enumerate() {
            test.expressions.extend(self.expression(node, &format!("{path}.promql_expr_test[{i}]")));
        }
        Some(test)
    }

    fn start(&mut self, fields: &Fields<'_>) -> i64 {
        let Some(text) = fields.text("start_timestamp", &mut self.out) else { return 0 };
        let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite()).map(|s| (s * 1_000.0).round() as i64);
        seconds.or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)).unwrap_or_else(|| {
            let message = format!("`{text}` is no time: expected RFC 3339 or Unix seconds");
            self.out.error(fields.at("start_timestamp"), &fields.child("start_timestamp"), message);
            0
        })
    }

    fn alert(&mut self, node: &Node, path: &str, test: &str) -> Option<AlertTest> {
        let fields = self.fields(node, path, &["eval_time", "alertname", "exp_alerts"])?;
        let eval_time = fields.duration_ms("eval_time", &mut self.out).unwrap_or(0);
        let Some(alertname) = fields.text("alertname", &mut self.out).filter(|n| !n.is_empty()) else {
            let of = if test.is_empty() { String::new() } else { format!(" (in TestGroup {test})") };
            let time = crate::duration::format_duration(eval_time);
            let message = format!("an item under alert_rule_test misses required attribute alertname at eval_time {time}{of}");
            self.out.error(node.at, path, message);
            return None;
        };
        let mut expected = Vec::new();
        for (i, node) in fields.list("exp_alerts", &mut self.out).iter().enumerate() {
            let path = format!("{path}.exp_alerts[{i}]");
            let Some(fields) = self.fields(node, &path, &["exp_labels", "exp_annotations"]) else { continue };
            expected.push(ExpectedAlert {
                labels: fields.text_map("exp_labels", &mut self.out),
                annotations: fields.text_map("exp_annotations", &mut self.out),
            });
        }
        Some(AlertTest { eval_time, alertname: alertname.to_owned(), expected })
    }

    fn expression(&mut self, node: &Node, path: &str) -> Option<ExpressionTest> {
        let fields = self.fields(node, path, &["expr", "eval_time", "exp_samples"])?;
        let expr = fields.text("expr", &mut self.out).unwrap_or("").to_owned();
        let eval_time = fields.duration_ms("eval_time", &mut self.out).unwrap_or(0);
        let mut expected = Vec::new();
        for (i, node) in fields.list("exp_samples", &mut self.out).iter().enumerate() {
            let path = format!("{path}.exp_samples[{i}]");
            let Some(fields) = self.fields(node, &path, &["labels", "value", "histogram"]) else { continue };
            expected.push(ExpectedSample {
                labels: fields.text("labels", &mut self.out).unwrap_or("").to_owned(),
                value: self.value(&fields),
                histogram: fields.text("histogram", &mut self.out).unwrap_or("").to_owned(),
            });
        }
        Some(ExpressionTest { expr, eval_time, expected })
    }

    /// A number as YAML writes it, infinities and NaN among them; none is 0.
    fn value(&mut self, fields: &Fields<'_>) -> f64 {
        let Some(text) = fields.text("value", &mut self.out) else { return 0.0 };
        let plain = text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan").replace(".NaN", "nan");
        plain.trim().parse().unwrap_or_else(|_| {
            self.out.error(fields.at("value"), &fields.child("value"), format!("expected a number, found `{text}`"));
            0.0
        })
    }
}
