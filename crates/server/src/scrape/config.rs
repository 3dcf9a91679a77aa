//! A job of `scrape_configs`, with Prometheus' keys and defaults.
//!
//! What is not served (discovery through vendors' interfaces, OAuth 2) is read all the same, so that it can be named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use skopos_ingest::relabel::{Relabel, RelabelConfig, compile};
use skopos_reliability::duration::parse_duration;

/// A duration as Prometheus writes it: `1m30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let millis = parse_duration(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(Duration::from_millis(millis.unsigned_abs())))
    }
}

/// A number of bytes with a unit: `15MB`; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// Reads `15MB`, `1GiB`, `512KB`, `0`.
    ///
    /// # Errors
    /// When it is no size, with what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fail = || format!("`{text}` is no size: expected a number with the unit B, KB, MB, GB, TB, PB or EB, as `15MB`");
        if text == "0" {
            return Ok(Self(0));
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| fail())?;
        let shift = match &text[digits..] {
            "B" => 0,
            "KB" | "KiB" => 10,
            "MB" | "MiB" => 20,
            "GB" | "GiB" => 30,
            "TB" | "TiB" => 40,
            "PB" | "PiB" => 50,
            "EB" | "EiB" => 60,
            _ => return Err(fail()),
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(fail)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A format a target may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum ScrapeProtocol {
    /// Protobuf, with native histograms and starts.
    PrometheusProto,
    /// OpenMetrics 0.0.1.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetricsText0,
    /// OpenMetrics 1.0.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetricsText1,
    /// Prometheus' text, version 0.0.4.
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText0,
    /// Prometheus' text, version 1.0.0.
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText1,
}

impl ScrapeProtocol {
    /// What is asked for unless the configuration says something else.
    pub const DEFAULTS: [Self; 4] = [Self::OpenMetricsText1, Self::OpenMetricsText0, Self::PrometheusText1, Self::PrometheusText0];

    fn media(self) -> &'static str {
        match self {
            Self::PrometheusProto => "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            Self::OpenMetricsText0 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText1 => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            Self::PrometheusText0 => "text/plain;version=0.0.4",
            Self::PrometheusText1 => "text/plain;version=1.0.0;escaping=allow-utf-8",
        }
    }
}

/// The header `Accept` for formats, best first.
pub fn accept_header(protocols: &[ScrapeProtocol]) -> String {
    let weight = protocols.len() + 1;
    let mut parts: Vec<String> = protocols.iter().enumerate().map(|(i, p)| format!("{};q=0.{}", p.media(), weight - i)).collect();
    parts.push("*/*;q=0.1".to_owned());
    parts.join(",")
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// User and password.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    /// User.
    pub username: String,
    /// File with the user.
    pub username_file: Option<PathBuf>,
    /// Password.
    pub password: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
}

/// Credentials of the header `Authorization`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// Kind; `Bearer` when absent.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The credentials.
    pub credentials: Option<String>,
    /// File with the credentials.
    pub credentials_file: Option<PathBuf>,
}

/// TLS of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificates trusted, PEM.
    pub ca: Option<String>,
    /// File with them.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, PEM.
    pub cert: Option<String>,
    /// File with it.
    pub cert_file: Option<PathBuf>,
    /// The client's key, PEM.
    pub key: Option<String>,
    /// File with it.
    pub key_file: Option<PathBuf>,
    /// Name expected in the server's certificate.
    pub server_name: Option<String>,
    /// Take any certificate.
    pub insecure_skip_verify: bool,
    /// `TLS10` to `TLS13`.
    pub min_version: Option<String>,
    /// `TLS10` to `TLS13`.
    pub max_version: Option<String>,
}

/// A header sent with each request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderConfig {
    /// Values.
    pub values: Vec<String>,
    /// Values that are not to be shown.
    pub secrets: Vec<String>,
    /// Files with values.
    pub files: Vec<PathBuf>,
}

/// Anything; for keys that are read only to be named.
pub type Unserved = Option<serde::de::IgnoredAny>;

/// Targets with labels, as they stand in a configuration or are discovered.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetGroup {
    /// `host:port` of each.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: BTreeMap<String, String>,
}

