//! `cli.md` from clap's own description of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use super::{cell, golden, root};
use crate::cli::Cli;

fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let names: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" <{}>", names.join("> <")) }
}

fn name(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), Some(short)) => format!("-{short}, --{long}{}", value(arg)),
        (Some(long), None) => format!("--{long}{}", value(arg)),
        (None, Some(short)) => format!("-{short}{}", value(arg)),
        (None, None) => {
            let name = value(arg).trim().to_owned();
            let more = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
            let name = if more { format!("{name}…") } else { name };
            if arg.is_required_set() { name } else { format!("[{}]", name.trim_matches(['<', '>'])) }
        }
    }
}

fn write(out: &mut String, path: &str, command: &Command) {
    let level = "#".repeat(path.split(' ').count().min(4) + 1);
    let level = if path == "skopos" { "#" } else { &level[1..] };
    let title = if path == "skopos" { "Command line".to_owned() } else { format!("skopos {}", &path["skopos ".len()..]) };
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(out, "\n{level} {title}\n\n{}\n", about.trim());
    let args: Vec<&Arg> = command.get_arguments().filter(|a| !a.is_hide_set() && !matches!(a.get_id().as_str(), "help" | "version")).collect();
    if !args.is_empty() {
        out.push_str("\n| argument | default | variable | meaning |\n| --- | --- | --- | --- |\n");
        for arg in args {
            let defaults: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
            let default = match (defaults.join(" "), arg.is_required_set()) {
                (text, _) if arg.get_action().takes_values() && !defaults.is_empty() => {
                    if text.is_empty() {
                        "empty".to_owned()
                    } else {
                        format!("`{text}`")
                    }
                }
                (_, true) => "required".to_owned(),
                _ => String::new(),
            };
            let variable = arg.get_env().map(|v| format!("`{}`", v.to_string_lossy())).unwrap_or_default();
            let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(out, "| `{}` | {default} | {variable} | {} |", cell(&name(arg)), cell(&help));
        }
    }
    if let Some(more) = command.get_after_help() {
        let _ = write!(out, "\n```text\n{}\n```\n", more.to_string().trim());
    }
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write(out, &format!("{path} {}", sub.get_name()), sub);
    }
}

#[test]
fn reference_cli_is_what_clap_knows() {
    let mut command = Cli::command();
    command.build();
    let mut out = String::new();
    write(&mut out, "skopos", &command);
    let intro = "\n<!-- Written from the code by `cargo xtask docs`. -->\n\nCommands that check end with 0 when all is fine, 1 on findings, 2 on wrong usage or configuration. `skopos COMMAND --help` says the same as this page.\n";
    let (title, rest) = out.trim_start().split_once('\n').unwrap();
    golden("cli.md", &format!("{title}\n{intro}{rest}"));
}

/// Words of a command as a shell sees them, up to a pipe, a redirection or a comment.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (None, '|' | '>' | '<' | ';') => break,
            (None, '#') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

/// A guide whose commands are refused helps nobody.
#[test]
fn commands_in_the_documents_are_read() {
    use clap::Parser;

    let mut found = 0;
    let mut folders = vec![root().join("docs")];
    let mut files = vec![root().join("README.md"), root().join("examples/orders/README.md")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() { &mut folders } else { &mut files }.push(entry.path());
        }
    }
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(file).unwrap();
        let mut shell = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("```") {
                shell = line == "```sh";
                continue;
            }
            // After a pipe it is a command of its own.
            let starts = ["skopos ", "target/debug/skopos "];
            let command = line.split(" | ").map(str::trim).find(|part| starts.iter().any(|s| part.starts_with(s)));
            let Some(command) = command.filter(|_| shell) else { continue };
            found += 1;
            if let Err(error) = Cli::try_parse_from(words(command)) {
                panic!("{}:{}: {error}", file.display(), number + 1);
            }
        }
    }
    assert!(found > 30, "{found} commands");
}
