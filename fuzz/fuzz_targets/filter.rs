//! The filter grammar of logs and traces: what parses is printed in a form that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_query::filter;

fuzz_target!(|text: &str| {
    let Ok(parsed) = filter::parse(text) else { return };
    let printed = parsed.to_string();
    match filter::parse(&printed) {
        Ok(again) => assert_eq!(again, parsed, "{text:?} was printed as {printed:?}"),
        Err(error) => panic!("{text:?} was printed as {printed:?}, which does not parse: {error}"),
    }
});
