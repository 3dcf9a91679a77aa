//! Integers as bit-packed deltas: `[first][smallest delta][width][deltas - smallest, width bits each]`.

/// Appends a number, seven bits a byte.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`put_varint`] wrote and moves `at` behind it; `None` at the end of the bytes.
pub(super) fn get_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Small numbers of either sign become small numbers.
pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// Undoes [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Spare bytes behind packed bits, so that eight can be read at any position.
pub(super) const SLACK: usize = 8;

/// Widest delta that is read with one eight-byte load at any bit offset; wider ones are stored as 64 bits.
const WIDTH_MAX: u32 = 56;

/// Appends `values` packed; their number is not stored.
pub(super) fn pack(values: &[i64], out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    put_varint(zigzag(first), out);
    if values.len() == 1 {
        return;
    }
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for pair in values.windows(2) {
        let delta = pair[1].wrapping_sub(pair[0]);
        min = min.min(delta);
        max = max.max(delta);
    }
    put_varint(zigzag(min), out);
    let mut width = 64 - (max.wrapping_sub(min) as u64).leading_zeros();
    if width > WIDTH_MAX {
        width = 64;
    }
    out.push(width as u8);
    if width == 0 {
        return;
    }
    let (mut bits, mut filled) = (0u128, 0u32);
    for pair in values.windows(2) {
        let delta = pair[1].wrapping_sub(pair[0]).wrapping_sub(min) as u64;
        bits |= u128::from(delta) << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&(bits as u64).to_le_bytes());
            bits >>= 64;
            filled -= 64;
        }
    }
    out.extend_from_slice(&(bits as u64).to_le_bytes()[..filled.div_ceil(8) as usize]);
    out.extend_from_slice(&[0; SLACK]);
}

/// Appends the `count` values that [`pack`] wrote and returns the bytes read, or `None` when there are too few.
pub(super) fn unpack(bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Option<usize> {
    if count == 0 {
        return Some(0);
    }
    let mut at = 0;
    let mut value = unzigzag(get_varint(bytes, &mut at)?);
    out.push(value);
    if count == 1 {
        return Some(at);
    }
    let min = unzigzag(get_varint(bytes, &mut at)?);
    let width = usize::from(*bytes.get(at)?);
    at += 1;
    if width == 0 {
        out.extend((1..count).map(|_| {
            value = value.wrapping_add(min);
            value
        }));
        return Some(at);
    }
    if width > 64 {
        return None;
    }
    let length = ((count - 1) * width).div_ceil(8);
    let body = bytes.get(at..at + length + SLACK)?;
    let from = out.len();
    out.resize(from + count - 1, 0);
    accumulate(body, width, min, value, &mut out[from..]);
    Some(at + length + SLACK)
}

/// Unpacks differences of `width` bits, lowest bits first, each `min` more than it says, and adds them up from `value`
/// on. `SLACK` bytes follow the bits that count. Returns the last sum.
pub(super) fn accumulate(bits: &[u8], width: usize, min: i64, value: i64, out: &mut [i64]) -> i64 {
    // Known widths turn shifts into constants; wider ones are rare.
    match width {
        1 => narrow::<1>(bits, min, value, out),
        2 => narrow::<2>(bits, min, value, out),
        3 => narrow::<3>(bits, min, value, out),
        4 => narrow::<4>(bits, min, value, out),
        5 => narrow::<5>(bits, min, value, out),
        6 => narrow::<6>(bits, min, value, out),
        7 => narrow::<7>(bits, min, value, out),
        8 => narrow::<8>(bits, min, value, out),
        9 => narrow::<9>(bits, min, value, out),
        10 => narrow::<10>(bits, min, value, out),
        11 => narrow::<11>(bits, min, value, out),
        12 => narrow::<12>(bits, min, value, out),
        13 => narrow::<13>(bits, min, value, out),
        14 => narrow::<14>(bits, min, value, out),
        15 => narrow::<15>(bits, min, value, out),
        _ => any_width(bits, 0, width, min, value, out),
    }
}

/// The eight bytes from a place on.
#[inline(always)]
fn word(bits: &[u8], at: usize) -> u64 {
    bits.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// Eight differences take `W` bytes: four of them are in one word, the other four in another.
#[inline(always)]
fn narrow<const W: usize>(bits: &[u8], min: i64, mut value: i64, out: &mut [i64]) -> i64 {
    let mask = (1u64 << W) - 1;
    let (blocks, rest) = out.as_chunks_mut::<8>();
    let rest_bit = blocks.len() * W * 8;
    for (block, at) in blocks.iter_mut().zip((0..).step_by(W)) {
        let halves = [word(bits, at), word(bits, at + W / 2) >> (W % 2 * 4)];
        for (four, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(halves) {
            for (i, out) in four.iter_mut().enumerate() {
                value = value.wrapping_add(min.wrapping_add((word >> (i * W) & mask) as i64));
                *out = value;
            }
        }
    }
    any_width(bits, rest_bit, W, min, value, rest)
}

/// Differences of any width, from a bit on.
fn any_width(bits: &[u8], mut bit: usize, width: usize, min: i64, mut value: i64, out: &mut [i64]) -> i64 {
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    for out in out {
        let difference = if width <= 57 {
            word(bits, bit >> 3) >> (bit & 7)
        } else {
            let wide = bits.get(bit >> 3..(bit >> 3) + 16).and_then(|b| b.first_chunk()).map_or(0, |b| u128::from_le_bytes(*b));
            (wide >> (bit & 7)) as u64
        };
        bit += width;
        value = value.wrapping_add(min.wrapping_add((difference & mask) as i64));
        *out = value;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(values: &[i64]) {
        let mut bytes = vec![9];
        pack(values, &mut bytes);
        let mut out = vec![];
        assert_eq!(unpack(&bytes[1..], values.len(), &mut out), Some(bytes.len() - 1));
        assert_eq!(out, values);
        for cut in 0..bytes.len() - 1 {
            // Cut bytes are noticed, never a panic.
            assert_eq!(unpack(&bytes[1..1 + cut], values.len(), &mut Vec::new()), None);
        }
    }

    #[test]
    fn corner_values() {
        check(&[5]);
        check(&[1, 2, 3, 4]);
        check(&[i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN]);
        check(&[0, 1 << 55, 0, 1 << 56, 0, 1 << 57, -(1 << 60)]);
        let regular: Vec<i64> = (0..120).map(|i| 1_795_125_600_000 + i * 15_000).collect();
        let mut bytes = Vec::new();
        pack(&regular, &mut bytes);
        assert!(bytes.len() <= 10, "a regular scrape packs to its start and step");
        check(&regular);
    }

    proptest! {
        #[test]
        fn any_values_both_ways(values in prop::collection::vec(prop_oneof![any::<i64>(), -1000i64..1000], 1..200)) {
            check(&values);
        }
    }
}
