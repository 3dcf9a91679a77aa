//! Lines over time, and counts by time and value.

use skopos_query::TimeRange;

use super::{Anchor, Canvas, Style, TOP, cut};
use crate::dashboards::data::PanelData;
use crate::dashboards::document::PanelSpec;
use crate::dashboards::judge::Tone;

/// Lines with a colour and a place in the legend.
const COLOURED: usize = 6;
/// Most lines drawn.
const DRAWN_MAX: usize = 200;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;

/// Round positions on an axis.
fn ticks(min: f64, max: f64, wanted: f64) -> Vec<f64> {
    let raw = (max - min) / wanted;
    if !(raw.is_finite() && raw > 0.0) {
        return vec![min];
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(power * 10.0);
    let first = (min / step).ceil() as i64;
    let last = (max / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// Steps of time axes, seconds.
const TIME_STEPS: [i64; 15] = [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400, 604_800];

fn time_axis(canvas: &mut Canvas, range: TimeRange, (left, right): (f64, f64), bottom: f64) {
    let seconds = (range.end - range.start) as f64 / 1e9;
    let wanted = ((right - left) / 90.0).max(1.0);
    let step = TIME_STEPS.into_iter().find(|s| *s as f64 >= seconds / wanted).unwrap_or(2_592_000);
    let mut at = (range.start.div_euclid(1_000_000_000) / step + 1) * step;
    while at * 1_000_000_000 <= range.end {
        let x = left + (at * 1_000_000_000 - range.start) as f64 / (range.end - range.start) as f64 * (right - left);
        let format = if seconds > 172_800.0 {
            "%m-%d %H:%M"
        } else if step < 60 {
            "%H:%M:%S"
        } else {
            "%H:%M"
        };
        let text = jiff::Timestamp::from_second(at).map(|t| t.strftime(format).to_string()).unwrap_or_default();
        let muted = canvas.palette.muted;
        canvas.line((x, TOP), (x, bottom), canvas.palette.line, None);
        canvas.text((x, bottom + 15.0), 11.0, muted, Anchor::Middle, "n", &text);
        at += step;
    }
    let muted = canvas.palette.muted;
    canvas.text((right, TOP - 13.0), 11.0, muted, Anchor::End, "", "UTC");
}

pub(super) fn lines(canvas: &mut Canvas, spec: &PanelSpec, data: &PanelData, range: TimeRange, style: Style, format: &dyn Fn(Option<f64>) -> String) {
    let palette = canvas.palette;
    let Some(frame) = data.frame.as_ref().filter(|f| f.series.iter().any(|s| s.values.iter().any(Option::is_some))) else {
        canvas.text((style.width / 2.0, style.height / 2.0), 13.0, palette.muted, Anchor::Middle, "", "No data in this range");
        return;
    };
    let last = |values: &[Option<f64>]| values.iter().flatten().next_back().copied();
    let mut order: Vec<usize> = (0..frame.series.len()).collect();
    order.sort_by(|a, b| {
        last(&frame.series[*b].values).unwrap_or(f64::NEG_INFINITY).total_cmp(&last(&frame.series[*a].values).unwrap_or(f64::NEG_INFINITY))
    });
    let chart = &spec.plugin.spec;
    let stacked = chart.visual.as_ref().and_then(|v| v.stack.as_deref()).is_some();
    let points = frame.series.iter().map(|s| s.values.len()).max().unwrap_or(0);
    let mut below = vec![0.0; points];
    let drawn: Vec<Vec<Option<f64>>> = order
        .iter()
        .take(DRAWN_MAX)
        .map(|index| {
            let values = &frame.series[*index].values;
            if !stacked {
                return values.clone();
            }
            let add = |(i, v): (usize, &Option<f64>)| {
                v.map(|v| {
                    below[i] += v;
                    below[i]
                })
            };
            values.iter().enumerate().map(add).collect()
        })
        .collect();
    let thresholds = chart.thresholds.as_ref().map(|t| t.steps.as_slice()).unwrap_or_default();
    let all = || drawn.iter().flatten().flatten().copied();
    let axis = chart.y_axis.clone().unwrap_or_default();
    let low = axis.min.unwrap_or_else(|| all().fold(0.0, f64::min));
    let high = axis.max.unwrap_or_else(|| all().chain(thresholds.iter().map(|t| t.value)).fold(low, f64::max) * 1.08);
    let high = if high > low { high } else { low + 1.0 };
    let legend_rows = (order.len().min(COLOURED) + usize::from(order.len() > COLOURED)).div_ceil(columns(style.width)) as f64;
    let (left, right, bottom) = (LEFT, style.width - RIGHT, style.height - 26.0 - 17.0 * legend_rows);
    let y_of = |v: f64| bottom - (v - low) / (high - low) * (bottom - TOP);
    time_axis(canvas, range, (left, right), bottom);
    for tick in ticks(low, high, ((bottom - TOP) / 36.0).max(1.0)) {
        canvas.line((left, y_of(tick)), (right, y_of(tick)), palette.line, None);
        canvas.text((left - 8.0, y_of(tick) + 4.0), 11.0, palette.muted, Anchor::End, "n", &format(Some(tick)));
    }
    let span = (range.end - range.start) as f64;
    for (rank, values) in drawn.iter().enumerate().rev() {
        let point = |(i, value): (usize, &Option<f64>)| {
            let time = frame.start + frame.step * i64::try_from(i).unwrap_or(0);
            let x = left + (time - range.start) as f64 / span * (right - left);
            value.map(|v| (x, y_of(v.clamp(low, high))))
        };
        canvas.lines(values.iter().enumerate().map(point), palette.series(rank), 1.5);
    }
    for threshold in thresholds.iter().filter(|t| t.value >= low && t.value <= high) {
        let y = y_of(threshold.value);
        let colour = match threshold.color.as_deref().and_then(Tone::of_colour) {
            Some(Tone::Warning) => palette.warning,
            Some(Tone::Ok) => palette.ok,
            _ => palette.critical,
        };
        canvas.line((left, y), (right, y), colour, Some((6.0, 4.0)));
        let name = threshold.name.as_deref().unwrap_or("limit");
        canvas.text((left + 6.0, y - 5.0), 11.0, colour, Anchor::Start, "", &format!("{name} {}", format(Some(threshold.value))));
    }
    legend(canvas, &order, frame, style, bottom + 34.0, format);
}

fn columns(width: f64) -> usize {
    ((width - 24.0) / 240.0).max(1.0) as usize
}

fn legend(canvas: &mut Canvas, order: &[usize], frame: &crate::frame::SeriesFrame, style: Style, top: f64, format: &dyn Fn(Option<f64>) -> String) {
    let palette = canvas.palette;
    let columns = columns(style.width);
    let column_width = (style.width - 24.0) / columns as f64;
    let last = |index: usize| frame.series[index].values.iter().flatten().next_back().copied();
    let place = |i: usize| (12.0 + (i % columns) as f64 * column_width, top + (i / columns) as f64 * 17.0);
    for (rank, index) in order.iter().take(COLOURED).enumerate() {
        let (x, y) = place(rank);
        canvas.rect((x, y - 6.0), (10.0, 3.0), palette.series(rank), 1.0);
        let text = format!("{} {}", cut(&frame.series[*index].name, column_width - 90.0), format(last(*index)));
        canvas.text((x + 15.0, y), 11.0, palette.text, Anchor::Start, "", &text);
    }
    if order.len() > COLOURED {
        let highest = order[COLOURED..].iter().filter_map(|i| last(*i)).reduce(f64::max);
        let (x, y) = place(COLOURED);
        canvas.text((x, y), 11.0, palette.muted, Anchor::Start, "", &format!("{} others, none above {}", order.len() - COLOURED, format(highest)));
    }
}

pub(super) fn heatmap(canvas: &mut Canvas, data: &PanelData, range: TimeRange, style: Style, format: &dyn Fn(Option<f64>) -> String) {
    let palette = canvas.palette;
    let (left, right, bottom) = (LEFT, style.width - RIGHT, style.height - 26.0);
    let most = data.heatmap.iter().flat_map(|h| &h.cells).flatten().flatten().copied().fold(0.0, f64::max);
    let Some(map) = data.heatmap.as_ref().filter(|h| !h.bounds.is_empty() && most > 0.0) else {
        canvas.text((style.width / 2.0, style.height / 2.0), 13.0, palette.muted, Anchor::Middle, "", "No data in this range");
        return;
    };
    let height = (bottom - TOP) / map.bounds.len() as f64;
    let span = (range.end - range.start) as f64;
    let width = (map.step as f64 / span * (right - left)).max(1.0);
    let every = (map.bounds.len() as f64 / ((bottom - TOP) / 18.0)).ceil().max(1.0) as usize;
    time_axis(canvas, range, (left, right), bottom);
    for (row, cells) in map.cells.iter().enumerate() {
        let y = bottom - (row + 1) as f64 * height;
        if row % every == 0 {
            let bound = map.bounds[row].1.map_or_else(|| "∞".to_owned(), |b| format(Some(b)));
            canvas.text((left - 8.0, y + 8.0), 11.0, palette.muted, Anchor::End, "n", &bound);
        }
        for (i, cell) in cells.iter().enumerate() {
            let Some(count) = cell.filter(|c| *c > 0.0) else { continue };
            let time = map.start + map.step * i64::try_from(i).unwrap_or(0);
            let x = left + (time - range.start) as f64 / span * (right - left) - width;
            let from = x.max(left);
            // The square root keeps rare values to be seen beside frequent ones.
            canvas.rect((from, y), ((x + width).min(right) - from, height), palette.series(0), 0.08 + 0.92 * (count / most).sqrt());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_ticks() {
        assert_eq!(ticks(0.0, 1.08, 5.0), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(0.0, 43.0, 5.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(-1.0, 1.0, 4.0), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(ticks(1.0, 1.0, 4.0), [1.0]);
    }
}
