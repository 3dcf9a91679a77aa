//! Conditions made ready for many spans, and values of fields in a span.

use regex::Regex;
use skopos_model::{SpanKind, StatusCode};

use super::ast::{Field, FieldExpr, Op, Scope, Static, UnaryOp};
use super::fields::Intrinsic;
use super::trace::Trace;
use super::value::{Value, arithmetic, compare, compile_regex};
use crate::filter::FieldValue;
use crate::traces::{SpanBlock, SpanRow};

/// What a condition reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    /// A field.
    Field(Field),
    /// Whether the span is a root: `nestedSetParent < 0`, which needs no other span.
    Root,
}

/// A span to read from: by place in the list of slots.
pub(super) trait SpanView {
    fn value(&self, slot: usize) -> Value<'_>;
}

#[derive(Debug, Clone)]
enum Node {
    Constant(Value<'static>),
    Slot(usize),
    Not(Box<Node>),
    Minus(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Op, Box<Node>, Box<Node>),
    Regex(Box<Node>, Regex, bool),
    Arithmetic(Op, Box<Node>, Box<Node>),
    /// Whether there is no value, or whether there is one.
    IsNil(Box<Node>, bool),
}

/// Several expressions over one list of slots.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(pub(super) Vec<Slot>);

impl Slots {
    pub(super) fn of(&mut self, slot: Slot) -> usize {
        self.0.iter().position(|known| *known == slot).unwrap_or_else(|| {
            self.0.push(slot);
            self.0.len() - 1
        })
    }

    /// Makes an expression ready. A broken regular expression, which the check before has refused, matches nothing.
    pub(super) fn compile(&mut self, expr: &FieldExpr) -> Compiled {
        Compiled(self.node(expr))
    }

    fn node(&mut self, expr: &FieldExpr) -> Node {
        if is_root(expr) {
            return Node::Slot(self.of(Slot::Root));
        }
        match expr {
            FieldExpr::Static(value) => Node::Constant(Value::of_static(value).into_owned()),
            FieldExpr::Field(field) => Node::Slot(self.of(Slot::Field(field.clone()))),
            FieldExpr::Unary(UnaryOp::Not, inner) => Node::Not(Box::new(self.node(inner))),
            FieldExpr::Unary(UnaryOp::Minus, inner) => Node::Minus(Box::new(self.node(inner))),
            FieldExpr::Binary(op, left, right) => self.binary(*op, left, right),
        }
    }

    fn binary(&mut self, op: Op, left: &FieldExpr, right: &FieldExpr) -> Node {
        let nil = |e: &FieldExpr| matches!(e, FieldExpr::Static(Static::Nil));
        if nil(right) || nil(left) {
            let other = if nil(right) { left } else { right };
            return Node::IsNil(Box::new(self.node(other)), op == Op::Equal);
        }
        let (l, r) = (Box::new(self.node(&padded(left, right))), Box::new(self.node(&padded(right, left))));
        match op {
            Op::And => Node::And(l, r),
            Op::Or => Node::Or(l, r),
            Op::Regex | Op::NotRegex => match right {
                FieldExpr::Static(Static::Text(pattern)) => match compile_regex(pattern) {
                    Ok(regex) => Node::Regex(l, regex, op == Op::NotRegex),
                    Err(_) => Node::Constant(Value::Bool(false)),
                },
                _ => Node::Constant(Value::Bool(false)),
            },
            op if op.is_arithmetic() => Node::Arithmetic(op, l, r),
            op => Node::Compare(op, l, r),
        }
    }
}

/// Whether the expression asks for roots.
pub(super) fn is_root(expr: &FieldExpr) -> bool {
    let FieldExpr::Binary(op, left, right) = expr else { return false };
    let (FieldExpr::Field(Field::Intrinsic(Intrinsic::NestedSetParent)), FieldExpr::Static(Static::Int(n))) = (&**left, &**right) else {
        return false;
    };
    matches!((op, n), (Op::Less, 0) | (Op::LessEqual | Op::Equal, -1))
}

/// An id as it is compared: where the other side is an id, with its leading zeros.
pub(super) fn padded(expr: &FieldExpr, other: &FieldExpr) -> FieldExpr {
    match (expr, other) {
        (FieldExpr::Static(Static::Text(id)), FieldExpr::Field(Field::Intrinsic(intrinsic))) => {
            let id = id.to_ascii_lowercase();
            FieldExpr::Static(Static::Text(match intrinsic {
                Intrinsic::TraceId | Intrinsic::LinkTraceId => format!("{id:0>32}"),
                Intrinsic::SpanId | Intrinsic::ParentId | Intrinsic::LinkSpanId => format!("{id:0>16}"),
                _ => return expr.clone(),
            }))
        }
        _ => expr.clone(),
    }
}

/// An expression ready for many spans.
#[derive(Debug, Clone)]
pub(super) struct Compiled(Node);

impl Compiled {
    /// Whether the span fulfils it.
    pub(super) fn matches(&self, span: &dyn SpanView) -> bool {
        self.0.eval(span) == Value::Bool(true)
    }

