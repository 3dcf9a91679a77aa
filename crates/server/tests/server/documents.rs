//! What the guides show is taken as it stands: each example of a file is checked by the binary.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::{root, skopos};

fn pages(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            pages(&path, out);
        } else if path.extension().is_some_and(|e| e == "md") {
            out.push(path);
        }
    }
}

/// Fenced blocks: language and text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut open: Option<(String, String, String)> = None;
    for line in page.lines() {
        let ticks: String = line.chars().take_while(|c| *c == '`').collect();
        match &mut open {
            Some((fence, language, text)) if ticks.len() >= fence.len() && line.trim_end() == ticks => {
                out.push((std::mem::take(language), std::mem::take(text)));
                open = None;
            }
            Some((_, _, text)) => {
                text.push_str(line);
                text.push('\n');
            }
            None if ticks.len() >= 3 => open = Some((ticks.clone(), line[ticks.len()..].to_owned(), String::new())),
            None => {}
        }
    }
    out
}

#[test]
fn examples_of_files_are_accepted() {
    let folder = TempDir::new().unwrap();
    let mut all = Vec::new();
    pages(&root().join("docs"), &mut all);
    let (mut configurations, mut others) = (Vec::new(), Vec::new());
    for page in &all {
        let stem = page.file_stem().unwrap().to_string_lossy();
        for (index, (language, text)) in blocks(&fs::read_to_string(page).unwrap()).into_iter().enumerate() {
            let name = match language.as_str() {
                // The first line says which file it is.
                "yaml" => match text.lines().next().and_then(|l| l.strip_prefix("# ")) {
                    Some(first) if first.starts_with("skopos.yaml") => format!("{stem}-{index}.yaml"),
                    Some(first) if first == "actions.yaml" || first.contains('/') => first.to_owned(),
                    _ => panic!("{}: an example in YAML begins with `# ` and the file's name:\n{text}", page.display()),
                },
                "markdown" if text.starts_with("---\nid: ") => format!("runbooks/{}.md", text["---\nid: ".len()..].lines().next().unwrap()),
                _ => continue,
            };
            let path = folder.path().join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // An example shows its part; the runbooks beside it need the actions that another shows.
            let more =
                if !name.contains('/') && name != "actions.yaml" && !text.contains("action_files:") { "action_files: [actions.yaml]\n" } else { "" };
            fs::write(&path, text + more).unwrap();
            match name.split_once('/') {
                Some(("rules" | "slos" | "runbooks", _)) => others.push(path.display().to_string()),
                // What a configuration names.
                Some(_) => {}
                None if name == "actions.yaml" => {}
                None => configurations.push(path.display().to_string()),
            }
        }
    }
    assert!(configurations.len() >= 5 && others.len() >= 4, "{configurations:?} {others:?}");
    // Files that the examples' globs name and that stand in this tree.
    fs::copy(root().join("docs/operating/skopos-alerts.rules.yml"), folder.path().join("skopos-alerts.rules.yml")).unwrap();
    for runbook in fs::read_dir(root().join("docs/runbooks")).unwrap().map(Result::unwrap) {
        fs::copy(runbook.path(), folder.path().join("runbooks").join(runbook.file_name())).unwrap();
    }
    for files in std::iter::once(others).chain(configurations.into_iter().map(|c| vec![c])) {
        let arguments: Vec<&str> = ["check", "--native"].into_iter().chain(files.iter().map(String::as_str)).collect();
        let output = skopos(&arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Each alert on Skopos itself has a runbook of its name, each of these runbooks an alert, and all of them are sound.
#[test]
fn our_own_alerts_have_their_runbooks() {
    let rules = root().join("docs/operating/skopos-alerts.rules.yml");
    let text = fs::read_to_string(&rules).unwrap();
    let slug = |name: &str| {
        let mut out = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !out.is_empty() {
                out.push('-');
            }
            out.extend(letter.to_lowercase());
        }
        out
    };
    let alerts: BTreeSet<String> = text.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).map(slug).collect();
    let mut files = vec!["check".to_owned(), "--native".to_owned(), "--strict".to_owned(), rules.display().to_string()];
    let mut runbooks = BTreeSet::new();
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap().map(Result::unwrap) {
        files.push(entry.path().display().to_string());
        runbooks.insert(entry.path().file_stem().unwrap().to_string_lossy().into_owned());
    }
    assert_eq!(alerts, runbooks);
    let output = skopos(&files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    // What the rules ask for is there.
    let known = fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    for name in text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| w.starts_with("skopos_")) {
        assert!(known.contains(&format!("`{name}`")), "{name} is no metric of ours");
    }
}
