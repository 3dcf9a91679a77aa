//! TraceQL: what parses is printed in a form that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_query::traceql;

fuzz_target!(|text: &str| {
    let Ok(parsed) = traceql::parse(text) else { return };
    let printed = parsed.to_string();
    match traceql::parse(&printed) {
        Ok(again) => assert_eq!(again, parsed, "{text:?} was printed as {printed:?}"),
        Err(error) => panic!("{text:?} was printed as {printed:?}, which does not parse: {error}"),
    }
});
