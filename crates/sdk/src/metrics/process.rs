//! What the process itself uses: CPU, memory, and how much of them it may use. A capacity note divides the one by the
//! other.

use super::registry::Registry;

/// Registers `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_start_time_seconds`,
/// `process_cpu_limit_cores` and `process_open_fds`. Where the system does not tell (outside Linux), a metric has no
/// value.
pub fn register(registry: &Registry) {
    registry.observe_counter("process_cpu_seconds_total", "CPU time used, user and system, in seconds.", &[], |emit| {
        if let Some(seconds) = stat().and_then(|stat| cpu_seconds(&stat)) {
            emit(&[], seconds);
        }
    });
    registry.observe_gauge("process_resident_memory_bytes", "Memory in use.", &[], |emit| {
        if let Some(bytes) = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status)) {
            emit(&[], bytes);
        }
    });
    let start = stat().and_then(|stat| start_seconds(&stat, &std::fs::read_to_string("/proc/stat").ok()?));
    registry.observe_gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.", &[], move |emit| {
        if let Some(start) = start {
            emit(&[], start);
        }
    });
    let limit = cpu_limit();
    registry.observe_gauge(
        "process_cpu_limit_cores",
        "CPU cores the process may use: the cgroup's quota, or those of the machine.",
        &[],
        move |emit| {
            emit(&[], limit);
        },
    );
    registry.observe_gauge("process_open_fds", "Open file descriptors.", &[], |emit| {
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            emit(&[], entries.count() as f64);
        }
    });
}

/// Kernel ticks per second in /proc: USER_HZ, 100 on every Linux architecture Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

fn stat() -> Option<String> {
    std::fs::read_to_string("/proc/self/stat").ok()
}

/// Fields after the command name, which may itself hold spaces and parentheses; field 3 of proc(5) is the first.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds(stat: &str, system: &str) -> Option<f64> {
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_field(stat, 22)? / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<f64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.split_ascii_whitespace().next()?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

fn cpu_limit() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let quota = std::fs::read_to_string("/sys/fs/cgroup/cpu.max").ok().and_then(|text| cgroup_quota(&text));
    quota.map_or(cores, |quota| quota.min(cores))
}

/// `cpu.max` of cgroup v2: quota and period in microseconds, or `max`.
fn cgroup_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 3000 1000 200 18446744073709551615";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(start_seconds(stat, "cpu 1\nbtime 1000\n"), Some(1030.0));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2_097_152.0));
        assert_eq!(cgroup_quota("150000 100000\n"), Some(1.5));
        assert_eq!(cgroup_quota("max 100000\n"), None);
        assert_eq!(cpu_seconds("garbage"), None);
    }
}
