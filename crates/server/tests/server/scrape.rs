//! Scraping as a `prometheus.yml` says it, reloads of that file, and what is named of it because it is not served.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::process::{Server, eventually, skopos};

/// What a target answers with, and what it was asked.
#[derive(Default)]
struct Said {
    status: u16,
    content_type: String,
    body: Vec<u8>,
    asked: Vec<String>,
}

/// A scrape target.
struct Exporter {
    address: String,
    said: Arc<Mutex<Said>>,
}

impl Exporter {
    fn start(content_type: &str, body: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let said = Arc::new(Mutex::new(Said { status: 200, content_type: content_type.to_owned(), body: body.to_vec(), asked: Vec::new() }));
        let state = Arc::clone(&said);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &state);
            }
        });
        Self { address, said }
    }

    fn say(&self, status: u16, content_type: &str, body: &[u8]) {
        let mut said = self.said.lock().unwrap();
        (said.status, said.content_type, said.body) = (status, content_type.to_owned(), body.to_vec());
    }

    fn asked(&self) -> Vec<String> {
        self.said.lock().unwrap().asked.clone()
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<Said>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    let mut said = state.lock().unwrap();
    said.asked.push(String::from_utf8_lossy(&head).into_owned());
    let status = format!(
        "HTTP/1.1 {} X\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        said.status,
        said.content_type,
        said.body.len()
    );
    stream.write_all(&[status.as_bytes(), &said.body].concat())
}

const TEXT: &str = "text/plain; version=0.0.4";

fn serve(folder: &TempDir, yaml: &str) -> Server {
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, yaml).unwrap();
    Server::start_with(&folder.path().join("data"), &["--prometheus-config", config.to_str().unwrap()])
}

/// The value of an instant query with one result, once there is one that fits.
fn value(server: &Server, query: &str, fits: impl Fn(&str) -> bool) -> String {
    eventually(query, || {
        let found = server.promql(query);
        found.first().and_then(|one| one["value"][1].as_str().map(str::to_owned)).filter(|value| fits(value))
    })
}

