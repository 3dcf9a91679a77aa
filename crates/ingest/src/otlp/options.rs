//! How OTLP metrics become Prometheus series: what Prometheus keeps under `otlp:` in its configuration.

use serde::{Deserialize, Serialize};
use skopos_model::Resource;
use xxhash_rust::xxh3::xxh3_64;

use crate::otlp::names::NameTranslation;

/// How OTLP metrics become Prometheus series. The keys are those of Prometheus' section `otlp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpOptions {
    /// How names are translated: `UnderscoreEscapingWithSuffixes`, `UnderscoreEscapingWithoutSuffixes`,
    /// `NoUTF8EscapingWithSuffixes` or `NoTranslation`.
    pub translation_strategy: NameTranslation,
    /// Resource attributes that become labels of every series of the resource, besides `job` and `instance`.
    pub promote_resource_attributes: Vec<String>,
    /// All resource attributes become labels, but those of `ignore_resource_attributes`.
    pub promote_all_resource_attributes: bool,
    /// Resource attributes that stay out when all are promoted.
    pub ignore_resource_attributes: Vec<String>,
    /// `target_info` keeps `service.name`, `service.namespace` and `service.instance.id`.
    pub keep_identifying_resource_attributes: bool,
    /// Explicit histograms become native histograms with custom buckets, one series instead of one for each bucket.
    pub convert_histograms_to_nhcb: bool,
}

/// What is in force unless something else is asked for.
static DEFAULT: OtlpOptions = OtlpOptions {
    translation_strategy: NameTranslation::UnderscoreEscapingWithSuffixes,
    promote_resource_attributes: Vec::new(),
    promote_all_resource_attributes: false,
    ignore_resource_attributes: Vec::new(),
    keep_identifying_resource_attributes: false,
    convert_histograms_to_nhcb: false,
};

impl Default for OtlpOptions {
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl OtlpOptions {
    /// The defaults, shared.
    pub fn defaults() -> &'static Self {
        &DEFAULT
    }

    /// As text for the write-ahead log; empty for the defaults.
    pub fn to_text(&self) -> String {
        if *self == DEFAULT { String::new() } else { serde_json::to_string(self).expect("plain fields") }
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// When it is something else, with the reason.
    pub fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(DEFAULT.clone()) } else { serde_json::from_str(text).map_err(|e| format!("no OTLP options: {e}")) }
    }

    /// What makes them contradict themselves, if anything.
    ///
    /// # Errors
    /// With the keys and the reason.
    pub fn check(&self) -> Result<(), String> {
        if self.promote_all_resource_attributes && !self.promote_resource_attributes.is_empty() {
            return Err("promote_all_resource_attributes and promote_resource_attributes exclude each other".to_owned());
        }
        if !self.promote_all_resource_attributes && !self.ignore_resource_attributes.is_empty() {
            return Err("ignore_resource_attributes needs promote_all_resource_attributes".to_owned());
        }
        for (key, list) in
            [("promote_resource_attributes", &self.promote_resource_attributes), ("ignore_resource_attributes", &self.ignore_resource_attributes)]
        {
            if list.iter().any(String::is_empty) {
                return Err(format!("{key} has an empty name"));
            }
            if let Some(twice) = list.iter().enumerate().find(|(i, name)| list[..*i].contains(name)) {
                return Err(format!("{key} names {:?} twice", twice.1));
            }
        }
        Ok(())
    }

    /// Tells the bytes of a series under these options from those under others; 0 for the defaults.
    pub(crate) fn fingerprint(&self) -> u32 {
        if *self == DEFAULT { 0 } else { (xxh3_64(self.to_text().as_bytes()) as u32).max(1) }
    }

    /// Label names and values of the resource's attributes that are promoted.
    pub(crate) fn promoted(&self, resource: &Resource) -> Vec<(String, String)> {
        let wanted = |key: &str| {
            if self.promote_all_resource_attributes {
                !self.ignore_resource_attributes.iter().any(|name| name == key)
            } else {
                self.promote_resource_attributes.iter().any(|name| name == key)
            }
        };
        let chosen = resource.attributes.iter().filter(|(key, _)| wanted(key));
        // An attribute that can be no label is left out: the others still help.
        chosen.filter_map(|(key, value)| Some((self.translation_strategy.label_name(key).ok()?.into_owned(), value.to_text().into_owned()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        assert_eq!(OtlpOptions::default().to_text(), "");
        assert_eq!(OtlpOptions::default().fingerprint(), 0);
        let other = OtlpOptions { translation_strategy: NameTranslation::NoUtf8EscapingWithSuffixes, ..OtlpOptions::default() };
        assert!(other.to_text().contains("\"NoUTF8EscapingWithSuffixes\""), "{}", other.to_text());
        assert_eq!(OtlpOptions::from_text(&other.to_text()), Ok(other.clone()));
        assert_ne!(other.fingerprint(), 0);
        assert!(OtlpOptions::from_text("{").is_err());
    }

    #[test]
    fn contradictions_are_named() {
        let promote =
            |names: &[&str]| OtlpOptions { promote_resource_attributes: names.iter().map(|n| (*n).to_owned()).collect(), ..OtlpOptions::default() };
        assert_eq!(promote(&["a", "b"]).check(), Ok(()));
        assert!(promote(&["a", "a"]).check().is_err() && promote(&[""]).check().is_err());
        assert!(OtlpOptions { promote_all_resource_attributes: true, ..promote(&["a"]) }.check().is_err());
        assert!(OtlpOptions { ignore_resource_attributes: vec!["a".to_owned()], ..OtlpOptions::default() }.check().is_err());
    }
}
