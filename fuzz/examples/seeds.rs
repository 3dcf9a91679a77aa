//! Writes a small corpus for each target into `corpus/`: fuzzing then starts inside the formats.

use std::fs;
use std::path::Path;

use skopos_ingest::otlp::{logs_to_protobuf, metrics_to_protobuf, traces_to_protobuf};

const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"orders"}}]},"scopeLogs":[{"scope":{"name":"lib","version":"1"},"logRecords":[{"timeUnixNano":"1700000000000000000","observedTimeUnixNano":"1700000000000000001","severityNumber":17,"severityText":"ERROR","body":{"stringValue":"refused"},"attributes":[{"key":"n","value":{"intValue":"7"}},{"key":"list","value":{"arrayValue":{"values":[{"doubleValue":1.5},{"boolValue":true}]}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"a","value":{"bytesValue":"AAEC"}}]}}}],"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","flags":1}]}]}]}"#;
const TRACES: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"orders"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173","name":"GET /orders","kind":2,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000005000000","status":{"code":2,"message":"gone"},"attributes":[{"key":"http.route","value":{"stringValue":"/orders"}}],"events":[{"timeUnixNano":"1700000000000000001","name":"retry","attributes":[{"key":"n","value":{"intValue":"2"}}]}],"links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b175"}]}]}]}]}"#;
const METRICS: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"orders"}}]},"scopeMetrics":[{"metrics":[{"name":"orders.placed","unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"startTimeUnixNano":"1","timeUnixNano":"1700000000000000000","asInt":"7","attributes":[{"key":"k","value":{"stringValue":"v"}}]}]}},{"name":"queue.depth","gauge":{"dataPoints":[{"timeUnixNano":"1700000000000000000","asDouble":1.5}]}},{"name":"latency","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1700000000000000000","count":"3","sum":0.5,"bucketCounts":["1","1","1"],"explicitBounds":[0.1,1],"exemplars":[{"timeUnixNano":"1","asDouble":0.3,"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}},{"name":"exp","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1700000000000000000","count":"2","sum":3,"scale":1,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["1"]}}]}},{"name":"sum","summary":{"dataPoints":[{"timeUnixNano":"1700000000000000000","count":"1","sum":1,"quantileValues":[{"quantile":0.5,"value":1}]}]}}]}]}]}"#;

const PROMQL: &[&str] = &[
    "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) / on (job) group_left (x) up offset -1m",
    "histogram_quantile(0.99, sum by (le) (rate(d_bucket[5m:30s] @ end())))",
    "topk(3, max_over_time(a[1h30m])) unless b or c and not_a_keyword",
    "label_replace(up, \"a\", \"$1\", \"b\", '(.*)') > bool -1.5e-3 ^ 2",
    "{__name__=\"a\", \"b.c\"!~`x`}[5m] @ 1700000000.5",
    "count_values without (x) (\"v\", a) == NaN + Inf - 0x1F % 3 atan2 4",
];
const LOGQL: &[&str] = &[
    "sum by (app) (rate({app=~\"a|b\"} |= \"x\" or \"y\" | logfmt | took > 1s and size < 2MB [5m] offset 1m)) / on (app) group_left vector(2)",
    "{a=\"b\"} | json x=\"y.z[0]\" | line_format `{{.x | upper}}{{if eq .y \"1\"}}-{{end}}` | label_format c=d,e=\"{{.f}}\" | drop g | keep h=~\"i.*\"",
    "quantile_over_time(0.9, {a=\"b\"} |> \"x <_> y\" | pattern `<m> <_>` | unwrap duration(m) | __error__=\"\" [1h]) by (n)",
    "{a=\"b\"} |= ip(\"10.0.0.0/8\") | addr != ip(\"::1\") | regexp `(?P<q>\\d+)` | unpack | decolorize",
];
const FILTERS: &[&str] = &[
    "service:orders,payments -level:debug \"free text\" order.id:4711",
    "dur:>500ms status:error (kind:client OR kind:server) NOT env:test",
    "http.status_code:500..599 name:\"GET /orders\" re:/a.*b/ trace_id:5b8efff798038103d269b633813fc60c",
    "a:* -b:* c:<=1.5 lone - dash \"a \\\" quote\"",
];
const TRACEQL: &[&str] = &[
    "{ resource.service.name = \"orders\" && (status = error || duration > 1h30m) } >> { .\"a b\" =~ `x.*` } | select(name, span:id)",
    "({ kind = server } | by(.a) | avg(duration) > 10ms) &>> ({ !.b } | count() > 1 - 3)",
    "{ nestedSetParent < 0 } | quantile_over_time(duration, 0.9, 1) by (trace:rootName) | topk(3) > 5 with (sample=0.1)",
    "5 + ({ } | rate()) / -1.5e3 * ({ event.n != nil } | compare({ -.a ^ 2 % 3 = 1 }, 5, 1, 2))",
];
const TEXT: &str = "# HELP a_total Help \\\\ text.\n# TYPE a_total counter\na_total{x=\"y\\n\",z=\"\\\"\"} 1 1700000000000\nb NaN\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 1e-3\nh_count 3\n{\"utf.8\", l=\"v\"} +Inf\n";
const OPEN_METRICS: &str =
    "# TYPE a counter\n# UNIT a_seconds seconds\na_total 1 1700000000.5 # {trace_id=\"x\"} 0.5 1700000000\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
