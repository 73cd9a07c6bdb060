//! `agentctl task …` and `agentctl add`: what a person does to tasks.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{
    change::{Dry, decide, decide_on, decide_on_by, each, tell},
    context::Context,
    edit,
    fail::{self, Done},
    list, show,
};
use oodatcaa_core::{
    Event, Snapshot, Status, TaskId, Workflow,
    event::Actor,
    manual::{self, Wanted},
    text::one_line,
};
use oodatcaa_git::restart::{self, Anew};
use oodatcaa_ops::{Changed, ErrorKind, Failure, view::ChangeView};
use oodatcaa_sys::files;

/// Verbs of `task`.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Add a task
    Add(Add),
    /// List tasks (the same as `ls`)
    List(list::Args),
    /// Everything about one task
    Show(show::Args),
    /// Why a task does not move
    Why(show::Args),
    /// Move a task to another status
    Move(Move),
    /// Try a task again from where it failed: attempts, waiting time and reason are forgotten
    Retry(Retry),
    /// Cancel a task
    Cancel(Cancel),
    /// Set a task aside until somebody unblocks it
    Block(Reasoned),
    /// Let a blocked task go on
    Unblock(Unblock),
    /// Say that a task is done, without its gates
    Done(Reasoned),
    /// Change what is said of a task: title, description, criteria, type, priority, gates
    Edit(edit::Edit),
    /// Change the priority of tasks
    Prio(edit::Prio),
    /// Change what a task waits for
    #[command(subcommand)]
    Dep(edit::Dep),
}

