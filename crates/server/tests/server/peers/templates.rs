//! The query templates of `prometheus/compliance`, expanded as its tester expands them.

use std::collections::BTreeSet;
use std::path::Path;

/// What stands for an argument of a template.
const VARIANTS: &[(&str, &[&str])] = &[
    ("range", &["1s", "15s", "1m", "5m", "15m", "1h"]),
    ("offset", &["1m", "5m", "10m"]),
    ("simpleAggrOp", &["sum", "avg", "max", "min", "count", "stddev", "stdvar"]),
    ("simpleTimeAggrOp", &["sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last", "present"]),
    ("topBottomOp", &["topk", "bottomk"]),
    ("quantile", &["-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "0.99", "1", "1.5"]),
    ("arithBinOp", &["+", "-", "*", "/", "%", "^"]),
    ("compBinOp", &["==", "!=", "<", ">", "<=", ">="]),
    ("binOp", &["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="]),
    ("simpleMathFunc", &["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round"]),
    ("extrapolatedRateFunc", &["delta", "rate", "increase"]),
    ("clampFunc", &["clamp_min", "clamp_max"]),
    ("instantRateFunc", &["idelta", "irate"]),
    ("dateFunc", &["day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year"]),
];

/// Every query of the file, in order, each once.
pub(super) fn expanded(file: &Path) -> Vec<String> {
    let document: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).expect("the templates are YAML");
    let mut known = BTreeSet::new();
    let mut queries = Vec::new();
    for case in document["test_cases"].as_array().expect("a list of templates") {
        let template = case["query"].as_str().expect("a query").to_owned();
        let arguments = case["variant_args"].as_array().into_iter().flatten().map(|a| a.as_str().expect("a name"));
        let mut variants = vec![template];
        for argument in arguments {
            let (_, values) = VARIANTS.iter().find(|(name, _)| *name == argument).unwrap_or_else(|| panic!("the argument {argument} is not known"));
            let place = format!("{{{{.{argument}}}}}");
            variants = variants.iter().flat_map(|v| values.iter().map(|value| v.replace(&place, value))).collect();
        }
        for query in variants {
            assert!(!query.contains("{{"), "{query} has an argument that is not named");
            if known.insert(query.clone()) {
                queries.push(query);
            }
        }
    }
    queries
}
