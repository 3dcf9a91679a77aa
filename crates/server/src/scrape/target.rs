//! From what a discovery says to a target: relabelling, and what its reserved labels mean.

use std::collections::BTreeMap;
use std::time::Duration;

use skopos_ingest::relabel::{LabelMap, relabel};
use skopos_model::Labels;
use skopos_model::labels::METRIC_NAME;
use skopos_reliability::duration::{format_duration, parse_duration};

use super::config::{Job, TargetGroup};

/// Something to scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Labels of its series: `job`, `instance` and those that discovery and relabelling gave.
    pub labels: Vec<(String, String)>,
    /// Labels before relabelling.
    pub discovered: BTreeMap<String, String>,
    /// What is asked for.
    pub url: String,
    /// Time between scrapes.
    pub interval: Duration,
    /// Longest a scrape may take.
    pub timeout: Duration,
}

impl Target {
    /// Tells it from the others of its job.
    pub fn key(&self) -> String {
        format!("{} {:016x}", self.url, Labels::new(self.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))).stable_hash())
    }

    /// The labels of one of the series that tell about the scrape itself.
    pub fn own(&self, name: &str) -> Labels {
        Labels::new(self.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([(METRIC_NAME, name)]))
    }
}

/// The targets of groups, the labels of those that were dropped, and what is wrong with the rest.
#[derive(Debug, Default)]
pub struct Targets {
    /// To be scraped.
    pub active: Vec<Target>,
    /// Dropped by relabelling: their labels before it.
    pub dropped: Vec<BTreeMap<String, String>>,
    /// Why others are none.
    pub problems: Vec<String>,
}

/// Turns groups into targets. The same target found twice counts once.
pub fn targets<'g>(job: &Job, groups: impl IntoIterator<Item = &'g TargetGroup>) -> Targets {
    let mut out = Targets::default();
    let mut seen = std::collections::HashSet::new();
    for group in groups {
        for address in &group.targets {
            let mut discovered: LabelMap = group.labels.clone();
            discovered.insert("__address__".to_owned(), address.clone());
            match target(job, discovered) {
                Ok(Found::Target(target)) => {
                    if seen.insert(target.key()) {
                        out.active.push(target);
                    }
                }
                Ok(Found::Dropped(discovered)) => out.dropped.push(discovered),
                Err(reason) => out.problems.push(format!("target {address:?} of job {:?}: {reason}", job.name)),
            }
        }
    }
    out
}

enum Found {
    Target(Target),
    Dropped(BTreeMap<String, String>),
}

fn target(job: &Job, mut labels: LabelMap) -> Result<Found, String> {
    let millis = |span: Duration| format_duration(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
    let mut defaults = vec![
        ("job".to_owned(), job.name.clone()),
        ("__scrape_interval__".to_owned(), millis(job.interval)),
        ("__scrape_timeout__".to_owned(), millis(job.timeout)),
        ("__metrics_path__".to_owned(), job.metrics_path.clone()),
        ("__scheme__".to_owned(), job.scheme.as_str().to_owned()),
    ];
    defaults.extend(job.params.iter().filter_map(|(name, values)| Some((format!("__param_{name}"), values.first()?.clone()))));
    for (name, value) in defaults {
        if labels.get(&name).is_none_or(String::is_empty) {
            labels.insert(name, value);
        }
    }
    let discovered = labels.clone();
    if !relabel(&job.relabel, &mut labels) {
        return Ok(Found::Dropped(discovered));
    }
    let get = |labels: &LabelMap, name: &str| labels.get(name).cloned().unwrap_or_default();
    let address = get(&labels, "__address__");
    if address.is_empty() {
        return Err("relabelling left no address".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{address:?} is no host:port"));
    }
    let span = |name: &str| {
        let text = get(&labels, name);
        match parse_duration(&text) {
            Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis.unsigned_abs())),
            Ok(_) => Err(format!("{name} is zero")),
            Err(reason) => Err(format!("{name}: {reason}")),
        }
    };
    let (interval, timeout) = (span("__scrape_interval__")?, span("__scrape_timeout__")?);
    if timeout > interval {
        return Err(format!("its timeout of {timeout:?} is longer than its interval of {interval:?}"));
    }
    let url = url(job, &labels, &address)?;
    if labels.get("instance").is_none_or(String::is_empty) {
        labels.insert("instance".to_owned(), address);
    }
    let labels = labels.into_iter().filter(|(name, value)| !name.starts_with("__") && !value.is_empty()).collect();
    Ok(Found::Target(Target { labels, discovered, url, interval, timeout }))
}

