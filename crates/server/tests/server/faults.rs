//! Disks that are full or damaged, and a log whose end was torn off: what is sound is served, what is not is reported.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use skopos_testkit::{Need, skipped};
use tempfile::TempDir;

use crate::http::{Response, encode};
use crate::process::{Server, eventually};
use crate::telemetry::{counter, hex, logs, send, spans};

/// A small file system in memory, unmounted when it goes out of scope.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one; says so and gives `None` where this process may not.
    fn mount(folder: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let size = format!("size={megabytes}m");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "skopos-test"]).arg(&folder).output();
        match output {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                skipped(Need::Root, &format!("no small disk, which needs root (mount: {})", String::from_utf8_lossy(&output.stderr).trim()));
                None
            }
            Err(error) => {
                skipped(Need::Root, &format!("no small disk (mount: {error})"));
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        let block = vec![1; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[1; 512]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).stderr(Stdio::null()).status();
    }
}

/// How often each log body is stored.
#[track_caller]
fn stored(server: &Server) -> BTreeMap<String, u64> {
    let answer = server.sql("select body, count(*) from logs group by body").expect(200).json();
    answer["rows"].as_array().unwrap().iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_u64().unwrap())).collect()
}

fn once(bodies: &[String]) -> BTreeMap<String, u64> {
    bodies.iter().map(|b| (b.clone(), 1)).collect()
}

/// A metric of the server itself.
#[track_caller]
fn own_metric(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").expect(200).text();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.parse().unwrap()
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let folder = TempDir::new().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 48) else { return };
    // Its log goes to the same disk, which must not matter.
    let data = disk.folder.join("data");
    let mut server = Server::start(&data);
    let mut acknowledged = Vec::new();
    let mut number = 0;
    let mut write = |server: &Server, acknowledged: &mut Vec<String>| -> Response {
        // Text that compression does not make small.
        let mut random = fastrand::Rng::with_seed(number);
        let body = format!("line {number} {}", std::iter::repeat_with(|| random.alphanumeric()).take(30_000).collect::<String>());
        number += 1;
        let answer = send(server, "/v1/logs", &logs("orders", std::slice::from_ref(&body), server.now(), &[]));
        if answer.status == 200 {
            acknowledged.push(body);
        }
        answer
    };
    for round in 0..2 {
        for _ in 0..10 {
            write(&server, &mut acknowledged).expect(200);
        }
        disk.fill();
        // What the log has reserved may still take some.
        let refused = eventually("a refusal", || Some(write(&server, &mut acknowledged)).filter(|a| a.status != 200)).expect(503);
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|s| (1..=60).contains(&s)), "{:?}", refused.header("retry-after"));
        assert!(refused.text().contains("cannot be written"), "{}", refused.text());
        for signal in ["/v1/traces", "/v1/metrics"] {
            let now = server.now();
            let answer = match signal {
                "/v1/traces" => send(&server, signal, &spans("orders", &[&[9; 16]], now)),
                _ => send(&server, signal, &counter("orders", "refused", "1", 1, now)),
            };
            assert_eq!(answer.status, 503, "{signal}: {}", answer.text());
        }
        // Reads go on: what was acknowledged is there, what was refused is not.
        assert_eq!(stored(&server), once(&acknowledged), "round {round}");
        assert_eq!(server.logs("service:orders").len(), acknowledged.len());
        server.get(&format!("/v1/traces/{}", hex(&[9; 16]))).expect(404);
        assert_eq!(server.get("/healthz").status, 200, "it lives");
        assert_eq!(server.get("/readyz").status, 503, "and wants no traffic");
        assert_eq!(own_metric(&server, "skopos_wal_writable"), 0.0);
        let status = server.get("/v1/status").expect(200).json();
        assert!(status["wal"]["error"].as_str().unwrap().contains("No space left"), "{status}");
        // A flush needs room as well (what the log gave back is taken first): it fails, and loses nothing.
        disk.fill();
        let failed = server.change("/v1/admin/flush").expect(503);
        assert!(!failed.header("retry-after").is_empty() && failed.text().contains("disk_full"), "{}", failed.text());
        assert_eq!(stored(&server), once(&acknowledged), "round {round}");

        fs::remove_file(disk.ballast()).unwrap();
        eventually("recovery by itself", || (write(&server, &mut acknowledged).status == 200).then_some(()));
        assert_eq!(server.get("/readyz").status, 200);
        assert_eq!(own_metric(&server, "skopos_wal_writable"), 1.0);
        server.change("/v1/admin/flush").expect(200);
        assert_eq!(stored(&server), once(&acknowledged), "round {round}");
        if round == 0 {
            // The second time it ends without warning while it is full, and starts with little room.
            disk.fill();
            eventually("a refusal", || (write(&server, &mut acknowledged).status == 503).then_some(()));
            server.kill();
            fs::remove_file(disk.ballast()).unwrap();
            server = Server::start(&data);
            assert_eq!(stored(&server), once(&acknowledged), "after the crash");
        }
    }
}

