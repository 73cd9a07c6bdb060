//! `agentctl worktree …`: where tasks are worked on, and clearing away what nobody needs any more.

use std::{path::PathBuf, process::Command};

use super::{
    change::Dry,
    context::Context,
    fail::{Done, exit},
    show,
    ui::{Item, Table, Tone},
};
use oodatcaa_core::{
    Status, TaskId,
    text::{many, one_line},
};
use oodatcaa_ops::{
    ErrorKind, Failure,
    view::{WorktreePathView, WorktreeRemovalView, WorktreeView},
};

/// Verbs of `worktree`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The worktrees of this project's tasks
    List,
    /// Print where a task's worktree is
    Path(show::Args),
    /// Open a task's worktree in your editor, or in a shell
    Open(Open),
    /// Remove the worktrees of tasks that are merged or cancelled
    Prune(Dry),
    /// Remove the worktree of one task
    Rm(Rm),
}

/// Flags of `open`.
#[derive(Debug, clap::Args)]
pub(super) struct Open {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Your shell, instead of $VISUAL or $EDITOR
    #[arg(long)]
    shell: bool,
}

/// Flags of `rm`.
#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Even when it is not merged or not clean: what is not committed is saved under a ref first
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `worktree`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List => list(ctx),
        Verb::Path(args) => path(ctx, args),
        Verb::Open(args) => open(ctx, args),
        Verb::Prune(dry) => prune(ctx, dry),
        Verb::Rm(args) => rm(ctx, args),
    }
}

fn list(ctx: &Context) -> Done {
    let all = ctx.project.worktrees(&ctx.read()?.snapshot)?;
    let rows = all.iter().map(|tree| {
        let (tone, state) = state(tree);
        [
            Item::new(&tree.task),
            Item::new(tree.status.as_ref().map_or("gone", Status::as_str)),
            Item::new(state).tone(tone),
            Item::new(if tree.merged { "merged".into() } else { tree.ahead.to_string() }),
            Item::new(tree.branch.as_deref().unwrap_or("(detached)")),
            Item::new(&tree.path),
        ]
    });
    let foot = "agentctl run diff TASK · agentctl worktree open TASK · agentctl worktree prune --dry-run";
    ctx.ui.list(&all, "TASK | STATUS | STATE | AHEAD? | BRANCH~ | PATH~", rows, "no worktrees", foot)
}

fn state(tree: &WorktreeView) -> (Tone, String) {
    match tree {
        tree if !tree.whole => (Tone::Bad, "broken".into()),
        tree if tree.in_use => (Tone::Busy, "in use".into()),
        WorktreeView { midway: Some(what), .. } => (Tone::Warn, format!("in {what}")),
        tree if tree.dirty => (Tone::Warn, "dirty".into()),
        _ => (Tone::Good, "clean".into()),
    }
}

fn place(ctx: &Context, id: &str) -> Result<(TaskId, PathBuf), Failure> {
    ctx.project.worktree_of(&ctx.read()?.snapshot, id)
}

fn path(ctx: &Context, args: &show::Args) -> Done {
    let (task, path) = place(ctx, &args.id)?;
    if ctx.ui.json() {
        ctx.ui.value(&WorktreePathView { task, path: path.to_string_lossy().into_owned() });
    } else {
        use std::os::unix::ffi::OsStrExt as _;
        ctx.ui.bytes(path.as_os_str().as_bytes());
        ctx.ui.bytes(b"\n");
    }
    Ok(exit::OK)
}

fn open(ctx: &Context, args: &Open) -> Done {
    let (task, path) = place(ctx, &args.id)?;
    if ctx.ui.json() {
        return Err(Failure::new(ErrorKind::Usage, "an editor or a shell is for a person, and has no --json")
            .hint(format!("agentctl worktree path {task} --json")));
    }
    let variables: &[&str] = if args.shell { &["SHELL"] } else { &["VISUAL", "EDITOR"] };
    let program = variables.iter().find_map(|name| std::env::var(name).ok().filter(|words| !words.trim().is_empty()));
    let program = program.ok_or_else(|| {
        Failure::new(ErrorKind::Usage, format!("{} does not name a program", variables.join(" or ")))
            .hint(format!("go there: cd \"$(agentctl worktree path {task})\""))
    })?;
    // As every program that reads these variables does it: words without a shell.
    let mut words = program.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut command = Command::new(name);
    command.args(words).current_dir(&path);
    if !args.shell {
        command.arg(&path);
    }
    ctx.ui.flush();
    let ended = command.status().map_err(|error| Failure::io("start", name.as_ref(), &error))?;
    Ok(if ended.success() { exit::OK } else { exit::FAILED })
}

/// What columns `prune` and `rm` have.
const REMOVALS: &str = "TASK | WORKTREE | WHY~";

/// Returns a row of a sweep: task, what became of it, why.
pub(super) fn row(one: &WorktreeRemovalView) -> [Item; 3] {
    let saved = one.saved.as_ref().map(|commit| format!("saved in {commit}"));
    let branch = one.branch_deleted.as_ref().map(|branch| format!("with its merged branch {branch}"));
    let why = one.kept_because.clone().into_iter().chain(saved).chain(branch).collect::<Vec<_>>().join(", ");
    let (tone, word) = match (one.removed, one.dry_run) {
        (false, _) => (Tone::Plain, "kept"),
        (true, dry_run) => went(dry_run),
    };
    [Item::new(&one.task), Item::new(word).tone(tone), Item::new(why)]
}

/// Says that something went, or would.
pub(super) fn went(dry_run: bool) -> (Tone, &'static str) {
    if dry_run { (Tone::Warn, "would go") } else { (Tone::Good, "removed") }
}

fn prune(ctx: &Context, dry: &Dry) -> Done {
    let snapshot = ctx.read()?.snapshot;
    if !dry.dry_run {
        let going = ctx.project.sweep_worktrees(&snapshot, true)?.iter().filter(|one| one.removed).count();
        let question = format!("remove {} of merged and cancelled tasks?", many(going, "worktree"));
        if going > 0 && !ctx.ui.agreed(&question)? {
            return Ok(exit::FAILED);
        }
    }
    let all = ctx.project.sweep_worktrees(&snapshot, dry.dry_run)?;
    ctx.ui.list(&all, REMOVALS, all.iter().map(row), "no worktrees", "")
}

fn rm(ctx: &Context, args: &Rm) -> Done {
    let snapshot = ctx.read()?.snapshot;
    let (task, _) = ctx.project.worktree_of(&snapshot, &args.id)?;
    let agree = |lost: &[String]| {
        let lost = match lost {
            [] => String::new(),
            lost => format!(" these cannot be saved and will be lost: {};", lost.join(", ")),
        };
        let question = format!("{task} is not merged or not clean;{lost} remove its worktree all the same?");
        ctx.ui.agreed(&one_line(&question))
    };
    let removed = ctx.project.remove_worktree(&snapshot, &task, args.force, args.dry.dry_run, agree)?;
    let Some(one) = removed else { return Ok(exit::FAILED) };
    if ctx.ui.json() {
        ctx.ui.value(&one);
        return Ok(exit::OK);
    }
    let mut table = Table::new(REMOVALS);
    table.row(row(&one));
    ctx.ui.table(&table);
    if let Some(commit) = one.saved {
        ctx.ui.say(&format!("look at its work: git show {commit}"));
    }
    Ok(exit::OK)
}
