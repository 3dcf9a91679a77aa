//! Content encodings, with a guard against bodies that grow without end.

use std::borrow::Cow;
use std::io::Read;

use crate::error::IngestError;

/// How a request body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// gzip (RFC 1952), also several members one after another.
    Gzip,
    /// Zstandard (RFC 8878), also several frames one after another.
    Zstd,
}

/// The names of all encodings, for messages and `Accept-Encoding`.
pub const KNOWN_ENCODINGS: &str = "identity, gzip, zstd";

/// Largest window a zstd frame may ask for, as a power of two: 8 MiB, what RFC 8878 tells decoders to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl Encoding {
    /// From the value of a `Content-Encoding` header; absent and empty mean identity.
    ///
    /// # Errors
    /// For an encoding that is not offered, with the list of those that are.
    pub fn from_header(value: Option<&str>) -> Result<Self, IngestError> {
        match value.unwrap_or("").trim() {
            v if v.is_empty() || v.eq_ignore_ascii_case("identity") => Ok(Self::Identity),
            v if v.eq_ignore_ascii_case("gzip") || v.eq_ignore_ascii_case("x-gzip") => Ok(Self::Gzip),
            v if v.eq_ignore_ascii_case("zstd") => Ok(Self::Zstd),
            v => Err(IngestError::UnknownEncoding { name: v.chars().take(64).collect(), known: KNOWN_ENCODINGS }),
        }
    }

    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The decompressed body: borrowed where there was nothing to do.
    ///
    /// # Errors
    /// When the body is not of this encoding, ends early, or becomes longer than `max` bytes
    /// ([`skopos_model::IngestLimits::decompressed_bytes_max`]).
    pub fn decompress(self, body: &[u8], max: usize) -> Result<Cow<'_, [u8]>, IngestError> {
        match self {
            Self::Identity if body.len() > max => Err(too_large(max, body.len())),
            Self::Identity => Ok(Cow::Borrowed(body)),
            Self::Gzip => read_all(flate2::read::MultiGzDecoder::new(body), self.as_str(), body.len(), max),
            Self::Zstd => {
                let bad = |error: std::io::Error| IngestError::Compression { encoding: "zstd", reason: error.to_string() };
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(bad)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(bad)?;
                read_all(decoder, self.as_str(), body.len(), max)
            }
        }
    }
}

fn too_large(max: usize, bytes: usize) -> IngestError {
    IngestError::TooLarge { limit: "decompressed_bytes_max", max, bytes }
}

fn read_all(mut reader: impl Read, encoding: &'static str, compressed: usize, max: usize) -> Result<Cow<'static, [u8]>, IngestError> {
    // Telemetry compresses about eightfold; what is reserved stays in proportion to what was sent.
    let mut out = Vec::with_capacity(compressed.saturating_mul(8).min(max));
    match reader.by_ref().take(max as u64 + 1).read_to_end(&mut out) {
        Ok(_) if out.len() > max => Err(too_large(max, out.len())),
        Ok(_) => Ok(Cow::Owned(out)),
        Err(error) => Err(IngestError::Compression { encoding, reason: error.to_string() }),
    }
}

/// Decompresses a snappy block (remote write) into `out`, which is cleared first.
pub(crate) fn snappy_block<'a>(body: &[u8], max: usize, out: &'a mut Vec<u8>) -> Result<&'a [u8], IngestError> {
    let bad = |error: snap::Error| IngestError::Compression { encoding: "snappy block format", reason: error.to_string() };
    let len = snap::raw::decompress_len(body).map_err(bad)?;
    if len > max {
        return Err(too_large(max, len));
    }
    if out.len() < len {
        out.resize(len, 0);
    }
    let written = snap::raw::Decoder::new().decompress(body, &mut out[..len]).map_err(bad)?;
    Ok(&out[..written])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).expect("to memory");
        encoder.finish().expect("to memory")
    }

    #[test]
    fn round_trips_and_members() {
        let data = b"some telemetry, some more telemetry".repeat(100);
        let mut two = gzip(&data);
        two.extend(gzip(&data));
        let zstd = zstd::encode_all(&data[..], 1).expect("to memory");
        assert_eq!(*Encoding::Identity.decompress(&data, 10_000).expect("fits"), data);
        assert_eq!(*Encoding::Gzip.decompress(&two, 10_000).expect("fits"), data.repeat(2));
        assert_eq!(*Encoding::Zstd.decompress(&zstd, 10_000).expect("fits"), data);
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let zeros = vec![0u8; 10 << 20];
        for (encoding, body) in [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd::encode_all(&zeros[..], 1).expect("to memory"))] {
            let error = encoding.decompress(&body, 1 << 20).expect_err("over the limit");
            assert!(error.is_too_large(), "{error}");
        }
        let snappy = snap::raw::Encoder::new().compress_vec(&zeros).expect("to memory");
        assert!(snappy_block(&snappy, 1 << 20, &mut Vec::new()).expect_err("over the limit").is_too_large());
        assert!(Encoding::Identity.decompress(&zeros, 5).expect_err("over the limit").is_too_large());
    }

    #[test]
    fn damaged_bodies_are_named() {
        let data = gzip(b"hello hello hello");
        for (encoding, body) in
            [(Encoding::Gzip, &data[..data.len() - 4]), (Encoding::Gzip, b"{}"), (Encoding::Zstd, b"no zstd frame"), (Encoding::Gzip, b"")]
        {
            let error = encoding.decompress(body, 1000).expect_err("damaged").to_string();
            assert!(error.starts_with(&format!("body does not decompress as {}", encoding.as_str())), "{error}");
        }
        let wrong_length = [&[200u8, 1][..], b"\x00a"].concat();
        assert!(snappy_block(&wrong_length, 1000, &mut Vec::new()).is_err());
        assert!(snappy_block(b"", 1000, &mut Vec::new()).is_err());
    }

    #[test]
    fn headers() {
        assert_eq!(Encoding::from_header(None), Ok(Encoding::Identity));
        assert_eq!(Encoding::from_header(Some(" GZIP ")), Ok(Encoding::Gzip));
        let error = Encoding::from_header(Some("br")).expect_err("not offered");
        assert_eq!(error.to_string(), "unknown content encoding \"br\": expected one of identity, gzip, zstd");
        assert!(error.is_unsupported());
    }
}
