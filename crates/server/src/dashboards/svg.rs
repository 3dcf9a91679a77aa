//! A panel as a picture, for chat messages, runbooks and documents.

mod chart;
mod number;

use std::fmt::Write as _;

use skopos_query::TimeRange;

use super::data::PanelData;
use super::document::{ChartKind, PanelSpec};
use super::unit;

/// Size and colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// Pixels.
    pub width: f64,
    /// Pixels.
    pub height: f64,
    /// Light on dark.
    pub dark: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: 800.0, height: 300.0, dark: false }
    }
}

/// Colours of the pages, from ui/src/app/tokens.css.
#[derive(Debug, Clone, Copy)]
struct Palette {
    surface: &'static str,
    line: &'static str,
    text: &'static str,
    muted: &'static str,
    critical: &'static str,
    ok: &'static str,
    series: [&'static str; 6],
    rest: &'static str,
}

const LIGHT: Palette = Palette {
    surface: "#ffffff",
    line: "#dde1e7",
    text: "#171b22",
    muted: "#5f6878",
    critical: "#9f0018",
    ok: "#007f78",
    series: ["#2254a5", "#df740c", "#0fa791", "#691a4e", "#765a00", "#805dfc"],
    rest: "#b9c0ca",
};

const DARK: Palette = Palette {
    surface: "#11151c",
    line: "#232a35",
    text: "#e7ebf0",
    muted: "#8b95a5",
    critical: "#fb4650",
    ok: "#84e5b8",
    series: ["#79b2f3", "#d8671d", "#8efbe6", "#95467f", "#f0c800", "#8154fa"],
    rest: "#3b4454",
};

impl Palette {
    fn series(&self, rank: usize) -> &'static str {
        self.series.get(rank).copied().unwrap_or(self.rest)
    }
}

/// Text inside markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Control characters are no XML.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text cut to about `width` pixels at the size of legends.
fn cut(text: &str, width: f64) -> String {
    let most = (width / 6.2).max(4.0) as usize;
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

/// Where a text is anchored.
#[derive(Debug, Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture under construction.
#[derive(Debug)]
struct Canvas {
    body: String,
    palette: Palette,
}

impl Canvas {
    fn text(&mut self, (x, y): (f64, f64), size: f64, colour: &str, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escape(text)
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, dash: &str) {
        let _ = write!(
            self.body,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"{}/>",
            from.0,
            from.1,
            to.0,
            to.1,
            if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") }
        );
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str, opacity: f64) {
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\" fill-opacity=\"{opacity:.2}\"/>",
            width.max(0.0),
            height.max(0.0)
        );
    }
}

/// The unit of a panel's values, with its decimals.
fn unit_of(spec: &PanelSpec) -> (String, Option<u32>) {
    let chart = &spec.plugin.spec;
    let format = match spec.plugin.kind {
        ChartKind::TimeSeriesChart => chart.y_axis.as_ref().and_then(|a| a.format.clone()).or_else(|| chart.format.clone()),
        ChartKind::HeatMapChart => chart.y_axis_format.clone(),
        _ => chart.format.clone(),
    };
    format.map_or_else(Default::default, |f| (f.unit, f.decimal_places))
}

/// Space above the drawing, for the title.
const TOP: f64 = 34.0;

/// Draws a panel; none for kinds that are no picture.
pub fn draw(spec: &PanelSpec, data: &PanelData, range: TimeRange, style: Style) -> Option<String> {
    let palette = if style.dark { DARK } else { LIGHT };
    let mut canvas = Canvas { body: String::new(), palette };
    let (unit, decimals) = unit_of(spec);
    let format = |value: Option<f64>| unit::format(value, &unit, decimals);
    match spec.plugin.kind {
        ChartKind::TimeSeriesChart => chart::lines(&mut canvas, spec, data, range, style, &format),
        ChartKind::HeatMapChart => chart::heatmap(&mut canvas, data, range, style, &format),
        ChartKind::StatChart => number::stat(&mut canvas, spec, data, style, &format),
        ChartKind::GaugeChart => number::gauge(&mut canvas, spec, data, style, &format),
        ChartKind::BarChart => number::bars(&mut canvas, spec, data, style, &format),
        ChartKind::Table | ChartKind::LogsTable | ChartKind::TraceTable | ChartKind::Markdown => return None,
    }
    let Style { width, height, .. } = style;
    let title = escape(&data.title);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\
         <style>text{{font-family:'Inter Variable',Inter,system-ui,sans-serif}}.n{{font-family:'JetBrains Mono Variable','JetBrains Mono',ui-monospace,monospace}}.b{{font-weight:600}}</style>\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{}\" stroke=\"{}\"/>\
         <text x=\"12\" y=\"21\" font-size=\"13\" class=\"b\" fill=\"{}\">{}</text>{}</svg>",
        palette.surface,
        palette.line,
        palette.text,
        escape(&cut(&data.title, width - 24.0)),
        canvas.body
    ))
}

