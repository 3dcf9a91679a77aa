//! Reading the file and everything its globs name.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use skopos_ingest::otlp::options::OtlpOptions;
use skopos_reliability::check::{CheckOptions, Checked, FileKind, InputFile, check};
use skopos_reliability::config_error::{Finding, FindingSeverity};
use skopos_reliability::engine::EngineConfig;
use skopos_reliability::runbooks::Actions;

use super::file::{ActionConfig, ConfigFile, LimitsConfig, PageContract, read_token};
use super::prometheus::{Prometheus, load_prometheus};
use crate::dashboards::{self, document::Dashboard};
use crate::probes::{PROBES_MAX, Probe, Snippet};
use crate::scrape::Job;

/// A configuration in force.
#[derive(Debug)]
pub struct Loaded {
    /// The file's content.
    pub file: ConfigFile,
    /// Where it was read from; `None` for defaults.
    pub path: Option<PathBuf>,
    /// The `prometheus.yml` that was read as well.
    pub prometheus_path: Option<PathBuf>,
    /// Jobs to scrape, from both files.
    pub jobs: Vec<Job>,
    /// Counts reloads, from 1.
    pub version: u64,
    /// When it was read, Unix nanoseconds.
    pub loaded: i64,
    /// What was wrong; parts with an error are left out.
    pub problems: Vec<Problem>,
    /// Rules, SLOs, routes, runbooks, actions.
    pub engine: EngineConfig,
    /// What is probed.
    pub probes: Vec<Probe>,
    /// How OTLP metrics become series: the file's section, or the defaults where that contradicts itself.
    pub otlp: OtlpOptions,
    /// Files of dashboards and what they hold.
    pub dashboards: Vec<(String, Dashboard)>,
}

/// Something wrong in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: Option<u32>,
    /// `error` or `warning`.
    pub severity: FindingSeverity,
    /// Key, what was wrong, what was expected, the nearest valid name.
    pub message: String,
    #[serde(skip)]
    text: String,
}

impl Problem {
    /// An error about a file as a whole.
    pub fn whole(file: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let text = if file.is_empty() { message.clone() } else { format!("{file}: error: {message}") };
        Self { file: file.to_owned(), line: None, severity: FindingSeverity::Error, message, text }
    }

    /// A warning about a file as a whole.
    pub fn warning(file: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { file: file.to_owned(), line: None, severity: FindingSeverity::Warning, text: format!("{file}: warning: {message}"), message }
    }

    /// A warning about a line of a file, where that is known.
    pub fn warning_at(file: &str, line: Option<u32>, message: impl Into<String>) -> Self {
        let one = Self::warning(file, message);
        let Some(number) = line else { return one };
        Self { line, text: format!("{file}:{number}: warning: {}", one.message), ..one }
    }

    /// Whether the part is refused for it.
    pub fn is_error(&self) -> bool {
        self.severity == FindingSeverity::Error
    }
}

impl From<Finding> for Problem {
    fn from(finding: Finding) -> Self {
        let text = finding.to_string();
        let key = if finding.key.is_empty() { String::new() } else { format!("{}: ", finding.key) };
        let nearest = finding.nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
        Self { message: format!("{key}{}{nearest}", finding.message), file: finding.file, line: finding.line, severity: finding.severity, text }
    }
}

/// `file:line:column: error: key: message`, as compilers write it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Largest configuration file read, bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Most files a glob may name.
const FILES_MAX: usize = 10_000;

pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let length = std::fs::metadata(path).map_err(|e| Problem::whole(&name, format!("cannot be read: {e}")))?.len();
    if length > FILE_BYTES_MAX {
        return Err(Problem::whole(&name, format!("has {length} bytes, {FILE_BYTES_MAX} are the most")));
    }
    std::fs::read_to_string(path).map_err(|e| Problem::whole(&name, format!("cannot be read: {e}")))
}

