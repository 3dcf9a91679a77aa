//! The parts of a message.

use std::borrow::Cow;

use crate::json_lines::parse_timestamp;

/// A message in its parts; what it does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message<'m> {
    /// Facility × 8 + severity.
    pub priority: Option<u8>,
    /// Unix nanoseconds.
    pub time: Option<i64>,
    /// Who wrote it.
    pub hostname: &'m str,
    /// Program.
    pub app_name: &'m str,
    /// Its process.
    pub proc_id: &'m str,
    /// Kind of message.
    pub msg_id: &'m str,
    /// Element, parameter and value; an element without parameters has one with an empty name.
    pub structured_data: Vec<(&'m str, &'m str, Cow<'m, str>)>,
    /// What is said.
    pub text: &'m str,
}

/// Reads a message. `received` tells the year of times that name none, and who is right where a time has no zone: UTC.
pub fn parse(raw: &str, received: i64) -> Message<'_> {
    let raw = raw.trim_end_matches(['\n', '\r', '\0']);
    let (priority, rest) = priority(raw);
    let message = Message { priority, ..Message::default() };
    if let Some(found) = rfc5424(rest, message.clone()) {
        return found;
    }
    if let Some(found) = rfc3164(rest, message.clone(), received) {
        return found;
    }
    // `program[7]: text`, as some devices send it without a time.
    if priority.is_some()
        && let Some(found) = tagged(rest, message.clone())
    {
        return found;
    }
    Message { text: rest, ..message }
}

/// `<165>`; a text without one, or with one that is none, is left as it is.
fn priority(raw: &str) -> (Option<u8>, &str) {
    let found = raw.strip_prefix('<').and_then(|after| after.split_once('>')).filter(|(digits, _)| {
        (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'))
    });
    match found.and_then(|(digits, rest)| Some((digits.parse::<u8>().ok().filter(|p| *p <= 191)?, rest))) {
        Some((priority, rest)) => (Some(priority), rest),
        None => (None, raw),
    }
}

/// A word up to the next blank, `-` meaning none; and what comes after the blank.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (if word == "-" { "" } else { word }, rest)
}

fn rfc5424<'m>(rest: &'m str, message: Message<'m>) -> Option<Message<'m>> {
    let (version, rest) = rest.split_once(' ')?;
    if version.is_empty() || version.len() > 2 || !version.bytes().all(|b| b.is_ascii_digit()) || version.starts_with('0') {
        return None;
    }
    let (stamp, rest) = word(rest);
    // A number alone is no date, and nothing at all is one only after a priority.
    let time = if stamp.contains(['T', 't']) { parse_timestamp(stamp) } else { None };
    if time.is_none() && (!stamp.is_empty() || message.priority.is_none()) {
        return None;
    }
    let (hostname, rest) = word(rest);
    let (app_name, rest) = word(rest);
    let (proc_id, rest) = word(rest);
    let (msg_id, rest) = word(rest);
    let (structured_data, rest) = structured_data(rest);
    let text = rest.strip_prefix('\u{feff}').unwrap_or(rest);
    Some(Message { time, hostname, app_name, proc_id, msg_id, structured_data, text, ..message })
}

/// Elements in brackets, then the text. What is no element is text.
fn structured_data(text: &str) -> (Vec<(&str, &str, Cow<'_, str>)>, &str) {
    if let Some(rest) = text.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' ')) {
        return (Vec::new(), rest.strip_prefix(' ').unwrap_or(rest));
    }
    let mut all = Vec::new();
    let mut rest = text;
    while rest.starts_with('[') {
        match element(rest, &mut all) {
            Some(after) => rest = after,
            None => break,
        }
    }
    (all, rest.strip_prefix(' ').unwrap_or(rest))
}

