//! The server as a process, and the folders that tests read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Response, encode, request};

/// Longest a start, a stop or a condition may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);
/// Pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// The binary under test: the one `cargo test` has built, or `SKOPOS_BIN`.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("SKOPOS_BIN")
        .map(PathBuf::from)
        .or_else(|| option_env!("CARGO_BIN_EXE_skopos").map(PathBuf::from))
        .expect("SKOPOS_BIN names the binary when cargo has not built it")
}

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Waits until `look` gives a value.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(POLL);
    }
}

/// Runs a command to its end.
pub(crate) fn skopos(args: &[&str]) -> Output {
    Command::new(binary()).args(args).stdin(Stdio::null()).output().expect("the binary runs")
}

/// Runs `serve` where it is expected to refuse, and gives its exit code and what it said. Killed at the deadline.
#[track_caller]
pub(crate) fn refused(args: &[&str]) -> (i32, String) {
    let folder = TempDir::new().unwrap();
    let mut server = Server::spawn(folder.path(), args);
    let status = eventually("the refusal", || server.child.try_wait().unwrap());
    (status.code().expect("an exit code"), server.log())
}

/// A running server; killed when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    data: PathBuf,
    /// Main port.
    pub(crate) http: String,
    /// OTLP over HTTP.
    pub(crate) otlp_http: String,
    /// OTLP over gRPC.
    pub(crate) otlp_grpc: String,
}

impl Server {
    /// Starts on free ports; returns when it listens.
    #[track_caller]
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// As [`Server::start`], with more arguments.
    #[track_caller]
    pub(crate) fn start_with(data: &Path, more: &[&str]) -> Self {
        let addresses = data.join("addresses.json");
        // Those of the run before would be taken for this one's.
        let _ = fs::remove_file(&addresses);
        let folder = data.display().to_string();
        let mut args = vec!["--data", &folder, "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"];
        // Where the same address has to come back after a restart it is among the arguments.
        if !more.contains(&"--listen") {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        args.extend(more);
        let mut server = Self::spawn(data, &args);
        let found: Value = eventually("listening", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", server.log());
            }
            serde_json::from_slice(&fs::read(&addresses).ok()?).ok()
        });
        let address = |name: &str| found[name].as_str().unwrap_or_else(|| panic!("no address of {name} in {found}")).to_owned();
        (server.http, server.otlp_http, server.otlp_grpc) = (address("http"), address("otlp_http"), address("otlp_grpc"));
        server
    }

    fn spawn(data: &Path, args: &[&str]) -> Self {
        // Beside the data, so that the folder is the server's alone.
        let log = data.with_extension("log");
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(binary());
        for name in ["SKOPOS_DATA", "SKOPOS_CONFIG", "SKOPOS_LOG", "SKOPOS_KEY"] {
            command.env_remove(name);
        }
        let child = command.arg("serve").args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().expect("the binary runs");
        Self { child, log, data: data.to_path_buf(), http: String::new(), otlp_http: String::new(), otlp_grpc: String::new() }
    }

    /// What it has logged, over all runs on this folder.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns when the process has ended.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
        eventually("the end after SIGTERM", || self.child.try_wait().unwrap())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        request(&self.http, "GET", path, &[], b"").unwrap_or_else(|e| panic!("GET {path}: {e}\n{}", self.log()))
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        request(&self.http, "POST", path, headers, body).unwrap_or_else(|e| panic!("POST {path}: {e}\n{}", self.log()))
    }

    /// The key that changes need.
    pub(crate) fn key(&self) -> String {
        fs::read_to_string(self.data.join("api-key")).unwrap().trim().to_owned()
    }

    /// POST with the key.
    #[track_caller]
    pub(crate) fn change(&self, path: &str) -> Response {
        self.post(path, &[("authorization", &format!("Bearer {}", self.key()))], b"")
    }

    /// The server's clock, Unix nanoseconds: what tests send is of its present.
    #[track_caller]
    pub(crate) fn now(&self) -> u64 {
        self.get("/v1/status").expect(200).json()["now"].as_str().unwrap().parse().unwrap()
    }

    /// Log records of the last day that match.
    #[track_caller]
    pub(crate) fn logs(&self, filter: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/logs?from=now-24h&limit=1000&q={}", encode(filter))).expect(200).json();
        answer["rows"].as_array().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn sql(&self, query: &str) -> Response {
        let body = serde_json::json!({"query": query}).to_string();
        self.post("/v1/sql", &[("content-type", "application/json")], body.as_bytes())
    }

    /// An instant PromQL query's result.
    #[track_caller]
    pub(crate) fn promql(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", encode(query))).expect(200).json();
        assert_eq!(answer["status"], "success");
        answer["data"]["result"].as_array().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
