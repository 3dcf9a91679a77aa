//! Functions a template may call.

use base64::Engine;
use regex::Regex;

use super::super::units;
use super::print::sprintf;
use super::value::Value;
use super::{Data, TEMPLATE_OUTPUT_MAX, go_time};

/// A function.
#[derive(Debug)]
pub struct TemplateFunction {
    /// As written.
    pub name: &'static str,
    /// Least and most arguments.
    pub arguments: (usize, usize),
    /// How it is called.
    pub example: &'static str,
    /// One sentence.
    pub summary: &'static str,
    run: fn(&[Value], &dyn Data) -> Result<Value, String>,
}

/// Any number of arguments.
const MANY: usize = 64;

impl TemplateFunction {
    pub(super) fn check_count(&self, count: usize) -> Result<(), String> {
        let (least, most) = self.arguments;
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let wanted = if least == most { least.to_string() } else { format!("at least {least}") };
        Err(format!("wrong number of args for {}: want {wanted} got {count}", self.name))
    }

    pub(super) fn call(&self, arguments: &[Value], data: &dyn Data) -> Result<Value, String> {
        self.check_count(arguments.len())?;
        (self.run)(arguments, data)
    }
}

fn text(text: impl Into<String>) -> Result<Value, String> {
    Ok(Value::Text(text.into()))
}

fn truth(b: bool) -> Result<Value, String> {
    Ok(Value::Bool(b))
}

fn regex(pattern: &Value) -> Result<Regex, String> {
    super::super::text_test::line_regex(&pattern.text())
}

/// Characters `from..to` of a text; either may be left open by a negative number.
fn slice(s: &str, from: i64, to: i64) -> String {
    let from = usize::try_from(from).unwrap_or(0);
    let count = if to < 0 { usize::MAX } else { usize::try_from(to).unwrap_or(0).saturating_sub(from) };
    s.chars().skip(from).take(count).collect()
}

fn cutset(set: &str) -> impl Fn(char) -> bool + '_ {
    |c| set.contains(c)
}

fn repeat(s: &str, n: i64) -> Result<String, String> {
    let n = usize::try_from(n).unwrap_or(0);
    if s.len().saturating_mul(n) > TEMPLATE_OUTPUT_MAX {
        return Err(format!("repeat makes more than {TEMPLATE_OUTPUT_MAX} bytes"));
    }
    Ok(s.repeat(n))
}

fn indent(n: &Value, s: &Value) -> Result<String, String> {
    let blanks = repeat(" ", n.int().min(1_000))?;
    Ok(format!("{blanks}{}", s.text().replace('\n', &format!("\n{blanks}"))))
}

/// To a width: cut, or filled on one side.
fn align(a: &[Value], left: bool) -> Result<Value, String> {
    let width = usize::try_from(a[0].int()).unwrap_or(0).min(TEMPLATE_OUTPUT_MAX);
    let s = a[1].text();
    let length = s.chars().count();
    if length > width {
        return text(if left { s.chars().take(width).collect::<String>() } else { s.chars().skip(length - width).collect() });
    }
    let blanks = " ".repeat(width - length);
    text(if left { s + &blanks } else { blanks + &s })
}

