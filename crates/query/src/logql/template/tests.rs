use super::{Data, FUNCTIONS, Template};

struct Row;

impl Data for Row {
    fn label(&self, name: &str) -> Option<&str> {
        match name {
            "app" => Some("orders"),
            "took" => Some("1m30s"),
            "n" => Some("7"),
            _ => None,
        }
    }
    fn line(&self) -> &str {
        r#"{"a":[1,{"b":"x"}],"c":2.5}"#
    }
    fn time(&self) -> i64 {
        1_679_577_215_123_000_000
    }
    fn now(&self) -> i64 {
        0
    }
}

fn check(source: &str, wanted: &str) {
    let found = match Template::new(source) {
        Ok(template) => template.render(&Row).unwrap_or_else(|e| format!("fails: {e}")),
        Err(e) => format!("no template: {e}"),
    };
    assert_eq!(found, wanted, "{source}");
}

#[test]
fn renders() {
    for (source, wanted) in [
        ("plain", "plain"),
        ("{{.app}}-{{.missing}}!", "orders-!"),
        ("{{.app | upper | trunc 3}}", "ORD"),
        ("{{.app | trunc -3}} {{substr 1 3 .app}}", "ers rd"),
        ("{{if eq .app \"orders\" \"x\"}}yes{{else}}no{{end}}", "yes"),
        ("{{if .missing}}a{{else if .app}}b{{else}}c{{end}}", "b"),
        ("a {{- .app -}} b", "aordersb"),
        ("{{$x := add .n 1}}{{$x}} {{div $x 3}} {{mod $x 3}} {{mulf .n 1.5}}", "8 2 2 10.5"),
        ("{{with fromJson __line__}}{{.c}} {{index .a 0}}{{end}}", "2.5 1"),
        ("{{range $i, $e := (fromJson __line__).a}}{{$i}};{{end}}", "0;1;"),
        ("{{__timestamp__ | date \"2006-01-02T15:04:05.000Z07:00\"}}", "2023-03-23T13:13:35.123Z"),
        ("{{__timestamp__ | date \"Mon Jan _2 3:04PM\"}}", "Thu Mar 23 1:13PM"),
        ("{{toDate \"2006-01-02 15:04:05 -0700\" \"2023-03-23 14:13:35 +0100\" | unixEpoch}}", "1679577215"),
        ("{{toDateInZone \"2006-01-02 15:04\" \"Europe/Berlin\" \"2023-03-23 14:13\" | unixEpoch}}", "1679577180"),
        ("{{unixToTime \"1679577215\" | date \"2006\"}} {{now | unixEpochMillis}}", "2023 0"),
        ("{{.took | duration}} {{bytes \"2KB\"}}", "90 2000"),
        ("{{printf \"%-8s|%05.1f|%3d|%q\" .app 2.25 7 \"x\"}}", "orders  |002.2|  7|\"x\""),
        ("{{regexReplaceAll \"(o)r\" .app \"<$1>\"}} {{count \"[aeo]\" .app}}", "<o>ders 2"),
        ("{{alignLeft 3 .app}}|{{alignRight 8 .app}}|", "ord|  orders|"),
        ("{{urlencode \"a b&\"}} {{urldecode \"a+b%26\"}} {{b64enc .app}} {{b64enc .app | b64dec}}", "a+b%26 a b& b3JkZXJz orders"),
        ("{{Replace .app \"r\" \"R\" 1}} {{replace \"r\" \"R\" .app}} {{TrimPrefix .app \"or\"}} {{trimAll \"os\" .app}}", "oRders oRdeRs ders rder"),
        ("{{.missing | default \"-\"}}{{/* nothing */}}{{title \"ab cd\"}} {{round 2.567 2}}", "-Ab Cd 2.57"),
        ("{{", "no template: unclosed action"),
        ("{{ nosuch }}", "no template: function \"nosuch\" not defined"),
        ("{{if .a}}", "no template: unexpected EOF: expecting {{end}}"),
        ("{{div 1 0}}", "fails: division by zero"),
        ("{{trunc 5}}", "no template: wrong number of args for trunc: want 2 got 1"),
    ] {
        check(source, wanted);
    }
}

#[test]
fn functions_are_listed_once_with_examples_that_parse() {
    for (i, function) in FUNCTIONS.iter().enumerate() {
        assert!(FUNCTIONS[..i].iter().all(|f| f.name != function.name), "{} twice", function.name);
        assert!(function.example.contains(function.name), "{}", function.name);
        assert!(Template::new(function.example).is_ok(), "{}", function.example);
    }
}

#[test]
fn names_are_known() {
    let template = Template::new("{{.a}} {{$.b}} {{if .c}}{{(fromJson .d).e}}{{end}}").unwrap();
    assert_eq!(template.names(), ["a", "b", "c", "d"]);
    assert!(!template.reads_line());
}
