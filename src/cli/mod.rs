//! `agentctl`: the tree of its commands and the one line that runs each.
//!
//! A command reads or decides in its own module, prints through [`ui`], and answers with an exit
//! code or a [`Failure`]. Reading commands never take a lock.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::{
    context::Context,
    fail::Done,
    ui::{Settings, Ui},
};
use oodatcaa_config::{World, trust};
use oodatcaa_ops::{ErrorKind, Failure, sandbox::tries};
use oodatcaa_process::caller;
use oodatcaa_sys::descriptors;

mod agent;
mod cells;
mod change;
mod config;
mod context;
mod demo;
mod diff;
mod doctor;
mod edit;
mod events;
mod fail;
mod filter;
mod fleet;
mod gate;
mod gc;
mod help;
mod inbox;
mod init;
mod lease;
mod list;
mod logs;
mod msg;
mod pool;
mod queue;
mod report;
mod role;
mod run;
mod sandbox;
mod schedule;
mod shell;
mod show;
mod since;
mod sprint;
mod stats;
mod status;
mod task;
mod top;
mod ui;
mod worktree;

/// Operates a fleet of coding agents that works through a queue file.
#[derive(Debug, Parser)]
#[command(name = "agentctl", version, disable_help_subcommand = true, propagate_version = false)]
#[command(
    after_help = "Without a command: `status` inside a project, else this help.\nTopics: agentctl help exit-codes|states|filters|files|environment|…"
)]
struct Cli {
    /// The project's directory [default: the one around the working directory]
    #[arg(short = 'C', long, global = true, value_name = "DIR", env = "OODATCAA_PROJECT", help_heading = "Everywhere")]
    project: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Declares the commands and runs the one that was given.
macro_rules! commands {
    ($($(#[$about:meta])* $name:ident($args:ty) => $run:path;)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$about])* $name($args),)*
        }

        fn dispatch(ctx: &Context, command: Command) -> Done {
            match command {
                $(Command::$name(args) => $run(ctx, &args),)*
            }
        }
    };
}

commands! {
    /// Set a project up: look at it, show what would be written, ask, write
    Init(init::InitArgs) => init::run;
    /// Watch five workers do a sprint of six tasks, all of it simulated
    Demo(demo::Args) => demo::run;
    /// What is wrong here, and what to run against it
    Doctor(doctor::DoctorArgs) => doctor::run;
    /// Who works on what, what waits, and what needs you
    #[command(visible_alias = "st")]
    Status(status::Args) => status::run;
    /// What happened overnight, worst first
    Report(report::Args) => report::run;
    /// How much was done, how long it took and waited, what it cost
    Stats(stats::Args) => stats::run;
    /// The fleet on one screen, with what you may do about it
    Top(top::Args) => top::run;
    /// List tasks, each with why it stands where it stands
    Ls(list::Args) => list::run;
    /// Everything about one task
    Show(show::Args) => show::show;
    /// Why a task does not move
    Why(show::Args) => show::why;
    /// What waits for you, and what to run
    Inbox(inbox::List) => inbox::list;
    /// Say yes to what waits for you
    Approve(inbox::Approve) => inbox::approve;
    /// Say no, and why
    #[command(alias = "deny")]
    Reject(inbox::Reject) => inbox::reject;
    /// Answer an agent's question
    Answer(inbox::Answer) => inbox::answer;
    /// Add a task
    Add(Box<task::Add>) => task::add;
    /// Change tasks
    #[command(subcommand)]
    Task(Box<task::Verb>) => task::run;
    /// Start, stop and show the workers
    Fleet(fleet::Args) => fleet::run;
    /// Messages between roles and people: list, send, read, take back
    #[command(subcommand)]
    Msg(msg::Verb) => msg::run;
    /// What an attempt's agent wrote
    Logs(logs::Args) => logs::run;
    /// Attempts: list, show, stop
    #[command(subcommand)]
    Run(run::Verb) => run::run;
    /// List leases: who holds which task, and giving it back
    #[command(subcommand)]
    Lease(lease::Verb) => lease::run;
    /// Where tasks are worked on: list, open, remove
    #[command(subcommand)]
    Worktree(worktree::Verb) => worktree::run;
    /// Make room: worktrees, runs and saved work of finished tasks
    Gc(gc::Args) => gc::run;
    /// Check and mend the queue file
    #[command(subcommand)]
    Queue(queue::Verb) => queue::run;
    /// The sprint: how it stands, complete it, begin the next, rotate its logs
    #[command(subcommand)]
    Sprint(sprint::Verb) => sprint::run;
    /// The journal
    #[command(subcommand)]
    Events(events::Verb) => events::run;
    /// The agent programs: which are there, what describes them, do they keep it
    #[command(subcommand)]
    Agent(agent::Verb) => agent::run;
    /// What comes at a time: which schedules there are, when they come, pause one
    #[command(subcommand)]
    Schedule(schedule::Verb) => schedule::run;
    /// What follows on what happens: which hand-offs there are, and what they did
    #[command(subcommand)]
    Handoff(schedule::Handoffs) => schedule::handoffs;
    /// The roles: which there are, what one is, and a new one
    #[command(subcommand)]
    Role(role::Verb) => role::run;
    /// What agents and gates can do: show it, explain a path, run something in it, try it
    #[command(subcommand)]
    Sandbox(sandbox::Verb) => sandbox::run;
    /// What is configured, where from, and whether its commands may run
    #[command(subcommand)]
    Config(config::Verb) => config::run;
    /// Print a completion script for a shell
    Completions(shell::Completions) => shell::completions;
    /// Print the manual page, or write all of them to a directory
    Man(shell::Man) => shell::man;
    /// Print the version
    Version(shell::Version) => shell::version;
    /// A command's help, or a topic: exit-codes, states, files, environment, …
    Help(help::Args) => help::run;
}

/// Every command with its verbs: those that look or only hold something back, which anybody may give, and those that
/// could loosen, release or decide something. The latter, some only with a flag, are for people: not for what an agent
/// started, however it got there.
const COMMANDS: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &[
            "demo",
            "status",
            "report",
            "stats",
            "ls",
            "show",
            "why",
            "inbox",
            "add",
            "logs",
            "version",
            "completions",
            "man",
            "help",
        ],
        &["init", "doctor --fix", "top", "approve", "reject", "answer", "gc"],
    ),
    (
        "task",
        &["add", "list", "show", "why", "prio", "dep add", "cancel", "block"],
        &["move --force", "edit", "dep rm", "retry", "unblock", "done"],
    ),
    // A paused role goes on by a person's word only, and what stops others is no agent's business.
    (
        "fleet",
        &["status"],
        &["start", "stop", "restart", "run", "scale", "pause", "resume", "drain", "install", "uninstall"],
    ),
    // What an agent sends, its worker sends for it.
    ("msg", &["list", "status", "send"], &["read", "recall"]),
    ("run", &["list", "show", "diff"], &["stop"]),
    // An agent's own task is held for it: what it may not take says so itself.
    ("lease", &["list", "acquire", "beat"], &["release", "lock", "unlock"]),
    ("worktree", &["list", "path", "open"], &["prune", "rm"]),
    ("queue", &["validate", "schema"], &["repair"]),
    ("sprint", &["report"], &["status --write", "new", "complete", "close", "plan --add", "rotate", "render"]),
    ("events", &["tail"], &[]),
    ("agent", &["list", "show", "test"], &["reopen"]),
    ("role", &["list", "show"], &["add"]),
    ("schedule", &["list", "next"], &["run", "pause", "resume"]),
    ("handoff", &["list"], &[]),
    ("sandbox", &["show", "explain", "run", "probe"], &["apparmor --install"]),
    ("config", &["show"], &["trust"]),
];

