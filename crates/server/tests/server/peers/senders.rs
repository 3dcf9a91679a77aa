//! Logs and spans as others' clients send them: their libraries for Python, rsyslog.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use serde_json::Value;
use skopos_testkit::{installed, python};
use tempfile::TempDir;

use super::beside;
use crate::process::{Server, eventually};
use crate::programs::Program;

/// Runs a client of `senders.py`; gives what it says.
#[track_caller]
fn send(client: &str, address: &str) -> Option<String> {
    let mut command = Command::new(python()?);
    let run = command.env("PYTHONDONTWRITEBYTECODE", "1").arg(beside("senders.py")).args([client, address]).output().unwrap();
    assert!(run.status.success(), "{client}: {}", String::from_utf8_lossy(&run.stderr));
    Some(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// A server with a configuration; `PORT` in it becomes a free port for TCP and UDP, which is given back.
fn with_listener(folder: &TempDir, config: &str) -> (Server, String) {
    let address = free_port();
    let file = folder.path().join("skopos.yaml");
    fs::write(&file, config.replace("PORT", &address)).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", file.to_str().unwrap()]);
    let wanted = config.matches("PORT").count();
    eventually("the listeners", || (server.log().matches("is taken over").count() >= wanted).then_some(()));
    (server, address)
}

/// An address that is free now for both protocols.
fn free_port() -> String {
    eventually("a free port", || {
        let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
        let address = tcp.local_addr().ok()?;
        UdpSocket::bind(address).ok().map(|_| address.to_string())
    })
}

fn spans(server: &Server, said: &str) -> Vec<Value> {
    let trace = said.lines().rev().find_map(|line| line.strip_prefix("trace_id ")).expect("a trace id");
    eventually("the trace", || {
        let answer = server.get(&format!("/v1/traces/{trace}"));
        let spans = if answer.status == 200 { answer.json()["spans"].as_array().cloned()? } else { return None };
        (spans.len() >= 2).then_some(spans)
    })
}

#[track_caller]
fn named<'s>(spans: &'s [Value], name: &str) -> &'s Value {
    spans.iter().find(|span| span["name"].as_str().is_some_and(|n| n.starts_with(name))).unwrap_or_else(|| panic!("no span {name} in {spans:?}"))
}

#[test]
fn python_logging_loki() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let Some(_) = send("loki", &server.http) else { return };
    let rows = server.logs("service:shop level:error");
    assert_eq!(rows.len(), 1, "{:?}", server.logs(""));
    assert_eq!(rows[0]["body"], "payment refused");
    let resource = &rows[0]["resource"];
    assert_eq!((&resource["application"], &resource["order"], &resource["logger"]), (&"shop".into(), &"7".into(), &"checkout".into()));
    assert_eq!(server.logs("level:warn slow").len(), 1);
}

#[test]
fn elasticsearch_py() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let Some(_) = send("elasticsearch", &server.http) else { return };
    assert_eq!(server.logs("service:shop.orders level:warn").len(), 100);
    assert_eq!(server.logs("service:shop.orders n:7")[0]["body"], "order 7");
    assert_eq!(server.logs("service:orders")[0]["body"], "beside");
    assert_eq!(server.logs("service:checkout")[0]["resource"]["elasticsearch.index"], "orders-2026.11.20");
    let figures = server.get("/metrics").expect(200).text();
    assert!(figures.contains("skopos_ingest_rejected_rows_total{signal=\"logs\",reason=\"illegal_argument_exception\"} 1"), "{figures}");
}

#[test]
fn splunk_handler() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let Some(_) = send("splunk", &server.http) else { return };
    assert_eq!(server.logs("level:error \"disk gone\"")[0]["resource"]["host.name"], "h1");
    assert_eq!(server.logs("service:orders")[0]["attributes"]["region"], "eu");
    assert_eq!(eventually("the handler's event", || server.logs("\"invoice lost\"").pop())["resource"]["com.splunk.index"], "main");
}

#[test]
fn fluent_logger() {
    let folder = TempDir::new().unwrap();
    let (server, address) = with_listener(&folder, "fluent: {listen: 'PORT'}");
    let Some(_) = send("fluent", &address) else { return };
    eventually("all rows", || (server.logs("service:shop level:info").len() == 50).then_some(()));
    let rows = server.logs("n:7");
    assert_eq!((&rows[0]["body"], &rows[0]["resource"]["fluent.tag"]), (&"order 7".into(), &"shop.orders".into()));
}

#[test]
fn pythons_syslog_handler() {
    let folder = TempDir::new().unwrap();
    let (server, address) = with_listener(&folder, "syslog: {udp: 'PORT', tcp: 'PORT'}");
    let Some(_) = send("syslog", &address) else { return };
    for over in ["SOCK_DGRAM", "SOCK_STREAM"] {
        let row = eventually(over, || server.logs(&format!("service:checkout level:error \"{over}\"")).pop());
        assert_eq!((&row["attributes"]["syslog.facility"], &row["body"]), (&"local3".into(), &format!("refused over {over}").into()));
    }
}

