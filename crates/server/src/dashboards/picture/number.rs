//! Single numbers: large, between two ends, as bars.

use std::f64::consts::PI;

use super::{Anchor, Canvas, Palette, Shape, Style, TOP, cut};
use crate::dashboards::data::{PanelData, Reading};
use crate::dashboards::document::PanelSpec;
use crate::dashboards::judge::Tone;

/// Most numbers side by side.
const STATS_MAX: usize = 6;
/// Most bars.
const BARS_MAX: usize = 20;

fn nothing(canvas: &mut Canvas, style: Style) {
    let muted = canvas.palette.muted;
    canvas.text((style.width / 2.0, style.height / 2.0), 13.0, muted, Anchor::Middle, "", "No data in this range");
}

/// What is wrong with a number, with the glyph that says how wrong, and its colour.
fn wrong(reading: &Reading, palette: Palette) -> Option<(String, &'static str)> {
    let (glyph, colour) = match reading.tone? {
        Tone::Critical => ("✕", palette.critical),
        Tone::Warning => ("▲", palette.warning),
        Tone::Ok | Tone::Info => return None,
    };
    Some((format!("{glyph} {}", reading.says.as_deref().unwrap_or("")).trim_end().to_owned(), colour))
}

fn shown(reading: &Reading, format: &dyn Fn(Option<f64>) -> String) -> String {
    reading.text.clone().unwrap_or_else(|| format(reading.value))
}

pub(super) fn stat(canvas: &mut Canvas, spec: &PanelSpec, data: &PanelData, style: Style, format: &dyn Fn(Option<f64>) -> String) {
    let palette = canvas.palette;
    let count = data.readings.len().min(STATS_MAX);
    if count == 0 {
        return nothing(canvas, style);
    }
    let width = style.width / count as f64;
    let size = (width / 7.0).min((style.height - TOP) / 3.0).clamp(14.0, 44.0);
    for (i, reading) in data.readings.iter().take(STATS_MAX).enumerate() {
        let middle = width * (i as f64 + 0.5);
        let over = wrong(reading, palette);
        let colour = over.as_ref().map_or(palette.text, |(_, colour)| colour);
        let y = TOP + (style.height - TOP) * 0.42;
        canvas.text((middle, y), size, colour, Anchor::Middle, "n b", &cut(&shown(reading, format), width * 12.0 / size));
        let below = over.map(|(words, _)| words).or_else(|| (count > 1).then(|| cut(&reading.name, width - 16.0)));
        if let Some(text) = below {
            canvas.text((middle, y + 18.0), 12.0, if count > 1 { palette.muted } else { colour }, Anchor::Middle, "", &text);
        }
        let values = data.frame.as_ref().and_then(|f| f.series.get(i)).map(|s| s.values.as_slice()).unwrap_or_default();
        if spec.plugin.spec.sparkline.unwrap_or(false) && values.len() > 1 {
            spark(canvas, values, (width * i as f64 + 12.0, style.height - 10.0), (width - 24.0, (style.height - TOP) * 0.3), palette.series(0));
        }
    }
    if data.readings.len() > STATS_MAX {
        canvas.text((style.width - 12.0, 21.0), 11.0, palette.muted, Anchor::End, "", &format!("{} more", data.readings.len() - STATS_MAX));
    }
}

