//! Labels out of lines.

pub(super) mod json;
pub(super) mod logfmt;
pub(super) mod regexp;
