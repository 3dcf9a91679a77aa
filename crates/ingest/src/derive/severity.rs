//! The severity of a line that states it nowhere but in its text.

use skopos_model::Severity;

/// Names a level goes by, in labels, metadata and structured lines.
pub const LEVEL_KEYS: [&str; 8] = ["level", "detected_level", "severity", "severity_text", "lvl", "loglevel", "log_level", "log.level"];

/// Bytes of a line that are looked at: a level stands at the beginning.
const LOOKED_AT: usize = 512;
/// Bytes in which a bare word counts as a level.
const WORD_WITHIN: usize = 80;

/// Whether a key names a level, in either case.
pub fn is_level_key(key: &str) -> bool {
    LEVEL_KEYS.iter().any(|known| known.eq_ignore_ascii_case(key))
}

/// The severity a line states, and the word it states it with: `level=warn`, `"level":"warn"`, or a word in capitals or
/// brackets at its beginning (`2026-01-02 WARN …`, `[error] …`).
pub fn of_line(line: &str) -> Option<(Severity, &str)> {
    let line = &line[..line.floor_char_boundary(LOOKED_AT)];
    stated(line).or_else(|| bare(line))
}

/// `level=warn`, `"level": "warn"`, `lvl="warn"`.
fn stated(line: &str) -> Option<(Severity, &str)> {
    let bytes = line.as_bytes();
    for at in memchr::memchr2_iter(b'=', b':', bytes) {
        let before = line[..at].trim_end_matches(['"', ' ']);
        let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).map_or(0, |i| i + 1);
        // The byte before may be a part of a longer character.
        let Some(key) = before.get(start..) else { continue };
        if !is_level_key(key) {
            continue;
        }
        let after = line[at + 1..].trim_start_matches([' ', '"']);
        let word = &after[..after.bytes().take_while(u8::is_ascii_alphabetic).count()];
        if let Some(severity) = Severity::from_text(word) {
            return Some((severity, word));
        }
    }
    None
}

/// A word of at least three letters, all capitals or between brackets.
fn bare(line: &str) -> Option<(Severity, &str)> {
    let line = &line[..line.floor_char_boundary(WORD_WITHIN)];
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b == b'-').count();
        let word = &line[at..at + length];
        let next = bytes.get(at + length).copied();
        let bracketed = at > 0 && matches!((bytes[at - 1], next), (b'[', Some(b']')) | (b'<', Some(b'>')) | (b'(', Some(b')')));
        let capitals = length >= 3 && word.bytes().all(|b| b.is_ascii_uppercase());
        if (capitals || (bracketed && length >= 3))
            && let Some(severity) = Severity::from_text(word)
        {
            return Some((severity, word));
        }
        at += length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_where_they_stand() {
        for (line, expected) in [
            ("ts=1 level=warn msg=x", Some(("warn", 13))),
            ("{\"msg\":\"a level: of x\",\"level\":\"error\"}", Some(("error", 17))),
            ("{\"lvl\" : \"DEBUG\"}", Some(("DEBUG", 5))),
            ("2026-01-02T03:04:05Z INFO started", Some(("INFO", 9))),
            ("[crit] out of space", Some(("crit", 21))),
            ("an error in a sentence", None),
            ("GET /INFO", Some(("INFO", 9))),
            ("ä=level ü:x", None),
            ("sublevel=warn", None),
            ("level=5", None),
            ("", None),
        ] {
            assert_eq!(of_line(line).map(|(s, w)| (w, s.number())), expected, "{line}");
        }
    }
}
