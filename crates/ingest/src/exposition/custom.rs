//! Classic histograms of a scrape as native ones with custom buckets: one series in the place of one for each bucket.

use std::collections::{BTreeMap, HashSet};

use skopos_model::histogram::CUSTOM_SCHEMA;
use skopos_model::labels::METRIC_NAME;
use skopos_model::{Buckets, CounterReset, Exemplar, Labels, MetricKind, NativeHistogram, TimeSeries};

use super::Scrape;

/// Which part of a classic histogram a series is.
enum Part {
    Bucket(f64),
    Sum,
    Count,
}

/// What has been gathered of one histogram.
#[derive(Default)]
struct Gathered {
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: Option<f64>,
    exemplars: Vec<Exemplar>,
    start: Option<i64>,
    gauge: bool,
    /// Places of its series in the scrape.
    places: Vec<usize>,
}

impl Scrape {
    /// Adds a native histogram for each classic one, and takes the classic series out unless they are to be kept.
    /// What is no histogram stays as it is: counts that go down, or no count at all.
    pub fn with_custom_buckets(mut self, keep_classic: bool) -> Self {
        let kinds: BTreeMap<&str, MetricKind> = self.metadata.iter().map(|m| (&*m.family, m.kind)).collect();
        let native: HashSet<&Labels> = self.series.iter().filter(|series| !series.histograms.is_empty()).map(|series| &series.labels).collect();
        let mut all: BTreeMap<(Labels, i64), Gathered> = BTreeMap::new();
        for (place, series) in self.series.iter().enumerate() {
            let Some(&(timestamp, value)) = series.samples.first() else { continue };
            let Some((labels, part, gauge)) = part_of(&series.labels, &kinds) else { continue };
            if native.contains(&labels) {
                continue;
            }
            let gathered = all.entry((labels, timestamp)).or_default();
            match part {
                Part::Bucket(bound) => gathered.buckets.push((bound, value)),
                Part::Sum => gathered.sum = value,
                Part::Count => gathered.count = Some(value),
            }
            gathered.gauge = gauge;
            gathered.exemplars.extend(series.exemplars.iter().cloned());
            gathered.start = gathered.start.or(series.starts.first().map(|(_, start)| *start));
            gathered.places.push(place);
        }
        let mut gone = HashSet::new();
        let mut made = Vec::new();
        for ((labels, timestamp), mut gathered) in all {
            let Some(histogram) = gathered.build() else { continue };
            if !keep_classic {
                gone.extend(gathered.places.iter().copied());
            }
            made.push(TimeSeries {
                labels,
                histograms: vec![(timestamp, histogram)],
                starts: gathered.start.into_iter().map(|start| (timestamp, start)).collect(),
                exemplars: gathered.exemplars,
                ..TimeSeries::default()
            });
        }
        let mut place = 0;
        self.series.retain(|_| {
            place += 1;
            !gone.contains(&(place - 1))
        });
        self.series.extend(made);
        self
    }
}

/// The labels of the histogram a series belongs to, which part of it the series is, and whether it is a gauge.
fn part_of(labels: &Labels, kinds: &BTreeMap<&str, MetricKind>) -> Option<(Labels, Part, bool)> {
    let name = labels.name();
    let (family, part) = if let Some(family) = name.strip_suffix("_bucket") {
        (family, Part::Bucket(labels.get("le")?.parse().ok()?))
    } else if let Some(family) = name.strip_suffix("_sum").or_else(|| name.strip_suffix("_gsum")) {
        (family, Part::Sum)
    } else {
        (name.strip_suffix("_count").or_else(|| name.strip_suffix("_gcount"))?, Part::Count)
    };
    let gauge = match kinds.get(family)? {
        MetricKind::Histogram => false,
        MetricKind::GaugeHistogram => true,
        _ => return None,
    };
    Some((labels.without(&["le"]).with(METRIC_NAME, family), part, gauge))
}

impl Gathered {
    fn build(&mut self) -> Option<NativeHistogram> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, kept| later.0 == kept.0);
        let last = self.buckets.last().map(|(_, count)| *count);
        let infinite = self.buckets.last().is_some_and(|(bound, _)| *bound == f64::INFINITY);
        let count = self.count.or(last.filter(|_| infinite))?;
        let custom_bounds: Vec<f64> = self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| *bound < f64::INFINITY).collect();
        let (mut positive, mut below) = (Buckets::default(), 0.0);
        let cumulative = self.buckets.iter().filter(|(bound, _)| *bound < f64::INFINITY).map(|(_, count)| *count).chain([count]);
        for (index, so_far) in cumulative.enumerate() {
            let own = so_far - below;
            if own.is_nan() || own < 0.0 {
                return None;
            }
            positive.push(i32::try_from(index).ok()?, own);
            below = so_far;
        }
        let counter_reset = if self.gauge { CounterReset::Gauge } else { CounterReset::Unknown };
        let histogram =
            NativeHistogram { schema: CUSTOM_SCHEMA, counter_reset, count, sum: self.sum, positive, custom_bounds, ..NativeHistogram::default() };
        histogram.check().is_ok().then_some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, ScrapeOptions, parse};
    use super::*;
    use skopos_model::IngestLimits;

    fn scrape(body: &str) -> Scrape {
        let limits = IngestLimits::default();
        let options = ScrapeOptions { scrape_time: 7, honor_timestamps: true, native_histograms: true, classic_histograms: true, limits: &limits };
        parse(body.as_bytes(), Format::Text, &options).expect("well formed").batch
    }

    fn names(scrape: &Scrape) -> Vec<String> {
        scrape.series.iter().map(|series| series.labels.to_string()).collect()
    }

    const BODY: &str = "# TYPE lat histogram\nlat_bucket{a=\"b\",le=\"1\"} 2\nlat_bucket{a=\"b\",le=\"2.5\"} 2\nlat_bucket{a=\"b\",le=\"+Inf\"} 5\nlat_sum{a=\"b\"} 9.5\nlat_count{a=\"b\"} 5\n\
                        # TYPE other counter\nother_count 3\n# TYPE down histogram\ndown_bucket{le=\"1\"} 3\ndown_bucket{le=\"+Inf\"} 2\ndown_count 2\n";

    #[test]
    fn classic_histograms_become_native() {
        let got = scrape(BODY).with_custom_buckets(false);
        assert_eq!(names(&got), ["other_count", r#"down_bucket{le="1.0"}"#, r#"down_bucket{le="+Inf"}"#, "down_count", r#"lat{a="b"}"#]);
        let (7, histogram) = &got.series[4].histograms[0] else { panic!("{got:?}") };
        assert_eq!((histogram.count, histogram.sum, &histogram.custom_bounds[..]), (5.0, 9.5, &[1.0, 2.5][..]));
        assert_eq!(histogram.positive.iter().collect::<Vec<_>>(), [(0, 2.0), (2, 3.0)]);
        let kept = scrape(BODY).with_custom_buckets(true);
        assert_eq!(kept.series.len(), scrape(BODY).series.len() + 1);
    }

    #[test]
    fn a_count_is_needed_and_infinity_is_one() {
        let got = scrape("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 3\n# TYPE b histogram\nb_bucket{le=\"1\"} 1\n")
            .with_custom_buckets(false);
        assert_eq!(names(&got), [r#"b_bucket{le="1.0"}"#, "a"]);
        assert_eq!(got.series[1].histograms[0].1.count, 3.0);
    }
}
