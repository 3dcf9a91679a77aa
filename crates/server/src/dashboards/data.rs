//! What a panel shows, worked out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use skopos_model::{Labels, NativeHistogram};
use skopos_query::logs::{Direction, LogRow, LogSearch};
use skopos_query::promql::{self, Value};
use skopos_query::traces::{TraceSearch, TraceSummary};
use skopos_query::{QueryContext, QueryError, TimeRange, filter};

use super::document::{Calculation, ChartKind, ChartSpec, Link, PanelSpec, QueryPlugin};
use super::heatmap::Heatmap;
use super::interpolate::{Place, Scope, interpolate, references};
use super::judge::{Tone, judge};
use super::variables::step_seconds;
use crate::app::App;
use crate::frame::{FrameSeries, SeriesFrame};

/// Most series of a panel.
pub const SERIES_MAX: usize = 500;
/// Most rows of a table, of logs, of traces.
pub const ROWS_MAX: usize = 200;

/// One number a series.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reading {
    /// What it is called.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Number.
    pub value: Option<f64>,
    /// What is shown in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How good it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tone: Option<Tone>,
    /// Which limit makes it bad, as `over 80%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

impl Reading {
    /// A number with what the panel's settings say of it.
    fn new(name: String, labels: &Labels, value: Option<f64>, chart: &ChartSpec) -> Self {
        let judged = judge(chart, value);
        let label = chart.metric_label.as_deref().map(|l| labels.get(l).unwrap_or("").to_owned());
        Self { name, labels: label_map(labels), value, text: label.or(judged.text), tone: judged.tone, says: judged.says }
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableColumn {
    /// Label, or `value`.
    pub name: String,
    /// Title.
    pub title: String,
    /// Unit of numbers.
    pub unit: String,
    /// Digits after the point.
    pub decimals: Option<u32>,
}

/// Rows and columns; cells are text or numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Table {
    /// Columns.
    pub columns: Vec<TableColumn>,
    /// Rows.
    pub rows: Vec<Vec<serde_json::Value>>,
}

/// What a panel shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PanelData {
    /// Over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<SeriesFrame>,
    /// One number a series.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// Rows and columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// Counts by time and value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heatmap: Option<Heatmap>,
    /// Log records, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<Vec<LogRow>>,
    /// Traces, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Vec<TraceSummary>>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Title with variables replaced.
    pub title: String,
    /// Links with variables replaced.
    pub links: Vec<Link>,
    /// The queries as they were run.
    pub queries: Vec<String>,
    /// What is to be said about the result.
    pub notes: Vec<String>,
}

/// A series of a query's result on the grid of the panel.
struct Row {
    query: usize,
    labels: Arc<Labels>,
    values: Vec<Option<f64>>,
    histograms: Vec<(usize, Arc<NativeHistogram>)>,
}

/// Time steps of a panel.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// First, Unix milliseconds.
    pub start: i64,
    /// Last, Unix milliseconds.
    pub end: i64,
    /// Between two, milliseconds.
    pub step: i64,
}

impl Steps {
    /// A grid that does not move with every refresh.
    pub fn of(range: TimeRange, points: i64, step_least: i64) -> Self {
        let step = step_seconds(range, points).max(step_least).max(1) * 1000;
        let start = (range.start.div_euclid(1_000_000) + step - 1).div_euclid(step) * step;
        let end = range.end.div_euclid(1_000_000).div_euclid(step) * step;
        Self { start, end: end.max(start), step }
    }

    fn count(self) -> usize {
        usize::try_from((self.end - self.start) / self.step + 1).unwrap_or(1)
    }

    fn index(self, time: i64) -> Option<usize> {
        let at = usize::try_from((time - self.start) / self.step).ok()?;
        (time >= self.start && at < self.count()).then_some(at)
    }
}

/// What a panel is asked with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Range.
    pub range: TimeRange,
    /// About how many points.
    pub points: i64,
    /// Values of variables.
    pub scope: &'a Scope,
}

