//! A real Prometheus that sends what it scrapes: itself and this server. Nothing is lost while the receiver is away, and
//! what is stored here is what is stored there.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::prometheus::Prometheus;
use super::{data, stored};
use crate::http::encode;
use crate::process::{Server, eventually};

/// What a sender adds to every series on its way.
const OUTSIDE: &str = "\"cluster\": \"eu\", ";
type Stored = BTreeMap<String, Vec<(i64, u64)>>;

const SELECTOR: &str = "{job=~\"itself|receiver\"}";

fn configuration(receiver: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, external_labels: {{cluster: eu}}}}\n\
         scrape_configs:\n\
         - {{job_name: itself, file_sd_configs: [{{files: [itself.json]}}]}}\n\
         - {{job_name: receiver, static_configs: [{{targets: ['{receiver}']}}]}}\n\
         remote_write:\n\
         - url: http://{receiver}/api/v1/write\n\
         \x20 queue_config: {{batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 500ms}}\n\
         \x20 metadata_config: {{send_interval: 1s}}\n"
    )
}

/// Time of the newest sample of its own that a Prometheus has, Unix milliseconds.
fn newest(address: &str) -> Option<i64> {
    let found = data(address, &format!("/api/v1/query?query={}", encode("timestamp(up{job=\"itself\"})")));
    let seconds: f64 = found["result"][0]["value"][1].as_str()?.parse().ok()?;
    Some((seconds * 1e3).round() as i64)
}

#[test]
fn what_prometheus_sends_is_stored_without_loss() {
    let folder = TempDir::new().unwrap();
    let data_folder = folder.path().join("skopos");
    let mut server = Server::start(&data_folder);
    let receiver = server.http.clone();
    let Some(prometheus) = Prometheus::start(&folder.path().join("prometheus"), &configuration(&receiver), &[]) else { return };
    let targets = serde_json::json!([{"targets": [&prometheus.address]}]).to_string();
    fs::write(folder.path().join("prometheus/itself.json"), targets).unwrap();
    eventually("both jobs have arrived", || (server.promql("count by (job) ({job=~\"itself|receiver\"})").len() == 2).then_some(()));

    // The receiver dies, and is back some scrapes later: the queue holds what was meant for it.
    server.kill();
    let died = newest(&prometheus.address).expect("it scrapes itself");
    let missed = eventually("scrapes while the receiver is away", || newest(&prometheus.address).filter(|now| *now >= died + 3_000));
    let server = Server::start_with(&data_folder, &["--listen", &receiver]);
    let until = eventually("scrapes after it is back", || newest(&prometheus.address).filter(|now| *now >= missed + 2_000));

    // Every sample that Prometheus has stored up to that moment, at its time, with its value and no other.
    let inside = stored(&prometheus.address, SELECTOR, 600, until);
    let samples = inside.values().map(Vec::len).sum::<usize>();
    assert!(inside.len() > 300 && samples > 3 * inside.len(), "{} series with {samples} samples", inside.len());
    let outside =
        || -> Stored { stored(&server.http, SELECTOR, 600, until).into_iter().map(|(name, all)| (name.replacen(OUTSIDE, "", 1), all)).collect() };
    let count = |all: &Stored| all.values().map(Vec::len).sum::<usize>();
    let outside = eventually("as many samples as there", || Some(outside()).filter(|all| count(all) >= samples));
    let differences = compare(&inside, &outside);
    assert!(differences.is_empty(), "{differences}\n{}", prometheus.said());

    // Types and help travel apart from samples.
    let theirs = data(&prometheus.address, "/api/v1/metadata");
    let theirs = theirs.as_object().unwrap();
    assert!(theirs.len() > 200, "{} families", theirs.len());
    eventually("metadata has arrived", || (data(&server.http, "/api/v1/metadata").as_object()?.len() >= theirs.len()).then_some(()));
    let ours = data(&server.http, "/api/v1/metadata");
    for (family, known) in theirs {
        // Both targets have metrics of their process: each server shows what one of them says.
        let told = |one: &Value| (one["type"].clone(), one["help"].clone());
        assert!(known.as_array().unwrap().iter().any(|one| told(one) == told(&ours[family][0])), "{family}: {known}\n{}", ours[family]);
    }
    // Nothing of it was refused, and the sender has nothing to complain of but the time without receiver.
    let figures = server.get("/metrics").expect(200).text();
    let refused: Vec<&str> =
        figures.lines().filter(|l| l.starts_with("skopos_ingest_rejected_rows_total{signal=\"metrics\"") && !l.ends_with(" 0")).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let failed = data(&prometheus.address, &format!("/api/v1/query?query={}", encode("prometheus_remote_storage_samples_failed_total > 0")));
    assert_eq!(failed["result"], serde_json::json!([]), "{}", prometheus.said());
}

/// In what two sets of samples differ.
fn compare(inside: &Stored, outside: &Stored) -> String {
    let mut out = String::new();
    for name in inside.keys().chain(outside.keys().filter(|name| !inside.contains_key(*name))) {
        let of = |side: &Stored| side.get(name).cloned().unwrap_or_default();
        let (there, here) = (of(inside), of(outside));
        if there != here && out.len() < 2_000 {
            out += &format!("{name}: {} samples there, {} here", there.len(), here.len());
            if let Some((a, b)) = there.iter().zip(&here).find(|(a, b)| a != b) {
                out += &format!("; first {:?} there, {:?} here", (a.0, f64::from_bits(a.1)), (b.0, f64::from_bits(b.1)));
            }
            out.push('\n');
        }
    }
    out
}
