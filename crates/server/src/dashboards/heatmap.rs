//! Counts by time and value, from classic buckets or native histograms.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use skopos_model::NativeHistogram;

use super::data::Steps;

/// Most rows: finer buckets are put together.
pub const ROWS_MAX: usize = 64;
/// Ranges that plain values are counted in.
const VALUE_ROWS: usize = 20;

/// Counts by time and value.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Heatmap {
    /// Unix nanoseconds.
    #[serde(with = "skopos_query::logs::nanos_text")]
    pub start: i64,
    /// Nanoseconds.
    #[serde(with = "skopos_query::logs::nanos_text")]
    pub step: i64,
    /// Lower and upper end of each row, ascending; none where it has no end.
    pub bounds: Vec<(Option<f64>, Option<f64>)>,
    /// Counts by row, then by step; null is a gap.
    pub cells: Vec<Vec<Option<f64>>>,
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn steps_of(steps: Steps) -> usize {
    usize::try_from((steps.end - steps.start) / steps.step + 1).unwrap_or(1)
}

impl Heatmap {
    fn of(steps: Steps, bounds: Vec<(Option<f64>, Option<f64>)>, cells: Vec<Vec<Option<f64>>>) -> Self {
        Self { start: steps.start * 1_000_000, step: steps.step * 1_000_000, bounds, cells }
    }

    /// From cumulative buckets by upper bound: each row is what its bucket has more than the one below.
    pub fn from_classic(buckets: &[(f64, &[Option<f64>])], steps: Steps) -> Self {
        let count = steps_of(steps);
        let mut by_bound: Vec<(f64, Vec<Option<f64>>)> = Vec::new();
        for (bound, values) in buckets {
            let at = by_bound.iter().position(|(b, _)| b.total_cmp(bound).is_eq()).unwrap_or_else(|| {
                by_bound.push((*bound, vec![None; count]));
                by_bound.len() - 1
            });
            for (sum, value) in by_bound[at].1.iter_mut().zip(values.iter()) {
                if let Some(value) = value {
                    *sum = Some(sum.unwrap_or(0.0) + value);
                }
            }
        }
        by_bound.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut bounds, mut cells) = (Vec::new(), Vec::new());
        let mut below: (Option<f64>, Vec<Option<f64>>) = (None, vec![Some(0.0); count]);
        for (bound, values) in by_bound {
            // Rates of buckets that were read at different moments may fall by a hair: that is no count.
            let row = values.iter().zip(&below.1).map(|(v, b)| v.map(|v| (v - b.unwrap_or(0.0)).max(0.0))).collect();
            bounds.push((below.0, finite(bound)));
            cells.push(row);
            below = (finite(bound), values);
        }
        Self::of(steps, bounds, cells)
    }

    /// From plain values: how many series have a value in each of a few ranges of the same width.
    pub fn from_values(series: &[&[Option<f64>]], steps: Steps) -> Self {
        let all = || series.iter().flat_map(|s| s.iter()).flatten().copied();
        let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if !(low.is_finite() && high.is_finite()) {
            return Self::of(steps, Vec::new(), Vec::new());
        }
        let width = if high > low { (high - low) / VALUE_ROWS as f64 } else { 1.0 };
        let mut cells = vec![vec![None; steps_of(steps)]; VALUE_ROWS];
        for values in series {
            for (at, value) in values.iter().enumerate() {
                let Some(value) = value else { continue };
                let row = (((value - low) / width) as usize).min(VALUE_ROWS - 1);
                if let Some(cell) = cells[row].get_mut(at) {
                    *cell = Some(cell.unwrap_or(0.0) + 1.0);
                }
            }
        }
        let bounds = (0..VALUE_ROWS).map(|i| (Some(low + i as f64 * width), Some(low + (i + 1) as f64 * width))).collect();
        Self::of(steps, bounds, cells)
    }

    /// From native histograms by step. All are brought to the coarsest schema among them, and coarser until the rows
    /// are few enough.
    pub fn from_native(histograms: &[(usize, Arc<NativeHistogram>)], steps: Steps) -> Self {
        let count = steps_of(steps);
        let exponential: Vec<&(usize, Arc<NativeHistogram>)> = histograms.iter().filter(|(_, h)| !h.is_custom()).collect();
        let mut schema = exponential.iter().map(|(_, h)| h.schema).min().unwrap_or(0);
        loop {
            let rows = rows_at(&exponential, schema, histograms, count);
            if rows.len() <= ROWS_MAX || schema <= skopos_model::histogram::SCHEMA_MIN {
                let (bounds, cells) = rows.into_values().unzip();
                return Self::of(steps, bounds, cells);
            }
            schema -= 1;
        }
    }
}

type Rows = BTreeMap<(u64, u64), ((Option<f64>, Option<f64>), Vec<Option<f64>>)>;

