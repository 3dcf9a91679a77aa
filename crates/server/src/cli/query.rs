//! `skopos query`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::say;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos query sql \"SELECT service_name, count(*) FROM logs GROUP BY 1\"
  skopos query promql 'sum by (job) (rate(http_requests_total[5m]))'
  skopos query logs 'service:orders level:error' --from now-3h
  skopos query traces 'service:orders dur:>500ms status:error'
  skopos query trace 4bf92f3577b34da6a3ce929d0e0e4736

Answers are tables; --json gives all that the server says, with what the query has cost.")]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the server's JSON as it is.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// SQL over the tables logs, spans, samples, series.
    #[command(after_help = "\
Examples:
  skopos query sql 'SELECT * FROM logs ORDER BY time DESC LIMIT 5'
  skopos query sql \"SELECT name, count(*) FROM spans WHERE service_name = 'orders' GROUP BY 1\"

It only reads. DESCRIBE logs (or spans, samples, series) shows a table's columns.")]
    Sql {
        /// One SELECT, e.g. "SELECT service_name, count(*) FROM logs GROUP BY 1".
        query: String,
    },
    /// PromQL at one moment, or over a range with --from and --step.
    #[command(after_help = "\
Examples:
  skopos query promql 'up == 0'
  skopos query promql 'histogram_quantile(0.99, sum by (le) (rate(request_seconds_bucket[5m])))'
  skopos query promql 'sum(rate(http_requests_total[5m]))' --from now-3h --step 1m")]
    Promql {
        /// Expression, e.g. 'sum by (job) (rate(http_requests_total[5m]))'.
        query: String,
        /// Start of a range: now-3h, RFC 3339, Unix seconds.
        #[arg(long, allow_hyphen_values = true)]
        from: Option<String>,
        /// End of the range, or the moment.
        #[arg(long, default_value = "now", allow_hyphen_values = true)]
        to: String,
        /// Step of a range.
        #[arg(long, default_value = "15s")]
        step: String,
    },
    /// Log records, newest first.
    #[command(after_help = "\
Examples:
  skopos query logs 'service:orders level:error \"connection refused\"'
  skopos query logs 'service:orders,payments -level:debug order.id:4711' --from now-15m
  skopos query logs trace_id:4bf92f3577b34da6a3ce929d0e0e4736 --from now-1d

