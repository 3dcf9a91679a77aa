//! What to probe: URLs, or the snippet of a pod's manifest as it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which question a probe answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Has it started?
    Startup,
    /// Does it live? If not, a restart may help.
    Liveness,
    /// May it be given traffic?
    Readiness,
}

impl ProbeKind {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `GET`; a status from 200 to 399 is success.
    Http {
        /// Where.
        url: reqwest::Url,
        /// Headers sent along.
        headers: http::HeaderMap,
    },
    /// A connection; one that opens is success.
    Tcp {
        /// `host:port`.
        address: String,
    },
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { url, .. } => url.fmt(f),
            Self::Tcp { address } => write!(f, "tcp://{address}"),
        }
    }
}

/// One question, asked of one instance again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whose health it tells.
    pub service: String,
    /// Which question.
    pub kind: ProbeKind,
    /// `host:port`.
    pub instance: String,
    /// How it is asked.
    pub check: Check,
    /// From the start of this server (or the change that brought the probe) to the first question.
    pub initial_delay: Duration,
    /// Between two questions.
    pub interval: Duration,
    /// Longest an answer may take.
    pub timeout: Duration,
    /// Successes in a row that make it `up` again.
    pub success_threshold: u32,
    /// Failures in a row that make it `down`.
    pub failure_threshold: u32,
}

impl Probe {
    /// What tells it, and its series, from all others.
    pub fn key(&self) -> (String, ProbeKind, String) {
        (self.service.clone(), self.kind, self.instance.clone())
    }
}

/// Probes of a service.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Whose health they tell: its `service.name`.
    pub service: String,
    /// File with `livenessProbe`, `readinessProbe`, `startupProbe` as in a pod's manifest, relative to this file.
    #[serde(default)]
    pub kubernetes: Option<PathBuf>,
    /// Instances that the snippet is asked of: `host`, or `host:port` where the port outside is not the one inside.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Has it started?
    #[serde(default)]
    pub startup: Option<NativeProbe>,
    /// Does it live?
    #[serde(default)]
    pub liveness: Option<NativeProbe>,
    /// May it be given traffic?
    #[serde(default)]
    pub readiness: Option<NativeProbe>,
}

/// A question by URL. Defaults are those of Kubernetes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NativeProbe {
    /// `http://…`, `https://…`, or `tcp://host:port`.
    pub url: String,
    /// Headers sent along.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Seconds between two questions.
    #[serde(default = "ten")]
    pub interval_seconds: u64,
    /// Seconds an answer may take.
    #[serde(default = "one")]
    pub timeout_seconds: u64,
    /// Successes in a row that make it `up` again.
    #[serde(default = "once")]
    pub success_threshold: u32,
    /// Failures in a row that make it `down`.
    #[serde(default = "thrice")]
    pub failure_threshold: u32,
}

