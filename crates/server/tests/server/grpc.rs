//! OTLP over gRPC, with clients that others have written.

use std::fs;
use std::process::Command;

use prost::Message as _;
use skopos_testkit::{Need, skipped};
use tempfile::TempDir;

use crate::process::Server;
use crate::telemetry::logs;

/// Exports one span and one log record with the real exporters; 77 when they are not installed.
const PYTHON: &str = r#"
import sys
try:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)
results = []
class Exporter(OTLPSpanExporter):
    def export(self, spans):
        results.append(super().export(spans))
        return results[-1]
provider = TracerProvider(resource=Resource.create({"service.name": "grpc-client"}))
provider.add_span_processor(SimpleSpanProcessor(Exporter(endpoint=sys.argv[1], insecure=True, compression=None)))
with provider.get_tracer("test").start_as_current_span("over grpc") as span:
    print(format(span.get_span_context().trace_id, "032x"))
provider.shutdown()
sys.exit(0 if results == [SpanExportResult.SUCCESS] else 1)
"#;

#[test]
fn the_python_exporter_is_served() {
    let Some(python) = skopos_testkit::python() else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let output = Command::new(&python).args(["-c", PYTHON, &format!("http://{}", server.otlp_grpc)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        return skipped(Need::Tools, &format!("no gRPC client ({})", said.trim()));
    }
    assert!(output.status.success(), "{said}");
    let trace = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let found = server.get(&format!("/v1/traces/{trace}")).expect(200).json();
    assert_eq!(found["spans"][0]["name"], "over grpc");
    assert_eq!(found["spans"][0]["service_name"], "grpc-client");
}

/// Sends a framed message with curl and gives what it prints with -v: headers, trailers and all.
fn curl(address: &str, folder: &TempDir, message: &[u8], headers: &[&str]) -> String {
    let file = folder.path().join("message");
    let length = u32::try_from(message.len()).unwrap();
    fs::write(&file, [&[0][..], &length.to_be_bytes(), message].concat()).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--verbose", "--max-time", "30", "--http2-prior-knowledge", "--output", "/dev/null"]);
    for header in ["content-type: application/grpc", "te: trailers"].iter().chain(headers) {
        command.args(["--header", header]);
    }
    let url = format!("http://{address}/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let output = command.arg("--data-binary").arg(format!("@{}", file.display())).arg(url).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_status_comes_in_trailers() {
    let version = Command::new("curl").arg("--version").output();
    if !version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("HTTP2")) {
        return skipped(Need::Tools, "no curl with HTTP/2");
    }
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    for (index, address) in [&server.otlp_grpc, &server.http].into_iter().enumerate() {
        let body = format!("over grpc {index}");
        let message = logs("orders", std::slice::from_ref(&body), server.now(), &[]).encode_to_vec();
        let said = curl(address, &folder, &message, &[]);
        assert!(said.contains("< HTTP/2 200") && said.contains("< grpc-status: 0"), "{said}");
        assert_eq!(server.logs(&format!("{body:?}")).len(), 1);
    }
    let said = curl(&server.otlp_grpc, &folder, b"\x0a\xff\xff\xff\xff\x0f", &[]);
    assert!(said.contains("< grpc-status: 3") && said.contains("< grpc-message: "), "{said}");
    assert_eq!(server.logs("").len(), 2);
}