const LINES: &str = "{\"ts\":\"2026-01-02T03:04:05.6Z\",\"level\":\"WARN\",\"msg\":\"slow\",\"service\":\"orders\",\"trace_id\":\"5b8efff798038103d269b633813fc60c\",\"n\":1.5,\"o\":{\"a\":[1,null,true]}}\nplain text\n{\"time\":1700000000.25,\"severity\":17,\"message\":\"\\ud83d\\ude00\"}\n{\"broken\":\n";
const LOKI: &str = r#"{"streams":[{"stream":{"job":"shop","level":"warn"},"values":[["1700000000000000000","a line",{"trace_id":"5b8efff798038103d269b633813fc60c"}]]}]}"#;
const BULK: &str = "{\"create\":{\"_index\":\"logs-shop-prod\",\"_id\":\"1\"}}\n{\"@timestamp\":\"2026-01-02T03:04:05Z\",\"message\":\"x\",\"log\":{\"level\":\"warn\"}}\n{\"delete\":{\"_id\":\"2\"}}\n{\"update\":{}}\n{}\n";
const HEC: &str = "{\"time\":1433188255.253,\"host\":\"h\",\"event\":\"ERROR gone\"}{\"event\":{\"message\":\"x\"},\"fields\":{\"a\":1}}";
const SYSLOG: &[&str] = &[
    "<165>1 2023-06-03T17:42:00.000Z h a 1 ID47 [e@32473 iut=\"3\" x=\"a\\\"]\"][m n=\"7\"] Said.\n48 <165>Jun  4 12:08:33 abcd systemd[345]: abc defg",
    "<13>2024-06-03T12:08:33.5+02:00 h a[9]: x\nfoo bar\n",
];
const ZIPKIN: &str = r#"[{"traceId":"463ac35c9f6413ad","id":"a2fb4a1d1a96d312","kind":"SERVER","shared":true,"name":"get /","timestamp":1472470996199000,"duration":207000,"localEndpoint":{"serviceName":"f","ipv4":"127.0.0.1"},"remoteEndpoint":{"port":9000},"annotations":[{"timestamp":1472470996238000,"value":"foo"}],"tags":{"error":"broken"}}]"#;
const STATSD: &[&str] = &["jobs.done:2|c|@0.5|#env:test,zone:a|c:id|T1656581400", "took,tag=x:1:2.5:-3|ms", "foo.[a=b]bar:+3|g\nfoo:4|g"];
const RELABEL: &str = r#"[{"source_labels":["a","d"],"separator":";","regex":"(.)(;.*)","target_label":"x_$1","replacement":"${2}y"},{"action":"hashmod","source_labels":["a"],"modulus":8,"target_label":"h"},{"action":"labelmap","regex":"(a).*","replacement":"${1}b"},{"action":"labeldrop","regex":"d"},{"action":"keepequal","source_labels":["a"],"target_label":"ab"}]"#;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, number: usize, bytes: &[u8]| -> std::io::Result<()> {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{number}")), bytes)
    };
    let protobuf = "the seeds are OTLP";
    write("otlp_logs", 0, &logs_to_protobuf(LOGS.as_bytes()).expect(protobuf))?;
    write("otlp_traces", 0, &traces_to_protobuf(TRACES.as_bytes()).expect(protobuf))?;
    write("otlp_metrics", 0, &metrics_to_protobuf(METRICS.as_bytes()).expect(protobuf))?;
    for (number, json) in [LOGS, TRACES, METRICS].into_iter().enumerate() {
        let first = u8::try_from(number).unwrap_or_default();
        write("otlp_json", number, &[&[first], json.as_bytes()].concat())?;
    }
    write("remote_write", 0, &remote_write())?;
    write("remote_write", 1, &snap::raw::Encoder::new().compress_vec(&remote_write()).expect("a small block"))?;
    for (number, text) in [TEXT, OPEN_METRICS].into_iter().enumerate() {
        write("exposition", number, text.as_bytes())?;
    }
    write("remote_write", 2, &remote_write_2())?;
    write("exposition", 2, &families())?;
    for (number, line) in STATSD.iter().enumerate() {
        write("statsd", number, line.as_bytes())?;
    }
    write("loki", 0, LOKI.as_bytes())?;
    write("elastic", 0, BULK.as_bytes())?;
    write("splunk", 0, HEC.as_bytes())?;
    for (number, stream) in SYSLOG.iter().enumerate() {
        write("syslog", number, stream.as_bytes())?;
    }
    write("fluent", 0, b"\x93\xa5app.x\xd7\x00\x00\x00\x00\x06\x00\x00\x00\x01\x82\xa3log\xa2hi\xa1n\x07")?;
    write("fluent", 1, b"\x93\xa1t\x91\x92\x05\x81\xa1a\x91\xc0\x81\xa5chunk\xa1c")?;
    write("zipkin", 0, ZIPKIN.as_bytes())?;
    write("jaeger", 0, b"\x82\x81\x00\x09emitBatch\x1c\x1c\x18\x03api\x00\x19\x1c\x16\x02\x16\x00\x16\x04\x16\x00\x18\x03get\x25\x02\x16\xc0\xcf\x24\x16\x0a\x00\x00\x00")?;
    write("relabel", 0, RELABEL.as_bytes())?;
    write("json_lines", 0, LINES.as_bytes())?;
    for (number, query) in PROMQL.iter().enumerate() {
        write("promql", number, query.as_bytes())?;
    }
    for (number, query) in TRACEQL.iter().enumerate() {
        write("traceql", number, query.as_bytes())?;
    }
    for (number, query) in LOGQL.iter().enumerate() {
        write("logql", number, query.as_bytes())?;
    }
    for (number, filter) in FILTERS.iter().enumerate() {
        write("filter", number, filter.as_bytes())?;
    }
    Ok(())
}

