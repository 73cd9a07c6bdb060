//! Every verb of `agentctl` on a project whose queue and agent are made to paint over terminals.

use std::{collections::BTreeSet, fs};

use oodatcaa_process::confine::Profile;
use serde_json::json;

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
    "report",
    "stats",
    "sprint status",
    "sprint report",
    "sprint render --dry-run",
    "sprint rotate --dry-run",
    "worktree list",
    "worktree path A",
    "gc --dry-run",
    "queue validate",
    "queue repair --dry-run",
    "queue schema",
    "events tail",
    "agent list",
    "agent show script",
    "role list",
    "schedule list",
    "schedule next",
    "handoff list",
    "role show builder",
    "config show",
    "fleet status",
    "sandbox show",
    "sandbox explain file.txt",
    "sandbox probe",
    "sandbox apparmor",
    "msg list --all",
    "msg status human-1",
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
    "msg send --to builder x",
    "msg read",
    "fleet pause builder",
    "fleet resume builder",
    "agent test script",
    "role add x --takes a --done done --dry-run",
    "schedule run x",
    "schedule pause x",
    "schedule resume x",
    "agent reopen script",
    "config trust --yes",
    "fleet stop --backend process builder",
];

/// Verbs that are not called, with the reason.
const NOT_HERE: &[(&str, &str)] = &[
    ("init", "writes the configuration; tests/it/config.rs"),
    ("demo", "runs in a project of its own"),
    ("msg recall", "wants a message that waits; tests/it/cli/mail.rs"),
    ("top", "draws a screen; tests/it/screens.rs"),
    ("sprint complete", "ends the sprint for the verbs after it; tests/it/sprint.rs"),
    ("sprint close", "ends the sprint for the verbs after it; tests/it/sprint.rs"),
    ("sprint new", "takes the tasks out of the queue; tests/it/sprint.rs"),
    ("sprint plan", "wants an objective; tests/it/sprint.rs"),
    ("lease acquire", "holds a task; tests/it/sprint/logs.rs"),
    ("lease beat", "wants a token; tests/it/sprint/logs.rs"),
    ("lease lock", "holds a name; tests/it/sprint/logs.rs"),
    ("lease unlock", "wants a token; tests/it/sprint/logs.rs"),
    ("fleet start", "leaves workers running; tests/it/fleet.rs"),
    ("fleet run", "stays in the foreground; tests/it/fleet/supervisor.rs"),
    ("fleet scale", "leaves workers running; tests/it/fleet/supervisor.rs"),
    ("fleet drain", "asks workers that run; tests/it/fleet/supervisor.rs"),
    ("fleet restart", "leaves workers running; tests/it/fleet.rs"),
    ("fleet install", "writes units of this user; tests/systemd"),
    ("fleet uninstall", "removes units of this user; tests/systemd"),
    ("sandbox run", "runs what a person names; tests/it/cli/sandbox.rs"),
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

/// Ways to give a command; `@` stands for it. Its words and its exit status come out.
const WAYS: &[(&str, &str)] = &[
    ("plain", "@; echo rc $?"),
    ("without an environment", "env -i PATH=/usr/bin:/bin @; echo rc $?"),
    ("in a session of its own", "env -i PATH=/usr/bin:/bin setsid -w @; echo rc $?"),
    (
        "forked twice",
        "mkfifo late.$$; (env -i PATH=/usr/bin:/bin setsid sh -c 'sleep 0.2; @; echo rc $?' > late.$$ 2>&1 &); cat late.$$; rm late.$$",
    ),
    (
        "in a namespace of processes",
        "unshare -Upfr --mount-proc true 2> /dev/null || { echo only a human may decide, if there were namespaces rc 5; exit 0; }; \
         env -i PATH=/usr/bin:/bin unshare -Upfr --mount-proc setpriv --no-new-privs sh -c '@; echo rc $?'",
    ),
];

#[test]
fn however_an_agent_calls_what_is_for_people_it_is_refused_also_when_it_is_confined() {
    let project = Project::new("");
    let ctl = format!("{} -C {} --yes run stop A --reason x", env!("CARGO_BIN_EXE_agentctl"), project.root().display());
    let ways: String =
        WAYS.iter().map(|(name, how)| format!("echo \"== {name}\"\n( {} ) 2>&1\n", how.replace('@', &ctl))).collect();
    let ways = project.script("ways.sh", &ways);
    let mut script = format!("sh {}\n", ways.display());
    for namespace in [false, true] {
        let dir = project.path(if namespace { "with" } else { "without" });
        fs::create_dir_all(&dir).expect("made");
        let profile = Profile { write: vec![project.root().into()], namespace, ..Profile::default() };
        let profile = { profile }.write(&dir).expect("written");
        let daemon = env!("CARGO_BIN_EXE_agent-daemon");
        script.push_str(&format!("{daemon} confine {} -- sh {}\n", profile.display(), ways.display()));
    }
    project.script("agent.sh", &script);
    project.config("[sandbox]\nmode = \"off\"");
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let said = once(&project, "builder");
    let run = project.path(".oodatcaa/runs/A/1");
    let told = fs::read_to_string(run.join("stdout.log")).unwrap_or_else(|error| panic!("{error}: {said:#?}"));
    let calls: Vec<&str> = told.split("== ").skip(1).collect();
    assert_eq!(calls.len(), 3 * WAYS.len(), "{told}");
    for call in calls {
        assert!(call.contains("only a human may decide") && call.contains("rc 5"), "{call}\n{told}");
    }
    assert!(project.events_of("run.stop_requested").is_empty());
    assert_ne!(project.status("A"), "blocked", "nobody stopped it");
}