/// Targets in files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// Paths; the last part may have a `*`.
    pub files: Vec<String>,
    /// How often they are read even without a change.
    #[serde(default)]
    pub refresh_interval: Option<Span>,
}

/// Targets a DNS name stands for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsSdConfig {
    /// Names.
    pub names: Vec<String>,
    /// `SRV`, `A`, `AAAA`, `MX` or `NS`; `SRV` when absent.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Port of the targets; needed for all but `SRV`.
    #[serde(default)]
    pub port: Option<u16>,
    /// How often they are asked for.
    #[serde(default)]
    pub refresh_interval: Option<Span>,
}

/// The keys of everything that sends HTTP requests, and those of its own.
macro_rules! with_http_keys {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[allow(missing_docs, reason = "Prometheus' own documentation describes its keys")]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $kind,)*
            pub basic_auth: Option<BasicAuth>,
            pub authorization: Option<Authorization>,
            pub bearer_token: Option<String>,
            pub bearer_token_file: Option<PathBuf>,
            pub oauth2: Unserved,
            pub tls_config: TlsConfig,
            pub follow_redirects: Option<bool>,
            pub enable_http2: Option<bool>,
            pub proxy_url: Option<String>,
            pub no_proxy: Option<String>,
            pub proxy_from_environment: bool,
            pub proxy_connect_header: Unserved,
            pub http_headers: BTreeMap<String, HeaderConfig>,
        }

        impl $name {
            /// The keys that make a client.
            pub fn client(&self) -> ClientConfig {
                ClientConfig {
                    basic_auth: self.basic_auth.clone(),
                    authorization: self.authorization.clone(),
                    bearer_token: self.bearer_token.clone(),
                    bearer_token_file: self.bearer_token_file.clone(),
                    oauth2: self.oauth2.is_some(),
                    tls_config: self.tls_config.clone(),
                    follow_redirects: self.follow_redirects.unwrap_or(true),
                    enable_http2: self.enable_http2.unwrap_or(true),
                    proxy_url: self.proxy_url.clone(),
                    no_proxy: self.no_proxy.clone(),
                    proxy_from_environment: self.proxy_from_environment,
                    http_headers: self.http_headers.clone(),
                }
            }
        }
    };
}

/// How requests are sent.
#[derive(Debug, Clone, Default)]
pub struct ClientConfig {
    /// User and password.
    pub basic_auth: Option<BasicAuth>,
    /// Credentials.
    pub authorization: Option<Authorization>,
    /// A bearer token, the old way.
    pub bearer_token: Option<String>,
    /// File with it.
    pub bearer_token_file: Option<PathBuf>,
    /// Whether OAuth 2 is asked for.
    pub oauth2: bool,
    /// TLS.
    pub tls_config: TlsConfig,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be used.
    pub enable_http2: bool,
    /// Proxy.
    pub proxy_url: Option<String>,
    /// Hosts that are reached without it.
    pub no_proxy: Option<String>,
    /// Take the proxy from the environment.
    pub proxy_from_environment: bool,
    /// More headers.
    pub http_headers: BTreeMap<String, HeaderConfig>,
}

