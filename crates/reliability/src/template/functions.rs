//! Functions a template may call.

use std::sync::Mutex;

use super::go_format::{format_g, sprintf};
use super::{Item, TemplateData};

/// Names that may be called.
pub(super) const FUNCTIONS: &[&str] = &[
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "index",
    "len",
    "print",
    "printf",
    "println",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "toTime",
    "title",
    "toUpper",
    "toLower",
    "match",
    "reReplaceAll",
    "stripPort",
    "stripDomain",
    "parseDuration",
    "externalURL",
    "pathPrefix",
    "graphLink",
    "tableLink",
    "safeHtml",
    "urlquery",
];

/// Prometheus' functions that need a query at template time.
pub(super) const UNSUPPORTED: &[&str] = &["query", "first", "value", "label", "strvalue", "sortByLabel", "tmpl", "args"];

/// Most compiled patterns kept.
const PATTERNS_MAX: usize = 256;

/// Patterns come from rule files: few, used at each evaluation, costly to compile.
static PATTERNS: Mutex<Vec<(String, regex::Regex)>> = Mutex::new(Vec::new());

fn pattern(text: &str) -> Result<regex::Regex, String> {
    let mut known = PATTERNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, regex)) = known.iter().find(|(t, _)| t == text) {
        return Ok(regex.clone());
    }
    let regex = regex::Regex::new(text).map_err(|e| e.to_string())?;
    if known.len() >= PATTERNS_MAX {
        known.clear();
    }
    known.push((text.to_owned(), regex.clone()));
    Ok(regex)
}

/// Calls a function by name.
pub(super) fn call(name: &str, arguments: Vec<Item>, data: &TemplateData<'_>) -> Result<Item, String> {
    apply(name, arguments, data).map_err(|e| format!("error calling {name}: {e}"))
}

fn apply(name: &str, arguments: Vec<Item>, data: &TemplateData<'_>) -> Result<Item, String> {
    let given = arguments.len();
    let wrong = |wanted: &str| format!("wrong number of arguments: want {wanted}, got {given}");
    let mut args = arguments.into_iter();
    Ok(match name {
        "and" | "or" => {
            let want = name == "or";
            let mut last = args.next().ok_or_else(|| wrong("at least 1"))?;
            for next in args {
                if last.truthy() == want {
                    break;
                }
                last = next;
            }
            last
        }
        "eq" => {
            let (Some(first), true) = (args.next(), given >= 2) else { return Err(wrong("at least 2")) };
            Item::Bool(args.any(|other| order(&first, &other) == Some(std::cmp::Ordering::Equal)))
        }
        "ne" | "lt" | "le" | "gt" | "ge" => {
            let (Some(a), Some(b), 2) = (args.next(), args.next(), given) else { return Err(wrong("2")) };
            let order = order(&a, &b).ok_or_else(|| format!("incompatible types for comparison: {a} and {b}"));
            Item::Bool(match name {
                "ne" => order.ok() != Some(std::cmp::Ordering::Equal),
                "lt" => order?.is_lt(),
                "le" => order?.is_le(),
                "gt" => order?.is_gt(),
                _ => order?.is_ge(),
            })
        }
        "index" => {
            let (Some(map), Some(key), 2) = (args.next(), args.next(), given) else { return Err(wrong("2")) };
            match map {
                Item::Map(entries) => {
                    let key = key.to_string();
                    Item::Text(entries.into_iter().find(|(k, _)| *k == key).map(|(_, v)| v).unwrap_or_default())
                }
                other => return Err(format!("can't index {other}")),
            }
        }
        "print" | "println" => {
            let texts: Vec<String> = args.map(|a| a.to_string()).collect();
            Item::Text(if name == "println" { texts.join(" ") + "\n" } else { texts.join(" ") })
        }
        "printf" => {
            let format = args.next().ok_or_else(|| wrong("at least 1"))?.to_string();
            Item::Text(sprintf(&format, &args.collect::<Vec<_>>()))
        }
        "externalURL" | "pathPrefix" => {
            if given != 0 {
                return Err(wrong("0"));
            }
            Item::Text(if name == "externalURL" {
                data.external_url.to_owned()
            } else {
                data.external_url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, p)| format!("/{p}")).unwrap_or_default()
            })
        }
        "reReplaceAll" => {
            let (Some(re), Some(with), Some(text), 3) = (args.next(), args.next(), args.next(), given) else { return Err(wrong("3")) };
            Item::Text(pattern(&re.to_string())?.replace_all(&text.to_string(), with.to_string().as_str()).into_owned())
        }
        "match" => {
            let (Some(re), Some(text), 2) = (args.next(), args.next(), given) else { return Err(wrong("2")) };
            Item::Bool(pattern(&re.to_string())?.is_match(&text.to_string()))
        }
        _ => {
            let (Some(argument), 1) = (args.next(), given) else { return Err(wrong("1")) };
            one(name, argument)?
        }
    })
}

