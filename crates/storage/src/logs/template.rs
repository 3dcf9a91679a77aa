//! A message split into template, variables and tail, and put together again.
//!
//! Only the first line is split; what follows is the tail. Each run of letters and digits that holds a digit
//! becomes a variable, so that a template never holds a digit: lower-case hexadecimal runs of 16, 32, 48 or 64
//! digits and UUIDs as raw bytes, other mixed or long (16 and more) runs as words, the rest as numbers with the
//! letters around them left in the template. The filters in `bloom` count on this.

/// Stands for a number: digits, perhaps with a decimal fraction.
pub(super) const NUMBER: u8 = 1;
/// Stands for 16 lower-case hexadecimal digits.
pub(super) const HEX: u8 = 2;
/// Stands for a UUID in lower case.
pub(super) const UUID: u8 = 3;
/// Stands for a word with digits in it.
pub(super) const WORD: u8 = 4;
/// Between the texts of numbers and words of one row.
pub(super) const SEPARATOR: u8 = b' ';
/// Longer templates stay raw: a dictionary of them would not stay small.
const TEMPLATE_BYTES_MAX: usize = 4096;
/// Runs of letters and digits this long are one variable, and indexed.
pub(super) const LONG_RUN: usize = 16;

const OTHER: u8 = 0;
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const RESERVED: u8 = 3;

/// What a byte is. Bytes beyond ASCII count as letters.
static CLASS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut i = 0;
    while i < 256 {
        let c = i as u8;
        if c.is_ascii_alphabetic() || c >= 128 {
            table[i] = LETTER;
        } else if c.is_ascii_digit() {
            table[i] = DIGIT;
        } else if c >= NUMBER && c <= WORD {
            table[i] = RESERVED;
        }
        i += 1;
    }
    table
};

fn class(byte: u8) -> u8 {
    CLASS[usize::from(byte)]
}

/// Whether the byte belongs to a run of letters and digits.
pub(super) fn in_run(byte: u8) -> bool {
    matches!(class(byte), LETTER | DIGIT)
}

/// The parts of one message.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// First line with placeholders.
    pub(super) template: Vec<u8>,
    /// Numbers and words as text, separated.
    pub(super) vars: Vec<u8>,
    /// Raw bytes of hexadecimal runs, eight a placeholder.
    pub(super) hex: Vec<u8>,
    /// Raw bytes of UUIDs, sixteen a placeholder.
    pub(super) uuid: Vec<u8>,
    /// Where the tail begins in the message.
    pub(super) tail: usize,
}

impl Parts {
    fn clear(&mut self) {
        self.template.clear();
        self.vars.clear();
        self.hex.clear();
        self.uuid.clear();
        self.tail = 0;
    }

    fn var(&mut self, placeholder: u8, text: &[u8]) {
        self.template.push(placeholder);
        if !self.vars.is_empty() {
            self.vars.push(SEPARATOR);
        }
        self.vars.extend_from_slice(text);
    }
}

fn is_lower_hex(bytes: &[u8]) -> bool {
    bytes.iter().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(c))
}

fn nibble(c: u8) -> u8 {
    match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        _ => c.wrapping_sub(b'A').wrapping_add(10),
    }
}

fn push_hex(digits: &[u8], out: &mut Vec<u8>) {
    out.extend(digits.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])));
}

/// The sixteen bytes of a text shaped like a UUID, of either case.
pub(super) fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let text = text.get(..36)?;
    let dashes = [8, 13, 18, 23];
    let shaped = text.iter().enumerate().all(|(i, c)| if dashes.contains(&i) { *c == b'-' } else { c.is_ascii_hexdigit() });
    if !shaped {
        return None;
    }
    let mut digits = text.iter().filter(|c| **c != b'-');
    let mut out = [0u8; 16];
    for byte in &mut out {
        *byte = nibble(*digits.next()?) << 4 | nibble(*digits.next()?);
    }
    Some(out)
}

