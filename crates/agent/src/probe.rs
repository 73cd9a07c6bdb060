//! Whether an agent CLI is there, of which version, and signed in; nothing here spends a token.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::descriptor::{Descriptor, Program};

/// The sign-in of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// By a variable.
    Variable(String),
    /// By a file of its own; whether the service still takes it, only a call would tell.
    File(PathBuf),
    /// Not at all: neither of these variables is set, and no login file is there.
    Missing(Vec<String>),
    /// It has no sign-in that could be looked for.
    Unknown,
}

impl Login {
    /// Returns `false` only when it is known not to be signed in.
    pub fn is_good(&self) -> bool {
        !matches!(self, Self::Missing(_))
    }
}

/// Returns how it is signed in, as far as variables and files tell.
pub fn login(descriptor: &Descriptor, variable: &dyn Fn(&str) -> Option<String>) -> Login {
    let set = |name: &String| variable(name).is_some_and(|value| !value.is_empty());
    let groups = &descriptor.env.requires_any;
    let missing: Vec<&Vec<String>> = groups.iter().filter(|group| !group.iter().any(set)).collect();
    if missing.is_empty()
        && let Some(name) = groups.iter().flatten().find(|name| set(name))
    {
        return Login::Variable(name.clone());
    }
    let files = descriptor.env.login_files.iter().filter_map(|pattern| place(pattern, variable));
    if let Some(file) = files.into_iter().find(|file| file.is_file()) {
        return Login::File(file);
    }
    match missing.is_empty() {
        true => Login::Unknown,
        false => Login::Missing(missing.into_iter().flatten().cloned().collect()),
    }
}

/// Resolves a place below the home directory or `{VARIABLE}`, where that is set.
pub(crate) fn place(pattern: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    match pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((name, rest)) => Some(PathBuf::from(format!("{}{rest}", variable(name).filter(|v| !v.is_empty())?))),
        None => Some(Path::new(&variable("HOME")?).join(pattern)),
    }
}

/// Returns the first version number in a text, e.g. of `codex-cli 0.169.0`.
pub(crate) fn version(text: &str) -> Option<(String, Vec<u64>)> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let rest = &text[start..];
    let word = &rest[..rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())];
    let word = word.trim_end_matches('.');
    if !word.contains('.') {
        // A lone number is no version; another may follow.
        return version(&rest[word.len()..]);
    }
    Some((word.into(), word.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()))
}

/// The standing of a version beside those that were tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Tested with this very one.
    Tested,
    /// Neither tested nor known to be bad.
    Untested,
    /// Older than what can work.
    TooOld,
}

/// Returns how a version stands to a descriptor's.
pub fn fit(program: &Program, found: &str) -> Fit {
    let parts = |text: &str| version(text).map(|(_, parts)| parts);
    if program.tested.iter().any(|tested| parts(tested) == parts(found)) {
        return Fit::Tested;
    }
    match (program.min.as_deref().and_then(parts), parts(found)) {
        (Some(least), Some(found)) if found < least => Fit::TooOld,
        _ => Fit::Untested,
    }
}

/// Asks a program for its version; at most for `patience`.
pub fn ask_version(file: &Path, program: &Program, path: &str, patience: Duration) -> Result<String, String> {
    let mut command = Command::new(file);
    let usual = ["--version".to_owned()];
    let args = if program.version_args.is_empty() { &usual[..] } else { &program.version_args };
    command.args(args).env("PATH", path).env("NO_COLOR", "1").env("TERM", "dumb");
    let answer =
        oodatcaa_sys::command::ask(&mut command, patience).map_err(|error| format!("it cannot be started: {error}"))?;
    let answer = answer.ok_or_else(|| format!("it gave no answer within {} s", patience.as_secs()))?;
    match version(&String::from_utf8_lossy(&answer.out)) {
        Some((found, _)) => Ok(found),
        None => Err(format!("it prints no version ({})", answer.status)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::descriptor;

    #[test]
    fn a_version_is_found_in_what_a_program_prints() {
        let found = |text: &str| version(text).map(|(word, _)| word);
        assert_eq!(found("2.1.197 (Claude Code)").as_deref(), Some("2.1.197"));
        assert_eq!(found("codex-cli 0.169.0").as_deref(), Some("0.169.0"));
        assert_eq!(found("build 7, version 1.2.").as_deref(), Some("1.2"));
        assert_eq!(found("none"), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        let claude = descriptor::load("claude", &BTreeMap::new()).expect("ships").program;
        assert_eq!(fit(&claude, "2.1.197"), Fit::Tested);
        assert_eq!(fit(&claude, "2.10.0"), Fit::Untested);
        assert_eq!(fit(&claude, "1.99.9"), Fit::TooOld);
    }

    #[test]
    fn a_sign_in_is_a_variable_or_a_file() {
        let claude = descriptor::load("claude", &BTreeMap::new()).expect("ships");
        let home = tempfile::tempdir().expect("a directory");
        let look = |key: Option<&str>| {
            let (key, home) = (key.map(String::from), home.path().display().to_string());
            login(&claude, &move |name| match name {
                "ANTHROPIC_API_KEY" => key.clone(),
                "HOME" => Some(home.clone()),
                _ => None,
            })
        };
        assert_eq!(look(Some("k")), Login::Variable("ANTHROPIC_API_KEY".into()));
        assert!(!look(Some("")).is_good());
        std::fs::create_dir(home.path().join(".claude")).expect("made");
        std::fs::write(home.path().join(".claude/.credentials.json"), "{}").expect("written");
        assert!(matches!(look(None), Login::File(_)));
    }
}