/// Works out a panel.
///
/// # Errors
/// The first query's that fails.
pub fn panel(app: &App, spec: &PanelSpec, asked: Asked<'_>, ctx: &QueryContext) -> Result<PanelData, QueryError> {
    let Asked { range, points, scope } = asked;
    let mut data = PanelData {
        title: interpolate(&spec.display.name, scope, Place::Text),
        links: spec.links.iter().map(|l| link(l, scope)).collect(),
        ..PanelData::default()
    };
    let chart = &spec.plugin.spec;
    match spec.plugin.kind {
        ChartKind::Markdown => {
            let text = interpolate(chart.text.as_deref().unwrap_or(""), scope, Place::Text);
            data.html = Some(skopos_reliability::runbooks::markdown_html(&text));
            return Ok(data);
        }
        ChartKind::LogsTable | ChartKind::TraceTable => {
            for query in &spec.queries {
                search(app, &query.spec.plugin, asked, &mut data, ctx)?;
            }
            return Ok(data);
        }
        _ => {}
    }
    let instant = spec.plugin.kind == ChartKind::Table;
    let least = spec.queries.iter().filter_map(|q| min_step(&q.spec.plugin, scope)).max().unwrap_or(1);
    let steps = Steps::of(range, points, least);
    let mut rows = Vec::new();
    for (index, query) in spec.queries.iter().enumerate() {
        let QueryPlugin::PrometheusTimeSeriesQuery { query, .. } = &query.spec.plugin else { continue };
        let text = interpolate(query, scope, Place::PromQl);
        let expr = promql::parse(&text)?;
        data.queries.push(text);
        let output = if instant {
            app.promql.instant(&*app.store.metrics(), &expr, range.end.div_euclid(1_000_000), ctx)?
        } else {
            app.promql.range(&*app.store.metrics(), &expr, steps.start, steps.end, steps.step, ctx)?
        };
        data.notes.extend(output.warnings);
        data.notes.extend(output.infos);
        collect(output.value, index, steps, instant, &mut rows);
        if rows.len() > SERIES_MAX {
            data.notes.push(format!("{} series, the first {SERIES_MAX} are shown", rows.len()));
            rows.truncate(SERIES_MAX);
        }
    }
    data.notes.sort();
    data.notes.dedup();
    let names = names(&rows, spec, scope);
    match spec.plugin.kind {
        ChartKind::Table => data.table = Some(table(&rows, spec, spec.queries.len())),
        ChartKind::HeatMapChart => data.heatmap = Some(heatmap(&rows, steps)),
        kind => {
            let calculation = chart.calculation.unwrap_or(Calculation::LastNumber);
            if kind != ChartKind::TimeSeriesChart {
                data.readings =
                    rows.iter().zip(&names).map(|(row, name)| Reading::new(name.clone(), &row.labels, calculation.of(&row.values), chart)).collect();
                order(&mut data.readings, chart.sort.as_deref(), chart.mode.as_deref());
            }
            if matches!(kind, ChartKind::TimeSeriesChart | ChartKind::StatChart) {
                if chart.visual.as_ref().and_then(|v| v.stack.as_deref()) == Some("percent") {
                    as_shares(&mut rows);
                }
                let series = rows.into_iter().zip(names).map(|(row, name)| FrameSeries { name, labels: label_map(&row.labels), values: row.values });
                data.frame = Some(SeriesFrame { start: steps.start * 1_000_000, step: steps.step * 1_000_000, series: series.collect() });
            }
        }
    }
    Ok(data)
}

/// Of each moment the shares of the whole, in percent.
fn as_shares(rows: &mut [Row]) {
    let count = rows.iter().map(|r| r.values.len()).max().unwrap_or(0);
    for at in 0..count {
        let total: f64 = rows.iter().filter_map(|r| r.values.get(at).copied().flatten()).sum();
        for value in rows.iter_mut().filter_map(|r| r.values.get_mut(at)) {
            *value = value.filter(|_| total > 0.0).map(|v| v / total * 100.0);
        }
    }
}

/// A link with its variables replaced.
pub fn link(link: &Link, scope: &Scope) -> Link {
    Link { name: interpolate(&link.name, scope, Place::Text), url: interpolate(&link.url, scope, Place::Url), target_blank: link.target_blank }
}

fn min_step(query: &QueryPlugin, scope: &Scope) -> Option<i64> {
    let QueryPlugin::PrometheusTimeSeriesQuery { min_step: Some(text), .. } = query else { return None };
    let millis = skopos_reliability::duration::parse_duration(&interpolate(text, scope, Place::Text)).ok()?;
    Some((millis / 1000).max(1))
}

