//! Every verb of `agentctl` on a project whose queue and agent are made to paint over terminals.

use std::collections::BTreeSet;

use crate::{
    bad_input::{ctl, hostile, once},
    support::Project,
};

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
    "man",
    "help states",
];

/// Verbs that change something, and how they are called here.
const CHANGING: &[&str] = &[
    "approve A",
    "reject A --reason no",
    "answer A yes",
    "add x",
    "task add y",
    "task block A --reason x",
    "task unblock A",
    "task move A ready",
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
    ("help", "a topic is among those that look"),
];

/// All verbs that the help knows, the innermost ones.
fn known(project: &Project) -> BTreeSet<String> {
    let below = |verb: &str| -> Vec<String> {
        let help = ctl(project, &format!("{verb} --help"));
        let lines = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = lines.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
        names.filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
    };
    let mut all = BTreeSet::new();
    for verb in below("") {
        let inner: Vec<String> = below(&verb).into_iter().filter(|name| name != "help").collect();
        if verb == "help" || inner.is_empty() {
            all.insert(verb);
        } else {
            all.extend(inner.iter().map(|name| format!("{verb} {name}")));
        }
    }
    all
}

#[test]
fn no_verb_is_forgotten_and_none_says_a_control_character_of_others() {
    let project = hostile::hostile();
    once(&project, "builder").ended(0);
    let all = known(&project);
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
            assert_ne!(said.code, Some(2), "{verb}: the call is wrong: {said:#?}");
            // The manual page and the script for a shell are ours alone.
            if !verb.starts_with("man") && !verb.starts_with("completions") {
                hostile::harmless(&said, false);
            }
        }
    }
    println!("figure: verbs of agentctl against hostile text: {} of {}", all.len() - NOT_HERE.len(), all.len());
}
