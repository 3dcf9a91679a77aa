//! Go's formatting of values.

use super::value::Value;

/// Widest field `printf` fills.
const WIDTH_MAX: usize = 10_000;

/// A float as Go's `%v`: the shortest digits, an exponent below 1e-4 and from 1e21.
pub(super) fn float(n: f64) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if n == 0.0 || (1e-4..1e21).contains(&n.abs()) {
        return n.to_string();
    }
    let text = format!("{n:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `printf`: verbs `s v d f g e q x t`, width, precision, `-`, `0`, `+`.
pub(super) fn sprintf(format: &str, arguments: &[Value]) -> String {
    let (mut out, mut arguments) = (String::new(), arguments.iter());
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut left, mut zero, mut plus) = (false, false, false);
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            left |= flag == '-';
            zero |= flag == '0';
            plus |= flag == '+';
        }
        let digits = |from: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut text = String::new();
            while let Some(digit) = from.next_if(char::is_ascii_digit) {
                text.push(digit);
            }
            text.parse::<usize>().ok().map(|n| n.min(WIDTH_MAX))
        };
        let width = digits(&mut chars);
        let precision = if chars.next_if_eq(&'.').is_some() { Some(digits(&mut chars).unwrap_or(0)) } else { None };
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let mut text = verb_text(verb, argument, precision);
        if plus && matches!(argument, Value::Int(_) | Value::Float(_)) && !text.starts_with(['-', '+']) {
            text.insert(0, '+');
        }
        let missing = width.unwrap_or(0).saturating_sub(text.chars().count());
        if left {
            out.push_str(&text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else if zero && matches!(argument, Value::Int(_) | Value::Float(_)) {
            let (sign, rest) = text.strip_prefix(['-', '+']).map_or(("", text.as_str()), |rest| (&text[..1], rest));
            out.push_str(sign);
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(rest);
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out.push_str(&text);
        }
    }
    out
}

fn verb_text(verb: char, argument: &Value, precision: Option<usize>) -> String {
    match (verb, argument) {
        ('s' | 'v', Value::Text(text)) => precision.map_or_else(|| text.clone(), |n| text.chars().take(n).collect()),
        ('v', Value::Float(n)) | ('g', Value::Float(n)) => float(*n),
        ('v' | 's', other) => other.text(),
        ('d', Value::Int(n)) => n.to_string(),
        ('d', Value::Text(text)) => format!("%!d(string={text})"),
        ('d', other) => other.int().to_string(),
        ('f' | 'F', other @ (Value::Int(_) | Value::Float(_))) => format!("{:.*}", precision.unwrap_or(6), other.float()),
        ('e', other @ (Value::Int(_) | Value::Float(_))) => format!("{:.*e}", precision.unwrap_or(6), other.float()),
        ('q', other) => format!("{:?}", other.text()),
        ('x', Value::Int(n)) => format!("{n:x}"),
        ('x', other) => other.text().bytes().map(|b| format!("{b:02x}")).collect(),
        ('t', Value::Bool(b)) => b.to_string(),
        (verb, other) => format!("%!{verb}({})", other.text()),
    }
}