fn search(app: &App, query: &QueryPlugin, asked: Asked<'_>, data: &mut PanelData, ctx: &QueryContext) -> Result<(), QueryError> {
    match query {
        QueryPlugin::SkoposLogQuery { query } => {
            let text = interpolate(query, asked.scope, Place::Filter);
            let search = LogSearch {
                range: asked.range,
                filter: filter::parse(&text)?,
                limit: ROWS_MAX,
                direction: Direction::Backward,
                after: None,
                streams: None,
            };
            let rows = app.store.logs().search(&search, ctx)?.rows;
            data.logs.get_or_insert_default().extend(rows);
            data.queries.push(text);
        }
        QueryPlugin::SkoposTraceQuery { query } => {
            let text = interpolate(query, asked.scope, Place::Filter);
            let search = TraceSearch { range: asked.range, filter: filter::parse(&text)?, limit: ROWS_MAX };
            data.traces.get_or_insert_default().extend(app.store.traces().search(&search, ctx)?);
            data.queries.push(text);
        }
        QueryPlugin::PrometheusTimeSeriesQuery { .. } => {}
    }
    Ok(())
}

fn collect(value: Value, query: usize, steps: Steps, instant: bool, rows: &mut Vec<Row>) {
    let count = if instant { 1 } else { steps.count() };
    let finite = |v: f64| v.is_finite().then_some(v);
    match value {
        Value::Matrix(matrix) => rows.extend(matrix.into_iter().map(|series| {
            let mut values = vec![None; count];
            for (time, value) in series.times.iter().zip(&series.values) {
                if let Some(slot) = steps.index(*time).and_then(|at| values.get_mut(at)) {
                    *slot = finite(*value);
                }
            }
            let histograms = series.histograms.into_iter().filter_map(|(time, h)| Some((steps.index(time)?, h))).collect();
            Row { query, labels: series.labels, values, histograms }
        })),
        Value::Vector(samples) => {
            // A histogram is no number: a table shows how many observations it holds.
            let value = |s: &promql::Sample| finite(s.histogram.as_ref().map_or(s.value, |h| h.count));
            rows.extend(samples.into_iter().map(|s| Row { query, values: vec![value(&s); 1], labels: s.labels, histograms: Vec::new() }));
        }
        Value::Scalar { value, .. } => rows.push(Row { query, labels: Arc::default(), values: vec![finite(value); count], histograms: Vec::new() }),
        Value::Text { .. } => {}
    }
}

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// `{{label}}` replaced, as queries' formats have it.
fn from_format(format: &str, labels: &Labels, scope: &Scope) -> String {
    let text = if references(format).is_empty() { format.to_owned() } else { interpolate(format, scope, Place::Text) };
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(open) = rest.find("{{") {
        out.push_str(&rest[..open]);
        let Some(close) = rest[open..].find("}}") else { break };
        // A label that is not there stands for itself, as Grafana has it: a plain word in braces names a series.
        let label = rest[open + 2..open + close].trim();
        out.push_str(labels.get(label).filter(|v| !v.is_empty()).unwrap_or(label));
        rest = &rest[open + close + 2..];
    }
    out.push_str(rest);
    out
}

/// Names of series: the query's format, else what tells them apart.
fn names(rows: &[Row], spec: &PanelSpec, scope: &Scope) -> Vec<String> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        for (name, value) in row.labels.iter() {
            values.entry(name).or_default().insert(value);
        }
    }
    let constant = |name: &str| rows.iter().all(|r| r.labels.get(name).is_some()) && values.get(name).is_some_and(|v| v.len() == 1);
    rows.iter()
        .map(|row| {
            let format = spec.queries.get(row.query).and_then(|q| match &q.spec.plugin {
                QueryPlugin::PrometheusTimeSeriesQuery { series_name_format, .. } => series_name_format.as_deref().filter(|f| !f.is_empty()),
                _ => None,
            });
            if let Some(format) = format {
                return from_format(format, &row.labels, scope);
            }
            let telling: Vec<(&str, &str)> = row.labels.iter().filter(|(n, _)| *n != "__name__" && (rows.len() == 1 || !constant(n))).collect();
            match telling.as_slice() {
                [] => match row.labels.get("__name__") {
                    Some(name) => name.to_owned(),
                    None if rows.len() == 1 => interpolate(&spec.display.name, scope, Place::Text),
                    None => format!("query {}", row.query + 1),
                },
                [(_, value)] => (*value).to_owned(),
                several => several.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" "),
            }
        })
        .collect()
}

fn order(readings: &mut [Reading], sort: Option<&str>, mode: Option<&str>) {
    let value = |r: &Reading| r.value.unwrap_or(f64::NEG_INFINITY);
    match sort {
        Some("asc") => readings.sort_by(|a, b| value(a).total_cmp(&value(b))),
        Some("desc") => readings.sort_by(|a, b| value(b).total_cmp(&value(a))),
        _ => {}
    }
    if mode == Some("percentage") {
        let total: f64 = readings.iter().filter_map(|r| r.value).sum();
        for reading in readings.iter_mut().filter(|_| total > 0.0) {
            reading.value = reading.value.map(|v| v / total * 100.0);
        }
    }
}

