//! `agentctl help`: a command's own help, or a topic that no command is about.

use std::fmt::Write as _;

use super::{
    command,
    context::Context,
    fail::{Done, exit},
    ui::Tone,
};
use oodatcaa_core::{Status, Workflow, text::near};
use oodatcaa_ops::{ErrorKind, Failure, sysexit, view::HelpView};

/// Flags of `help`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// A command (`task add`) or a topic
    words: Vec<String>,
}

/// The topics, with what each is about.
pub const TOPICS: &[(&str, &str)] = &[
    ("exit-codes", "what the exit codes of agentctl and agent-daemon mean"),
    ("states", "the statuses of a task, who takes them, who moves them"),
    ("filters", "what `ls` understands"),
    ("files", "where everything lies"),
    ("environment", "variables that are read, and those that agents get"),
    ("queue", "the queue file, and what happens when it cannot be read"),
    ("leases", "who works on what, and what happens when a worker dies"),
    ("locks", "who may write when"),
    ("roles", "the kinds of work and how to add one"),
    ("agents", "which program does the work"),
    ("config", "layers of configuration"),
    ("security", "trust, secrets, hostile text"),
];

/// The commands in groups, the daily ones first; a test sees that none is missing.
const GROUPS: &[(&str, &[&str])] = &[
    ("Start", &["init", "demo", "doctor"]),
    ("Look", &["status", "ls", "show", "why", "logs", "events"]),
    ("Decide", &["inbox", "approve", "reject", "answer"]),
    ("Work", &["add", "task", "run", "lease", "worktree", "gc"]),
    ("Workers", &["fleet", "agent"]),
    ("Files", &["queue", "config"]),
    ("About", &["completions", "man", "version", "help"]),
];

/// Commands as they are typed, by the verb that they are an example of; a test sees that each parses.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("init", &["agentctl init --dry-run", "agentctl init --agent claude"]),
    ("status", &["agentctl status --watch", "agentctl status --json"]),
    ("ls", &["agentctl ls is:needs_you", "agentctl ls role:builder -is:running prio:<5", "agentctl ls parser --all"]),
    ("show", &["agentctl show T001"]),
    ("why", &["agentctl why T001"]),
    ("logs", &["agentctl logs T001 -f"]),
    ("inbox", &["agentctl inbox", "agentctl inbox --check --quiet"]),
    ("approve", &["agentctl approve T001.1"]),
    ("reject", &["agentctl reject T001.1 --reason 'the old header must stay'"]),
    ("answer", &["agentctl answer T001.2 2", "agentctl answer T001.2 'keep it'"]),
    (
        "add",
        &[
            "agentctl add 'Fix the parser' --accept 'cargo test parser passes'",
            "agentctl add 'Write the docs' --dep T001 --ready -F notes.md --accept 'every command runs'",
        ],
    ),
    ("task retry", &["agentctl task retry T001", "agentctl task retry is:failed role:builder"]),
    ("task cancel", &["agentctl task cancel T001 T002 --reason 'not wanted any more'"]),
    ("task move", &["agentctl task move T001 ready --reason 'the plan was wrong'"]),
    ("task edit", &["agentctl task edit T001 --title 'Fix the lexer' --accept 'cargo test lexer passes'"]),
    ("task prio", &["agentctl task prio T001 T002 5", "agentctl task prio role:tester 1"]),
    ("task dep", &["agentctl task dep add T002 T001", "agentctl task dep rm T002 T001"]),
    ("fleet", &["agentctl fleet start", "agentctl fleet stop builder", "agentctl fleet status"]),
    ("run", &["agentctl run list T001", "agentctl run diff T001", "agentctl run stop T001 --reason 'wrong branch'"]),
    ("config", &["agentctl config trust"]),
    ("completions", &["agentctl completions bash"]),
];

/// Adds examples below the help of each verb that has some.
pub fn with_examples(mut tree: clap::Command) -> clap::Command {
    for (path, examples) in EXAMPLES {
        let lines: String = examples.iter().fold("Examples:".into(), |all, example| format!("{all}\n  {example}"));
        tree = below(tree, &path.split(' ').collect::<Vec<_>>(), &lines);
    }
    tree
}

fn below(tree: clap::Command, path: &[&str], text: &str) -> clap::Command {
    match path {
        [] => tree.after_help(text.to_owned()),
        [name, rest @ ..] => tree.mut_subcommand(*name, |sub| below(sub, rest, text)),
    }
}

