//! Pipelines over the spans of one trace.

use super::ast::{AggregateOp, Field, FieldExpr, Op, Relation, ScalarExpr, SpansetExpr, SpansetOp, Stage, Static, Take};
use super::eval::{Compiled, Slots, WholeSpan};
use super::trace::Trace;
use super::value::{Value, compare};

/// Spans of a trace that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanset {
    /// Places in the trace's list of spans, rising.
    pub spans: Vec<u32>,
    /// What the stages have found out of it: `by(name)` and `avg(duration)` with their values.
    pub attributes: Vec<(String, Value<'static>)>,
}

#[derive(Debug, Clone)]
enum Spans {
    Filter(Compiled),
    Pipeline(Box<Pipeline>),
    Binary(SpansetOp, Box<Spans>, Box<Spans>),
}

#[derive(Debug, Clone)]
enum Step {
    Spans(Spans),
    Scalar { op: Op, aggregate: AggregateOp, argument: Option<Compiled>, name: String, bound: Static },
    By(Compiled, String),
    Coalesce,
}

/// Stages ready for many traces.
#[derive(Debug, Clone)]
pub struct Pipeline {
    slots: Slots,
    steps: Vec<Step>,
    /// Fields whose values are shown: those of conditions, and those selected.
    pub shown: Vec<Field>,
}

impl Pipeline {
    /// Makes stages ready.
    pub fn new(stages: &[Stage]) -> Self {
        let mut slots = Slots::default();
        let steps = stages.iter().filter_map(|stage| step(stage, &mut slots)).collect();
        let mut shown = Vec::new();
        shown_fields(stages, &mut shown);
        Self { slots, steps, shown }
    }

    /// The spansets of a trace.
    pub fn run(&self, trace: &Trace<'_>) -> Vec<Spanset> {
        let all = Spanset { spans: (0..u32::try_from(trace.spans.len()).unwrap_or(u32::MAX)).collect(), attributes: Vec::new() };
        self.steps.iter().fold(vec![all], |sets, step| self.step(step, sets, trace))
    }

    fn step(&self, step: &Step, sets: Vec<Spanset>, trace: &Trace<'_>) -> Vec<Spanset> {
        match step {
            Step::Spans(spans) => {
                let found = sets.into_iter().map(|set| Spanset { spans: self.spans(spans, &set.spans, trace), ..set });
                found.filter(|set| !set.spans.is_empty()).collect()
            }
            Step::Scalar { op, aggregate, argument, name, bound } => {
                let judge = |mut set: Spanset| {
                    let value = self.aggregate(*aggregate, argument.as_ref(), &set.spans, trace)?;
                    if !compare(*op, &value, &Value::of_static(bound)) {
                        return None;
                    }
                    set.attributes.push((name.clone(), value));
                    Some(set)
                };
                sets.into_iter().filter_map(judge).collect()
            }
            Step::By(key, name) => sets.into_iter().flat_map(|set| self.group(key, name, set, trace)).collect(),
            Step::Coalesce => {
                let mut spans: Vec<u32> = sets.into_iter().flat_map(|set| set.spans).collect();
                spans.sort_unstable();
                spans.dedup();
                if spans.is_empty() { Vec::new() } else { vec![Spanset { spans, attributes: Vec::new() }] }
            }
        }
    }

    fn view<'s>(&'s self, trace: &'s Trace<'s>, at: u32) -> WholeSpan<'s> {
        WholeSpan { slots: &self.slots.0, span: &trace.spans[at as usize], trace: Some((trace, at as usize)) }
    }

    fn spans(&self, spans: &Spans, input: &[u32], trace: &Trace<'_>) -> Vec<u32> {
        match spans {
            Spans::Filter(condition) => input.iter().copied().filter(|at| condition.matches(&self.view(trace, *at))).collect(),
            Spans::Pipeline(pipeline) => {
                let start = vec![Spanset { spans: input.to_vec(), attributes: Vec::new() }];
                let sets = pipeline.steps.iter().fold(start, |sets, step| pipeline.step(step, sets, trace));
                let mut all: Vec<u32> = sets.into_iter().flat_map(|set| set.spans).collect();
                all.sort_unstable();
                all.dedup();
                all
            }
            Spans::Binary(op, left, right) => {
                let (left, right) = (self.spans(left, input, trace), self.spans(right, input, trace));
                combine(*op, &left, &right, trace)
            }
        }
    }

    fn aggregate(&self, op: AggregateOp, argument: Option<&Compiled>, spans: &[u32], trace: &Trace<'_>) -> Option<Value<'static>> {
        let Some(argument) = argument else { return Some(Value::Int(i64::try_from(spans.len()).unwrap_or(i64::MAX))) };
        let (mut count, mut sum, mut min, mut max) = (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY);
        let mut duration = false;
        for at in spans {
            let view = self.view(trace, *at);
            let value = argument.value(&view);
            let Some(number) = value.number() else { continue };
            duration |= matches!(value, Value::Duration(_));
            count += 1.0;
            sum += number;
            min = min.min(number);
            max = max.max(number);
        }
        let result = match op {
            _ if count == 0.0 => return None,
            AggregateOp::Count => count,
            AggregateOp::Avg => sum / count,
            AggregateOp::Max => max,
            AggregateOp::Min => min,
            AggregateOp::Sum => sum,
        };
        #[allow(clippy::cast_possible_truncation, reason = "durations are whole nanoseconds")]
        Some(if duration { Value::Duration(result as i64) } else { Value::Float(result) })
    }

    fn group(&self, key: &Compiled, name: &str, set: Spanset, trace: &Trace<'_>) -> Vec<Spanset> {
        let mut groups: Vec<Spanset> = Vec::new();
        let mut known: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        for at in set.spans {
            let view = self.view(trace, at);
            let value = key.value(&view);
            let place = *known.entry(format!("{value:?}")).or_insert_with(|| {
                let mut attributes = set.attributes.clone();
                attributes.push((name.to_owned(), value.clone().into_owned()));
                groups.push(Spanset { spans: Vec::new(), attributes });
                groups.len() - 1
            });
            groups[place].spans.push(at);
        }
        groups
    }
}

