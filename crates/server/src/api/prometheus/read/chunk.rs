//! XOR chunks, Prometheus' own encoding of samples: times as differences of differences, values as differences of bits.

/// Samples of one chunk, as Prometheus cuts them.
pub(super) const SAMPLES_MAX: usize = 120;

/// Writes bits, the highest of a byte first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are free.
    free: u8,
}

impl Bits {
    fn push(&mut self, value: u64, count: u8) {
        for place in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> place & 1 == 1) << self.free;
            }
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.push(value, 8);
    }
}

/// Whether a difference fits in `bits` as Prometheus sees it: one more above than below.
fn fits(value: i64, bits: u8) -> bool {
    let half = 1_i64 << (bits - 1);
    value > -half && value <= half
}

/// The bits by which a value differs from the one before, and where they stood last time.
#[derive(Debug)]
struct Xor {
    before: u64,
    /// Leading and trailing zeros of the window in use; none before the first difference.
    window: Option<(u8, u8)>,
}

impl Xor {
    fn write(&mut self, out: &mut Bits, value: f64) {
        let bits = value.to_bits();
        let delta = bits ^ std::mem::replace(&mut self.before, bits);
        if delta == 0 {
            out.push(0, 1);
            return;
        }
        out.push(1, 1);
        // Five bits say how many zeros lead.
        let leading = u8::try_from(delta.leading_zeros()).unwrap_or(63).min(31);
        let trailing = u8::try_from(delta.trailing_zeros()).unwrap_or(63);
        match self.window {
            Some((l, t)) if leading >= l && trailing >= t => {
                out.push(0, 1);
                out.push(delta >> t, 64 - l - t);
            }
            _ => {
                self.window = Some((leading, trailing));
                out.push(1, 1);
                out.push(u64::from(leading), 5);
                let significant = 64 - leading - trailing;
                // 64 is written as 0: six bits hold no more.
                out.push(u64::from(significant) & 0x3f, 6);
                out.push(delta >> trailing, significant);
            }
        }
    }
}

/// Encodes at most [`SAMPLES_MAX`] samples in order of time.
pub(super) fn encode(times: &[i64], values: &[f64]) -> Vec<u8> {
    let count = times.len().min(values.len());
    let mut out = Bits::default();
    out.push(count as u64, 16);
    let mut xor = Xor { before: 0, window: None };
    let (mut before, mut delta) = (0_i64, 0_i64);
    for (i, (time, value)) in times.iter().zip(values).enumerate() {
        match i {
            0 => {
                // Zigzag: small negative times are short too.
                out.varint(((time << 1) ^ (time >> 63)).cast_unsigned());
                out.push(value.to_bits(), 64);
                xor.before = value.to_bits();
            }
            1 => {
                delta = time - before;
                out.varint(delta.cast_unsigned());
                xor.write(&mut out, *value);
            }
            _ => {
                let next = time - before;
                let change = next - delta;
                delta = next;
                let bits = change.cast_unsigned();
                match change {
                    0 => out.push(0, 1),
                    c if fits(c, 14) => {
                        out.push(0b10, 2);
                        out.push(bits & 0x3fff, 14);
                    }
                    c if fits(c, 17) => {
                        out.push(0b110, 3);
                        out.push(bits & 0x1_ffff, 17);
                    }
                    c if fits(c, 20) => {
                        out.push(0b1110, 4);
                        out.push(bits & 0xf_ffff, 20);
                    }
                    _ => {
                        out.push(0b1111, 4);
                        out.push(bits, 64);
                    }
                }
                xor.write(&mut out, *value);
            }
        }
        before = *time;
    }
    out.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a chunk back, after the description of the format and not after the encoder.
    fn decode(bytes: &[u8]) -> Vec<(i64, u64)> {
        let mut at = 0_usize;
        let mut take = |count: usize| {
            let mut value = 0_u64;
            for _ in 0..count {
                value = value << 1 | u64::from(bytes[at / 8] >> (7 - at % 8) & 1);
                at += 1;
            }
            value
        };
        let count = take(16);
        let mut out: Vec<(i64, u64)> = Vec::new();
        let (mut delta, mut leading, mut trailing) = (0_i64, 0_usize, 0_usize);
        for i in 0..count {
            let varint = |take: &mut dyn FnMut(usize) -> u64| {
                let (mut value, mut shift) = (0_u64, 0);
                loop {
                    let byte = take(8);
                    value |= (byte & 0x7f) << shift;
                    shift += 7;
                    if byte < 0x80 {
                        return value;
                    }
                }
            };
            let last = out.last().copied().unwrap_or_default();
            let time = match i {
                0 => {
                    let raw = varint(&mut take);
                    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
                }
                1 => {
                    delta = varint(&mut take).cast_signed();
                    last.0 + delta
                }
                _ => {
                    let mut ones = 0;
                    while ones < 4 && take(1) == 1 {
                        ones += 1;
                    }
                    let width = [0_usize, 14, 17, 20, 64][ones];
                    let raw = take(width);
                    let change = match width {
                        0 => 0,
                        64 => raw.cast_signed(),
                        // Above half of the range it is negative.
                        _ if raw > 1 << (width - 1) => raw.cast_signed() - (1 << width),
                        _ => raw.cast_signed(),
                    };
                    delta += change;
                    last.0 + delta
                }
            };
            let value = if i == 0 {
                take(64)
            } else if take(1) == 0 {
                last.1
            } else {
                if take(1) == 1 {
                    leading = usize::try_from(take(5)).unwrap();
                    let significant = match usize::try_from(take(6)).unwrap() {
                        0 => 64,
                        n => n,
                    };
                    trailing = 64 - leading - significant;
                }
                last.1 ^ take(64 - leading - trailing) << trailing
            };
            out.push((time, value));
        }
        out
    }

    fn check(samples: &[(i64, f64)]) {
        let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        let expected: Vec<(i64, u64)> = samples.iter().map(|(t, v)| (*t, v.to_bits())).collect();
        assert_eq!(decode(&encode(&times, &values)), expected);
    }

    #[test]
    fn chunks_read_back() {
        check(&[]);
        check(&[(-5, f64::NAN)]);
        check(&[(1_600_000_000_000, 1.0), (1_600_000_015_000, 1.0), (1_600_000_030_000, 2.5), (1_600_000_045_001, -0.1)]);
        // Differences at the edges of each width.
        let mut time = 0;
        let mut step = 1_000;
        let mut samples = Vec::new();
        for change in [0, 1, -1, 8_191, 8_192, -8_191, -8_192, 65_536, -65_535, -65_536, 524_288, -524_287, 524_289, -524_288, 1 << 40, -(1 << 39)] {
            step += change;
            time += step.max(1);
            samples.push((time, f64::from(u32::try_from(samples.len()).unwrap()) * 1e100));
        }
        check(&samples);
        let values =
            [0.0, -0.0, f64::INFINITY, f64::MIN_POSITIVE, f64::from_bits(1), f64::from_bits(u64::MAX), f64::from_bits(0x7ff0_0000_0000_0002)];
        let many: Vec<(i64, f64)> = (0..120).map(|i| (i * 15_000, values[usize::try_from(i).unwrap() % values.len()])).collect();
        check(&many);
    }

    /// The bytes that follow from the description of the format for the samples 1 at 0 s and at 1 s.
    #[test]
    fn bytes_are_those_of_the_description() {
        // Two samples; time 0; the bits of 1.0; difference 1000 as varint; one bit for the same value.
        assert_eq!(encode(&[0, 1_000], &[1.0, 1.0]), [0, 2, 0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xe8, 0x07, 0]);
    }
}