/// Returns the tree whose own help shows the commands in groups.
pub fn grouped() -> clap::Command {
    let tree = command();
    let about = |name: &str| {
        let found = tree.find_subcommand(name).and_then(clap::Command::get_about);
        found.map(ToString::to_string).unwrap_or_default()
    };
    let mut groups = String::new();
    for (group, names) in GROUPS {
        writeln!(groups, "{}", Tone::Strong.paint(&format!("{group}:"))).expect("a string takes it");
        for name in *names {
            writeln!(groups, "  {name:<12} {}", about(name)).expect("a string takes it");
        }
        groups.push('\n');
    }
    let template =
        format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{all-args}}{{after-help}}\n");
    // Hidden in the list that clap would make; they work and complete as before.
    let hidden = tree.clone().mut_subcommands(|sub| sub.hide(true));
    hidden.help_template(template).override_usage("agentctl [OPTIONS] [COMMAND]")
}

/// Prints help.
pub fn run(ctx: &Context, args: &Args) -> Done {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let text = match words.as_slice() {
        [] => {
            let mut text = grouped().render_long_help().to_string();
            text.push_str("\nTopics (agentctl help TOPIC):\n");
            for (topic, about) in TOPICS {
                writeln!(text, "  {topic:<12} {about}").expect("a string takes it");
            }
            text
        }
        [topic] if TOPICS.iter().any(|(known, _)| known == topic) => text(ctx, topic),
        path => of_command(path)?,
    };
    if ctx.ui.json() {
        ctx.ui.value(&HelpView { about: words.join(" "), text });
    } else {
        ctx.ui.bytes(text.as_bytes());
    }
    Ok(exit::OK)
}

fn of_command(path: &[&str]) -> Result<String, Failure> {
    let mut at = command();
    at.build();
    for word in path {
        let names: Vec<String> = at.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        let Some(next) = at.find_subcommand(word) else {
            let topics = TOPICS.iter().map(|(topic, _)| *topic);
            let failure =
                Failure::new(ErrorKind::Usage, format!("there is no command and no topic `{}`", path.join(" ")));
            let near = near(word, names.iter().map(String::as_str).chain(topics));
            return Err(match near.first() {
                Some(near) => failure.hint(format!("agentctl help {near}")),
                None => failure.hint("agentctl help"),
            });
        };
        at = next.clone();
    }
    Ok(at.render_long_help().to_string())
}

fn text(ctx: &Context, topic: &str) -> String {
    match topic {
        "exit-codes" => exit_codes(),
        "states" => states(project(ctx).as_ref().unwrap_or(&Workflow::shipped())),
        "filters" => FILTERS.into(),
        "files" => FILES.into(),
        "environment" => ENVIRONMENT.into(),
        "queue" => QUEUE.into(),
        "leases" => LEASES.into(),
        "locks" => LOCKS.into(),
        "roles" => ROLES.into(),
        "agents" => AGENTS.into(),
        "config" => CONFIG.into(),
        _ => SECURITY.into(),
    }
}

fn project(ctx: &Context) -> Option<Workflow> {
    ctx.project.find_layout().ok().flatten().map(|_| ctx.workflow().clone())
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes of agentctl:\n");
    for (code, meaning) in exit::ALL {
        writeln!(text, "  {code:>3}  {meaning}").expect("a string takes it");
    }
    text.push_str(
        "\nExit codes of agent-daemon (sysexits; systemd does not start it again after 64, 65, 69, 77, 78):\n",
    );
    for (code, meaning) in sysexit::ALL {
        writeln!(text, "  {code:>3}  {meaning}").expect("a string takes it");
    }
    text.push_str("\nWith --json a failure is one object on standard error: {\"schema\", \"error\": {\"code\", \"message\", \"hint\", \"retryable\"}}\n");
    text
}

fn states(workflow: &Workflow) -> String {
    let mut text = String::from("A role takes a task in one status, works on it in another, and sends it on:\n\n");
    let row = |text: &mut String, words: [&str; 5]| {
        let [role, takes, works, done, failed] = words;
        writeln!(text, "  {role:<12} {takes:<22} {works:<14} {done:<22} {failed}").expect("a string takes it");
    };
    row(&mut text, ["ROLE", "TAKES", "WORKS AS", "DONE →", "FAILED FOR GOOD →"]);
    for rule in workflow.rules() {
        let done = match &rule.done_with_children {
            Some(with) => format!("{} ({with})", rule.done),
            None => rule.done.to_string(),
        };
        row(&mut text, [rule.role.as_str(), rule.takes.as_str(), rule.works.as_str(), &done, rule.failed.as_str()]);
    }
    text.push_str(
        "\nAlso: blocked (waits for its dependencies or a human's word), needs_manual (a human must act),\n\
         failed, cancelled, done. Unknown words are kept and never claimed.\n\n\
         In brackets: where a task goes that has children; it moves on when they are all done or cancelled.\n\n\
         You move tasks with: agentctl task move ID STATUS (back, aside, or past planning; --force for more),\n\
         retry, cancel, block, unblock, done. Only a claim moves a task into a working status.\n\n\
         `status` and `ls` show, computed and never stored: running, stale (looks as if somebody worked on it\n\
         and nobody does), needs_you, failed, retry (waits for its time), waiting, cancelled, done.\n",
    );
    let statuses: Vec<String> = workflow.statuses().iter().map(Status::to_string).collect();
    writeln!(text, "\nAll statuses here: {}", statuses.join(", ")).expect("a string takes it");
    text
}

