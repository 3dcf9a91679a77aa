//! The command line explains itself.

use crate::process::skopos;

/// What `--help` says of a command, and its subcommands.
fn help(command: &[&str]) -> (String, Vec<String>) {
    let output = skopos(&[command, &["--help"]].concat());
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let listed = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split_once("\n\n").map_or(rest, |(list, _)| list));
    // A name stands at two spaces, the rest of a long description further in.
    let names = listed.lines().filter_map(|l| l.strip_prefix("  ").filter(|l| !l.starts_with(' '))?.split(' ').next());
    let names = names.filter(|name| *name != "help").map(str::to_owned).collect();
    (text, names)
}

#[test]
fn each_command_explains_its_options_and_gives_examples() {
    let (top, commands) = help(&[]);
    assert!(top.contains("skopos serve --data ./data") && top.contains("http://127.0.0.1:4000"), "{top}");
    assert_eq!(commands, ["serve", "query", "check", "drill", "runbook", "dashboards", "agent", "import", "rules"]);
    let mut open: Vec<Vec<String>> = commands.into_iter().map(|c| vec![c]).collect();
    let mut seen = 0;
    while let Some(command) = open.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (text, below) = help(&words);
        seen += 1;
        // Of a family, examples stand at its head where the members need none.
        if command.len() == 1 {
            assert!(text.contains("\nExamples:\n  "), "skopos {} gives no example:\n{text}", command.join(" "));
        }
        assert!(text.contains(&format!("skopos {}", command.join(" "))), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 105, "skopos {}: too wide for a terminal: {line}", command.join(" "));
        }
        undescribed(&text, &command.join(" "));
        open.extend(below.into_iter().map(|name| [command.clone(), vec![name]].concat()));
    }
    assert!(seen >= 20, "{seen} commands");
}

/// Fails for an option or argument that says only its default, or nothing.
#[track_caller]
fn undescribed(text: &str, command: &str) {
    let section = |name: &str| text.split_once(&format!("\n{name}:\n")).map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
    for lines in [section("Options"), section("Arguments")] {
        let lines: Vec<&str> = lines.lines().collect();
        for (number, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, l)| l.trim_start().starts_with(['-', '<', '[']) && l.starts_with("  ") && !l.starts_with("           "))
        {
            let (_, words) = line.trim_start().split_once("  ").unwrap_or((line, ""));
            let words = if words.trim().is_empty() { lines.get(number + 1).copied().unwrap_or("") } else { words };
            assert!(!words.trim().is_empty() && !words.trim_start().starts_with('['), "skopos {command}: undescribed: {line}");
        }
    }
}

#[test]
fn wrong_usage_exits_with_2_and_points_to_help() {
    for args in [&["serv"][..], &["serve"], &["query", "promql"], &["check", "--strickt", "x"]] {
        let output = skopos(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("--help"), "{args:?}: {said}");
    }
    assert!(String::from_utf8_lossy(&skopos(&["serv"]).stderr).contains("'serve'"), "the nearest name is given");
}
