//! The document: panels, variables, grid, in Perses' own words.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Most panels of a dashboard.
pub const PANELS_MAX: usize = 500;
/// Most variables of a dashboard.
pub const VARIABLES_MAX: usize = 50;
/// Most queries of a panel.
pub const QUERIES_MAX: usize = 20;
/// Most copies a repeat makes of a grid.
pub const REPEATS_MAX: usize = 30;
/// Columns of a grid.
pub const COLUMNS: u32 = 24;

/// A dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dashboard {
    /// Always `Dashboard`.
    pub kind: String,
    /// Name and tags.
    pub metadata: Metadata,
    /// Content.
    pub spec: Spec,
}

/// Name and tags.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Id in URLs: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Title and description.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Display {
    /// Title.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Not shown, of variables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// Content of a dashboard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Title and description.
    #[serde(default)]
    pub display: Display,
    /// Range it opens with, as `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// How often it refreshes while live, as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<String>,
    /// In the order in which they may refer to each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
    /// By key.
    #[serde(default)]
    pub panels: IndexMap<String, Panel>,
    /// Grids, one below the other.
    #[serde(default)]
    pub layouts: Vec<Layout>,
    /// Where else to look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "spec")]
pub enum Variable {
    /// One or several of a list.
    ListVariable(ListVariable),
    /// Free text.
    TextVariable(TextVariable),
}

impl Variable {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::ListVariable(v) => &v.name,
            Self::TextVariable(v) => &v.name,
        }
    }

    /// Title and whether it is hidden.
    pub fn display(&self) -> &Display {
        match self {
            Self::ListVariable(v) => &v.display,
            Self::TextVariable(v) => &v.display,
        }
    }
}

/// One value or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Values {
    /// As a list.
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

/// A variable whose values are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListVariable {
    /// Name, as in `$name`.
    pub name: String,
    /// Title.
    #[serde(default)]
    pub display: Display,
    /// Chosen at first; `$__all` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_value: Option<Values>,
    /// Whether all can be chosen at once.
    #[serde(default)]
    pub allow_all_value: bool,
    /// Whether several can be chosen.
    #[serde(default)]
    pub allow_multiple: bool,
    /// What stands in queries for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_all_value: Option<String>,
    /// Takes a part of each value; those it does not match are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capturing_regexp: Option<String>,
    /// `none`, `alphabetical-asc`, `alphabetical-desc`, `numerical-asc`, `numerical-desc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// Where values come from.
    pub plugin: VariablePlugin,
}

/// Where a variable's values come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "spec")]
pub enum VariablePlugin {
    /// Values of a label over the series that match.
    #[serde(rename_all = "camelCase")]
    PrometheusLabelValuesVariable {
        /// Label.
        label_name: String,
        /// Series selectors; all series when there is none.
        #[serde(default)]
        matchers: Vec<String>,
    },
    /// Names of labels of the series that match.
    PrometheusLabelNamesVariable {
        /// Series selectors.
        #[serde(default)]
        matchers: Vec<String>,
    },
    /// A label of the result of a query.
    #[serde(rename_all = "camelCase")]
    PrometheusPromQLVariable {
        /// PromQL.
        expr: String,
        /// Label whose values are taken; the sample's value when absent.
        #[serde(default)]
        label_name: String,
    },
    /// Written down.
    StaticListVariable {
        /// Values.
        values: Vec<StaticValue>,
    },
    /// Durations to choose from; `auto` fits the range.
    IntervalVariable {
        /// Durations, as `1m`.
        values: Vec<String>,
        /// Whether `auto` can be chosen.
        #[serde(default)]
        auto: bool,
    },
}

/// A value that is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StaticValue {
    /// Shown as it is.
    Plain(String),
    /// Shown under another name.
    Labelled {
        /// What is shown.
        label: String,
        /// What stands in queries.
        value: String,
    },
}

/// A variable that is typed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TextVariable {
    /// Name.
    pub name: String,
    /// Title.
    #[serde(default)]
    pub display: Display,
    /// Value at first.
    #[serde(default)]
    pub value: String,
    /// Whether it cannot be changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub constant: bool,
}

/// A panel: always `kind: Panel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Always `Panel`.
    pub kind: String,
    /// Content.
    pub spec: PanelSpec,
}

/// Content of a panel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PanelSpec {
    /// Title and description.
    #[serde(default)]
    pub display: Display,
    /// How it is shown.
    pub plugin: Chart,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<Query>,
    /// Where else to look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

/// How a panel is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// Kind.
    pub kind: ChartKind,
    /// Settings.
    #[serde(default)]
    pub spec: ChartSpec,
}

