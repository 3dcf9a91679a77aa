//! Names of the fields, in one table that parser, printer, error messages and documentation read.

use super::Field;

/// A field's names in the grammar.
#[derive(Debug)]
pub struct FieldName {
    /// The field.
    pub field: Field,
    /// The name it is printed with.
    pub name: &'static str,
    /// Other names that are understood.
    pub aliases: &'static [&'static str],
    /// What a value looks like, for error messages and documentation.
    pub example: &'static str,
}

/// Every field that is no attribute.
pub const FIELDS: &[FieldName] = &[
    FieldName { field: Field::Service, name: "service", aliases: &["svc", "service_name", "service.name"], example: "service:checkout" },
    FieldName { field: Field::Level, name: "level", aliases: &["severity", "lvl", "severity_text"], example: "level:>=warn" },
    FieldName { field: Field::Body, name: "body", aliases: &["message", "msg"], example: "body:\"connection reset\"" },
    FieldName {
        field: Field::TraceId,
        name: "trace_id",
        aliases: &["trace", "traceid", "trace.id"],
        example: "trace_id:4bf92f3577b34da6a3ce929d0e0e4736",
    },
    FieldName { field: Field::SpanId, name: "span_id", aliases: &["span", "spanid", "span.id"], example: "span_id:00f067aa0ba902b7" },
    FieldName { field: Field::Name, name: "name", aliases: &["op", "operation", "span_name", "event_name"], example: "name:\"GET /orders\"" },
    FieldName { field: Field::Kind, name: "kind", aliases: &["span_kind"], example: "kind:server" },
    FieldName { field: Field::Status, name: "status", aliases: &["status_code"], example: "status:5xx" },
    FieldName { field: Field::Duration, name: "duration", aliases: &["dur"], example: "duration:>500ms" },
    FieldName {
        field: Field::Environment,
        name: "environment",
        aliases: &["env", "deployment.environment.name", "deployment.environment"],
        example: "environment:production",
    },
    FieldName { field: Field::Scope, name: "scope", aliases: &["scope_name"], example: "scope:orders::db" },
    FieldName { field: Field::Root, name: "root", aliases: &[], example: "root:true" },
];

/// Attributes that hold an HTTP status, newest convention first: what `status:503` looks at.
pub const HTTP_STATUS_KEYS: &[&str] = &["http.response.status_code", "http.status_code", "status"];

/// Short attribute names and the OpenTelemetry keys they also stand for; the first key a row has is compared.
const SHORT_KEYS: &[(&str, &[&str])] = &[
    ("path", &["path", "url.path", "http.target"]),
    ("method", &["method", "http.request.method", "http.method"]),
    ("route", &["route", "http.route"]),
    ("version", &["version", "service.version"]),
];

/// The attribute keys a field looks at, in order: the first one a row has decides. Empty for fields that look at
/// no attribute. [`Field::Status`] looks at these for numbers and classes only.
pub fn attribute_keys(field: &Field) -> Vec<&str> {
    match field {
        Field::Status => HTTP_STATUS_KEYS.to_vec(),
        Field::Attribute(key) => match SHORT_KEYS.iter().find(|(short, _)| short == key) {
            Some((_, keys)) => keys.to_vec(),
            None => vec![key.as_str()],
        },
        _ => Vec::new(),
    }
}

impl Field {
    /// The field of this name or alias; any other name is an attribute's key.
    pub fn from_name(name: &str) -> Self {
        match FIELDS.iter().find(|f| f.name == name || f.aliases.contains(&name)) {
            Some(known) => known.field.clone(),
            None => Self::Attribute(name.to_owned()),
        }
    }

    /// The name it is printed with: an attribute's own key, else its name in the grammar.
    pub fn name(&self) -> &str {
        match self {
            Self::Attribute(key) => key,
            other => FIELDS.iter().find(|f| f.field == *other).map_or("", |f| f.name),
        }
    }
}

/// Number of edits (insert, delete, replace, swap of neighbours) between two short words.
pub(super) fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = table[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(table[(i - 1) * width + j] + 1).min(table[i * width + j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    table[a.len() * width + b.len()]
}

/// The nearest of `known` within two edits (one for short words), for "did you mean".
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = if lower.chars().count() < 5 { 1 } else { 2 };
    known.into_iter().map(|k| (edits(&lower, k), k)).filter(|(n, _)| *n <= allowed).min_by_key(|(n, _)| *n).map(|(_, k)| k)
}

/// The field name a key is most likely a slip of: one edit away from a name of five letters or more. Plurals are
/// keys in their own right.
pub(super) fn likely_typo(key: &str) -> Option<&'static str> {
    if key.len() < 4 || key.len() > 32 || key.contains('.') || key.ends_with('s') && !key.ends_with("us") {
        return None;
    }
    let names = FIELDS.iter().flat_map(|f| std::iter::once(&f.name).chain(f.aliases)).copied();
    names.filter(|name| name.len() >= 5 && *name != "trace" && !name.contains('.')).find(|name| edits(key, name) == 1)
}
