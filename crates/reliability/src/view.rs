//! What the API shows of this crate's state, in the shape of `ui/src/api/types.ts`. The server adds what only it
//! knows (series over a range, markers, traces).

mod alert;
mod prometheus;
mod rule;
mod runbook;
mod slo;

pub(crate) use prometheus::exponent;

pub use alert::{AlertView, NotificationView, RuleRef};
pub use rule::{RuleGroupView, RuleView};
pub use runbook::{MissingRunbook, RunSummaryView, RunView, RunbookDetailView, RunbookSummaryView, StepResultView, StepView};
pub use slo::{IndicatorView, LeftOutView, SloSummaryView, SloView, WindowView};

/// Unix milliseconds as Unix nanoseconds in decimal text.
pub fn nanos(ms: i64) -> String {
    (i128::from(ms) * 1_000_000).to_string()
}
