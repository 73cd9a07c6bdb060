//! One change of the queue by a person: decided under the lock, or only looked at; told with its undo.

use serde_json::{Map, Value};

use super::{
    context::Context,
    fail::{Done, exit},
    filter::{Filter, check_names},
    lease,
    ui::Tone,
};
use oodatcaa_core::{
    ChangeSet, Snapshot, Status, Task, TaskId, Workflow,
    event::Actor,
    manual::{self, Answer, Refusal},
    text::{many, one_line},
};
use oodatcaa_ops::{ErrorKind, Failure, ReadModel, find_task, refused, view::ChangeView};

/// What every changing verb takes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Dry {
    /// Only show what would be changed
    #[arg(long)]
    pub dry_run: bool,
}

/// What was, or would be, committed.
pub struct Changed {
    /// The snapshot it was decided on.
    pub before: Snapshot,
    /// The plan; empty when there was nothing to change.
    pub changes: ChangeSet,
}

/// Runs a decision: in the store's critical section, or (`dry`) on what stands there now.
pub fn decide(
    ctx: &Context,
    dry: Dry,
    decide: impl FnMut(&Snapshot, &Workflow, &Actor) -> Answer,
) -> Result<Changed, Failure> {
    // Changing anything by roles that are not the project's would be wrong, so no stand-in here.
    decide_by(ctx, dry, &ctx.project.loaded()?.config.workflow, decide)
}

/// The same for what no table of roles decides, so that a broken configuration keeps nobody from it.
pub fn decide_by(
    ctx: &Context,
    dry: Dry,
    workflow: &Workflow,
    mut decide: impl FnMut(&Snapshot, &Workflow, &Actor) -> Answer,
) -> Result<Changed, Failure> {
    let actor = ctx.actor();
    if dry.dry_run {
        let before = ctx.read()?.snapshot;
        let changes =
            decide(&before, workflow, &actor).map_err(|refusal| refused(&refusal, &before.queue, workflow))?;
        return Ok(Changed { before, changes });
    }
    let mut seen: Option<(Snapshot, Answer)> = None;
    ctx.project.store()?.transact(&mut |snapshot| {
        let answer = decide(snapshot, workflow, &actor);
        let changes = answer.clone().unwrap_or_default();
        seen = Some((snapshot.clone(), answer));
        changes
    })?;
    let (before, answer) = seen.expect("a store that says Ok has decided");
    let changes = answer.map_err(|refusal| refused(&refusal, &before.queue, workflow))?;
    Ok(Changed { before, changes })
}

/// The same for a decision about one task; a dead owner's lease on it is given back first.
pub fn decide_on(
    ctx: &Context,
    dry: Dry,
    id: &str,
    on: impl FnMut(&Snapshot, &Workflow, &TaskId, &Actor) -> Answer,
) -> Result<(TaskId, Changed), Failure> {
    decide_on_by(ctx, dry, &ctx.project.loaded()?.config.workflow, id, on)
}

/// The same for what no table of roles decides ([`decide_by`]).
pub fn decide_on_by(
    ctx: &Context,
    dry: Dry,
    workflow: &Workflow,
    id: &str,
    mut on: impl FnMut(&Snapshot, &Workflow, &TaskId, &Actor) -> Answer,
) -> Result<(TaskId, Changed), Failure> {
    let id = find_task(&ctx.read()?.snapshot.queue, id)?.id.clone();
    let mut dead = false;
    let first = decide_by(ctx, dry, workflow, |snapshot, workflow, actor| {
        let answer = on(snapshot, workflow, &id, actor);
        dead = matches!(answer, Err(Refusal::Abandoned { dead: true, .. }));
        answer
    });
    let changed = match first {
        Err(_) if dead && !dry.dry_run => {
            lease::give_back(ctx, &id)?;
            decide_by(ctx, dry, workflow, |snapshot, workflow, actor| on(snapshot, workflow, &id, actor))?
        }
        other => other?,
    };
    Ok((id, changed))
}

/// Does something to each of the tasks that were named: by id, or by terms of a filter (`is:failed role:builder`),
/// which must all hold. What a filter found is asked about first. One that fails keeps none of the others from its
/// turn; the first failure is the answer.
pub fn each(ctx: &Context, dry: Dry, verb: &str, words: &[String], mut on: impl FnMut(&str) -> Done) -> Done {
    let (terms, ids): (Vec<&str>, Vec<&str>) = words.iter().map(String::as_str).partition(|word| word.contains(':'));
    let mut all: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    if !terms.is_empty() {
        let found = passing(ctx, &terms)?;
        let shown: Vec<&str> = found.iter().take(8).map(String::as_str).collect();
        let more = if found.len() > shown.len() { ", …" } else { "" };
        let question = format!("{verb} {}: {}{more}?", many(found.len(), "task"), shown.join(", "));
        if !dry.dry_run && !ctx.ui.confirm(&question)? {
            ctx.ui.say("nothing was changed");
            return Ok(exit::FAILED);
        }
        all.extend(found.into_iter().filter(|id| !ids.contains(&id.as_str())));
    }
    let mut first: Option<Failure> = None;
    for id in &all {
        match (on(id), &first) {
            (Ok(_), _) => {}
            (Err(failure), None) => first = Some(failure),
            (Err(failure), Some(_)) => ctx.ui.fail(&failure),
        }
    }
    first.map_or(Ok(exit::OK), Err)
}

