//! A project with a git repository and a real program as its agent.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use super::programs::Program;
use crate::support::Project;

/// Git in the main checkout; what it printed.
#[track_caller]
pub(super) fn git(project: &Project, args: &[&str]) -> String {
    let identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"];
    let output = Command::new("git").args(identity).args(args).current_dir(project.root()).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A project in a repository with one commit.
pub(super) fn repository() -> Project {
    let project = Project::that_succeeds();
    git(&project, &["init", "-q", "-b", "main"]);
    for (name, value) in [("user.name", "Tester"), ("user.email", "tester@example.org")] {
        git(&project, &["config", name, value]);
    }
    fs::write(project.path("README.md"), "a fresh project\n").expect("written");
    git(&project, &["add", "README.md"]);
    git(&project, &["commit", "-qm", "the beginning"]);
    project
}

/// The program as an agent of the configuration; `set` is its environment.
pub(super) fn agent(program: Program, path: &Path, url: &str, mut set: BTreeMap<String, String>) -> String {
    // A JSON string is a TOML string, too.
    let quoted = |text: &str| Value::from(text).to_string();
    let args: Vec<String> = program.settings(url).iter().map(|argument| quoted(argument)).collect();
    let bin = path.parent().expect("in a directory").display();
    set.insert("PATH".into(), format!("{bin}:{}", std::env::var("PATH").expect("a PATH")));
    let set: Vec<String> = set.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    let name = program.name();
    format!(
        "[agents.{name}]\nkind = \"{name}\"\nmodel = \"{}\"\npermissions = \"all\"\nargs = [{}]\nset = {{ {} }}\n",
        program.model(),
        args.join(", "),
        set.join(", ")
    )
}