fn url(job: &Job, labels: &LabelMap, address: &str) -> Result<String, String> {
    let get = |name: &str| labels.get(name).map_or("", String::as_str);
    let path = get("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let text = format!("{}://{address}{slash}{path}", get("__scheme__"));
    let mut url = reqwest::Url::parse(&text).map_err(|e| format!("{text:?} is no URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme {:?} is not http or https", url.scheme()));
    }
    let mut params: BTreeMap<String, Vec<String>> = job.params.clone();
    for (name, value) in labels.iter().filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value))) {
        // The first value is the label's: relabelling may have changed it.
        let values = params.entry(name.to_owned()).or_default();
        match values.first_mut() {
            Some(first) => first.clone_from(value),
            None => values.push(value.clone()),
        }
    }
    if params.values().any(|values| !values.is_empty()) {
        let mut pairs = url.query_pairs_mut();
        for (name, values) in &params {
            for value in values {
                pairs.append_pair(name, value);
            }
        }
    }
    Ok(url.to_string())
}

/// The labels of a scraped series together with its target's. The target's win, and the series' own of the same names
/// are kept as `exported_…`, unless they are honoured.
pub fn merged(scraped: &Labels, target: &[(String, String)], honor: bool) -> LabelMap {
    let mut all: LabelMap = scraped.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    for (name, value) in target {
        let Some(own) = all.get(name).cloned() else {
            all.insert(name.clone(), value.clone());
            continue;
        };
        if honor {
            continue;
        }
        all.insert(name.clone(), value.clone());
        let mut exported = format!("exported_{name}");
        while all.contains_key(&exported) || target.iter().any(|(n, _)| *n == exported) {
            exported.insert_str(0, "exported_");
        }
        all.insert(exported, own);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::config::{GlobalConfig, ScrapeJobConfig};

    fn job(yaml: &str) -> Job {
        let config: ScrapeJobConfig = serde_saphyr::from_str(yaml).unwrap();
        config.job(&GlobalConfig::default(), std::path::Path::new(".")).unwrap()
    }

    #[test]
    fn labels_of_target_and_series() {
        let scraped = Labels::new([(METRIC_NAME, "x"), ("job", "own"), ("exported_job", "older"), ("a", "b")]);
        let target = [("job".to_owned(), "orders".to_owned()), ("instance".to_owned(), "h:1".to_owned())];
        let shown = |honor| Labels::new(merged(&scraped, &target, honor)).to_string();
        assert_eq!(shown(false), r#"x{a="b", exported_exported_job="own", exported_job="older", instance="h:1", job="orders"}"#);
        assert_eq!(shown(true), r#"x{a="b", exported_job="older", instance="h:1", job="own"}"#);
    }

    #[test]
    fn reserved_labels_make_the_url() {
        let job = job(
            "job_name: probe\nmetrics_path: probe\nscheme: https\nparams: {module: [http, tcp]}\nstatic_configs: [{targets: ['a:1', 'b:2', 'drop:3'], labels: {team: x}}]\nrelabel_configs:\n\
             - {source_labels: [__address__], target_label: __param_target}\n- {source_labels: [__param_target], target_label: instance}\n\
             - {source_labels: [__address__], regex: 'drop.*', action: drop}\n- {target_label: __address__, replacement: 'exporter:9115'}\n- {source_labels: [instance], regex: 'b.*', target_label: __scrape_interval__, replacement: 5s}\n",
        );
        let found = targets(&job, &job.static_groups);
        assert_eq!(found.dropped.len(), 1);
        assert_eq!(found.active[0].url, "https://exporter:9115/probe?module=http&module=tcp&target=a%3A1");
        let labels: Vec<String> = found.active[0].labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(labels, ["instance=a:1", "job=probe", "team=x"]);
        // A timeout of ten seconds in an interval of five.
        assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
        assert!(found.problems[0].contains("its timeout of 10s is longer than its interval of 5s"));
    }

    #[test]
    fn the_same_target_counts_once() {
        let job = job("job_name: a\nstatic_configs: [{targets: ['a:1', 'a:1']}, {targets: ['a:1'], labels: {x: y}}, {targets: ['http://x']}]\n"
            .replace(", {targets: ['http://x']}", "")
            .as_str());
        assert_eq!(targets(&job, &job.static_groups).active.len(), 2);
    }
}
