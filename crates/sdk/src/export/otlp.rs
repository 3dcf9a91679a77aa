//! Export requests around encoded records, and what their responses say.

use super::drops::Signal;
use crate::wire::{self, Field};

/// Name of the instrumentation scope.
const SCOPE: &str = "skopos-sdk";

/// An encoded `Resource` message with these attributes.
pub(crate) fn resource(attributes: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attributes {
        wire::key_value(&mut out, 1, key, &value.as_str().into());
    }
    out
}

/// An export request: one resource, one scope, the records as they stand. The three signals share these numbers.
pub(crate) fn request(resource: &[u8], records: &[u8]) -> Vec<u8> {
    let mut scope = Vec::with_capacity(32);
    wire::message(&mut scope, 1, |out| {
        wire::string(out, 1, SCOPE);
        wire::string(out, 2, env!("CARGO_PKG_VERSION"));
    });
    let scope_len = scope.len() + records.len();
    let inner_len = wire::header_len(1, resource.len()) + resource.len() + wire::header_len(2, scope_len) + scope_len;
    let mut out = Vec::with_capacity(inner_len + 8);
    wire::header(&mut out, 1, inner_len);
    wire::bytes(&mut out, 1, resource);
    wire::header(&mut out, 2, scope_len);
    out.extend_from_slice(&scope);
    out.extend_from_slice(records);
    out
}

/// How many records a response reports as rejected, with the reason it gives.
pub(crate) fn partial_success(response: &[u8]) -> (u64, String) {
    let (mut rejected, mut message) = (0, String::new());
    let mut response = response;
    while let Some((field, value)) = wire::next_field(&mut response) {
        let (1, Field::Bytes(mut partial)) = (field, value) else {
            continue;
        };
        while let Some((field, value)) = wire::next_field(&mut partial) {
            match (field, value) {
                (1, Field::Uint(count)) => rejected = count,
                (2, Field::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
    }
    (rejected, message)
}

/// The path below the endpoint's base URL.
pub(crate) fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/v1/traces",
        Signal::Logs => "/v1/logs",
        Signal::Metrics | Signal::Stdout => "/v1/metrics",
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse};
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_request_decodes() {
        let resource = resource(&[("service.name".to_owned(), "orders-api".to_owned())]);
        let mut records = Vec::new();
        wire::message(&mut records, 2, |out| wire::string(out, 5, "one"));
        wire::message(&mut records, 2, |out| wire::string(out, 5, &"two".repeat(100)));
        let decoded = ExportTraceServiceRequest::decode(&request(&resource, &records)[..]).unwrap();
        let resource_spans = &decoded.resource_spans[0];
        assert_eq!(resource_spans.resource.as_ref().unwrap().attributes[0].key, "service.name");
        let names: Vec<_> = resource_spans.scope_spans[0].spans.iter().map(|span| span.name.len()).collect();
        assert_eq!(names, [3, 300]);
        assert_eq!(resource_spans.scope_spans[0].scope.as_ref().unwrap().name, SCOPE);
    }

    #[test]
    fn partial_success_is_read() {
        let response = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() }),
        };
        assert_eq!(partial_success(&response.encode_to_vec()), (3, "too old".to_owned()));
        assert_eq!(partial_success(b""), (0, String::new()));
        assert_eq!(partial_success(b"\xff\xff"), (0, String::new()));
    }
}
