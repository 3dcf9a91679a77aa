//! HTML of text panels as Markdown: words, headings, lists and links. Nothing of it is ever rendered as HTML.

/// What a tag becomes where it opens; none for those that only group or dress.
fn opening(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "h1" => "\n\n# ",
        "h2" => "\n\n## ",
        "h3" | "h4" | "h5" | "h6" => "\n\n### ",
        "p" | "div" | "ul" | "ol" | "table" | "tr" => "\n\n",
        "br" => "  \n",
        "li" => "\n- ",
        "b" | "strong" => "**",
        "i" | "em" => "*",
        "code" => "`",
        "td" | "th" => " ",
        _ => return None,
    })
}

fn closing(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "p" | "div" | "ul" | "ol" | "table" => "\n\n",
        "b" | "strong" => "**",
        "i" | "em" => "*",
        "code" => "`",
        _ => return None,
    })
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let rest = tag[tag.find(&format!("{name}="))? + name.len() + 1..].trim_start();
    match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].split(quote).next(),
        _ => rest.split_whitespace().next(),
    }
}

/// What an entity stands for.
fn entities(text: &str) -> String {
    text.replace("&nbsp;", " ").replace("&lt;", "&#60;").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

/// HTML as Markdown.
pub(super) fn to_markdown(html: &str) -> String {
    let mut out = String::new();
    let mut links: Vec<Option<String>> = Vec::new();
    let mut rest = html;
    // What stands inside these is no text.
    let mut skipped: Option<String> = None;
    while let Some(open) = rest.find('<') {
        let (words, after) = rest.split_at(open);
        if skipped.is_none() {
            out.push_str(&entities(words));
        }
        let Some(close) = after.find('>') else {
            rest = "";
            break;
        };
        let tag = &after[1..close];
        rest = &after[close + 1..];
        if tag.starts_with("!--") {
            // A comment ends where it says so, whatever stands in it.
            rest = after.find("-->").map_or("", |end| &after[end + 3..]);
            continue;
        }
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let closes = tag.starts_with('/');
        if let Some(until) = &skipped {
            if closes && *until == name {
                skipped = None;
            }
            continue;
        }
        match name.as_str() {
            "script" | "style" if !closes => skipped = Some(name),
            "a" if !closes => {
                let url =
                    attribute(tag, "href").filter(|u| crate::dashboards::document::is_safe_url(u) && !u.contains([')', ' '])).map(str::to_owned);
                out.push_str(if url.is_some() { "[" } else { "" });
                links.push(url);
            }
            "a" => {
                if let Some(Some(url)) = links.pop() {
                    out.push_str(&format!("]({url})"));
                }
            }
            name => out.push_str(if closes { closing(name) } else { opening(name) }.unwrap_or_default()),
        }
    }
    if skipped.is_none() {
        out.push_str(&entities(rest));
    }
    // Indented lines would be code, many empty ones are one.
    let mut lines: Vec<&str> = Vec::new();
    for line in out.lines() {
        let breaks = line.ends_with("  ") && !line.trim().is_empty();
        let line = if breaks { line.trim_start() } else { line.trim() };
        if !(line.is_empty() && lines.last().is_none_or(|l| l.is_empty())) {
            lines.push(line);
        }
    }
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_links_are_left() {
        let check = |html: &str, expected: &str| assert_eq!(to_markdown(html), expected, "{html}");
        check(
            "<h2>Shop</h2>\n  <p>All of <b>it</b>: <a href=\"https://example.org/a\" target=_blank>docs</a></p>",
            "## Shop\n\nAll of **it**: [docs](https://example.org/a)",
        );
        check("<ul><li>one</li><li>two &amp; three</li></ul>", "- one\n- two & three");
        check("a<br/>b", "a  \nb");
        check("<script>alert('<b>')</script>x<style>p{}</style><!-- a > b -->y", "xy");
        check("<a href=\"javascript:alert(1)\">no</a> 1 &lt; 2", "no 1 &#60; 2");
        check("no end <b", "no end");
    }
}
