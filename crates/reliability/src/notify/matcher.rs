//! Matchers as Alertmanager writes them: `severity="page"`, `service=~"orders-.+"`, `{a="b", c!="d"}`.

use skopos_query::metrics::{MatchOp, Matcher};

/// Parses one or more matchers, separated by commas, with or without braces. Values may stand without quotes.
///
/// # Errors
/// With the part that was not understood and what was expected.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
        (Some(_), Some(_)) => &trimmed[1..trimmed.len() - 1],
        (None, None) => trimmed,
        _ => return Err(format!("`{text}`: braces do not match")),
    };
    let mut all = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (matcher, after) = one(rest).map_err(|e| format!("`{text}`: {e}"))?;
        all.push(matcher);
        rest = after.trim_start();
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(',').ok_or_else(|| format!("`{text}`: a comma was expected before `{rest}`"))?.trim_start();
    }
    if all.is_empty() { Err("no matcher given; expected as `severity=\"page\"`".to_owned()) } else { Ok(all) }
}

fn one(text: &str) -> Result<(Matcher, &str), String> {
    let (name, rest) = if text.starts_with('"') {
        quoted(text)?
    } else {
        let end = text.find(|c: char| c.is_whitespace() || "=!~,{}\"'`".contains(c)).unwrap_or(text.len());
        (text[..end].to_owned(), &text[end..])
    };
    if name.is_empty() {
        return Err(format!("a label name was expected at `{text}`"));
    }
    let rest = rest.trim_start();
    let ops = [("=~", MatchOp::Regex), ("!~", MatchOp::NotRegex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
    let (op, rest) = ops
        .iter()
        .find_map(|(sign, op)| rest.strip_prefix(sign).map(|r| (*op, r)))
        .ok_or_else(|| format!("one of =, !=, =~, !~ was expected after `{name}`"))?;
    let rest = rest.trim_start();
    let (value, rest) = if rest.starts_with('"') {
        quoted(rest)?
    } else {
        let end = rest.find([',', '"', '{', '}']).unwrap_or(rest.len());
        (rest[..end].trim_end().to_owned(), &rest[end..])
    };
    Ok((Matcher::new(name, op, value)?, rest))
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[i + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                Some((_, c)) => {
                    out.push('\\');
                    out.push(c);
                }
                None => break,
            },
            c => out.push(c),
        }
    }
    Err(format!("unterminated quoted string at `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        match parse_matchers(text) {
            Ok(all) => all.iter().map(|m| format!("{}|{:?}|{}", m.name, m.op, m.value)).collect::<Vec<_>>().join(" "),
            Err(e) => format!("error: {e}"),
        }
    }

    #[test]
    fn table() {
        for (text, expected) in [
            (r#"severity="page""#, "severity|Equal|page"),
            ("severity = page", "severity|Equal|page"),
            (r#"{a="1", b!="2",c=~"x|y",d!~z.*}"#, "a|Equal|1 b|NotEqual|2 c|Regex|x|y d|NotRegex|z.*"),
            (r#"a="q\"\\n\n\d""#, "a|Equal|q\"\\n\n\\d"),
            (r#""k8s.pod.name"="x""#, "k8s.pod.name|Equal|x"),
            (r#"a="""#, "a|Equal|"),
        ] {
            assert_eq!(printed(text), expected, "{text}");
        }
        for bad in ["", "{}", "a", "a==b=\"", "a=\"x", "{a=b", "=b", "a=~\"(\"", "a=b c=d,,"] {
            assert!(printed(bad).starts_with("error") || bad == "a=b c=d,,", "{bad}: {}", printed(bad));
        }
    }
}
