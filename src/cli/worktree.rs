//! `agentctl worktree …`: where tasks are worked on, and clearing away what nobody needs any more.

use std::{path::PathBuf, process::Command};

use super::{
    change::Dry,
    context::Context,
    fail::{self, Done, exit},
    ui::{Column, Item, Table, Tone},
};
use oodatcaa_core::{Snapshot, Status, TaskId, lease::LeaseHealth, text::many};
use oodatcaa_git::{
    Config, KeepReason, WorkspaceError,
    prune::{self, PrunePolicy, Removed, Seen},
};
use oodatcaa_ops::{
    ErrorKind, Failure,
    view::{WorktreePathView, WorktreeRemovalView, WorktreeView},
};

/// Verbs of `worktree`.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The worktrees of this project's tasks
    List,
    /// Where a task's worktree lies
    Path(One),
    /// Open a task's worktree in your editor, or in a shell
    Open(Open),
    /// Remove the worktrees of tasks that are merged or cancelled
    Prune(Dry),
    /// Remove the worktree of one task
    Rm(Rm),
}

/// A task.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
}

/// Flags of `open`.
#[derive(Debug, clap::Args)]
pub struct Open {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Your shell, instead of $VISUAL or $EDITOR
    #[arg(long)]
    shell: bool,
}

/// Flags of `rm`.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Also when it is not merged or not clean: what is not committed is saved under a ref first
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `worktree`.
pub fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List => list(ctx),
        Verb::Path(args) => path(ctx, args),
        Verb::Open(args) => open(ctx, args),
        Verb::Prune(dry) => prune(ctx, *dry),
        Verb::Rm(args) => rm(ctx, args),
    }
}

fn config(ctx: &Context) -> Result<&Config, Failure> {
    Ok(&ctx.project.loaded()?.config.workspace)
}

fn status(snapshot: &Snapshot, task: &TaskId) -> Option<Status> {
    snapshot.queue.get(task).map(|task| task.status.clone())
}

fn list(ctx: &Context) -> Done {
    let (layout, snapshot) = (ctx.project.layout()?, ctx.read()?.snapshot);
    let all = prune::list(layout, config(ctx)?)?;
    if ctx.ui.json() {
        ctx.ui.value(&all.iter().map(|seen| view(seen, &snapshot)).collect::<Vec<_>>());
        return Ok(exit::OK);
    }
    let mut table = Table::new([
        Column::new("TASK"),
        Column::new("STATUS"),
        Column::new("STATE"),
        Column::optional("AHEAD"),
        Column::flexible("BRANCH"),
        Column::flexible("PATH"),
    ]);
    for seen in &all {
        let (tone, state) = state(seen);
        table.row([
            Item::new(seen.task.as_str()),
            Item::new(status(&snapshot, &seen.task).as_ref().map_or("gone", Status::as_str)),
            Item::new(state).tone(tone),
            Item::new(if seen.merged { "merged".into() } else { seen.ahead.to_string() }),
            Item::new(seen.branch.as_deref().unwrap_or("(detached)")),
            Item::new(seen.path.to_string_lossy()),
        ]);
    }
    if table.is_empty() {
        ctx.ui.say("no worktrees");
        return Ok(exit::OK);
    }
    ctx.ui.table(&table);
    ctx.ui.foot("agentctl run diff TASK · agentctl worktree open TASK · agentctl worktree prune --dry-run");
    Ok(exit::OK)
}

fn state(seen: &Seen) -> (Tone, String) {
    match seen {
        seen if !seen.whole => (Tone::Bad, "broken".into()),
        seen if seen.in_use => (Tone::Busy, "in use".into()),
        Seen { midway: Some(what), .. } => (Tone::Warn, format!("in {what}")),
        seen if seen.dirty => (Tone::Warn, "dirty".into()),
        _ => (Tone::Good, "clean".into()),
    }
}

fn view(seen: &Seen, snapshot: &Snapshot) -> WorktreeView {
    WorktreeView {
        task: seen.task.clone(),
        status: status(snapshot, &seen.task),
        path: seen.path.to_string_lossy().into_owned(),
        branch: seen.branch.clone(),
        base: seen.base.clone(),
        ahead: seen.ahead,
        merged: seen.merged,
        dirty: seen.dirty,
        midway: seen.midway,
        left_out: seen.left_out.clone(),
        in_use: seen.in_use,
        whole: seen.whole,
        port_base: seen.port,
    }
}