/// Refuses a command that is for people where an agent, or something that it started, gave it.
fn admit(matches: &clap::ArgMatches) -> Result<(), Failure> {
    let (mut words, mut at) = (Vec::new(), matches);
    while let Some((name, below)) = at.subcommand() {
        words.push(name);
        at = below;
    }
    let name = words.join(" ");
    let (command, verb) = name.split_once(' ').unwrap_or(("", &name));
    let without_flag =
        |known: &&str| known.split_once(" --").is_some_and(|(known, flag)| known == verb && !at.get_flag(flag));
    let of_command = COMMANDS.iter().find(|(known, ..)| *known == command);
    let anybody =
        of_command.is_some_and(|(_, anybody, people)| anybody.contains(&verb) || people.iter().any(without_flag));
    // Without a command the status is shown. A command that has not decided is for people.
    let people = !name.is_empty() && !anybody;
    match caller::attempt().filter(|_| people) {
        None => Ok(()),
        Some(why) => {
            let message = format!("only a human may decide, and this runs inside an agent's attempt: {why}");
            Err(Failure::new(ErrorKind::Refused, message).hint("do it from a terminal of your own").see("security"))
        }
    }
}

/// Runs a command line and answers with its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    descriptors::keep_to_ourselves();
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|mode| mode == tries::MODE) {
        return tries::main(args.get(2).map(AsRef::as_ref));
    }
    if std::env::var_os(trust::TRUST_ALL).is_some() && caller::attempt().is_some() {
        World::is_within_an_attempt();
    }
    if shell::complete(&args) {
        return ExitCode::SUCCESS;
    }
    let args: Vec<OsString> = args
        .into_iter()
        .map(|arg| match arg.to_str().and_then(filter::unminused) {
            Some(term) => term.into(),
            None => arg,
        })
        .collect();
    let (cli, admitted) = match parse(&args) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    listen(cli.settings.verbose);
    let ctx = Context::new(Ui::new(cli.settings), cli.project);
    let done = admitted.and_then(|()| match cli.command {
        Some(command) => dispatch(&ctx, command),
        None => bare(&ctx),
    });
    let done = done.and_then(|code| ctx.ui.finish().map(|()| code));
    ExitCode::from(done.unwrap_or_else(|failure| {
        ctx.ui.fail(&failure);
        failure.kind.exit()
    }))
}

