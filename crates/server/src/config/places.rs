//! Where a key stands in a YAML file: for warnings about what is read without its place.

/// Lines of a file.
pub(super) struct Places<'t> {
    lines: Vec<&'t str>,
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// A line without what makes it an item of a list.
fn entry(line: &str) -> &str {
    line.trim_start_matches([' ', '-', '{', '[', '"', '\''])
}

/// Whether a key begins somewhere in a line that is no comment.
fn has_key(line: &str, key: &str) -> bool {
    let is_end = |rest: &str| rest.trim_start_matches(['"', '\'']).starts_with(':');
    !line.trim_start().starts_with('#')
        && line.match_indices(key).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| " -{[,\"'".contains(c)) && is_end(&line[at + key.len()..])
        })
}

impl<'t> Places<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { lines: text.lines().collect() }
    }

    /// Lines of a section at the top, from its key on.
    fn section(&self, name: &str) -> std::ops::Range<usize> {
        let Some(start) = self.lines.iter().position(|line| indent(line) == 0 && has_key(line, name)) else { return 0..0 };
        let is_next = |line: &&str| !line.trim().is_empty() && !line.starts_with([' ', '-', '#', ']', '}']);
        let end = self.lines[start + 1..].iter().position(is_next).map_or(self.lines.len(), |after| start + 1 + after);
        start..end
    }

    /// The line of a key in a range, from 1; else that of the range's beginning.
    fn key(&self, range: std::ops::Range<usize>, key: &str) -> Option<u32> {
        let first = range.clone().find(|at| has_key(self.lines[*at], key)).or((!range.is_empty()).then_some(range.start))?;
        u32::try_from(first + 1).ok()
    }

    /// The line of a key of a section, from 1.
    pub(super) fn of(&self, section: &str, key: &str) -> Option<u32> {
        self.key(self.section(section), key)
    }

    /// The line of a key of a job, from 1.
    pub(super) fn of_job(&self, job: &str, key: &str) -> Option<u32> {
        let section = self.section("scrape_configs");
        let is_name = |c: char| c.is_alphanumeric() || "_-./".contains(c);
        let named = |line: &str| {
            let value = line.split_once("job_name").and_then(|(_, rest)| rest.trim_start_matches(['"', '\'', ' ']).strip_prefix(':'));
            value.is_some_and(|value| {
                value.trim_start().trim_start_matches(['"', '\'']).strip_prefix(job).is_some_and(|rest| !rest.starts_with(is_name))
            })
        };
        let name = section.clone().find(|at| named(self.lines[*at]))?;
        // The item's first line has the dash of the list; the next one with it is another job's.
        let dash = section.clone().skip(1).find(|at| self.lines[*at].trim_start().starts_with('-')).map(|at| indent(self.lines[at]));
        let is_item = |at: &usize| Some(indent(self.lines[*at])) == dash && self.lines[*at].trim_start().starts_with('-');
        let start = (section.start..=name).rev().find(is_item).unwrap_or(name);
        let end = (name + 1..section.end).find(is_item).unwrap_or(section.end);
        self.key(start..end, key.split('.').next().unwrap_or(key))
    }

    /// Whether a file is a `prometheus.yml` by its sections: those that no configuration of ours has.
    pub(super) fn is_prometheus(&self) -> bool {
        const SECTIONS: [&str; 9] =
            ["global", "scrape_configs", "scrape_config_files", "alerting", "remote_write", "remote_read", "storage", "tracing", "runtime"];
        self.lines.iter().any(|line| {
            indent(line) == 0 && SECTIONS.iter().any(|section| entry(line).strip_prefix(section).is_some_and(|rest| rest.starts_with(':')))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# scrape_configs: none\nglobal:\n  external_labels: {a: b}\nremote_write: [{url: x}]\nscrape_configs:\n\
                        - job_name: one\n  kubernetes_sd_configs:\n  - role: pod\n\n- oauth2: {client_id: x}\n  job_name: \"two\"\n\
                        - {job_name: one_more, consul_sd_configs: []}\nstorage: {tsdb: {}}\n";

    #[test]
    fn keys_are_found() {
        let places = Places::new(FILE);
        assert_eq!(
            (places.of("global", "external_labels"), places.of("remote_write", ""), places.of("storage", "retention")),
            (Some(3), Some(4), Some(13))
        );
        assert_eq!((places.of("alerting", "x"), places.of_job("none", "x")), (None, None));
        assert_eq!(
            (places.of_job("one", "kubernetes_sd_configs"), places.of_job("two", "oauth2"), places.of_job("two", "absent")),
            (Some(7), Some(10), Some(10))
        );
        assert_eq!(places.of_job("one_more", "consul_sd_configs"), Some(12));
        assert_eq!(places.of_job("one", "tls_config.server_name"), Some(6));
    }

    #[test]
    fn kinds_of_files() {
        assert!(Places::new(FILE).is_prometheus());
        assert!(!Places::new("rule_files: []\nlimits: {}\nscrape: []\n").is_prometheus());
        assert!(!Places::new("# global:\notlp: {}\n").is_prometheus());
    }
}
