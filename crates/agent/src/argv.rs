//! An argv template: checked when it is loaded, filled in for each attempt.
//!
//! The argv is executed as it stands, no shell ever sees it. A placeholder is replaced inside its
//! argument; a value can never become a second argument, and text from the queue (`{title}`) can
//! become neither an option nor a script.

use std::path::Path;

use super::Assignment;
use oodatcaa_core::{
    placeholder::{Piece, filled, named, pieces},
    text,
};

/// The placeholders that an argv template may name.
pub(crate) const PLACEHOLDERS: &[&str] = &[
    "prompt_file",
    "task_id",
    "role",
    "run_dir",
    "out_dir",
    "result_file",
    "workspace",
    "git_dir",
    "project",
    "attempt",
    "title",
];

/// The longest title that is put into an argument, in characters; the kernel bounds the whole argv.
const LONGEST_TITLE: usize = 500;

/// Returns `true` when some argument names this placeholder.
pub(crate) fn mentions<'a>(argv: impl IntoIterator<Item = &'a String>, name: &str) -> bool {
    argv.into_iter().any(|argument| named(argument).any(|value| value == name))
}

/// Checks an argv template; says what is wrong with it.
pub(super) fn check(argv: &[String]) -> Result<(), String> {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err("its argv is empty; write e.g. `argv = [\"my-agent\", \"--print\"]`".into());
    };
    let script = script_at(argv);
    let mut options_ended = false;
    for (at, argument) in argv.iter().enumerate() {
        let wrong = |what: String| Err(format!("argv[{at}] {what}"));
        if argument.contains('\0') {
            return wrong("contains a NUL character".into());
        }
        if let Some(name) = named(argument).find(|name| !PLACEHOLDERS.contains(&name.as_str())) {
            let all = PLACEHOLDERS.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ");
            return wrong(format!(
                "names `{{{name}}}`; there are: {all}. For a literal `{{{name}}}` write `{{{{{name}}}}}`"
            ));
        }
        if let Some(name) = named(argument).next().filter(|_| script == Some(at)) {
            return wrong(format!(
                "is a shell script with `{{{name}}}` in it; values never go through a shell. Use an argument (`sh -c 'agent \"$1\"' -- \"{{{name}}}\"`) or the `OODATCAA_*` variables"
            ));
        }
        if !options_ended && pieces(argument).first() == Some(&Piece::Value("title".into())) && at > 0 {
            return wrong(
                "starts with `{title}`, and a title may start with a dash; put text before it (`Task: {title}`, `--title={title}`) or `--` before the argument"
                    .into(),
            );
        }
        options_ended |= argument == "--";
    }
    match named(program).find(|name| !matches!(name.as_str(), "project" | "workspace")) {
        Some(name) => {
            Err(format!("argv[0] names `{{{name}}}`; a program may depend on `{{project}}` and `{{workspace}}` only"))
        }
        None => Ok(()),
    }
}

/// Returns where the script of `sh -c SCRIPT` stands, also behind `env`, `nice` and the like.
fn script_at(argv: &[String]) -> Option<usize> {
    const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "fish", "ash", "busybox"];
    let is_shell = |argument: &String| {
        Path::new(argument).file_name().and_then(|name| name.to_str()).is_some_and(|name| SHELLS.contains(&name))
    };
    let shell = argv.iter().position(is_shell)?;
    let options = argv.iter().enumerate().skip(shell + 1);
    let is_command = |argument: &str| {
        argument.strip_prefix('-').is_some_and(|flags| {
            !flags.starts_with('-') && flags.ends_with('c') && flags.chars().all(|flag| flag.is_ascii_alphabetic())
        })
    };
    options.into_iter().find(|(_, argument)| is_command(argument)).map(|(at, _)| at + 1)
}

/// Returns what a placeholder stands for in an attempt.
pub(super) fn value(name: &str, assignment: &Assignment) -> Option<String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    Some(match name {
        "prompt_file" => path(&assignment.prompt_file()),
        "task_id" => assignment.task.id.to_string(),
        "role" => assignment.rule.role.to_string(),
        "run_dir" => path(&assignment.run_dir),
        "out_dir" => path(&assignment.out_dir()),
        "result_file" => path(&assignment.result_file()),
        "workspace" => path(&assignment.workspace),
        "git_dir" => path(&assignment.git_dir()),
        "project" => path(&assignment.project),
        "attempt" => assignment.lease.attempt.to_string(),
        _ => text::cut(&text::one_line(&assignment.task.title), LONGEST_TITLE),
    })
}

/// Fills a checked argv template in.
pub(super) fn fill(argv: &[String], assignment: &Assignment) -> Vec<String> {
    argv.iter().filter_map(|argument| filled(argument, &|name| value(name, assignment))).collect()
}

/// Returns the program of a checked argv template, for whoever looks for it before there is a task.
pub(super) fn program(argv: &[String], project: &Path, workspace: &Path) -> String {
    let place = |name: &str| Some(if name == "project" { project } else { workspace }.to_string_lossy().into_owned());
    argv.first().and_then(|program| filled(program, &place)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
