//! Checks on label sets, shared by all that brings samples. They run for new series only.

use skopos_model::labels::METRIC_NAME;
use skopos_model::{IngestLimits, Labels, SeriesId, SeriesResolver};

use crate::proto::ProtoError;

/// Why a label set is not taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Invalid {
    /// The body is malformed there.
    Malformed(ProtoError),
    /// This series only: reason and text.
    Refused(&'static str, String),
}

/// Reason of series that are refused by a limit on their number.
pub(crate) const SERIES_LIMIT: &str = "series_limit";

/// Reason and text of what is refused.
pub(crate) type Refusal = (&'static str, String);

/// The number of the series that `raw` stands for, or why it is refused; `labels` is called for a new one only.
/// Malformed labels are an error of the body.
#[inline]
pub(crate) fn resolve(
    resolver: &mut dyn SeriesResolver,
    raw: &[u8],
    labels: impl Fn() -> Result<Labels, Invalid>,
) -> Result<Result<SeriesId, Refusal>, ProtoError> {
    let mut invalid = None;
    let id = resolver.resolve(raw, &mut || match labels() {
        Ok(labels) => labels,
        Err(error) => {
            invalid = Some(error);
            Labels::default()
        }
    });
    match (id, invalid) {
        (_, Some(Invalid::Malformed(error))) => Err(error),
        (_, Some(Invalid::Refused(reason, text))) => Ok(Err((reason, text))),
        (None, None) => Ok(Err((SERIES_LIMIT, resolver.refusal()))),
        (Some(id), None) => Ok(Ok(id)),
    }
}

/// Checks labels sorted by name: a metric name, no empty or doubled names, within the limits.
pub(crate) fn check_labels<'a>(labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>, limits: &IngestLimits) -> Result<(), Invalid> {
    let refuse = |reason, text| Err(Invalid::Refused(reason, text));
    let count = labels.len();
    if count > limits.labels_max {
        return refuse("too_many_labels", format!("{count} labels, labels_max is {}", limits.labels_max));
    }
    let mut named = false;
    let mut before: Option<&str> = None;
    for (name, value) in labels {
        if name.is_empty() {
            return refuse("invalid_label_name", format!("a label with the value {:?} has no name", shown(value)));
        }
        if before == Some(name) {
            return refuse("duplicate_label", format!("label {:?} is given twice", shown(name)));
        }
        if name.len() > limits.label_name_bytes_max {
            let text =
                format!("the name of label {:?} has {} bytes, label_name_bytes_max is {}", shown(name), name.len(), limits.label_name_bytes_max);
            return refuse("label_name_too_long", text);
        }
        if value.len() > limits.label_value_bytes_max {
            let text =
                format!("the value of label {:?} has {} bytes, label_value_bytes_max is {}", shown(name), value.len(), limits.label_value_bytes_max);
            return refuse("label_too_long", text);
        }
        named |= name == METRIC_NAME && !value.is_empty();
        before = Some(name);
    }
    if !named {
        return refuse("no_metric_name", "the series has no label __name__".to_owned());
    }
    Ok(())
}

/// The beginning of a text, for messages.
pub(crate) fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(100)]
}
