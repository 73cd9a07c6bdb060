//! Whether the command of a gate can be run at all: its program, and the module that an interpreter is told to run.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use oodatcaa_agent::find_program;

/// Says what is missing for a command; `None` where nothing is known to be.
pub(super) fn missing(argv: &[&str], search_path: &str, root: &Path) -> Option<String> {
    let program = *argv.first()?;
    let Some(found) = find_program(program, search_path, root) else {
        return Some(format!("`{program}` is not found"));
    };
    let ["-m", module, ..] = &argv[1..] else { return None };
    let is_python = found.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("python"));
    let plain = module.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if !is_python || !plain {
        return None;
    }
    // Asked, not imported: nothing of the module runs. A package inside another would import that one.
    let name = module.split('.').next().unwrap_or(module);
    let question = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)";
    let mut asked = Command::new(&found);
    asked.args(["-c", question, name]).current_dir(root).env("PATH", search_path);
    let status = asked.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status.map(|status| status.code()) {
        Ok(Some(1)) => Some(format!("`{program}` has no module `{module}`")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_and_a_module_that_are_not_there_are_told() {
        let path = std::env::var("PATH").unwrap_or_default();
        let root = Path::new("/");
        let said = |argv: &[&str]| missing(argv, &path, root);
        assert_eq!(said(&["sh", "-c", "true"]), None);
        assert_eq!(said(&["no-such-program"]).as_deref(), Some("`no-such-program` is not found"));
        if find_program("python3", &path, root).is_some() {
            assert_eq!(said(&["python3", "-m", "json.tool"]), None);
            let words = said(&["python3", "-m", "no_such_module_of_ours"]).expect("it is missing");
            assert!(words.contains("no_such_module_of_ours"), "{words}");
        }
    }
}