fn url_encode(s: &str) -> String {
    let mut out = String::new();
    for b in s.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn url_decode(s: &str) -> Result<String, String> {
    let (bytes, mut out, mut at) = (s.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let byte = s.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                out.push(byte.ok_or_else(|| format!("invalid URL escape in {s:?}"))?);
                at += 2;
            }
            b => out.push(b),
        }
        at += 1;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn title(s: &str) -> String {
    let mut start = true;
    let letter = |c: char| {
        let upper = std::mem::replace(&mut start, !c.is_alphanumeric() && c != '_' && c != '\'');
        if upper { c.to_uppercase().to_string() } else { c.to_string() }
    };
    s.chars().map(letter).collect()
}

fn equal(a: &Value, b: &Value) -> bool {
    a == b || a.compare(b) == Some(std::cmp::Ordering::Equal)
}

fn compare(a: &[Value], accept: impl Fn(std::cmp::Ordering) -> bool) -> Result<Value, String> {
    a[0].compare(&a[1]).map(|order| Value::Bool(accept(order))).ok_or_else(|| "incompatible types for comparison".to_owned())
}

fn moment(value: &Value) -> Result<i64, String> {
    match value {
        Value::Time(nanos) => Ok(*nanos),
        Value::Int(seconds) => Ok(seconds.saturating_mul(1_000_000_000)),
        other => Err(format!("{:?} is no time: take __timestamp__, now, toDate or unixToTime", other.text())),
    }
}

/// A Unix time in seconds, milliseconds, microseconds or nanoseconds, by its number of digits.
fn unix_to_time(value: &Value) -> Result<Value, String> {
    let digits = value.text();
    let n: i64 = digits.trim().parse().map_err(|_| format!("unable to parse time {digits:?}"))?;
    let scale = match digits.trim().trim_start_matches('-').len() {
        0..=5 => 86_400_000_000_000,
        6..=10 => 1_000_000_000,
        11..=13 => 1_000_000,
        14..=16 => 1_000,
        17..=19 => 1,
        _ => return Err(format!("unable to parse time {digits:?}")),
    };
    Ok(Value::Time(n.saturating_mul(scale)))
}

fn divide(a: i64, b: i64, f: impl Fn(i64, i64) -> i64) -> Result<Value, String> {
    if b == 0 { Err("division by zero".to_owned()) } else { Ok(Value::Int(f(a, b))) }
}

fn fold_int(a: &[Value], f: impl Fn(i64, i64) -> i64) -> Result<Value, String> {
    Ok(Value::Int(a.iter().map(Value::int).reduce(f).unwrap_or(0)))
}

fn fold_float(a: &[Value], f: impl Fn(f64, f64) -> f64) -> Result<Value, String> {
    Ok(Value::Float(a.iter().map(Value::float).reduce(f).unwrap_or(0.0)))
}

fn round(value: f64, places: i64) -> f64 {
    let scale = 10f64.powi(i32::try_from(places).unwrap_or(0).clamp(0, 15));
    (value * scale).round() / scale
}

fn seconds(value: &Value) -> Result<Value, String> {
    #[allow(clippy::cast_precision_loss, reason = "seconds need no more digits")]
    Ok(Value::Float(units::parse_duration(&value.text())? as f64 / 1e9))
}

fn index(a: &[Value]) -> Result<Value, String> {
    let mut value = a[0].clone();
    for key in &a[1..] {
        value = match &value {
            Value::Map(map) => map.iter().find(|(k, _)| *k == key.text()).map_or(Value::Nil, |(_, v)| v.clone()),
            Value::List(items) => {
                let at = usize::try_from(key.int()).ok();
                at.and_then(|at| items.get(at)).cloned().ok_or_else(|| format!("error calling index: index out of range: {}", key.text()))?
            }
            Value::Text(s) => s.as_bytes().get(usize::try_from(key.int()).unwrap_or(usize::MAX)).map_or(Value::Nil, |b| Value::Int(i64::from(*b))),
            _ => return Err("error calling index: cannot index this value".to_owned()),
        };
    }
    Ok(value)
}

fn join(a: &[Value], spaced: bool) -> String {
    let mut out = String::new();
    for (i, value) in a.iter().enumerate() {
        let text = |v: &Value| matches!(v, Value::Text(_));
        if i > 0 && (spaced || !text(value) && !text(&a[i - 1])) {
            out.push(' ');
        }
        value.print(&mut out);
    }
    out
}

macro_rules! row {
    ($name:literal, $least:expr, $most:expr, $example:literal, $summary:literal, $run:expr) => {
        TemplateFunction { name: $name, arguments: ($least, $most), example: $example, summary: $summary, run: $run }
    };
}

/// Every function, by theme.
#[rustfmt::skip]
pub const FUNCTIONS: &[TemplateFunction] = &[
    row!("__line__", 0, 0, "{{__line__}}", "The line.", |_, d| text(d.line())),
    row!("__timestamp__", 0, 0, "{{__timestamp__ | date \"15:04\"}}", "The line's time.", |_, d| Ok(Value::Time(d.time()))),
    row!("ToLower", 1, 1, "{{ToLower .a}}", "In lower case.", |a, _| text(a[0].text().to_lowercase())),
    row!("ToUpper", 1, 1, "{{ToUpper .a}}", "In upper case.", |a, _| text(a[0].text().to_uppercase())),
    row!("lower", 1, 1, "{{.a | lower}}", "In lower case.", |a, _| text(a[0].text().to_lowercase())),
    row!("upper", 1, 1, "{{.a | upper}}", "In upper case.", |a, _| text(a[0].text().to_uppercase())),
    row!("title", 1, 1, "{{.a | title}}", "First letters in upper case.", |a, _| text(title(&a[0].text()))),
    row!("trunc", 2, 2, "{{.a | trunc 5}}", "The first n characters, or the last for a negative n.", |a, _| {
        let (n, s) = (a[0].int(), a[1].text());
        let count = i64::try_from(s.chars().count()).unwrap_or(i64::MAX);
        text(if n < 0 { slice(&s, (count + n).max(0), -1) } else { slice(&s, 0, n) })
    }),
    row!("substr", 3, 3, "{{.a | substr 2 5}}", "Characters from the first number to before the second.", |a, _| text(slice(&a[2].text(), a[0].int(), a[1].int()))),
    row!("contains", 2, 2, "{{.a | contains \"x\"}}", "Whether a text holds another.", |a, _| truth(a[1].text().contains(&a[0].text()))),
    row!("hasPrefix", 2, 2, "{{.a | hasPrefix \"x\"}}", "Whether a text begins with another.", |a, _| truth(a[1].text().starts_with(&a[0].text()))),
    row!("hasSuffix", 2, 2, "{{.a | hasSuffix \"x\"}}", "Whether a text ends with another.", |a, _| truth(a[1].text().ends_with(&a[0].text()))),
    row!("eq", 2, MANY, "{{eq .a \"x\"}}", "Whether the first is equal to any of the others.", |a, _| truth(a[1..].iter().any(|b| equal(&a[0], b)))),
    row!("ne", 2, 2, "{{ne .a \"x\"}}", "Whether they differ.", |a, _| truth(!equal(&a[0], &a[1]))),
    row!("lt", 2, 2, "{{lt 1 2}}", "Less.", |a, _| compare(a, std::cmp::Ordering::is_lt)),
    row!("le", 2, 2, "{{le 1 2}}", "Less or equal.", |a, _| compare(a, std::cmp::Ordering::is_le)),
    row!("gt", 2, 2, "{{gt 1 2}}", "Greater.", |a, _| compare(a, std::cmp::Ordering::is_gt)),
    row!("ge", 2, 2, "{{ge 1 2}}", "Greater or equal.", |a, _| compare(a, std::cmp::Ordering::is_ge)),
    row!("and", 1, MANY, "{{and .a .b}}", "The first that is empty, else the last.", |a, _| Ok(a.iter().find(|v| !v.truthy()).unwrap_or(&a[a.len() - 1]).clone())),
    row!("or", 1, MANY, "{{or .a .b}}", "The first that is not empty, else the last.", |a, _| Ok(a.iter().find(|v| v.truthy()).unwrap_or(&a[a.len() - 1]).clone())),
    row!("not", 1, 1, "{{not .a}}", "Whether it is empty.", |a, _| truth(!a[0].truthy())),
    row!("index", 2, MANY, "{{index (fromJson __line__) \"a\" 0}}", "An element.", |a, _| index(a)),
    row!("len", 1, 1, "{{len .a}}", "Bytes or elements.", |a, _| Ok(Value::Int(i64::try_from(match &a[0] {
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        other => other.text().len(),
    }).unwrap_or(i64::MAX)))),
    row!("Replace", 4, 4, "{{Replace .a \"x\" \"y\" -1}}", "Replaces the first n occurrences, all for a negative n.", |a, _| {
        let (s, from, to) = (a[0].text(), a[1].text(), a[2].text());
        text(usize::try_from(a[3].int()).map_or_else(|_| s.replace(&from, &to), |n| s.replacen(&from, &to, n)))
    }),
    row!("replace", 3, 3, "{{.a | replace \"x\" \"y\"}}", "Replaces all occurrences.", |a, _| text(a[2].text().replace(&a[0].text(), &a[1].text()))),
    row!("Trim", 2, 2, "{{Trim .a \",.\"}}", "Without these characters at both ends.", |a, _| text(a[0].text().trim_matches(cutset(&a[1].text())))),
    row!("TrimLeft", 2, 2, "{{TrimLeft .a \",.\"}}", "Without these characters at the start.", |a, _| text(a[0].text().trim_start_matches(cutset(&a[1].text())))),
    row!("TrimRight", 2, 2, "{{TrimRight .a \",.\"}}", "Without these characters at the end.", |a, _| text(a[0].text().trim_end_matches(cutset(&a[1].text())))),
    row!("TrimPrefix", 2, 2, "{{TrimPrefix .a \"x\"}}", "Without this at the start.", |a, _| { let s = a[0].text(); text(s.strip_prefix(&a[1].text()).unwrap_or(&s)) }),
    row!("TrimSuffix", 2, 2, "{{TrimSuffix .a \"x\"}}", "Without this at the end.", |a, _| { let s = a[0].text(); text(s.strip_suffix(&a[1].text()).unwrap_or(&s)) }),
    row!("TrimSpace", 1, 1, "{{TrimSpace .a}}", "Without blanks at both ends.", |a, _| text(a[0].text().trim())),
    row!("trim", 1, 1, "{{.a | trim}}", "Without blanks at both ends.", |a, _| text(a[0].text().trim())),
    row!("trimAll", 2, 2, "{{.a | trimAll \"$\"}}", "Without these characters at both ends.", |a, _| text(a[1].text().trim_matches(cutset(&a[0].text())))),
    row!("trimPrefix", 2, 2, "{{.a | trimPrefix \"-\"}}", "Without this at the start.", |a, _| { let s = a[1].text(); text(s.strip_prefix(&a[0].text()).unwrap_or(&s)) }),
    row!("trimSuffix", 2, 2, "{{.a | trimSuffix \"-\"}}", "Without this at the end.", |a, _| { let s = a[1].text(); text(s.strip_suffix(&a[0].text()).unwrap_or(&s)) }),
    row!("repeat", 2, 2, "{{repeat 3 .a}}", "The text n times.", |a, _| text(repeat(&a[1].text(), a[0].int())?)),
    row!("indent", 2, 2, "{{indent 4 .a}}", "Each line behind n blanks.", |a, _| text(indent(&a[0], &a[1])?)),
    row!("nindent", 2, 2, "{{nindent 4 .a}}", "As indent, behind a line break.", |a, _| text(format!("\n{}", indent(&a[0], &a[1])?))),
    row!("alignLeft", 2, 2, "{{alignLeft 5 .a}}", "To this width, blanks at the end.", |a, _| align(a, true)),
    row!("alignRight", 2, 2, "{{alignRight 5 .a}}", "To this width, blanks at the start.", |a, _| align(a, false)),
    row!("regexReplaceAll", 3, 3, "{{regexReplaceAll \"(a+)\" .a \"<$1>\"}}", "Replaces every match.", |a, _| text(regex(&a[0])?.replace_all(&a[1].text(), a[2].text().as_str()))),
    row!("regexReplaceAllLiteral", 3, 3, "{{regexReplaceAllLiteral \"a+\" .a \"x\"}}", "Replaces every match, $ meaning nothing.", |a, _| text(regex(&a[0])?.replace_all(&a[1].text(), regex::NoExpand(&a[2].text())))),
    row!("count", 2, 2, "{{__line__ | count \"x\"}}", "Number of matches.", |a, _| Ok(Value::Int(i64::try_from(regex(&a[0])?.find_iter(&a[1].text()).count()).unwrap_or(0)))),
    row!("urlencode", 1, 1, "{{.a | urlencode}}", "Escaped for an address.", |a, _| text(url_encode(&a[0].text()))),
    row!("urldecode", 1, 1, "{{.a | urldecode}}", "Escapes of an address resolved.", |a, _| text(url_decode(&a[0].text())?)),
    row!("b64enc", 1, 1, "{{.a | b64enc}}", "As base64.", |a, _| text(base64::engine::general_purpose::STANDARD.encode(a[0].text()))),
    row!("b64dec", 1, 1, "{{.a | b64dec}}", "From base64.", |a, _| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(a[0].text()).map_err(|e| e.to_string())?;
        text(String::from_utf8_lossy(&bytes))
    }),
    row!("default", 2, 2, "{{.a | default \"-\"}}", "The first where the second is empty.", |a, _| Ok(if a[1].truthy() { a[1].clone() } else { a[0].clone() })),
    row!("fromJson", 1, 1, "{{range $k, $v := fromJson __line__}}…{{end}}", "JSON as value.", |a, _| serde_json::from_str(&a[0].text()).map(Value::from_json).map_err(|e| e.to_string())),
    row!("int", 1, 1, "{{.a | int}}", "As a whole number.", |a, _| Ok(Value::Int(a[0].int()))),
    row!("float64", 1, 1, "{{.a | float64}}", "As a number.", |a, _| Ok(Value::Float(a[0].float()))),
    row!("add", 1, MANY, "{{add 1 2 3}}", "Sum of whole numbers.", |a, _| fold_int(a, i64::wrapping_add)),
    row!("sub", 2, 2, "{{sub 5 2}}", "Difference of whole numbers.", |a, _| fold_int(a, i64::wrapping_sub)),
    row!("mul", 1, MANY, "{{mul 2 3}}", "Product of whole numbers.", |a, _| fold_int(a, i64::wrapping_mul)),
    row!("div", 2, 2, "{{div 7 2}}", "Whole quotient.", |a, _| divide(a[0].int(), a[1].int(), i64::wrapping_div)),
    row!("mod", 2, 2, "{{mod 7 2}}", "Rest of a division.", |a, _| divide(a[0].int(), a[1].int(), i64::wrapping_rem)),
    row!("addf", 1, MANY, "{{addf 1.5 2}}", "Sum.", |a, _| fold_float(a, |x, y| x + y)),
    row!("subf", 2, MANY, "{{subf 1.5 2}}", "Difference.", |a, _| fold_float(a, |x, y| x - y)),
    row!("mulf", 1, MANY, "{{mulf 1.5 2}}", "Product.", |a, _| fold_float(a, |x, y| x * y)),
    row!("divf", 2, MANY, "{{divf 3 2}}", "Quotient.", |a, _| fold_float(a, |x, y| x / y)),
    row!("max", 1, MANY, "{{max 1 2}}", "Greatest whole number.", |a, _| fold_int(a, i64::max)),
    row!("min", 1, MANY, "{{min 1 2}}", "Least whole number.", |a, _| fold_int(a, i64::min)),
    row!("maxf", 1, MANY, "{{maxf 1.5 2}}", "Greatest number.", |a, _| fold_float(a, f64::max)),
    row!("minf", 1, MANY, "{{minf 1.5 2}}", "Least number.", |a, _| fold_float(a, f64::min)),
    row!("ceil", 1, 1, "{{ceil .a}}", "Rounded up.", |a, _| Ok(Value::Float(a[0].float().ceil()))),
    row!("floor", 1, 1, "{{floor .a}}", "Rounded down.", |a, _| Ok(Value::Float(a[0].float().floor()))),
    row!("round", 2, 3, "{{round .a 2}}", "Rounded to n places.", |a, _| Ok(Value::Float(round(a[0].float(), a[1].int())))),
    row!("bytes", 1, 1, "{{.a | bytes}}", "A size such as 2KB in bytes.", |a, _| {
        #[allow(clippy::cast_precision_loss, reason = "as Loki, a float")]
        let bytes = units::parse_bytes(&a[0].text())? as f64;
        Ok(Value::Float(bytes))
    }),
    row!("duration", 1, 1, "{{.a | duration}}", "A duration such as 1h20m in seconds.", |a, _| seconds(&a[0])),
    row!("duration_seconds", 1, 1, "{{.a | duration_seconds}}", "As duration.", |a, _| seconds(&a[0])),
    row!("now", 0, 0, "{{now | unixEpoch}}", "The query's time.", |_, d| Ok(Value::Time(d.now()))),
    row!("date", 2, 2, "{{date \"2006-01-02\" now}}", "A time in a layout, in UTC.", |a, _| text(go_time::format(moment(&a[1])?, &a[0].text()))),
    row!("toDate", 2, 2, "{{toDate \"2006-01-02\" .a}}", "A time from text.", |a, _| go_time::parse(&a[1].text(), &a[0].text(), "UTC").map(Value::Time)),
    row!("toDateInZone", 3, 3, "{{toDateInZone \"2006-01-02\" \"Europe/Berlin\" .a}}", "A time from text, in a zone.", |a, _| go_time::parse(&a[2].text(), &a[0].text(), &a[1].text()).map(Value::Time)),
    row!("unixEpoch", 1, 1, "{{now | unixEpoch}}", "Seconds since 1970.", |a, _| text(moment(&a[0])?.div_euclid(1_000_000_000).to_string())),
    row!("unixEpochMillis", 1, 1, "{{now | unixEpochMillis}}", "Milliseconds since 1970.", |a, _| text(moment(&a[0])?.div_euclid(1_000_000).to_string())),
    row!("unixEpochNanos", 1, 1, "{{now | unixEpochNanos}}", "Nanoseconds since 1970.", |a, _| text(moment(&a[0])?.to_string())),
    row!("unixToTime", 1, 1, "{{unixToTime \"1679577215\"}}", "A time from a number: days, seconds, milli-, micro- or nanoseconds by its length.", |a, _| unix_to_time(&a[0])),
    row!("print", 0, MANY, "{{print .a .b}}", "As text.", |a, _| text(join(a, false))),
    row!("println", 0, MANY, "{{println .a}}", "As text, with a line break.", |a, _| text(join(a, true) + "\n")),
    row!("printf", 1, MANY, "{{printf \"%.2f\" 1.5}}", "Formatted.", |a, _| text(sprintf(&a[0].text(), &a[1..]))),
];
