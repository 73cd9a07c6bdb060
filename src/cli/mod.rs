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
use oodatcaa_ops::{ErrorKind, Failure, view::VersionView};
use oodatcaa_process::caller;
use oodatcaa_sys::descriptors;

pub mod agent;
mod cells;
pub mod change;
pub mod config;
pub mod context;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod edit;
pub mod events;
pub mod fail;
pub mod filter;
pub mod fleet;
mod gate;
pub mod gc;
pub mod help;
pub mod inbox;
pub mod init;
pub mod lease;
pub mod list;
pub mod logs;
pub mod pool;
pub mod queue;
pub mod run;
pub mod shell;
pub mod show;
pub mod status;
pub mod task;
pub mod ui;
pub mod worktree;

/// Operates a fleet of coding agents that works through a queue file.
#[derive(Debug, Parser)]
#[command(name = "agentctl", version, disable_help_subcommand = true, propagate_version = false)]
#[command(
    after_help = "Without a command: `status` inside a project, else this help.\nTopics: agentctl help exit-codes|states|filters|files|environment|…"
)]
pub struct Cli {
    /// The project's directory [default: the one around the working directory]
    #[arg(short = 'C', long, global = true, value_name = "DIR", env = "OODATCAA_PROJECT", help_heading = "Everywhere")]
    project: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set a project up: look at it, show what would be written, ask, write
    Init(init::InitArgs),
    /// Watch five workers do a sprint of six tasks, all of it simulated
    Demo(demo::Args),
    /// What is wrong here, and what to run against it
    Doctor(doctor::DoctorArgs),
    /// Who works on what, what waits, and what needs you
    #[command(visible_alias = "st")]
    Status(status::Args),
    /// List tasks, each with why it stands where it stands
    Ls(list::Args),
    /// Everything about one task
    Show(show::Args),
    /// Why a task does not move
    Why(show::Args),
    /// What waits for you, and what to run
    Inbox(inbox::List),
    /// Say yes to what waits for you
    Approve(inbox::Approve),
    /// Say no, and why
    #[command(alias = "deny")]
    Reject(inbox::Reject),
    /// Answer an agent's question
    Answer(inbox::Answer),
    /// Add a task
    Add(Box<task::Add>),
    /// Change tasks
    #[command(subcommand)]
    Task(Box<task::Verb>),
    /// Start, stop and show the workers
    Fleet(fleet::Args),
    /// What an attempt's agent wrote
    Logs(logs::Args),
    /// Attempts: list, show, stop
    #[command(subcommand)]
    Run(run::Verb),
    /// Who holds what, and giving it back
    #[command(subcommand)]
    Lease(lease::Verb),
    /// Where tasks are worked on: list, open, remove
    #[command(subcommand)]
    Worktree(worktree::Verb),
    /// Make room: worktrees, runs and saved work of finished tasks
    Gc(gc::Args),
    /// Check and mend the queue file
    #[command(subcommand)]
    Queue(queue::Verb),
    /// The journal
    #[command(subcommand)]
    Events(events::Verb),
    /// The agent programs: which are there, what describes them, do they keep it
    #[command(subcommand)]
    Agent(agent::Verb),
    /// What is configured, where from, and whether its commands may run
    Config(config::ConfigArgs),
    /// Print a completion script for a shell
    Completions(shell::Completions),
    /// Print the manual page, or write all of them to a directory
    Man(shell::Man),
    /// Print the version
    Version,
    /// A command's help, or a topic: exit-codes, states, files, environment, …
    Help(help::Args),
}

/// Who may give a command. Whatever could loosen, release or decide something is for people: not for what an agent
/// started, however it got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Anybody: it looks, or it only holds something back.
    Anybody,
    /// A person.
    People,
    /// A person, where this flag is given.
    PeopleWith(&'static str),
}