const FILTERS: &str = "\
agentctl ls takes terms that all must hold:

  role:builder,tester   what one of these roles has to do now
  status:ready          in one of these statuses
  is:running            running, stale, needs_you, failed, retry, waiting, cancelled, done,
                        blocked, open (neither done nor cancelled), sim (simulated), nested (a subtask)
  prio:<2               also prio:2, prio:<=2, prio:>2, prio:>=2
  -is:stale             not that; a minus works before every term with a colon
  words                 in the id or the title, in any case

Example: agentctl ls role:builder -is:blocked parser
";

const FILES: &str = "\
Below the project's root:

  .oodatcaa/work/SPRINT_QUEUE.json   the queue: the truth about tasks; you may edit it at any time
  .oodatcaa/work/events.jsonl        the journal: one CloudEvents object a line
  .oodatcaa/config.toml              configuration, shared; config.local.toml for this checkout only
  .oodatcaa/prompts/ROLE.md          the prompt of a role
  .oodatcaa/runs/TASK/TOKEN/         an attempt: prompt.md stdout.log stderr.log result.json attempt.json
                                     exit.json gate-NAME.log
  .leases/TASK.json                  who works on a task
  .locks/                            lock files; never remove one while a worker runs
  .agent-daemon-logs/ROLE.log        a worker's log   } when the fleet runs
  .agent-daemon-pids/ROLE.pid        a worker's pid   } without systemd
  .agent-daemon-run/                 runtime state

Outside of it, below ~/.local/state/oodatcaa/NAME-HASH/ (`workspace.root`): wt/TASK is the worktree of a task,
tasks/TASK.json what is remembered of it, aside/ what stood in the way. In the repository: the branches of
tasks, refs/oodatcaa/wip/PROJECT/TASK/TOKEN (work that was not committed),
refs/oodatcaa/start/PROJECT/TASK/TOKEN.