/// Kinds of panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChartKind {
    /// Lines or bars over time.
    TimeSeriesChart,
    /// One number a series.
    StatChart,
    /// A number between two ends.
    GaugeChart,
    /// A bar a series.
    BarChart,
    /// Rows and columns.
    Table,
    /// Counts by time and value.
    HeatMapChart,
    /// Log records.
    LogsTable,
    /// Traces.
    TraceTable,
    /// Text.
    Markdown,
}

/// All kinds of panels, with the settings each knows.
pub const CHARTS: [(ChartKind, &str, &[&str]); 9] = [
    (ChartKind::TimeSeriesChart, "TimeSeriesChart", &["format", "legend", "yAxis", "thresholds", "visual"]),
    (ChartKind::StatChart, "StatChart", &["calculation", "format", "thresholds", "sparkline", "mappings", "metricLabel"]),
    (ChartKind::GaugeChart, "GaugeChart", &["calculation", "format", "thresholds", "max", "mappings"]),
    (ChartKind::BarChart, "BarChart", &["calculation", "format", "sort", "mode", "thresholds", "mappings"]),
    (ChartKind::Table, "Table", &["format", "columnSettings", "defaultColumnHidden"]),
    (ChartKind::HeatMapChart, "HeatMapChart", &["yAxisFormat"]),
    (ChartKind::LogsTable, "LogsTable", &[]),
    (ChartKind::TraceTable, "TraceTable", &[]),
    (ChartKind::Markdown, "Markdown", &["text"]),
];

impl ChartKind {
    /// As documents name it.
    pub fn name(self) -> &'static str {
        CHARTS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

/// Settings of a panel. Each kind has its own of these; [`CHARTS`] says which.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartSpec {
    /// Unit and decimals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Unit of the y axis of a heatmap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_axis_format: Option<Format>,
    /// Axis of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_axis: Option<YAxis>,
    /// Limits to be seen against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// Words that stand for numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<Mapping>,
    /// Label whose value a stat shows in place of the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_label: Option<String>,
    /// Lines or bars, stacked or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visual: Option<Visual>,
    /// Whether there is a legend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legend: Option<Legend>,
    /// Which number stands for a series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calculation: Option<Calculation>,
    /// Whether a stat shows its course.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparkline: Option<bool>,
    /// End of a gauge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Order of bars: `asc` or `desc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// What bars show: `value` or `percentage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Columns of a table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub column_settings: Vec<Column>,
    /// Whether columns that have no settings are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default_column_hidden: bool,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Unit and decimals.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Format {
    /// One of [`super::unit::UNITS`].
    #[serde(default)]
    pub unit: String,
    /// Digits after the point; three significant ones when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal_places: Option<u32>,
}

/// Axis of values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct YAxis {
    /// Unit and decimals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A word that stands for numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "spec")]
pub enum Mapping {
    /// For one number.
    Value {
        /// The number.
        value: String,
        /// What is shown.
        result: MappingResult,
    },
    /// For those from one to another, both among them.
    Range {
        /// Least; none for no end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<f64>,
        /// Greatest; none for no end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<f64>,
        /// What is shown.
        result: MappingResult,
    },
    /// For what is none: `null`, `NaN`, `empty`.
    Misc {
        /// Which.
        value: String,
        /// What is shown.
        result: MappingResult,
    },
}

/// What is shown in place of a number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MappingResult {
    /// Word.
    #[serde(default)]
    pub value: String,
    /// Colour, which says how good it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
}

/// Limits to be seen against. Colours say how good it is beyond each: red is bad, orange and yellow are to be watched,
/// green is good. Without colours each limit is one that must not be passed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thresholds {
    /// Below the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_color: Option<String>,
    /// Ascending.
    #[serde(default)]
    pub steps: Vec<Threshold>,
}

/// A limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// From here on.
    pub value: f64,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// From here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
}

/// Lines or bars, stacked or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Visual {
    /// `all` stacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// `line` or `bar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

/// Whether there is a legend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Legend {
    /// `bottom`, `right` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// `list` or `table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Numbers beside each name, of [`CALCULATIONS`]; the newest when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Which number stands for a series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calculation {
    /// The newest, a gap included.
    Last,
    /// The newest that is there.
    #[default]
    LastNumber,
    /// The oldest that is there.
    FirstNumber,
    /// Mean.
    Mean,
    /// Sum.
    Sum,
    /// Smallest.
    Min,
    /// Largest.
    Max,
}

/// Names of calculations.
pub const CALCULATIONS: [(&str, Calculation); 8] = [
    ("last", Calculation::Last),
    ("last-number", Calculation::LastNumber),
    ("first-number", Calculation::FirstNumber),
    ("first", Calculation::FirstNumber),
    ("mean", Calculation::Mean),
    ("sum", Calculation::Sum),
    ("min", Calculation::Min),
    ("max", Calculation::Max),
];

