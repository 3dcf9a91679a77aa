//! The messages of OTLP as tables: JSON names, field numbers, types.

/// A message.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// In camel case, as protobuf's JSON mapping writes it.
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// A field's type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Str,
    Bytes,
    /// Bytes written as hexadecimal digits.
    Id,
    Bool,
    Uint32,
    Fixed32,
    Sint32,
    Int64,
    Uint64,
    Fixed64,
    Sfixed64,
    Double,
    Enum(&'static [(&'static str, u64)]),
    Message(&'static Schema),
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: true }
}

use Kind::{Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int64, Message, Sfixed64, Sint32, Str, Uint32, Uint64};

pub(super) static LOGS_REQUEST: Schema = Schema { name: "ExportLogsServiceRequest", fields: &[many("resourceLogs", 1, Message(&RESOURCE_LOGS))] };
pub(super) static TRACES_REQUEST: Schema =
    Schema { name: "ExportTraceServiceRequest", fields: &[many("resourceSpans", 1, Message(&RESOURCE_SPANS))] };
pub(super) static METRICS_REQUEST: Schema =
    Schema { name: "ExportMetricsServiceRequest", fields: &[many("resourceMetrics", 1, Message(&RESOURCE_METRICS))] };

static ANY_VALUE: Schema = Schema {
    name: "AnyValue",
    fields: &[
        one("stringValue", 1, Str),
        one("boolValue", 2, Bool),
        one("intValue", 3, Int64),
        one("doubleValue", 4, Double),
        one("arrayValue", 5, Message(&ARRAY_VALUE)),
        one("kvlistValue", 6, Message(&KEY_VALUE_LIST)),
        one("bytesValue", 7, Bytes),
    ],
};
static ARRAY_VALUE: Schema = Schema { name: "ArrayValue", fields: &[many("values", 1, Message(&ANY_VALUE))] };
static KEY_VALUE_LIST: Schema = Schema { name: "KeyValueList", fields: &[many("values", 1, Message(&KEY_VALUE))] };
static KEY_VALUE: Schema = Schema { name: "KeyValue", fields: &[one("key", 1, Str), one("value", 2, Message(&ANY_VALUE))] };
static SCOPE: Schema = Schema {
    name: "InstrumentationScope",
    fields: &[one("name", 1, Str), one("version", 2, Str), many("attributes", 3, Message(&KEY_VALUE)), one("droppedAttributesCount", 4, Uint32)],
};
static RESOURCE: Schema =
    Schema { name: "Resource", fields: &[many("attributes", 1, Message(&KEY_VALUE)), one("droppedAttributesCount", 2, Uint32)] };

static RESOURCE_LOGS: Schema = Schema {
    name: "ResourceLogs",
    fields: &[one("resource", 1, Message(&RESOURCE)), many("scopeLogs", 2, Message(&SCOPE_LOGS)), one("schemaUrl", 3, Str)],
};
static SCOPE_LOGS: Schema =
    Schema { name: "ScopeLogs", fields: &[one("scope", 1, Message(&SCOPE)), many("logRecords", 2, Message(&LOG_RECORD)), one("schemaUrl", 3, Str)] };