fn step(stage: &Stage, slots: &mut Slots) -> Option<Step> {
    Some(match stage {
        Stage::Spansets(expr) => Step::Spans(spans(expr, slots)),
        Stage::Scalar(op, ScalarExpr::Aggregate(aggregate, argument), ScalarExpr::Static(bound)) => {
            let name = ScalarExpr::Aggregate(*aggregate, argument.clone()).to_string();
            let argument = argument.as_ref().map(|argument| slots.compile(argument));
            Step::Scalar { op: *op, aggregate: *aggregate, argument, name, bound: bound.clone() }
        }
        Stage::By(key) => Step::By(slots.compile(key), stage.to_string()),
        Stage::Coalesce => Step::Coalesce,
        // Other comparisons are refused by the check; selected fields are shown, they take no spans away.
        Stage::Scalar(..) | Stage::Select(_) => return None,
    })
}

fn spans(expr: &SpansetExpr, slots: &mut Slots) -> Spans {
    match expr {
        SpansetExpr::Filter(condition) => Spans::Filter(slots.compile(condition)),
        SpansetExpr::Pipeline(stages) => Spans::Pipeline(Box::new(Pipeline::new(stages))),
        SpansetExpr::Binary(op, left, right) => Spans::Binary(*op, Box::new(spans(left, slots)), Box::new(spans(right, slots))),
    }
}

fn shown_fields(stages: &[Stage], shown: &mut Vec<Field>) {
    let mut add = |field: &Field| {
        if !shown.contains(field) {
            shown.push(field.clone());
        }
    };
    for stage in stages {
        match stage {
            Stage::Spansets(expr) => spanset_fields(expr, &mut add),
            Stage::Scalar(_, ScalarExpr::Aggregate(_, Some(argument)), _) => argument.fields(&mut |field| add(field)),
            Stage::By(key) => key.fields(&mut |field| add(field)),
            Stage::Select(fields) => fields.iter().for_each(&mut add),
            Stage::Scalar(..) | Stage::Coalesce => {}
        }
    }
}

fn spanset_fields(expr: &SpansetExpr, add: &mut dyn FnMut(&Field)) {
    match expr {
        SpansetExpr::Filter(condition) => FieldExpr::fields(condition, &mut |field| add(field)),
        SpansetExpr::Pipeline(stages) => {
            let mut inner = Vec::new();
            shown_fields(stages, &mut inner);
            inner.iter().for_each(add);
        }
        SpansetExpr::Binary(_, left, right) => {
            spanset_fields(left, add);
            spanset_fields(right, add);
        }
    }
}

fn combine(op: SpansetOp, left: &[u32], right: &[u32], trace: &Trace<'_>) -> Vec<u32> {
    let both = |left: &[u32], right: &[u32]| {
        let mut all = [left, right].concat();
        all.sort_unstable();
        all.dedup();
        all
    };
    match op {
        SpansetOp::And if left.is_empty() || right.is_empty() => Vec::new(),
        SpansetOp::And | SpansetOp::Or => both(left, right),
        SpansetOp::Structural(relation, take) => {
            let related = related(relation, left, trace);
            match take {
                Take::Right => right.iter().copied().filter(|at| related[*at as usize]).collect(),
                Take::NotRight => right.iter().copied().filter(|at| !related[*at as usize]).collect(),
                Take::Both => {
                    let found: Vec<u32> = right.iter().copied().filter(|at| related[*at as usize]).collect();
                    // Those of the left that are so related to one of the right: the relation seen from there.
                    let back = self::related(opposite(relation), right, trace);
                    let partners: Vec<u32> = left.iter().copied().filter(|at| back[*at as usize]).collect();
                    both(&partners, &found)
                }
            }
        }
    }
}

fn opposite(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

/// For every span of the trace whether it is so related to one of `left`.
fn related(relation: Relation, left: &[u32], trace: &Trace<'_>) -> Vec<bool> {
    let mut is_left = vec![false; trace.spans.len()];
    for at in left {
        is_left[*at as usize] = true;
    }
    let parent_of = |at: usize| trace.parent[at].map(|parent| parent as usize);
    let mut out = vec![false; trace.spans.len()];
    match relation {
        Relation::Child => (0..out.len()).for_each(|at| out[at] = parent_of(at).is_some_and(|parent| is_left[parent])),
        Relation::Descendant => {
            for at in trace.order.iter().map(|at| *at as usize) {
                out[at] = parent_of(at).is_some_and(|parent| is_left[parent] || out[parent]);
            }
        }
        Relation::Parent => left.iter().filter_map(|at| parent_of(*at as usize)).for_each(|parent| out[parent] = true),
        Relation::Ancestor => {
            for at in trace.order.iter().rev().map(|at| *at as usize) {
                if let Some(parent) = parent_of(at) {
                    out[parent] |= is_left[at] || out[at];
                }
            }
        }
        Relation::Sibling => {
            let mut lefts_below = vec![0u32; out.len()];
            for parent in left.iter().filter_map(|at| parent_of(*at as usize)) {
                lefts_below[parent] += 1;
            }
            for at in 0..out.len() {
                out[at] = parent_of(at).is_some_and(|parent| lefts_below[parent] > u32::from(is_left[at]));
            }
        }
    }
    out
}