    /// Its value in the span.
    pub(super) fn value<'v>(&'v self, span: &'v dyn SpanView) -> Value<'v> {
        self.0.eval(span)
    }
}

impl Node {
    fn eval<'v>(&'v self, span: &'v dyn SpanView) -> Value<'v> {
        let truth = |node: &'v Node| node.eval(span) == Value::Bool(true);
        match self {
            Self::Constant(value) => value.borrowed(),
            Self::Slot(slot) => span.value(*slot),
            Self::Not(inner) => match inner.eval(span) {
                Value::Bool(b) => Value::Bool(!b),
                _ => Value::Nil,
            },
            Self::Minus(inner) => arithmetic(Op::Sub, &Value::Int(0), &inner.eval(span)),
            Self::And(left, right) => Value::Bool(truth(left) && truth(right)),
            Self::Or(left, right) => Value::Bool(truth(left) || truth(right)),
            Self::Compare(op, left, right) => Value::Bool(compare(*op, &left.eval(span), &right.eval(span))),
            Self::Regex(inner, regex, not) => Value::Bool(match inner.eval(span) {
                Value::Text(text) => regex.is_match(&text) != *not,
                Value::Many(values) => {
                    let any = values.iter().any(|v| matches!(v, Value::Text(text) if regex.is_match(text)));
                    any != *not
                }
                _ => false,
            }),
            Self::Arithmetic(op, left, right) => arithmetic(*op, &left.eval(span), &right.eval(span)),
            Self::IsNil(inner, wanted) => Value::Bool((inner.eval(span) == Value::Nil) == *wanted),
        }
    }
}

/// A whole span, and the trace it is of where that is at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeSpan<'s> {
    pub(super) slots: &'s [Slot],
    pub(super) span: &'s SpanRow,
    pub(super) trace: Option<(&'s Trace<'s>, usize)>,
}

impl SpanView for WholeSpan<'_> {
    fn value(&self, slot: usize) -> Value<'_> {
        match &self.slots[slot] {
            Slot::Root => Value::Bool(self.span.parent_span_id.is_none()),
            Slot::Field(field) => field_value(field, self.span, self.trace),
        }
    }
}

fn text(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Nil } else { Value::Text(text.into()) }
}

/// A field's value in a span; fields of the trace only where it is at hand.
pub(super) fn field_value<'s>(field: &Field, span: &'s SpanRow, trace: Option<(&'s Trace<'s>, usize)>) -> Value<'s> {
    match field {
        Field::Attribute { scope, name, .. } => attribute(*scope, name, span),
        Field::Intrinsic(intrinsic) => intrinsic_value(*intrinsic, span, trace),
    }
}

/// The span attribute that an attribute of its instrumentation scope is kept as.
pub(super) fn instrumentation_key(name: &str) -> String {
    format!("otel.scope.{name}")
}

fn attribute<'s>(scope: Scope, name: &str, span: &'s SpanRow) -> Value<'s> {
    let of = |value: Option<&'s serde_json::Value>| value.map_or(Value::Nil, Value::of_json);
    let of_list = |list: &'s [serde_json::Value]| Value::of_many(list.iter().map(|one| of(one["attributes"].get(name))).collect());
    match scope {
        Scope::Any => of(span.attributes.get(name).or_else(|| span.resource.get(name))),
        Scope::Span => of(span.attributes.get(name)),
        Scope::Resource => of(span.resource.get(name)),
        Scope::Event => of_list(&span.events),
        Scope::Link => of_list(&span.links),
        Scope::Instrumentation => of(span.attributes.get(&instrumentation_key(name))),
    }
}

