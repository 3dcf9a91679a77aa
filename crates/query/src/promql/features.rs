//! Prometheus' feature flags, by the names of its `--enable-feature`.

use super::engine::EngineOptions;

/// What a feature's name stands for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// It has been switched on.
    Enabled,
    /// It is always on.
    Always,
    /// Prometheus knows it; here it changes nothing.
    NoEffect,
    /// Nobody knows it.
    Unknown,
}

/// Switches of the engine.
const SWITCHES: [(&str, fn(&mut EngineOptions)); 6] = [
    ("promql-experimental-functions", |o| o.experimental = true),
    ("promql-extended-range-selectors", |o| o.experimental = true),
    ("promql-binop-fill-modifiers", |o| o.experimental = true),
    ("promql-duration-expr", |o| o.experimental = true),
    ("promql-delayed-name-removal", |o| o.delayed_name_removal = true),
    ("use-start-timestamps", |o| o.start_timestamps = true),
];

/// What needs no switch here.
const ALWAYS: [&str; 12] = [
    "concurrent-rule-eval",
    "exemplar-storage",
    "expand-external-labels",
    "memory-snapshot-on-shutdown",
    "metadata-wal-records",
    "native-histograms",
    "otlp-write-receiver",
    "promql-at-modifier",
    "promql-negative-offset",
    "remote-write-receiver",
    "st-storage",
    "utf8-names",
];

/// What concerns Prometheus' own insides.
const NO_EFFECT: [&str; 9] = [
    "agent",
    "auto-gomaxprocs",
    "auto-gomemlimit",
    "auto-reload-config",
    "delayed-compaction",
    "new-service-discovery-manager",
    "no-default-scrape-port",
    "promql-per-step-stats",
    "use-uncached-io",
];

impl EngineOptions {
    /// Switches a feature on, by the name Prometheus gives it.
    pub fn enable(&mut self, feature: &str) -> Feature {
        if let Some((_, switch)) = SWITCHES.iter().find(|(name, _)| *name == feature) {
            switch(self);
            Feature::Enabled
        } else if ALWAYS.contains(&feature) {
            Feature::Always
        } else if NO_EFFECT.contains(&feature) {
            Feature::NoEffect
        } else {
            Feature::Unknown
        }
    }

    /// Names of the features that can be switched on.
    pub fn features() -> impl Iterator<Item = &'static str> {
        SWITCHES.iter().map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_by_name() {
        let mut options = EngineOptions::default();
        assert_eq!(options.enable("promql-experimental-functions"), Feature::Enabled);
        assert_eq!(options.enable("promql-delayed-name-removal"), Feature::Enabled);
        assert!(options.experimental && options.delayed_name_removal && !options.start_timestamps);
        assert_eq!(options.enable("native-histograms"), Feature::Always);
        assert_eq!(options.enable("auto-gomaxprocs"), Feature::NoEffect);
        assert_eq!(options.enable("promql"), Feature::Unknown);
        assert!(EngineOptions::features().all(|name| options.enable(name) == Feature::Enabled));
    }
}