/// Reads a configuration; `None` gives the defaults. Faulty rules, SLOs and runbooks are left out and reported.
///
/// # Errors
/// When the file itself cannot be used.
pub fn load(path: Option<&Path>, now: i64, version: u64) -> Result<Loaded, Vec<Problem>> {
    load_with(path, None, now, version)
}

/// As [`load`], with a `prometheus.yml` besides: its jobs and rule files come to those of the configuration.
///
/// # Errors
/// When one of the files cannot be used.
pub fn load_with(path: Option<&Path>, prometheus: Option<&Path>, now: i64, version: u64) -> Result<Loaded, Vec<Problem>> {
    let mut file = ConfigFile::default();
    if let Some(path) = path {
        let name = path.display().to_string();
        let text = read(path).map_err(|p| vec![p])?;
        if !text.trim().is_empty() {
            file = serde_saphyr::from_str(&text).map_err(|error| vec![yaml_problem(&name, &error)])?;
        }
    }
    let prometheus = prometheus.map(|path| {
        // Its rule files are relative to it, ours to ours: an absolute path serves both.
        let absolute = std::path::absolute(path).map_err(|e| vec![Problem::whole(&path.display().to_string(), e.to_string())])?;
        load_prometheus(&absolute)
    });
    Ok(assemble(file, path.map(Path::to_path_buf), prometheus.transpose()?, now, version))
}

pub(super) fn yaml_problem(file: &str, error: &serde_saphyr::Error) -> Problem {
    let line = error.location().map(|l| u32::try_from(l.line()).unwrap_or(u32::MAX));
    // The library puts its own "error: line L column C: " before the reason.
    let first = error.to_string().lines().next().unwrap_or("").to_owned();
    let reason = first.strip_prefix("error: ").unwrap_or(&first);
    let reason = reason.strip_prefix("line ").and_then(|r| r.split_once(": ")).map_or(reason, |(_, rest)| rest);
    let mut message = reason.to_owned();
    if let Some((unknown, known)) = between(&message, "unknown field `", "`").zip(message.split("expected one of ").nth(1)) {
        let names = known.split(',').map(|k| k.trim().trim_matches('`'));
        let nearest = names.map(|k| (strsim::jaro_winkler(unknown, k), k)).max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, name)) = nearest.filter(|(score, _)| *score > 0.8) {
            message = format!("{message} (did you mean `{name}`?)");
        }
    }
    let position = line.map(|l| format!(":{l}")).unwrap_or_default();
    Problem { file: file.to_owned(), line, severity: FindingSeverity::Error, text: format!("{file}{position}: error: {message}"), message }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.find(after).map(|end| &rest[..end])
}

/// Files of a list of globs relative to `base`, sorted, each once.
fn files(base: &Path, globs: &[String], what: &str, name: &str, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in globs {
        let full = base.join(pattern);
        match glob::glob(&full.to_string_lossy()) {
            Ok(paths) => {
                let before = found.len();
                found.extend(paths.flatten().take(FILES_MAX));
                if found.len() == before {
                    problems.push(Problem::warning(name, format!("{what}: {pattern} names no file")));
                }
            }
            Err(error) => problems.push(Problem::whole(name, format!("{what}: {pattern} is no glob: {error}"))),
        }
    }
    found.sort();
    found.dedup();
    found
}

