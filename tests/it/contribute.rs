//! What CONTRIBUTING.md says of a new command and of a new rule, done to the letter in a copy of the repository.
//!
//! A step names a file, and perhaps the line below which something comes, and a block of Rust: "Write `FILE`:" or
//! "in `FILE`, below `LINE`:".

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::Project;

/// A block of Rust, and where it goes.
struct Step {
    file: String,
    below: Option<String>,
    rust: String,
}

/// The steps of one section.
fn steps(section: &str) -> Vec<Step> {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = rest.split("\n## ").next().expect("its text");
    let mut said = Vec::new();
    let mut steps = Vec::new();
    let mut lines = section.lines().map(|line| line.strip_prefix("   ").unwrap_or(line));
    while let Some(line) = lines.next() {
        if line != "```rust" {
            said.push(line);
            continue;
        }
        let rust: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let place = said.iter().rev().find(|line| !line.is_empty()).expect("where it goes");
        let quoted: Vec<&str> = place.split('`').skip(1).step_by(2).collect();
        let (file, below) = match (quoted.as_slice(), place.contains(", below `")) {
            ([.., file, below], true) => (*file, Some((*below).to_owned())),
            ([.., file], false) => (*file, None),
            _ => panic!("no place: {place}"),
        };
        steps.push(Step { file: file.to_owned(), below, rust: rust.join("\n") + "\n" });
    }
    steps
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the repository below cargo's directory for tests, kept from run to run so that it builds in seconds.
struct Copy(PathBuf);

impl Copy {
    /// Makes one whose crates have a version of their own: cargo tells crates apart by name, version and place in the
    /// workspace, so that others would be taken for ours, and ours for them, where they are built.
    fn new(name: &str, version: &str) -> Self {
        let copy = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        fs::create_dir_all(&copy.0).expect("a directory");
        for entry in fs::read_dir(root()).expect("the repository").flatten() {
            let name = entry.file_name();
            let skipped = ["target", ".git"].iter().any(|skipped| name == *skipped);
            let is_code = ["src", "crates"].iter().any(|code| name == *code);
            let to = copy.0.join(&name);
            if name == "Cargo.toml" || name == "Cargo.lock" {
                let text = fs::read_to_string(entry.path()).expect("text");
                write(&to, with_version(&text, version).as_bytes());
            } else if is_code || entry.path().is_file() {
                copy_over(&entry.path(), &to);
            } else if !skipped && !to.exists() {
                std::os::unix::fs::symlink(entry.path(), &to).expect("a link");
            }
        }
        copy
    }

    fn follow(&self, steps: &[Step]) {
        for Step { file, below, rust } in steps {
            let path = self.0.join(file);
            let text = match below {
                None => rust.clone(),
                Some(below) => {
                    let text = fs::read_to_string(&path).expect("a file that is there");
                    let at = text.lines().position(|line| line.trim() == below);
                    let at = at.unwrap_or_else(|| panic!("{file} has no line `{below}`"));
                    let (before, after): (Vec<_>, Vec<_>) = text.lines().enumerate().partition(|(line, _)| *line <= at);
                    let lines = |part: Vec<(usize, &str)>| {
                        part.into_iter().map(|(_, line)| format!("{line}\n")).collect::<String>()
                    };
                    lines(before) + rust + &lines(after)
                }
            };
            write(&path, text.as_bytes());
        }
    }

    /// Runs cargo in the copy; what it builds on is what the tests were built on.
    fn cargo(&self, args: &[&str]) {
        let binary = Path::new(env!("CARGO_BIN_EXE_agentctl"));
        let built = binary.ancestors().nth(2).expect("the target directory");
        let output = Command::new(env!("CARGO"))
            .args(args)
            .args(["--offline", "--locked", "--quiet"])
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .env("CARGO_BUILD_BUILD_DIR", built)
            .output()
            .expect("cargo");
        assert!(output.status.success(), "cargo {args:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Gives our crates another version, in a manifest or a lock file; what they are asked for stays.
fn with_version(text: &str, version: &str) -> String {
    let mut is_ours = false;
    let lines = text.lines().map(|line| {
        is_ours |= line.starts_with("name = \"oodatcaa") || line == "[workspace.package]";
        match line.starts_with("version = ") && std::mem::take(&mut is_ours) {
            true => format!("version = \"{version}\"\n"),
            false => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// Makes `to` what `from` is. A file that is the same already keeps its time, so that cargo does not build it again.
fn copy_over(from: &Path, to: &Path) {
    if from.is_file() {
        return write(to, &fs::read(from).expect("a file"));
    }
    fs::create_dir_all(to).expect("a directory");
    let names = |dir: &Path| fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.file_name());
    for name in names(to).filter(|name| !from.join(name).exists()) {
        let gone = to.join(name);
        let removed = if gone.is_dir() { fs::remove_dir_all(&gone) } else { fs::remove_file(&gone) };
        removed.expect("what an earlier run wrote goes");
    }
    for name in names(from) {
        copy_over(&from.join(&name), &to.join(&name));
    }
}

fn write(path: &Path, content: &[u8]) {
    if fs::read(path).is_ok_and(|there| there == content) {
        return;
    }
    fs::write(path, content).expect("a file of the copy");
}

#[test]
fn a_command_is_added_by_the_steps_of_contributing() {
    let copy = Copy::new("with-a-command", "0.1.901");
    copy.follow(&steps("To add a command"));
    copy.cargo(&["build", "--bin", "agentctl"]);
    let project = Project::that_succeeds();
    let agentctl = |args: &[&str]| {
        let mut command = Command::new(copy.0.join("target/debug/agentctl"));
        let output = command.arg("-C").arg(project.path("")).args(args).output().expect("the new agentctl");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    agentctl(&["init", "--yes"]);
    agentctl(&["add", "Fix the parser", "--id", "P1"]);
    assert_eq!(agentctl(&["oldest"]), "P1 Fix the parser\n");
}

#[test]
fn a_rule_is_added_by_the_steps_of_contributing() {
    let copy = Copy::new("with-a-rule", "0.1.902");
    copy.follow(&steps("To add a rule"));
    copy.cargo(&["test", "-p", "oodatcaa-core", "--lib", "untitled"]);
}

#[test]
fn crates_of_a_copy_have_a_version_of_their_own_and_others_keep_theirs() {
    let lock = with_version(&fs::read_to_string(root().join("Cargo.lock")).expect("a lock file"), "9.9.9");
    let ours = lock.matches("name = \"oodatcaa").count();
    assert!(ours > 10 && lock.matches("\nversion = \"9.9.9\"\n").count() == ours, "{ours}");
    let manifest = with_version("[workspace.package]\nversion = \"1\"\na = { version = \"1\" }\n", "2");
    assert_eq!(manifest, "[workspace.package]\nversion = \"2\"\na = { version = \"1\" }\n");
}
