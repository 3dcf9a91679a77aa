//! What a query costs: samples looked at, samples held, time by stage.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::vector::Steps;
use crate::error::Span;

/// What evaluating a query has cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// Samples looked at: a sample counts for each step that it is in the window of. A native histogram counts as so
    /// many samples as fit its size.
    pub samples: u64,
    /// The same by step, Unix milliseconds; only where the context asks for details.
    pub samples_by_step: Vec<(i64, u64)>,
    /// Samples held in memory at once, at most: those read and the widest intermediate result.
    pub peak_samples: u64,
    /// Time spent reading series.
    pub reading: Duration,
    /// Time from the query's start to its result, reading included.
    pub total: Duration,
}

/// What one expression of a query took and gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The expression in canonical form.
    pub expression: String,
    /// Where it stands in the query.
    pub span: Span,
    /// Series it gave.
    pub series: u64,
    /// Samples looked at, by what is below it too.
    pub samples: u64,
    /// Time it took, with what is below it.
    pub time: Duration,
    /// What it was made from, in the order of evaluation.
    pub children: Vec<Self>,
}

#[derive(Debug, Default)]
struct Counts {
    samples: Cell<u64>,
    /// By step of the query; empty when nobody asks.
    by_step: RefCell<Vec<u64>>,
    read: Cell<u64>,
    widest: Cell<u64>,
    reading: Cell<Duration>,
}

/// Counts while a query runs. A clone counts on: rows are computed after the node they belong to was evaluated.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    counts: Rc<Counts>,
    steps: Steps,
}

impl Tally {
    /// For a query with these steps.
    pub(crate) fn new(steps: Steps, detailed: bool) -> Self {
        let counts = Counts { by_step: RefCell::new(if detailed { vec![0; steps.count] } else { Vec::new() }), ..Counts::default() };
        Self { counts: Rc::new(counts), steps }
    }

    /// Counts samples looked at; `at` gives those of each of the node's own `steps`.
    pub(crate) fn look_at(&self, samples: u64, steps: Steps, at: impl Fn(usize) -> u64) {
        self.counts.samples.set(self.counts.samples.get() + samples);
        let mut by_step = self.counts.by_step.borrow_mut();
        if by_step.is_empty() {
            return;
        }
        if steps == self.steps {
            by_step.iter_mut().enumerate().for_each(|(k, n)| *n += at(k));
        } else if let Some(last) = by_step.last_mut() {
            // Subqueries have steps of their own.
            *last += samples;
        }
    }

    /// Counts samples that were read, and how long that took.
    pub(crate) fn read(&self, samples: u64, time: Duration) {
        self.counts.read.set(self.counts.read.get() + samples);
        self.counts.reading.set(self.counts.reading.get() + time);
    }

    /// An intermediate result of so many cells.
    pub(crate) fn hold(&self, cells: u64) {
        self.counts.widest.set(self.counts.widest.get().max(cells));
    }

    /// Samples looked at so far.
    pub(crate) fn samples(&self) -> u64 {
        self.counts.samples.get()
    }

    /// The cost, once `total` has passed since the query's start.
    pub(crate) fn finish(&self, total: Duration) -> Cost {
        let by_step = self.counts.by_step.borrow();
        Cost {
            samples: self.samples(),
            samples_by_step: self.steps.times().zip(by_step.iter().copied()).collect(),
            peak_samples: self.counts.read.get() + self.counts.widest.get(),
            reading: self.counts.reading.get(),
            total,
        }
    }
}

/// As how many samples a histogram counts: of 16 bytes each.
pub(crate) fn weight(h: &skopos_model::NativeHistogram) -> u64 {
    (h.memory() / 16) as u64
}
