//! Where targets come from: the configuration itself, files, a URL, DNS.
//!
//! Each source tells the pool its groups anew when they have changed. A source that fails keeps the groups it had, as
//! Prometheus does: a file being written is no reason to forget its targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::config::{ClientConfig, DnsSdConfig, FileSdConfig, HttpSdConfig, Job, TargetGroup};
use super::dns::{Kind, Record, Resolver};

/// Most groups one source may have.
const GROUPS_MAX: usize = 50_000;
/// Largest file of targets, bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// How often files are looked at for a change.
const FILE_LOOK: Duration = Duration::from_secs(2);
/// How often files are read when nothing seems to have changed, unless configured.
const FILE_REFRESH: Duration = Duration::from_secs(300);
/// How often a URL is asked, unless configured.
const HTTP_REFRESH: Duration = Duration::from_secs(60);
/// How often DNS is asked, unless configured.
const DNS_REFRESH: Duration = Duration::from_secs(30);

/// What a source found: its number in the job, and all of its groups.
pub type Found = (usize, Vec<TargetGroup>);

/// One source of targets.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files.
    File(FileSdConfig, PathBuf),
    /// A URL.
    Http(Box<(HttpSdConfig, ClientConfig)>, PathBuf),
    /// DNS.
    Dns(DnsSdConfig),
}

impl Source {
    /// The sources of a job, besides its static groups.
    pub fn of(job: &Job) -> Vec<Self> {
        let files = job.file_sd.iter().map(|config| Self::File(config.clone(), job.base.clone()));
        let urls = job.http_sd.iter().map(|config| Self::Http(Box::new(config.clone()), job.base.clone()));
        files.chain(urls).chain(job.dns_sd.iter().cloned().map(Self::Dns)).collect()
    }