/// The probes of a container in a pod's manifest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Snippet {
    startup_probe: Option<KubernetesProbe>,
    liveness_probe: Option<KubernetesProbe>,
    readiness_probe: Option<KubernetesProbe>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KubernetesProbe {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    exec: Option<serde_json::Value>,
    grpc: Option<serde_json::Value>,
    #[serde(default)]
    initial_delay_seconds: u64,
    #[serde(default = "ten")]
    period_seconds: u64,
    #[serde(default = "one")]
    timeout_seconds: u64,
    #[serde(default = "once")]
    success_threshold: u32,
    #[serde(default = "thrice")]
    failure_threshold: u32,
    /// Says how the container is restarted: nothing we do.
    #[serde(rename = "terminationGracePeriodSeconds")]
    _termination_grace_period_seconds: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: Port,
    host: Option<String>,
    #[serde(default)]
    scheme: Scheme,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum Scheme {
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    #[serde(rename = "HTTPS")]
    Https,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TcpSocket {
    port: Port,
    host: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Name(String),
}

fn one() -> u64 {
    1
}

fn ten() -> u64 {
    10
}

fn once() -> u32 {
    1
}

fn thrice() -> u32 {
    3
}

/// Most probes of one configuration.
pub(crate) const PROBES_MAX: usize = 1_000;

impl ProbeConfig {
    /// The questions this asks.
    ///
    /// # Errors
    /// With the key that is wrong and what was expected.
    pub fn probes(&self, snippet: Option<&Snippet>) -> Result<Vec<Probe>, String> {
        if self.service.trim().is_empty() {
            return Err("service is empty; it names whose health the probes tell".to_owned());
        }
        let mut out = Vec::new();
        let native = [(ProbeKind::Startup, &self.startup), (ProbeKind::Liveness, &self.liveness), (ProbeKind::Readiness, &self.readiness)];
        for (kind, probe) in native {
            if let Some(probe) = probe {
                out.push(self.native(kind, probe).map_err(|e| format!("{}: {e}", kind.as_str()))?);
            }
        }
        if let Some(snippet) = snippet {
            if self.targets.is_empty() {
                return Err("kubernetes needs targets: a pod's manifest does not say where the pods are".to_owned());
            }
            let parts = [
                (ProbeKind::Startup, "startupProbe", &snippet.startup_probe),
                (ProbeKind::Liveness, "livenessProbe", &snippet.liveness_probe),
                (ProbeKind::Readiness, "readinessProbe", &snippet.readiness_probe),
            ];
            for (kind, name, probe) in parts {
                for target in &self.targets {
                    if let Some(probe) = probe {
                        out.push(self.kubernetes(kind, probe, target).map_err(|e| format!("{name}: {e}"))?);
                    }
                }
            }
        } else if !self.targets.is_empty() {
            return Err("targets go with kubernetes; elsewhere the url names the instance".to_owned());
        }
        if out.is_empty() {
            return Err("nothing is asked: give liveness, readiness or startup with a url, or kubernetes with a file".to_owned());
        }
        Ok(out)
    }

    fn native(&self, kind: ProbeKind, probe: &NativeProbe) -> Result<Probe, String> {
        let check = match probe.url.strip_prefix("tcp://") {
            Some(address) => Check::Tcp { address: tcp_address(address)? },
            None => http_check(&probe.url, probe.headers.iter())?,
        };
        self.probe(kind, check, 0, probe.interval_seconds, probe.timeout_seconds, (probe.success_threshold, probe.failure_threshold))
    }

    fn kubernetes(&self, kind: ProbeKind, probe: &KubernetesProbe, target: &str) -> Result<Probe, String> {
        let (outside, outside_port) = split_target(target)?;
        let port = |port: &Port| match (outside_port, port) {
            (Some(outside), _) => Ok(outside),
            (None, Port::Number(inside)) => Ok(*inside),
            (None, Port::Name(name)) => Err(format!("port {name:?} is a name that only the pod knows; give targets as host:port")),
        };
        let check = match (&probe.http_get, &probe.tcp_socket) {
            (Some(get), None) => {
                let scheme = match get.scheme {
                    Scheme::Http => "http",
                    Scheme::Https => "https",
                };
                let host = get.host.as_deref().unwrap_or(outside);
                let url = format!("{scheme}://{host}:{}/{}", port(&get.port)?, get.path.trim_start_matches('/'));
                http_check(&url, get.http_headers.iter().map(|h| (&h.name, &h.value)))?
            }
            (None, Some(tcp)) => {
                let host = tcp.host.as_deref().unwrap_or(outside);
                Check::Tcp { address: format!("{host}:{}", port(&tcp.port)?) }
            }
            (Some(_), Some(_)) => return Err("it has both httpGet and tcpSocket; one is asked".to_owned()),
            (None, None) if probe.exec.is_some() => {
                return Err("exec runs inside the container; from outside httpGet or tcpSocket can be asked".to_owned());
            }
            (None, None) if probe.grpc.is_some() => return Err("grpc is not asked yet; httpGet or tcpSocket can be".to_owned()),
            (None, None) => return Err("it has neither httpGet nor tcpSocket".to_owned()),
        };
        let thresholds = (probe.success_threshold, probe.failure_threshold);
        self.probe(kind, check, probe.initial_delay_seconds, probe.period_seconds, probe.timeout_seconds, thresholds)
    }

    fn probe(&self, kind: ProbeKind, check: Check, delay: u64, interval: u64, timeout: u64, thresholds: (u32, u32)) -> Result<Probe, String> {
        for (value, name) in [
            (interval, "the interval"),
            (timeout, "the timeout"),
            (thresholds.0.into(), "the success threshold"),
            (thresholds.1.into(), "the failure threshold"),
        ] {
            if value == 0 {
                return Err(format!("{name} is 0; the least is 1"));
            }
        }
        let instance = match &check {
            Check::Http { url, .. } => format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default()),
            Check::Tcp { address } => address.clone(),
        };
        Ok(Probe {
            service: self.service.clone(),
            kind,
            instance,
            check,
            initial_delay: Duration::from_secs(delay),
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(timeout),
            success_threshold: thresholds.0,
            failure_threshold: thresholds.1,
        })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_target(target: &str) -> Result<(&str, Option<u16>), String> {
    let wrong = || format!("target {target:?} is neither host nor host:port");
    if target.is_empty() || target.contains(['/', ' ', '@']) {
        return Err(wrong());
    }
    let (host, port) = match target.rfind(']') {
        Some(end) => (&target[..=end], target[end + 1..].strip_prefix(':')),
        None => target.rsplit_once(':').map_or((target, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|p| p.parse().map_err(|_| wrong())).transpose()?;
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

fn tcp_address(address: &str) -> Result<String, String> {
    match split_target(address) {
        Ok((_, Some(_))) => Ok(address.to_owned()),
        _ => Err(format!("tcp://{address} is not tcp://host:port")),
    }
}

fn http_check<'a>(url: &str, headers: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Check, String> {
    let url = reqwest::Url::parse(url).map_err(|e| format!("{url:?} is no URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{url} is neither http://, https:// nor tcp://host:port"));
    }
    let mut all = http::HeaderMap::new();
    for (name, value) in headers {
        let parsed = (http::HeaderName::try_from(name.as_str()), http::HeaderValue::try_from(value.as_str()));
        let (Ok(name), Ok(value)) = parsed else { return Err(format!("{name:?} with {value:?} is no HTTP header")) };
        all.append(name, value);
    }
    Ok(Check::Http { url, headers: all })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(targets: &[&str]) -> ProbeConfig {
        ProbeConfig {
            service: "orders".to_owned(),
            kubernetes: None,
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            startup: None,
            liveness: None,
            readiness: None,
        }
    }

    fn from_snippet(targets: &[&str], yaml: &str) -> Result<Vec<Probe>, String> {
        let snippet: Snippet = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        service(targets).probes(Some(&snippet))
    }

    #[test]
    fn a_manifest_is_read_with_kubernetes_defaults() {
        let yaml = "livenessProbe: {httpGet: {path: live, port: 8080}}\n\
                    readinessProbe:\n  httpGet: {path: /ready, port: web, scheme: HTTPS, httpHeaders: [{name: X-Probe, value: a}]}\n  \
                    initialDelaySeconds: 5\n  periodSeconds: 7\n  timeoutSeconds: 2\n  successThreshold: 2\n  failureThreshold: 4\n\
                    startupProbe: {tcpSocket: {port: 9000}, terminationGracePeriodSeconds: 60}\n";
        let probes = from_snippet(&["10.0.0.1:80", "[::1]:81"], yaml).unwrap();
        let shown: Vec<String> = probes.iter().map(|p| format!("{} {} {}", p.kind.as_str(), p.check, p.instance)).collect();
        assert_eq!(
            shown,
            [
                "startup tcp://10.0.0.1:80 10.0.0.1:80",
                "startup tcp://[::1]:81 [::1]:81",
                "liveness http://10.0.0.1/live 10.0.0.1:80",
                "liveness http://[::1]:81/live [::1]:81",
                "readiness https://10.0.0.1:80/ready 10.0.0.1:80",
                "readiness https://[::1]:81/ready [::1]:81",
            ]
        );
        let seconds = |p: &Probe| (p.initial_delay.as_secs(), p.interval.as_secs(), p.timeout.as_secs(), p.success_threshold, p.failure_threshold);
        assert_eq!(seconds(&probes[2]), (0, 10, 1, 1, 3));
        assert_eq!(seconds(&probes[4]), (5, 7, 2, 2, 4));
        assert!(matches!(&probes[4].check, Check::Http { headers, .. } if headers["x-probe"] == "a"));
        assert_eq!(
            from_snippet(&["orders.local"], "livenessProbe: {httpGet: {port: 8080}}").unwrap()[0].check.to_string(),
            "http://orders.local:8080/"
        );
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (targets, yaml, wanted) in [
            (&["h"][..], "livenessProbe: {exec: {command: [ls]}}", "inside the container"),
            (&["h"], "livenessProbe: {httpGet: {port: web}}", "host:port"),
            (&["h"], "livenessProbe: {}", "neither httpGet nor tcpSocket"),
            (&["h"], "livenessProbe: {httpGet: {port: 1}, periodSeconds: 0}", "interval is 0"),
            (&["h"], "livenessprobe: {httpGet: {port: 1}}", "livenessProbe"),
            (&[], "livenessProbe: {httpGet: {port: 1}}", "targets"),
            (&["h:x"], "livenessProbe: {httpGet: {port: 1}}", "neither host nor host:port"),
            (&["h"], "{}", "nothing is asked"),
        ] {
            let error = from_snippet(targets, yaml).expect_err(yaml);
            assert!(error.contains(wanted), "{yaml}: {error}");
        }
        let native = |url: &str| {
            let text = format!("{{service: orders, readiness: {{url: '{url}'}}}}");
            serde_saphyr::from_str::<ProbeConfig>(&text).unwrap().probes(None)
        };
        assert_eq!(native("tcp://db:5432").unwrap()[0].instance, "db:5432");
        assert_eq!(native("https://orders.example/readyz").unwrap()[0].instance, "orders.example:443");
        for url in ["ftp://h/", "readyz", "tcp://h"] {
            assert!(native(url).unwrap_err().starts_with("readiness: "), "{url}");
        }
    }
}