#[test]
fn a_prometheus_yml_is_scraped() {
    let folder = TempDir::new().unwrap();
    let exporter =
        Exporter::start(TEXT, b"# TYPE requests_total counter\nrequests_total{code=\"200\",job=\"own\"} 7\nnoise{x=\"y\"} 1\nold 5 1700000000000\n");
    let found = Exporter::start(TEXT, b"from_file 1\n");
    std::fs::write(folder.path().join("targets.json"), format!(r#"[{{"targets": ["{}"], "labels": {{"zone": "z1"}}}}]"#, found.address)).unwrap();
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    std::fs::write(folder.path().join("a.rules.yml"), "groups: [{name: g, interval: 1s, rules: [{record: doubled, expr: requests_total * 2}]}]")
        .unwrap();
    let yaml = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{cluster: c}}}}\nrule_files: ['*.rules.yml']\n\
         remote_write: [{{url: 'http://elsewhere/'}}]\nscrape_configs:\n\
         - job_name: api\n  metrics_path: /probe\n  params: {{module: [m]}}\n  honor_timestamps: false\n  extra_scrape_metrics: true\n  sample_limit: 10\n  basic_auth: {{username: u, password_file: password}}\n\
         \x20 static_configs: [{{targets: ['{}'], labels: {{team: t}}}}]\n\
         \x20 metric_relabel_configs: [{{source_labels: [__name__], regex: noise, action: drop}}, {{source_labels: [code], regex: '(.).*', target_label: class, replacement: '${{1}}xx'}}]\n\
         - job_name: files\n  file_sd_configs: [{{files: ['*.json']}}]\n  relabel_configs: [{{source_labels: [zone], target_label: area}}]\n\
         - job_name: cluster\n  kubernetes_sd_configs: [{{role: pod}}]\n",
        exporter.address
    );
    let server = serve(&folder, &yaml);
    value(&server, "requests_total{job=\"api\", exported_job=\"own\", class=\"2xx\", team=\"t\"}", |v| v == "7");
    value(&server, "old{job=\"api\"}", |v| v == "5");
    value(&server, "from_file{job=\"files\", area=\"z1\", zone=\"z1\"}", |v| v == "1");
    value(&server, "doubled", |v| v == "14");
    for (name, expected) in [
        ("up", "1"),
        ("scrape_samples_scraped", "3"),
        ("scrape_samples_post_metric_relabeling", "2"),
        ("scrape_sample_limit", "10"),
        ("scrape_timeout_seconds", "1"),
    ] {
        value(&server, &format!("{name}{{job=\"api\"}}"), |v| v == expected);
    }
    assert!(server.promql("noise").is_empty());
    let asked = exporter.asked()[0].to_ascii_lowercase();
    assert!(asked.starts_with("get /probe?module=m http/1.1"), "{asked}");
    assert!(asked.contains("authorization: basic dtpzzwnyzxq=") && asked.contains("accept: application/openmetrics-text;version=1.0.0"), "{asked}");
    let targets = server.get("/api/v1/targets").expect(200).json();
    let up = targets["data"]["activeTargets"].as_array().unwrap().iter().filter(|t| t["health"] == "up").count();
    assert_eq!(up, 2, "{targets}");
    // What is not served is named, in the log and in the status.
    let problems = server.get("/v1/status").expect(200).json()["config"]["problems"].to_string();
    for named in ["kubernetes_sd_configs is not served", "global: external_labels: not added", "remote_write: samples are not forwarded"] {
        assert!(problems.contains(named) && server.log().contains(named), "{problems}");
    }
    assert!(server.log().contains("prometheus.yml:3: warning: remote_write:"), "{}", server.log());
    let pool = server.get("/api/v1/scrape_pools/config?scrapePool=api").expect(200).json()["data"]["yaml"].as_str().unwrap().to_owned();
    for line in ["job_name: api", "scrape_interval: 1s", "metrics_path: /probe", "sample_limit: 10", "password_file: password"] {
        assert!(pool.contains(line), "{line}: {pool}");
    }
    let all = server.get("/api/v1/status/config").expect(200).json()["data"]["yaml"].as_str().unwrap().to_owned();
    assert!(all.contains("- job_name: api") && all.contains("- job_name: files"), "{all}");
    // A series that is no longer exposed ends; one over a limit fails the scrape; an unreadable answer does as well.
    exporter.say(200, TEXT, b"other 1\n");
    eventually("the end of the series", || server.promql("requests_total").is_empty().then_some(()));
    exporter.say(200, TEXT, (0..20).map(|i| format!("m{i} 1\n")).collect::<String>().as_bytes());
    value(&server, "up{job=\"api\"}", |v| v == "0");
    let error =
        |server: &Server| server.get("/api/v1/targets").expect(200).json()["data"]["activeTargets"][0]["lastError"].as_str().unwrap().to_owned();
    eventually("the reason", || error(&server).contains("sample_limit exceeded: 20 samples, the limit is 10").then_some(()));
    exporter.say(200, "text/html", b"m 1\n");
    eventually("the reason", || error(&server).contains("no fallback_scrape_protocol").then_some(()));
    exporter.say(500, TEXT, b"m 1\n");
    eventually("the reason", || error(&server).contains("HTTP status 500").then_some(()));
}

