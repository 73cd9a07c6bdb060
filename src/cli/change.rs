//! One change of the queue by a person: decided under the lock, or only looked at; told with its undo.

use super::{
    context::Context,
    fail::{Done, exit},
    filter::Filter,
};
use oodatcaa_core::{
    Snapshot, Status, Task, TaskId, Workflow,
    event::Actor,
    manual::Answer,
    text::{many, one_line},
};
use oodatcaa_ops::{Changed, ErrorKind, Failure, ReadModel};

/// What every changing verb takes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Dry {
    /// Only show what would be changed
    #[arg(long)]
    pub dry_run: bool,
}

/// Which tasks a verb changes.
#[derive(Debug, clap::Args)]
pub(super) struct Targets {
    /// Tasks, or terms of a filter: is:failed role:builder
    #[arg(required = true, value_name = "ID|FILTER", add = super::shell::tasks())]
    pub ids: Vec<String>,
    /// Whether anything is written.
    #[command(flatten)]
    pub dry: Dry,
}

/// Decides about one task and tells what became of it.
pub(super) fn change(
    ctx: &Context,
    dry: Dry,
    verb: &str,
    id: &str,
    on: impl FnMut(&Snapshot, &Workflow, &TaskId, &Actor) -> Answer,
) -> Done {
    let (id, changed) = decide_on(ctx, dry, id, on)?;
    tell(ctx, verb, &id, &changed, dry)
}

/// Decides about each of the tasks that were named, and tells what became of it.
pub(super) fn change_each(
    ctx: &Context,
    targets: &Targets,
    verb: &str,
    mut on: impl FnMut(&Snapshot, &Workflow, &TaskId, &Actor) -> Answer,
) -> Done {
    each(ctx, targets.dry, verb, &targets.ids, |id| change(ctx, targets.dry, verb, id, &mut on))
}

/// Does something to each of the tasks that were named: by id, or by terms of a filter (`is:failed role:builder`),
/// which must all hold. What a filter found is asked about first. One that fails keeps none of the others from its
/// turn; the first failure is the answer.
pub(super) fn each(ctx: &Context, dry: Dry, verb: &str, words: &[String], mut on: impl FnMut(&str) -> Done) -> Done {
    let (terms, ids): (Vec<&str>, Vec<&str>) = words.iter().map(String::as_str).partition(|word| word.contains(':'));
    let mut all: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    if !terms.is_empty() {
        let found = passing(ctx, &terms)?;
        let shown: Vec<&str> = found.iter().take(8).map(String::as_str).collect();
        let more = if found.len() > shown.len() { ", …" } else { "" };
        let question = format!("task {verb} for {}: {}{more}?", many(found.len(), "task"), shown.join(", "));
        if !dry.dry_run && !ctx.ui.agreed(&question)? {
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

/// Returns the ids of the tasks that pass a filter; those that have ended only where it speaks of them.
fn passing(ctx: &Context, terms: &[&str]) -> Result<Vec<String>, Failure> {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let filter = Filter::parse(&model, terms.iter().copied())?;
    let wanted = |task: &&Task| (filter.wants_finished() || !task.status.is_finished()) && filter.passes(&model, task);
    let found: Vec<String> = model.in_order().into_iter().filter(wanted).map(|task| task.id.to_string()).collect();
    if found.is_empty() {
        return Err(Failure::new(ErrorKind::NotFound, format!("no task matches the filter {}", terms.join(" ")))
            .hint(format!("agentctl ls {}", terms.join(" "))));
    }
    Ok(found)
}

/// Returns a reason without the space around it; none where nothing is left.
pub(super) fn reason(words: Option<&str>) -> Option<&str> {
    words.map(str::trim).filter(|words| !words.is_empty())
}

/// Returns a reason that must not be empty.
pub(super) fn needed(words: &str) -> Result<&str, Failure> {
    reason(Some(words))
        .ok_or_else(|| Failure::new(ErrorKind::Usage, "the reason is empty").hint("say why: --reason \"…\""))
}

/// Tells what became of a task: on standard output what it is now, on standard error how to undo it.
pub(super) fn tell(ctx: &Context, verb: &str, id: &TaskId, changed: &Changed, dry: Dry) -> Done {
    remark(ctx, id, changed);
    changed.notes.iter().for_each(|note| ctx.ui.say(note));
    let view = changed.view(ctx.workflow(), verb, id, dry.dry_run);
    let word = |status: &Option<Status>| status.as_ref().map(|status| one_line(status.as_str())).unwrap_or_default();
    let (from, to) = (word(&view.from), word(&view.to));
    let words = if view.changed && from != to { format!("{from} → {to}") } else { to.clone() };
    if !ctx.ui.outcome(&view, id.as_str(), &words, &[&from, &to]) {
        return Ok(exit::OK);
    }
    let mut members: Vec<String> = view.set.iter().map(|(member, value)| format!("{member} = {value}")).collect();
    members.extend(changed.asks_to_stop().then(|| "a request to stop".into()));
    let members = one_line(&members.join(", "));
    match (dry.dry_run, view.changed) {
        (_, false) if verb == "release" => ctx.ui.say(&format!("nothing to change: nobody holds {id}")),
        (_, false) => ctx.ui.say(&format!("nothing to change: {id} is already `{to}`")),
        (true, true) => ctx.ui.say(&format!("would set: {members}")),
        (false, true) => {
            ctx.ui.say(&format!("set: {members}"));
            if let Some(undo) = view.undo {
                ctx.ui.say(&format!("undo: {undo}"));
            }
        }
    }
    Ok(0)
}

/// Warns where a task does not move on after all, and of those that wait for one that has left `done` or will never get
/// there.
fn remark(ctx: &Context, id: &TaskId, changed: &Changed) {
    let after = changed.after();
    let (Some(was), Some(is)) = (changed.before.queue.get(id), after.queue.get(id)) else { return };
    if was.status == Status::BLOCKED && is.status != Status::BLOCKED && !after.queue.is_free(is) {
        ctx.ui.warn(&format!("it still waits for its dependencies: agentctl why {id}"));
    }
    if was.status == is.status || (is.status != Status::CANCELLED && !was.status.is_done()) {
        return;
    }
    let depends = |task: &&Task| !task.status.is_finished() && task.dependencies.iter().any(|name| name == id.as_str());
    let waiting: Vec<&str> = after.queue.tasks().filter(depends).map(|task| task.id.as_str()).collect();
    if !waiting.is_empty() {
        ctx.ui.warn(&format!("these depend on it and wait: {}", waiting.join(", ")));
    }
}

/// Decides about the queue by the project's own roles: changing anything by others would be wrong, so none stand in.
pub(super) fn decide(
    ctx: &Context,
    dry: Dry,
    decide: impl FnMut(&Snapshot, &Workflow, &Actor) -> Answer,
) -> Result<Changed, Failure> {
    ctx.project.decide(dry.dry_run, &ctx.project.loaded()?.config.workflow, decide)
}

/// Decides about one task in the same way.
pub(super) fn decide_on(
    ctx: &Context,
    dry: Dry,
    id: &str,
    on: impl FnMut(&Snapshot, &Workflow, &TaskId, &Actor) -> Answer,
) -> Result<(TaskId, Changed), Failure> {
    ctx.project.decide_on(dry.dry_run, &ctx.project.loaded()?.config.workflow, id, on)
}
