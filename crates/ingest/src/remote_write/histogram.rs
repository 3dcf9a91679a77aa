//! `Histogram` of both versions of remote write: the same fields, of which 1.0 has no start timestamp.

use skopos_model::CounterReset;

use crate::histogram::WireHistogram;
use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint, zigzag};

const HISTOGRAM: Message = Message {
    name: "Histogram",
    tags: &[
        varint(1),
        fixed64(2),
        fixed64(3),
        varint(4),
        fixed64(5),
        varint(6),
        fixed64(7),
        bytes(8),
        bytes(9),
        varint(9),
        bytes(10),
        fixed64(10),
        bytes(11),
        bytes(12),
        varint(12),
        bytes(13),
        fixed64(13),
        varint(14),
        varint(15),
        bytes(16),
        fixed64(16),
        varint(17),
    ],
};

const NEGATIVE_SPANS: u32 = bytes(8);
const POSITIVE_SPANS: u32 = bytes(11);

/// Reads the fields into `out`, which is cleared first.
pub(super) fn read(mut reader: Reader<'_>, out: &mut WireHistogram) -> Result<(), ProtoError> {
    const COUNT_INT: u32 = varint(1);
    const COUNT_FLOAT: u32 = fixed64(2);
    const SUM: u32 = fixed64(3);
    const SCHEMA: u32 = varint(4);
    const ZERO_THRESHOLD: u32 = fixed64(5);
    const ZERO_INT: u32 = varint(6);
    const ZERO_FLOAT: u32 = fixed64(7);
    const HINT: u32 = varint(14);
    const TIME: u32 = varint(15);
    const START: u32 = varint(17);
    out.clear();
    while let Some(tag) = reader.tag()? {
        match tag {
            COUNT_INT => {
                out.float = false;
                out.count_int = reader.varint()?;
            }
            COUNT_FLOAT => {
                out.float = true;
                out.count = reader.double()?;
            }
            SUM => out.sum = reader.double()?,
            SCHEMA => out.schema = zigzag(reader.varint()?) as i32,
            ZERO_THRESHOLD => out.zero_threshold = reader.double()?,
            ZERO_INT => out.zero_count_int = reader.varint()?,
            ZERO_FLOAT => out.zero_count = reader.double()?,
            NEGATIVE_SPANS => out.negative.read_span(reader.message()?)?,
            POSITIVE_SPANS => out.positive.read_span(reader.message()?)?,
            _ if matches!(tag >> 3, 9 | 12) && matches!(tag & 7, 0 | 2) => {
                let buckets = if tag >> 3 == 9 { &mut out.negative } else { &mut out.positive };
                reader.varints(tag, |delta| buckets.deltas.push(zigzag(delta)))?;
            }
            _ if matches!(tag >> 3, 10 | 13 | 16) && matches!(tag & 7, 1 | 2) => {
                let list = match tag >> 3 {
                    10 => &mut out.negative.counts,
                    13 => &mut out.positive.counts,
                    _ => &mut out.custom_bounds,
                };
                reader.doubles(tag, list)?;
            }
            HINT => out.reset = reset(reader.varint()?),
            TIME => out.timestamp = reader.varint()? as i64,
            START => out.start = reader.varint()? as i64,
            _ => reader.skip(tag, &HISTOGRAM)?,
        }
    }
    Ok(())
}

fn reset(number: u64) -> CounterReset {
    match number {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}
