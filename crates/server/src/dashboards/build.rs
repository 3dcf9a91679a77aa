//! Putting a dashboard together in code.

use super::document::*;

/// A dashboard under construction: panels flow into the grid from left to right.
#[derive(Debug)]
pub struct Builder {
    dashboard: Dashboard,
    x: u32,
    y: u32,
    row: u32,
}

/// A panel of a kind; [`Self::query`] and the others fill it.
#[derive(Debug, Clone)]
pub struct PanelBuilder {
    spec: PanelSpec,
}

impl PanelBuilder {
    /// An empty panel.
    pub fn new(kind: ChartKind, title: &str) -> Self {
        let display = Display { name: title.to_owned(), ..Display::default() };
        let plugin = Chart { kind, spec: ChartSpec::default() };
        Self { spec: PanelSpec { display, plugin, queries: Vec::new(), links: Vec::new() } }
    }

    /// What it is to be read as.
    pub fn about(mut self, text: &str) -> Self {
        text.clone_into(&mut self.spec.display.description);
        self
    }

    /// Adds a PromQL query, its series named by a format (empty: by what tells them apart).
    pub fn query(mut self, query: impl Into<String>, name: &str) -> Self {
        self.spec.queries.push(Query::promql(query, Some(name.to_owned()).filter(|n| !n.is_empty())));
        self
    }

    /// Asks for log records or spans.
    pub fn filter(mut self, query: &str) -> Self {
        let query = query.to_owned();
        let (kind, plugin) = match self.spec.plugin.kind {
            ChartKind::LogsTable => ("LogQuery", QueryPlugin::SkoposLogQuery { query }),
            _ => ("TraceQuery", QueryPlugin::SkoposTraceQuery { query }),
        };
        self.spec.queries.push(Query { kind: kind.to_owned(), spec: QuerySpec { plugin } });
        self
    }

    /// Unit of its values.
    pub fn unit(mut self, unit: &str) -> Self {
        let format = Some(Format { unit: unit.to_owned(), decimal_places: None });
        let chart = &mut self.spec.plugin.spec;
        match self.spec.plugin.kind {
            ChartKind::TimeSeriesChart => chart.y_axis.get_or_insert_default().format = format,
            ChartKind::HeatMapChart => chart.y_axis_format = format,
            _ => chart.format = format,
        }
        self
    }

    /// Changes settings.
    pub fn with(mut self, edit: impl FnOnce(&mut ChartSpec)) -> Self {
        edit(&mut self.spec.plugin.spec);
        self
    }

    /// Adds a link.
    pub fn link(mut self, name: &str, url: &str) -> Self {
        self.spec.links.push(Link { name: name.to_owned(), url: url.to_owned(), target_blank: false });
        self
    }
}

impl Builder {
    /// An empty dashboard.
    pub fn new(name: &str, title: &str, description: &str) -> Self {
        let mut dashboard = Dashboard::new(name, title, description);
        dashboard.metadata.tags = vec!["template".to_owned()];
        Self { dashboard, x: 0, y: 0, row: 0 }
    }

    /// Adds a variable.
    pub fn variable(mut self, variable: Variable) -> Self {
        self.dashboard.spec.variables.push(variable);
        self
    }

    /// Begins a grid.
    pub fn grid(mut self, title: &str) -> Self {
        let display = Some(GridDisplay { title: title.to_owned(), collapse: None }).filter(|d| !d.title.is_empty());
        self.dashboard.spec.layouts.push(Layout { kind: "Grid".to_owned(), spec: Grid { display, ..Grid::default() } });
        (self.x, self.y, self.row) = (0, 0, 0);
        self
    }

    /// Adds a panel `width` columns wide and `height` rows high.
    pub fn panel(mut self, width: u32, height: u32, panel: PanelBuilder) -> Self {
        if self.dashboard.spec.layouts.is_empty() {
            self = self.grid("");
        }
        if self.x + width > COLUMNS {
            (self.x, self.y, self.row) = (0, self.y + self.row, 0);
        }
        let base: String = panel
            .spec
            .display
            .name
            .to_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        let base = if base.is_empty() { "panel".to_owned() } else { base };
        let panels = &mut self.dashboard.spec.panels;
        let key = (1..).map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") }).find(|k| !panels.contains_key(k)).unwrap_or(base);
        panels.insert(key.clone(), Panel { kind: "Panel".to_owned(), spec: panel.spec });
        let item = GridItem { x: self.x, y: self.y, width, height, content: Reference::panel(&key) };
        if let Some(layout) = self.dashboard.spec.layouts.last_mut() {
            layout.spec.items.push(item);
        }
        self.x += width;
        self.row = self.row.max(height);
        self
    }

    /// Adds a panel when there is one.
    pub fn maybe(self, width: u32, height: u32, panel: Option<PanelBuilder>) -> Self {
        match panel {
            Some(panel) => self.panel(width, height, panel),
            None => self,
        }
    }

    /// The dashboard.
    pub fn finish(self) -> Dashboard {
        self.dashboard
    }
}

/// A variable whose values are those of a label.
pub fn label_values(name: &str, title: &str, label: &str, matchers: &[String], many: bool) -> Variable {
    Variable::ListVariable(ListVariable {
        name: name.to_owned(),
        display: Display { name: title.to_owned(), ..Display::default() },
        default_value: many.then(|| Values::One("$__all".to_owned())),
        allow_all_value: many,
        allow_multiple: many,
        custom_all_value: None,
        capturing_regexp: None,
        sort: Some("alphabetical-asc".to_owned()),
        plugin: VariablePlugin::PrometheusLabelValuesVariable { label_name: label.to_owned(), matchers: matchers.to_vec() },
    })
}

/// A variable whose values are written down.
pub fn listed(name: &str, title: &str, values: Vec<StaticValue>, many: bool) -> Variable {
    Variable::ListVariable(ListVariable {
        name: name.to_owned(),
        display: Display { name: title.to_owned(), ..Display::default() },
        default_value: many.then(|| Values::One("$__all".to_owned())),
        allow_all_value: many,
        allow_multiple: many,
        custom_all_value: None,
        capturing_regexp: None,
        sort: None,
        plugin: VariablePlugin::StaticListVariable { values },
    })
}