static LOG_RECORD: Schema = Schema {
    name: "LogRecord",
    fields: &[
        one("timeUnixNano", 1, Fixed64),
        one("observedTimeUnixNano", 11, Fixed64),
        one("severityNumber", 2, Enum(SEVERITIES)),
        one("severityText", 3, Str),
        one("body", 5, Message(&ANY_VALUE)),
        many("attributes", 6, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 7, Uint32),
        one("flags", 8, Fixed32),
        one("traceId", 9, Id),
        one("spanId", 10, Id),
        one("eventName", 12, Str),
    ],
};
const SEVERITIES: &[(&str, u64)] = &[
    ("SEVERITY_NUMBER_UNSPECIFIED", 0),
    ("SEVERITY_NUMBER_TRACE", 1),
    ("SEVERITY_NUMBER_TRACE2", 2),
    ("SEVERITY_NUMBER_TRACE3", 3),
    ("SEVERITY_NUMBER_TRACE4", 4),
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_DEBUG2", 6),
    ("SEVERITY_NUMBER_DEBUG3", 7),
    ("SEVERITY_NUMBER_DEBUG4", 8),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_INFO2", 10),
    ("SEVERITY_NUMBER_INFO3", 11),
    ("SEVERITY_NUMBER_INFO4", 12),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_WARN2", 14),
    ("SEVERITY_NUMBER_WARN3", 15),
    ("SEVERITY_NUMBER_WARN4", 16),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_ERROR2", 18),
    ("SEVERITY_NUMBER_ERROR3", 19),
    ("SEVERITY_NUMBER_ERROR4", 20),
    ("SEVERITY_NUMBER_FATAL", 21),
    ("SEVERITY_NUMBER_FATAL2", 22),
    ("SEVERITY_NUMBER_FATAL3", 23),
    ("SEVERITY_NUMBER_FATAL4", 24),
];

static RESOURCE_SPANS: Schema = Schema {
    name: "ResourceSpans",
    fields: &[one("resource", 1, Message(&RESOURCE)), many("scopeSpans", 2, Message(&SCOPE_SPANS)), one("schemaUrl", 3, Str)],
};
static SCOPE_SPANS: Schema =
    Schema { name: "ScopeSpans", fields: &[one("scope", 1, Message(&SCOPE)), many("spans", 2, Message(&SPAN)), one("schemaUrl", 3, Str)] };
static SPAN: Schema = Schema {
    name: "Span",
    fields: &[
        one("traceId", 1, Id),
        one("spanId", 2, Id),
        one("traceState", 3, Str),
        one("parentSpanId", 4, Id),
        one("flags", 16, Fixed32),
        one("name", 5, Str),
        one("kind", 6, Enum(SPAN_KINDS)),
        one("startTimeUnixNano", 7, Fixed64),
        one("endTimeUnixNano", 8, Fixed64),
        many("attributes", 9, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Uint32),
        many("events", 11, Message(&EVENT)),
        one("droppedEventsCount", 12, Uint32),
        many("links", 13, Message(&LINK)),
        one("droppedLinksCount", 14, Uint32),
        one("status", 15, Message(&STATUS)),
    ],
};
const SPAN_KINDS: &[(&str, u64)] = &[
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
];
static EVENT: Schema = Schema {
    name: "Span.Event",
    fields: &[
        one("timeUnixNano", 1, Fixed64),
        one("name", 2, Str),
        many("attributes", 3, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Uint32),
    ],
};
static LINK: Schema = Schema {
    name: "Span.Link",
    fields: &[
        one("traceId", 1, Id),
        one("spanId", 2, Id),
        one("traceState", 3, Str),
        many("attributes", 4, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Uint32),
        one("flags", 6, Fixed32),
    ],
};
static STATUS: Schema = Schema { name: "Status", fields: &[one("message", 2, Str), one("code", 3, Enum(STATUS_CODES))] };
const STATUS_CODES: &[(&str, u64)] = &[("STATUS_CODE_UNSET", 0), ("STATUS_CODE_OK", 1), ("STATUS_CODE_ERROR", 2)];

static RESOURCE_METRICS: Schema = Schema {
    name: "ResourceMetrics",
    fields: &[one("resource", 1, Message(&RESOURCE)), many("scopeMetrics", 2, Message(&SCOPE_METRICS)), one("schemaUrl", 3, Str)],
};
static SCOPE_METRICS: Schema =
    Schema { name: "ScopeMetrics", fields: &[one("scope", 1, Message(&SCOPE)), many("metrics", 2, Message(&METRIC)), one("schemaUrl", 3, Str)] };
