//! A column of strings: one byte buffer and its offsets, as Arrow lays it out.

use serde::{Deserialize, Serialize};

/// Strings one after another; `offsets` has one entry more than there are rows and starts with 0, so that the
/// store can wrap both buffers as an Arrow `Utf8` array without a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrColumn {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for StrColumn {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl StrColumn {
    /// An empty column with room for `rows` strings of `bytes` bytes in all.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets }
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends one string.
    ///
    /// # Panics
    /// When the column would hold more than 2 GiB; request and batch limits stay far below.
    #[inline]
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.end_row();
    }

    /// Appends one string whose check is put off: one look over the whole column costs less than one at each
    /// string. Call [`Self::is_text`] before the column is handed on.
    #[inline]
    pub fn push_bytes(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.end_row();
    }

    /// Whether every string is UTF-8.
    pub fn is_text(&self) -> bool {
        self.bytes.is_ascii()
            || std::str::from_utf8(&self.bytes).is_ok_and(|all| self.offsets.iter().all(|offset| all.is_char_boundary(*offset as usize)))
    }

    /// Appends text to the string that the next [`Self::end_row`] closes.
    #[inline]
    pub fn extend(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Closes the string that [`Self::extend`] has been building.
    #[inline]
    pub fn end_row(&mut self) {
        let end = i32::try_from(self.bytes.len()).expect("a column stays below 2 GiB: bodies are limited");
        self.offsets.push(end);
    }

    /// Keeps the first `len` strings only, and forgets text no row has been closed over.
    pub fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        let end = self.offsets.last().copied().unwrap_or(0);
        self.bytes.truncate(end as usize);
    }

    /// The string of a row.
    pub fn get(&self, row: usize) -> &str {
        // Only `push` and `extend` fill the buffer, both from `&str`, and rows end where those calls end.
        std::str::from_utf8(self.get_bytes(row)).unwrap_or("")
    }

    /// The bytes of a row's string, without the check that `get` pays for.
    pub fn get_bytes(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// All strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.offsets.capacity() * 4
    }

    /// The buffers: bytes, then offsets (rows + 1 entries, starting with 0).
    pub fn into_parts(self) -> (Vec<u8>, Vec<i32>) {
        (self.bytes, self.offsets)
    }

    /// The buffers, borrowed: bytes, then offsets.
    pub fn parts(&self) -> (&[u8], &[i32]) {
        (&self.bytes, &self.offsets)
    }
}

impl<'a> FromIterator<&'a str> for StrColumn {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut column = Self::default();
        for text in texts {
            column.push(text);
        }
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_over_two_strings_is_no_text() {
        let mut column = StrColumn::default();
        column.push_bytes("ä".as_bytes());
        assert!(column.is_text());
        column.push_bytes(&"ä".as_bytes()[..1]);
        assert!(!column.is_text());
        column.push_bytes(&"ä".as_bytes()[1..]);
        assert!(!column.is_text(), "the bytes together would be text, the strings are not");
        column.truncate(1);
        assert!(column.is_text());
        assert_eq!(column.get(0), "ä");
    }
}
