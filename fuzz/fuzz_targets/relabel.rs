//! Relabelling rules as JSON: refused or ready, and applied without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_ingest::relabel::{LabelMap, RelabelConfig, compile, relabel};

fuzz_target!(|body: &[u8]| {
    let Ok(configs) = serde_json::from_slice::<Vec<RelabelConfig>>(body) else { return };
    let Ok(rules) = compile(&configs) else { return };
    let mut labels: LabelMap = [("__name__", "up"), ("a", "b;c"), ("d", "\u{e4}\n")].into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    relabel(&rules, &mut labels);
    assert!(labels.values().all(|value| !value.is_empty()), "an empty value is no label");
});
