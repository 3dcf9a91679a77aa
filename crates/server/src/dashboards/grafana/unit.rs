//! Grafana's units in this document's words.

/// (Grafana's, ours)
const UNITS: &[(&str, &str)] = &[
    ("none", ""),
    ("short", "decimal"),
    ("sishort", "decimal"),
    ("locale", "decimal"),
    ("string", ""),
    ("percent", "percent"),
    ("percentunit", "percent-decimal"),
    ("ns", "nanoseconds"),
    ("µs", "microseconds"),
    ("us", "microseconds"),
    ("ms", "milliseconds"),
    ("s", "seconds"),
    ("m", "minutes"),
    ("h", "hours"),
    ("d", "days"),
    ("dtdurations", "seconds"),
    ("dtdurationms", "milliseconds"),
    ("clocks", "seconds"),
    ("clockms", "milliseconds"),
    ("bytes", "bytes"),
    ("decbytes", "decbytes"),
    ("bits", "bits"),
    ("decbits", "decbits"),
    ("Bps", "bytes/sec"),
    ("binBps", "bytes/sec"),
    ("bps", "bits/sec"),
    ("binbps", "bits/sec"),
    ("pps", "packets/sec"),
    ("cps", "counts/sec"),
    ("ops", "ops/sec"),
    ("reqps", "requests/sec"),
    ("rps", "reads/sec"),
    ("wps", "writes/sec"),
    ("iops", "ops/sec"),
    ("eps", "events/sec"),
    ("mps", "messages/sec"),
    ("recps", "records/sec"),
    ("rowsps", "rows/sec"),
];

/// The unit, and what is lost when there is none like it.
pub(super) fn translate(grafana: &str) -> (String, Option<String>) {
    if grafana.is_empty() {
        return (String::new(), None);
    }
    match UNITS.iter().find(|(name, _)| *name == grafana) {
        Some((_, ours)) => ((*ours).to_owned(), None),
        None => (String::new(), Some(format!("the unit {grafana:?} is unknown here: numbers are plain"))),
    }
}