fn assemble(mut file: ConfigFile, path: Option<PathBuf>, prometheus: Option<Prometheus>, now: i64, version: u64) -> Loaded {
    let name = path.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
    let base = path.as_ref().and_then(|p| p.parent()).map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let mut problems = Vec::new();
    let mut jobs = own_jobs(&file, &base, &name, &mut problems);
    let prometheus_path = prometheus.map(|given| take_prometheus(given, &mut file, &mut jobs, &mut problems));
    let each = |globs: &[String], what: &str, problems: &mut Vec<Problem>| -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for path in files(&base, globs, what, &name, problems) {
            match read(&path) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(problem) => problems.push(problem),
            }
        }
        texts
    };
    let mut configured: Vec<(PathBuf, ActionConfig)> = file.actions.iter().map(|a| (base.clone(), a.clone())).collect();
    for (action_file, text) in each(&file.action_files, "action_files", &mut problems) {
        let folder = Path::new(&action_file).parent().map_or_else(|| base.clone(), Path::to_path_buf);
        match serde_saphyr::from_str::<ActionFile>(&text) {
            Ok(more) => configured.extend(more.actions.into_iter().map(|a| (folder.clone(), a))),
            Err(error) => problems.push(yaml_problem(&action_file, &error)),
        }
    }
    let wanted: Vec<_> = configured.iter().map(|(folder, action)| action.registered(folder)).collect();
    for action in &wanted {
        // The action stays known, or every runbook that names it would be refused for a file that may come later.
        if let Some(Err(reason)) = action.token_file.as_deref().map(read_token) {
            let message = format!("actions: `{}`: {reason}; the action is refused until it is there", action.name);
            problems.push(Problem::warning(&name, message));
        }
    }
    let (actions, findings) = Actions::new(wanted, &name);
    problems.extend(findings.into_iter().map(Problem::from));
    let mut inputs = Vec::new();
    for (globs, what, kind) in [
        (&file.runbook_files, "runbook_files", FileKind::Runbook),
        (&file.rule_files, "rule_files", FileKind::PrometheusRules),
        (&file.native_rule_files, "native_rule_files", FileKind::NativeRules),
        (&file.slo_files, "slo_files", FileKind::Slos),
    ] {
        inputs.extend(each(globs, what, &mut problems).into_iter().map(|(path, text)| InputFile { path, text, kind }));
    }
    let days = i64::try_from(file.retention.metrics_days).unwrap_or(i64::MAX / 100_000_000);
    let options = CheckOptions {
        strict: file.page_contract == PageContract::Strict,
        retention_ms: Some(days.saturating_mul(86_400_000)),
        actions: Some(actions.clone()),
    };
    let Checked { groups, slos, runbooks, findings } = check(&inputs, &options);
    problems.extend(findings.into_iter().map(Problem::from));
    let probes = probes(&file, &base, &name, &mut problems);
    let otlp = match file.otlp.check() {
        Ok(()) => file.otlp.clone(),
        Err(reason) => {
            problems.push(Problem::whole(&name, format!("otlp: {reason}")));
            OtlpOptions::default()
        }
    };
    let mut dashboards: Vec<(String, Dashboard)> = Vec::new();
    for (path, text) in each(&file.dashboard_files, "dashboard_files", &mut problems) {
        let (dashboard, findings) = dashboards::parse(&path, &text);
        problems.extend(findings.into_iter().map(Problem::from));
        let Some(dashboard) = dashboard else { continue };
        match dashboards.iter().find(|(_, known)| known.metadata.name == dashboard.metadata.name) {
            Some((first, known)) => {
                problems.push(Problem::whole(&path, format!("metadata.name: {:?} is taken by {first}", known.metadata.name)));
            }
            None => dashboards.push((path, dashboard)),
        }
    }
    let (routing, findings) = file.notify.compile(&name);
    problems.extend(findings.into_iter().map(Problem::from));
    Loaded {
        engine: EngineConfig { groups, slos, routing, runbooks, actions },
        probes,
        otlp,
        jobs,
        dashboards,
        file,
        path,
        prometheus_path,
        version,
        loaded: now,
        problems,
    }
}

/// The jobs of the section `scrape`.
fn own_jobs(file: &ConfigFile, base: &Path, name: &str, problems: &mut Vec<Problem>) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for configured in &file.scrape {
        match configured.job(base) {
            Ok(job) if jobs.iter().any(|known| known.name == job.name) => {
                problems.push(Problem::whole(name, format!("scrape: the job {:?} is configured twice", job.name)));
            }
            Ok(job) => jobs.push(job),
            Err(reason) => problems.push(Problem::whole(name, format!("scrape: job {:?}: {reason}", configured.job))),
        }
    }
    jobs
}