/// A `WriteRequest` with one series (two labels, a sample, an exemplar) and its metadata.
fn remote_write() -> Vec<u8> {
    let label = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let number = |tag: u8, value: f64| [&[tag << 3 | 1][..], &value.to_le_bytes()].concat();
    let time = |tag: u8| [&[tag << 3][..], &varint(1_700_000_000_000)].concat();
    let sample = field(2, &[number(1, 1.5), time(2)].concat());
    let exemplar = field(3, &[label("trace_id", "5b8efff798038103d269b633813fc60c"), number(2, 0.5), time(3)].concat());
    let series = [label("__name__", "a_total"), label("job", "orders"), sample, exemplar].concat();
    let metadata = [vec![1 << 3, 1], field(2, b"a_total"), field(4, b"Help.")].concat();
    [field(1, &series), field(3, &metadata)].concat()
}

/// An `io.prometheus.write.v2.Request` with one series: a sample with its start, a native histogram, metadata.
fn remote_write_2() -> Vec<u8> {
    let symbols = ["", "__name__", "a_total", "job", "orders", "Help."].iter().flat_map(|text| field(4, text.as_bytes())).collect::<Vec<_>>();
    let number = |tag: u8, value: f64| [&[tag << 3 | 1][..], &value.to_le_bytes()].concat();
    let time = |tag: u8| [&[tag << 3][..], &varint(1_700_000_000_000)].concat();
    let sample = field(2, &[number(1, 1.5), time(2), time(3)].concat());
    // Three observations in two buckets, schema 1.
    let histogram = field(3, &[vec![1 << 3, 3], number(3, 4.5), vec![4 << 3, 2], field(11, &[2 << 3, 2]), field(12, &[2, 2]), time(15)].concat());
    let metadata = field(5, &[vec![1 << 3, 1, 3 << 3, 5]].concat());
    [symbols, field(5, &[field(1, &[1, 2, 3, 4]), sample, histogram, metadata].concat())].concat()
}

/// A `MetricFamily` behind its length: a counter with a label.
fn families() -> Vec<u8> {
    let label = field(1, &[field(1, b"code"), field(2, b"200")].concat());
    let counter = field(3, &[&[1 << 3 | 1][..], &7f64.to_le_bytes()].concat());
    let family = [field(1, b"requests_total"), field(2, b"Requests."), field(4, &[label, counter].concat())].concat();
    [varint(family.len() as u64), family].concat()
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
