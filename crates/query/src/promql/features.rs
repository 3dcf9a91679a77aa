//! Prometheus' feature flags, by the names of its `--enable-feature`: one table for the switches, the command line and
//! the API. As of Prometheus 3.16.

use super::engine::EngineOptions;

/// What a feature's name stands for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// It has been switched on.
    Enabled,
    /// It is always on: here, or in Prometheus as well by now.
    Always,
    /// It concerns Prometheus' own insides: here it changes nothing.
    NoEffect,
    /// It would change what is stored or answered, and is not served; what stands in its place.
    Unserved(&'static str),
    /// Nobody knows it.
    Unknown,
}

/// What to do about a name.
enum Row {
    Switch { on: fn(&mut EngineOptions), is_on: fn(&EngineOptions) -> bool },
    Always,
    NoEffect,
    Unserved(&'static str),
}

/// All names that Prometheus has or had.
const FEATURES: [(&str, Row); 34] = [
    ("agent", Row::NoEffect),
    ("auto-gomaxprocs", Row::NoEffect),
    ("auto-gomemlimit", Row::NoEffect),
    ("auto-reload-config", Row::Unserved("the configuration is read again on SIGHUP and POST /-/reload")),
    ("concurrent-rule-eval", Row::Always),
    ("created-timestamp-zero-ingestion", Row::Unserved("start timestamps are stored as such, and use-start-timestamps uses them")),
    ("delayed-compaction", Row::NoEffect),
    ("exemplar-storage", Row::Always),
    ("expand-external-labels", Row::NoEffect),
    ("extra-scrape-metrics", Row::Unserved("the key extra_scrape_metrics does it, for all jobs or one")),
    ("fast-startup", Row::NoEffect),
    ("memory-snapshot-on-shutdown", Row::NoEffect),
    ("metadata-wal-records", Row::Always),
    ("native-histograms", Row::Always),
    ("new-service-discovery-manager", Row::NoEffect),
    ("no-default-scrape-port", Row::NoEffect),
    ("old-ui", Row::NoEffect),
    ("otlp-deltatocumulative", Row::Always),
    ("otlp-native-delta-ingestion", Row::Unserved("delta points are added up")),
    ("otlp-write-receiver", Row::Always),
    ("promql-at-modifier", Row::Always),
    ("promql-binop-fill-modifiers", Row::Switch { on: |o| o.fill_modifiers = true, is_on: |o| o.fill_modifiers }),
    ("promql-delayed-name-removal", Row::Switch { on: |o| o.delayed_name_removal = true, is_on: |o| o.delayed_name_removal }),
    // Without a flag since 3.14, and the range selectors since 3.16.
    ("promql-duration-expr", Row::Always),
    ("promql-experimental-functions", Row::Switch { on: |o| o.experimental = true, is_on: |o| o.experimental }),
    ("promql-extended-range-selectors", Row::Always),
    ("promql-negative-offset", Row::Always),
    ("promql-per-step-stats", Row::Unserved("stats=all tells the cost of the whole query")),
    ("remote-write-receiver", Row::Always),
    ("st-storage", Row::Always),
    ("type-and-unit-labels", Row::Unserved("type and unit are in the metadata alone")),
    ("use-start-timestamps", Row::Switch { on: |o| o.start_timestamps = true, is_on: |o| o.start_timestamps }),
    ("use-uncached-io", Row::NoEffect),
    ("utf8-names", Row::Always),
];

impl EngineOptions {
    /// Switches a feature on, by the name Prometheus gives it.
    pub fn enable(&mut self, feature: &str) -> Feature {
        match FEATURES.iter().find(|(name, _)| *name == feature).map(|(_, row)| row) {
            Some(Row::Switch { on, .. }) => {
                on(self);
                Feature::Enabled
            }
            Some(Row::Always) => Feature::Always,
            Some(Row::NoEffect) => Feature::NoEffect,
            Some(Row::Unserved(instead)) => Feature::Unserved(instead),
            None => Feature::Unknown,
        }
    }

    /// Names of the features that can be switched on.
    pub fn features() -> impl Iterator<Item = &'static str> {
        FEATURES.iter().filter(|(_, row)| matches!(row, Row::Switch { .. })).map(|(name, _)| *name)
    }

    /// Names of the features in force: those that are always on, and those switched on.
    pub fn features_in_force(&self) -> impl Iterator<Item = &'static str> {
        let in_force = |row: &Row| match row {
            Row::Switch { is_on, .. } => is_on(self),
            Row::Always => true,
            Row::NoEffect | Row::Unserved(_) => false,
        };
        FEATURES.iter().filter(move |(_, row)| in_force(row)).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_by_name() {
        let mut options = EngineOptions::default();
        assert_eq!(options.enable("promql-experimental-functions"), Feature::Enabled);
        assert!(options.experimental && !options.fill_modifiers && !options.delayed_name_removal && !options.start_timestamps);
        assert_eq!(options.enable("promql-binop-fill-modifiers"), Feature::Enabled);
        assert!(options.fill_modifiers);
        assert_eq!(options.enable("native-histograms"), Feature::Always);
        assert_eq!(options.enable("auto-gomaxprocs"), Feature::NoEffect);
        assert!(matches!(options.enable("type-and-unit-labels"), Feature::Unserved(_)));
        assert_eq!(options.enable("promql"), Feature::Unknown);
        assert!(FEATURES.is_sorted_by(|a, b| a.0 < b.0), "each name once, in order");
    }

    #[test]
    fn what_is_in_force_is_told() {
        let mut options = EngineOptions::default();
        let in_force = |options: &EngineOptions| options.features_in_force().filter(|name| EngineOptions::features().any(|f| f == *name)).count();
        assert_eq!(in_force(&options), 0);
        assert!(options.features_in_force().any(|name| name == "promql-duration-expr"));
        for (count, feature) in (1..).zip(EngineOptions::features()) {
            assert_eq!(options.enable(feature), Feature::Enabled);
            assert_eq!(in_force(&options), count, "{feature}");
        }
        assert_eq!(in_force(&options), 4);
    }
}
