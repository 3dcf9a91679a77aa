//! A filter over blocks of spans: which columns it needs, which files and pages it rules out, which rows it takes.

use std::cmp::Ordering;

use skopos_model::{StatusCode, TraceId};
use skopos_query::filter::{CompiledFilter, Field, FieldValue, Filter, Node, Test, Value, attribute_keys};
use skopos_query::{QueryError, TimeRange};

use super::access::{Access, Block, OneField, View, ViewRow};

/// One term of a filter's top-level conjunction.
#[derive(Debug)]
struct Term {
    fields: Vec<Field>,
    text: bool,
}

/// A filter ready for scans.
#[derive(Debug)]
pub(super) struct SpanFilter {
    compiled: CompiledFilter,
    terms: Vec<Term>,
    pub(super) range: TimeRange,
    pub(super) prune: Prune,
}

/// What the conjunction demands of columns that have statistics.
#[derive(Debug, Clone)]
pub(super) struct Prune {
    pub(super) range: TimeRange,
    /// Durations wanted, nanoseconds, inclusive.
    pub(super) duration: (i64, i64),
    /// Services wanted, or any.
    pub(super) services: Option<Vec<String>>,
    /// Status codes wanted, or any.
    pub(super) statuses: Option<Vec<u8>>,
    /// Traces wanted, or any.
    pub(super) traces: Option<Vec<TraceId>>,
}

impl Prune {
    /// Rules out nothing but other times.
    pub(super) fn range(range: TimeRange) -> Self {
        Self { range, duration: (i64::MIN, i64::MAX), services: None, statuses: None, traces: None }
    }

    fn demand(&mut self, node: &Node) {
        let Node::Field(field, test) = node else { return };
        match (field, test) {
            (Field::Duration, Test::Order(Value::Duration(bound), order, _)) => match order {
                Ordering::Greater => self.duration.0 = self.duration.0.max(*bound),
                _ => self.duration.1 = self.duration.1.min(*bound),
            },
            (Field::Service, Test::Equal(values)) => {
                let texts: Option<Vec<String>> = values.iter().map(text_of).collect();
                self.services = self.services.take().or(texts);
            }
            (Field::Status, Test::Equal(values)) => {
                let code = |v: &Value| match v {
                    Value::Text(t) => [StatusCode::Unset, StatusCode::Ok, StatusCode::Error]
                        .into_iter()
                        .find(|s| s.as_str().eq_ignore_ascii_case(t))
                        .map(|s| s as u8),
                    _ => None,
                };
                let codes: Option<Vec<u8>> = values.iter().map(code).collect();
                self.statuses = self.statuses.take().or(codes);
            }
            (Field::TraceId, Test::Equal(values)) => {
                // A text that is no id equals no id.
                let ids = values.iter().filter_map(|v| TraceId::from_hex(text_of(v)?.as_bytes())).collect();
                self.traces = self.traces.take().or(Some(ids));
            }
            _ => {}
        }
    }
}

/// A literal as text; numbers are left out, for their text has many spellings.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Whether a test on the status looks at the HTTP status too.
fn looks_at_http(test: &Test) -> bool {
    match test {
        Test::Equal(values) => {
            !values.iter().all(|v| matches!(v, Value::Text(t) if matches!(t.to_ascii_lowercase().as_str(), "ok" | "error" | "unset")))
        }
        Test::Contains(_) | Test::Exists => false,
        Test::Prefix(_) | Test::Regex(_) | Test::Order(..) => true,
    }
}

/// The fields a node reads, attributes by exact key, and whether it searches free text.
fn needs(node: &Node, fields: &mut Vec<Field>, text: &mut bool) {
    match node {
        Node::And(all) | Node::Or(all) => all.iter().for_each(|n| needs(n, fields, text)),
        Node::Not(inner) => needs(inner, fields, text),
        Node::Text(_) => *text = true,
        Node::Field(field, test) => {
            let mut add = |field: Field| {
                if !fields.contains(&field) {
                    fields.push(field);
                }
            };
            if !matches!(field, Field::Attribute(_)) {
                add(field.clone());
            }
            if !matches!(field, Field::Status) || looks_at_http(test) {
                attribute_keys(field).into_iter().for_each(|key| add(Field::Attribute(key.to_owned())));
            }
        }
    }
}