static METRIC: Schema = Schema {
    name: "Metric",
    fields: &[
        one("name", 1, Str),
        one("description", 2, Str),
        one("unit", 3, Str),
        one("gauge", 5, Message(&GAUGE)),
        one("sum", 7, Message(&SUM)),
        one("histogram", 9, Message(&HISTOGRAM)),
        one("exponentialHistogram", 10, Message(&EXPONENTIAL_HISTOGRAM)),
        one("summary", 11, Message(&SUMMARY)),
        many("metadata", 12, Message(&KEY_VALUE)),
    ],
};
const TEMPORALITIES: &[(&str, u64)] =
    &[("AGGREGATION_TEMPORALITY_UNSPECIFIED", 0), ("AGGREGATION_TEMPORALITY_DELTA", 1), ("AGGREGATION_TEMPORALITY_CUMULATIVE", 2)];
static GAUGE: Schema = Schema { name: "Gauge", fields: &[many("dataPoints", 1, Message(&NUMBER_POINT))] };
static SUM: Schema = Schema {
    name: "Sum",
    fields: &[many("dataPoints", 1, Message(&NUMBER_POINT)), one("aggregationTemporality", 2, Enum(TEMPORALITIES)), one("isMonotonic", 3, Bool)],
};
static HISTOGRAM: Schema =
    Schema { name: "Histogram", fields: &[many("dataPoints", 1, Message(&HISTOGRAM_POINT)), one("aggregationTemporality", 2, Enum(TEMPORALITIES))] };
static EXPONENTIAL_HISTOGRAM: Schema = Schema {
    name: "ExponentialHistogram",
    fields: &[many("dataPoints", 1, Message(&EXPONENTIAL_POINT)), one("aggregationTemporality", 2, Enum(TEMPORALITIES))],
};
static SUMMARY: Schema = Schema { name: "Summary", fields: &[many("dataPoints", 1, Message(&SUMMARY_POINT))] };
static NUMBER_POINT: Schema = Schema {
    name: "NumberDataPoint",
    fields: &[
        many("attributes", 7, Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("asDouble", 4, Double),
        one("asInt", 6, Sfixed64),
        many("exemplars", 5, Message(&EXEMPLAR)),
        one("flags", 8, Uint32),
    ],
};
static HISTOGRAM_POINT: Schema = Schema {
    name: "HistogramDataPoint",
    fields: &[
        many("attributes", 9, Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        many("bucketCounts", 6, Fixed64),
        many("explicitBounds", 7, Double),
        many("exemplars", 8, Message(&EXEMPLAR)),
        one("flags", 10, Uint32),
        one("min", 11, Double),
        one("max", 12, Double),
    ],
};
static EXPONENTIAL_POINT: Schema = Schema {
    name: "ExponentialHistogramDataPoint",
    fields: &[
        many("attributes", 1, Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        one("scale", 6, Sint32),
        one("zeroCount", 7, Fixed64),
        one("positive", 8, Message(&BUCKETS)),
        one("negative", 9, Message(&BUCKETS)),
        one("flags", 10, Uint32),
        many("exemplars", 11, Message(&EXEMPLAR)),
        one("min", 12, Double),
        one("max", 13, Double),
        one("zeroThreshold", 14, Double),
    ],
};
static BUCKETS: Schema = Schema { name: "Buckets", fields: &[one("offset", 1, Sint32), many("bucketCounts", 2, Uint64)] };
static SUMMARY_POINT: Schema = Schema {
    name: "SummaryDataPoint",
    fields: &[
        many("attributes", 7, Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        many("quantileValues", 6, Message(&AT_QUANTILE)),
        one("flags", 8, Uint32),
    ],
};
static AT_QUANTILE: Schema = Schema { name: "ValueAtQuantile", fields: &[one("quantile", 1, Double), one("value", 2, Double)] };
static EXEMPLAR: Schema = Schema {
    name: "Exemplar",
    fields: &[
        many("filteredAttributes", 7, Message(&KEY_VALUE)),
        one("timeUnixNano", 2, Fixed64),
        one("asDouble", 3, Double),
        one("asInt", 6, Sfixed64),
        one("spanId", 4, Id),
        one("traceId", 5, Id),
    ],
};
