//! `{{labels.x}}`, `{{incident.id}}`, `{{now}}` in steps, quoted for where they stand.

use skopos_model::Labels;

use crate::promql::escape;
use crate::template::url_encode;

/// What may be filled in.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Labels of the alert.
    pub labels: Labels,
    /// Incident, empty when there is none.
    pub incident: String,
    /// Moment, Unix milliseconds.
    pub now: i64,
}

/// Where a variable stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// Within double quotes of a query: a variable anywhere else is refused when the runbook is loaded.
    Query,
    /// In an address.
    Url,
    /// In a JSON text, which is quoted as a whole.
    Plain,
}

/// Checks the variables of a text.
///
/// # Errors
/// When one is unknown, or stands in a query outside of double quotes, where its value could become syntax.
pub(super) fn check(text: &str, quoting: Quoting) -> Result<(), String> {
    let mut quote: Option<char> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(inner) = rest.strip_prefix("{{") {
            let end = inner.find("}}").ok_or_else(|| format!("`{{{{` is never closed in `{text}`"))?;
            let name = inner[..end].trim();
            known(name)?;
            if quoting == Quoting::Query && quote != Some('"') {
                return Err(format!("`{{{{{name}}}}}` has to stand within double quotes: elsewhere its value could become part of the query"));
            }
            rest = &inner[end + 2..];
            continue;
        }
        match (quote, c) {
            (Some('"' | '\''), '\\') => rest = rest[1..].chars().next().map_or("", |next| &rest[1 + next.len_utf8()..]),
            (None, '"' | '\'' | '`') => {
                quote = Some(c);
                rest = &rest[1..];
            }
            (Some(q), c) if q == c => {
                quote = None;
                rest = &rest[1..];
            }
            _ => rest = &rest[c.len_utf8()..],
        }
    }
    Ok(())
}

fn known(name: &str) -> Result<(), String> {
    if name == "now" || name == "incident.id" || name.strip_prefix("labels.").is_some_and(|l| !l.is_empty()) {
        return Ok(());
    }
    Err(format!("`{{{{{name}}}}}` is no variable; known are {{{{labels.<name>}}}}, {{{{incident.id}}}}, {{{{now}}}}"))
}

/// Fills variables in. A label that is not there is empty.
pub fn fill(text: &str, variables: &Variables, quoting: Quoting) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}").map(|e| start + e) else { break };
        out.push_str(&rest[..start]);
        let name = rest[start + 2..end].trim();
        let value = match name {
            "now" => crate::notify::rfc3339(Some(variables.now)),
            "incident.id" => variables.incident.clone(),
            _ => name.strip_prefix("labels.").and_then(|l| variables.labels.get(l)).unwrap_or("").to_owned(),
        };
        out.push_str(&match quoting {
            Quoting::Query => escape(&value),
            Quoting::Url => url_encode(&value),
            Quoting::Plain => value,
        });
        rest = &rest[end + 2..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_syntax() {
        let variables = Variables { labels: Labels::new([("job", "a\"} or vector(1)#"), ("x", "a b/ü")]), incident: "i1".into(), now: 0 };
        let query = fill(r#"up{job="{{ labels.job }}"}"#, &variables, Quoting::Query);
        assert_eq!(query, r#"up{job="a\"} or vector(1)#"}"#);
        let expr = skopos_query::promql::parse(&query).unwrap();
        assert!(format!("{expr}").contains(r#"a\"} or vector(1)#"#), "{expr}");
        assert_eq!(fill("http://h/{{labels.x}}?i={{incident.id}}", &variables, Quoting::Url), "http://h/a+b%2F%C3%BC?i=i1");
        assert_eq!(fill("{{labels.none}}|{{now}}", &variables, Quoting::Plain), "|1970-01-01T00:00:00Z");
    }

    #[test]
    fn checked_when_loaded() {
        assert!(check(r#"up{job="{{labels.job}}"}"#, Quoting::Query).is_ok());
        for bad in [
            "{{labels.job}}",
            "up{job='{{labels.job}}'}",
            r#"up{job="x"} > {{now}}"#,
            r#"up{job="\"{{labels.a}}"} {{labels.b}}"#,
            r#""{{secret}}""#,
            r#""{{labels.x"#,
        ] {
            assert!(check(bad, Quoting::Query).is_err(), "{bad}");
        }
        assert!(check("http://x/{{labels.a}}", Quoting::Url).is_ok());
    }
}
