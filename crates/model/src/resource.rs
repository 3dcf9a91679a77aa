//! What produced the telemetry: OpenTelemetry's resource and instrumentation scope.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::attributes::AttrValue;

/// Service name of telemetry that states none, as the OpenTelemetry specification names it.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// A resource: who sent it. Equal attributes give an equal `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Stable 64-bit hash of the attributes, the same over processes: the stream id.
    pub id: u64,
    /// `service.name`, or [`UNKNOWN_SERVICE`].
    pub service_name: Box<str>,
    /// Attributes, sorted by key, keys unique (`service.name` among them when it was sent).
    pub attributes: Vec<(Box<str>, AttrValue)>,
}

impl Resource {
    /// Sorts the attributes (the first of equal keys wins) and derives id and service name.
    pub fn new(mut attributes: Vec<(Box<str>, AttrValue)>) -> Self {
        attributes.sort_by(|a, b| a.0.cmp(&b.0));
        attributes.dedup_by(|later, kept| later.0 == kept.0);
        let mut hasher = Xxh3::new();
        for (key, value) in &attributes {
            hasher.update(key.as_bytes());
            hasher.update(&[0xff, value.ty() as u8]);
            hasher.update(value.to_text().as_bytes());
            hasher.update(&[0xff]);
        }
        let service_name = attributes
            .iter()
            .find(|(key, _)| &**key == "service.name")
            .map(|(_, value)| value.to_text().into_owned().into_boxed_str())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| UNKNOWN_SERVICE.into());
        Self { id: hasher.digest(), service_name, attributes }
    }

    /// A resource attribute as text.
    pub fn get(&self, key: &str) -> Option<std::borrow::Cow<'_, str>> {
        let at = self.attributes.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(self.attributes[at].1.to_text())
    }

    /// `deployment.environment.name`, or its older name `deployment.environment`.
    pub fn environment(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.get("deployment.environment.name").or_else(|| self.get("deployment.environment"))
    }
}

impl Default for Resource {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// The instrumentation scope: which library recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Scope (logger, tracer, meter) name.
    pub name: Box<str>,
    /// Scope version, empty when not given.
    pub version: Box<str>,
}
