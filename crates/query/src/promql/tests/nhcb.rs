//! Classic histograms as native ones with custom buckets, for `load_with_nhcb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use skopos_model::{Labels, NativeHistogram};

use super::super::histogram::CUSTOM_SCHEMA;

use super::points::Point;

/// A bucket bound that can be a key.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound(f64);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[derive(Debug, Default)]
struct Parts {
    buckets: BTreeMap<Bound, f64>,
    count: Option<f64>,
    sum: f64,
}

/// Series with histograms by index of their points, collected from the series of classic ones.
#[derive(Debug, Default)]
pub(crate) struct Classic {
    series: BTreeMap<Labels, BTreeMap<usize, Parts>>,
}

impl Classic {
    /// Takes the points of a series when it is a part of a classic histogram.
    pub(crate) fn add(&mut self, labels: &Labels, points: &[Point]) {
        let name = labels.name();
        let found = ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| Some((suffix, name.strip_suffix(suffix)?)));
        let Some((suffix, base)) = found else { return };
        let le = labels.get("le").and_then(|le| le.parse::<f64>().ok()).filter(|le| !le.is_nan());
        if suffix == "_bucket" && le.is_none() {
            return;
        }
        let series = self.series.entry(labels.without(&["le"]).with("__name__", base)).or_default();
        for (i, point) in points.iter().enumerate() {
            let Point::Float(v) = point else { continue };
            let parts = series.entry(i).or_default();
            match (suffix, le) {
                ("_bucket", Some(le)) => {
                    parts.buckets.insert(Bound(le), *v);
                }
                ("_count", _) => parts.count = Some(*v),
                _ => parts.sum = *v,
            }
        }
    }

    /// The native histograms.
    pub(crate) fn finish(self) -> Vec<(Arc<Labels>, usize, NativeHistogram)> {
        let mut out = Vec::new();
        for (labels, points) in self.series {
            let labels = Arc::new(labels);
            for (i, parts) in points {
                out.extend(native(&parts).map(|h| (Arc::clone(&labels), i, h)));
            }
        }
        out
    }
}

fn native(parts: &Parts) -> Option<NativeHistogram> {
    let count = parts.count.or_else(|| parts.buckets.values().last().copied())?;
    let mut h = NativeHistogram { schema: CUSTOM_SCHEMA, count, sum: parts.sum, ..NativeHistogram::default() };
    let mut below = 0.0;
    for (i, (bound, counted)) in (0..).zip(&parts.buckets) {
        if bound.0 == f64::INFINITY {
            break;
        }
        if *counted < below {
            // Decreasing buckets are no histogram.
            return None;
        }
        h.custom_bounds.push(bound.0);
        h.positive.push(i, counted - below);
        below = *counted;
    }
    if count < below {
        return None;
    }
    h.positive.push(i32::try_from(h.custom_bounds.len()).unwrap(), count - below);
    Some(h)
}
