//! What a query says.

use super::table::{RangeOp, VectorOp};

/// A query: lines, or numbers made of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Asks for lines.
    Logs(LogExpr),
    /// Asks for numbers.
    Metric(Expr),
}

/// Streams and what happens to their lines.
#[derive(Debug, Clone, PartialEq)]
pub struct LogExpr {
    /// `{app="orders", env=~"prod|test"}`
    pub matchers: Vec<Matcher>,
    /// In order.
    pub stages: Vec<Stage>,
}

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends.
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A label compared with a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Matcher {
    /// Label.
    pub name: String,
    /// How.
    pub op: MatchOp,
    /// With what.
    pub value: String,
}

/// How a line is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`: contains.
    Contains,
    /// `!=`
    NotContains,
    /// `|~`: matches, unanchored.
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`: has the pattern's shape from end to end.
    Pattern,
    /// `!>`
    NotPattern,
}

impl LineOp {
    /// As written, and whether lines that match are kept.
    pub const ALL: &'static [(&'static str, Self, bool)] = &[
        ("|=", Self::Contains, true),
        ("!=", Self::NotContains, false),
        ("|~", Self::Regex, true),
        ("!~", Self::NotRegex, false),
        ("|>", Self::Pattern, true),
        ("!>", Self::NotPattern, false),
    ];

    /// As written.
    pub fn symbol(self) -> &'static str {
        Self::ALL.iter().find(|(_, op, _)| *op == self).map_or("", |(symbol, ..)| symbol)
    }

    /// Whether lines that match are kept.
    pub fn keeps(self) -> bool {
        Self::ALL.iter().any(|(_, op, keeps)| *op == self && *keeps)
    }
}

/// What a line filter looks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Needle {
    /// Text, regular expression or pattern.
    Text(String),
    /// `ip("10.0.0.0/8")`
    Ip(String),
}

/// `|= "a" or "b"`
#[derive(Debug, Clone, PartialEq)]
pub struct LineFilter {
    /// How.
    pub op: LineOp,
    /// Any of these.
    pub needles: Vec<Needle>,
}

/// `name="expression"` behind `json` or `logfmt`.
#[derive(Debug, Clone, PartialEq)]
pub struct Extraction {
    /// Label it becomes.
    pub label: String,
    /// Where it is in the line.
    pub expression: String,
}

/// How a numeric label filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberOp {
    /// `==`, also written `=`.
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
}

impl NumberOp {
    /// As written; where there are two, the first is printed.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("==", Self::Equal),
        ("=", Self::Equal),
        ("!=", Self::NotEqual),
        (">=", Self::GreaterEqual),
        (">", Self::Greater),
        ("<=", Self::LessEqual),
        ("<", Self::Less),
    ];

    /// As written.
    pub fn symbol(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(symbol, _)| symbol)
    }
}

/// What a numeric label filter compares with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// A plain number.
    Number(f64),
    /// Nanoseconds.
    Duration(i64),
    /// Bytes.
    Bytes(u64),
}

/// `| level="error" and took > 1s`
#[derive(Debug, Clone, PartialEq)]
pub enum LabelFilter {
    /// Text.
    Text(Matcher),
    /// Number, duration, size.
    Quantity(String, NumberOp, Quantity),
    /// `addr = ip("…")`; the second says whether it is `!=`.
    Ip(String, bool, String),
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// Either.
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

/// Where `label_format` takes a value from.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelSource {
    /// Another label, which goes.
    Rename(String),
    /// A template.
    Template(String),
}

/// A label of `drop` or `keep`.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelChoice {
    /// Label.
    pub name: String,
    /// Only where its value is so.
    pub test: Option<(MatchOp, String)>,
}

/// How `unwrap` reads a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// As a number.
    Number,
    /// `duration(…)`, `duration_seconds(…)`: as seconds. The text is the word it was written with.
    Duration(&'static str),
    /// `bytes(…)`
    Bytes,
}

/// What happens to a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// `|= "text"`
    Line(LineFilter),
    /// `| json`, `| json a="b.c"`
    Json(Vec<Extraction>),
    /// `| logfmt`
    Logfmt {
        /// `--strict`: a fault anywhere is an error.
        strict: bool,
        /// `--keep-empty`: keys without value become labels too.
        keep_empty: bool,
        /// Only these.
        fields: Vec<Extraction>,
    },
    /// ``| regexp `(?P<name>…)` ``
    Regexp(String),
    /// `| pattern "<name> …"`
    Pattern(String),
    /// `| unpack`
    Unpack,
    /// `| level="error"`
    Label(LabelFilter),
    /// `| line_format "{{.name}}"`
    LineFormat(String),
    /// `| label_format a=b, c="{{.d}}"`
    LabelFormat(Vec<(String, LabelSource)>),
    /// `| decolorize`
    Decolorize,
    /// `| drop a, b="c"`
    Drop(Vec<LabelChoice>),
    /// `| keep a, b="c"`
    Keep(Vec<LabelChoice>),
    /// `| unwrap bytes(size)`, in metric queries only.
    Unwrap(String, Conversion),
}

/// `by (…)` or `without (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// `without`
    pub without: bool,
    /// As written.
    pub labels: Vec<String>,
}

