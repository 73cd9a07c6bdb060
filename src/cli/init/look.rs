//! What `init` finds in a directory: git, how the project is tested, which agent programs there are.
//!
//! Only looks: nothing of the project is run and nothing is written. A gate whose program or module is missing is not
//! proposed: every task would fail at it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::known::{KNOWN, Known};
use crate::cli::gate;
use oodatcaa_agent::find_program;
use oodatcaa_core::Guarantee;
use oodatcaa_ops::sandbox;
use oodatcaa_sys::files;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The top of the git work tree around the directory.
    pub(super) git: Option<PathBuf>,
    /// Ways to test the project that can be run here, the one to take first first.
    pub(super) tests: Vec<Test>,
    /// Ways to test it that cannot, and what is missing.
    pub(super) untried: Vec<(Test, String)>,
    /// Agent programs on the search path, the one to take first first.
    pub(super) agents: Vec<(&'static Known, PathBuf)>,
    /// The guarantees that this machine cannot keep, of what is required where nobody says otherwise.
    pub(super) lacking: BTreeSet<Guarantee>,
}

/// A way to test a project.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Test {
    /// The kind of project, for people.
    pub(super) kind: &'static str,
    /// The file that told.
    pub(super) file: &'static str,
    /// Program and arguments.
    pub(super) argv: Vec<&'static str>,
}

/// Looks around a directory.
pub(super) fn look(root: &Path, search_path: &str) -> Found {
    let git = root.ancestors().find(|dir| dir.join(".git").exists()).map(Into::into);
    let agents =
        KNOWN.iter().filter_map(|known| Some((known, find_program(&known.name, search_path, root)?))).collect();
    let (mut runnable, mut untried) = (Vec::new(), Vec::new());
    for test in tests(root) {
        match gate::missing(&test.argv, search_path, root) {
            Some(what) => untried.push((test, what)),
            None => runnable.push(test),
        }
    }
    let lacking = sandbox::lacking().unwrap_or_default();
    Found { git, tests: runnable, untried, agents, lacking }
}

fn tests(root: &Path) -> Vec<Test> {
    let read = |name: &str| small_text(&root.join(name));
    let has = |name: &str| root.join(name).is_file();
    let mut tests = Vec::new();
    let mut add = |kind, file, argv: &[&'static str]| tests.push(Test { kind, file, argv: argv.to_vec() });
    for file in ["Makefile", "makefile", "GNUmakefile"] {
        if read(file).is_some_and(|text| text.lines().any(|line| is_target(line, "test"))) {
            add("make", file, &["make", "test"]);
            break;
        }
    }
    if has("Cargo.toml") {
        add("Rust", "Cargo.toml", &["cargo", "test"]);
    }
    if has("go.mod") {
        add("Go", "go.mod", &["go", "test", "./..."]);
    }
    if read("package.json").is_some_and(|text| has_test_script(&text)) {
        let runner = [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lock", "bun"), ("bun.lockb", "bun")];
        let runner = runner.into_iter().find(|(lock, _)| has(lock)).map_or("npm", |(_, runner)| runner);
        add("Node.js", "package.json", &[runner, "run", "test"]);
    }
    let python = ["pyproject.toml", "setup.py", "setup.cfg"].into_iter().find(|file| has(file));
    if let Some(file) = python
        && ["pytest.ini", "tests", "test", "conftest.py"].iter().any(|name| root.join(name).exists())
    {
        let argv: &[&str] = if has("uv.lock") { &["uv", "run", "pytest"] } else { &["python3", "-m", "pytest"] };
        add("Python", file, argv);
    }
    tests
}

/// Tells whether a line of a makefile makes this target.
fn is_target(line: &str, target: &str) -> bool {
    let Some((names, rest)) = line.split_once(':') else { return false };
    !line.starts_with([' ', '\t', '#', '.']) && !rest.starts_with('=') && names.split_whitespace().any(|n| n == target)
}

/// Tells whether there is a test script that is not the one `npm init` writes.
fn has_test_script(package: &str) -> bool {
    let package: serde_json::Value = serde_json::from_str(package).unwrap_or_default();
    package["scripts"]["test"].as_str().is_some_and(|script| !script.contains("no test specified"))
}

fn small_text(path: &Path) -> Option<String> {
    // A makefile may well be a link; it is only looked at.
    String::from_utf8(files::read_named(path, 1 << 20).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("written");
        }
        tests(directory.path()).iter().map(|test| test.argv.join(" ")).collect()
    }

    #[test]
    fn a_project_is_known_by_its_files() {
        assert_eq!(found(&[("Cargo.toml", "")]), ["cargo test"]);
        assert_eq!(
            found(&[("go.mod", ""), ("Makefile", ".PHONY: test\nall test: x\n")]),
            ["make test", "go test ./..."]
        );
        assert_eq!(found(&[("Makefile", "test := 1\n# test:\n\ttest: x\nmytest: y\n")]), [""; 0]);
        assert_eq!(found(&[("package.json", r#"{"scripts":{"test":"jest"}}"#), ("yarn.lock", "")]), ["yarn run test"]);
        let fresh = r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#;
        assert_eq!(found(&[("package.json", fresh)]), [""; 0]);
        assert_eq!(found(&[("pyproject.toml", ""), ("conftest.py", "")]), ["python3 -m pytest"]);
        assert_eq!(found(&[("pyproject.toml", "")]), [""; 0]);
    }
}