#[test]
fn rsyslog_over_tcp_and_udp() {
    let Some(rsyslogd) = installed("rsyslogd", "rsyslog") else { return };
    let folder = TempDir::new().unwrap();
    let (server, address) = with_listener(&folder, "syslog: {udp: 'PORT', tcp: 'PORT'}");
    let port = address.rsplit_once(':').unwrap().1;
    let base = folder.path().display();
    // Both forms and both framings, from a file it follows.
    fs::write(folder.path().join("in.log"), "").unwrap();
    let config = format!(
        "global(workDirectory=\"{base}\")\nmodule(load=\"imfile\")\n\
         input(type=\"imfile\" File=\"{base}/in.log\" Tag=\"shop:\" Severity=\"error\" Facility=\"local1\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" template=\"RSYSLOG_ForwardFormat\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"udp\" template=\"RSYSLOG_TraditionalForwardFormat\")\n"
    );
    let file = folder.path().join("rsyslog.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(rsyslogd);
    command.args(["-n", "-iNONE", "-f", file.to_str().unwrap()]);
    let program = Program::start(&mut command, folder.path().join("rsyslog.log"));
    fs::write(folder.path().join("in.log"), "payment <b>refused</b>\n").unwrap();
    let rows = eventually("the line over each of three ways", || {
        assert!(!program.said().contains("error during parsing"), "{}", program.said());
        let rows = server.logs("service:shop level:error refused");
        (rows.len() >= 3).then_some(rows)
    });
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(
            (row["body"].as_str().unwrap().trim(), &row["attributes"]["syslog.facility"]),
            ("payment <b>refused</b>", &"local1".into()),
            "{row}"
        );
    }
}

#[test]
fn syslog_over_tls() {
    let (Some(openssl), Some(python)) = (installed("openssl", "openssl"), python()) else { return };
    let folder = TempDir::new().unwrap();
    let made = Command::new(openssl)
        .current_dir(folder.path())
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (server, address) = with_listener(&folder, "syslog: {tls: 'PORT', tls_cert_file: cert.pem, tls_key_file: key.pem}");
    let client = "import socket, ssl, sys\n\
                  host, port = sys.argv[1].split(':')\n\
                  context = ssl.create_default_context(cafile=sys.argv[2])\n\
                  with context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host) as s:\n    \
                      s.sendall(b'32 <11>1 - h shop - - - over TLS ok')\n";
    let run = Command::new(python).args(["-c", client, &address]).arg(folder.path().join("cert.pem")).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(eventually("the message", || server.logs("service:shop level:error").pop())["body"], "over TLS ok");
}

#[test]
fn py_zipkin_and_opentelemetrys_zipkin_exporter() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let Some(said) = send("zipkin", &server.http) else { return };
    let found = spans(&server, &said);
    let (order, charge) = (named(&found, "order"), named(&found, "charge"));
    assert_eq!((&order["service_name"], &order["attributes"]["order.id"], &order["kind"]), (&"shop".into(), &"7".into(), &"server".into()));
    assert_eq!((&charge["parent_span_id"], &charge["kind"]), (&order["span_id"], &"client".into()));
    assert_eq!(said.lines().filter(|line| line.starts_with("trace_id")).count(), 2, "JSON and protobuf");
    comes_back(&server, "otel_zipkin");
}

/// A failed span with an event and its child come back as they were meant, through whichever format.
#[track_caller]
fn comes_back(server: &Server, client: &str) {
    let said = send(client, &server.http).unwrap();
    let found = spans(server, &said);
    let (order, charge) = (named(&found, "order"), named(&found, "charge"));
    assert_eq!((&order["service_name"], &order["kind"], &order["status_code"]), (&"shop".into(), &"server".into(), &"error".into()), "{order}");
    assert_eq!(&charge["parent_span_id"], &order["span_id"]);
    assert_eq!(order["events"].as_array().map(Vec::len), Some(1), "{order}");
}

#[test]
fn jaeger_client_over_udp() {
    let folder = TempDir::new().unwrap();
    let (server, address) = with_listener(&folder, "jaeger: {compact: 'PORT'}");
    let Some(said) = send("jaeger", &address) else { return };
    let found = spans(&server, &said);
    let (order, charge) = (named(&found, "order"), named(&found, "charge"));
    assert_eq!((&order["service_name"], &order["kind"], &order["status_code"]), (&"shop".into(), &"server".into(), &"error".into()), "{order}");
    assert_eq!(&charge["parent_span_id"], &order["span_id"]);
    assert_eq!(order["events"][0]["name"], "retry", "{order}");
}

#[test]
fn jaegers_thrift_over_http_and_its_grpc() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    if python().is_some() {
        comes_back(&server, "jaeger_thrift");
        comes_back(&server, "jaeger_grpc");
    }
}