/// Puts what a `prometheus.yml` says beside our own configuration, and names what is not served of it.
fn take_prometheus(given: Prometheus, file: &mut ConfigFile, jobs: &mut Vec<Job>, problems: &mut Vec<Problem>) -> PathBuf {
    let name = given.path.display().to_string();
    problems.extend(given.unserved.iter().map(|(line, text)| Problem::warning_at(&name, *line, text.clone())));
    for job in given.jobs {
        if jobs.iter().any(|known| known.name == job.name) {
            problems.push(Problem::whole(&name, format!("scrape_configs: the job {:?} is also in our own section scrape", job.name)));
        } else {
            jobs.push(job);
        }
    }
    file.rule_files.extend(given.rule_files);
    if let Some(seconds) = given.evaluation_interval_seconds {
        file.evaluation_interval_seconds = seconds;
    }
    let own_window = &mut file.limits.out_of_order_window_seconds;
    match given.out_of_order_window_seconds {
        Some(seconds) if *own_window == LimitsConfig::default().out_of_order_window_seconds => *own_window = seconds,
        Some(seconds) if *own_window != seconds => {
            let text = "storage: tsdb: out_of_order_time_window: our own limits.out_of_order_window_seconds is in force instead";
            problems.push(Problem::warning(&name, text));
        }
        _ => {}
    }
    match given.otlp {
        Some(options) if file.otlp == OtlpOptions::default() => file.otlp = options,
        Some(options) if file.otlp != options => {
            problems.push(Problem::warning(&name, "otlp: our own section otlp is in force instead".to_owned()));
        }
        _ => {}
    }
    given.path
}