/// Every command, and whom it is for.
const COMMANDS: &[(&str, For)] = &[
    ("init", For::People),
    ("demo", For::Anybody),
    ("doctor", For::PeopleWith("fix")),
    ("status", For::Anybody),
    ("ls", For::Anybody),
    ("show", For::Anybody),
    ("why", For::Anybody),
    ("inbox", For::Anybody),
    ("approve", For::People),
    ("reject", For::People),
    ("answer", For::People),
    ("add", For::Anybody),
    ("task add", For::Anybody),
    ("task list", For::Anybody),
    ("task show", For::Anybody),
    ("task why", For::Anybody),
    ("task move", For::PeopleWith("force")),
    ("task edit", For::People),
    ("task prio", For::Anybody),
    ("task dep add", For::Anybody),
    ("task dep rm", For::People),
    ("task retry", For::People),
    ("task cancel", For::Anybody),
    ("task block", For::Anybody),
    ("task unblock", For::People),
    ("task done", For::People),
    // A paused role goes on by a person's word only; who starts the workers does not matter.
    ("fleet start", For::Anybody),
    ("fleet stop", For::Anybody),
    ("fleet restart", For::Anybody),
    ("fleet status", For::Anybody),
    ("fleet install", For::People),
    ("fleet uninstall", For::People),
    ("logs", For::Anybody),
    ("run list", For::Anybody),
    ("run show", For::Anybody),
    ("run diff", For::Anybody),
    ("run stop", For::Anybody),
    ("lease list", For::Anybody),
    ("lease release", For::People),
    ("worktree list", For::Anybody),
    ("worktree path", For::Anybody),
    ("worktree open", For::Anybody),
    ("worktree prune", For::People),
    ("worktree rm", For::People),
    ("gc", For::People),
    ("queue validate", For::Anybody),
    ("queue repair", For::People),
    ("queue schema", For::Anybody),
    ("events tail", For::Anybody),
    ("agent list", For::Anybody),
    ("agent show", For::Anybody),
    ("agent test", For::Anybody),
    ("agent reopen", For::People),
    ("config show", For::Anybody),
    ("config trust", For::People),
    ("version", For::Anybody),
    ("completions", For::Anybody),
    ("man", For::Anybody),
    ("help", For::Anybody),
];

/// Refuses a command that is for people where an agent, or something that it started, gave it.
fn admit(matches: &clap::ArgMatches) -> Result<(), Failure> {
    let (mut words, mut at) = (Vec::new(), matches);
    while let Some((name, below)) = at.subcommand() {
        words.push(name);
        at = below;
    }
    let name = words.join(" ");
    let whom = COMMANDS.iter().find(|(known, _)| *known == name).map(|(_, whom)| *whom);
    let people = match whom {
        Some(For::Anybody) => false,
        Some(For::PeopleWith(flag)) => at.get_flag(flag),
        Some(For::People) => true,
        // Without a command the status is shown. A command that has not decided is for people.
        None => !name.is_empty(),
    };
    match caller::attempt().filter(|_| people) {
        None => Ok(()),
        Some(why) => {
            let message = format!("only a human decides, and this was called from within an agent's attempt: {why}");
            Err(Failure::new(ErrorKind::PermissionDenied, message)
                .hint("say it from a terminal of your own")
                .see("security"))
        }
    }
}

/// Prints the same words as `--version`.
fn version(ctx: &Context) -> Done {
    let version = env!("CARGO_PKG_VERSION");
    if ctx.ui.json() {
        ctx.ui.value(&VersionView { name: "agentctl", version });
    } else {
        ctx.ui.line(&format!("agentctl {version}"));
    }
    Ok(0)
}

fn dispatch(ctx: &Context, command: Command) -> Done {
    match command {
        Command::Init(args) => init::run(ctx, &args),
        Command::Demo(args) => demo::run(ctx, &args),
        Command::Doctor(args) => doctor::run(ctx, &args),
        Command::Status(args) => status::run(ctx, &args),
        Command::Ls(args) => list::run(ctx, &args),
        Command::Show(args) => show::show(ctx, &args),
        Command::Why(args) => show::why(ctx, &args),
        Command::Inbox(args) => inbox::list(ctx, &args),
        Command::Approve(args) => inbox::approve(ctx, &args),
        Command::Reject(args) => inbox::reject(ctx, &args),
        Command::Answer(args) => inbox::answer(ctx, &args),
        Command::Add(args) => task::add(ctx, &args),
        Command::Task(verb) => task::run(ctx, &verb),
        Command::Fleet(args) => fleet::run(ctx, &args),
        Command::Logs(args) => logs::run(ctx, &args),
        Command::Run(verb) => run::run(ctx, &verb),
        Command::Lease(verb) => lease::run(ctx, &verb),
        Command::Worktree(verb) => worktree::run(ctx, &verb),
        Command::Gc(args) => gc::run(ctx, &args),
        Command::Queue(verb) => queue::run(ctx, &verb),
        Command::Events(verb) => events::run(ctx, &verb),
        Command::Agent(verb) => agent::run(ctx, &verb),
        Command::Config(args) => config::run(ctx, &args),
        Command::Version => version(ctx),
        Command::Completions(args) => shell::completions(ctx, &args),
        Command::Man(args) => shell::man(ctx, &args),
        Command::Help(args) => help::run(ctx, &args),
    }
}

/// Runs a command line and answers with its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    descriptors::keep_to_ourselves();
    let args: Vec<OsString> = args.into_iter().collect();
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
        for (path, leaf) in &all {
            let whom =
                COMMANDS.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("{path} says nothing"));
            if let For::PeopleWith(flag) = whom.1 {
                assert!(leaf.get_arguments().any(|arg| arg.get_id() == flag), "{path} has no --{flag}");
            }
        }
        assert_eq!(COMMANDS.len(), all.len());
    }
}
