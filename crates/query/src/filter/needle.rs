//! Containment without regard to case, prepared once for many haystacks.

use memchr::{memchr_iter, memchr2_iter};

/// A text to look for. With only ASCII letters in it, case is ignored for ASCII letters; a text beyond ASCII is
/// compared after Unicode lower-casing of both sides.
#[derive(Debug, Clone)]
pub struct Needle {
    lower: Box<[u8]>,
    ascii: bool,
    /// Position of the byte that is likely the rarest, in both its cases.
    rare_at: usize,
    rare: [u8; 2],
}

impl Needle {
    /// Prepares a text.
    pub fn new(text: &str) -> Self {
        let ascii = text.is_ascii();
        let lower: Box<[u8]> = if ascii { text.to_ascii_lowercase().into_bytes() } else { text.to_lowercase().into_bytes() }.into();
        let rare_at = (0..lower.len()).min_by_key(|&at| commonness(lower[at])).unwrap_or(0);
        let byte = lower.get(rare_at).copied().unwrap_or(0);
        Self { lower, ascii, rare_at, rare: [byte, byte.to_ascii_uppercase()] }
    }

    /// The lower-cased text.
    pub fn lower(&self) -> &[u8] {
        &self.lower
    }

    /// Whether only ASCII letters are compared without regard to case: the text is ASCII.
    pub fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// Whether the text occurs.
    pub fn is_in(&self, haystack: &str) -> bool {
        self.is_in_bytes(haystack.as_bytes())
    }

    /// Whether the text occurs in these bytes of UTF-8.
    pub fn is_in_bytes(&self, haystack: &[u8]) -> bool {
        if self.ascii {
            return self.find_ascii(haystack);
        }
        match std::str::from_utf8(haystack) {
            Ok(text) => memchr::memmem::find(text.to_lowercase().as_bytes(), &self.lower).is_some(),
            Err(_) => false,
        }
    }

    fn find_ascii(&self, haystack: &[u8]) -> bool {
        let length = self.lower.len();
        if length == 0 {
            return true;
        }
        if haystack.len() < length {
            return false;
        }
        // The rare byte of a match lies in this window.
        let window = &haystack[self.rare_at..haystack.len() - (length - 1 - self.rare_at)];
        let matches_at = |start: usize| haystack[start..start + length].eq_ignore_ascii_case(&self.lower);
        if self.rare[0] == self.rare[1] {
            memchr_iter(self.rare[0], window).any(matches_at)
        } else {
            memchr2_iter(self.rare[0], self.rare[1], window).any(matches_at)
        }
    }
}

/// How often a byte is met in log text, roughly: higher is more common.
fn commonness(byte: u8) -> u8 {
    match byte {
        b' ' => 255,
        b'e' => 250,
        b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 240,
        b'd' | b'l' | b'c' | b'u' | b'm' | b'p' => 200,
        b'0' | b'1' => 190,
        b'=' | b'.' | b'/' | b':' | b'-' | b'_' => 170,
        b'2'..=b'9' => 160,
        b'f' | b'g' | b'h' | b'b' | b'w' | b'v' | b'y' => 120,
        b'k' | b'x' => 60,
        b'j' | b'q' | b'z' => 20,
        0x80.. => 80,
        _ => 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_lower_casing() {
        let hay = ["", "a", "Connection RESET by peer", "exchange", "ÄRGER mit Öl", "kK\u{212a}", "aaaaab", "x=1 Y=2"];
        let needles = ["", "a", "reset", "RESET BY", "peer", "peers", "ärger", "öl", "k", "ab", "y=", "1 y", "xc"];
        for h in hay {
            for n in needles {
                let expected = if n.is_ascii() {
                    h.to_ascii_lowercase().contains(&n.to_ascii_lowercase())
                } else {
                    h.to_lowercase().contains(&n.to_lowercase())
                };
                assert_eq!(Needle::new(n).is_in(h), expected, "{n:?} in {h:?}");
            }
        }
    }
}
