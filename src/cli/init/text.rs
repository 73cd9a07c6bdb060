//! The content of the files that `init` writes.

use serde_json::json;
use toml::Value;

use super::{known::Known, look::Test};
use oodatcaa_core::Workflow;

/// Lines that keep what a machine writes out of git.
pub const IGNORED: &[(&str, &str)] = &[
    ("/.oodatcaa/config.local.toml", "settings of this checkout"),
    ("/.oodatcaa/homes/", "what agents keep for themselves"),
    ("/.oodatcaa/runs/", "prompts and output of every attempt"),
    ("/.oodatcaa/work/events.jsonl", "the journal: a checkout must not put an old one back"),
    ("/.leases/", ""),
    ("/.locks/", ""),
    ("/.agent-daemon-logs/", ""),
    ("/.agent-daemon-pids/", ""),
    ("/.agent-daemon-run/", ""),
];

/// The agent of a new configuration.
#[derive(Clone, Copy, Debug)]
pub enum Chosen {
    /// None was found and none was named.
    None,
    /// One that we know.
    Known(&'static Known),
    /// The simulated one, by name.
    Sim,
    /// One of the user's own configuration, by name.
    Theirs,
}

/// Writes the project's configuration.
pub fn config(chosen: Chosen, name: &str, tests: &[Test], workflow: &Workflow, git: bool) -> String {
    // Editors look for it beside this file; `init` writes it there.
    let mut text = String::from(
        "#:schema ./config.schema.json\n\n\
         # What the agents of this project are and how they work. Every key with its default and a\n\
         # comment: agentctl config show --default. What is in force: agentctl config show --origin.\n\
         # After a change of a command here, look at it and allow it: agentctl config trust.\n\n[fleet]\n",
    );
    match chosen {
        Chosen::None => text.push_str(
            "# The agent that works: a name from [agents.*] here or in ~/.config/oodatcaa/config.toml.\n\
             # Without one no worker starts. A command line for a program that is known:\n\
             # agentctl init --agent NAME --dry-run\n# agent = \"NAME\"\n",
        ),
        Chosen::Sim => text.push_str(
            "# The simulated agent: it calls no model and writes nonsense. Everything it touches says so.\n\
             agent = \"sim\"\n",
        ),
        Chosen::Known(_) | Chosen::Theirs => text.push_str(&format!("agent = {}\n", quoted(name))),
    }
    if let Chosen::Known(known) = chosen {
        text.push('\n');
        text.push_str(&agent(known));
    }
    if git {
        text.push_str(
            "\n# Every task has a git worktree and a branch of its own, outside of this directory. Files that\n\
             # git does not know and work needs: copy = [\".env\"]; commands to run first: setup = [\"npm\", \"ci\"].\n\
             # To start each task from what the remote has by then: fetch = \"on\".\n\
             [workspace]\nmode = \"worktree\"\n",
        );
    }
    let needs_result = matches!(chosen, Chosen::Known(known) if known.writes_result);
    if needs_result {
        text.push_str("\n# An exit code of 0 proves nothing: every role must write its result file.\n");
    }
    let gated = ["builder", "tester", "integrator"];
    for rule in workflow.rules() {
        let mut lines = String::new();
        if needs_result {
            lines.push_str("require_result = true\n");
        }
        if !tests.is_empty() && gated.contains(&rule.role.as_str()) {
            lines.push_str("gates = [\"test\"]\n");
        }
        if !lines.is_empty() {
            text.push_str(&format!("\n[roles.{}]\n{lines}", rule.role));
        }
    }
    text.push_str("\n# Nothing is merged before a human approved it: agentctl inbox.\n[merge]\napproval = true\n");
    match tests.split_first() {
        None => text.push_str(
            "\n# A gate is a command whose exit code 0 lets a task pass. Give one to the roles that\n\
             # change the project: gates = [\"test\"] in [roles.builder], [roles.tester], [roles.integrator].\n\
             # [gates.test]\n# argv = [\"make\", \"test\"]\n",
        ),
        Some((first, others)) => {
            text.push_str("\n# Runs after a builder, a tester or an integrator said done; 0 lets the task pass.\n");
            text.push_str(&format!("[gates.test]\nargv = {}\ntimeout = \"10m\"\n", list(&first.argv)));
            for other in others {
                text.push_str(&format!("# also found, {}: argv = {}\n", other.file, list(&other.argv)));
            }
        }
    }
    text
}

/// Writes `[agents.NAME]` of a program that we know.
pub fn agent(known: &Known) -> String {
    let mut text = String::new();
    for note in known.notes {
        text.push_str(&format!("# {note}\n"));
    }
    text.push_str(&format!(
        "[agents.{name}]\n# How it is run, its adapter knows: agentctl agent show {name}\nkind = {}\n",
        quoted(known.name),
        name = known.name
    ));
    if let Some(permissions) = known.permissions {
        text.push_str(&format!("# {}.\npermissions = {}\n", known.rights, quoted(permissions)));
    }
    text
}

/// Writes an empty queue: one task at a time in every role.
pub fn queue(workflow: &Workflow) -> String {
    let limits: serde_json::Map<String, serde_json::Value> =
        workflow.rules().iter().map(|rule| (rule.role.to_string(), json!(1))).collect();
    let queue = json!({
        "sprint": 1,
        "status": "in_progress",
        "wip_limits": limits,
        "tasks": [],
        "metadata": {},
    });
    let mut text = serde_json::to_string_pretty(&queue).expect("a value becomes JSON");
    text.push('\n');
    text
}

/// Returns the lines that a `.gitignore` lacks, and its text with them.
pub fn gitignore(old: &str) -> (Vec<&'static str>, String) {
    let plain = |line: &str| line.trim().trim_start_matches("**/").trim_matches('/').to_owned();
    let there: Vec<String> = old.lines().filter(|line| !line.starts_with('#')).map(plain).collect();
    let covers = |line: &str| {
        let line = plain(line);
        there.iter().any(|other| !other.is_empty() && (*other == line || line.starts_with(&format!("{other}/"))))
    };
    let missing: Vec<&(&str, &str)> = IGNORED.iter().filter(|(line, _)| !covers(line)).collect();
    let mut text = old.to_owned();
    if !missing.is_empty() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str("# What agents and workers write while they run.\n");
        for (line, _) in &missing {
            text.push_str(line);
            text.push('\n');
        }
    }
    (missing.into_iter().map(|(line, _)| *line).collect(), text)
}

fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}

fn list(texts: &[&str]) -> String {
    let one = format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "));
    if one.len() <= 96 {
        return one;
    }
    let lines: String = texts.iter().map(|text| format!("  {},\n", quoted(text))).collect();
    format!("[\n{lines}]")
}

#[cfg(test)]
mod tests {
    use super::{super::known::KNOWN, *};
    use oodatcaa_config::{Config, Overrides, World};
    use oodatcaa_core::layout::Layout;

    fn loads(text: &str) -> oodatcaa_config::Loaded {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(directory.path());
        std::fs::create_dir(layout.mark()).expect("created");
        std::fs::write(layout.config(), text).expect("written");
        let world = World::of([("OODATCAA_TRUST_PROJECT", "1")]);
        Config::load_in(&world, &layout, &Overrides::default()).expect(text)
    }

    #[test]
    fn every_configuration_that_init_writes_loads_without_a_warning() {
        let tests = [
            Test { kind: "make", file: "Makefile", argv: vec!["make", "test"] },
            Test { kind: "Rust", file: "Cargo.toml", argv: vec!["cargo", "test"] },
        ];
        let shipped = Workflow::shipped();
        for known in KNOWN {
            let loaded = loads(&config(Chosen::Known(known), known.name, &tests, &shipped, true));
            assert_eq!(loaded.warnings, Vec::<String>::new());
            let agent = &loaded.config.agents[known.name];
            assert_eq!((agent.adapter.as_deref(), agent.permissions.as_deref()), (Some(known.name), known.permissions));
            assert_eq!(oodatcaa_agent::open(known.name, agent).problem(), None);
            assert_eq!(loaded.config.gates["test"].argv, ["make", "test"]);
        }
        for chosen in [Chosen::None, Chosen::Sim] {
            let loaded = loads(&config(chosen, "", &[], &shipped, false));
            assert_eq!(loaded.warnings, Vec::<String>::new());
        }
    }

    #[test]
    fn ignored_lines_are_added_once() {
        let (missing, text) = gitignore("target\n/.leases/\n.locks");
        assert!(!missing.contains(&"/.leases/") && !missing.contains(&"/.locks/"), "{missing:?}");
        assert!(text.starts_with("target\n/.leases/\n.locks\n\n# What"), "{text}");
        assert_eq!(gitignore(&text), (Vec::new(), text.clone()));
        assert_eq!(gitignore("").0.len(), IGNORED.len());
        assert!(gitignore(".oodatcaa\n").0.iter().all(|line| !line.contains("oodatcaa")));
    }
}