/// Flags of `add`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// One line that says what is wanted
    #[arg(required = true, value_name = "TITLE")]
    title: Vec<String>,
    /// What is to be done, in Markdown
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    description: Option<String>,
    /// Read the description from a file, or from standard input (`-`)
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What must be true afterwards; may be given again
    #[arg(long, value_name = "TEXT")]
    accept: Vec<String>,
    /// Another task that must be done before; may be given again
    #[arg(long = "dep", value_name = "ID", value_delimiter = ',')]
    dependencies: Vec<String>,
    /// The task that it is a part of
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// The type: Story, Build, Test, … [default: by its status]
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Small numbers first [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// The id [default: the next free one in the style of the file]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Start with planning (the default)
    #[arg(long, group = "start")]
    plan: bool,
    /// Start with building, without a plan
    #[arg(long, group = "start")]
    ready: bool,
    /// Start in this status
    #[arg(long, value_name = "STATUS", group = "start")]
    status: Option<String>,
    /// A configured gate that it must pass beside its role's; may be given again
    #[arg(long = "gate", value_name = "NAME")]
    gates: Vec<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `move`.
#[derive(Debug, clap::Args)]
pub struct Move {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Where it goes: agentctl help states
    status: String,
    /// Why, for the journal (needed for `blocked` and `done`)
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Also past work that has not been done
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `retry`.
#[derive(Debug, clap::Args)]
pub struct Retry {
    /// Tasks, or terms of a filter: is:failed role:builder
    #[arg(required = true, value_name = "ID|FILTER", add = super::shell::tasks())]
    ids: Vec<String>,
    /// Put its branch on top of its base as that is now
    #[arg(long, conflicts_with = "fresh")]
    rebase: bool,
    /// Begin from the base with nothing of its own; what its branch had is kept below refs/oodatcaa/old
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `cancel`.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// Tasks, or terms of a filter: is:failed role:builder
    #[arg(required = true, value_name = "ID|FILTER", add = super::shell::tasks())]
    ids: Vec<String>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Also when it is being worked on: its attempt is stopped
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of verbs that need a reason.
#[derive(Debug, clap::Args)]
pub struct Reasoned {
    /// Tasks, or terms of a filter: is:failed role:builder
    #[arg(required = true, value_name = "ID|FILTER", add = super::shell::tasks())]
    ids: Vec<String>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `unblock`.
#[derive(Debug, clap::Args)]
pub struct Unblock {
    /// Tasks, or terms of a filter: is:failed role:builder
    #[arg(required = true, value_name = "ID|FILTER", add = super::shell::tasks())]
    ids: Vec<String>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Take it out of `blocked` although its dependencies are not done
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `task`.
pub fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Add(args) => add(ctx, args),
        Verb::List(args) => list::run(ctx, args),
        Verb::Show(args) => show::show(ctx, args),
        Verb::Why(args) => show::why(ctx, args),
        Verb::Move(args) => move_to(ctx, args),
        Verb::Retry(args) => retry(ctx, args),
        Verb::Cancel(args) => cancel(ctx, args),
        Verb::Block(args) => block(ctx, args),
        Verb::Unblock(args) => unblock(ctx, args),
        Verb::Done(args) => done(ctx, args),
        Verb::Edit(args) => edit::edit(ctx, args),
        Verb::Prio(args) => edit::prio(ctx, args),
        Verb::Dep(verb) => edit::dep(ctx, verb),
    }
}

/// Adds a task.
pub fn add(ctx: &Context, args: &Add) -> Done {
    check_gates(ctx, &args.gates)?;
    let wanted = Wanted {
        title: args.title.join(" "),
        description: description(args)?,
        kind: args.kind.clone(),
        priority: args.priority,
        id: args.id.clone(),
        dependencies: args.dependencies.clone(),
        acceptance_criteria: args.accept.clone(),
        parent: args.parent.clone(),
        status: match (&args.status, args.ready) {
            (Some(status), _) => Some(Status::new(status.as_str())),
            (None, true) => Some(Status::READY),
            (None, false) => None,
        },
        gates: args.gates.clone(),
    };
    let changed = decide(ctx, args.dry, |snapshot, workflow, actor| manual::add(snapshot, workflow, &wanted, actor))?;
    let task = &changed.changes.add.first().expect("a task that is not refused is added").task;
    if task.acceptance_criteria.is_empty() {
        ctx.ui.warn("no acceptance criteria: a tester can only run the gates (say them with --accept \"…\")");
    }
    for name in &task.dependencies {
        if changed.before.queue.find(name).is_some_and(|other| other.status == Status::CANCELLED) {
            ctx.ui.warn(&format!("{name} was cancelled, so {} will wait until a human decides", task.id));
        }
    }
    let undo = format!("agentctl task cancel {}", task.id);
    let view =
        ChangeView { undo: Some(undo.clone()), ..changed.view(ctx.workflow(), "add", &task.id, args.dry.dry_run) };
    let (status, title) = (task.status.as_str(), one_line(&task.title));
    if ctx.ui.outcome(&view, task.id.as_str(), &format!("{status} · {title}"), &[status, &title]) {
        ctx.ui.say(&if args.dry.dry_run { "would be added".into() } else { format!("undo: {undo}") });
    }
    Ok(fail::exit::OK)
}

/// No description is longer.
const LONGEST: u64 = 16 << 20;

/// Refuses gates that nobody configured.
pub(super) fn check_gates(ctx: &Context, wanted: &[String]) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let gates = &ctx.project.loaded()?.config.gates;
    let Some(gate) = wanted.iter().find(|gate| !gates.contains_key(*gate)) else { return Ok(()) };
    let there: Vec<&str> = gates.keys().map(String::as_str).collect();
    let there = if there.is_empty() { "none".into() } else { there.join(", ") };
    let message = format!("there is no gate `{}`; configured are: {there}", one_line(gate));
    Err(Failure::new(ErrorKind::Usage, message)
        .hint("gates of a project count once it is trusted: agentctl config trust"))
}

fn description(args: &Add) -> Result<Option<String>, Failure> {
    let text = match &args.file {
        Some(file) => read_text(file)?.trim_end().to_owned(),
        None => return Ok(args.description.clone()),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Reads a file that the person names, or standard input (`-`).
pub(super) fn read_text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(LONGEST).read_to_string(&mut text).map(|_| ()),
        false => files::read_named(file, LONGEST)?
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
            .and_then(|read| String::from_utf8(read).map_err(std::io::Error::other))
            .map(|read| text = read),
    };
    read.map_err(|error| fail::io("read the description from", file, &error))?;
    Ok(text)
}

fn reason(words: Option<&str>) -> Option<&str> {
    words.map(str::trim).filter(|words| !words.is_empty())
}

fn needed(words: &str) -> Result<&str, Failure> {
    reason(Some(words))
        .ok_or_else(|| Failure::new(ErrorKind::Usage, "the reason is empty").hint("say why: --reason \"…\""))
}

fn move_to(ctx: &Context, args: &Move) -> Done {
    let to = Status::new(args.status.as_str());
    let reason = reason(args.reason.as_deref());
    let (id, changed) = decide_on(ctx, args.dry, &args.id, |snapshot, workflow, id, actor| {
        manual::move_to(snapshot, workflow, id, &to, reason, args.force, actor)
    })?;
    dependents(ctx, &id, &changed);
    tell(ctx, "move", &id, &changed, args.dry)
}

/// Reads the journal, which only some verbs need.
fn journal(ctx: &Context) -> Result<Vec<Event>, Failure> {
    Ok(ctx.project.store()?.events(0)?)
}

fn retry(ctx: &Context, args: &Retry) -> Done {
    let events = journal(ctx)?;
    let decision = |snapshot: &Snapshot, workflow: &Workflow, id: &TaskId, actor: &Actor| {
        if args.fresh {
            return manual::begin_again(snapshot, workflow, id, actor);
        }
        let stage = manual::failed_stage(workflow, id, &events);
        manual::retry(snapshot, workflow, id, stage.as_ref(), actor)
    };
    each(ctx, args.dry, "try again", &args.ids, |id| {
        if (args.rebase || args.fresh) && !args.dry.dry_run {
            // Refused before anything is touched, and done before anybody may claim it.
            let (id, changed) = decide_on(ctx, Dry { dry_run: true }, id, decision)?;
            let how = if args.fresh { Anew::Fresh } else { Anew::Rebase };
            let task = changed.before.queue.get(&id).expect("it was decided on");
            let done = restart::restart(ctx.project.layout()?, &ctx.project.loaded()?.config.workspace, task, how)?;
            if let Some(kept) = done.kept {
                ctx.ui.say(&format!("what {} had is kept as {kept}", done.branch.as_deref().unwrap_or("its branch")));
            }
            if let Some(saved) = done.saved {
                ctx.ui.say(&format!("what was not committed is kept as {saved}"));
            }
        }
        let (id, changed) = decide_on(ctx, args.dry, id, decision)?;
        tell(ctx, "retry", &id, &changed, args.dry)
    })
}

fn cancel(ctx: &Context, args: &Cancel) -> Done {
    let reason = reason(args.reason.as_deref());
    let names = args.ids.join(", ");
    if args.stop && !args.dry.dry_run && !ctx.ui.agreed(&format!("stop the attempt of {names} and cancel it?"))? {
        return Ok(fail::exit::FAILED);
    }
    each(ctx, args.dry, "cancel", &args.ids, |id| {
        let (id, changed) = decide_on_by(ctx, args.dry, ctx.workflow(), id, |snapshot, _, id, actor| {
            manual::cancel(snapshot, id, reason, args.stop, actor)
        })
        .map_err(|mut failure| {
            if failure.kind == ErrorKind::LeaseHeld {
                failure.hints.insert(0, format!("stop it with this: agentctl task cancel {id} --stop"));
            }
            failure
        })?;
        dependents(ctx, &id, &changed);
        tell(ctx, "cancel", &id, &changed, args.dry)
    })
}

fn block(ctx: &Context, args: &Reasoned) -> Done {
    let reason = needed(&args.reason)?;
    each(ctx, args.dry, "block", &args.ids, |id| {
        let (id, changed) =
            decide_on(ctx, args.dry, id, |snapshot, _, id, actor| manual::block(snapshot, id, reason, actor))?;
        tell(ctx, "block", &id, &changed, args.dry)
    })
}

fn unblock(ctx: &Context, args: &Unblock) -> Done {
    let events = journal(ctx)?;
    let reason = reason(args.reason.as_deref());
    each(ctx, args.dry, "unblock", &args.ids, |id| {
        let (id, changed) = decide_on(ctx, args.dry, id, |snapshot, workflow, id, actor| {
            let before = manual::blocked_from(workflow, id, &events);
            manual::unblock(snapshot, workflow, id, before.as_ref(), reason, args.force, actor)
        })?;
        let after = changed.after();
        if let Some(task) = after.queue.get(&id)
            && !after.queue.is_free(task)
        {
            ctx.ui.warn(&format!("it still waits for its dependencies: agentctl why {id}"));
        }
        tell(ctx, "unblock", &id, &changed, args.dry)
    })
}

fn done(ctx: &Context, args: &Reasoned) -> Done {
    let reason = needed(&args.reason)?;
    each(ctx, args.dry, "say done of", &args.ids, |id| {
        let (id, changed) =
            decide_on(ctx, args.dry, id, |snapshot, _, id, actor| manual::done(snapshot, id, reason, actor))?;
        tell(ctx, "done", &id, &changed, args.dry)
    })
}

/// Warns of tasks that wait for one that has left `done`, or will never get there.
fn dependents(ctx: &Context, id: &TaskId, changed: &Changed) {
    let after = changed.after();
    let moved = |snapshot: &oodatcaa_core::Snapshot| snapshot.queue.get(id).map(|task| task.status.clone());
    let (Some(was), Some(is)) = (moved(&changed.before), moved(&after)) else { return };
    if was == is || (is != Status::CANCELLED && !was.is_done()) {
        return;
    }
    let waiting = after
        .queue
        .tasks()
        .filter(|task| !task.status.is_finished() && task.dependencies.iter().any(|name| name == id.as_str()));
    let waiting: Vec<&str> = waiting.map(|task| task.id.as_str()).collect();
    if !waiting.is_empty() {
        ctx.ui.warn(&format!("these depend on it and wait: {}", waiting.join(", ")));
    }
}