/// Finds a task as somebody typed it; one that has left the queue may have left a worktree.
fn named(ctx: &Context, snapshot: &Snapshot, id: &str) -> Result<TaskId, Failure> {
    if let Ok(task) = oodatcaa_ops::find_task(&snapshot.queue, id) {
        return Ok(task.id.clone());
    }
    let layout = ctx.project.layout()?;
    let left = TaskId::parse(id).ok().filter(|id| prune::path_of(layout, id).is_ok_and(|path| path.is_some()));
    left.ok_or_else(|| fail::no_task(id, &snapshot.queue))
}

fn place(ctx: &Context, id: &str) -> Result<(TaskId, PathBuf), Failure> {
    let snapshot = ctx.read()?.snapshot;
    let task = named(ctx, &snapshot, id)?;
    match prune::path_of(ctx.project.layout()?, &task)? {
        Some(path) => Ok((task, path)),
        None => {
            Err(Failure::new(ErrorKind::NotFound, format!("{task} has no worktree"))
                .hint(format!("agentctl why {task}")))
        }
    }
}

fn path(ctx: &Context, args: &One) -> Done {
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
        return Err(Failure::new(
            ErrorKind::Usage,
            "an editor or a shell is opened for a person, and answers no program",
        )
        .hint(format!("agentctl worktree path {task} --json")));
    }
    let variables: &[&str] = if args.shell { &["SHELL"] } else { &["VISUAL", "EDITOR"] };
    let program = variables.iter().find_map(|name| std::env::var(name).ok().filter(|words| !words.trim().is_empty()));
    let program = program.ok_or_else(|| {
        Failure::new(ErrorKind::Usage, format!("{} names no program", variables.join(" or ")))
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
    let ended = command.status().map_err(|error| fail::io("start", name.as_ref(), &error))?;
    Ok(if ended.success() { exit::OK } else { exit::FAILED })
}

/// Chooses what may be lost with a worktree; `Err` for one that is still needed.
fn policy(snapshot: &Snapshot, seen: &Seen) -> Result<PrunePolicy, KeepReason> {
    let held = snapshot.leases.get(&seen.task).is_some_and(|held| held.health(&snapshot.now) == LeaseHealth::Live);
    match status(snapshot, &seen.task) {
        _ if held || seen.in_use => Err(KeepReason::InUse),
        Some(status) if status == Status::CANCELLED => Ok(PrunePolicy::CANCELLED),
        Some(status) if !status.is_done() => Err(KeepReason::Unfinished(status.to_string())),
        Some(_) | None => Ok(PrunePolicy::SAFE),
    }
}

/// Checks what a removal would say, without removing anything.
fn check(seen: &Seen, policy: PrunePolicy) -> Result<(), KeepReason> {
    if seen.whole {
        if (seen.dirty || seen.midway.is_some()) && !policy.dirty {
            return Err(KeepReason::Dirty);
        }
        if !seen.left_out.is_empty() && !policy.unsaved {
            return Err(KeepReason::Unsaved(seen.left_out.clone()));
        }
        if !seen.merged && !policy.unmerged {
            let branch = seen.branch.clone().unwrap_or_else(|| "a detached head".into());
            let base = seen.base.clone().unwrap_or_else(|| "no branch".into());
            return Err(KeepReason::Unmerged { branch, base, commits: seen.ahead });
        }
    }
    Ok(())
}

/// One worktree of a sweep, and what became of it.
pub struct PruneOutcome {
    /// The worktree.
    pub seen: Seen,
    /// What became of it, or would.
    pub done: Result<Removed, KeepReason>,
}

/// Removes what is merged or cancelled; with `dry` only says what would be.
pub fn sweep(ctx: &Context, dry: bool) -> Result<Vec<PruneOutcome>, Failure> {
    let (layout, config) = (ctx.project.layout()?, config(ctx)?);
    let snapshot = ctx.read()?.snapshot;
    let mut all = Vec::new();
    for seen in prune::list(layout, config)? {
        let done = match policy(&snapshot, &seen) {
            Err(why) => Err(why),
            Ok(policy) if dry => {
                check(&seen, policy).map(|()| Removed { path: seen.path.clone(), ..Removed::default() })
            }
            Ok(policy) => match prune::remove(layout, config, &seen.task, policy) {
                Ok(removed) => Ok(removed.unwrap_or_default()),
                Err(WorkspaceError::Kept { why, .. }) => Err(why),
                Err(error) => return Err(error.into()),
            },
        };
        all.push(PruneOutcome { seen, done });
    }
    Ok(all)
}

/// Describes what became of one worktree.
pub fn outcome(one: &PruneOutcome, dry: bool) -> WorktreeRemovalView {
    let removed = one.done.as_ref().ok();
    WorktreeRemovalView {
        task: one.seen.task.clone(),
        path: one.seen.path.to_string_lossy().into_owned(),
        removed: removed.is_some(),
        dry_run: dry,
        saved: removed.and_then(|removed| removed.saved.clone()),
        branch_deleted: removed.and_then(|removed| removed.branch.clone()),
        kept_because: one.done.as_ref().err().map(ToString::to_string),
    }
}

/// Returns a row of a sweep: task, what became of it, why.
pub fn row(one: &PruneOutcome, dry: bool) -> [Item; 3] {
    let (tone, word, why) = match &one.done {
        Ok(_) if dry => (Tone::Warn, "would go", String::new()),
        Ok(removed) => (Tone::Good, "removed", detail(removed)),
        Err(why) => (Tone::Plain, "kept", why.to_string()),
    };
    [Item::new(one.seen.task.as_str()), Item::new(word).tone(tone), Item::new(why)]
}

fn detail(removed: &Removed) -> String {
    let saved = removed.saved.as_ref().map(|commit| format!("saved in {commit}"));
    let branch = removed.branch.as_ref().map(|branch| format!("with its merged branch {branch}"));
    saved.into_iter().chain(branch).collect::<Vec<_>>().join(", ")
}

fn prune(ctx: &Context, dry: Dry) -> Done {
    if !dry.dry_run {
        let going = sweep(ctx, true)?.iter().filter(|one| one.done.is_ok()).count();
        if going > 0
            && !ctx.ui.confirm(&format!("remove {} of merged and cancelled tasks?", many(going, "worktree")))?
        {
            ctx.ui.say("nothing was changed");
            return Ok(exit::FAILED);
        }
    }
    let all = sweep(ctx, dry.dry_run)?;
    if ctx.ui.json() {
        ctx.ui.value(&all.iter().map(|one| outcome(one, dry.dry_run)).collect::<Vec<_>>());
        return Ok(exit::OK);
    }
    let mut table = Table::new([Column::new("TASK"), Column::new("WORKTREE"), Column::flexible("WHY")]);
    all.iter().for_each(|one| table.row(row(one, dry.dry_run)));
    if table.is_empty() {
        ctx.ui.say("no worktrees");
        return Ok(exit::OK);
    }
    ctx.ui.table(&table);
    Ok(exit::OK)
}

fn rm(ctx: &Context, args: &Rm) -> Done {
    let (layout, config) = (ctx.project.layout()?, config(ctx)?);
    let (task, _) = place(ctx, &args.id)?;
    let snapshot = ctx.read()?.snapshot;
    let policy = if args.force { PrunePolicy::FORCE } else { PrunePolicy::SAFE };
    let seen = prune::list(layout, config)?.into_iter().find(|seen| seen.task == task);
    let seen = seen.ok_or_else(|| Failure::new(ErrorKind::NotFound, format!("{task} has no worktree")))?;
    let held = snapshot.leases.get(&task).is_some_and(|held| held.health(&snapshot.now) == LeaseHealth::Live);
    let foreseen = if held || seen.in_use { Err(KeepReason::InUse) } else { check(&seen, policy) };
    if let Err(why) = foreseen {
        return Err(WorkspaceError::Kept { task, why }.into());
    }
    if args.dry.dry_run {
        let one = PruneOutcome { done: Ok(Removed { path: seen.path.clone(), ..Removed::default() }), seen };
        return tell(ctx, &one, true);
    }
    if args.force && check(&seen, PrunePolicy::SAFE).is_err() {
        let lost = if seen.left_out.is_empty() {
            String::new()
        } else {
            format!(" these cannot be saved and go for good: {};", seen.left_out.join(", "))
        };
        let question = format!("{task} is not merged or not clean;{lost} remove its worktree all the same?");
        if !ctx.ui.confirm(&oodatcaa_core::text::one_line(&question))? {
            ctx.ui.say("nothing was changed");
            return Ok(exit::FAILED);
        }
    }
    let removed = prune::remove(layout, config, &task, policy)?.unwrap_or_default();
    tell(ctx, &PruneOutcome { seen, done: Ok(removed) }, false)
}

fn tell(ctx: &Context, one: &PruneOutcome, dry: bool) -> Done {
    if ctx.ui.json() {
        ctx.ui.value(&outcome(one, dry));
        return Ok(exit::OK);
    }
    let mut table = Table::new([Column::new("TASK"), Column::new("WORKTREE"), Column::flexible("WHY")]);
    table.row(row(one, dry));
    ctx.ui.table(&table);
    if let Ok(Removed { saved: Some(commit), .. }) = &one.done {
        ctx.ui.say(&format!("look at its work: git show {commit}"));
    }
    Ok(exit::OK)
}
