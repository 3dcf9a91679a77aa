//! What this crate needs to know of a PromQL text.

/// Checks that a text is PromQL.
///
/// # Errors
/// With what was wrong and the byte it was found at.
pub fn check_expr(text: &str) -> Result<(), (String, usize)> {
    if text.trim().is_empty() {
        return Err(("the expression is empty".to_owned(), 0));
    }
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '#' => {
                for (_, c) in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            '"' | '\'' | '`' => loop {
                match chars.next() {
                    Some((_, '\\')) if c != '`' => {
                        chars.next();
                    }
                    Some((_, e)) if e == c => break,
                    Some(_) => {}
                    None => return Err(("unterminated quoted string".to_owned(), at)),
                }
            },
            '(' | '[' | '{' => open.push((c, at)),
            ')' | ']' | '}' => {
                let want = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop().map(|(o, _)| o) != Some(want) {
                    return Err((format!("unexpected `{c}`"), at));
                }
            }
            _ => {}
        }
    }
    match open.pop() {
        Some((c, at)) => Err((format!("`{c}` is never closed"), at)),
        None => Ok(()),
    }
}

/// Escapes a text for use between double quotes in PromQL.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}
