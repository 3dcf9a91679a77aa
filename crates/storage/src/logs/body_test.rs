//! Tests of messages without putting each of them together: what a template tells decides most rows.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray};
use memchr::memmem::Finder;
use regex_syntax::hir::{Hir, HirKind};
use skopos_query::filter::{Field, FieldValue, Needle, Test};

use super::bloom::TextProbe;
use super::open::{Block, dictionary};
use super::schema::Kind;
use super::template::{HEX, NUMBER, UUID, WORD, rebuild};

/// Bytes of a literal that are compared with templates, one bit each; the rest is left to the whole message.
const LITERAL_BYTES: usize = 120;

/// A text that must occur, compared with many templates at once by shifting bits.
#[derive(Debug, Clone)]
struct Literal {
    /// For each byte of a template the places of the literal it fits.
    fits: Box<[u128; 256]>,
    /// The places that a variable of each kind (by placeholder) can fill.
    fills: [u128; 5],
    /// The bit that says "all of it".
    done: u128,
    /// Cut to [`LITERAL_BYTES`]: finding it does not mean finding all.
    cut: bool,
}

/// What a template says about the messages made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Never,
    Maybe,
    Always,
}

impl Literal {
    fn new(text: &[u8], ignore_case: bool) -> Self {
        let cut = text.len() > LITERAL_BYTES;
        let text = &text[..text.len().min(LITERAL_BYTES)];
        let mut fits = Box::new([0u128; 256]);
        let mut fills = [0u128; 5];
        for (place, &c) in text.iter().enumerate() {
            let bit = 1u128 << place;
            fits[usize::from(c)] |= bit;
            if ignore_case {
                fits[usize::from(c.to_ascii_uppercase())] |= bit;
            }
            let digit = c.is_ascii_digit();
            let hex = digit || (b'a'..=b'f').contains(&c);
            for (kind, fit) in [(NUMBER, digit || c == b'.'), (HEX, hex), (UUID, hex || c == b'-'), (WORD, c.is_ascii_alphanumeric() || c >= 128)] {
                if fit {
                    fills[usize::from(kind)] |= bit;
                }
            }
        }
        Self { fits, fills, done: 1 << text.len(), cut }
    }

    /// `found_is_enough`: messages that hold the literal need no further test.
    fn verdict(&self, template: &[u8], found_is_enough: bool) -> Verdict {
        // Bit n: the last n bytes are the first n of the literal. `certain` does not look into variables.
        let (mut possible, mut certain) = (1u128, 1u128);
        let mut maybe = self.done == 1;
        for &c in template {
            if (NUMBER..=WORD).contains(&c) {
                let fills = self.fills[usize::from(c)];
                loop {
                    let next = possible | (possible & fills) << 1;
                    if next == possible {
                        break;
                    }
                    possible = next;
                }
                certain = 1;
            } else {
                let fits = self.fits[usize::from(c)];
                possible = (possible & fits) << 1 | 1;
                certain = (certain & fits) << 1 | 1;
            }
            maybe |= possible & self.done != 0;
            if certain & self.done != 0 && found_is_enough && !self.cut {
                return Verdict::Always;
            }
        }
        match maybe {
            true if self.done == 1 && found_is_enough => Verdict::Always,
            true => Verdict::Maybe,
            false => Verdict::Never,
        }
    }
}

/// A test of messages.
#[derive(Debug)]
pub(super) struct BodyTest {
    test: Test,
    /// Occurs in every message that passes.
    literal: Option<Literal>,
    finder: Option<Finder<'static>>,
    /// The test is nothing but the literal, which lies within the first line or within the tail.
    only_literal: bool,
    pub(super) probe: TextProbe,
    /// Verdicts on the templates of the row group looked at last.
    verdicts: (Option<ArrayRef>, Vec<Verdict>),
    scratch: Vec<u8>,
}

