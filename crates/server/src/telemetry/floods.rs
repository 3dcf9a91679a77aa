//! Figures of floods: how near the limits on series are, what is refused, and whose it is.

use skopos_storage::StoreStats;

use super::{family, line};
use crate::app::App;

/// Most metrics and sources told by name: what floods must not flood this as well.
const NAMED_MAX: usize = 20;

/// Adds them to an exposition.
pub(super) fn exposition(out: &mut String, app: &App, stats: &StoreStats) {
    family(out, "skopos_series_active", "gauge", "Series with a sample in memory.");
    line(out, "skopos_series_active", &[], stats.series.active_series);
    family(out, "skopos_series_active_max", "gauge", "Most there may be; further new ones are refused.");
    line(out, "skopos_series_active_max", &[], stats.series.active_series_max);
    family(out, "skopos_series_known", "gauge", "Series that memory has the labels of.");
    line(out, "skopos_series_known", &[], stats.series.series);
    family(out, "skopos_series_index_bytes", "gauge", "Memory of the series' labels.");
    line(out, "skopos_series_index_bytes", &[], stats.series.index_bytes);
    family(out, "skopos_series_refused_samples_total", "counter", "Samples of new series that were refused, by the limit on series.");
    for limit in ["active_series_max", "active_series_per_metric_max", "active_series_per_source_max"] {
        let samples = stats.refused_by_limit.iter().find(|(name, _)| *name == limit).map_or(0, |(_, samples)| *samples);
        line(out, "skopos_series_refused_samples_total", &[("limit", limit)], samples);
    }
    family(
        out,
        "skopos_flood_refused_samples_total",
        "counter",
        "The same by metric, source and the label that has most values, of those refused most.",
    );
    for flood in app.store.refused_series(NAMED_MAX) {
        let labels = [("metric", &*flood.metric), ("source", &flood.source), ("label", &flood.label), ("limit", flood.limit)];
        line(out, "skopos_flood_refused_samples_total", &labels, flood.samples);
    }
    family(
        out,
        "skopos_source_refused_requests_total",
        "counter",
        "Requests and scrapes refused for a rate, by source and limit, of those refused most.",
    );
    for source in app.sources.list(NAMED_MAX) {
        if let Some((limit, _)) = source.limit {
            line(out, "skopos_source_refused_requests_total", &[("source", &*source.name), ("limit", limit)], source.refused_requests);
        }
    }
}
