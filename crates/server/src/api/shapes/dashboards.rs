//! Dashboards.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Frame, LogRecord, Stats, TraceLine};

/// Dashboards, by title.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardList {
    pub dashboards: Vec<DashboardLine>,
}

/// A dashboard in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardLine {
    pub name: String,
    pub title: String,
    pub description: String,
    pub tags: Vec<String>,
    /// `file`, `stored` or `built-in`.
    pub source: String,
    /// Where it changes, when it is a file's.
    pub file: Option<String>,
    /// Of a stored one.
    pub version: Option<u64>,
    /// Unix nanoseconds.
    pub updated: Option<String>,
    pub panels: u64,
}

/// A dashboard and its document.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardDetail {
    #[serde(flatten)]
    pub line: DashboardLine,
    /// A subset of Perses' dashboard document.
    pub document: Value,
}

/// What was stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardStored {
    pub name: String,
    /// None when it was only checked.
    pub version: Option<u64>,
    /// Warnings.
    pub findings: Vec<DashboardFinding>,
}

/// Something about a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardFinding {
    pub line: Option<u32>,
    pub column: Option<u32>,
    pub key: String,
    pub message: String,
    /// The nearest valid name.
    pub nearest: Option<String>,
    /// `warning` or `error`.
    pub severity: String,
}

/// Versions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardVersions {
    pub versions: Vec<DashboardVersion>,
}

/// A version.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardVersion {
    pub version: u64,
    /// Unix nanoseconds.
    pub at: String,
    pub actor: String,
    pub message: String,
    pub deleted: bool,
    pub panels: u64,
}

/// What two versions differ in.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardDiff {
    pub before: u64,
    pub after: u64,
    /// Changed lines and three around each change.
    pub lines: Vec<DiffLine>,
}

/// A line of a difference.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiffLine {
    /// Space: in both; `-`: only before; `+`: only after.
    pub op: String,
    pub text: String,
}

/// A translated dashboard.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardImport {
    pub name: String,
    /// None when it was not stored.
    pub version: Option<u64>,
    pub document: Value,
    pub report: ImportReport,
}

/// What became of each part.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportReport {
    pub entries: Vec<ImportEntry>,
    /// About the dashboard as a whole.
    pub notes: Vec<String>,
    /// Panels.
    pub converted: u64,
    pub approximated: u64,
    pub unsupported: u64,
}

/// What became of a part.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportEntry {
    /// `panel` or `variable`.
    pub part: String,
    pub name: String,
    /// Grafana's type.
    pub r#type: String,
    /// `converted`, `approximated` or `unsupported`.
    pub outcome: String,
    /// What is different, or why not.
    pub notes: Vec<String>,
}

/// Variables and where panels stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardView {
    pub variables: Vec<DashboardVariable>,
    pub links: Vec<DashboardLink>,
    /// Grids with their repeats laid out.
    pub sections: Vec<DashboardSection>,
    pub stats: Stats,
}

/// A variable.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardVariable {
    pub name: String,
    pub title: String,
    /// `list`, `text` or `constant`.
    pub kind: String,
    pub hidden: bool,
    pub multiple: bool,
    pub all: bool,
    pub options: Vec<VariableOption>,
    /// `$__all` for all.
    pub selected: Vec<String>,
    /// Why there is nothing to choose from.
    pub error: Option<String>,
}

/// A value to choose.
#[derive(Debug, Serialize, ToSchema)]
pub struct VariableOption {
    pub value: String,
    pub label: String,
}

/// A link with its variables replaced.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DashboardLink {
    #[schema(nullable = false)]
    pub name: Option<String>,
    pub url: String,
    #[schema(nullable = false)]
    pub target_blank: Option<bool>,
}

/// A grid, once for each value it repeats for.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardSection {
    pub title: String,
    /// Whether it can be closed; then whether it is open.
    pub open: Option<bool>,
    /// Values its panels are asked with beside the chosen ones.
    pub values: BTreeMap<String, String>,
    pub items: Vec<SectionItem>,
}

/// A panel in a grid of 24 columns.
#[derive(Debug, Serialize, ToSchema)]
pub struct SectionItem {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    pub panel: String,
    /// Values this panel alone is asked with.
    pub values: BTreeMap<String, String>,
}

/// What a panel shows: of these what its kind has.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardPanel {
    pub kind: String,
    pub title: String,
    pub links: Vec<DashboardLink>,
    /// As they were run.
    pub queries: Vec<String>,
    pub notes: Vec<String>,
    #[schema(nullable = false)]
    pub frame: Option<Frame>,
    #[schema(nullable = false)]
    pub readings: Option<Vec<PanelReading>>,
    #[schema(nullable = false)]
    pub table: Option<PanelTable>,
    #[schema(nullable = false)]
    pub heatmap: Option<PanelHeatmap>,
    #[schema(nullable = false)]
    pub logs: Option<Vec<LogRecord>>,
    #[schema(nullable = false)]
    pub traces: Option<Vec<TraceLine>>,
    /// Rendered Markdown: text, no scripts.
    #[schema(nullable = false)]
    pub html: Option<String>,
    pub stats: Stats,
}

/// One number a series.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelReading {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: Option<f64>,
    /// What is shown in place of the number.
    #[schema(nullable = false)]
    pub text: Option<String>,
    /// `info`, `ok`, `warning`, `critical`.
    #[schema(nullable = false)]
    pub tone: Option<String>,
    /// Which limit makes it bad, as `over 80%`.
    #[schema(nullable = false)]
    pub says: Option<String>,
}

/// Rows and columns.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelTable {
    pub columns: Vec<PanelColumn>,
    pub rows: Vec<Vec<Value>>,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelColumn {
    pub name: String,
    pub title: String,
    pub unit: String,
    pub decimals: Option<u32>,
}

/// Counts by time and value.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelHeatmap {
    /// Unix nanoseconds.
    pub start: String,
    /// Nanoseconds.
    pub step: String,
    /// Lower and upper end of each row; null where it has none.
    pub bounds: Vec<Vec<Option<f64>>>,
    /// By row, then by step.
    pub cells: Vec<Vec<Option<f64>>>,
}