/// Orders floats as numbers when used as keys.
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn rows_at(exponential: &[&(usize, Arc<NativeHistogram>)], schema: i8, all: &[(usize, Arc<NativeHistogram>)], count: usize) -> Rows {
    let mut rows = Rows::new();
    let mut add = |low: f64, high: f64, step: usize, n: f64| {
        let row = rows.entry((key(low), key(high))).or_insert_with(|| ((finite(low), finite(high)), vec![None; count]));
        if let Some(cell) = row.1.get_mut(step) {
            *cell = Some(cell.unwrap_or(0.0) + n);
        }
    };
    let base = 2f64.powf(2f64.powi(-i32::from(schema)));
    let bound = |index: i32| base.powi(index);
    for (step, h) in exponential.iter().map(|pair| (pair.0, &pair.1)) {
        let shift = (h.schema - schema).max(0);
        // Halving the resolution puts buckets 2i−1 and 2i into bucket i.
        let coarse = |index: i32| (0..shift).fold(index, |i, _| (i + 1) >> 1);
        for (index, n) in h.positive.iter() {
            let i = coarse(index);
            add(bound(i - 1), bound(i), step, n);
        }
        for (index, n) in h.negative.iter() {
            let i = coarse(index);
            add(-bound(i), -bound(i - 1), step, n);
        }
        if h.zero_count > 0.0 {
            add(-h.zero_threshold, h.zero_threshold, step, h.zero_count);
        }
    }
    for (step, h) in all.iter().filter(|(_, h)| h.is_custom()) {
        let at = |index: i32| usize::try_from(index).ok().and_then(|i| h.custom_bounds.get(i)).copied();
        for (index, n) in h.positive.iter() {
            add(at(index - 1).unwrap_or(f64::NEG_INFINITY), at(index).unwrap_or(f64::INFINITY), *step, n);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_model::Buckets;
    use skopos_model::histogram::CUSTOM_SCHEMA;

    const STEPS: Steps = Steps { start: 0, end: 1000, step: 1000 };

    fn buckets(pairs: &[(i32, f64)]) -> Buckets {
        let mut out = Buckets::default();
        pairs.iter().for_each(|(i, n)| out.push(*i, *n));
        out
    }

    #[test]
    fn plain_values_are_counted_by_range() {
        let steps = Steps { start: 0, end: 1_000, step: 1_000 };
        let map = Heatmap::from_values(&[&[Some(0.0), Some(20.0)], &[Some(0.4), None], &[Some(10.0), Some(20.0)]], steps);
        assert_eq!((map.bounds.len(), map.bounds[0], map.bounds[19]), (20, (Some(0.0), Some(1.0)), (Some(19.0), Some(20.0))));
        assert_eq!((map.cells[0][0], map.cells[10][0], map.cells[19][1], map.cells[0][1]), (Some(2.0), Some(1.0), Some(2.0), None));
        assert!(Heatmap::from_values(&[&[None, None]], steps).bounds.is_empty());
        assert_eq!(Heatmap::from_values(&[&[Some(3.0), None]], steps).cells[0][0], Some(1.0), "one value alone");
    }

    #[test]
    fn classic_buckets_become_counts_between_bounds() {
        let (one, all, half) = ([Some(1.0), None], [Some(4.0), None], [Some(0.5), None]);
        let map = Heatmap::from_classic(&[(f64::INFINITY, &all), (0.1, &one), (1.0, &one), (0.1, &half)], STEPS);
        assert_eq!(map.bounds, [(None, Some(0.1)), (Some(0.1), Some(1.0)), (Some(1.0), None)]);
        assert_eq!(map.cells, [vec![Some(1.5), None], vec![Some(0.0), None], vec![Some(3.0), None]]);
    }

    #[test]
    fn native_histograms_are_brought_to_one_schema() {
        let fine = NativeHistogram { schema: 1, positive: buckets(&[(1, 2.0), (2, 3.0), (3, 1.0)]), ..NativeHistogram::default() };
        let coarse = NativeHistogram {
            schema: 0,
            zero_count: 5.0,
            zero_threshold: 0.001,
            positive: buckets(&[(1, 7.0)]),
            negative: buckets(&[(1, 4.0)]),
            ..NativeHistogram::default()
        };
        let map = Heatmap::from_native(&[(0, Arc::new(fine)), (1, Arc::new(coarse))], STEPS);
        assert_eq!(map.bounds, [(Some(-2.0), Some(-1.0)), (Some(-0.001), Some(0.001)), (Some(1.0), Some(2.0)), (Some(2.0), Some(4.0))]);
        assert_eq!(map.cells, [vec![None, Some(4.0)], vec![None, Some(5.0)], vec![Some(5.0), Some(7.0)], vec![Some(1.0), None]]);
    }

    #[test]
    fn many_fine_buckets_are_put_together_and_none_is_lost() {
        let indexes: Vec<(i32, f64)> = (0..1000).map(|i| (i, 1.0)).collect();
        let map =
            Heatmap::from_native(&[(0, Arc::new(NativeHistogram { schema: 8, positive: buckets(&indexes), ..NativeHistogram::default() }))], STEPS);
        assert!(map.bounds.len() <= ROWS_MAX && map.bounds.len() > 8, "{}", map.bounds.len());
        assert_eq!(map.cells.iter().filter_map(|row| row[0]).sum::<f64>(), 1000.0);
    }

    #[test]
    fn custom_bounds_have_open_ends() {
        let h = NativeHistogram {
            schema: CUSTOM_SCHEMA,
            custom_bounds: vec![1.0, 2.0],
            positive: buckets(&[(0, 1.0), (1, 2.0), (2, 3.0)]),
            ..NativeHistogram::default()
        };
        let map = Heatmap::from_native(&[(0, Arc::new(h))], STEPS);
        assert_eq!(map.bounds, [(None, Some(1.0)), (Some(1.0), Some(2.0)), (Some(2.0), None)]);
    }
}
