//! Samples with their labels spelled out, for the write-ahead log: numbers of series are the store's own affair and
//! mean nothing to a log that is read again.

use std::collections::HashMap;

use skopos_model::{Batch, Labels, SampleBatch, SeriesId, SeriesResolver, TimeSeries};

/// Numbers series as another resolver does and remembers their labels.
pub(super) struct Remembering<'a> {
    inner: &'a mut dyn SeriesResolver,
    labels: HashMap<SeriesId, Labels>,
}

impl<'a> Remembering<'a> {
    pub(super) fn new(inner: &'a mut dyn SeriesResolver) -> Self {
        Self { inner, labels: HashMap::new() }
    }

    /// The rows of a batch decoded with this resolver, with labels in the place of numbers.
    pub(super) fn spell_out(self, batch: &SampleBatch) -> Batch {
        // One entry a series, in the order they came.
        let mut all: Vec<TimeSeries> = Vec::with_capacity(batch.series.len());
        let mut places: HashMap<SeriesId, usize> = HashMap::new();
        let mut entry = |all: &mut Vec<TimeSeries>, series: SeriesId| {
            *places.entry(series).or_insert_with(|| {
                all.push(TimeSeries { labels: self.labels.get(&series).cloned().unwrap_or_default(), ..TimeSeries::default() });
                all.len() - 1
            })
        };
        for (series, times, values) in batch.runs() {
            let at = entry(&mut all, series);
            all[at].samples.extend(times.iter().copied().zip(values.iter().copied()));
        }
        for (series, time, histogram) in &batch.histograms {
            let at = entry(&mut all, *series);
            all[at].histograms.push((*time, histogram.clone()));
        }
        for (series, from, start) in &batch.starts {
            let at = entry(&mut all, *series);
            all[at].starts.push((*from, *start));
        }
        for (series, exemplar) in &batch.exemplars {
            let at = entry(&mut all, *series);
            all[at].exemplars.push(exemplar.clone());
        }
        Batch::Series(all, batch.metadata.clone())
    }
}

impl SeriesResolver for Remembering<'_> {
    fn resolve(&mut self, raw: &[u8], parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
        let series = self.inner.resolve(raw, parse)?;
        self.labels.entry(series).or_insert_with(parse);
        Some(series)
    }

    fn refusal(&self) -> String {
        self.inner.refusal()
    }

    fn lost(&mut self, samples: u64) {
        self.inner.lost(samples);
    }

    fn again(&mut self) {
        self.inner.again();
    }
}

#[cfg(test)]
mod tests {
    use skopos_ingest::{Cache, Context, Protocol, decode};
    use skopos_model::IngestLimits;

    use super::*;

    /// Numbers series by their labels.
    #[derive(Default)]
    struct Table(Vec<Labels>);

    impl SeriesResolver for Table {
        fn resolve(&mut self, _raw: &[u8], parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
            let labels = parse();
            if labels.is_empty() {
                return None;
            }
            let place = self.0.iter().position(|l| *l == labels).unwrap_or_else(|| {
                self.0.push(labels);
                self.0.len() - 1
            });
            Some(SeriesId(place as u32))
        }
    }

    #[test]
    fn numbers_become_labels() {
        let body = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeMetrics":[{"metrics":[
            {"name":"a","gauge":{"dataPoints":[{"timeUnixNano":"1000000000","asDouble":1.5},{"timeUnixNano":"2000000000","asDouble":2.5}]}},
            {"name":"b","gauge":{"dataPoints":[{"timeUnixNano":"1000000000","asDouble":7}]}},
            {"name":"","gauge":{"dataPoints":[{"timeUnixNano":"1000000000","asDouble":9}]}}]}]}]}"#;
        let (limits, cache) = (IngestLimits::default(), Cache::default());
        let ctx = Context::new(&limits, 3_000_000_000, &cache);
        let mut table = Table::default();
        let mut remembering = Remembering::new(&mut table);
        let decoded = decode(Protocol::OtlpMetricsJson, body.as_bytes(), "", &ctx, &mut remembering).unwrap();
        assert!(!decoded.rejected.is_empty(), "the metric without a name is refused");
        let Batch::Samples(samples) = &decoded.batch else { panic!("{:?}", decoded.batch) };
        let Batch::Series(series, metadata) = remembering.spell_out(samples) else { panic!("labels are spelled out") };
        let find = |name: &str| series.iter().find(|s| s.labels.name() == name).map(|s| s.samples.clone());
        assert_eq!(find("a"), Some(vec![(1_000, 1.5), (2_000, 2.5)]), "{series:?}");
        assert_eq!(find("b"), Some(vec![(1_000, 7.0)]));
        assert_eq!(metadata, samples.metadata);
        assert_eq!(series.iter().map(|s| s.samples.len()).sum::<usize>(), samples.len());
    }
}