A filter is words and \"phrases\" of the text, and field:value terms; all have to hold. A comma means or,
a minus in front means not. Fields: service, level, env, trace_id, span_id, and any attribute.")]
    Logs {
        /// Terms that have to hold; all records when absent. May begin with a minus, as -level:debug.
        #[arg(default_value = "", allow_hyphen_values = true)]
        filter: String,
        /// Start: now-3h, -3h, RFC 3339, Unix nanoseconds.
        #[arg(long, default_value = "-1h", allow_hyphen_values = true)]
        from: String,
        /// End, as --from.
        #[arg(long, default_value = "now", allow_hyphen_values = true)]
        to: String,
        /// Most records shown.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Traces with a matching span, newest first.
    #[command(after_help = "\
Examples:
  skopos query traces 'service:orders dur:>500ms'
  skopos query traces 'service:orders name:\"GET /orders\" status:error' --from now-3h
  skopos query traces 'kind:client db.system.name:postgresql' --limit 5

Fields: service, name, kind, status (ok, error, unset), dur (with >, <, ..), env, root, and any attribute.")]
    Traces {
        /// Terms that have to hold of one span; all traces when absent. May begin with a minus.
        #[arg(default_value = "", allow_hyphen_values = true)]
        filter: String,
        /// Start: now-3h, -3h, RFC 3339, Unix nanoseconds.
        #[arg(long, default_value = "-1h", allow_hyphen_values = true)]
        from: String,
        /// End, as --from.
        #[arg(long, default_value = "now", allow_hyphen_values = true)]
        to: String,
        /// Most traces shown.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One trace by its id.
    #[command(after_help = "\
Example:
  skopos query trace 4bf92f3577b34da6a3ce929d0e0e4736

Ids are in log records (trace_id), in the answers of `skopos query traces`, and in exemplars of charts.")]
    Trace {
        /// 32 hexadecimal digits.
        id: String,
    },
}

pub(crate) async fn run(args: QueryArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.server)?;
    let answer = match &args.what {
        What::Sql { query } => client.post("/v1/sql", &json!({"query": query})).await?,
        What::Promql { query, from, to, step } => {
            let seconds = |text: &str| -> anyhow::Result<String> {
                let now = skopos_model::Clock::now_nanos(&skopos_model::SystemClock);
                let nanos = crate::time_arg::parse_time(text, now).map_err(anyhow::Error::msg)?;
                Ok(format!("{:.3}", nanos as f64 / 1e9))
            };
            match from {
                Some(from) => {
                    let params = [("query", query.clone()), ("start", seconds(from)?), ("end", seconds(to)?), ("step", step.clone())];
                    client.get("/api/v1/query_range", &params).await?
                }
                None => client.get("/api/v1/query", &[("query", query.clone()), ("time", seconds(to)?)]).await?,
            }
        }
        What::Logs { filter, from, to, limit } => {
            let params = [("q", filter.clone()), ("from", from.clone()), ("to", to.clone()), ("limit", limit.to_string())];
            client.get("/v1/logs", &params).await?
        }
        What::Traces { filter, from, to, limit } => {
            let params = [("q", filter.clone()), ("from", from.clone()), ("to", to.clone()), ("limit", limit.to_string())];
            client.get("/v1/traces", &params).await?
        }
        What::Trace { id } => client.get(&format!("/v1/traces/{id}"), &[]).await?,
    };
    if args.json {
        say(serde_json::to_string_pretty(&answer)?);
    } else {
        print(&args.what, &answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Unix nanoseconds in text as a time for a reader.
pub(crate) fn time(nanos: &Value) -> String {
    let nanos = nanos.as_str().and_then(|s| s.parse::<i128>().ok()).unwrap_or(0);
    jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| nanos.to_string(), |t| t.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn print(what: &What, answer: &Value) {
    match what {
        What::Sql { .. } => {
            let header: Vec<String> = list(answer, "columns").iter().map(|c| text(&c["name"])).collect();
            let rows: Vec<Vec<String>> =
                list(answer, "rows").iter().map(|r| r.as_array().map(|r| r.iter().map(text).collect()).unwrap_or_default()).collect();
            print_table(&header, &rows);
        }
        What::Promql { .. } => {
            let data = &answer["data"];
            for series in list(data, "result") {
                let labels: Vec<String> = series["metric"].as_object().into_iter().flatten().map(|(n, v)| format!("{n}={v}")).collect();
                match series.get("values").and_then(Value::as_array) {
                    Some(values) => {
                        say(format!("{{{}}}", labels.join(", ")));
                        for pair in values {
                            say(format!("  {} {}", text(&pair[0]), text(&pair[1])));
                        }
                    }
                    None => say(format!("{{{}}} {}", labels.join(", "), text(&series["value"][1]))),
                }
            }
            if matches!(data["resultType"].as_str(), Some("scalar" | "string")) {
                say(text(&data["result"][1]));
            }
        }
        What::Logs { .. } => {
            for row in list(answer, "rows") {
                let attributes: Vec<String> = row["attributes"].as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", text(v))).collect();
                say(format!(
                    "{} {:5} {} {} {}",
                    time(&row["time"]),
                    text(&row["severity_text"]),
                    text(&row["service_name"]),
                    text(&row["body"]),
                    attributes.join(" ")
                ));
            }
        }
        What::Traces { .. } => {
            for t in list(answer, "traces") {
                say(format!(
                    "{} {} {:9.3} ms  {} spans, {} errors  {} {}",
                    time(&t["start"]),
                    text(&t["trace_id"]),
                    t["duration"].as_f64().unwrap_or(0.0) / 1e6,
                    t["spans"],
                    t["errors"],
                    text(&t["root_service"]),
                    text(&t["root_name"])
                ));
            }
        }
        What::Trace { .. } => print_trace(answer),
    }
}

fn print_trace(answer: &Value) {
    let spans = list(answer, "spans");
    let first = spans.iter().filter_map(|s| s["start"].as_str()?.parse::<i64>().ok()).min().unwrap_or(0);
    let parent_of = |s: &Value| s.get("parent_span_id").and_then(Value::as_str).unwrap_or("").to_owned();
    let known = |id: &str| spans.iter().any(|s| s["span_id"] == id);
    let mut stack: Vec<(usize, &Value)> = spans.iter().rev().filter(|s| !known(&parent_of(s))).map(|s| (0, s)).collect();
    while let Some((depth, span)) = stack.pop() {
        let start = span["start"].as_str().and_then(|s| s.parse::<i64>().ok()).unwrap_or(first) - first;
        let mark = if span["status_code"] == "error" { "✕ " } else { "" };
        say(format!(
            "{:10.3} ms {:10.3} ms  {}{mark}{} {}",
            start as f64 / 1e6,
            span["duration"].as_f64().unwrap_or(0.0) / 1e6,
            "  ".repeat(depth.min(40)),
            text(&span["service_name"]),
            text(&span["name"])
        ));
        let id = text(&span["span_id"]);
        stack.extend(spans.iter().rev().filter(|s| parent_of(s) == id && text(&s["span_id"]) != id).map(|s| (depth + 1, s)));
    }
}

/// Columns padded to their widest cell (80 characters at most).
pub(crate) fn print_table(header: &[String], rows: &[Vec<String>]) {
    let cell = |r: &Vec<String>, i: usize| r.get(i).cloned().unwrap_or_default();
    let width = |i: usize| rows.iter().map(|r| cell(r, i).chars().count()).chain([header[i].chars().count()]).max().unwrap_or(0).min(80);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let render = |cells: &dyn Fn(usize) -> String| {
        widths.iter().enumerate().map(|(i, w)| format!("{:w$}", cells(i))).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    say(render(&|i| header[i].clone()));
    for row in rows {
        say(render(&|i| cell(row, i)));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    /// What the help and the guides show has to be read: times and filters begin with a hyphen.
    #[test]
    fn hyphens_are_values_and_the_server_may_come_last() {
        for args in [
            &["logs", "level:error", "--from", "-24h"][..],
            &["logs", "-level:debug", "--from", "-1h", "--to", "-5m", "--limit", "3", "--json"],
            &["traces", "dur:>500ms", "--from", "-2h"],
            &["promql", "up", "--from", "-2m", "--step", "60s", "--server", "http://127.0.0.1:1"],
        ] {
            let line = ["skopos", "query"].iter().chain(args);
            if let Err(error) = Cli::try_parse_from(line) {
                panic!("{args:?}: {error}");
            }
        }
        assert!(Cli::try_parse_from(["skopos", "query", "logs", "a", "--form", "-1h"]).is_err(), "typos of flags are still found");
    }
}
