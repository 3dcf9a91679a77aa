//! What a function looks at in the windows of a query, for stores that keep figures of whole stretches of time beside
//! the samples: of 30 days at a step of an hour, `rate` needs a handful of the samples of each hour.
//!
//! A store answers with series that hold fewer samples than there are, and a [`Digest`] that says what these stand for.
//! The result has to be the one that all samples would give.

/// What a function needs to know of the samples in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// The newest, staleness markers included: instant selectors, `last_over_time`, `present_over_time` and the like.
    Last,
    /// The two newest: `irate`, `idelta`.
    LastTwo,
    /// The oldest: `first_over_time`.
    First,
    /// The least value: `min_over_time`.
    Min,
    /// The greatest value: `max_over_time`.
    Max,
    /// How many there are: `count_over_time`.
    Count,
    /// Their sum: `sum_over_time`.
    Sum,
    /// Their sum and how many there are: `avg_over_time`.
    Mean,
    /// The first, the last, and how many there are: `delta`.
    Difference,
    /// The same, and both samples around each place where the value went down: `rate`, `increase`.
    Counter,
    /// How often the value changed: `changes`.
    Changes,
    /// How often the value went down: `resets`.
    Resets,
}

impl Need {
    /// Whether it matters where a window begins. The newest samples before its end are the same wherever it begins; their
    /// times say whether they are inside.
    pub fn of_whole_window(self) -> bool {
        !matches!(self, Self::Last | Self::LastTwo)
    }
}

/// The windows that a selection is for: `(end - range, end]` for each of the ends.
#[derive(Debug, Clone, Copy)]
pub struct WindowHint<'a> {
    /// What of them is looked at.
    pub need: Need,
    /// Their ends, Unix milliseconds, in any order.
    pub ends: &'a [i64],
    /// Their length, milliseconds; of an instant selector how far it looks back.
    pub range: i64,
}

/// What is known between two samples that follow one another: nothing, they have to be compared.
pub const COMPARE: u32 = u32::MAX;

/// What the samples of a series stand for that has not all of them. Lists that the [`Need`] does not ask for are empty;
/// the others have an entry a sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Digest {
    /// How many samples each stands for: those of a window add up to the number of samples in it.
    pub counts: Vec<u32>,
    /// What the values, which are sums then, have lost by rounding.
    pub compensations: Vec<f64>,
    /// Changes (or resets) since the sample before; [`COMPARE`] where the two have to be compared.
    pub events: Vec<u32>,
}
