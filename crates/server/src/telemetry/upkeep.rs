//! Figures that tell early that something will fail: the disk, the log, the files, the rules.

use skopos_model::Signal;
use skopos_storage::StoreStats;

use super::{Telemetry, family, line, signal_stats};
use crate::app::App;

impl Telemetry {
    /// Adds them to an exposition.
    pub(super) fn upkeep(&self, out: &mut String, app: &App, stats: &StoreStats) {
        if let Some((size, free)) = self.data.get().and_then(|folder| disk(folder)) {
            family(out, "skopos_data_disk_size_bytes", "gauge", "Size of the file system that holds the data folder.");
            line(out, "skopos_data_disk_size_bytes", &[], size);
            family(out, "skopos_data_disk_free_bytes", "gauge", "What is free on it for this process.");
            line(out, "skopos_data_disk_free_bytes", &[], free);
        }
        family(out, "skopos_wal_commits_total", "counter", "Group commits to the write-ahead log, each with one fsync.");
        line(out, "skopos_wal_commits_total", &[], stats.wal.commits);
        family(out, "skopos_wal_commit_seconds_total", "counter", "Time spent in them: per commit it is what a client waits for the disk.");
        line(out, "skopos_wal_commit_seconds_total", &[], stats.wal.commit_nanos as f64 / 1e9);
        family(out, "skopos_store_flushes_total", "counter", "Heads written to files.");
        family_lines(out, "skopos_store_flushes_total", |signal| signal_stats(stats, signal).flushes);
        family(out, "skopos_store_merges_total", "counter", "Files merged into larger ones.");
        line(out, "skopos_store_merges_total", &[], stats.merges);
        family(out, "skopos_store_upkeep_failing", "gauge", "1 while the last flush, merge or expiry failed; it is tried again.");
        line(out, "skopos_store_upkeep_failing", &[], u8::from(!stats.background_error.is_empty()));
        family(out, "skopos_ingest_duplicate_requests_total", "counter", "Requests sent again that were acknowledged without storing them twice.");
        family_lines(out, "skopos_ingest_duplicate_requests_total", |signal| signal_stats(stats, signal).duplicates);
        let evaluation = app.reliability.evaluation_status(app.clock.now_nanos());
        family(out, "skopos_rules_failing", "gauge", "Rules whose last evaluation failed.");
        line(out, "skopos_rules_failing", &[], &evaluation["failing"]);
        family(out, "skopos_rule_evaluation_lag_seconds", "gauge", "Age of the rule evaluation that is the longest ago.");
        line(out, "skopos_rule_evaluation_lag_seconds", &[], &evaluation["lag_seconds"]);
    }
}

fn family_lines(out: &mut String, name: &str, value: impl Fn(Signal) -> u64) {
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        line(out, name, &[("signal", signal.as_str())], value(signal));
    }
}

/// Size and free bytes of the file system that holds `folder`.
fn disk(folder: &std::path::Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some((found.f_blocks.saturating_mul(found.f_frsize), found.f_bavail.saturating_mul(found.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_a_size() {
        let folder = tempfile::tempdir().unwrap();
        let (size, free) = disk(folder.path()).unwrap();
        assert!(size > 0 && free <= size, "{size} {free}");
        assert_eq!(disk(&folder.path().join("missing")), None);
    }
}