/// Splits a message. False when it must stay raw; `parts` then holds nothing of use.
pub(super) fn split(body: &[u8], parts: &mut Parts) -> bool {
    parts.clear();
    let end = memchr::memchr(b'\n', body).unwrap_or(body.len());
    let line = &body[..end];
    let (mut at, mut literal) = (0, 0);
    while at < end {
        match class(line[at]) {
            OTHER => {
                at += 1;
                continue;
            }
            RESERVED => return false,
            _ => {}
        }
        let start = at;
        let mut digits = false;
        while at < end {
            let c = class(line[at]);
            if c != LETTER && c != DIGIT {
                break;
            }
            digits |= c == DIGIT;
            at += 1;
        }
        let run = &line[start..at];
        if run.len() >= 8
            && line.get(at) == Some(&b'-')
            && let Some(bytes) = uuid_bytes(&line[at - 8..])
        {
            let after = at - 8 + 36;
            let bounded = run.len() == 8 && !line.get(after).is_some_and(|c| in_run(*c));
            // One that is part of something longer, or in upper case, is found only in raw text.
            if !bounded || line[start..after].iter().any(u8::is_ascii_uppercase) {
                return false;
            }
            parts.template.extend_from_slice(&line[literal..start]);
            parts.template.push(UUID);
            parts.uuid.extend_from_slice(&bytes);
            at = after;
            literal = after;
            continue;
        }
        if !digits {
            continue;
        }
        if run.len().is_multiple_of(16) && run.len() <= 64 && is_lower_hex(run) {
            parts.template.extend_from_slice(&line[literal..start]);
            parts.template.extend(std::iter::repeat_n(HEX, run.len() / 16));
            push_hex(run, &mut parts.hex);
            literal = at;
            continue;
        }
        let first = start + run.iter().position(|c| class(*c) == DIGIT).unwrap_or(0);
        let after = first + line[first..at].iter().position(|c| class(*c) != DIGIT).unwrap_or(at - first);
        let more = line[after..at].iter().any(|c| class(*c) == DIGIT);
        let mixed = first > start && after < at || run.len() >= 8 && (after < at || first > start) && is_lower_hex(run);
        if run.len() >= LONG_RUN || more || mixed {
            parts.template.extend_from_slice(&line[literal..start]);
            parts.var(WORD, run);
            literal = at;
            continue;
        }
        parts.template.extend_from_slice(&line[literal..first]);
        let mut number_end = after;
        if first == start && after == at && line.get(at) == Some(&b'.') && !(start > 0 && line[start - 1] == b'.') {
            let fraction = &line[at + 1..];
            let digits = fraction.iter().position(|c| class(*c) != DIGIT).unwrap_or(fraction.len());
            let run = fraction.iter().position(|c| !in_run(*c)).unwrap_or(fraction.len());
            let dotted = fraction.get(digits) == Some(&b'.') && fraction.get(digits + 1).is_some_and(|c| class(*c) == DIGIT);
            let plain = !fraction[digits..run].iter().any(|c| class(*c) == DIGIT);
            let uuid = fraction.get(run) == Some(&b'-') && run >= 8;
            if digits > 0 && !dotted && plain && run < LONG_RUN && !uuid {
                number_end = at + 1 + digits;
                at += 1 + run;
            }
        }
        parts.var(NUMBER, &line[first..number_end]);
        literal = number_end;
    }
    parts.template.extend_from_slice(&line[literal..]);
    parts.tail = end;
    parts.template.len() <= TEMPLATE_BYTES_MAX
}

/// Appends the message that template, variables and tail stand for.
pub(super) fn rebuild(template: &[u8], vars: &[u8], hex: &[u8], uuid: &[u8], tail: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut vars = vars.split(|c| *c == SEPARATOR);
    let (mut hex, mut uuid) = (hex, uuid);
    let mut literal = 0;
    for (at, &c) in template.iter().enumerate() {
        if !(NUMBER..=WORD).contains(&c) {
            continue;
        }
        out.extend_from_slice(&template[literal..at]);
        literal = at + 1;
        match c {
            HEX => {
                let (bytes, rest) = hex.split_at(8.min(hex.len()));
                hex = rest;
                out.extend(bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
            }
            UUID => {
                let (bytes, rest) = uuid.split_at(16.min(uuid.len()));
                uuid = rest;
                for (index, b) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        out.push(b'-');
                    }
                    out.extend([DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
                }
            }
            _ => out.extend_from_slice(vars.next().unwrap_or(b"")),
        }
    }
    out.extend_from_slice(&template[literal..]);
    out.extend_from_slice(tail);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(body: &str) -> Option<(String, String)> {
        let mut parts = Parts::default();
        split(body.as_bytes(), &mut parts).then(|| {
            let mut out = Vec::new();
            rebuild(&parts.template, &parts.vars, &parts.hex, &parts.uuid, &body.as_bytes()[parts.tail..], &mut out);
            assert_eq!(String::from_utf8_lossy(&out), body);
            let template = String::from_utf8_lossy(&parts.template)
                .replace('\u{1}', "<n>")
                .replace('\u{2}', "<h>")
                .replace('\u{3}', "<u>")
                .replace('\u{4}', "<w>");
            (template, String::from_utf8_lossy(&parts.vars).into_owned())
        })
    }

    #[test]
    fn splits() {
        for (body, template, vars) in [
            ("plain words only", "plain words only", ""),
            ("took 12.5ms, 007 of 3", "took <n>ms, <n> of <n>", "12.5 007 3"),
            ("10.0.0.1:8080", "<n>.<n>.<n>.<n>:<n>", "10 0 0 1 8080"),
            ("id=8f3a00c1d2e4b5a6 x1", "id=<h> x<n>", "1"),
            ("t=4bf92f3577b34da6a3ce929d0e0e4736", "t=<h><h>", ""),
            ("u 550e8400-e29b-41d4-a716-446655440000!", "u <u>!", ""),
            ("a1b2 x12y 12345678901234567", "<w> <w> <w>", "a1b2 x12y 12345678901234567"),
            ("first 1\n  at line 2", "first <n>", "1"),
            ("1.5abcdefghijklmnop123", "<n>.<w>", "1 5abcdefghijklmnop123"),
            ("v1.2.3 1.2s", "v<n>.<n>.<n> <n>s", "1 2 3 1.2"),
            ("", "", ""),
        ] {
            assert_eq!(shown(body), Some((template.to_owned(), vars.to_owned())), "{body:?}");
        }
        for raw in ["a\u{1}b", "550E8400-E29B-41D4-A716-446655440000", "x550e8400-e29b-41d4-a716-446655440000", &"word ".repeat(2000)] {
            assert_eq!(shown(raw), None, "{raw:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn split_and_rebuild(body in "([a-f0-9]{1,18}|[ .:=/-]|[A-Za-z0-9]{1,6}|\\PC|\n){0,12}") {
            shown(&body);
        }

        #[test]
        fn no_digit_stays(body in "([a-f0-9]{1,18}|[ .:=/-]|[A-Za-z0-9.]{1,20}){0,8}") {
            let mut parts = Parts::default();
            if split(body.as_bytes(), &mut parts) {
                prop_assert!(!parts.template.iter().any(u8::is_ascii_digit), "{:?}", String::from_utf8_lossy(&parts.template));
            }
        }
    }
}
