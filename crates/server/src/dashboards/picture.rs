//! A panel as a picture, for chat messages, runbooks and documents: drawn once as shapes, written as SVG or painted as
//! PNG.

mod chart;
mod number;
mod png;
mod svg;

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
    warning: &'static str,
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
    warning: "#a26100",
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
    warning: "#f89e00",
    ok: "#84e5b8",
    series: ["#79b2f3", "#d8671d", "#8efbe6", "#95467f", "#f0c800", "#8154fa"],
    rest: "#3b4454",
};

impl Palette {
    fn series(&self, rank: usize) -> &'static str {
        self.series.get(rank).copied().unwrap_or(self.rest)
    }
}

/// Text cut to about `width` pixels at the size of legends.
fn cut(text: &str, width: f64) -> String {
    let most = (width / 6.2).max(4.0) as usize;
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

/// Where a text is anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Face {
    /// Digits of one width: for numbers.
    mono: bool,
    bold: bool,
}

/// A part of a picture; later ones stand above earlier ones.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Text {
        at: (f64, f64),
        size: f64,
        colour: &'static str,
        anchor: Anchor,
        face: Face,
        text: String,
    },
    Line {
        from: (f64, f64),
        to: (f64, f64),
        colour: &'static str,
        dash: Option<(f64, f64)>,
    },
    Rect {
        at: (f64, f64),
        size: (f64, f64),
        colour: &'static str,
        opacity: f64,
    },
    /// Lines through points, one a stretch without a gap.
    Lines {
        stretches: Vec<Vec<(f64, f64)>>,
        colour: &'static str,
        width: f64,
    },
    /// A part of a circle, from one angle to another: 0 is right, π is left, upwards between.
    Arc {
        centre: (f64, f64),
        radius: f64,
        from: f64,
        to: f64,
        colour: &'static str,
        width: f64,
    },
}

/// A picture under construction.
#[derive(Debug)]
struct Canvas {
    shapes: Vec<Shape>,
    palette: Palette,
}

impl Canvas {
    /// `n` in `class` sets digits of one width, `b` bold.
    fn text(&mut self, at: (f64, f64), size: f64, colour: &'static str, anchor: Anchor, class: &str, text: &str) {
        let face = Face { mono: class.contains('n'), bold: class.contains('b') };
        // Control characters are no XML, and nothing to be seen.
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.shapes.push(Shape::Text { at, size, colour, anchor, face, text });
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &'static str, dash: Option<(f64, f64)>) {
        self.shapes.push(Shape::Line { from, to, colour, dash });
    }

    fn rect(&mut self, at: (f64, f64), (width, height): (f64, f64), colour: &'static str, opacity: f64) {
        self.shapes.push(Shape::Rect { at, size: (width.max(0.0), height.max(0.0)), colour, opacity });
    }

    /// Lines through points; none among them is a gap.
    fn lines(&mut self, points: impl Iterator<Item = Option<(f64, f64)>>, colour: &'static str, width: f64) {
        let mut stretches: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut open = false;
        for point in points {
            match (point, open) {
                (None, _) => open = false,
                (Some(point), true) => stretches.last_mut().into_iter().for_each(|s| s.push(point)),
                (Some(point), false) => {
                    stretches.push(vec![point]);
                    open = true;
                }
            }
        }
        if !stretches.is_empty() {
            self.shapes.push(Shape::Lines { stretches, colour, width });
        }
    }
}

/// A drawn panel.
#[derive(Debug)]
pub struct Picture {
    title: String,
    style: Style,
    palette: Palette,
    shapes: Vec<Shape>,
}

impl Picture {
    /// As markup.
    pub fn svg(&self) -> String {
        svg::write(self)
    }

    /// As pixels, `scale` of them a unit.
    ///
    /// # Errors
    /// When there would be more than [`PIXELS_MAX`].
    pub fn png(&self, scale: f64) -> Result<Vec<u8>, String> {
        png::paint(self, scale)
    }
}

/// Most pixels of a picture: four thousand by three thousand.
pub const PIXELS_MAX: usize = 12_000_000;

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
pub fn draw(spec: &PanelSpec, data: &PanelData, range: TimeRange, style: Style) -> Option<Picture> {
    let palette = if style.dark { DARK } else { LIGHT };
    let mut canvas = Canvas { shapes: Vec::new(), palette };
    let (unit, decimals) = unit_of(spec);
    let format = |value: Option<f64>| unit::format(value, &unit, decimals);
    canvas.text((12.0, 21.0), 13.0, palette.text, Anchor::Start, "b", &cut(&data.title, style.width - 24.0));
    match spec.plugin.kind {
        ChartKind::TimeSeriesChart => chart::lines(&mut canvas, spec, data, range, style, &format),
        ChartKind::HeatMapChart => chart::heatmap(&mut canvas, data, range, style, &format),
        ChartKind::StatChart => number::stat(&mut canvas, spec, data, style, &format),
        ChartKind::GaugeChart => number::gauge(&mut canvas, spec, data, style, &format),
        ChartKind::BarChart => number::bars(&mut canvas, spec, data, style, &format),
        ChartKind::Table | ChartKind::LogsTable | ChartKind::TraceTable | ChartKind::Markdown => return None,
    }
    Some(Picture { title: data.title.clone(), style, palette, shapes: canvas.shapes })
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
                Reading { name: "a".to_owned(), value: Some(0.3), ..Reading::default() },
                Reading { name: "b".to_owned(), ..Reading::default() },
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
            let picture = draw(&spec(kind), &data(), RANGE, Style::default()).expect("a picture").svg();
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
        assert!(draw(&spec(ChartKind::LogsTable), &data(), RANGE, Style::default()).is_none());
    }

    #[test]
    fn a_gap_is_drawn_as_a_gap() {
        let picture = draw(&spec(ChartKind::TimeSeriesChart), &data(), RANGE, Style { dark: true, ..Style::default() }).expect("a picture").svg();
        // The line with the highest value is drawn last, above the others.
        let path = picture.rsplit("<path d=\"").next().expect("a line").split('"').next().expect("a path");
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        assert!(picture.contains("#79b2f3") && picture.contains("300\u{2009}ms"), "{picture}");
    }

    #[test]
    fn nothing_to_show_is_said() {
        let picture = draw(&spec(ChartKind::TimeSeriesChart), &PanelData::default(), RANGE, Style::default()).expect("a picture").svg();
        assert!(picture.contains("No data in this range"));
        let picture = draw(&spec(ChartKind::StatChart), &PanelData::default(), RANGE, Style::default()).expect("a picture").svg();
        assert!(picture.contains("No data in this range"));
    }
}
