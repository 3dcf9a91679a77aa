//! `skopos import openmetrics`: samples of the past.

use tempfile::TempDir;

use crate::process::{Server, skopos};

#[test]
fn an_openmetrics_file_is_imported_once() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = server.now() / 1_000_000_000;
    let file = folder.path().join("history.om");
    let lines: String = (0..100).map(|i| format!("requests_total{{code=\"200\"}} {i} {}\n", now - 6_000 + i * 60)).collect();
    std::fs::write(&file, format!("# HELP requests Requests.\n# TYPE requests counter\n{lines}# EOF\n")).unwrap();
    let url = format!("http://{}", server.http);
    let import = |file: &std::path::Path| skopos(&["import", "openmetrics", "--server", &url, file.to_str().unwrap()]);
    for _ in 0..2 {
        let output = import(&file);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "100 samples imported");
    }
    let range = format!("/api/v1/query_range?query=requests_total&start={}&end={}&step=60", now - 6_000, now);
    let found = server.get(&range).expect(200).json();
    assert!(found["data"]["result"][0]["values"].as_array().unwrap().len() >= 100, "{found}");
    assert_eq!(server.promql("count_over_time(requests_total[2h])")[0]["value"][1], "100");
    // A file that was cut, and one that is broken: what was wrong and where.
    std::fs::write(&file, "# TYPE a gauge\na 1 1600000000\n").unwrap();
    let output = import(&file);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("expected \"# EOF\""));
    std::fs::write(&file, "# TYPE a gauge\na 1 1600000000\na x\n# EOF\n").unwrap();
    let output = import(&file);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("line 3"), "{}", String::from_utf8_lossy(&output.stderr));
}