fn spark(canvas: &mut Canvas, values: &[Option<f64>], (left, bottom): (f64, f64), (width, height): (f64, f64), colour: &'static str) {
    let (low, high) = values.iter().flatten().fold((0.0f64, 1e-12f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let point = |(i, value): (usize, &Option<f64>)| {
        let x = left + i as f64 / (values.len() - 1) as f64 * width;
        value.map(|v| (x, bottom - (v - low) / (high - low) * height))
    };
    canvas.lines(values.iter().enumerate().map(point), colour, 1.3);
}

/// End of a gauge: as stated, one for shares, hundred for percents, else the largest value or limit.
fn end(spec: &PanelSpec, data: &PanelData) -> f64 {
    let chart = &spec.plugin.spec;
    let unit = chart.format.as_ref().map(|f| f.unit.as_str()).unwrap_or_default();
    let largest = || {
        let limits = chart.thresholds.iter().flat_map(|t| &t.steps).map(|t| t.value);
        data.readings.iter().filter_map(|r| r.value).chain(limits).fold(0.0, f64::max)
    };
    let end = chart.max.unwrap_or_else(|| match unit {
        "percent-decimal" => 1.0,
        "percent" | "%" => 100.0,
        _ => largest(),
    });
    if end > 0.0 { end } else { 1.0 }
}

pub(super) fn gauge(canvas: &mut Canvas, spec: &PanelSpec, data: &PanelData, style: Style, format: &dyn Fn(Option<f64>) -> String) {
    let palette = canvas.palette;
    let count = data.readings.len().min(STATS_MAX);
    if count == 0 {
        return nothing(canvas, style);
    }
    let end = end(spec, data);
    let width = style.width / count as f64;
    let radius = (width / 2.0 - 18.0).min(style.height - TOP - 44.0).max(16.0);
    for (i, reading) in data.readings.iter().take(STATS_MAX).enumerate() {
        let centre = (width * (i as f64 + 0.5), TOP + 8.0 + radius);
        let over = wrong(reading, palette);
        let share = reading.value.map_or(0.0, |v| (v / end).clamp(0.0, 1.0));
        let mut arc = |from: f64, to: f64, colour: &'static str| {
            canvas.shapes.push(Shape::Arc { centre, radius, from: PI * (1.0 - from), to: PI * (1.0 - to), colour, width: 12.0 });
        };
        arc(0.0, 1.0, palette.line);
        if share > 0.0 {
            arc(0.0, share, over.as_ref().map_or(palette.ok, |(_, colour)| colour));
        }
        let limits: Vec<f64> =
            spec.plugin.spec.thresholds.iter().flat_map(|t| &t.steps).map(|t| t.value / end).filter(|s| (0.0..=1.0).contains(s)).collect();
        for share in limits {
            arc((share - 0.006).max(0.0), (share + 0.006).min(1.0), palette.critical);
        }
        canvas.text((centre.0, centre.1 - 4.0), (radius / 3.2).clamp(12.0, 34.0), palette.text, Anchor::Middle, "n b", &shown(reading, format));
        let name = over.map_or_else(|| if count > 1 { cut(&reading.name, width - 16.0) } else { String::new() }, |(words, _)| words);
        canvas.text((centre.0, centre.1 + 20.0), 12.0, palette.muted, Anchor::Middle, "", &name);
        canvas.text((centre.0 + radius, centre.1 + 20.0), 11.0, palette.muted, Anchor::Middle, "n", &format(Some(end)));
    }
}

pub(super) fn bars(canvas: &mut Canvas, spec: &PanelSpec, data: &PanelData, style: Style, format: &dyn Fn(Option<f64>) -> String) {
    let palette = canvas.palette;
    if data.readings.is_empty() {
        return nothing(canvas, style);
    }
    let room = ((style.height - TOP - 10.0) / 22.0).max(1.0) as usize;
    let shown = data.readings.len().min(BARS_MAX).min(room);
    let most = data.readings.iter().filter_map(|r| r.value).fold(0.0, f64::max).max(1e-12);
    let percentage = spec.plugin.spec.mode.as_deref() == Some("percentage");
    let (name_width, value_width) = (style.width * 0.3, 90.0);
    let width = style.width - 24.0 - name_width - value_width;
    for (i, reading) in data.readings.iter().take(shown).enumerate() {
        let y = TOP + 4.0 + i as f64 * 22.0;
        canvas.text((12.0, y + 12.0), 12.0, palette.text, Anchor::Start, "", &cut(&reading.name, name_width - 10.0));
        let length = reading.value.map_or(0.0, |v| (v / most).clamp(0.0, 1.0) * width);
        let colour = wrong(reading, palette).map_or_else(|| palette.series(0), |(_, colour)| colour);
        canvas.rect((12.0 + name_width, y + 2.0), (length, 13.0), colour, 1.0);
        let text = if percentage { reading.value.map_or_else(|| "—".to_owned(), |v| format!("{v:.1}%")) } else { self::shown(reading, format) };
        canvas.text((style.width - 12.0, y + 12.0), 12.0, palette.text, Anchor::End, "n", &text);
    }
    if data.readings.len() > shown {
        canvas.text((style.width - 12.0, 21.0), 11.0, palette.muted, Anchor::End, "", &format!("{} more", data.readings.len() - shown));
    }
}