/// Data files by table, oldest rows first: their names sort by time.
fn data_files(data: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut open = vec![data.join("tables")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                let table =
                    path.strip_prefix(data.join("tables")).unwrap().components().rev().nth(1).map(|c| c.as_os_str().to_string_lossy().into_owned());
                found.entry(table.unwrap_or_default()).or_default().push(path);
            }
        }
    }
    found.values_mut().for_each(|files| files.sort());
    found
}

/// Turns over all bits of a part of a file.
fn flip(path: &Path, range: std::ops::Range<u64>) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
    file.read_exact_at(&mut bytes, range.start).unwrap();
    bytes.iter_mut().for_each(|b| *b = !*b);
    file.write_all_at(&bytes, range.start).unwrap();
}

/// The part of a Parquet file before its footer.
fn content(path: &Path) -> std::ops::Range<u64> {
    let length = fs::metadata(path).unwrap().len();
    let mut tail = [0; 4];
    File::open(path).unwrap().read_exact_at(&mut tail, length - 8).unwrap();
    4..length - 8 - u64::from(u32::from_le_bytes(tail))
}

const DAY: u64 = 86_400_000_000_000;
const LINES: usize = 200;
/// Each round leaves one file a table.
const ROUNDS: u8 = 4;

/// Sends a round of all three signals, a day apart.
fn send_round(server: &Server, round: u8, now: u64) {
    let at = now - u64::from(ROUNDS - round) * DAY;
    let bodies: Vec<String> = (0..LINES).map(|i| format!("round {round} order {i}")).collect();
    send(server, "/v1/logs", &logs("orders", &bodies, at, &[])).expect(200);
    let ids: Vec<[u8; 16]> = (1..=100).map(|i| [[round + 1; 15].as_slice(), &[i]].concat().try_into().unwrap()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(<[u8; 16]>::as_slice).collect();
    send(server, "/v1/traces", &spans("orders", &ids, at)).expect(200);
    send(server, "/v1/metrics", &counter("orders", &format!("of.round.{round}"), "1", 100 + i64::from(round), now)).expect(200);
}

/// What is found of each round: log records, whether a trace is there, the metric's value.
#[track_caller]
fn found(server: &Server) -> Vec<(u64, bool, Option<String>)> {
    let answer = server.sql("select substr(body, 1, 7), count(*) from logs group by 1").expect(200).json();
    let counts: BTreeMap<String, u64> =
        answer["rows"].as_array().unwrap().iter().map(|r| (r[0].as_str().unwrap().to_owned(), r[1].as_u64().unwrap())).collect();
    (0..ROUNDS)
        .map(|round| {
            let lines = counts.get(&format!("round {round}")).copied().unwrap_or(0);
            let searched = server.get(&format!("/v1/logs?from=now-30d&limit=1000&q={}", encode(&format!("\"round {round}\"")))).expect(200).json();
            assert_eq!(searched["rows"].as_array().unwrap().len() as u64, lines, "search and SQL see the same");
            let id = hex(&[[round + 1; 15].as_slice(), &[7]].concat());
            let trace = server.get(&format!("/v1/traces/{id}"));
            assert!(matches!(trace.status, 200 | 404), "{}", trace.text());
            let value = server.promql(&format!("of_round_{round}_total")).first().map(|s| s["value"][1].as_str().unwrap().to_owned());
            (lines, trace.status == 200, value)
        })
        .collect()
}

fn damaged_files(server: &Server) -> Vec<String> {
    let status = server.get("/v1/status").expect(200).json();
    let files = status["damaged_files"].as_array().unwrap();
    assert!(files.iter().all(|f| !f["reason"].as_str().unwrap().is_empty()), "{status}");
    let mut paths: Vec<String> = files.iter().map(|f| f["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[test]
fn damaged_files_are_set_aside_and_the_rest_is_served() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut now = 0;
    for round in 0..ROUNDS {
        let mut server = Server::start(&data);
        now = now.max(server.now());
        send_round(&server, round, now);
        assert!(server.terminate().success());
    }
    let all = |round: u8| (LINES as u64, true, Some((100 + u32::from(round)).to_string()));
    let none = (0, false, None);
    let mut server = Server::start(&data);
    assert_eq!(found(&server), (0..ROUNDS).map(all).collect::<Vec<_>>());
    assert_eq!((damaged_files(&server), own_metric(&server, "skopos_store_damaged_files")), (Vec::new(), 0.0));
    assert!(server.terminate().success());

    // The first file of each table is cut, the second has a garbled footer, the third garbled content.
    let files = data_files(&data);
    let mut expected = Vec::new();
    for table in ["logs_data", "spans_data", "samples_data"] {
        assert!(files[table].len() >= usize::from(ROUNDS), "a file a round: {files:#?}");
        let [first, second, third, ..] = files[table].as_slice() else { unreachable!("counted above") };
        let length = fs::metadata(first).unwrap().len();
        OpenOptions::new().write(true).open(first).unwrap().set_len(length / 2).unwrap();
        let length = fs::metadata(second).unwrap().len();
        flip(second, length - 40..length - 8);
        flip(third, content(third));
        expected.extend([first, second, third].map(|path| path.strip_prefix(&data).unwrap().display().to_string()));
    }
    expected.sort();
    let mut server = Server::start(&data);
    let at_start = damaged_files(&server);
    // The third ones too where something else has read them by now: what is stored of which series is looked up.
    assert!((6..=9).contains(&at_start.len()), "two of each table are noticed at once: {at_start:?}");
    // The third ones are noticed when they are read; asking once more finds the same.
    for _ in 0..2 {
        assert_eq!(found(&server), [none.clone(), none.clone(), none.clone(), all(3)]);
    }
    assert_eq!(damaged_files(&server), expected);
    assert_eq!(own_metric(&server, "skopos_store_damaged_files"), 9.0);
    for path in &expected {
        assert!(server.log().contains(path.strip_prefix("tables/").unwrap()), "{path}: {}", server.log());
    }
    // The store goes on: what comes is stored, flushed and merged beside what is damaged.
    send_round(&server, 0, now);
    server.change("/v1/admin/flush").expect(200);
    assert_eq!(found(&server), [all(0), none.clone(), none.clone(), all(3)]);
    assert!(server.terminate().success());
    let server = Server::start(&data);
    assert_eq!(found(&server), [all(0), none.clone(), none, all(3)]);
    for path in &expected {
        assert!(data.join(path).exists(), "{path} is kept for whoever can mend it");
    }
}

#[test]
fn damaged_labels_are_never_given_to_other_samples() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let now = server.now();
    for number in 0..20 {
        send(&server, "/v1/metrics", &counter("orders", &format!("old.{number}"), "1", number, now)).expect(200);
    }
    assert!(server.terminate().success());
    for path in &data_files(&data)["series_data"] {
        let length = fs::metadata(path).unwrap().len();
        flip(path, length - 40..length - 8);
    }
    let server = Server::start(&data);
    assert_eq!(damaged_files(&server).len(), 1);
    for number in 0..20 {
        send(&server, "/v1/metrics", &counter("orders", &format!("new.{number}"), "1", 100 + number, now + 1_000_000)).expect(200);
    }
    for number in 0..20 {
        let found = server.promql(&format!("count_over_time(new_{number}_total[1h]) + 0 * new_{number}_total"));
        assert_eq!(found[0]["value"][1], "1", "{number}: {found:?}");
    }
}

/// The newest segment of the log.
fn last_segment(data: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = fs::read_dir(data.join("wal")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.sort();
    segments.pop().expect("a segment")
}

fn recovery(server: &Server) -> Value {
    server.get("/v1/status").expect(200).json()["recovery"].clone()
}

#[test]
fn a_torn_end_of_the_log_is_cut_and_reported() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut acknowledged: Vec<String> = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(5000).collect();
    for (round, torn) in ["nothing", "noise", "zeros", "half a record"].into_iter().enumerate() {
        let mut server = Server::start(&data);
        assert_eq!(stored(&server), once(&acknowledged), "before {torn}");
        for i in 0..3 {
            let body = format!("round {round} line {i}");
            send(&server, "/v1/logs", &logs("orders", std::slice::from_ref(&body), server.now(), &[])).expect(200);
            acknowledged.push(body);
        }
        server.kill();
        let segment = last_segment(&data);
        let whole = fs::read(&segment).unwrap();
        let tail: Vec<u8> = match torn {
            "noise" => noise.clone(),
            "zeros" => vec![0; 4096],
            "half a record" => whole[whole.len() - 300..whole.len() - 100].to_vec(),
            _ => Vec::new(),
        };
        OpenOptions::new().append(true).open(&segment).unwrap().write_all(&tail).unwrap();
        let server = Server::start(&data);
        assert_eq!(stored(&server), once(&acknowledged), "{torn}\n{}", server.log());
        let report = recovery(&server);
        let cut = report["torn_bytes"].as_u64().unwrap();
        if torn == "nothing" {
            assert_eq!(cut, 0, "{report}");
        } else if torn != "zeros" {
            assert!(cut > 0 && own_metric(&server, "skopos_wal_torn_bytes") == cut as f64, "{torn}: {report}");
            assert!(server.log().contains(&format!("torn_bytes={cut}")), "{torn}: {}", server.log());
        }
        assert_eq!(report["damaged"], serde_json::json!([]), "{torn}: a torn end is no damage");
    }

    // An end that is missing: the last record goes, those before it stay.
    let mut server = Server::start(&data);
    server.change("/v1/admin/flush").expect(200);
    for i in 0..3 {
        let body = format!("last line {i}");
        send(&server, "/v1/logs", &logs("orders", std::slice::from_ref(&body), server.now(), &[])).expect(200);
        acknowledged.push(body);
    }
    server.kill();
    let segment = last_segment(&data);
    let length = fs::metadata(&segment).unwrap().len();
    OpenOptions::new().write(true).open(&segment).unwrap().set_len(length - 10).unwrap();
    let server = Server::start(&data);
    acknowledged.pop();
    assert_eq!(stored(&server), once(&acknowledged), "{}", server.log());
    let report = recovery(&server);
    assert!(report["torn_bytes"].as_u64().unwrap() > 0, "{report}");
    assert!(server.log().contains("recovered from the write-ahead log"), "{}", server.log());
}
