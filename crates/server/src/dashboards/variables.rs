//! Values of variables: what there is to choose from, and what is chosen.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use skopos_query::metrics::Matcher;
use skopos_query::promql::{self, Value};
use skopos_query::{QueryContext, QueryError, TimeRange};

use super::document::{Dashboard, ListVariable, StaticValue, Variable, VariablePlugin};
use super::interpolate::{Bound, Place, Scope, interpolate};
use crate::app::App;

/// Most values of a variable.
pub const OPTIONS_MAX: usize = 2_000;
/// More values than this are not written out for "all": queries then ask for any value.
const ALL_WRITTEN_MAX: usize = 200;
/// Stands for all values in documents and in addresses.
pub const ALL: &str = "$__all";
/// Seconds between two samples of a usual sender, for `$__rate_interval`.
const SCRAPE_SECONDS: i64 = 15;

/// Values given for variables, as an address has them.
pub type Given = BTreeMap<String, Vec<String>>;

/// A value to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChoiceOption {
    /// What stands in queries.
    pub value: String,
    /// What people read.
    pub label: String,
}

/// A variable as the page shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// Name.
    pub name: String,
    /// Title.
    pub title: String,
    /// `list`, `text` or `constant`.
    pub kind: &'static str,
    /// Not shown.
    pub hidden: bool,
    /// Whether several can be chosen.
    pub multiple: bool,
    /// Whether all can be chosen.
    pub all: bool,
    /// What there is.
    pub options: Vec<ChoiceOption>,
    /// What is chosen; `$__all` for all.
    pub selected: Vec<String>,
    /// Why there is nothing to choose from.
    pub error: Option<String>,
}

/// Steps people can read, seconds.
const STEPS: [i64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];

/// A readable step in seconds that gives about `points` values over the range.
pub fn step_seconds(range: TimeRange, points: i64) -> i64 {
    let wanted = (range.end - range.start) / 1_000_000_000 / points.max(1);
    STEPS.into_iter().find(|s| *s >= wanted).unwrap_or(86_400)
}

