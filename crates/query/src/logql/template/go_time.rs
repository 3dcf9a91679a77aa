//! Times in Go's layouts: a layout shows how the moment Mon Jan 2 15:04:05 2006 -0700 is written.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned, civil};

/// A piece of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Field(Field),
    /// Digits behind the second; whether trailing zeros stay.
    Fraction(usize, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    ShortYear,
    MonthName,
    MonthShort,
    Month2,
    Month,
    Weekday,
    WeekdayShort,
    Day2,
    DaySpace,
    Day,
    Hour24,
    Hour12Two,
    Hour12,
    Minute2,
    Minute,
    Second2,
    Second,
    Half,
    HalfLower,
    Zone,
    /// Offset: with a colon, `Z` for none.
    Offset {
        colon: bool,
        zulu: bool,
    },
    OffsetHour,
}

/// What stands in a layout for each field; of two that begin alike the longer comes first.
const FIELDS: &[(&str, Field)] = &[
    ("January", Field::MonthName),
    ("Jan", Field::MonthShort),
    ("Monday", Field::Weekday),
    ("Mon", Field::WeekdayShort),
    ("MST", Field::Zone),
    ("2006", Field::Year),
    ("Z07:00", Field::Offset { colon: true, zulu: true }),
    ("Z0700", Field::Offset { colon: false, zulu: true }),
    ("-07:00", Field::Offset { colon: true, zulu: false }),
    ("-0700", Field::Offset { colon: false, zulu: false }),
    ("-07", Field::OffsetHour),
    ("01", Field::Month2),
    ("02", Field::Day2),
    ("03", Field::Hour12Two),
    ("04", Field::Minute2),
    ("05", Field::Second2),
    ("06", Field::ShortYear),
    ("_2", Field::DaySpace),
    ("15", Field::Hour24),
    ("PM", Field::Half),
    ("pm", Field::HalfLower),
    ("1", Field::Month),
    ("2", Field::Day),
    ("3", Field::Hour12),
    ("4", Field::Minute),
    ("5", Field::Second),
];
const MONTHS: [&str; 12] = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn parts(layout: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let (mut text_start, mut at) = (0, 0);
    while at < layout.len() {
        let rest = &layout[at..];
        let found = FIELDS.iter().find(|(word, _)| rest.starts_with(word)).map(|(word, field)| (word.len(), Part::Field(*field)));
        let found = found.or_else(|| {
            let digits = rest.strip_prefix(['.', ','])?;
            let zeros = digits.len() - digits.trim_start_matches('0').len();
            let nines = digits.len() - digits.trim_start_matches('9').len();
            let n = zeros.max(nines);
            (n > 0 && !digits[n..].starts_with(|c: char| c.is_ascii_digit())).then_some((n + 1, Part::Fraction(n.min(9), zeros > 0)))
        });
        match found {
            Some((len, part)) => {
                if text_start < at {
                    out.push(Part::Text(&layout[text_start..at]));
                }
                out.push(part);
                at += len;
                text_start = at;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    if text_start < layout.len() {
        out.push(Part::Text(&layout[text_start..]));
    }
    out
}

/// A moment (Unix nanoseconds) in UTC.
pub(super) fn format(nanos: i64, layout: &str) -> String {
    let Ok(moment) = Timestamp::from_nanosecond(i128::from(nanos)) else { return String::new() };
    let t = moment.to_zoned(TimeZone::UTC);
    let mut out = String::new();
    for part in parts(layout) {
        let piece = match part {
            Part::Text(text) => text.to_owned(),
            Part::Fraction(digits, keep) => {
                let text = format!("{:09}", t.subsec_nanosecond());
                let text = &text[..digits];
                let text = if keep { text } else { text.trim_end_matches('0') };
                if text.is_empty() { String::new() } else { format!(".{text}") }
            }
            Part::Field(field) => field.write(&t),
        };
        out.push_str(&piece);
    }
    out
}

impl Field {
    fn write(self, t: &Zoned) -> String {
        let month = MONTHS[usize::try_from(t.month() - 1).unwrap_or(0).min(11)];
        let day = DAYS[usize::try_from(t.weekday().to_monday_zero_offset()).unwrap_or(0).min(6)];
        let hour12 = (t.hour() + 11) % 12 + 1;
        let half = if t.hour() < 12 { "AM" } else { "PM" };
        match self {
            Self::Year => format!("{:04}", t.year()),
            Self::ShortYear => format!("{:02}", t.year().rem_euclid(100)),
            Self::MonthName => month.to_owned(),
            Self::MonthShort => month[..3].to_owned(),
            Self::Month2 => format!("{:02}", t.month()),
            Self::Month => t.month().to_string(),
            Self::Weekday => day.to_owned(),
            Self::WeekdayShort => day[..3].to_owned(),
            Self::Day2 => format!("{:02}", t.day()),
            Self::DaySpace => format!("{:2}", t.day()),
            Self::Day => t.day().to_string(),
            Self::Hour24 => format!("{:02}", t.hour()),
            Self::Hour12Two => format!("{hour12:02}"),
            Self::Hour12 => hour12.to_string(),
            Self::Minute2 => format!("{:02}", t.minute()),
            Self::Minute => t.minute().to_string(),
            Self::Second2 => format!("{:02}", t.second()),
            Self::Second => t.second().to_string(),
            Self::Half => half.to_owned(),
            Self::HalfLower => half.to_ascii_lowercase(),
            Self::Zone => "UTC".to_owned(),
            Self::Offset { zulu: true, .. } => "Z".to_owned(),
            Self::Offset { colon: true, .. } => "+00:00".to_owned(),
            Self::Offset { .. } => "+0000".to_owned(),
            Self::OffsetHour => "+00".to_owned(),
        }
    }
}

/// Reads a time written in a layout; without an offset it is in `zone`. Unix nanoseconds.
pub(super) fn parse(text: &str, layout: &str, zone: &str) -> Result<i64, String> {
    let fail = || format!("parsing time {text:?} as {layout:?}: cannot parse it");
    let (mut year, mut month, mut day) = (1i16, 1i8, 1i8);
    let (mut hour, mut minute, mut second, mut nanos) = (0i8, 0i8, 0i8, 0i32);
    let (mut afternoon, mut twelve) = (false, false);
    let mut offset: Option<i32> = None;
    let mut rest = text;
    let all = parts(layout);
    for part in &all {
        match *part {
            Part::Text(literal) => rest = rest.strip_prefix(literal).ok_or_else(fail)?,
            Part::Fraction(..) => rest = fraction(rest, &mut nanos).unwrap_or(rest),
            Part::Field(field) => {
                let number = |rest: &mut &str, most: usize| {
                    let len = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
                    let value = rest[..len].parse::<i16>().map_err(|_| fail())?;
                    *rest = &rest[len..];
                    Ok::<i16, String>(value)
                };
                let small = |n: i16| i8::try_from(n).map_err(|_| fail());
                let name = |rest: &mut &str, names: &[&str], short: bool| {
                    let found = names.iter().position(|n| rest.starts_with(if short { &n[..3] } else { n })).ok_or_else(fail)?;
                    *rest = &rest[if short { 3 } else { names[found].len() }..];
                    small(i16::try_from(found + 1).unwrap_or(1))
                };
                match field {
                    Field::Year => year = number(&mut rest, 4)?,
                    Field::ShortYear => {
                        let short = number(&mut rest, 2)?;
                        year = if short >= 69 { 1900 + short } else { 2000 + short };
                    }
                    Field::MonthName => month = name(&mut rest, &MONTHS, false)?,
                    Field::MonthShort => month = name(&mut rest, &MONTHS, true)?,
                    Field::Weekday => drop(name(&mut rest, &DAYS, false)?),
                    Field::WeekdayShort => drop(name(&mut rest, &DAYS, true)?),
                    Field::Month2 | Field::Month => month = small(number(&mut rest, 2)?)?,
                    Field::Day2 | Field::DaySpace | Field::Day => {
                        rest = rest.trim_start();
                        day = small(number(&mut rest, 2)?)?;
                    }
                    Field::Hour24 | Field::Hour12Two | Field::Hour12 => hour = small(number(&mut rest, 2)?)?,
                    Field::Minute2 | Field::Minute => minute = small(number(&mut rest, 2)?)?,
                    Field::Second2 | Field::Second => {
                        second = small(number(&mut rest, 2)?)?;
                        // A fraction may follow though the layout has none.
                        rest = fraction(rest, &mut nanos).unwrap_or(rest);
                    }
                    Field::Half | Field::HalfLower => {
                        twelve = true;
                        let word = rest.get(..2).ok_or_else(fail)?;
                        afternoon = word.eq_ignore_ascii_case("pm");
                        rest = &rest[2..];
                    }
                    Field::Zone => {
                        let len = rest.bytes().take_while(u8::is_ascii_uppercase).count();
                        offset.get_or_insert(0);
                        rest = &rest[len..];
                    }
                    Field::Offset { .. } | Field::OffsetHour => {
                        if let Some(behind) = rest.strip_prefix('Z') {
                            (offset, rest) = (Some(0), behind);
                            continue;
                        }
                        let sign = if rest.starts_with('-') { -1 } else { 1 };
                        rest = rest.strip_prefix(['-', '+']).ok_or_else(fail)?;
                        let hours = i32::from(number(&mut rest, 2)?);
                        rest = rest.strip_prefix(':').unwrap_or(rest);
                        let minutes = if field == Field::OffsetHour { 0 } else { i32::from(number(&mut rest, 2)?) };
                        offset = Some(sign * (hours * 3600 + minutes * 60));
                    }
                }
            }
        }
    }
    if !rest.is_empty() {
        return Err(fail());
    }
    if twelve {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let civil = civil::DateTime::new(year, month, day, hour, minute, second, nanos).map_err(|_| fail())?;
    let zone = match offset {
        Some(seconds) => TimeZone::fixed(Offset::from_seconds(seconds).map_err(|_| fail())?),
        None => TimeZone::get(zone).map_err(|_| format!("unknown time zone {zone}"))?,
    };
    let zoned = civil.to_zoned(zone).map_err(|_| fail())?;
    i64::try_from(zoned.timestamp().as_nanosecond()).map_err(|_| fail())
}

/// Digits behind a point.
fn fraction<'t>(text: &'t str, nanos: &mut i32) -> Option<&'t str> {
    let digits = text.strip_prefix(['.', ','])?;
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    let shown = &digits[..len.min(9)];
    *nanos = format!("{shown:0<9}").parse().ok().filter(|_| len > 0)?;
    Some(&digits[len..])
}