impl ClientConfig {
    /// What contradicts itself.
    ///
    /// # Errors
    /// With the keys.
    pub fn check(&self) -> Result<(), String> {
        let ways =
            [self.basic_auth.is_some(), self.authorization.is_some(), self.bearer_token.is_some() || self.bearer_token_file.is_some(), self.oauth2];
        if ways.iter().filter(|given| **given).count() > 1 {
            return Err("at most one of basic_auth, authorization, bearer_token and oauth2 may be given".to_owned());
        }
        if self.bearer_token.is_some() && self.bearer_token_file.is_some() {
            return Err("at most one of bearer_token and bearer_token_file may be given".to_owned());
        }
        if let Some(basic) = &self.basic_auth {
            if !basic.username.is_empty() && basic.username_file.is_some() {
                return Err("basic_auth: at most one of username and username_file may be given".to_owned());
            }
            if basic.password.is_some() && basic.password_file.is_some() {
                return Err("basic_auth: at most one of password and password_file may be given".to_owned());
            }
        }
        if let Some(authorization) = &self.authorization {
            if authorization.credentials.is_some() && authorization.credentials_file.is_some() {
                return Err("authorization: at most one of credentials and credentials_file may be given".to_owned());
            }
            if authorization.kind.as_deref().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("basic")) {
                return Err("authorization: the type basic has a key of its own, basic_auth".to_owned());
            }
        }
        let tls = &self.tls_config;
        for (inline, file, key) in [(&tls.ca, &tls.ca_file, "ca"), (&tls.cert, &tls.cert_file, "cert"), (&tls.key, &tls.key_file, "key")] {
            if inline.is_some() && file.is_some() {
                return Err(format!("tls_config: at most one of {key} and {key}_file may be given"));
            }
        }
        if (tls.cert.is_some() || tls.cert_file.is_some()) != (tls.key.is_some() || tls.key_file.is_some()) {
            return Err("tls_config: a certificate needs its key, and a key its certificate".to_owned());
        }
        for (key, version) in [("min_version", &tls.min_version), ("max_version", &tls.max_version)] {
            if version.as_deref().is_some_and(|v| !matches!(v, "TLS10" | "TLS11" | "TLS12" | "TLS13")) {
                return Err(format!("tls_config: {key}: expected TLS10, TLS11, TLS12 or TLS13"));
            }
        }
        if self.proxy_from_environment && (self.proxy_url.is_some() || self.no_proxy.is_some()) {
            return Err("proxy_from_environment excludes proxy_url and no_proxy".to_owned());
        }
        if self.no_proxy.is_some() && self.proxy_url.is_none() {
            return Err("no_proxy needs proxy_url".to_owned());
        }
        const RESERVED: [&str; 4] = ["authorization", "host", "content-length", "user-agent"];
        if let Some(name) = self.http_headers.keys().find(|name| RESERVED.contains(&name.to_ascii_lowercase().as_str())) {
            return Err(format!("http_headers: {name} cannot be set"));
        }
        Ok(())
    }
}

with_http_keys! {
    /// Targets from a URL that answers with JSON.
    pub struct HttpSdConfig {
        pub url: String,
        pub refresh_interval: Option<Span>,
    }
}

with_http_keys! {
    /// One job, with Prometheus' keys. Keys that are absent have the values of the section `global`.
    pub struct ScrapeJobConfig {
        pub job_name: String,
        pub scrape_interval: Option<Span>,
        pub scrape_timeout: Option<Span>,
        pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
        pub fallback_scrape_protocol: Option<ScrapeProtocol>,
        pub scrape_native_histograms: Option<bool>,
        pub always_scrape_classic_histograms: Option<bool>,
        pub convert_classic_histograms_to_nhcb: Option<bool>,
        pub extra_scrape_metrics: Option<bool>,
        pub scrape_failure_log_file: Unserved,
        pub metrics_path: Option<String>,
        pub honor_labels: bool,
        pub honor_timestamps: Option<bool>,
        pub track_timestamps_staleness: bool,
        pub scheme: Scheme,
        pub params: BTreeMap<String, Vec<String>>,
        pub enable_compression: Option<bool>,
        pub body_size_limit: Option<Size>,
        pub sample_limit: Option<u64>,
        pub target_limit: Option<u64>,
        pub label_limit: Option<u64>,
        pub label_name_length_limit: Option<u64>,
        pub label_value_length_limit: Option<u64>,
        pub keep_dropped_targets: Option<u64>,
        pub native_histogram_bucket_limit: Option<u64>,
        pub native_histogram_min_bucket_factor: Option<f64>,
        pub metric_name_validation_scheme: Option<String>,
        pub metric_name_escaping_scheme: Option<String>,
        pub relabel_configs: Vec<RelabelConfig>,
        pub metric_relabel_configs: Vec<RelabelConfig>,
        pub static_configs: Vec<TargetGroup>,
        pub file_sd_configs: Vec<FileSdConfig>,
        pub http_sd_configs: Vec<HttpSdConfig>,
        pub dns_sd_configs: Vec<DnsSdConfig>,
        pub aws_sd_configs: Unserved,
        pub azure_sd_configs: Unserved,
        pub consul_sd_configs: Unserved,
        pub digitalocean_sd_configs: Unserved,
        pub docker_sd_configs: Unserved,
        pub dockerswarm_sd_configs: Unserved,
        pub ec2_sd_configs: Unserved,
        pub ecs_sd_configs: Unserved,
        pub eureka_sd_configs: Unserved,
        pub gce_sd_configs: Unserved,
        pub hetzner_sd_configs: Unserved,
        pub ionos_sd_configs: Unserved,
        pub kubernetes_sd_configs: Unserved,
        pub kuma_sd_configs: Unserved,
        pub lightsail_sd_configs: Unserved,
        pub linode_sd_configs: Unserved,
        pub marathon_sd_configs: Unserved,
        pub nerve_sd_configs: Unserved,
        pub nomad_sd_configs: Unserved,
        pub oci_sd_configs: Unserved,
        pub openstack_sd_configs: Unserved,
        pub outscale_sd_configs: Unserved,
        pub ovhcloud_sd_configs: Unserved,
        pub puppetdb_sd_configs: Unserved,
        pub scaleway_sd_configs: Unserved,
        pub serverset_sd_configs: Unserved,
        pub stackit_sd_configs: Unserved,
        pub triton_sd_configs: Unserved,
        pub uyuni_sd_configs: Unserved,
        pub vultr_sd_configs: Unserved,
    }
}

