//! The exporters that most machines run, scraped: node, PostgreSQL with a real server behind it, Redis with a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use skopos_testkit::{Need, installed, skipped};
use tempfile::TempDir;

use super::{data, listening, one};
use crate::http::{encode, request};
use crate::process::{Server, eventually};
use crate::programs::Program;

/// `nobody`: a database server refuses to be run by root.
const NOBODY: u32 = 65_534;

/// Starts a program that listens on any free port of loopback; where that is.
#[track_caller]
fn exporter(command: &mut Command, log: PathBuf) -> (Program, String) {
    let mut program = Program::start(command, log);
    let id = program.id();
    let address = program.wait_for("an exporter's address", |_| listening(id));
    eventually("an exporter's answer", || request(&address, "GET", "/metrics", &[], b"").ok().filter(|r| r.status == 200));
    (program, address)
}

/// A PostgreSQL of its own, reached through a socket in its folder; shut down when it goes out of scope.
struct Postgres {
    server: Program,
    folder: PathBuf,
    client: PathBuf,
}

impl Postgres {
    /// `None`, and said, where none is installed.
    fn start(folder: &Path) -> Option<Self> {
        let Some(programs) = postgres_programs() else {
            skipped(Need::Tools, "no PostgreSQL on this machine; cargo xtask test installs the package postgresql");
            return None;
        };
        let root = fs::metadata(folder).unwrap();
        let root = std::os::unix::fs::MetadataExt::uid(&root) == 0;
        let as_owner = |command: &mut Command| {
            if root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command.current_dir(folder);
        };
        if root {
            chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let cluster = folder.join("cluster");
        let mut init = Command::new(programs.join("initdb"));
        as_owner(init.arg("-D").arg(&cluster).args(["-U", "skopos", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]));
        let made = init.output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new(programs.join("postgres"));
        command.arg("-D").arg(&cluster).args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=17"]);
        as_owner(command.arg("-c").arg(format!("unix_socket_directories={}", folder.display())));
        let mut server = Program::start(&mut command, folder.join("postgres.log"));
        server.wait_for("PostgreSQL", |said| said.contains("ready to accept connections").then_some(()));
        Some(Self { server, folder: folder.to_path_buf(), client: programs.join("psql") })
    }

    fn run(&self, statement: &str) {
        let mut command = Command::new(&self.client);
        command.arg("-h").arg(&self.folder).args(["-U", "skopos", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-q", "-c", statement]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own way down, so that its helpers and its shared memory go with it.
        if !std::thread::panicking() {
            self.server.stop("INT");
        }
    }
}

/// Where the distribution has the newest PostgreSQL; another one is found by its `initdb`.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").is_file()).max();
    newest.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file())
    })
}

/// A Redis without a port, reached through a socket.
struct Redis {
    _server: Program,
    socket: PathBuf,
}

impl Redis {
    fn start(folder: &Path) -> Option<Self> {
        let executable = installed("redis-server", "redis-server")?;
        let socket = folder.join("redis.sock");
        let mut command = Command::new(executable);
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket).arg("--dir").arg(folder);
        let server = Program::start(&mut command, folder.join("redis.log"));
        eventually("Redis answers", || UnixStream::connect(&socket).ok());
        Some(Self { _server: server, socket })
    }

    /// Commands in its inline form, each answered with a line.
    fn run(&self, commands: &[&str]) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        for command in commands {
            stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            let mut answer = [0; 64];
            let length = stream.read(&mut answer).unwrap();
            assert!(matches!(answer[0], b'+' | b':'), "{command}: {}", String::from_utf8_lossy(&answer[..length]));
        }
    }
}