/// Series with the same labels stand in one row, one column of values a query.
fn table(rows: &[Row], spec: &PanelSpec, queries: usize) -> Table {
    let settings = &spec.plugin.spec.column_settings;
    let value_column = |query: usize| if query == 0 { "value".to_owned() } else { format!("value #{}", query + 1) };
    let mut labels: BTreeSet<&str> = rows.iter().flat_map(|r| r.labels.iter().map(|(n, _)| n)).collect();
    if queries > 1 {
        // The name would keep apart what belongs into one row.
        labels.remove("__name__");
    }
    let mut names: Vec<String> = labels.iter().map(|l| (*l).to_owned()).chain((0..queries.max(1)).map(value_column)).collect();
    let place = |name: &String| settings.iter().position(|c| c.name == *name).unwrap_or(usize::MAX);
    names.sort_by_key(place);
    let known = |name: &String| settings.iter().any(|c| c.name == *name);
    names.retain(|name| !settings.iter().any(|c| c.name == *name && c.hide) && (known(name) || !spec.plugin.spec.default_column_hidden));
    let format = spec.plugin.spec.format.clone().unwrap_or_default();
    let columns: Vec<TableColumn> = names
        .iter()
        .map(|name| {
            let own = settings.iter().find(|c| c.name == *name);
            let format = own.and_then(|c| c.format.clone()).unwrap_or_else(|| format.clone());
            TableColumn {
                name: name.clone(),
                title: own.and_then(|c| c.header.clone()).unwrap_or_else(|| name.clone()),
                unit: if name.starts_with("value") { format.unit } else { String::new() },
                decimals: format.decimal_places,
            }
        })
        .collect();
    let mut joined: Vec<(Vec<(&str, &str)>, Vec<Option<f64>>)> = Vec::new();
    for row in rows {
        let key: Vec<(&str, &str)> = row.labels.iter().filter(|(n, _)| labels.contains(n)).collect();
        let at = joined.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
            joined.push((key, vec![None; queries.max(1)]));
            joined.len() - 1
        });
        joined[at].1[row.query] = row.values.last().copied().flatten();
    }
    let cell = |name: &str, (key, values): &(Vec<(&str, &str)>, Vec<Option<f64>>)| -> serde_json::Value {
        match (0..values.len()).find(|q| value_column(*q) == name) {
            Some(query) => values[query].into(),
            None => key.iter().find(|(n, _)| *n == name).map_or(serde_json::Value::Null, |(_, v)| (*v).into()),
        }
    };
    // The last column that is sorted by counts least.
    for column in settings.iter().rev() {
        let Some(sort) = column.sort.as_deref() else { continue };
        let value = (0..queries.max(1)).find(|q| value_column(*q) == column.name);
        joined.sort_by(|(a, x), (b, y)| {
            let order = match value {
                // What is not there comes last either way.
                Some(query) => match (x[query], y[query]) {
                    (Some(x), Some(y)) => x.total_cmp(&y),
                    (x, y) => return y.is_some().cmp(&x.is_some()),
                },
                None => {
                    let of = |key: &[(&str, &str)]| key.iter().find(|(n, _)| *n == column.name).map(|(_, v)| (*v).to_owned());
                    of(a).cmp(&of(b))
                }
            };
            if sort == "desc" { order.reverse() } else { order }
        });
    }
    let rows = joined.iter().take(ROWS_MAX).map(|row| names.iter().map(|name| cell(name, row)).collect()).collect();
    Table { columns, rows }
}

fn heatmap(rows: &[Row], steps: Steps) -> Heatmap {
    let native: Vec<(usize, Arc<NativeHistogram>)> = rows.iter().flat_map(|r| r.histograms.iter().cloned()).collect();
    if !native.is_empty() {
        return Heatmap::from_native(&native, steps);
    }
    let buckets: Vec<(f64, &[Option<f64>])> = rows
        .iter()
        .filter_map(|r| {
            let le = r.labels.get("le")?;
            let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().ok()? };
            Some((bound, r.values.as_slice()))
        })
        .collect();
    if buckets.is_empty() {
        let plain: Vec<&[Option<f64>]> = rows.iter().map(|r| r.values.as_slice()).collect();
        return Heatmap::from_values(&plain, steps);
    }
    Heatmap::from_classic(&buckets, steps)
}