/// An aggregation over the lines of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeAggregation {
    /// Which.
    pub op: RangeOp,
    /// Quantile.
    pub parameter: Option<f64>,
    /// Lines.
    pub logs: LogExpr,
    /// Width of the window, nanoseconds.
    pub range: i64,
    /// How far back it is moved, nanoseconds.
    pub offset: i64,
    /// Labels of the result.
    pub grouping: Option<Grouping>,
}

/// An aggregation over series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorAggregation {
    /// Which.
    pub op: VectorOp,
    /// How many series `topk` and its like keep.
    pub parameter: Option<u64>,
    /// Of what.
    pub expr: Box<Expr>,
    /// Labels of the result.
    pub grouping: Option<Grouping>,
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `unless`
    Unless,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// Every operator as written, with how closely it binds.
    pub const ALL: &'static [(&'static str, Self, u8)] = &[
        ("or", Self::Or, 1),
        ("and", Self::And, 2),
        ("unless", Self::Unless, 2),
        ("==", Self::Equal, 3),
        ("!=", Self::NotEqual, 3),
        (">", Self::Greater, 3),
        (">=", Self::GreaterEqual, 3),
        ("<", Self::Less, 3),
        ("<=", Self::LessEqual, 3),
        ("+", Self::Add, 4),
        ("-", Self::Sub, 4),
        ("*", Self::Mul, 5),
        ("/", Self::Div, 5),
        ("%", Self::Mod, 5),
        ("^", Self::Pow, 6),
    ];

    /// As written.
    pub fn symbol(self) -> &'static str {
        Self::ALL.iter().find(|(_, op, _)| *op == self).map_or("", |(symbol, ..)| symbol)
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// `==` and its like.
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Greater | Self::GreaterEqual | Self::Less | Self::LessEqual)
    }
}

/// Which side of a match has many series for one of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Many {
    /// `group_left (…)` with the labels taken from the other side.
    Left(Vec<String>),
    /// `group_right (…)`
    Right(Vec<String>),
}

/// How series of both sides find each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matching {
    /// `on`, not `ignoring`.
    pub on: bool,
    /// Labels of it.
    pub labels: Vec<String>,
    /// `group_left`, `group_right`.
    pub many: Option<Many>,
}

/// `a op b`
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// Left.
    pub left: Box<Expr>,
    /// Right.
    pub right: Box<Expr>,
    /// Comparison gives 0 or 1.
    pub bool: bool,
    /// `on`, `ignoring`.
    pub matching: Option<Matching>,
}

/// `label_replace(expr, dst, replacement, src, regex)`
#[derive(Debug, Clone, PartialEq)]
pub struct LabelReplace {
    /// Of what.
    pub expr: Box<Expr>,
    /// Label that is set.
    pub target: String,
    /// Its value, with `$1`.
    pub replacement: String,
    /// Label that is read.
    pub source: String,
    /// Anchored at both ends.
    pub regex: String,
}

/// Numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `rate({…}[5m])`
    Range(RangeAggregation),
    /// `sum by (a) (…)`
    Aggregate(VectorAggregation),
    /// `a / b`
    Binary(Binary),
    /// `label_replace(…)`
    LabelReplace(LabelReplace),
    /// `vector(1)`
    Vector(f64),
    /// A literal.
    Number(f64),
}
