//! Names of metrics and labels in the Prometheus world.

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The Prometheus name: characters replaced, unit and `_total` appended unless they are there.
pub(crate) fn prometheus(name: &str, unit: &str, kind: Kind) -> String {
    let mut text = sanitise(name);
    let total = kind == Kind::Counter && text.ends_with("_total");
    if total {
        text.truncate(text.len() - "_total".len());
    }
    let suffix = unit_suffix(unit, kind);
    if !suffix.is_empty() && !text.ends_with(suffix) {
        text.push('_');
        text.push_str(suffix);
    }
    if kind == Kind::Counter {
        text.push_str("_total");
    }
    text
}

/// A valid label or metric name: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(crate) fn sanitise(name: &str) -> String {
    let mut text: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect();
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text
}

fn unit_suffix(unit: &str, kind: Kind) -> &str {
    match unit {
        "s" => "seconds",
        "ms" => "milliseconds",
        "By" => "bytes",
        "1" if kind == Kind::Gauge => "ratio",
        // {request} and the like are annotations, not units.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_compatibility_rules() {
        for (name, unit, kind, expected) in [
            ("http.server.request.duration", "s", Kind::Histogram, "http_server_request_duration_seconds"),
            ("http_server_request_duration_seconds", "s", Kind::Histogram, "http_server_request_duration_seconds"),
            ("http_requests_total", "", Kind::Counter, "http_requests_total"),
            ("orders.created", "{order}", Kind::Counter, "orders_created_total"),
            ("process.cpu.seconds", "s", Kind::Counter, "process_cpu_seconds_total"),
            ("process_cpu_seconds_total", "s", Kind::Counter, "process_cpu_seconds_total"),
            ("queue.depth", "", Kind::Gauge, "queue_depth"),
            ("cache.hit", "1", Kind::Gauge, "cache_hit_ratio"),
            ("9lives", "", Kind::Gauge, "_9lives"),
        ] {
            assert_eq!(prometheus(name, unit, kind), expected, "{name}");
        }
    }
}
