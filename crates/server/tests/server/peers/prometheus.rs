//! A Prometheus of the distribution.

use std::fs;
use std::path::Path;
use std::process::Command;

use skopos_testkit::installed;

use super::listening;
use crate::http::{Response, request};
use crate::process::eventually;
use crate::programs::Program;

/// A running one, with a folder of its own; stopped when it goes out of scope.
pub(super) struct Prometheus {
    program: Program,
    /// Where it is asked.
    pub(super) address: String,
    /// `2.42.0+ds`, as it says.
    pub(super) version: String,
}

impl Prometheus {
    /// Starts with this configuration on a free port; returns when it is ready. `None`, and said, where there is none.
    #[track_caller]
    pub(super) fn start(folder: &Path, configuration: &str, more: &[&str]) -> Option<Self> {
        let executable = installed("prometheus", "prometheus")?;
        fs::create_dir_all(folder).unwrap();
        let file = folder.join("prometheus.yml");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new(executable);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=100y"])
            .args(more);
        let mut program = Program::start(&mut command, folder.join("prometheus.log"));
        let id = program.id();
        let address = program.wait_for("Prometheus listens", |_| listening(id));
        eventually("Prometheus is ready", || request(&address, "GET", "/-/ready", &[], b"").ok().filter(|r| r.status == 200));
        let mut prometheus = Self { program, address, version: String::new() };
        prometheus.version = super::data(&prometheus.address, "/api/v1/status/buildinfo")["version"].as_str().unwrap().to_owned();
        Some(prometheus)
    }

    /// What it has said.
    pub(super) fn said(&self) -> String {
        self.program.said()
    }

    #[track_caller]
    pub(super) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        request(&self.address, method, path, headers, body).unwrap_or_else(|e| panic!("{method} {path}: {e}\n{}", self.said()))
    }
}