impl Calculation {
    /// The number of a series; none when it has no value.
    pub fn of(self, values: &[Option<f64>]) -> Option<f64> {
        let mut present = values.iter().flatten().copied();
        match self {
            Self::Last => *values.last()?,
            Self::LastNumber => present.next_back(),
            Self::FirstNumber => present.next(),
            Self::Mean => {
                let (sum, count) = present.fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
                (count > 0).then(|| sum / f64::from(count))
            }
            Self::Sum => present.reduce(|a, b| a + b),
            Self::Min => present.reduce(f64::min),
            Self::Max => present.reduce(f64::max),
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Label, or `value` (of a further query `value #2`).
    pub name: String,
    /// Title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hide: bool,
    /// Rows are in its order: `asc` or `desc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// Unit and decimals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
}

/// A query of a panel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// `TimeSeriesQuery`, `LogQuery` or `TraceQuery`.
    pub kind: String,
    /// Content.
    pub spec: QuerySpec,
}

/// Content of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuerySpec {
    /// What is asked.
    pub plugin: QueryPlugin,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "spec")]
pub enum QueryPlugin {
    /// PromQL.
    #[serde(rename_all = "camelCase")]
    PrometheusTimeSeriesQuery {
        /// PromQL.
        query: String,
        /// Name of a series, `{{label}}` replaced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        series_name_format: Option<String>,
        /// Smallest step, as `15s`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_step: Option<String>,
    },
    /// A filter for log records.
    SkoposLogQuery {
        /// As on the page of logs.
        query: String,
    },
    /// A filter for spans.
    SkoposTraceQuery {
        /// As on the page of traces.
        query: String,
    },
}

impl Query {
    /// A PromQL query.
    pub fn promql(query: impl Into<String>, series_name_format: Option<String>) -> Self {
        let plugin = QueryPlugin::PrometheusTimeSeriesQuery { query: query.into(), series_name_format, min_step: None };
        Self { kind: "TimeSeriesQuery".to_owned(), spec: QuerySpec { plugin } }
    }
}

/// A grid: always `kind: Grid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Always `Grid`.
    pub kind: String,
    /// Content.
    pub spec: Grid,
}

/// A grid of 24 columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grid {
    /// Title and whether it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<GridDisplay>,
    /// Panels.
    pub items: Vec<GridItem>,
    /// Once for each value of this variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_variable: Option<String>,
}

/// Title of a grid and whether it is open.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GridDisplay {
    /// Title.
    #[serde(default)]
    pub title: String,
    /// Whether it can be closed; then whether it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse: Option<Collapse>,
}

/// Whether a grid is open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collapse {
    /// Open at first.
    pub open: bool,
}

/// A panel in a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridItem {
    /// Column, from 0.
    pub x: u32,
    /// Row, from 0.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `{"$ref": "#/spec/panels/KEY"}`.
    pub content: Reference,
}

/// Points at a panel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// `#/spec/panels/KEY`
    #[serde(rename = "$ref")]
    pub path: String,
}

/// What precedes a panel's key in a reference.
pub const PANEL_REF: &str = "#/spec/panels/";

impl Reference {
    /// To a panel.
    pub fn panel(key: &str) -> Self {
        Self { path: format!("{PANEL_REF}{key}") }
    }

    /// The panel's key.
    pub fn key(&self) -> &str {
        self.path.strip_prefix(PANEL_REF).unwrap_or(&self.path)
    }
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// What is shown; the address when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `http(s)://…` or a path here; `$variables` are replaced.
    pub url: String,
    /// In a new tab.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub target_blank: bool,
}

impl Dashboard {
    /// An empty dashboard.
    pub fn new(name: &str, title: &str, description: &str) -> Self {
        Self {
            kind: "Dashboard".to_owned(),
            metadata: Metadata { name: name.to_owned(), tags: Vec::new() },
            spec: Spec { display: Display { name: title.to_owned(), description: description.to_owned(), hidden: false }, ..Spec::default() },
        }
    }

    /// Title, or the name when it has none.
    pub fn title(&self) -> &str {
        if self.spec.display.name.is_empty() { &self.metadata.name } else { &self.spec.display.name }
    }
}

/// Whether a link may be followed: nothing that runs as script.
pub fn is_safe_url(url: &str) -> bool {
    let url = url.trim();
    let lower = url.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://") || (url.starts_with('/') && !url.starts_with("//")) || url.starts_with('$')
}

/// What a dashboard may be called.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
        && !name.starts_with('.')
}
