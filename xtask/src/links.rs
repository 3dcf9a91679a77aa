//! Links of the documents lead somewhere: files exist, and so do the headings that are named.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::root;

/// Reports relative links of Markdown files that lead nowhere.
pub(crate) fn check(files: &[PathBuf], findings: &mut Vec<String>) {
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "md")) {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let name = file.strip_prefix(root()).unwrap_or(file).display().to_string();
        for (line, target) in links(&text) {
            if let Some(problem) = broken(file, &text, target) {
                findings.push(format!("{name}:{line}: the link {target} leads nowhere: {problem}"));
            }
        }
    }
}

/// Targets of `[text](target)` outside code, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (number, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let ticks = &start[..start.len() - start.trim_start_matches('`').len()];
        if let Some(open) = fence {
            // A fence is closed by one at least as long.
            if ticks.len() >= open.len() && start.trim_end() == ticks {
                fence = None;
            }
            continue;
        }
        if ticks.len() >= 3 {
            fence = Some(ticks);
            continue;
        }
        for part in line.split('`').step_by(2) {
            for link in part.split("](").skip(1) {
                if let Some((target, _)) = link.split_once(')') {
                    found.push((number + 1, target));
                }
            }
        }
    }
    found
}

fn broken(file: &Path, own: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") || target.starts_with('/') {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let full = if path.is_empty() { file.to_path_buf() } else { file.parent()?.join(path) };
    if !full.exists() {
        return Some("there is no such file".to_owned());
    }
    if heading.is_empty() || full.extension().is_none_or(|e| e != "md") {
        return None;
    }
    let text = if path.is_empty() { own.to_owned() } else { fs::read_to_string(&full).ok()? };
    let known = text.lines().filter(|l| l.starts_with('#')).map(|l| slug(l.trim_start_matches('#').trim())).any(|s| s == heading);
    (!known).then(|| "there is no such heading".to_owned())
}

/// The name of a heading in links, as renderers make it.
fn slug(heading: &str) -> String {
    heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_outside_code_are_found() {
        let text = "see [a](b.md#c) and `[no](x)`\n````markdown\n```\n[no](y)\n```\n````\n[![i](p.png)](q.md)\n";
        assert_eq!(links(text), [(1, "b.md#c"), (7, "p.png"), (7, "q.md")]);
    }

    #[test]
    fn missing_files_and_headings_are_named() {
        let readme = root().join("README.md");
        let own = "# Two commands\n";
        assert_eq!(broken(&readme, own, "docs/concepts.md"), None);
        assert_eq!(broken(&readme, own, "#two-commands"), None);
        assert!(broken(&readme, own, "#three").is_some());
        assert!(broken(&readme, own, "docs/none.md").is_some());
        assert!(broken(&readme, own, "docs/concepts.md#no-such-heading").is_some());
        assert_eq!(broken(&readme, own, "https://example.org/x"), None);
        assert_eq!(slug("Limits, and what happens at them"), "limits-and-what-happens-at-them");
    }
}