fn intrinsic_value<'s>(intrinsic: Intrinsic, span: &'s SpanRow, trace: Option<(&'s Trace<'s>, usize)>) -> Value<'s> {
    let list =
        |list: &'s [serde_json::Value], key: &str| Value::of_many(list.iter().map(|one| one.get(key).map_or(Value::Nil, Value::of_json)).collect());
    let of_trace = |value: &dyn Fn(&'s Trace<'s>, usize) -> Value<'s>| trace.map_or(Value::Nil, |(trace, at)| value(trace, at));
    match intrinsic {
        Intrinsic::Duration => Value::Duration(span.duration),
        Intrinsic::Name => Value::Text((&*span.name).into()),
        Intrinsic::Status => Value::Status(span.status_code),
        Intrinsic::StatusMessage => Value::Text((&*span.status_message).into()),
        Intrinsic::Kind => Value::Kind(span.kind),
        Intrinsic::SpanId => Value::Text(span.span_id.to_hex().into()),
        Intrinsic::ParentId if span.parent_span_id.is_none() => Value::Nil,
        Intrinsic::ParentId => Value::Text(span.parent_span_id.to_hex().into()),
        Intrinsic::TraceId => Value::Text(span.trace_id.to_hex().into()),
        Intrinsic::ChildCount => of_trace(&|trace, at| Value::Int(i64::from(trace.children[at]))),
        Intrinsic::TraceDuration => of_trace(&|trace, _| Value::Duration(trace.duration())),
        Intrinsic::RootName => of_trace(&|trace, _| trace.root.map_or(Value::Nil, |root| text(&trace.spans[root].name))),
        Intrinsic::RootService => of_trace(&|trace, _| trace.root.map_or(Value::Nil, |root| text(&trace.spans[root].service_name))),
        Intrinsic::NestedSetLeft => of_trace(&|trace, at| Value::Int(trace.nested[at][0])),
        Intrinsic::NestedSetRight => of_trace(&|trace, at| Value::Int(trace.nested[at][1])),
        Intrinsic::NestedSetParent => of_trace(&|trace, at| Value::Int(trace.nested[at][2])),
        Intrinsic::EventName => list(&span.events, "name"),
        Intrinsic::EventTimeSinceStart => {
            let since = |event: &serde_json::Value| {
                let at = &event["time_unix_nano"];
                at.as_i64().or_else(|| at.as_str()?.parse().ok()).map_or(Value::Nil, |at| Value::Duration(at.saturating_sub(span.start)))
            };
            Value::of_many(span.events.iter().map(since).collect())
        }
        Intrinsic::LinkTraceId => list(&span.links, "trace_id"),
        Intrinsic::LinkSpanId => list(&span.links, "span_id"),
        Intrinsic::InstrumentationName => text(&span.scope_name),
        Intrinsic::InstrumentationVersion | Intrinsic::Parent => Value::Nil,
    }
}

/// A row of a scan.
#[derive(Clone, Copy)]
pub(super) struct ScannedSpan<'b> {
    pub(super) slots: &'b [Slot],
    pub(super) block: &'b dyn SpanBlock,
    pub(super) row: u32,
}

impl SpanView for ScannedSpan<'_> {
    fn value(&self, slot: usize) -> Value<'_> {
        let Some(value) = self.block.get(slot, self.row) else { return Value::Nil };
        match (&self.slots[slot], value) {
            (Slot::Field(Field::Intrinsic(intrinsic)), value) => match (intrinsic, value) {
                (Intrinsic::Duration, FieldValue::Int(n)) => Value::Duration(n),
                (Intrinsic::Status, value) => {
                    let word = value.to_text();
                    let known = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error].into_iter().find(|s| s.as_str() == word);
                    known.map_or(Value::Nil, Value::Status)
                }
                (Intrinsic::Kind, value) => {
                    let word = value.to_text();
                    (0..=5).map(SpanKind::from_number).find(|k| k.as_str() == word).map_or(Value::Nil, Value::Kind)
                }
                (_, value) => plain(value),
            },
            (_, value) => plain(value),
        }
    }
}

/// A value as it is; text that is a JSON array is one.
fn plain(value: FieldValue<'_>) -> Value<'_> {
    match value {
        FieldValue::Int(n) => Value::Int(n),
        FieldValue::Double(n) => Value::Float(n),
        FieldValue::Bool(b) => Value::Bool(b),
        FieldValue::Text(text) if text.starts_with('[') => match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(array @ serde_json::Value::Array(_)) => Value::of_json(&array).into_owned(),
            _ => Value::Text(text),
        },
        FieldValue::Text(text) => Value::Text(text),
    }
}