#[test]
fn exporters_are_scraped_whole_and_typed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let database = TempDir::new().unwrap();
    let (Some(node), Some(for_postgres), Some(for_redis)) = (
        installed("prometheus-node-exporter", "prometheus-node-exporter"),
        installed("prometheus-postgres-exporter", "prometheus-postgres-exporter"),
        installed("prometheus-redis-exporter", "prometheus-redis-exporter"),
    ) else {
        return;
    };
    let Some(redis) = Redis::start(path) else { return };
    let Some(postgres) = Postgres::start(database.path()) else { return };

    let backup = path.join("backup.prom");
    fs::write(&backup, backup_of(1_700_000_000)).unwrap();
    let listen = "--web.listen-address=127.0.0.1:0";
    let mut command = Command::new(node);
    command.arg(listen).arg(format!("--collector.textfile.directory={}", path.display()));
    let (_node, node) = exporter(&mut command, path.join("node.log"));
    let mut command = Command::new(for_postgres);
    let source = format!("host={} user=skopos dbname=postgres sslmode=disable", database.path().display());
    // Tables are among the queries that come with its documentation.
    let queries = path.join("queries.yaml");
    fs::write(&queries, QUERIES).unwrap();
    command.arg(listen).arg(format!("--extend.query-path={}", queries.display())).env("DATA_SOURCE_NAME", source);
    let (_postgres_exporter, for_postgres) = exporter(&mut command, path.join("postgres_exporter.log"));
    let mut command = Command::new(for_redis);
    command.arg("-web.listen-address=127.0.0.1:0").arg(format!("-redis.addr=unix://{}", redis.socket.display()));
    let (_redis_exporter, for_redis) = exporter(&mut command, path.join("redis_exporter.log"));

    redis.run(&["SET one 1", "SET two 2", "SET three 3"]);
    postgres.run("CREATE TABLE orders (id int)");
    postgres.run("INSERT INTO orders SELECT generate_series(1, 7)");

    let jobs = [("node", &node), ("postgres", &for_postgres), ("redis", &for_redis)];
    let mut configuration = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned();
    for (job, address) in jobs {
        configuration += &format!("- {{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}\n");
    }
    let file = path.join("prometheus.yml");
    fs::write(&file, configuration).unwrap();
    let server = Server::start_with(&path.join("data"), &["--prometheus-config", file.to_str().unwrap()]);
    let becomes = |query: &str, value: f64| eventually(query, || one(&server, query).filter(|found| *found == value));

    for (job, address) in jobs {
        becomes(&format!("up{{job={job:?}}}"), 1.0);
        everything_is_there(&server, job, address);
    }
    // Known values, before and after something was done.
    becomes("orders_backup_last_success_timestamp_seconds", 1_700_000_000.0);
    fs::write(&backup, backup_of(1_700_003_600)).unwrap();
    becomes("orders_backup_last_success_timestamp_seconds", 1_700_003_600.0);
    becomes("node_textfile_scrape_error", 0.0);
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = memory.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    becomes("node_memory_MemTotal_bytes", total * 1_024.0);
    becomes("redis_up", 1.0);
    becomes("redis_db_keys{db=\"db0\"}", 3.0);
    redis.run(&["DEL one"]);
    becomes("redis_db_keys{db=\"db0\"}", 2.0);
    becomes("pg_up", 1.0);
    becomes("pg_settings_max_connections", 17.0);
    becomes("pg_stat_user_tables_n_tup_ins{relname=\"orders\"}", 7.0);
    postgres.run("INSERT INTO orders SELECT generate_series(8, 10)");
    becomes("pg_stat_user_tables_n_tup_ins{relname=\"orders\"}", 10.0);
    // An exporter whose server is gone stays up and says so itself.
    drop(redis);
    becomes("redis_up", 0.0);
    becomes("up{job=\"redis\"}", 1.0);
    let refused = server.get("/metrics").expect(200).text();
    let refused: Vec<&str> =
        refused.lines().filter(|l| l.starts_with("skopos_ingest_rejected_rows_total{signal=\"metrics\"") && !l.ends_with(" 0")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

const QUERIES: &str = "
pg_stat_user_tables:
  query: SELECT relname, n_tup_ins FROM pg_stat_user_tables
  metrics:
  - relname: {usage: LABEL, description: Name of the table}
  - n_tup_ins: {usage: COUNTER, description: Rows inserted}
";

fn backup_of(seconds: i64) -> String {
    format!(
        "# HELP orders_backup_last_success_timestamp_seconds When the last backup ended.\n\
         # TYPE orders_backup_last_success_timestamp_seconds gauge\n\
         orders_backup_last_success_timestamp_seconds {seconds}\n"
    )
}

/// Every family of an exposition is known with its type and help, every metric has series, and the scrape has no fault.
#[track_caller]
fn everything_is_there(server: &Server, job: &str, address: &str) {
    let exposed = request(address, "GET", "/metrics", &[("accept", "text/plain;version=0.0.4")], b"").unwrap().expect(200).text();
    let mut families: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for line in exposed.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            families.entry(name).or_default().1 = help;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            families.entry(name).or_default().0 = kind;
        } else if !line.starts_with('#') && !line.is_empty() {
            names.insert(line[..line.find(['{', ' ']).expect("a sample has a value")].to_owned());
        }
    }
    assert!(families.len() > 20 && names.len() > 40, "{job}: {} families, {} metrics", families.len(), names.len());
    let scope = encode(&format!("{{job={job:?}}}"));
    // Some metrics of an exporter appear with its first scrape, and come with the second.
    eventually(&format!("{job}: every metric that is exposed: {names:?}"), || {
        let stored = data(&server.http, &format!("/api/v1/label/__name__/values?match[]={scope}"));
        let stored: BTreeSet<String> = stored.as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect();
        names.is_subset(&stored).then_some(())
    });
    let known = data(&server.http, &format!("/api/v1/targets/metadata?match_target={scope}"));
    let known: BTreeMap<&str, &Value> = known.as_array().unwrap().iter().map(|m| (m["metric"].as_str().unwrap(), m)).collect();
    for (family, (kind, help)) in families {
        let found = known.get(family).unwrap_or_else(|| panic!("{job}: {family} has no metadata"));
        let kind = if kind == "untyped" { "unknown" } else { kind };
        let help = help.replace("\\n", "\n").replace("\\\\", "\\");
        assert_eq!((found["type"].as_str(), found["help"].as_str()), (Some(kind), Some(&*help)), "{job}: {family}");
    }
    let targets = data(&server.http, "/api/v1/targets?state=active");
    let target = targets["activeTargets"].as_array().unwrap().iter().find(|t| t["labels"]["job"] == job).expect("the target");
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    // What was exposed is what was stored: nothing of it was dropped on the way.
    let difference = format!("scrape_samples_scraped{{job={job:?}}} - scrape_samples_post_metric_relabeling{{job={job:?}}}");
    assert_eq!(one(server, &difference), Some(0.0), "{job}");
    let scraped = one(server, &format!("scrape_samples_scraped{{job={job:?}}}"));
    assert!(scraped >= Some(names.len() as f64), "{job}: {scraped:?} samples of {} metrics", names.len());
}