#[cfg(test)]
mod tests {
    use super::super::build::PanelBuilder;
    use super::super::data::Reading;
    use super::super::heatmap::Heatmap;
    use super::*;
    use crate::frame::{FrameSeries, SeriesFrame};

    const RANGE: TimeRange = TimeRange { start: 0, end: 40_000_000_000 };

    fn spec(kind: ChartKind) -> PanelSpec {
        let builder = super::super::build::Builder::new("d", "D", "").panel(12, 8, PanelBuilder::new(kind, "Latency <p99>").unit("seconds"));
        builder.finish().spec.panels["latency-p99"].spec.clone()
    }

    fn data() -> PanelData {
        let series = |name: &str, values: Vec<Option<f64>>| FrameSeries { name: name.to_owned(), labels: Default::default(), values };
        PanelData {
            title: "Latency <p99> & \"more\"".to_owned(),
            frame: Some(SeriesFrame {
                start: 0,
                step: 10_000_000_000,
                series: vec![series("a", vec![Some(0.1), Some(0.2), None, Some(0.4), Some(0.3)]), series("b<", vec![Some(0.05); 5])],
            }),
            readings: vec![
                Reading { name: "a".to_owned(), labels: Default::default(), value: Some(0.3) },
                Reading { name: "b".to_owned(), labels: Default::default(), value: None },
            ],
            heatmap: Some(Heatmap {
                start: 0,
                step: 10_000_000_000,
                bounds: vec![(None, Some(0.1)), (Some(0.1), None)],
                cells: vec![vec![Some(1.0), None], vec![Some(4.0), Some(0.0)]],
            }),
            ..PanelData::default()
        }
    }

    #[test]
    fn pictures_are_markup_that_any_reader_takes() {
        for kind in [ChartKind::TimeSeriesChart, ChartKind::StatChart, ChartKind::GaugeChart, ChartKind::BarChart, ChartKind::HeatMapChart] {
            let picture = draw(&spec(kind), &data(), RANGE, Style::default()).expect("a picture");
            assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>"), "{picture}");
            assert!(picture.contains("Latency &lt;p99&gt; &amp; &quot;more&quot;") && !picture.contains("NaN"), "{picture}");
            let (mut open, mut rest) = (0i32, picture.as_str());
            while let Some(at) = rest.find('<') {
                let end = at + rest[at..].find('>').expect("tags end");
                let tag = &rest[at..=end];
                open += if tag.starts_with("</") { -1 } else { i32::from(!tag.ends_with("/>")) };
                rest = &rest[end + 1..];
            }
            assert_eq!(open, 0, "{picture}");
        }
        assert_eq!(draw(&spec(ChartKind::LogsTable), &data(), RANGE, Style::default()), None);
    }

    #[test]
    fn a_gap_is_drawn_as_a_gap() {
        let picture = draw(&spec(ChartKind::TimeSeriesChart), &data(), RANGE, Style { dark: true, ..Style::default() }).expect("a picture");
        // The line with the highest value is drawn last, above the others.
        let path = picture.rsplit("<path d=\"").next().expect("a line").split('"').next().expect("a path");
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        assert!(picture.contains("#79b2f3") && picture.contains("300\u{2009}ms"), "{picture}");
    }

    #[test]
    fn nothing_to_show_is_said() {
        let picture = draw(&spec(ChartKind::TimeSeriesChart), &PanelData::default(), RANGE, Style::default()).expect("a picture");
        assert!(picture.contains("No data in this range"));
        let picture = draw(&spec(ChartKind::StatChart), &PanelData::default(), RANGE, Style::default()).expect("a picture");
        assert!(picture.contains("No data in this range"));
    }
}
