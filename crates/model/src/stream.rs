//! Streams of log records, as Loki knows them: how they are kept in resources and records.
//!
//! A stream's labels are resource attributes under their own names, beside the marker [`MARKER`]; labels have no dot in
//! their names, what is derived from them (`service.name`, `deployment.environment.name`) has one. So the labels come
//! back exactly: they are the attributes without a dot. Structured metadata are record attributes under their own names;
//! an entry `trace_id` or `span_id` in OpenTelemetry's notation is kept as the record's id alone.

use crate::attributes::AttrValue;
use crate::resource::Resource;

/// Resource attribute that says the resource is a stream, with the protocol that brought it as its value.
pub const MARKER: &str = "skopos.stream";

/// Value of [`MARKER`] for Loki's push API.
pub const LOKI: &str = "loki";

/// Labels a service's name is taken from, the first that is there: Loki's `discover_service_name`, after the label
/// `service_name` itself.
pub const SERVICE_NAME_LABELS: [&str; 14] = [
    "service_name",
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Labels an environment's name is taken from.
pub const ENVIRONMENT_LABELS: [&str; 4] = ["deployment_environment_name", "deployment_environment", "environment", "env"];

/// Resource attributes of OpenTelemetry that Loki takes as labels (dots become underscores); all others are structured
/// metadata to it. Loki's `default_resource_attributes_as_index_labels`.
pub const OTLP_INDEX_LABELS: [&str; 18] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];

/// The resource of a stream with these labels. Of a name given twice the last one counts, as in a JSON object; labels
/// without a value are none. Dots in names become underscores, as Loki writes them.
pub fn resource<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Resource {
    let mut attributes: Vec<(Box<str>, AttrValue)> = Vec::new();
    for (name, value) in labels {
        let name: Box<str> = if name.contains('.') { name.replace('.', "_").into() } else { name.into() };
        attributes.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            attributes.push((name, AttrValue::Str(value.to_owned())));
        }
    }
    let first = |names: &[&str]| {
        let found = names.iter().find_map(|name| attributes.iter().find(|(known, _)| **known == **name));
        found.map(|(_, value)| value.clone())
    };
    let derived = [("service.name", first(&SERVICE_NAME_LABELS)), ("deployment.environment.name", first(&ENVIRONMENT_LABELS))];
    attributes.extend(derived.into_iter().filter_map(|(key, value)| Some((key.into(), value?))));
    attributes.push((MARKER.into(), AttrValue::Str(LOKI.to_owned())));
    Resource::new(attributes)
}

/// The labels of a stream, by name; `None` where the resource is none.
pub fn labels(resource: &Resource) -> Option<impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)>> {
    resource.get(MARKER)?;
    let of_stream = resource.attributes.iter().filter(|(key, _)| !key.contains('.'));
    Some(of_stream.map(|(key, value)| (&**key, value.to_text())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_and_the_service_is_derived() {
        for (sent, kept, service) in [
            (&[("job", "j"), ("app", "shop"), ("empty", "")][..], &[("app", "shop"), ("job", "j")][..], "shop"),
            (&[("service_name", "orders"), ("app", "shop")], &[("app", "shop"), ("service_name", "orders")], "orders"),
            (&[("k8s.pod", "a"), ("x", "1"), ("x", "2")], &[("k8s_pod", "a"), ("x", "2")], "unknown_service"),
            (&[], &[], "unknown_service"),
        ] {
            let resource = resource(sent.iter().copied());
            let got: Vec<(String, String)> = labels(&resource).expect("a stream").map(|(k, v)| (k.to_owned(), v.into_owned())).collect();
            assert_eq!(got, kept.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>());
            assert_eq!(&*resource.service_name, service);
        }
        assert_eq!(resource([("env", "prod")]).environment().as_deref(), Some("prod"));
        assert!(labels(&Resource::default()).is_none());
    }
}
