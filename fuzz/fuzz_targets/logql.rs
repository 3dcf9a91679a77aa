//! LogQL: what parses is printed in a form that parses to the same, and its pipeline takes any line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_query::logql;

fuzz_target!(|text: &str| {
    let Ok(query) = logql::parse(text) else { return };
    let printed = query.to_string();
    match logql::parse(&printed) {
        Ok(again) => assert_eq!(again, query, "{text:?}"),
        Err(error) => panic!("{text:?} was printed as {printed:?}, which does not parse: {error}"),
    }
    if let logql::Query::Logs(logs) = query {
        let mut run = logql::LineRun::of(&logs, 0).expect("a parsed query is ready to run");
        for body in ["", "level=info a=\"b", "{\"a\":{\"b\":[1,\"x\"]},\"c\":1.5}", text] {
            run.line(&skopos_fuzz::log_row(body));
        }
    }
});
