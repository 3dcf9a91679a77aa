//! Names of intrinsics and functions, in tables that parser, printer, tag listings and documentation read.

/// What a value is, as far as it is known before a span is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// No value.
    Nil,
    /// Known when the span is read.
    Attribute,
    /// Integer.
    Int,
    /// Floating point.
    Float,
    /// Text.
    Text,
    /// Truth value.
    Bool,
    /// Duration.
    Duration,
    /// Span status.
    Status,
    /// Span kind.
    Kind,
}

impl Type {
    /// Whether it can be computed with.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Duration)
    }

    /// How it is called in an error message.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Attribute => "attribute",
            Self::Int => "whole number",
            Self::Float => "number",
            Self::Text => "text",
            Self::Bool => "truth value",
            Self::Duration => "duration",
            Self::Status => "status",
            Self::Kind => "kind",
        }
    }

    /// The word Tempo's tag values carry as their type.
    pub fn tag_word(self) -> &'static str {
        match self {
            Self::Nil | Self::Attribute | Self::Text => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Duration => "duration",
            Self::Status | Self::Kind => "keyword",
        }
    }
}

/// A fixed field of a span or its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Intrinsic {
    Duration,
    Name,
    Status,
    StatusMessage,
    Kind,
    ChildCount,
    SpanId,
    ParentId,
    TraceDuration,
    RootName,
    RootService,
    TraceId,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    EventName,
    EventTimeSinceStart,
    LinkTraceId,
    LinkSpanId,
    InstrumentationName,
    InstrumentationVersion,
    Parent,
}

/// A row of [`INTRINSICS`].
#[derive(Debug)]
pub struct IntrinsicName {
    /// Which.
    pub intrinsic: Intrinsic,
    /// The spelling it is printed with.
    pub name: &'static str,
    /// Another spelling.
    pub alias: Option<&'static str>,
    /// Its type.
    pub ty: Type,
    /// What it is.
    pub summary: &'static str,
}

/// A row.
const fn row(intrinsic: Intrinsic, name: &'static str, alias: Option<&'static str>, ty: Type, summary: &'static str) -> IntrinsicName {
    IntrinsicName { intrinsic, name, alias, ty, summary }
}

/// Every intrinsic.
pub const INTRINSICS: &[IntrinsicName] = &[
    row(Intrinsic::Duration, "duration", Some("span:duration"), Type::Duration, "Duration of the span."),
    row(Intrinsic::Name, "name", Some("span:name"), Type::Text, "Name of the span's operation."),
    row(Intrinsic::Status, "status", Some("span:status"), Type::Status, "`ok`, `error` or `unset`."),
    row(Intrinsic::StatusMessage, "statusMessage", Some("span:statusMessage"), Type::Text, "Message beside the status."),
    row(Intrinsic::Kind, "kind", Some("span:kind"), Type::Kind, "`server`, `client`, `producer`, `consumer`, `internal` or `unspecified`."),
    row(Intrinsic::ChildCount, "span:childCount", None, Type::Int, "Number of direct children."),
    row(Intrinsic::SpanId, "span:id", None, Type::Text, "Span id, hexadecimal."),
    row(Intrinsic::ParentId, "span:parentID", None, Type::Text, "Id of the parent span, hexadecimal; none for a root."),
    row(Intrinsic::TraceDuration, "traceDuration", Some("trace:duration"), Type::Duration, "From the trace's first start to its last end."),
    row(Intrinsic::RootName, "rootName", Some("trace:rootName"), Type::Text, "Name of the trace's root span."),
    row(Intrinsic::RootService, "rootServiceName", Some("trace:rootService"), Type::Text, "Service of the trace's root span."),
    row(Intrinsic::TraceId, "trace:id", None, Type::Text, "Trace id, hexadecimal; leading zeros may be left away."),
    row(Intrinsic::NestedSetLeft, "nestedSetLeft", None, Type::Int, "Left number of the span in the trace's nested sets, from 1."),
    row(Intrinsic::NestedSetRight, "nestedSetRight", None, Type::Int, "Right number of the span in the trace's nested sets."),
    row(
        Intrinsic::NestedSetParent,
        "nestedSetParent",
        None,
        Type::Int,
        "`nestedSetLeft` of the parent; −1 for a root, so `nestedSetParent < 0` finds roots.",
    ),
    row(Intrinsic::EventName, "event:name", None, Type::Text, "Name of any of the span's events."),
    row(Intrinsic::EventTimeSinceStart, "event:timeSinceStart", None, Type::Duration, "Time from the span's start to any of its events."),
    row(Intrinsic::LinkTraceId, "link:traceID", None, Type::Text, "Trace id of any of the span's links."),
    row(Intrinsic::LinkSpanId, "link:spanID", None, Type::Text, "Span id of any of the span's links."),
    row(Intrinsic::InstrumentationName, "instrumentation:name", None, Type::Attribute, "Name of the instrumentation scope (tracer)."),
    row(Intrinsic::InstrumentationVersion, "instrumentation:version", None, Type::Attribute, "Version of the instrumentation scope."),
    row(Intrinsic::Parent, "parent", None, Type::Nil, "The parent span. Refused, as in Tempo."),
];

impl Intrinsic {
    /// Its row.
    pub fn row(self) -> &'static IntrinsicName {
        INTRINSICS.iter().find(|row| row.intrinsic == self).unwrap_or(&INTRINSICS[0])
    }

    /// The spelling it is printed with.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// From either spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        INTRINSICS.iter().find(|row| row.name == name || row.alias == Some(name)).map(|row| row.intrinsic)
    }
}

/// A row of [`FUNCTIONS`].
#[derive(Debug)]
pub struct Function {
    /// As written.
    pub signature: &'static str,
    /// Where it may stand: `spans`, `metrics` or `series`.
    pub stage: &'static str,
    /// What it gives.
    pub summary: &'static str,
}

const fn function(signature: &'static str, stage: &'static str, summary: &'static str) -> Function {
    Function { signature, stage, summary }
}

/// Every function.
pub const FUNCTIONS: &[Function] = &[
    function("count()", "spans", "Number of spans of the spanset; compared with a number."),
    function("avg(field)", "spans", "Mean over the spanset, compared with a number or duration."),
    function("max(field)", "spans", "Greatest value of the spanset, compared."),
    function("min(field)", "spans", "Least value of the spanset, compared."),
    function("sum(field)", "spans", "Sum over the spanset, compared."),
    function("by(field)", "spans", "One spanset for each value."),
    function("coalesce()", "spans", "All spansets of a trace into one."),
    function("select(field, …)", "spans", "Shows these fields of the spans found."),
    function("rate()", "metrics", "Spans a second."),
    function("count_over_time()", "metrics", "Spans in each step."),
    function("min_over_time(field)", "metrics", "Least value in each step; durations in seconds."),
    function("max_over_time(field)", "metrics", "Greatest value in each step; durations in seconds."),
    function("avg_over_time(field)", "metrics", "Mean in each step; durations in seconds."),
    function("sum_over_time(field)", "metrics", "Sum in each step; durations in seconds."),
    function("quantile_over_time(field, q, …)", "metrics", "Quantiles in each step, a series each with the label `p`."),
    function("histogram_over_time(field)", "metrics", "Spans in each step by power of two, the upper bound in the label `__bucket`."),
    function("compare({ selection }, top, start, end)", "metrics", "Spans by attribute value, in the selection and in the rest."),
    function("topk(n)", "series", "At each step the n greatest series."),
    function("bottomk(n)", "series", "At each step the n least series."),
];
