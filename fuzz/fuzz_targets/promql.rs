//! PromQL: what parses is printed in a form that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_query::promql;

fuzz_target!(|text: &str| {
    let Ok(expr) = promql::parse(text) else { return };
    let printed = expr.to_string();
    match promql::parse(&printed) {
        Ok(again) => assert_eq!(again.to_string(), printed, "{text:?}"),
        Err(error) => panic!("{text:?} was printed as {printed:?}, which does not parse: {error}"),
    }
});
