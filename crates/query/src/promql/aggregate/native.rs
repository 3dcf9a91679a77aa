//! Native histograms in `sum` and `avg`: beside the cells, and only where there are any.

use std::collections::BTreeMap;
use std::sync::Arc;

use skopos_model::{CounterReset, NativeHistogram};

use super::super::ast::{AggregateOp, Expr};
use super::super::eval::Evaluator;
use super::super::histogram::{Mean, Remarks, Total};
use super::super::notes::Combining;
use super::super::vector::{ABSENT, HistogramCell, HistogramRow, Scratch, Vector, is_absent};

/// The histograms of a group at a step.
struct Group {
    total: Total,
    count: f64,
    reset: bool,
    not_reset: bool,
    /// One with custom bounds among others: there is no sum.
    incompatible: bool,
}

/// Groups by step, and what is to be said of them.
#[derive(Default)]
pub(super) struct Totals {
    groups: BTreeMap<(usize, u32), Group>,
    remarks: Remarks,
    /// Series that did not fit.
    misfits: Vec<usize>,
}

impl Totals {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds the histograms of series `index`.
    pub(super) fn add(&mut self, group: usize, row: &[HistogramCell], index: usize) {
        for (k, h) in row {
            let slot = self.groups.entry((group, *k));
            let mut known = true;
            let g = slot.or_insert_with(|| {
                known = false;
                Group { total: Total::of(h), count: 0.0, reset: false, not_reset: false, incompatible: false }
            });
            g.count += 1.0;
            g.reset |= h.counter_reset == CounterReset::Reset;
            g.not_reset |= h.counter_reset == CounterReset::NotReset;
            if !known || g.incompatible {
                continue;
            }
            match g.total.add(h) {
                Ok(remarks) => self.remarks.and(remarks),
                Err(_) => {
                    g.incompatible = true;
                    if self.misfits.last() != Some(&index) {
                        self.misfits.push(index);
                    }
                }
            }
        }
    }

    /// The histograms by group; `data` are the groups' numbers, which go where there is a histogram too.
    pub(super) fn finish(
        self,
        ev: &Evaluator<'_>,
        vector: &mut Vector,
        codes: &[u32],
        op: AggregateOp,
        at: &Expr,
        data: &mut [f64],
    ) -> Vec<HistogramRow> {
        let width = vector.width;
        for i in &self.misfits {
            ev.notes.about(vector.keys[*i].get(super::METRIC_NAME), at).mixed_schemas();
        }
        let spot = ev.notes.about("", at);
        if self.remarks.reconciled {
            spot.bounds_reconciled(Combining::Aggregation);
        }
        let groups = data.len() / width.max(1);
        let mut out = vec![HistogramRow::new(); groups];
        let mut overflown = BTreeMap::new();
        for ((group, k), mut g) in self.groups {
            let cell = &mut data[group * width + k as usize];
            if !is_absent(*cell) {
                spot.floats_and_histograms_aggregated();
                *cell = ABSENT;
                continue;
            }
            if g.incompatible {
                continue;
            }
            if g.reset && g.not_reset {
                spot.reset_collision(Combining::Aggregation);
            }
            if op == AggregateOp::Avg && g.total.overflows() {
                overflown.insert((group, k), None);
            } else {
                if op == AggregateOp::Avg {
                    g.total.divide(g.count);
                }
                out[group].push((k, Arc::new(g.total.finish())));
            }
        }
        if !overflown.is_empty() {
            running_means(vector, codes, &mut overflown);
            for ((group, k), mean) in overflown {
                out[group].extend(mean.map(|m| (k, Arc::new(m.finish()))));
                out[group].sort_by_key(|(k, _)| *k);
            }
        }
        out
    }
}

/// A sum may be too large for a float where the mean is not: those groups again, as running means.
fn running_means(vector: &mut Vector, codes: &[u32], cells: &mut BTreeMap<(usize, u32), Option<Mean>>) {
    let mut scratch = Scratch::new(vector.width);
    for (i, code) in codes.iter().enumerate() {
        let (_, row) = vector.row(i, &mut scratch);
        for (k, h) in row {
            let Some(slot) = cells.get_mut(&(*code as usize, *k)) else { continue };
            match slot {
                None => *slot = Some(Mean::of(h)),
                // They were added up before, so they fit together.
                Some(mean) => {
                    let _ = mean.add(h);
                }
            }
        }
    }
}

/// Text of a histogram as a label value of `count_values`.
pub(super) fn label_value(h: &NativeHistogram) -> String {
    super::super::histogram::text(h)
}
