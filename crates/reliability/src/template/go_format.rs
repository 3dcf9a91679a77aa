//! Numbers and `printf` as Go writes them.

use super::Item;

/// A float as Go's `%g` prints it: shortest when `precision` is none, else that many significant digits.
pub fn format_g(value: f64, precision: Option<usize>) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    let scientific = match precision {
        None => format!("{value:e}"),
        Some(p) => format!("{value:.*e}", p.max(1) - 1),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let negative = mantissa.starts_with('-');
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        d => d,
    };
    let limit = match precision {
        None => 6,
        Some(p) => i32::try_from(p.max(1)).unwrap_or(i32::MAX),
    };
    let sign = if negative { "-" } else { "" };
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let e_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{e_sign}{:02}", exponent.abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        Some("NaN".to_owned())
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
    } else {
        None
    }
}

/// Widest field and highest precision `printf` takes.
const WIDTH_MAX: usize = 256;

/// Go's `Sprintf` with the verbs rules use.
pub(super) fn sprintf(format: &str, arguments: &[Item]) -> String {
    let mut out = String::new();
    let mut used = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut minus, mut plus, mut zero) = (false, false, false);
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => minus = true,
                '+' => plus = true,
                '0' => zero = true,
                ' ' | '#' => {}
                _ => break,
            }
            chars.next();
        }
        let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut n = None;
            while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
                n = Some((n.unwrap_or(0) * 10 + d as usize).min(WIDTH_MAX));
                chars.next();
            }
            n
        };
        let width = digits(&mut chars);
        let precision = if chars.peek() == Some(&'.') {
            chars.next();
            Some(digits(&mut chars).unwrap_or(0))
        } else {
            None
        };
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments.get(used) else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        used += 1;
        let mut text = one(verb, precision, argument);
        if plus && matches!(argument, Item::Int(_) | Item::Float(_)) && !text.starts_with(['-', '+', '%']) {
            text.insert(0, '+');
        }
        let missing = width.unwrap_or(0).saturating_sub(text.chars().count());
        if minus {
            out.push_str(&text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else if zero && matches!(argument, Item::Int(_) | Item::Float(_)) {
            let sign = usize::from(text.starts_with(['-', '+']));
            out.push_str(&text[..sign]);
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(&text[sign..]);
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out.push_str(&text);
        }
    }
    if used < arguments.len() {
        let extra: Vec<String> = arguments[used..].iter().map(|a| format!("{}={a}", type_name(a))).collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn one(verb: char, precision: Option<usize>, argument: &Item) -> String {
    match (verb, argument) {
        ('v', Item::Float(n)) | ('g', Item::Float(n)) => format_g(*n, precision),
        ('v', _) => argument.to_string(),
        ('s', Item::Text(t)) => match precision {
            Some(p) => t.chars().take(p).collect(),
            None => t.clone(),
        },
        ('q', Item::Text(t)) => format!("{t:?}"),
        ('d', Item::Int(n)) => n.to_string(),
        ('x', Item::Int(n)) => format!("{n:x}"),
        ('t', Item::Bool(b)) => b.to_string(),
        ('f' | 'F', Item::Float(n)) => special(*n).unwrap_or_else(|| format!("{n:.*}", precision.unwrap_or(6))),
        ('e', Item::Float(n)) => special(*n).unwrap_or_else(|| {
            let text = format!("{n:.*e}", precision.unwrap_or(6));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }),
        _ => format!("%!{verb}({}={argument})", type_name(argument)),
    }
}

fn type_name(item: &Item) -> &'static str {
    match item {
        Item::Nil => "<nil>",
        Item::Bool(_) => "bool",
        Item::Int(_) => "int",
        Item::Float(_) => "float64",
        Item::Text(_) => "string",
        Item::Time(_) => "time.Time",
        Item::Map(_) => "map[string]string",
        Item::Root => "struct",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints() {
        for (value, precision, expected) in [
            (0.0, None, "0"),
            (1.0, None, "1"),
            (100_000.0, None, "100000"),
            (1_000_000.0, None, "1e+06"),
            (123_456_789.0, None, "1.23456789e+08"),
            (0.000_1, None, "0.0001"),
            (0.000_01, None, "1e-05"),
            (-2.5, None, "-2.5"),
            (1_234.567, Some(4), "1235"),
            (12_345.0, Some(4), "1.234e+04"),
            (0.100_000_1, Some(4), "0.1"),
            (f64::NAN, Some(4), "NaN"),
        ] {
            assert_eq!(format_g(value, precision), expected, "{value}");
        }
        assert_eq!(sprintf("%05.1f|%e|%x", &[Item::Float(-2.5), Item::Float(1234.5), Item::Int(255)]), "-02.5|1.234500e+03|ff");
        assert_eq!(sprintf("%d %s", &[Item::Float(1.5)]), "%!d(float64=1.5) %!s(MISSING)");
        assert_eq!(sprintf("x", &[Item::Int(1)]), "x%!(EXTRA int=1)");
    }
}
