//! `agentctl help`: a command's own help, or a topic that no command is about.

use std::cell::LazyCell;

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
pub(super) struct Args {
    /// A command (`task add`) or a topic
    words: Vec<String>,
}

/// The topics: what each is about, and its text. In braces stands what our own tables say.
const TOPICS: &[(&str, &str, &str)] = &[
    ("exit-codes", "what the exit codes of agentctl and agent-daemon mean", include_str!("help/exit-codes.txt")),
    ("states", "the statuses of a task, who takes them, who moves them", include_str!("help/states.txt")),
    ("filters", "what `ls` understands", include_str!("help/filters.txt")),
    ("files", "where everything is kept", include_str!("help/files.txt")),
    ("environment", "variables that are read, and those that agents get", include_str!("help/environment.txt")),
    ("queue", "the queue file, and what happens when it cannot be read", include_str!("help/queue.txt")),
    ("leases", "who works on what, and what happens when a worker dies", include_str!("help/leases.txt")),
    ("locks", "who may write when", include_str!("help/locks.txt")),
    ("roles", "the kinds of work and how to add one", include_str!("help/roles.txt")),
    ("agents", "which program does the work", include_str!("help/agents.txt")),
    ("config", "layers of configuration", include_str!("help/config.txt")),
    ("sprint", "how a sprint stands, ends, and the next begins", include_str!("help/sprint.txt")),
    ("sandbox", "what agents and gates can do, and what keeps them from more", include_str!("help/sandbox.txt")),
    ("security", "trust, secrets, hostile text", include_str!("help/security.txt")),
];

/// The commands in groups, the daily ones first; a test sees that none is missing.
const GROUPS: &[(&str, &[&str])] = &[
    ("Start", &["init", "demo", "doctor"]),
    ("Look", &["status", "top", "report", "stats", "ls", "show", "why", "logs", "events"]),
    ("Decide", &["inbox", "approve", "reject", "answer"]),
    ("Work", &["add", "task", "run", "msg", "sprint", "lease", "worktree", "gc"]),
    ("Workers", &["fleet", "role", "schedule", "handoff", "agent", "sandbox"]),
    ("Files", &["queue", "config"]),
    ("About", &["completions", "man", "version", "help"]),
];

/// Commands as they are typed, below the verb that they are an example of; a test sees that each parses.
const EXAMPLES: &str = include_str!("help/examples.txt");

/// Returns the verbs that have examples, each with its lines.
fn examples() -> impl Iterator<Item = (Vec<&'static str>, &'static str)> {
    EXAMPLES
        .split("\n\n")
        .filter_map(|verb| verb.split_once('\n'))
        .map(|(path, lines)| (path.split(' ').collect(), lines.trim_end()))
}

/// Adds examples below the help of each verb that has some.
pub(super) fn with_examples(tree: clap::Command) -> clap::Command {
    examples().fold(tree, |tree, (path, lines)| below(tree, &path, &format!("Examples:\n{lines}")))
}

fn below(tree: clap::Command, path: &[&str], text: &str) -> clap::Command {
    match path {
        [] => tree.after_help(text.to_owned()),
        [name, rest @ ..] => tree.mut_subcommand(*name, |sub| below(sub, rest, text)),
    }
}

/// Returns the tree whose own help shows the commands in groups.
pub(super) fn grouped() -> clap::Command {
    let tree = command();
    let about = |name: &str| {
        let found = tree.find_subcommand(name).and_then(clap::Command::get_about);
        found.map(ToString::to_string).unwrap_or_default()
    };
    let mut groups = String::new();
    for (group, names) in GROUPS {
        groups += &Tone::Strong.paint(&format!("{group}:"));
        names.iter().for_each(|name| groups += &format!("\n  {name:<12} {}", about(name)));
        groups += "\n\n";
    }
    let template =
        format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{all-args}}{{after-help}}\n");
    // Hidden in the list that clap would make; they work and complete as before.
    let hidden = tree.clone().mut_subcommands(|sub| sub.hide(true));
    hidden.help_template(template).override_usage("agentctl [OPTIONS] [COMMAND]")
}

/// Prints help.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let text = match words.as_slice() {
        [] => {
            let topics = TOPICS.iter().map(|(topic, about, _)| format!("  {topic:<12} {about}\n"));
            format!("{}\nTopics (agentctl help TOPIC):\n{}", grouped().render_long_help(), topics.collect::<String>())
        }
        [topic] if let Some((_, _, words)) = TOPICS.iter().find(|(known, ..)| known == topic) => filled(ctx, words),
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
            let topics = TOPICS.iter().map(|(topic, ..)| *topic);
            let failure = Failure::new(ErrorKind::Usage, format!("there is no command or topic `{}`", path.join(" ")));
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

/// Fills in what a topic's text leaves to our own tables.
fn filled(ctx: &Context, words: &str) -> String {
    let codes = |all: &[(u8, &str)]| all.iter().map(|(code, meaning)| format!("  {code:>3}  {meaning}\n")).collect();
    let project = || ctx.project.find_layout().ok().flatten().map(|_| ctx.workflow().clone());
    let workflow = LazyCell::new(|| project().unwrap_or_else(Workflow::shipped));
    let tables: [(&str, &dyn Fn() -> String); 4] = [
        ("{agentctl}", &|| codes(exit::ALL)),
        ("{agent-daemon}", &|| codes(sysexit::ALL)),
        ("{roles}", &|| roles(&workflow)),
        ("{statuses}", &|| workflow.statuses().iter().map(Status::as_str).collect::<Vec<_>>().join(", ")),
    ];
    tables.iter().fold(words.into(), |text: String, (name, table)| match text.contains(name) {
        true => text.replace(name, &table()),
        false => text,
    })
}

/// Shows what each role takes and where it sends it.
fn roles(workflow: &Workflow) -> String {
    let row = |[role, takes, works, done, failed]: [&str; 5]| {
        format!("  {role:<12} {takes:<22} {works:<14} {done:<22} {failed}\n")
    };
    let mut text = row(["ROLE", "TAKES", "WORKS AS", "DONE →", "FAILED FOR GOOD →"]);
    for rule in workflow.rules() {
        let done = match &rule.done_with_children {
            Some(with) => format!("{} ({with})", rule.done),
            None => rule.done.to_string(),
        };
        text += &row([rule.role.as_str(), rule.takes.as_str(), rule.works.as_str(), &done, rule.failed.as_str()]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::{Settings, Ui};

    #[test]
    fn every_topic_says_something() {
        let ctx = Context::new(Ui::new(Settings::default()), Some("/nowhere".into()));
        for (topic, _, words) in TOPICS {
            assert!(filled(&ctx, words).lines().count() > 3, "{topic}");
        }
        let of = |topic| filled(&ctx, TOPICS.iter().find(|(known, ..)| *known == topic).expect("there").2);
        assert!(of("states").contains("builder      ready                  in_progress    awaiting_test"));
        assert!(!of("states").contains('{') && of("exit-codes").contains("\n   78  "));
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
        for (_, _, text) in TOPICS {
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
        for (path, lines) in examples() {
            for example in lines.lines().map(str::trim) {
                let words = shell_words(example);
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
                let help = of_command(&path).unwrap();
                assert!(help.contains(example), "{help}");
            }
        }
        assert_eq!(EXAMPLES.matches("  agentctl").count(), examples().flat_map(|(_, lines)| lines.lines()).count());
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
