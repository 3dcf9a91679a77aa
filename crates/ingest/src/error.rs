//! Why a request body could not be read at all.

use crate::proto::ProtoError;

/// A body that is refused as a whole. Single rows that are not taken are no error: they are reported in
/// [`skopos_model::Decoded`] beside the good part.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The body is no protobuf message of the expected type.
    #[error("malformed {message}: {error}")]
    Protobuf {
        /// Message that was expected (`ExportLogsServiceRequest`).
        message: &'static str,
        /// What was wrong and at which byte.
        error: ProtoError,
    },
    /// The body is no JSON of the expected shape.
    #[error("malformed {message} JSON at line {line} column {column}: {reason}")]
    Json {
        /// Message that was expected.
        message: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was wrong and what was expected.
        reason: String,
    },
    /// A text format is not as it should be.
    #[error("malformed {format} in line {line}: {reason}")]
    Text {
        /// Name of the format.
        format: &'static str,
        /// Line, from 1.
        line: usize,
        /// What was wrong and what was expected.
        reason: String,
    },
    /// The body is over a limit.
    #[error("body of {bytes} bytes is over the limit {limit} of {max} bytes; send smaller batches")]
    TooLarge {
        /// Name of the limit.
        limit: &'static str,
        /// Its value.
        max: usize,
        /// Size that was met, or the least it can be.
        bytes: usize,
    },
    /// The body has too many of something.
    #[error("the body has more than {max} {what}, the limit {limit}; send smaller batches")]
    TooMany {
        /// What there is too many of.
        what: &'static str,
        /// Name of the limit.
        limit: &'static str,
        /// Its value.
        max: usize,
    },
    /// The body does not decompress.
    #[error("body does not decompress as {encoding}: {reason}")]
    Compression {
        /// Name of the encoding.
        encoding: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// No such content encoding.
    #[error("unknown content encoding {name:?}: expected one of {known}")]
    UnknownEncoding {
        /// As the client named it, cut to 64 characters.
        name: String,
        /// The ones there are.
        known: &'static str,
    },
    /// No such content type for this path.
    #[error("unsupported content type {name:?}: expected one of {known}")]
    UnknownContentType {
        /// As the client named it, cut to 128 characters.
        name: String,
        /// The ones there are.
        known: String,
    },
}

impl IngestError {
    /// Whether the client may send the body again after making it smaller (HTTP 413 rather than 400).
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooMany { .. })
    }

    /// Whether the client named an encoding or a type that is not offered (HTTP 415).
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::UnknownEncoding { .. } | Self::UnknownContentType { .. })
    }

    /// For `map_err` on JSON readers.
    pub(crate) fn json(message: &'static str) -> impl Fn(serde_json::Error) -> Self {
        move |error| {
            let text = error.to_string();
            // The place has fields of its own.
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
            Self::Json { message, line: error.line(), column: error.column(), reason }
        }
    }

    /// For `map_err` on protobuf readers.
    pub(crate) fn protobuf(message: &'static str) -> impl Fn(ProtoError) -> Self {
        move |error| Self::Protobuf { message, error }
    }
}
