//! Where a message ends in a stream: octet counting and newlines (RFC 6587), told apart message by message.

/// What a buffer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed<'b> {
    /// A message, and how many bytes of the buffer it takes.
    Message {
        /// The message without its frame.
        message: &'b [u8],
        /// Bytes with its frame.
        length: usize,
    },
    /// Bytes between messages.
    Skip {
        /// How many.
        length: usize,
    },
    /// The message goes on after the buffer.
    Incomplete,
    /// The message says it is longer than may be, or has no end where it had to have one.
    TooLong,
}

/// Digits of an octet count; a longer number begins a message.
const COUNT_DIGITS_MAX: usize = 9;

/// The first message of a stream's buffer. A number, a blank and a `<` begin a message whose octets are counted;
/// everything else ends with a newline, or with NUL as some devices write it. `ended`: nothing comes after the buffer, so
/// that the last message needs no end.
pub fn next_frame(buffer: &[u8], max: usize, ended: bool) -> Framed<'_> {
    let between = buffer.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
    if between > 0 {
        return Framed::Skip { length: between };
    }
    if buffer.is_empty() {
        return Framed::Incomplete;
    }
    if let Some((digits, count)) = count(buffer) {
        match &buffer[digits..] {
            [] | [b' '] if !ended => return Framed::Incomplete,
            [b' ', b'<', ..] => match buffer.get(digits + 1..digits + 1 + count) {
                Some(_) if count > max => return Framed::TooLong,
                Some(message) => return Framed::Message { message, length: digits + 1 + count },
                None if count > max => return Framed::TooLong,
                None if !ended => return Framed::Incomplete,
                // It was cut off: what came of it is kept, and shows it.
                None => {}
            },
            _ => {}
        }
    }
    match memchr::memchr2(b'\n', 0, buffer) {
        Some(end) if end <= max => Framed::Message { message: buffer[..end].trim_ascii_end(), length: end + 1 },
        None if ended && buffer.len() <= max => Framed::Message { message: buffer.trim_ascii_end(), length: buffer.len() },
        None if buffer.len() <= max => Framed::Incomplete,
        _ => Framed::TooLong,
    }
}

/// Digits and value of the number a buffer begins with.
fn count(buffer: &[u8]) -> Option<(usize, usize)> {
    let digits = buffer.iter().take(COUNT_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let plausible = (1..=COUNT_DIGITS_MAX).contains(&digits) && buffer[0] != b'0';
    plausible.then(|| (digits, buffer[..digits].iter().fold(0usize, |count, digit| count * 10 + usize::from(digit - b'0'))))
}

/// The message of a frame as [`write_frame`] wrote it, and the bytes after it.
pub fn read_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = memchr::memchr(b' ', &bytes[..bytes.len().min(COUNT_DIGITS_MAX + 12)])?;
    let count: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    bytes[blank + 1..].split_at_checked(count)
}

/// Appends a message with its length.
pub fn write_frame(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(message.len().to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(message);
}
