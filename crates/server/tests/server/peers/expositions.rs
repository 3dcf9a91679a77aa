//! Bodies of scrapes, good and bad, asked for by a real Prometheus and by this server: what one can read the other can,
//! and as many samples.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::Value;
use skopos_testkit::shared;
use tempfile::TempDir;

use super::data;
use super::prometheus::Prometheus;
use crate::http::encode;
use crate::process::{Server, eventually, skopos};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4";

/// Bodies that Prometheus 2.42 reads otherwise, by the reason.
const DIFFERENT: &[(&str, &[&str])] = &[
    (
        "since Prometheus 3 exemplars may stand on any metric: 2.42 refuses them",
        &[
            "bad_exemplars_on_unallowed_metric_types_1",
            "bad_exemplars_on_unallowed_metric_types_2",
            "bad_exemplars_on_unallowed_samples_0",
            "bad_exemplars_on_unallowed_samples_3",
        ],
    ),
    ("since Prometheus 3 a comma may follow the last label: 2.42 refuses it in OpenMetrics", &["bad_missing_or_extra_commas_2"]),
    ("a time before 1970 is one in the text format, and its own library reads it: Prometheus' server does not", &["from_test_parse_3"]),
    ("in the text format a series with a label twice is refused by itself: Prometheus refuses the scrape", &["from_test_parse_error_4"]),
];

/// A body and its content type, by the name of the job that asks for it.
type Bodies = BTreeMap<String, (&'static str, Vec<u8>)>;

fn bodies() -> Option<Bodies> {
    let mut all = Bodies::new();
    for entry in fs::read_dir(shared("conformance/openmetrics-parsers")?).unwrap().flatten().filter(|e| e.path().is_dir()) {
        all.insert(entry.file_name().into_string().unwrap(), (OPENMETRICS, fs::read(entry.path().join("metrics")).unwrap()));
    }
    for entry in fs::read_dir(shared("conformance/prometheus-expfmt/fuzz/corpus")?).unwrap().flatten() {
        all.insert(entry.file_name().into_string().unwrap(), (TEXT, fs::read(entry.path()).unwrap()));
    }
    all.insert("expfmt_text".to_owned(), (TEXT, fs::read(shared("conformance/prometheus-expfmt/testdata/text")?).unwrap()));
    all.insert("promtool".to_owned(), (TEXT, fs::read(shared("conformance/prometheus-promtool-tests/promtool/metrics-test.prom")?).unwrap()));
    for (file, kind) in [
        ("alltypes.237mfs.prom.txt", TEXT),
        ("alltypes.237mfs.nometa.prom.txt", TEXT),
        ("alltypes.5mfs.om.txt", OPENMETRICS),
        ("1histogram.om.txt", OPENMETRICS),
    ] {
        let mut body = fs::read(shared(&format!("conformance/prometheus-textparse/{file}"))?).unwrap();
        // Those of OpenMetrics are fragments that benches repeat: they have no end mark.
        if kind == OPENMETRICS && !body.trim_ascii_end().ends_with(b"# EOF") {
            body.extend_from_slice(b"# EOF\n");
        }
        all.insert(file.to_owned(), (kind, body));
    }
    Some(all)
}

/// Serves each body under its name; the address.
fn serve(bodies: Arc<Bodies>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let bodies = Arc::clone(&bodies);
            std::thread::spawn(move || answer(stream, &bodies));
        }
    });
    address
}

fn answer(mut stream: TcpStream, bodies: &Bodies) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let name = head.strip_prefix("GET /").and_then(|rest| rest.split([' ', '?']).next()).unwrap_or("");
    let Some((kind, body)) = bodies.get(name) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    let status = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(&[status.as_bytes(), body].concat())
}

/// Of each job: whether its scrape worked and how many samples it had, or why it did not.
fn outcomes(address: &str, jobs: usize) -> BTreeMap<String, Result<u64, String>> {
    eventually("every body has been asked for", || {
        let targets = data(address, "/api/v1/targets?state=active");
        let targets = targets["activeTargets"].as_array().unwrap().clone();
        let counts = data(address, &format!("/api/v1/query?query={}", encode("scrape_samples_scraped")));
        let counts: BTreeMap<String, u64> = counts["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(&one["metric"]["job"]), one["value"][1].as_str().unwrap().parse().unwrap()))
            .collect();
        let done: BTreeMap<String, Result<u64, String>> = targets
            .iter()
            .filter_map(|target| {
                let job = text(&target["labels"]["job"]);
                match target["health"].as_str()? {
                    "up" => counts.get(&job).map(|count| (job, Ok(*count))),
                    "down" => Some((job, Err(text(&target["lastError"])))),
                    _ => None,
                }
            })
            .collect();
        (done.len() == jobs).then_some(done)
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_owned()
}

#[test]
fn bodies_are_read_as_prometheus_reads_them() {
    let Some(bodies) = bodies() else { return };
    let bodies = Arc::new(bodies);
    let address = serve(Arc::clone(&bodies));
    // The same jitter for all: each target is asked once in the interval, and the answer stays.
    let mut configuration = "global: {scrape_interval: 3s}\nscrape_configs:\n".to_owned();
    for job in bodies.keys() {
        configuration += &format!("- {{job_name: {job}, metrics_path: /{job}, static_configs: [{{targets: ['{address}']}}]}}\n");
    }
    let folder = TempDir::new().unwrap();
    let Some(prometheus) = Prometheus::start(&folder.path().join("prometheus"), &configuration, &[]) else { return };
    let file = folder.path().join("prometheus/prometheus.yml");
    let skopos = Server::start_with(&folder.path().join("skopos"), &["--prometheus-config", file.to_str().unwrap()]);
    let theirs = outcomes(&prometheus.address, bodies.len());
    let ours = outcomes(&skopos.http, bodies.len());
    let read = theirs.values().filter(|outcome| outcome.is_ok()).count();
    assert!(read > 90 && theirs.len() - read > 60, "{read} of {} can be read", theirs.len());
    let mut found = BTreeSet::new();
    let mut how = String::new();
    let known: BTreeSet<&str> = DIFFERENT.iter().flat_map(|(_, jobs)| jobs.iter().copied()).collect();
    for (job, theirs) in &theirs {
        let ours = &ours[job];
        if theirs.is_ok() != ours.is_ok() || (theirs.is_ok() && theirs != ours) {
            found.insert(job.as_str());
            if !known.contains(job.as_str()) {
                how += &format!("{job}: theirs {theirs:?}, ours {ours:?}\n");
            }
        }
    }
    assert_eq!(found, known, "\n{how}");
}

/// What `promtool tsdb dump-openmetrics` has written comes back sample by sample.
#[test]
fn dumps_of_promtool_are_imported() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    for file in ["dump-openmetrics-test.prom", "dump-openmetrics-roundtrip-test.prom"] {
        let Some(path) = shared(&format!("conformance/prometheus-promtool-tests/promtool/{file}")) else { return };
        let url = format!("http://{}", server.http);
        let key_file = folder.path().join("data/api-key");
        let run = skopos(&["import", "openmetrics", path.to_str().unwrap(), "--server", &url, "--key-file", key_file.to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
        for line in fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let parts: Vec<&str> = line.rsplitn(3, ' ').collect();
            let [time, value, series] = parts[..] else { panic!("{line}") };
            let found = data(&server.http, &format!("/api/v1/query?query={}&time={time}", encode(series)));
            let read: f64 = found["result"][0]["value"][1].as_str().unwrap_or_else(|| panic!("{line}: {found}")).parse().unwrap();
            assert_eq!(read, value.parse::<f64>().unwrap(), "{line}");
        }
    }
}