/// Values of jobs that state none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "Prometheus' own documentation describes its keys")]
pub struct GlobalConfig {
    pub scrape_interval: Option<Span>,
    pub scrape_timeout: Option<Span>,
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    pub evaluation_interval: Option<Span>,
    pub rule_query_offset: Option<Span>,
    pub query_log_file: Unserved,
    pub scrape_failure_log_file: Unserved,
    pub external_labels: BTreeMap<String, String>,
    pub body_size_limit: Option<Size>,
    pub sample_limit: Option<u64>,
    pub target_limit: Option<u64>,
    pub label_limit: Option<u64>,
    pub label_name_length_limit: Option<u64>,
    pub label_value_length_limit: Option<u64>,
    pub keep_dropped_targets: Option<u64>,
    pub metric_name_validation_scheme: Option<String>,
    pub metric_name_escaping_scheme: Option<String>,
    pub scrape_native_histograms: Option<bool>,
    pub always_scrape_classic_histograms: Option<bool>,
    pub convert_classic_histograms_to_nhcb: Option<bool>,
    pub extra_scrape_metrics: Option<bool>,
}

/// Interval between scrapes unless stated.
const INTERVAL: Duration = Duration::from_secs(60);
/// Longest a scrape may take unless stated.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A limit; `None` for none.
fn limit(own: Option<u64>, global: Option<u64>) -> Option<usize> {
    own.or(global).filter(|limit| *limit > 0).map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Limits of what one scrape may bring; over one of them the whole scrape fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// Bytes of the body after decompression.
    pub body_size: Option<usize>,
    /// Samples after relabelling.
    pub samples: Option<usize>,
    /// Labels of a series.
    pub labels: Option<usize>,
    /// Bytes of a label's name.
    pub label_name_length: Option<usize>,
    /// Bytes of a label's value.
    pub label_value_length: Option<usize>,
    /// Buckets of a native histogram.
    pub histogram_buckets: Option<usize>,
}

/// A job ready to run.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the keys of the configuration")]
pub struct Job {
    pub name: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub protocols: Vec<ScrapeProtocol>,
    pub fallback: Option<ScrapeProtocol>,
    pub native_histograms: bool,
    pub classic_histograms: bool,
    pub custom_buckets: bool,
    pub extra_metrics: bool,
    pub metrics_path: String,
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    pub track_timestamps_staleness: bool,
    pub scheme: Scheme,
    pub params: BTreeMap<String, Vec<String>>,
    pub compression: bool,
    pub limits: ScrapeLimits,
    pub target_limit: Option<usize>,
    pub relabel: Vec<Relabel>,
    pub metric_relabel: Vec<Relabel>,
    pub client: ClientConfig,
    pub static_groups: Vec<TargetGroup>,
    pub file_sd: Vec<FileSdConfig>,
    pub http_sd: Vec<(HttpSdConfig, ClientConfig)>,
    pub dns_sd: Vec<DnsSdConfig>,
    /// Folder that relative paths begin at.
    pub base: PathBuf,
    /// As the API shows it.
    pub yaml: String,
}

