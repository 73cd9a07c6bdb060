//! The documents: every command in them runs, what they list is what the programs say, and their links lead somewhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A `sh` block of a document, and where it begins.
struct Block {
    line: usize,
    text: String,
    /// Who runs it instead: names of tests or of targets of the Makefile.
    elsewhere: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the `sh` blocks of a document in their order.
fn blocks(document: &str) -> Vec<Block> {
    let (mut found, mut elsewhere, mut open): (Vec<Block>, Vec<String>, Option<bool>) = (Vec::new(), Vec::new(), None);
    for (n, line) in read(document).lines().enumerate() {
        match (open, line.trim_start()) {
            (Some(_), fence) if fence.starts_with("```") => open = None,
            (Some(is_sh), _) => {
                if is_sh {
                    found.last_mut().expect("it was opened").text.push_str(&format!("{line}\n"));
                }
            }
            (None, fence) if fence.starts_with("```") => {
                open = Some(fence == "```sh");
                if fence == "```sh" {
                    let elsewhere = std::mem::take(&mut elsewhere);
                    found.push(Block { line: n + 1, text: String::new(), elsewhere });
                }
            }
            (None, comment) => {
                if let Some(names) = comment.strip_prefix("<!-- elsewhere: ").and_then(|rest| rest.strip_suffix(" -->"))
                {
                    elsewhere = names.split(", ").map(String::from).collect();
                }
            }
        }
    }
    found
}

/// The documents with commands in them.
fn documents() -> Vec<String> {
    let mut all = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).expect("the documents").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        if name.ends_with(".md") {
            all.push(format!("docs/{name}"));
        }
    }
    all.retain(|name| !blocks(name).is_empty());
    all.sort();
    all
}

/// A directory with a git repository `my-repo`, and a home whose owner names the simulated agent.
pub(crate) struct Reader {
    dir: tempfile::TempDir,
    more: BTreeMap<String, String>,
}

impl Reader {
    /// Makes both; `config` is the user's own configuration.
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let reader = Self { dir, more: BTreeMap::new() };
        fs::create_dir_all(reader.at("home/.config/oodatcaa")).expect("a home");
        fs::write(reader.at("home/.config/oodatcaa/config.toml"), config).expect("written");
        fs::create_dir(reader.at("my-repo")).expect("a project");
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["config", "user.name", "Ada"],
            &["config", "user.email", "ada@example.org"],
        ] {
            crate::support::git(&reader.at("my-repo"), args);
        }
        fs::write(reader.at("my-repo/README.md"), "a project\n").expect("written");
        crate::support::git(&reader.at("my-repo"), &["add", "."]);
        crate::support::git(&reader.at("my-repo"), &["commit", "-qm", "the beginning"]);
        reader
    }

    /// The same with a further variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("there").join(name)
    }

    /// Runs a document's blocks from the first to the last in one shell, which ends at the first command that fails.
    #[track_caller]
    pub(crate) fn follow(&self, document: &str) -> String {
        let mut script = String::from("set -euo pipefail\n");
        for block in blocks(document).into_iter().filter(|block| block.elsewhere.is_empty()) {
            script += &format!("echo '--- {document}:{}' >&2\n{}", block.line, block.text);
        }
        let bin = Path::new(env!("CARGO_BIN_EXE_agentctl")).parent().expect("a directory").display().to_string();
        let path = format!("{bin}:{}", std::env::var("PATH").expect("a PATH"));
        let path = self.more.get("PATH").map_or(path.clone(), |first| format!("{first}:{path}"));
        let shell = |script: &str| {
            let mut command = Command::new("timeout");
            command.args(["300", "bash", "-c", script]).current_dir(self.dir.path()).env_clear().envs(&self.more);
            command.env("HOME", self.at("home")).env("PATH", &path).env("USER", "ada").env("LANG", "C.UTF-8");
            command.output().expect("bash runs")
        };
        let output = shell(&script);
        // Whatever became of it, no worker stays.
        shell("cd my-repo && agentctl fleet stop --backend process");
        let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{document}: {}\n{said}", output.status);
        said
    }
}

fn follow(document: &str) {
    Reader::new("[fleet]\nagent = \"sim\"\n").follow(document);
}

/// One test for each document, so that they run side by side and a red one is named.
macro_rules! every_command_runs {
    ($($test:ident: $document:literal,)+) => {
        $(#[test]
        fn $test() {
            follow($document);
        })+

        #[test]
        fn no_document_with_commands_is_left_out() {
            let mut run: Vec<&str> = vec!["docs/guide.md", $($document),+];
            run.sort_unstable();
            assert_eq!(documents(), run);
        }
    };
}

every_command_runs! {
    every_command_of_the_readme_runs: "README.md",
    every_command_of_agents_runs: "docs/agents.md",
    every_command_of_configuration_runs: "docs/configuration.md",
    every_command_of_exit_codes_runs: "docs/exit-codes.md",
    every_command_of_merging_runs: "docs/merging.md",
    every_command_of_messages_runs: "docs/messages.md",
    every_command_of_operations_runs: "docs/operations.md",
    every_command_of_queue_file_runs: "docs/queue-file.md",
    every_command_of_roles_runs: "docs/roles.md",
    every_command_of_the_sandbox_runs: "docs/sandbox.md",
    every_command_of_sprints_runs: "docs/sprints.md",
    every_command_of_troubleshooting_runs: "docs/troubleshooting.md",
}

#[test]
fn what_is_run_elsewhere_names_a_target_or_a_module_of_tests_that_is_there() {
    let makefile = read("Makefile");
    let modules = read("tests/it/main.rs");
    for block in documents().iter().flat_map(|document| blocks(document)) {
        for name in &block.elsewhere {
            let there = match (name.strip_prefix("make "), name.strip_suffix("::")) {
                (Some(target), _) => makefile.contains(&format!("\n{target}:")),
                (None, Some(module)) => modules.contains(&format!("mod {module};")),
                (None, None) => false,
            };
            assert!(there, "{name} is neither a target nor a module of tests");
        }
    }
}

#[test]
fn the_exit_codes_of_the_document_are_those_of_the_program() {
    let output = Command::new(env!("CARGO_BIN_EXE_agentctl")).args(["help", "exit-codes"]).output().expect("runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        read("docs/exit-codes.md").contains(&format!("```text\n{said}```\n")),
        "docs/exit-codes.md is old:\n{said}"
    );
}

/// The documents of the repository, by their paths in it.
pub(crate) fn every_document() -> Vec<String> {
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md"].map(String::from);
    let below = fs::read_dir(root().join("docs")).expect("the documents").flatten();
    let below = below.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    top.into_iter().chain(below).filter(|name| name.ends_with(".md")).collect()
}

#[test]
fn the_readme_is_short_and_every_link_of_the_documents_leads_to_a_file() {
    assert!(read("README.md").lines().count() <= 120);
    for document in every_document() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().expect("a part");
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            let path = root().join(&document).parent().expect("a directory").join(file);
            assert!(path.exists(), "{document}: {link} leads nowhere");
        }
    }
    let picture = fs::metadata(root().join("docs/demo.svg")).expect("the picture");
    assert!(picture.len() <= 200 << 10, "{} bytes", picture.len());
}