/// The ids of the tasks that pass a filter; those that have ended only where it speaks of them.
fn passing(ctx: &Context, terms: &[&str]) -> Result<Vec<String>, Failure> {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let filter = Filter::parse(terms.iter().copied())?;
    check_names(&model, &filter)?;
    let wanted = |task: &&Task| (filter.wants_finished() || !task.status.is_finished()) && filter.passes(&model, task);
    let found: Vec<String> = model.in_order().into_iter().filter(wanted).map(|task| task.id.to_string()).collect();
    if found.is_empty() {
        return Err(Failure::new(ErrorKind::NotFound, format!("no task passes the filter {}", terms.join(" ")))
            .hint(format!("agentctl ls {}", terms.join(" "))));
    }
    Ok(found)
}

/// Tells what became of a task: on standard output what it is now, on standard error how to undo it.
pub fn tell(ctx: &Context, verb: &str, id: &TaskId, changed: &Changed, dry: Dry) -> Done {
    let after = changed.before.after(&changed.changes);
    let workflow = ctx.workflow();
    let (was, is) = (changed.before.queue.get(id), after.queue.get(id));
    let is_changed = !changed.changes.is_empty();
    let undo = was.zip(is).filter(|_| is_changed).and_then(|(was, is)| undo(workflow, was, is));
    let status = |task: Option<&Task>| task.map(|task| task.status.to_string());
    if ctx.ui.json() {
        let model = ReadModel::new(&after, workflow);
        ctx.ui.value(&ChangeView {
            id: id.clone(),
            verb: verb.into(),
            from: was.map(|task| task.status.clone()),
            to: is.map(|task| task.status.clone()),
            changed: is_changed,
            dry_run: dry.dry_run,
            set: set(&changed.changes, id),
            undo,
            task: is.map(|task| model.task(task)),
        });
        return Ok(0);
    }
    let (from, to) = (status(was).unwrap_or_default(), status(is).unwrap_or_default());
    if ctx.ui.quiet() {
        ctx.ui.line(id.as_str());
    } else if ctx.ui.pretty() {
        let name = Tone::Strong.paint(id.as_str());
        let words = match (is_changed, from == to) {
            (true, false) => format!("{name} {} → {}", one_line(&from), one_line(&to)),
            _ => format!("{name} {}", one_line(&to)),
        };
        ctx.ui.line(&words);
    } else {
        ctx.ui.line(&format!("{id}\t{}\t{}", one_line(&from), one_line(&to)));
    }
    match (dry.dry_run, is_changed) {
        (_, false) if verb == "release" => ctx.ui.say(&format!("nothing to change: nobody holds {id}")),
        (_, false) => ctx.ui.say(&format!("nothing to change: {id} is `{}` already", one_line(&to))),
        (true, true) => ctx.ui.say(&format!("would set: {}", members(&changed.changes, id))),
        (false, true) => {
            ctx.ui.say(&format!("set: {}", members(&changed.changes, id)));
            if let Some(undo) = undo {
                ctx.ui.say(&format!("undo: {undo}"));
            }
        }
    }
    Ok(0)
}

fn set(changes: &ChangeSet, id: &TaskId) -> Map<String, Value> {
    let edits = changes.edits.iter().filter(|edit| edit.task == *id).flat_map(|edit| &edit.set);
    edits.map(|(member, value)| (member.key().into(), value.clone())).collect()
}

fn members(changes: &ChangeSet, id: &TaskId) -> String {
    let edits = changes.edits.iter().filter(|edit| edit.task == *id).flat_map(|edit| &edit.set);
    let mut all: Vec<String> = edits.map(|(member, value)| format!("{} = {value}", member.key())).collect();
    if changes.leases.iter().any(|change| matches!(change, oodatcaa_core::LeaseChange::Write(_))) {
        all.push("a request to stop".into());
    }
    one_line(&all.join(", "))
}

/// The command that takes a task back to where it was; none where no command may.
fn undo(workflow: &Workflow, was: &Task, is: &Task) -> Option<String> {
    let id = &was.id;
    let quoted = |text: &str| format!("'{}'", one_line(text).replace('\'', "'\\''"));
    if was.status == Status::BLOCKED && (is.status != Status::BLOCKED || is.blocked_reason != was.blocked_reason) {
        let reason = was.blocked_reason.as_deref().unwrap_or("blocked again");
        return Some(format!("agentctl task block {id} --reason {}", quoted(reason)));
    }
    if was.status == is.status {
        if was.priority != is.priority {
            return Some(format!("agentctl task prio {id} {}", was.priority));
        }
        let (more, fewer) =
            (is.dependencies.len() > was.dependencies.len(), is.dependencies.len() < was.dependencies.len());
        let (have, lack) =
            if more { (&is.dependencies, &was.dependencies) } else { (&was.dependencies, &is.dependencies) };
        let names: Vec<&str> = have.iter().filter(|name| !lack.contains(name)).map(String::as_str).collect();
        return (more || fewer).then(|| {
            format!("agentctl task dep {} {id} {}", if more { "rm" } else { "add" }, one_line(&names.join(" ")))
        });
    }
    if was.status.is_done() {
        return Some(format!("agentctl task done {id} --reason \"it was done\""));
    }
    let back = match workflow.working(&was.status) {
        Some(rule) => &rule.takes,
        None => &was.status,
    };
    let force = if manual::legal_moves(workflow, is).contains(back) { "" } else { " --force" };
    Some(format!("agentctl task move {id} {back}{force}"))
}