/// What is probed, each instance once for each question.
fn probes(file: &ConfigFile, base: &Path, name: &str, problems: &mut Vec<Problem>) -> Vec<Probe> {
    let mut all: Vec<Probe> = Vec::new();
    for configured in &file.probes {
        let snippet = configured.kubernetes.as_ref().map(|manifest| {
            let path = base.join(manifest);
            let text = read(&path)?;
            serde_saphyr::from_str::<Snippet>(&text).map_err(|e| yaml_problem(&path.display().to_string(), &e))
        });
        let snippet = match snippet.transpose() {
            Ok(snippet) => snippet,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        match configured.probes(snippet.as_ref()) {
            Ok(more) => {
                for probe in more {
                    if all.iter().any(|known| known.key() == probe.key()) {
                        let (service, kind, instance) = probe.key();
                        problems.push(Problem::whole(name, format!("probes: the {} of {service} at {instance} is asked already", kind.as_str())));
                    } else {
                        all.push(probe);
                    }
                }
            }
            Err(reason) => problems.push(Problem::whole(name, format!("probes: `{}`: {reason}", configured.service))),
        }
    }
    if all.len() > PROBES_MAX {
        problems.push(Problem::whole(name, format!("probes: {} are asked, {PROBES_MAX} are the most", all.len())));
        all.truncate(PROBES_MAX);
    }
    all
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionFile {
    actions: Vec<ActionConfig>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_config(text: &str) -> Result<Loaded, Vec<Problem>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skopos.yaml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), 0, 1)
    }

    #[test]
    fn typos_are_named_with_line_and_nearest_name() {
        let problems = read_config("external_url: http://x\nscrap:\n  - job: a\n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, Some(2), "{problems:?}");
        assert!(problems[0].message.contains("did you mean `scrape`"), "{problems:?}");
    }

    #[test]
    fn a_broken_rule_file_leaves_the_rest_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("good.yml", "groups: [{name: g, rules: [{record: a, expr: up}]}]");
        write("bad.yml", "groups: [{name: g, rules: [{record: a, exprr: up}]}]");
        write("skopos.yaml", "rule_files: ['*.yml', 'none/*.yml']");
        let loaded = load(Some(&folder.path().join("skopos.yaml")), 0, 1).unwrap();
        assert!(loaded.engine.groups.iter().any(|g| g.file.ends_with("good.yml")));
        let errors: Vec<String> = loaded.problems.iter().filter(|p| p.is_error()).map(ToString::to_string).collect();
        assert!(errors.iter().all(|e| e.contains("bad.yml")) && !errors.is_empty(), "{errors:?}");
        assert!(loaded.problems.iter().any(|p| !p.is_error() && p.message.contains("none/*.yml names no file")));
    }

    #[test]
    fn probes_are_read_from_manifests_and_urls() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("good.yaml", "livenessProbe: {httpGet: {path: /healthz, port: 8080}}");
        write("typo.yaml", "livenessProbe:\n  httpget: {path: /healthz, port: 8080}\n");
        write(
            "skopos.yaml",
            "probes:\n- {service: a, kubernetes: good.yaml, targets: [h1, h2]}\n- {service: b, kubernetes: typo.yaml, targets: [h]}\n\
             - {service: c, readiness: {url: 'http://h:1/readyz'}}\n- {service: c, readiness: {url: 'http://h:1/other'}}\n- {service: d}\n",
        );
        let loaded = load(Some(&folder.path().join("skopos.yaml")), 0, 1).unwrap();
        let keys: Vec<String> = loaded.probes.iter().map(|p| format!("{} {} {}", p.service, p.kind.as_str(), p.instance)).collect();
        assert_eq!(keys, ["a liveness h1:8080", "a liveness h2:8080", "c readiness h:1"]);
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("typo.yaml:2") && problems[0].contains("did you mean `httpGet`"), "{problems:?}");
        assert!(problems[1].contains("asked already") && problems[2].contains("`d`: nothing is asked"), "{problems:?}");
    }

    #[test]
    fn a_missing_token_leaves_the_action_known() {
        let action = "actions: [{name: a, kind: webhook, url: 'http://x/', token_file: a.key}]\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skopos.yaml");
        std::fs::write(&path, action).unwrap();
        let loaded = load(Some(&path), 0, 1).unwrap();
        assert!(loaded.engine.actions.get("a").is_some());
        assert!(!loaded.problems[0].is_error() && loaded.problems[0].message.contains("a.key cannot be read"), "{:?}", loaded.problems);
        std::fs::write(folder.path().join("a.key"), " \n").unwrap();
        assert!(load(Some(&path), 0, 1).unwrap().problems[0].message.contains("has no token"));
        std::fs::write(folder.path().join("a.key"), "secret\n").unwrap();
        assert_eq!(load(Some(&path), 0, 1).unwrap().problems, []);
        assert_eq!(read_token(&folder.path().join("a.key")).unwrap(), "secret");
    }

    #[test]
    fn dashboards_are_read_and_their_faults_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let sound = include_str!("../dashboards/testdata/checkout.yaml");
        write("a.yaml", sound);
        write("b.yaml", sound);
        write("c.yaml", &sound.replace("name: checkout\n", "name: other\n").replace("kind: StatChart", "kind: StatChrt"));
        write("skopos.yml", "dashboard_files: ['*.yaml']");
        let loaded = load(Some(&folder.path().join("skopos.yml")), 0, 1).unwrap();
        assert_eq!(loaded.dashboards.len(), 1);
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|p| p.contains("b.yaml") && p.contains("is taken by")), "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("c.yaml:") && p.contains("did you mean `StatChart`")), "{problems:?}");
    }

    #[test]
    fn defaults_without_a_file() {
        let loaded = load(None, 0, 1).unwrap();
        assert_eq!(loaded.problems, []);
        assert_eq!(loaded.file.evaluation_interval_seconds, 15);
    }
}