impl SpanFilter {
    /// Compiles a filter over a range of start times.
    pub(super) fn new(filter: &Filter, range: TimeRange) -> Result<Self, QueryError> {
        let compiled = CompiledFilter::new(filter)?;
        let mut prune = Prune::range(range);
        let terms = Self::nodes(&compiled)
            .iter()
            .map(|node| {
                prune.demand(node);
                let mut term = Term { fields: Vec::new(), text: false };
                needs(node, &mut term.fields, &mut term.text);
                term
            })
            .collect();
        Ok(Self { compiled, terms, range, prune })
    }

    fn nodes(compiled: &CompiledFilter) -> &[Node] {
        match compiled.node() {
            Node::And(all) => all,
            one => std::slice::from_ref(one),
        }
    }

    /// Whether it takes every row of the range.
    pub(super) fn is_all(&self) -> bool {
        self.compiled.is_all()
    }

    /// The fields read, and whether free text is searched.
    pub(super) fn needs(&self) -> (Vec<Field>, bool) {
        let mut fields: Vec<Field> = Vec::new();
        for field in self.terms.iter().flat_map(|t| &t.fields) {
            if !fields.contains(field) {
                fields.push(field.clone());
            }
        }
        (fields, self.terms.iter().any(|t| t.text))
    }

    /// Which rows of a block pass, or `None` when all do.
    pub(super) fn select(&self, block: Block<'_>) -> Option<Vec<bool>> {
        let starts = block.starts();
        let mut taken: Option<Vec<bool>> = None;
        if self.range != TimeRange::ALL && !starts.iter().all(|t| self.range.contains(*t)) {
            taken = Some(starts.iter().map(|t| self.range.contains(*t)).collect());
        }
        // Terms over few distinct values first: they leave fewer rows for the others.
        let nodes = Self::nodes(&self.compiled);
        let mut later = Vec::new();
        for (term, node) in self.terms.iter().zip(nodes) {
            let single = match &term.fields[..] {
                [field] if !term.text => Some((field, Access::new(block, field))),
                _ => None,
            };
            match single {
                Some((field, access @ (Access::Missing | Access::Codes(..)))) => {
                    one_field(node, field, &access, taken.get_or_insert_with(|| vec![true; block.rows()]));
                }
                single => later.push((node, term, single)),
            }
        }
        for (node, term, single) in later {
            let taken = taken.get_or_insert_with(|| vec![true; block.rows()]);
            match single {
                Some((field, access)) => one_field(node, field, &access, taken),
                None => {
                    let view = View::new(block, &term.fields, term.text);
                    for (row, taken) in taken.iter_mut().enumerate() {
                        *taken = *taken && node.matches(&ViewRow { view: &view, row });
                    }
                }
            }
        }
        taken
    }
}

fn one_field(node: &Node, field: &Field, access: &Access<'_>, taken: &mut [bool]) {
    let test = |value: Option<FieldValue<'_>>| node.matches(&OneField { field, value });
    let absent = test(None);
    match access {
        Access::Missing => {
            if !absent {
                taken.fill(false);
            }
        }
        Access::Codes(codes, values) => {
            // Few values are in use in a block, so each is tested when it is met first.
            let mut known: Vec<Option<bool>> = vec![None; values.len()];
            for (row, taken) in taken.iter_mut().enumerate().filter(|(_, taken)| **taken) {
                *taken = match codes.get(row) {
                    Some(code) => *known[code].get_or_insert_with(|| test(values[code].clone())),
                    None => absent,
                };
            }
        }
        Access::Ints(values) => {
            let bound = match node {
                Node::Field(Field::Duration, Test::Order(Value::Duration(bound), order, or_equal)) => Some((*bound as f64, *order, *or_equal)),
                _ => None,
            };
            for (value, taken) in values.iter().zip(taken).filter(|(_, taken)| **taken) {
                *taken = match bound {
                    Some((bound, order, or_equal)) => {
                        let found = (*value as f64).partial_cmp(&bound);
                        found == Some(order) || or_equal && found == Some(Ordering::Equal)
                    }
                    None => test(Some(FieldValue::Int(*value))),
                };
            }
        }
        access => {
            for (row, taken) in taken.iter_mut().enumerate().filter(|(_, taken)| **taken) {
                *taken = test(access.get(row));
            }
        }
    }
}