/// `[id name="value" …]`; a value's `"`, `\` and `]` are escaped by a backslash.
fn element<'m>(text: &'m str, all: &mut Vec<(&'m str, &'m str, Cow<'m, str>)>) -> Option<&'m str> {
    let before = all.len();
    let inside = text.strip_prefix('[')?;
    let end = inside.find([' ', ']'])?;
    let id = &inside[..end];
    let mut rest = &inside[end..];
    let found = loop {
        rest = rest.trim_start_matches(' ');
        if let Some(after) = rest.strip_prefix(']') {
            break Some(after);
        }
        let Some((name, after)) = rest.split_once("=\"") else {
            // `[x=y z=a]`: what has no quotes is taken up to the bracket.
            break rest.find(']').map(|end| {
                all.push((id, "", Cow::Borrowed(&rest[..end])));
                &rest[end + 1..]
            });
        };
        let Some((value, after)) = quoted(after) else { break None };
        all.push((id, name, value));
        rest = after;
    };
    match found {
        Some(_) if all.len() == before => all.push((id, "", Cow::Borrowed(""))),
        Some(_) => {}
        None => all.truncate(before),
    }
    found
}

/// Up to the closing quote, escapes undone; and what comes after it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut out: Option<String> = None;
    let mut plain = 0;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let value = match out {
                    Some(mut out) => {
                        out.push_str(&text[plain..at]);
                        Cow::Owned(out)
                    }
                    None => Cow::Borrowed(&text[..at]),
                };
                return Some((value, &text[at + 1..]));
            }
            b'\\' => {
                if let Some((next, b'"' | b'\\' | b']')) = bytes.next() {
                    out.get_or_insert_default().push_str(&text[plain..at]);
                    plain = next;
                }
            }
            _ => {}
        }
    }
    None
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn rfc3164<'m>(rest: &'m str, message: Message<'m>, received: i64) -> Option<Message<'m>> {
    let (time, rest) = match bsd_time(rest, received) {
        Some(found) => found,
        // rsyslog and others put a full date there.
        None => {
            let (stamp, after) = rest.split_once(' ').unwrap_or((rest, ""));
            if !stamp.contains('T') {
                return None;
            }
            (parse_timestamp(stamp)?, after)
        }
    };
    let message = Message { time: Some(time), ..message };
    let rest = rest.trim_start_matches(' ');
    // `host program[7]: text`; some leave the host out.
    if let Some(found) = tagged(rest, message.clone()).filter(|_| rest.split(' ').next().is_some_and(|first| first.ends_with(':'))) {
        return Some(found);
    }
    let (hostname, rest) = word(rest);
    let message = Message { hostname, ..message };
    if let Some(found) = tagged(rest, message.clone()) {
        return Some(found);
    }
    let (first, after) = word(rest);
    // `-` or a word alone is the program.
    if rest.starts_with("- ") || rest == "-" || (after.is_empty() && !rest.is_empty()) {
        return Some(Message { app_name: first, text: after, ..message });
    }
    Some(Message { text: rest, ..message })
}

/// `program[7]: text` or `program: text`.
fn tagged<'m>(rest: &'m str, message: Message<'m>) -> Option<Message<'m>> {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '%')))?;
    let (app_name, after) = rest.split_at(end);
    if app_name.is_empty() || app_name.len() > 128 {
        return None;
    }
    let (proc_id, after) = match after.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", after),
    };
    let text = after.strip_prefix(':')?;
    // `12:08` and `http://x` are no programs.
    if proc_id.is_empty() && !(text.is_empty() || text.starts_with(' ')) {
        return None;
    }
    Some(Message { app_name, proc_id, text: text.strip_prefix(' ').unwrap_or(text), ..message })
}

/// `Jun  3 12:08:33`, maybe with a year or a fraction; and what comes after it.
fn bsd_time(text: &str, received: i64) -> Option<(i64, &str)> {
    let month = 1 + MONTHS.iter().position(|name| text.get(..3).is_some_and(|m| m.eq_ignore_ascii_case(name)))?;
    let rest = text[3..].strip_prefix(' ')?.trim_start_matches(' ');
    let (day, rest) = rest.split_once(' ')?;
    let day: u32 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let number = |text: &str| text.parse::<i64>().ok().filter(|year| (1970..2262).contains(year));
    let (year, rest) = match rest.split_once(' ') {
        Some((year, after)) if year.len() == 4 && number(year).is_some() => (number(year), after),
        _ => (None, rest),
    };
    let (clock, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let clock = clock.trim_end_matches(':');
    if clock.len() < 8 {
        return None;
    }
    let at = |year: i64| parse_timestamp(&format!("{year:04}-{month:02}-{day:02}T{clock}"));
    if let Some(year) = year {
        return Some((at(year)?, rest));
    }
    // A message of December that comes in January is of last year; a clock may be a day ahead.
    const DAY: i64 = 86_400_000_000_000;
    let this_year = 1970 + received.div_euclid(DAY).saturating_mul(400) / 146_097;
    let newest = received.saturating_add(DAY);
    let found = [this_year + 1, this_year, this_year - 1, this_year - 2].into_iter().find_map(|year| at(year).filter(|time| *time <= newest))?;
    Some((found, rest))
}