impl ScrapeJobConfig {
    /// Keys of this job that are read and not served.
    pub fn unserved(&self) -> Vec<&'static str> {
        let discovery = [
            ("aws_sd_configs", &self.aws_sd_configs),
            ("azure_sd_configs", &self.azure_sd_configs),
            ("consul_sd_configs", &self.consul_sd_configs),
            ("digitalocean_sd_configs", &self.digitalocean_sd_configs),
            ("docker_sd_configs", &self.docker_sd_configs),
            ("dockerswarm_sd_configs", &self.dockerswarm_sd_configs),
            ("ec2_sd_configs", &self.ec2_sd_configs),
            ("ecs_sd_configs", &self.ecs_sd_configs),
            ("eureka_sd_configs", &self.eureka_sd_configs),
            ("gce_sd_configs", &self.gce_sd_configs),
            ("hetzner_sd_configs", &self.hetzner_sd_configs),
            ("ionos_sd_configs", &self.ionos_sd_configs),
            ("kubernetes_sd_configs", &self.kubernetes_sd_configs),
            ("kuma_sd_configs", &self.kuma_sd_configs),
            ("lightsail_sd_configs", &self.lightsail_sd_configs),
            ("linode_sd_configs", &self.linode_sd_configs),
            ("marathon_sd_configs", &self.marathon_sd_configs),
            ("nerve_sd_configs", &self.nerve_sd_configs),
            ("nomad_sd_configs", &self.nomad_sd_configs),
            ("oci_sd_configs", &self.oci_sd_configs),
            ("openstack_sd_configs", &self.openstack_sd_configs),
            ("outscale_sd_configs", &self.outscale_sd_configs),
            ("ovhcloud_sd_configs", &self.ovhcloud_sd_configs),
            ("puppetdb_sd_configs", &self.puppetdb_sd_configs),
            ("scaleway_sd_configs", &self.scaleway_sd_configs),
            ("serverset_sd_configs", &self.serverset_sd_configs),
            ("stackit_sd_configs", &self.stackit_sd_configs),
            ("triton_sd_configs", &self.triton_sd_configs),
            ("uyuni_sd_configs", &self.uyuni_sd_configs),
            ("vultr_sd_configs", &self.vultr_sd_configs),
        ];
        let others = [
            ("oauth2", &self.oauth2),
            ("proxy_connect_header", &self.proxy_connect_header),
            ("scrape_failure_log_file", &self.scrape_failure_log_file),
        ];
        let mut keys: Vec<&'static str> = discovery.into_iter().chain(others).filter(|(_, given)| given.is_some()).map(|(key, _)| key).collect();
        if self.native_histogram_min_bucket_factor.is_some_and(|factor| factor > 1.0) {
            keys.push("native_histogram_min_bucket_factor");
        }
        if self.tls_config.server_name.is_some() {
            keys.push("tls_config.server_name");
        }
        keys
    }

    /// The job with the values of `global` where it states none. `base` is the folder of its file.
    ///
    /// # Errors
    /// With the key that is wrong, and what was expected.
    pub fn job(&self, global: &GlobalConfig, base: &Path) -> Result<Job, String> {
        if self.job_name.is_empty() {
            return Err("job_name is missing or empty".to_owned());
        }
        let interval = self.scrape_interval.or(global.scrape_interval).map_or(INTERVAL, |span| span.0);
        let interval = if interval.is_zero() { INTERVAL } else { interval };
        // A timeout that is not stated follows an interval shorter than it.
        let timeout = match self.scrape_timeout {
            Some(own) => own.0,
            None => global.scrape_timeout.map_or(TIMEOUT, |span| span.0).min(interval),
        };
        if timeout > interval {
            return Err(format!("scrape_timeout of {timeout:?} is longer than scrape_interval of {interval:?}"));
        }
        validation_scheme(
            "metric_name_validation_scheme",
            self.metric_name_validation_scheme.as_deref().or(global.metric_name_validation_scheme.as_deref()),
            self.metric_name_escaping_scheme.as_deref().or(global.metric_name_escaping_scheme.as_deref()),
        )?;
        let native = self.scrape_native_histograms.or(global.scrape_native_histograms).unwrap_or(false);
        let mut protocols = match self.scrape_protocols.as_ref().or(global.scrape_protocols.as_ref()) {
            Some(stated) => stated.clone(),
            None => ScrapeProtocol::DEFAULTS.to_vec(),
        };
        check_protocols(&protocols)?;
        if native && self.scrape_protocols.is_none() && global.scrape_protocols.is_none() {
            protocols.insert(0, ScrapeProtocol::PrometheusProto);
        }
        let client = self.client();
        client.check()?;
        // With relabelling a URL may stand here that becomes a parameter, as for the Blackbox exporter; what it leaves as an
        // address is checked target by target.
        for group in self.static_configs.iter().filter(|_| self.relabel_configs.is_empty()) {
            if let Some(url) = group.targets.iter().find(|target| target.contains('/')) {
                return Err(format!("static_configs: target {url:?} is no host:port"));
            }
        }
        for discovery in &self.file_sd_configs {
            if discovery.files.is_empty() {
                return Err("file_sd_configs: files is empty".to_owned());
            }
            if let Some(path) = discovery.files.iter().find(|path| !file_pattern(path)) {
                return Err(format!(
                    "file_sd_configs: {path:?}: expected a path ending in .json, .yml or .yaml, with at most one * in its last part"
                ));
            }
        }
        for discovery in &self.dns_sd_configs {
            let kind = discovery.kind.as_deref().unwrap_or("SRV").to_ascii_uppercase();
            if discovery.names.is_empty() {
                return Err("dns_sd_configs: names is empty".to_owned());
            }
            match kind.as_str() {
                "SRV" => {}
                "A" | "AAAA" | "MX" | "NS" if discovery.port.is_some() => {}
                "A" | "AAAA" | "MX" | "NS" => return Err(format!("dns_sd_configs: records of the type {kind} need a port")),
                other => return Err(format!("dns_sd_configs: type {other:?}: expected SRV, A, AAAA, MX or NS")),
            }
        }
        let mut http_sd = Vec::new();
        for discovery in &self.http_sd_configs {
            let url = reqwest::Url::parse(&discovery.url).map_err(|e| format!("http_sd_configs: url {:?}: {e}", discovery.url))?;
            if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
                return Err(format!("http_sd_configs: url {:?}: expected http or https and a host", discovery.url));
            }
            let client = discovery.client();
            client.check().map_err(|e| format!("http_sd_configs: {e}"))?;
            http_sd.push((discovery.clone(), client));
        }
        Ok(Job {
            name: self.job_name.clone(),
            interval,
            timeout,
            protocols,
            fallback: self.fallback_scrape_protocol,
            native_histograms: native,
            classic_histograms: self.always_scrape_classic_histograms.or(global.always_scrape_classic_histograms).unwrap_or(false),
            custom_buckets: self.convert_classic_histograms_to_nhcb.or(global.convert_classic_histograms_to_nhcb).unwrap_or(false),
            extra_metrics: self.extra_scrape_metrics.or(global.extra_scrape_metrics).unwrap_or(false),
            metrics_path: self.metrics_path.clone().unwrap_or_else(|| "/metrics".to_owned()),
            honor_labels: self.honor_labels,
            honor_timestamps: self.honor_timestamps.unwrap_or(true),
            track_timestamps_staleness: self.track_timestamps_staleness,
            scheme: self.scheme,
            params: self.params.clone(),
            compression: self.enable_compression.unwrap_or(true),
            limits: ScrapeLimits {
                body_size: limit(self.body_size_limit.map(|size| size.0), global.body_size_limit.map(|size| size.0)),
                samples: limit(self.sample_limit, global.sample_limit),
                labels: limit(self.label_limit, global.label_limit),
                label_name_length: limit(self.label_name_length_limit, global.label_name_length_limit),
                label_value_length: limit(self.label_value_length_limit, global.label_value_length_limit),
                histogram_buckets: limit(self.native_histogram_bucket_limit, None),
            },
            target_limit: limit(self.target_limit, global.target_limit),
            relabel: compile(&self.relabel_configs).map_err(|e| format!("relabel_configs: {e}"))?,
            metric_relabel: compile(&self.metric_relabel_configs).map_err(|e| format!("metric_relabel_configs: {e}"))?,
            client,
            static_groups: self.static_configs.clone(),
            file_sd: self.file_sd_configs.clone(),
            http_sd,
            dns_sd: self.dns_sd_configs.clone(),
            base: base.to_path_buf(),
            yaml: String::new(),
        })
    }
}