/// `90s`, `5m`, `1h`.
pub fn duration_text(seconds: i64) -> String {
    match seconds {
        s if s % 86_400 == 0 && s > 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 && s > 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 && s > 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A window that spans several samples and the steps between two points.
fn rate_window(step: i64) -> i64 {
    (step + SCRAPE_SECONDS).max(4 * SCRAPE_SECONDS)
}

/// What every query may refer to.
pub fn built_in(dashboard: &Dashboard, range: TimeRange, step: i64) -> Scope {
    let seconds = ((range.end - range.start) / 1_000_000_000).max(1);
    let one = |value: String| Bound { values: vec![value.clone()], labels: vec![value], ..Bound::default() };
    BTreeMap::from([
        ("__interval".to_owned(), one(duration_text(step))),
        ("__interval_ms".to_owned(), one((step * 1000).to_string())),
        ("__rate_interval".to_owned(), one(duration_text(rate_window(step)))),
        ("__range".to_owned(), one(format!("{seconds}s"))),
        ("__range_s".to_owned(), one(seconds.to_string())),
        ("__range_ms".to_owned(), one((seconds * 1000).to_string())),
        ("__from".to_owned(), one((range.start / 1_000_000).to_string())),
        ("__to".to_owned(), one((range.end / 1_000_000).to_string())),
        ("__dashboard".to_owned(), one(dashboard.title().to_owned())),
        ("__all".to_owned(), one(".*".to_owned())),
    ])
}

/// Works out all variables in their order: each may refer to those before it. A variable that fails has no values
/// and says why; the others go on.
///
/// # Errors
/// When the query is cancelled or out of time.
pub fn resolve(
    app: &App,
    dashboard: &Dashboard,
    given: &Given,
    range: TimeRange,
    step: i64,
    ctx: &QueryContext,
) -> Result<(Vec<Choice>, Scope), QueryError> {
    let mut scope = built_in(dashboard, range, step);
    let mut choices = Vec::with_capacity(dashboard.spec.variables.len());
    for variable in &dashboard.spec.variables {
        ctx.check()?;
        let asked = given.get(variable.name()).filter(|v| !v.is_empty());
        let (choice, bound) = match variable {
            Variable::TextVariable(text) => {
                let value = asked.filter(|_| !text.constant).map_or_else(|| text.value.clone(), |v| v[0].clone());
                let bound = Bound { values: vec![value.clone()], labels: vec![value.clone()], ..Bound::default() };
                let kind = if text.constant { "constant" } else { "text" };
                (choice(variable, kind, vec![value]), bound)
            }
            Variable::ListVariable(list) => {
                let read = options(app, list, &scope, range, step, ctx);
                if let Err(error @ (QueryError::Cancelled | QueryError::Timeout { .. })) = read {
                    return Err(error);
                }
                let (options, error) = match read {
                    Ok(options) => (options, None),
                    Err(error) => (Vec::new(), Some(error.to_string())),
                };
                let selected = select(list, asked, &options);
                let bound = bind(list, &selected, &options);
                (Choice { multiple: list.allow_multiple, all: list.allow_all_value, options, error, ..choice(variable, "list", selected) }, bound)
            }
        };
        scope.insert(variable.name().to_owned(), bound);
        choices.push(choice);
    }
    Ok((choices, scope))
}

fn choice(variable: &Variable, kind: &'static str, selected: Vec<String>) -> Choice {
    let display = variable.display();
    let title = if display.name.is_empty() { variable.name() } else { &display.name };
    Choice {
        name: variable.name().to_owned(),
        title: title.to_owned(),
        kind,
        hidden: display.hidden,
        multiple: false,
        all: false,
        options: Vec::new(),
        selected,
        error: None,
    }
}

/// What is chosen: what was asked for, else the document's default, else all or the first.
fn select(list: &ListVariable, asked: Option<&Vec<String>>, options: &[ChoiceOption]) -> Vec<String> {
    let wanted = asked.cloned().or_else(|| list.default_value.as_ref().map(super::document::Values::list)).unwrap_or_default();
    if list.allow_all_value && wanted.iter().any(|v| v == ALL) {
        return vec![ALL.to_owned()];
    }
    let most = if list.allow_multiple { usize::MAX } else { 1 };
    // What was asked for is kept even where there is no data of it: the answer is then empty, not another's. A default
    // that no data has gives way.
    let kept: Vec<String> =
        wanted.into_iter().filter(|v| !v.is_empty() && v != ALL && (asked.is_some() || options.iter().any(|o| o.value == *v))).take(most).collect();
    if !kept.is_empty() {
        return kept;
    }
    if list.allow_all_value && list.default_value.is_none() && list.allow_multiple {
        return vec![ALL.to_owned()];
    }
    options.first().map(|o| vec![o.value.clone()]).unwrap_or_default()
}

fn bind(list: &ListVariable, selected: &[String], options: &[ChoiceOption]) -> Bound {
    let many = list.allow_multiple || list.allow_all_value;
    let label = |value: &String| options.iter().find(|o| o.value == *value).map_or_else(|| value.clone(), |o| o.label.clone());
    if selected.iter().any(|v| v == ALL) {
        let all = list.custom_all_value.clone().or_else(|| (options.len() > ALL_WRITTEN_MAX || options.is_empty()).then(|| ".+".to_owned()));
        return Bound { values: options.iter().map(|o| o.value.clone()).collect(), labels: vec!["All".to_owned()], many, all };
    }
    Bound { values: selected.to_vec(), labels: selected.iter().map(label).collect(), many, all: None }
}

fn options(app: &App, list: &ListVariable, scope: &Scope, range: TimeRange, step: i64, ctx: &QueryContext) -> Result<Vec<ChoiceOption>, QueryError> {
    let (start, end) = (range.start.div_euclid(1_000_000), range.end.div_euclid(1_000_000));
    let selectors = |texts: &[String]| -> Result<Vec<Vec<Matcher>>, QueryError> {
        texts.iter().map(|t| promql::parse_matchers(&interpolate(t, scope, Place::PromQl))).collect()
    };
    let plain = |values: Vec<String>| -> Vec<ChoiceOption> { values.into_iter().map(|v| ChoiceOption { label: v.clone(), value: v }).collect() };
    let mut found = match &list.plugin {
        VariablePlugin::PrometheusLabelValuesVariable { label_name, matchers } => {
            let label = interpolate(label_name, scope, Place::Text);
            plain(app.store.metrics().label_values(&label, &selectors(matchers)?, start, end, ctx)?)
        }
        VariablePlugin::PrometheusLabelNamesVariable { matchers } => {
            plain(app.store.metrics().label_names(&selectors(matchers)?, start, end, ctx)?)
        }
        VariablePlugin::PrometheusPromQLVariable { expr, label_name } => {
            plain(query_values(app, &interpolate(expr, scope, Place::PromQl), label_name, end, ctx)?)
        }
        VariablePlugin::StaticListVariable { values } => values
            .iter()
            .map(|v| match v {
                StaticValue::Plain(value) => ChoiceOption { value: value.clone(), label: value.clone() },
                StaticValue::Labelled { label, value } => ChoiceOption { value: value.clone(), label: label.clone() },
            })
            .collect(),
        VariablePlugin::IntervalVariable { values, auto } => {
            let fitting = rate_window(step * 4);
            let mut options = plain(values.clone());
            if *auto {
                options.insert(0, ChoiceOption { value: duration_text(fitting), label: "auto".to_owned() });
            }
            options
        }
    };
    if let Some(pattern) = &list.capturing_regexp {
        let regex = regex::Regex::new(pattern).map_err(|e| QueryError::Execution(format!("capturingRegexp: {e}")))?;
        found = capture(found, &regex);
    }
    sort(&mut found, list.sort.as_deref());
    found.truncate(OPTIONS_MAX);
    Ok(found)
}

/// Values of a label of a query's result, or its values when no label is named.
fn query_values(app: &App, query: &str, label: &str, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
    let expr = promql::parse(query)?;
    let output = app.promql.instant(&*app.store.metrics(), &expr, end, ctx)?;
    let mut values = BTreeSet::new();
    match output.value {
        Value::Vector(samples) => {
            for sample in samples {
                if label.is_empty() {
                    values.insert(sample.float()?.to_string());
                } else if let Some(value) = sample.labels.get(label) {
                    values.insert(value.to_owned());
                }
            }
        }
        Value::Scalar { value, .. } => {
            values.insert(value.to_string());
        }
        Value::Text { text, .. } => {
            values.insert(text);
        }
        Value::Matrix(series) => values.extend(series.iter().filter_map(|s| s.labels.get(label)).map(str::to_owned)),
    }
    Ok(values.into_iter().collect())
}

/// The part of each value that a pattern captures: groups `value` and `text`, else the first group, else the match.
fn capture(options: Vec<ChoiceOption>, regex: &regex::Regex) -> Vec<ChoiceOption> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for option in options {
        let Some(found) = regex.captures(&option.value) else { continue };
        let first = found.get(1).or_else(|| found.get(0)).map_or("", |m| m.as_str());
        let named = |name: &str| found.name(name).map(|m| m.as_str());
        let value = named("value").or_else(|| named("text")).unwrap_or(first).to_owned();
        let label = named("text").unwrap_or(&value).to_owned();
        if !value.is_empty() && seen.insert(value.clone()) {
            out.push(ChoiceOption { value, label });
        }
    }
    out
}

fn sort(options: &mut [ChoiceOption], how: Option<&str>) {
    let number =
        |o: &ChoiceOption| o.label.trim_matches(|c: char| !c.is_ascii_digit() && c != '-' && c != '.').parse::<f64>().unwrap_or(f64::INFINITY);
    match how {
        Some("alphabetical-asc") => options.sort_by(|a, b| a.label.cmp(&b.label)),
        Some("alphabetical-desc") => options.sort_by(|a, b| b.label.cmp(&a.label)),
        Some("alphabetical-ci-asc") => options.sort_by_key(|o| o.label.to_lowercase()),
        Some("alphabetical-ci-desc") => options.sort_by_key(|o| std::cmp::Reverse(o.label.to_lowercase())),
        Some("numerical-asc") => options.sort_by(|a, b| number(a).total_cmp(&number(b))),
        Some("numerical-desc") => options.sort_by(|a, b| number(b).total_cmp(&number(a))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(edit: impl FnOnce(&mut ListVariable)) -> ListVariable {
        let mut list = ListVariable {
            name: "v".to_owned(),
            display: super::super::document::Display::default(),
            default_value: None,
            allow_all_value: false,
            allow_multiple: false,
            custom_all_value: None,
            capturing_regexp: None,
            sort: None,
            plugin: VariablePlugin::StaticListVariable { values: Vec::new() },
        };
        edit(&mut list);
        list
    }

    fn of(values: &[&str]) -> Vec<ChoiceOption> {
        values.iter().map(|v| ChoiceOption { value: (*v).to_owned(), label: (*v).to_owned() }).collect()
    }

    #[test]
    fn what_is_asked_for_is_kept_and_a_stale_default_gives_way() {
        let options = of(&["a", "b"]);
        let asked = |values: &[&str]| Some(values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        let check = |list: &ListVariable, asked: Option<Vec<String>>, expected: &[&str]| assert_eq!(select(list, asked.as_ref(), &options), expected);
        let default = |v: &str| Some(super::super::document::Values::One(v.to_owned()));
        check(&list(|_| {}), None, &["a"]);
        check(&list(|l| l.default_value = default("b")), None, &["b"]);
        check(&list(|l| l.default_value = default("gone")), None, &["a"]);
        check(&list(|_| {}), asked(&["gone", "b"]), &["gone"]);
        check(&list(|l| l.allow_multiple = true), asked(&["a", "b"]), &["a", "b"]);
        check(&list(|l| (l.allow_all_value, l.allow_multiple) = (true, true)), None, &[ALL]);
        check(&list(|l| l.allow_all_value = true), asked(&[ALL]), &[ALL]);
        check(&list(|_| {}), asked(&[ALL]), &["a"]);
    }

    #[test]
    fn all_is_written_out_or_as_the_document_says() {
        let every = list(|l| (l.allow_all_value, l.custom_all_value) = (true, Some(".*".to_owned())));
        assert_eq!(bind(&every, &[ALL.to_owned()], &of(&["a"])).all.as_deref(), Some(".*"));
        let few = bind(&list(|l| l.allow_all_value = true), &[ALL.to_owned()], &of(&["a", "b"]));
        assert_eq!((few.all, few.values, few.labels), (None, vec!["a".to_owned(), "b".to_owned()], vec!["All".to_owned()]));
        let many: Vec<String> = (0..=ALL_WRITTEN_MAX).map(|i| i.to_string()).collect();
        let many = of(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(bind(&list(|l| l.allow_all_value = true), &[ALL.to_owned()], &many).all.as_deref(), Some(".+"));
    }

    #[test]
    fn captures_and_orders() {
        let regex = |p: &str| regex::Regex::new(p).expect("a pattern");
        let values = |o: Vec<ChoiceOption>| o.into_iter().map(|o| format!("{}={}", o.label, o.value)).collect::<Vec<_>>();
        assert_eq!(
            values(capture(of(&["node-1:9100", "node-2:9100", "node-1:9101", "x"]), &regex("^(.+):\\d+$"))),
            ["node-1=node-1", "node-2=node-2"]
        );
        assert_eq!(values(capture(of(&["a/b"]), &regex("(?<text>.)/(?<value>.)"))), ["a=b"]);
        let mut numbers = of(&["10", "9", "p100"]);
        sort(&mut numbers, Some("numerical-asc"));
        assert_eq!(values(numbers), ["9=9", "10=10", "p100=p100"]);
    }

    #[test]
    fn steps_and_windows() {
        let range = TimeRange { start: 0, end: 3_600_000_000_000 };
        assert_eq!(
            (step_seconds(range, 240), duration_text(rate_window(15)), duration_text(rate_window(300))),
            (15, "1m".to_owned(), "315s".to_owned())
        );
    }
}