Yours: ~/.config/oodatcaa/config.toml (all projects), ~/.local/state/oodatcaa/projects/ID/ (what you
allowed a project, and the homes of its agents' programs; ID goes along with a rename and not with a copy).
";

const ENVIRONMENT: &str = "\
Read by agentctl and agent-daemon:

  OODATCAA_PROJECT         the project's directory, as -C
  OODATCAA_TRUST_PROJECT   1 trusts the project's files for this process (CI)
  OODATCAA_ASCII           set: no other characters than ASCII in our own words
  OODATCAA_AGENT …         every key of [fleet] and [retry] in capitals: OODATCAA_INTERVAL=5s,
                           OODATCAA_DRAIN, OODATCAA_GRACE, OODATCAA_LOCK_WAIT, OODATCAA_ATTEMPTS, …
  NO_COLOR CLICOLOR CLICOLOR_FORCE TERM COLUMNS LANG LC_ALL LC_CTYPE
  XDG_CONFIG_HOME XDG_STATE_HOME HOME USER

Given to agents, besides what their configuration names:

  OODATCAA_TASK_ID OODATCAA_ROLE OODATCAA_ATTEMPT OODATCAA_OWNER OODATCAA_PROJECT OODATCAA_WORKSPACE
  OODATCAA_RUN_DIR OODATCAA_RESULT_FILE OODATCAA_BRANCH
  OODATCAA_PORT_BASE OODATCAA_PORTS   the first of the task's own ports, and how many (in a worktree)

What an agent starts is no human to agentctl, with or without these: it may look, add and hold back, not decide.
";

const QUEUE: &str = "\
The queue file .oodatcaa/work/SPRINT_QUEUE.json is the truth about tasks. Edit it with anything, at any
time, also while workers run: only the members that we set are changed, every other byte stays.

When it cannot be read (no JSON, conflict markers, a wrong shape, an id twice), nothing is claimed and
nothing is written over it; attempts that run go on, and claiming goes on by itself once it can be read.

  agentctl queue validate          what is wrong, with line and column
  agentctl queue schema            its JSON Schema
  agentctl queue repair --dry-run  what can be mended without guessing

When an old file is put back (git checkout, a backup), claiming stops until you have looked and said so:
agentctl queue repair.
";

const LEASES: &str = "\
A lease is the right to work on one task. It has a token greater than every one before it; what an owner
with an older token still says is kept and never counts.

  live   its worker is alive and renews it
  dead   its worker is gone: the next worker that looks gives the task back, within seconds
  lost   its worker lives but has been silent for the lease's whole time: it is taken over

  agentctl lease list
  agentctl run stop TASK --reason \"…\"      end an attempt; the task is blocked until: agentctl task unblock TASK
  agentctl lease release TASK              give back what nobody stands behind; --force insists
";

const LOCKS: &str = "\
Every change of queue, leases and journal happens under .locks/queue.lock, for milliseconds. A worker holds
.locks/TASK.lock for as long as it works on the task; the system lets go of it when the worker dies, however
it dies. Reading commands take no lock at all.

Editors and jq do not take our lock and need not: before we write we look whether the file is still what we
read, and decide again if it is not.

A lock that stays held is told with its holder by: agentctl doctor
";

const ROLES: &str = "\
A role is a kind of work: the status that it takes, the one it works in, where it sends tasks, its prompt, its
agent, its limits. Five ship: planner, builder, tester, refiner, integrator (agentctl help states).

Your own: a table [roles.NAME] with takes, works, done and failed in .oodatcaa/config.toml, a prompt
.oodatcaa/prompts/NAME.md, and a limit in `wip_limits` of the queue file (1 when missing). Then:
agentctl fleet start NAME
";

const AGENTS: &str = "\
An agent is the program that does the work of an attempt: any command, described by [agents.NAME] with its
argv. `agent = \"NAME\"` in [fleet] names it for all roles, in [roles.ROLE] for one.

There is no fallback: without an agent a worker does not start, and a missing program is told as missing.
The simulated agent `sim` calls no model; it works only where it is named, and what it did says so.
";

const CONFIG: &str = "\
Layers, later ones win, key by key:

  built in
  ~/.config/oodatcaa/config.toml    yours
  .oodatcaa/config.toml             the project's
  .oodatcaa/config.local.toml       this checkout's
  OODATCAA_*                        environment
  flags

agentctl config show --origin tells for every value where it comes from.
";

const SECURITY: &str = "\
What comes with a project (its configuration, adapters, prompts, `wip_limits`) only counts where it makes
something tighter, until you have looked at it: agentctl config trust. What changes asks again.

What agents start may look, add and hold back. Approvals, trust, repairs and releases are for people, and an
approval is for one commit.

Agents get a short list of variables and those that you name, nothing else of your environment. Programs are
executed by argv, never by a shell line. Titles, descriptions and output of agents are hostile text: control
characters are made visible on a terminal (agentctl logs --raw shows bytes as they are).

Nothing here opens a network port.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::{Settings, Ui};

    #[test]
    fn every_topic_says_something() {
        let ctx = Context::new(Ui::new(Settings::default()), Some("/nowhere".into()));
        for (topic, _) in TOPICS {
            assert!(text(&ctx, topic).lines().count() > 3, "{topic}");
        }
        assert!(text(&ctx, "states").contains("builder      ready                  in_progress    awaiting_test"));
    }

    #[test]
    fn a_commands_help_is_found_by_its_path() {
        assert!(of_command(&["task", "add"]).expect("there").contains("--accept"));
        let failure = of_command(&["task", "ad"]).expect_err("not there");
        assert_eq!(failure.hints, ["agentctl help add"]);
        assert_eq!(of_command(&["exit-code"]).expect_err("not there").hints, ["agentctl help exit-codes"]);
    }

    #[test]
    fn lines_fit_a_terminal() {
        for text in [FILTERS, FILES, ENVIRONMENT, QUEUE, LEASES, LOCKS, ROLES, AGENTS, CONFIG, SECURITY] {
            assert!(text.lines().all(|line| line.chars().count() <= 112), "{text}");
        }
    }

    #[test]
    fn every_command_stands_in_exactly_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let tree = command();
        let mut all: Vec<&str> = tree.get_subcommands().map(clap::Command::get_name).collect();
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped, all);
        let help = super::grouped().render_long_help().to_string();
        assert!(all.iter().all(|name| help.matches(&format!("\n  {name} ")).count() == 1), "{help}");
    }

    #[test]
    fn every_example_parses_and_stands_in_its_verbs_help() {
        for (path, examples) in EXAMPLES {
            for example in *examples {
                let words = shell_words(example);
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
                let help = of_command(&path.split(' ').collect::<Vec<_>>()).unwrap();
                assert!(help.contains(example), "{help}");
            }
        }
    }

    /// Words as a shell splits these lines: at spaces, but for what stands in quotes; a minus before a term as `main` reads it.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in line.split('\'').enumerate() {
            match at % 2 {
                1 => words.push(part.to_owned()),
                _ => words.extend(
                    part.split_whitespace().map(|word| crate::cli::filter::unminused(word).unwrap_or(word.into())),
                ),
            }
        }
        words
    }
}