/// Formats are named once each.
///
/// # Errors
/// With the one that is named twice, or that there is none.
pub fn check_protocols(protocols: &[ScrapeProtocol]) -> Result<(), String> {
    if protocols.is_empty() {
        return Err("scrape_protocols is empty".to_owned());
    }
    let mut seen = BTreeSet::new();
    match protocols.iter().find(|protocol| !seen.insert(**protocol)) {
        Some(twice) => Err(format!("scrape_protocols: {twice:?} is named twice")),
        None => Ok(()),
    }
}

/// Checks which characters names may have, and how others are written.
///
/// # Errors
/// With the key and what was expected.
pub fn validation_scheme(key: &str, validation: Option<&str>, escaping: Option<&str>) -> Result<(), String> {
    let validation = validation.unwrap_or("utf8");
    if !matches!(validation, "utf8" | "legacy") {
        return Err(format!("{key}: expected utf8 or legacy, found {validation:?}"));
    }
    match escaping {
        None | Some("underscores" | "dots" | "values") => Ok(()),
        Some("allow-utf-8") if validation == "utf8" => Ok(()),
        Some("allow-utf-8") => Err("metric_name_escaping_scheme allow-utf-8 needs metric_name_validation_scheme utf8".to_owned()),
        Some(other) => Err(format!("metric_name_escaping_scheme: expected allow-utf-8, underscores, dots or values, found {other:?}")),
    }
}

