//! Every verb of `agentctl` on a project whose queue and agent are made to paint over terminals.

use std::collections::BTreeSet;

use crate::bad_input::{ctl, hostile, once};

/// Verbs that look; none of them may be forgotten, the test asks the help for all that there are.
pub(super) const LOOKING: &[&str] = &[
    "doctor",
    "status",
    "ls --all",
    "show A",
    "why A",
    "inbox",
    "logs A",
    "run list",
    "run show A",
    "run diff A",
    "lease list",
    "worktree list",
    "worktree path A",
    "gc --dry-run",
    "queue validate",
    "queue repair --dry-run",
    "queue schema",
    "events tail",
    "agent list",
    "agent show script",
    "config show",
    "fleet status",
    "task list --all",
    "task show A",
    "task why A",
    "completions bash",
    "version",
    "man",
    "help states",
];

/// Verbs that change something, and how they are called here.
pub(super) const CHANGING: &[&str] = &[
    "approve A",
    "reject A --reason no",
    "answer A yes",
    "add x",
    "task add y",
    "task block A --reason x",
    "task unblock A",
    "task move A ready",
    "task edit A --priority 7",
    "task prio A 7",
    "task dep add A A",
    "task dep rm A A",
    "task retry A",
    "task done A --reason x --yes",
    "task cancel A --yes",
    "run stop A --reason x",
    "lease release A",
    "worktree open A",
    "worktree prune --dry-run",
    "worktree rm A --yes",
    "agent test script",
    "agent reopen script",
    "config trust --yes",
    "fleet stop --backend process builder",
];

/// Verbs that are not called, with the reason.
const NOT_HERE: &[(&str, &str)] = &[
    ("init", "writes the configuration; tests/it/config.rs"),
    ("demo", "runs in a project of its own"),
    ("fleet start", "leaves workers running; tests/it/fleet.rs"),
    ("fleet restart", "leaves workers running; tests/it/fleet.rs"),
    ("fleet install", "writes units of this user; tests/systemd"),
    ("fleet uninstall", "removes units of this user; tests/systemd"),
    ("help", "a topic is among those that look"),
];

/// All verbs that there are, the innermost ones.
fn known() -> BTreeSet<String> {
    fn walk(at: &clap::Command, path: &str, into: &mut BTreeSet<String>) {
        let inner: Vec<&clap::Command> = at.get_subcommands().collect();
        if inner.is_empty() {
            into.insert(path.to_owned());
        }
        inner.iter().for_each(|sub| walk(sub, format!("{path} {}", sub.get_name()).trim(), into));
    }
    let mut all = BTreeSet::new();
    walk(&oodatcaa::cli::command(), "", &mut all);
    all
}

#[test]
fn no_verb_is_forgotten_and_none_says_a_control_character_of_others() {
    let project = hostile::hostile();
    once(&project, "builder").ended(0);
    let all = known();
    assert!(all.len() > 40, "{all:?}");
    let called = |verb: &str| {
        let mut lines = LOOKING.iter().chain(CHANGING).copied().chain(NOT_HERE.iter().map(|(verb, _)| *verb));
        lines.any(|line| line == verb || line.starts_with(&format!("{verb} ")))
    };
    let forgotten: Vec<&String> = all.iter().filter(|verb| !called(verb)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    for verb in LOOKING.iter().chain(CHANGING) {
        for more in ["", " --json"] {
            let said = ctl(&project, &format!("{verb}{more}"));
            // A dependency on itself is a call that is right and a task that is wrong.
            assert!(said.code != Some(2) || verb.starts_with("task dep"), "{verb}: the call is wrong: {said:#?}");
            // The manual page and the script for a shell are ours alone.
            if !verb.starts_with("man") && !verb.starts_with("completions") {
                hostile::harmless(&said, false);
            }
        }
    }
    println!("figure: verbs of agentctl against hostile text: {} of {}", all.len() - NOT_HERE.len(), all.len());
}