impl BodyTest {
    pub(super) fn new(test: &Test) -> Self {
        let (mut literal, mut finder, mut only_literal, mut probe) = (None, None, false, TextProbe::default());
        let mut exact = |text: &[u8], literal: &mut Option<Literal>, finder: &mut Option<Finder<'static>>| {
            // What a line holds says nothing about where lines meet.
            if !text.is_empty() && !text.contains(&b'\n') {
                *literal = Some(Literal::new(text, false));
                *finder = Some(Finder::new(text).into_owned());
                probe = TextProbe::new(&text.to_ascii_lowercase());
            }
        };
        match test {
            Test::Contains(needle) => {
                if needle.is_ascii() && !needle.lower().contains(&b'\n') {
                    literal = Some(Literal::new(needle.lower(), true));
                    only_literal = true;
                    probe = TextProbe::new(needle.lower());
                }
            }
            Test::Prefix(text) => exact(text.as_bytes(), &mut literal, &mut finder),
            Test::Equal(values) => {
                if let [skopos_query::filter::Value::Text(text)] = values.as_slice() {
                    exact(text.as_bytes(), &mut literal, &mut finder);
                }
            }
            Test::Regex(regex) => {
                if let Some(text) = required_literal(regex.as_str()) {
                    exact(&text, &mut literal, &mut finder);
                }
            }
            Test::Order(..) | Test::Exists => {}
        }
        Self { test: test.clone(), literal, finder, only_literal, probe, verdicts: (None, Vec::new()), scratch: Vec::new() }
    }

    /// For free text.
    pub(super) fn containing(needle: &Needle) -> Self {
        Self::new(&Test::Contains(needle.clone()))
    }

    /// Whether a whole message passes.
    fn passes(test: &Test, text: &[u8]) -> bool {
        match test {
            Test::Contains(needle) => needle.is_in_bytes(text),
            other => {
                let text: Cow<'_, str> = String::from_utf8_lossy(text);
                other.matches_value(&Field::Body, &FieldValue::Text(text))
            }
        }
    }

    /// Keeps the rows (of `rows`) whose message passes. The block has the columns of the message.
    pub(super) fn retain(&mut self, block: &Block, rows: &mut Vec<u32>) {
        let Some((keys, texts, values)) = block.get(Kind::Template).and_then(dictionary) else { return rows.clear() };
        // The array is kept, so that another one cannot come to lie at its address.
        if !self.verdicts.0.as_ref().is_some_and(|known| known.to_data().ptr_eq(&values.to_data())) {
            self.verdicts = (Some(ArrayRef::clone(values)), vec![Verdict::Unknown; texts.len()]);
        }
        let templates = block.get(Kind::Template).map(|t| t.nulls().cloned());
        let has_template = |row: usize| templates.as_ref().is_some_and(|nulls| nulls.as_ref().is_none_or(|n| n.is_valid(row)));
        let Self { test, literal, finder, only_literal, verdicts, scratch, .. } = self;
        let tails = block.get(Kind::Tail).and_then(|t| t.as_string_opt::<i32>());
        let tail_of = |row: usize| tails.filter(|t| t.is_valid(row)).map_or(&b""[..], |t| t.value(row).as_bytes());
        let holds_literal = |text: &[u8]| finder.as_ref().is_none_or(|f| f.find(text).is_some());
        rows.retain(|row| {
            let row = *row as usize;
            let tail = tail_of(row);
            if !has_template(row) {
                return holds_literal(tail) && Self::passes(test, tail);
            }
            let place = keys[row] as usize;
            let verdict = &mut verdicts.1[place];
            if *verdict == Verdict::Unknown {
                *verdict = match literal {
                    Some(literal) => literal.verdict(texts.value(place).as_bytes(), *only_literal),
                    None => Verdict::Maybe,
                };
            }
            match *verdict {
                Verdict::Always => return true,
                Verdict::Never if *only_literal => return !tail.is_empty() && Self::passes(test, tail),
                // The literal may be in the tail, the rest of the pattern before it.
                Verdict::Never if tail.is_empty() || !holds_literal(tail) => return false,
                _ => {}
            }
            let text = |kind| block.text(kind, row).unwrap_or("").as_bytes();
            let bytes = |kind| block.bytes(kind, row).unwrap_or(b"");
            scratch.clear();
            rebuild(texts.value(place).as_bytes(), text(Kind::Vars), bytes(Kind::Hex), bytes(Kind::Uuid), tail, scratch);
            Self::passes(test, scratch)
        });
    }
}

/// The longest text that each match of the pattern holds.
fn required_literal(pattern: &str) -> Option<Vec<u8>> {
    let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
    let mut best = Vec::new();
    let mut current = Vec::new();
    collect(&hir, &mut current, &mut best);
    keep(&mut current, &mut best);
    (!best.is_empty()).then_some(best)
}

fn keep(current: &mut Vec<u8>, best: &mut Vec<u8>) {
    if current.len() > best.len() {
        std::mem::swap(current, best);
    }
    current.clear();
}

/// Walks what every match goes through; `current` grows while texts touch.
fn collect(hir: &Hir, current: &mut Vec<u8>, best: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Literal(text) => current.extend_from_slice(&text.0),
        HirKind::Concat(parts) => parts.iter().for_each(|part| collect(part, current, best)),
        HirKind::Capture(group) => collect(&group.sub, current, best),
        HirKind::Repetition(repetition) => {
            keep(current, best);
            if repetition.min >= 1 {
                collect(&repetition.sub, current, best);
                keep(current, best);
            }
        }
        // Places take no text: what stands on both sides touches.
        HirKind::Look(_) | HirKind::Empty => {}
        HirKind::Class(_) | HirKind::Alternation(_) => keep(current, best),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::template::{Parts, split};
    use proptest::prelude::*;

    #[test]
    fn literals_of_patterns() {
        for (pattern, literal) in [
            ("attempt=[23]/3 backoff=1[0-9]{3}ms", Some("/3 backoff=1")),
            ("timeout", Some("timeout")),
            ("(?i)timeout", None),
            ("a|b", None),
            ("^GET (/api/[a-z]+)+ done$", Some("/api/")),
            ("(abc)?de", Some("de")),
            (".*", None),
        ] {
            assert_eq!(required_literal(pattern).map(|t| String::from_utf8_lossy(&t).into_owned()).as_deref(), literal, "{pattern}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn verdicts_hold(body in "([a-f0-9]{1,18}|[ .:=/-]|[A-Za-z0-9]{1,6}|é){0,10}", from in 0usize..40, length in 0usize..24, other in "[a-f0-9 .]{0,4}") {
            let mut parts = Parts::default();
            prop_assume!(split(body.as_bytes(), &mut parts));
            let bytes = body.as_bytes();
            let start = from.min(bytes.len());
            let part = &bytes[start..(start + length).min(bytes.len())];
            for needle in [part, other.as_bytes()] {
                let lower = needle.to_ascii_lowercase();
                let found = memchr::memmem::find(&bytes.to_ascii_lowercase(), &lower).is_some();
                match Literal::new(&lower, true).verdict(&parts.template, true) {
                    Verdict::Always => prop_assert!(found),
                    Verdict::Never => prop_assert!(!found),
                    _ => {}
                }
            }
        }
    }
}