/// Functions of one argument.
fn one(name: &str, argument: Item) -> Result<Item, String> {
    let text = |argument: Item| argument.to_string();
    Ok(match name {
        "not" => Item::Bool(!argument.truthy()),
        "len" => Item::Int(match &argument {
            Item::Map(m) => i64::try_from(m.len()).unwrap_or(i64::MAX),
            Item::Text(t) => i64::try_from(t.len()).unwrap_or(i64::MAX),
            other => return Err(format!("len of {other}")),
        }),
        "toUpper" => Item::Text(text(argument).to_uppercase()),
        "toLower" => Item::Text(text(argument).to_lowercase()),
        "title" => Item::Text(title(&text(argument))),
        "safeHtml" => argument,
        "stripPort" => {
            let host = text(argument);
            Item::Text(match host.rsplit_once(':') {
                Some((h, port)) if port.bytes().all(|b| b.is_ascii_digit()) => h.trim_matches(['[', ']']).to_owned(),
                _ => host,
            })
        }
        "stripDomain" => {
            let host = text(argument);
            let (name, port) = host.split_once(':').map_or((host.as_str(), None), |(n, p)| (n, Some(p)));
            let is_address = name.parse::<std::net::IpAddr>().is_ok();
            let short = if is_address { name } else { name.split('.').next().unwrap_or(name) };
            Item::Text(port.map_or_else(|| short.to_owned(), |p| format!("{short}:{p}")))
        }
        "parseDuration" => Item::Float(crate::duration::parse_duration(&text(argument))? as f64 / 1000.0),
        "graphLink" => Item::Text(format!("/graph?g0.expr={}&g0.tab=0", url_encode(&text(argument)))),
        "tableLink" => Item::Text(format!("/graph?g0.expr={}&g0.tab=1", url_encode(&text(argument)))),
        "urlquery" => Item::Text(url_encode(&text(argument))),
        "humanize" => Item::Text(humanize(number(&argument)?)),
        "humanize1024" => Item::Text(humanize_1024(number(&argument)?)),
        "humanizeDuration" => Item::Text(humanize_duration(number(&argument)?)),
        "humanizePercentage" => Item::Text(format!("{}%", format_g(number(&argument)? * 100.0, Some(4)))),
        "humanizeTimestamp" | "toTime" => {
            let seconds = number(&argument)?;
            if !seconds.is_finite() {
                return if name == "toTime" { Err(format!("{seconds} is no time")) } else { Ok(Item::Text(format_g(seconds, Some(4)))) };
            }
            // Prometheus' timestamps have milliseconds; nanoseconds out of a float would be noise.
            let time = Item::Time((seconds * 1000.0).round() as i128 * 1_000_000);
            if name == "toTime" { time } else { Item::Text(time.to_string()) }
        }
        _ => return Err("no such function".to_owned()),
    })
}

/// Numbers compare as numbers, text as text; other pairs do not compare.
fn order(a: &Item, b: &Item) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Item::Int(a), Item::Int(b)) => Some(a.cmp(b)),
        (Item::Int(_) | Item::Float(_), Item::Int(_) | Item::Float(_)) => number(a).ok()?.partial_cmp(&number(b).ok()?),
        (Item::Text(a), Item::Text(b)) => Some(a.cmp(b)),
        (Item::Bool(a), Item::Bool(b)) => Some(a.cmp(b)),
        (Item::Nil, Item::Nil) => Some(std::cmp::Ordering::Equal),
        _ => None,
    }
}

fn number(item: &Item) -> Result<f64, String> {
    match item {
        Item::Float(n) => Ok(*n),
        Item::Int(n) => Ok(*n as f64),
        Item::Text(t) => t.trim().parse().map_err(|_| format!("can't convert {t:?} to float")),
        other => Err(format!("can't convert {other} to float")),
    }
}

/// First letters in upper case.
fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let out = if start { c.to_uppercase().next().unwrap_or(c) } else { c };
            start = !c.is_alphanumeric() && c != '_' && c != '\'';
            out
        })
        .collect()
}

fn scaled(mut value: f64, prefixes: &[&'static str], base: f64, grow: bool) -> (f64, &'static str) {
    let mut prefix = "";
    for p in prefixes {
        if if grow { value.abs() >= 1.0 } else { value.abs() < base } {
            break;
        }
        prefix = p;
        value = if grow { value * base } else { value / base };
    }
    (value, prefix)
}

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_g(value, Some(4));
    }
    let (value, prefix) = if value.abs() >= 1.0 { scaled(value, &LARGE, 1000.0, false) } else { scaled(value, &SMALL, 1000.0, true) };
    format!("{}{prefix}", format_g(value, Some(4)))
}

fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return format_g(value, Some(4));
    }
    let (value, prefix) = scaled(value, &LARGE_1024, 1024.0, false);
    format!("{}{prefix}", format_g(value, Some(4)))
}

fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return format_g(value, Some(4));
    }
    if value == 0.0 {
        return "0s".to_owned();
    }
    if value.abs() < 1.0 {
        let (value, prefix) = scaled(value, &SMALL, 1000.0, true);
        return format!("{}{prefix}s", format_g(value, Some(4)));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = value as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", format_g(value, Some(4)))
    }
}

/// `2015-06-23 13:19:44.128 +0000 UTC`.
pub(super) fn print_time(nanoseconds: i128) -> String {
    match jiff::Timestamp::from_nanosecond(nanoseconds) {
        Ok(time) => {
            let seconds = jiff::fmt::strtime::format("%Y-%m-%d %H:%M:%S", time).unwrap_or_default();
            let fraction = format!("{:09}", nanoseconds.rem_euclid(1_000_000_000));
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{seconds}{point}{fraction} +0000 UTC")
        }
        Err(_) => format!("{nanoseconds}ns out of the calendar's range"),
    }
}

/// Percent-encodes for a query string.
pub(crate) fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