    /// Looks for targets until it is stopped.
    pub async fn run(self, number: usize, job: String, found: Sender<Found>, stop: CancellationToken) {
        let work = async {
            match self {
                Self::File(config, base) => files(&config, &base, number, &job, &found).await,
                Self::Http(config, base) => urls(&config.0, &config.1, &base, number, &job, &found).await,
                Self::Dns(config) => names(&config, &Resolver::system(), number, &job, &found).await,
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Sends groups when they are others than before; `false` when nobody listens any more.
async fn tell(found: &Sender<Found>, number: usize, groups: Vec<TargetGroup>, before: &mut Option<Vec<TargetGroup>>) -> bool {
    if before.as_ref() == Some(&groups) {
        return true;
    }
    *before = Some(groups.clone());
    found.send((number, groups)).await.is_ok()
}

fn checked(groups: Vec<TargetGroup>) -> Result<Vec<TargetGroup>, String> {
    if groups.len() > GROUPS_MAX {
        return Err(format!("{} groups, {GROUPS_MAX} are the most", groups.len()));
    }
    Ok(groups)
}

/// The groups in a file: JSON or YAML by its ending.
pub fn read_file(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let length = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("{length} bytes, {FILE_BYTES_MAX} are the most"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let groups: Vec<TargetGroup> = if path.extension().is_some_and(|ending| ending == "json") {
        serde_json::from_str(&text).map_err(|e| e.to_string())?
    } else if text.trim().is_empty() {
        Vec::new()
    } else {
        serde_saphyr::from_str(&text).map_err(|e| e.to_string().lines().next().unwrap_or_default().to_owned())?
    };
    let mut groups = checked(groups)?;
    for group in &mut groups {
        group.labels.insert("__meta_filepath".to_owned(), path.display().to_string());
    }
    Ok(groups)
}

/// What tells that a file has changed.
type Stamp = (Option<std::time::SystemTime>, u64);

fn stamp(path: &Path) -> Stamp {
    std::fs::metadata(path).map_or((None, 0), |meta| (meta.modified().ok(), meta.len()))
}

async fn files(config: &FileSdConfig, base: &Path, number: usize, job: &str, found: &Sender<Found>) {
    let refresh = config.refresh_interval.map_or(FILE_REFRESH, |span| span.0);
    let mut known: BTreeMap<PathBuf, (Stamp, Vec<TargetGroup>)> = BTreeMap::new();
    let mut before = None;
    let mut since_refresh = Duration::ZERO;
    loop {
        let patterns: Vec<String> = config.files.iter().map(|file| base.join(file).display().to_string()).collect();
        let forced = since_refresh >= refresh;
        let mut last = std::mem::take(&mut known);
        let read = tokio::task::spawn_blocking(move || {
            let mut now = BTreeMap::new();
            let mut problems = Vec::new();
            for pattern in patterns {
                for path in glob::glob(&pattern).into_iter().flatten().flatten() {
                    let stamp = stamp(&path);
                    let old = last.remove(&path);
                    match old {
                        Some((known, groups)) if known == stamp && !forced => drop(now.insert(path, (stamp, groups))),
                        old => match read_file(&path) {
                            Ok(groups) => drop(now.insert(path, (stamp, groups))),
                            Err(reason) => {
                                problems.push(format!("{}: {reason}", path.display()));
                                // Its stamp is kept too: the same fault is told once.
                                now.insert(path, (stamp, old.map(|(_, groups)| groups).unwrap_or_default()));
                            }
                        },
                    }
                }
            }
            (now, problems)
        })
        .await;
        let Ok((now, problems)) = read else { return };
        for problem in problems {
            tracing::warn!(job, problem, "a file of targets cannot be read; its targets stay as they were");
        }
        known = now;
        since_refresh = if forced { Duration::ZERO } else { since_refresh + FILE_LOOK };
        let groups = known.values().flat_map(|(_, groups)| groups.iter().cloned()).collect();
        if !tell(found, number, groups, &mut before).await {
            return;
        }
        tokio::time::sleep(FILE_LOOK).await;
    }
}

async fn urls(config: &HttpSdConfig, client: &ClientConfig, base: &Path, number: usize, job: &str, found: &Sender<Found>) {
    let refresh = config.refresh_interval.map_or(HTTP_REFRESH, |span| span.0).max(Duration::from_secs(1));
    let client = match Client::new(client, base) {
        Ok(client) => client,
        Err(reason) => {
            tracing::error!(job, url = config.url, reason, "targets cannot be asked for");
            return;
        }
    };
    let mut before = None;
    loop {
        match from_url(&client, &config.url, refresh).await {
            Ok(groups) => {
                if !tell(found, number, groups, &mut before).await {
                    return;
                }
            }
            Err(reason) => tracing::warn!(job, url = config.url, reason, "targets could not be asked for; they stay as they were"),
        }
        tokio::time::sleep(refresh).await;
    }
}

async fn from_url(client: &Client, url: &str, refresh: Duration) -> Result<Vec<TargetGroup>, String> {
    let headers = [("accept", "application/json".to_owned()), ("x-prometheus-refresh-interval-seconds", refresh.as_secs_f64().to_string())];
    let answer = client.get(url, &headers, true, refresh.max(Duration::from_secs(5)), None).await?;
    if !answer.content_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
        return Err(format!("content type {:?}, expected application/json", answer.content_type));
    }
    let mut groups: Vec<TargetGroup> = checked(serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?)?;
    for group in &mut groups {
        group.labels.insert("__meta_url".to_owned(), url.to_owned());
    }
    Ok(groups)
}

async fn names(config: &DnsSdConfig, resolver: &Resolver, number: usize, job: &str, found: &Sender<Found>) {
    let refresh = config.refresh_interval.map_or(DNS_REFRESH, |span| span.0).max(Duration::from_secs(1));
    let kind = config.kind.as_deref().and_then(Kind::parse).unwrap_or(Kind::Srv);
    let mut known: BTreeMap<&str, TargetGroup> = BTreeMap::new();
    let mut before = None;
    loop {
        for name in &config.names {
            match resolver.lookup(name, kind).await {
                Ok(records) => drop(known.insert(name, group(name, kind, config.port, records))),
                Err(reason) => tracing::warn!(job, name, reason, "a name could not be resolved; its targets stay as they were"),
            }
        }
        // Each target of a name has labels of its own.
        let groups = known.values().flat_map(split).collect();
        if !tell(found, number, groups, &mut before).await {
            return;
        }
        tokio::time::sleep(refresh).await;
    }
}

fn group(name: &str, kind: Kind, port: Option<u16>, records: Vec<Record>) -> TargetGroup {
    let port = port.unwrap_or(0);
    let targets = records.into_iter().map(|record| match record {
        Record::Address(std::net::IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Record::Address(address) => format!("{address}:{port}"),
        Record::Host(host) => format!("{host}:{port}"),
        Record::Service(host, port) => format!("{host}:{port}"),
    });
    let label = match kind {
        Kind::Srv => "__meta_dns_srv_record_target",
        Kind::Mx => "__meta_dns_mx_record_target",
        Kind::Ns => "__meta_dns_ns_record_target",
        Kind::A | Kind::Aaaa => "",
    };
    let mut labels = BTreeMap::from([("__meta_dns_name".to_owned(), name.to_owned())]);
    if !label.is_empty() {
        labels.insert(label.to_owned(), String::new());
    }
    let mut targets: Vec<String> = targets.collect();
    targets.sort();
    TargetGroup { targets, labels }
}

/// One group a target, with the labels that tell host and port of the record.
fn split(group: &TargetGroup) -> impl Iterator<Item = TargetGroup> {
    let labels = group.labels.clone();
    group.targets.clone().into_iter().map(move |target| {
        let (host, port) = target.rsplit_once(':').unwrap_or((&target, ""));
        let mut labels = labels.clone();
        for (name, value) in &mut labels {
            if name.ends_with("_record_target") {
                // With the dot at its end, as it stands in the record.
                *value = format!("{host}.");
            }
        }
        if labels.contains_key("__meta_dns_srv_record_target") {
            labels.insert("__meta_dns_srv_record_port".to_owned(), port.to_owned());
        }
        TargetGroup { targets: vec![target.clone()], labels }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_both_kinds() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.json", r#"[{"targets": ["h:1"], "labels": {"a": "b"}}]"#), ("b.yml", "- targets: ['h:2']\n"), ("c.yaml", "")] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let groups = read_file(&path).unwrap();
            assert!(groups.iter().all(|group| group.labels["__meta_filepath"] == path.display().to_string()));
            assert_eq!(groups.len(), usize::from(name != "c.yaml"));
        }
        let path = folder.path().join("bad.json");
        std::fs::write(&path, r#"[{"target": ["h:1"]}]"#).unwrap();
        assert!(read_file(&path).unwrap_err().contains("unknown field `target`"));
    }

    #[test]
    fn records_become_targets() {
        let groups: Vec<TargetGroup> =
            split(&group("_http._tcp.x", Kind::Srv, None, vec![Record::Service("b.x".into(), 81), Record::Service("a.x".into(), 80)])).collect();
        assert_eq!(groups[0].targets, ["a.x:80"]);
        assert_eq!(groups[0].labels["__meta_dns_srv_record_target"], "a.x.");
        assert_eq!(groups[0].labels["__meta_dns_srv_record_port"], "80");
        let groups: Vec<TargetGroup> = split(&group("x", Kind::Aaaa, Some(9), vec![Record::Address("::1".parse().unwrap())])).collect();
        assert_eq!(groups[0].targets, ["[::1]:9"]);
        assert_eq!(groups[0].labels.len(), 1);
    }

    #[tokio::test]
    async fn changed_files_are_told_and_broken_ones_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, r#"[{"targets": ["h:1"]}]"#).unwrap();
        let config = FileSdConfig { files: vec!["*.json".to_owned()], refresh_interval: None };
        let (sender, mut found) = tokio::sync::mpsc::channel(4);
        let stop = CancellationToken::new();
        let source = Source::File(config, folder.path().to_path_buf());
        let task = tokio::spawn(source.run(3, "a".to_owned(), sender, stop.clone()));
        let (number, groups) = found.recv().await.unwrap();
        assert_eq!((number, &groups[0].targets[..]), (3, &["h:1".to_owned()][..]));
        std::fs::write(&path, "[{").unwrap();
        std::fs::write(folder.path().join("b.json"), r#"[{"targets": ["h:22"]}]"#).unwrap();
        let (_, groups) = found.recv().await.unwrap();
        let targets: Vec<&str> = groups.iter().flat_map(|group| group.targets.iter().map(String::as_str)).collect();
        assert_eq!(targets, ["h:1", "h:22"]);
        stop.cancel();
        task.await.unwrap();
    }
}