#[test]
fn a_wrong_file_leaves_the_one_in_force() {
    let folder = TempDir::new().unwrap();
    let exporter = Exporter::start(TEXT, b"m 1\n");
    let yaml = |job: &str| {
        format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: {job}, static_configs: [{{targets: ['{}']}}]}}]\n", exporter.address)
    };
    let server = serve(&folder, &yaml("a"));
    value(&server, "m{job=\"a\"}", |v| v == "1");
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, "scrape_configs: [{job_name: b, scrape_intervall: 1s}]").unwrap();
    let answer = server.change("/-/reload");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("prometheus.yml:1") && answer.text().contains("did you mean `scrape_interval`"), "{}", answer.text());
    assert_eq!(server.get("/api/v1/targets").expect(200).json()["data"]["activeTargets"][0]["labels"]["job"], "a");
    std::fs::write(&config, yaml("b")).unwrap();
    server.change("/-/reload").expect(200);
    value(&server, "m{job=\"b\"}", |v| v == "1");
    eventually("the end of the first job", || server.promql("m{job=\"a\"}").is_empty().then_some(()));
    // By a signal, too.
    std::fs::write(&config, yaml("c")).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", &format!("kill -HUP {}", server.id())]).status().unwrap().success());
    value(&server, "m{job=\"c\"}", |v| v == "1");
    // At the start a wrong file is refused.
    std::fs::write(&config, "scrape_configs: [{job_name: a}, {job_name: a}]").unwrap();
    let data = folder.path().join("other");
    let refused = skopos(&["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--prometheus-config", config.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the job \"a\" is configured twice"));
}

#[test]
fn native_histograms_and_urls_of_targets() {
    let folder = TempDir::new().unwrap();
    // A family with one histogram: three observations in the bucket that ends at 1.
    let histogram = [&[8u8, 3, 17][..], &6.5f64.to_le_bytes(), &[0x28, 0, 0x31], &0.001f64.to_le_bytes(), &[0x62, 2, 16, 1, 0x68, 6]].concat();
    let metric = [&[0x3a, histogram.len() as u8][..], &histogram].concat();
    let family = [&[10u8, 7][..], b"latency", &[0x18, 4, 0x22, metric.len() as u8], &metric].concat();
    let body = [&[family.len() as u8][..], &family].concat();
    let exporter = Exporter::start("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", &body);
    let discovery =
        Exporter::start("application/json", format!(r#"[{{"targets": ["{}"], "labels": {{"__meta_region": "eu"}}}}]"#, exporter.address).as_bytes());
    let yaml = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: native\n  scrape_native_histograms: true\n  http_sd_configs: [{{url: 'http://{}/sd', refresh_interval: 1s}}]\n\
         \x20 relabel_configs: [{{source_labels: [__meta_region], target_label: region}}]\n",
        discovery.address
    );
    let server = serve(&folder, &yaml);
    value(&server, "histogram_count(latency{region=\"eu\"})", |v| v == "3");
    assert!(exporter.asked()[0].contains("application/vnd.google.protobuf"), "{}", exporter.asked()[0]);
    assert!(discovery.asked()[0].starts_with("GET /sd "), "{}", discovery.asked()[0]);
    // A discovery that fails keeps its targets; one that answers without them ends them.
    discovery.say(500, "application/json", b"[]");
    let asked = discovery.asked().len();
    eventually("another question", || (discovery.asked().len() > asked + 1).then_some(()));
    assert_eq!(server.get("/api/v1/targets").expect(200).json()["data"]["activeTargets"].as_array().unwrap().len(), 1);
    discovery.say(200, "application/json", b"[]");
    eventually("the end of the target", || server.promql("up{job=\"native\"}").is_empty().then_some(()));
}

#[test]
fn classic_histograms_become_custom_buckets_if_asked() {
    let folder = TempDir::new().unwrap();
    let exporter = Exporter::start(TEXT, b"# TYPE took histogram\ntook_bucket{le=\"1\"} 2\ntook_bucket{le=\"+Inf\"} 3\ntook_sum 4.5\ntook_count 3\n");
    let yaml = format!(
        "global: {{scrape_interval: 1s, convert_classic_histograms_to_nhcb: true}}\nscrape_configs: [{{job_name: a, static_configs: [{{targets: ['{}']}}]}}]\n",
        exporter.address
    );
    let server = serve(&folder, &yaml);
    value(&server, "histogram_count(took)", |v| v == "3");
    value(&server, "histogram_sum(took)", |v| v == "4.5");
    assert!(server.promql("took_count").is_empty());
}