/// Whether a path is one of file discovery: an ending it reads, and a `*` in its last part only.
fn file_pattern(path: &str) -> bool {
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
    !folder.contains('*') && last.matches('*').count() <= 1 && [".json", ".yml", ".yaml"].iter().any(|ending| last.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("15MB", Some(15 << 20)),
            ("1GiB", Some(1 << 30)),
            ("7B", Some(7)),
            ("100", None),
            ("MB", None),
            ("-1GB", None),
            ("99999999EB", None),
        ] {
            assert_eq!(Size::parse(text).ok().map(|s| s.0), bytes, "{text}");
        }
    }

    #[test]
    fn formats_are_asked_for_in_their_order() {
        assert_eq!(
            accept_header(&[ScrapeProtocol::PrometheusProto, ScrapeProtocol::PrometheusText0]),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
    }

    fn job(yaml: &str, global: &str) -> Result<Job, String> {
        let global: GlobalConfig =
            if global.is_empty() { GlobalConfig::default() } else { serde_saphyr::from_str(global).map_err(|e| e.to_string())? };
        let config: ScrapeJobConfig = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        config.job(&global, Path::new("."))
    }

    #[test]
    fn what_is_absent_is_taken_from_global() {
        let one = job(
            "job_name: a\nlabel_limit: 3\nscrape_native_histograms: true\n",
            "scrape_interval: 5s\nsample_limit: 10\nlabel_limit: 9\nbody_size_limit: 1MB\n",
        )
        .unwrap();
        assert_eq!((one.interval, one.timeout), (Duration::from_secs(5), Duration::from_secs(5)), "the usual timeout is longer than the interval");
        assert_eq!((one.limits.samples, one.limits.labels, one.limits.body_size), (Some(10), Some(3), Some(1 << 20)));
        assert_eq!(one.protocols[0], ScrapeProtocol::PrometheusProto);
        let two = job("job_name: a\n", "").unwrap();
        assert_eq!((two.interval, two.timeout, two.limits), (INTERVAL, TIMEOUT, ScrapeLimits::default()));
        assert_eq!(two.protocols, ScrapeProtocol::DEFAULTS);
    }

    #[test]
    fn unserved_keys_are_named() {
        let config: ScrapeJobConfig = serde_saphyr::from_str("job_name: a\nconsul_sd_configs: [{server: 'h:1'}]\noauth2: {client_id: x}\n").unwrap();
        assert_eq!(config.unserved(), ["consul_sd_configs", "oauth2"]);
    }
}
