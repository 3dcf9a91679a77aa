//! `cli.md` from clap's own description of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use super::{cell, golden};
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
