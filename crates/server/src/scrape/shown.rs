//! A job's configuration as the API shows it: YAML with the values in force, without secrets.

use std::time::Duration;

use serde_json::{Map, Value, json};
use skopos_reliability::duration::format_duration;

/// What stands in the place of a secret, as with Prometheus.
const SECRET: &str = "<secret>";
/// Keys whose values are secrets, wherever they stand.
const SECRETS: [&str; 8] = ["password", "credentials", "bearer_token", "secrets", "client_secret", "secret_key", "token", "key"];

/// A job as it stands in a file, with its secrets taken out and what it leaves to defaults put in.
pub fn shown(mut job: Value, interval: Duration, timeout: Duration) -> String {
    hide(&mut job);
    if let Some(keys) = job.as_object_mut() {
        let span = |span: Duration| format_duration(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        // What is in force, whoever stated it.
        keys.insert("scrape_interval".to_owned(), json!(span(interval)));
        keys.insert("scrape_timeout".to_owned(), json!(span(timeout)));
        for (name, value) in [("metrics_path", "/metrics"), ("scheme", "http")] {
            keys.entry(name).or_insert_with(|| json!(value));
        }
    }
    // Plain values and texts have a form in YAML.
    serde_saphyr::to_string(&job).unwrap_or_else(|_| job.to_string())
}

/// The jobs of a file's text, as they stand in it and by their names; none where it is no YAML.
pub fn jobs_of(text: &str) -> Map<String, Value> {
    let file: Value = serde_saphyr::from_str(text).unwrap_or_default();
    let jobs = file["scrape_configs"].as_array().cloned().unwrap_or_default();
    jobs.into_iter().filter_map(|job| Some((job["job_name"].as_str()?.to_owned(), job))).collect()
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            for (name, value) in keys {
                match value {
                    // A list of them has no form of its own in the place of one.
                    Value::String(_) | Value::Array(_) if SECRETS.contains(&name.as_str()) => *value = json!(SECRET),
                    other => hide(other),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_reads_back() {
        let text = "global: {scrape_interval: 5s}\nscrape_configs:\n- job_name: 'a: b'\n  basic_auth: {username: u, password: hush}\n  tls_config: {ca_file: ca.pem, key: hush}\n  \
                    http_headers: {x-y: {values: [z], secrets: [hush, hush]}}\n  static_configs: [{targets: ['h:1'], labels: {team: t}}]\n  metric_relabel_configs: [{regex: '(.*)', replacement: ''}]\n";
        let jobs = jobs_of(text);
        let yaml = shown(jobs["a: b"].clone(), Duration::from_secs(5), Duration::from_millis(1_500));
        assert!(!yaml.contains("hush"), "{yaml}");
        let back: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(
            (&back["job_name"], &back["basic_auth"]["password"], &back["tls_config"]["ca_file"]),
            (&json!("a: b"), &json!(SECRET), &json!("ca.pem"))
        );
        assert_eq!((&back["scrape_interval"], &back["scrape_timeout"], &back["metrics_path"]), (&json!("5s"), &json!("1s500ms"), &json!("/metrics")));
        assert_eq!((&back["static_configs"][0]["targets"][0], &back["metric_relabel_configs"][0]["replacement"]), (&json!("h:1"), &json!("")));
        assert!(jobs_of("no: [yaml").is_empty());
    }
}