/// Answers a line without a command: shows how the fleet stands, or help; never starts anything.
fn bare(ctx: &Context) -> Done {
    if (ctx.ui.terminal() || ctx.ui.json()) && ctx.project.find_layout()?.is_some() {
        return status::run(ctx, &status::Args::default());
    }
    help::run(ctx, &help::Args::default())
}

/// Returns the tree of commands, for help, completions and man pages.
pub fn command() -> clap::Command {
    help::with_examples(Cli::command())
}

/// Parses the command line, and tells whether its command may be given here.
fn parse(args: &[OsString]) -> Result<(Cli, Result<(), Failure>), ExitCode> {
    let words: Vec<&str> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    let color = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--color") {
        Some("") => words.get(at + 1).copied(),
        Some(value) => value.strip_prefix('='),
        None => None,
    });
    let parsed = help::grouped()
        .color(color.and_then(|color| color.parse().ok()).unwrap_or_default())
        .try_get_matches_from(args)
        .and_then(|found| Cli::from_arg_matches(&found).map(|cli| (cli, admit(&found))));
    parsed.map_err(|error| {
        let told = matches!(error.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
        if told || !words.contains(&"--json") {
            if told {
                // Whoever closed the stream does not want to know.
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // It repeats words of the command line, which may paint over a terminal.
            let ui = Ui::new(Settings::default());
            error.render().ansi().to_string().trim_end().lines().for_each(|line| ui.say(line));
            return ExitCode::from(fail::exit::USAGE);
        }
        let text = error.render().to_string();
        // Up to the first empty line it says what is wrong, the names of what is missing among it.
        let words: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let words = words.join(" ");
        let failure = Failure::new(ErrorKind::Usage, words.trim_start_matches("error: ")).hint("agentctl --help");
        Ui::new(Settings { json: true, ..Settings::default() }).fail(&failure);
        ExitCode::from(failure.kind.exit())
    })
}

/// Sends what the crates below log to standard error, where it was asked for.
fn listen(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Error,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    // A second logger in one process is refused; the first one serves.
    let _ = env_logger::Builder::new().filter_level(level).format_timestamp(None).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_whom_it_is_for_and_no_other_is_named() {
        fn walk(command: &clap::Command, path: &str, into: &mut Vec<(String, clap::Command)>) {
            for below in command.get_subcommands() {
                let path = format!("{path} {}", below.get_name());
                match below.has_subcommands() {
                    true => walk(below, &path, into),
                    false => into.push((path.trim().to_owned(), below.clone())),
                }
            }
        }
        let mut all = Vec::new();
        walk(&command(), "", &mut all);
        let said: Vec<(String, &str)> = COMMANDS
            .iter()
            .flat_map(|(command, anybody, people)| anybody.iter().chain(*people).map(move |verb| (command, verb)))
            .map(|(command, verb)| (command, verb.split_once(" --").unwrap_or((verb, ""))))
            .map(|(command, (verb, flag))| (format!("{command} {verb}").trim().to_owned(), flag))
            .collect();
        for (path, leaf) in &all {
            let (_, flag) =
                said.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("{path} says nothing"));
            let has_flag = flag.is_empty() || leaf.get_arguments().any(|arg| arg.get_id() == flag);
            assert!(has_flag, "{path} has no --{flag}");
        }
        assert_eq!(said.len(), all.len());
    }
}
