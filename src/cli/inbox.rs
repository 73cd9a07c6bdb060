//! `agentctl inbox`, `approve`, `reject`, `answer`: what waits for a human, and the human's word on it.
//!
//! Works without any daemon: the inbox asks itself what nobody has asked yet.

use super::{
    change::Dry,
    context::Context,
    fail::{self, Done},
    ui::{Item, Table, Tone},
};
use oodatcaa_agent::record::Record;
use oodatcaa_core::{
    ChangeSet, Data, Snapshot, Workflow,
    decision::{self, Word},
    needs::{self, Need},
    state::decisions::{Decision, Topic},
    text::{cut, many, one_line},
};
use oodatcaa_git::diff;
use oodatcaa_ops::{
    Failure, undecided,
    view::{DecisionView, NeedView},
};

/// So many attempts on a task are asked what they did beside their work.
const RUNS: usize = 30;

/// Flags of `approve`.
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// Decisions, or tasks that wait for one
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Only if it is about this commit, by its first digits
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `reject`.
#[derive(Debug, clap::Args)]
pub struct Reject {
    /// A decision, or a task that waits for one
    id: String,
    /// Why; whoever works on it next is told
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `answer`.
#[derive(Debug, clap::Args)]
pub struct Answer {
    /// A question, or the task that waits for its answer
    id: String,
    /// The answer, or the number of one that was offered
    #[arg(required = true, value_name = "TEXT|NUMBER")]
    answer: Vec<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Asks what is to be asked now, and closes what nobody asks any more.
fn put_right(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    snapshot.chain(&mut [&mut |seen| decision::tidy(seen, workflow), &mut |seen| decision::ask(seen, workflow)])
}

/// Flags of `inbox`.
#[derive(Debug, Default, clap::Args)]
pub struct List {
    /// Exit with 4 when anything waits, for scripts and prompts
    #[arg(long)]
    check: bool,
}

/// Prints what waits for a person.
pub fn list(ctx: &Context, args: &List) -> Done {
    // With roles that only stand in for the project's nothing is asked.
    let is_broken = ctx.workflow().policy().broken.is_some();
    if !is_broken {
        follow_branches(ctx, None)?;
    }
    let reading = ctx.read()?;
    let (mut snapshot, invalid) = (reading.snapshot, reading.invalid.map(|error| error.to_string()));
    let workflow = ctx.workflow();
    let changes = if is_broken { ChangeSet::none() } else { put_right(&snapshot, workflow) };
    if !changes.is_empty() {
        // What is shown here can be decided, so it is asked first. Where nothing can be written it is shown all the same.
        snapshot = snapshot.after(&changes);
        let mut seen = None;
        let asked = ctx.project.store()?.transact(&mut |now| {
            let changes = put_right(now, workflow);
            seen = Some(now.after(&changes));
            changes
        });
        match (asked, seen) {
            (Ok(_), Some(now)) => snapshot = now,
            (Ok(_), None) => {}
            (Err(error), _) => ctx.ui.warn(&format!("not noted yet: {}", Failure::from(error).sentence())),
        }
    }
    let needs = needs::list(&snapshot, workflow, invalid.as_deref());
    let code = if args.check && !needs.is_empty() { fail::exit::HUMAN } else { 0 };
    if ctx.ui.json() {
        ctx.ui.value(&needs.iter().map(|need| entry(ctx, &snapshot, need)).collect::<Vec<_>>());
        return Ok(code);
    }
    if needs.is_empty() {
        ctx.ui.say("nothing waits for you");
        return Ok(0);
    }
    let mut table = Table::new("ID | KIND | WHAT~ | NEXT~ | SINCE? | DEADLINE?");
    let now = snapshot.now.wall;
    for need in &needs {
        let deadline = need.decision.and_then(|decision| decision.deadline);
        let waiting = match need.tasks.len() {
            n if n > 1 || (n == 1 && need.task().is_none()) => format!("; {} for it", waits(n)),
            _ => String::new(),
        };
        let size = need.decision.and_then(|decision| size(ctx, decision)).map(|size| match need.words.ends_with('?') {
            true => format!(" {size}"),
            false => format!(", {size}"),
        });
        let look = need.decision.map(|decision| look_at(ctx, &snapshot, decision)).filter(|look| !look.is_empty());
        let look = look.map(|look| format!("; look at {}", cut(&one_line(&look.join(", ")), 300)));
        table.row([
            Item::new(need.id()).tone(Tone::Strong),
            Item::new(need.kind()).tone(Tone::Warn),
            Item::new(format!(
                "{}{}{}{waiting}",
                cut(&one_line(&need.words), 500),
                size.unwrap_or_default(),
                look.unwrap_or_default()
            )),
            Item::new(&need.next).tone(Tone::Faint),
            Item::new(need.since.map(|time| ctx.ui.moment(time, now)).unwrap_or_default()),
            Item::new(deadline.map(|time| ctx.ui.moment(time, now)).unwrap_or_default()),
        ]);
    }
    ctx.ui.table(&table);
    ctx.ui.foot(
        "agentctl approve ID · agentctl reject ID --reason … · agentctl answer ID TEXT|NUMBER · agentctl show TASK",
    );
    Ok(code)
}

/// Describes what a merge brings: the commit, how much it changes, and the gates that judge it before it lands.
fn size(ctx: &Context, decision: &Decision) -> Option<String> {
    let commit = decision.commit.as_deref().filter(|_| decision.topic == Topic::Merge)?;
    let short: String = commit.chars().take(12).collect();
    let mut words = format!("commit {short}");
    let (layout, config) = (ctx.project.layout().ok()?, &ctx.project.loaded().ok()?.config);
    let changed =
        diff::range(layout, &config.workspace, decision.task.as_ref()?, None, None).and_then(|range| range.files());
    if let Ok(files) = changed {
        let lines = |of: fn(&diff::FileChange) -> Option<u64>| files.iter().filter_map(of).sum::<u64>();
        words.push_str(&format!(
            " ({}, +{} −{})",
            many(files.len(), "file"),
            lines(|file| file.added),
            lines(|file| file.removed)
        ));
    }
    let role = &config.workflow.merging()?.role;
    match config.roles.get(role).map(|role| role.gates.join(", ")).filter(|gates| !gates.is_empty()) {
        Some(gates) => words.push_str(&format!(", gates: {}", one_line(&gates))),
        None => words.push_str(", no gate"),
    }
    Some(words)
}

/// Lists what deserves a look before a merge: files of the change that other programs obey, tests that it deletes, and what
/// the attempts on the task did beside their work.
fn look_at(ctx: &Context, snapshot: &Snapshot, decision: &Decision) -> Vec<String> {
    let (Some(task), Topic::Merge) = (&decision.task, decision.topic) else { return Vec::new() };
    let (Ok(layout), Ok(loaded)) = (ctx.project.layout(), ctx.project.loaded()) else { return Vec::new() };
    let changed = diff::range(layout, &loaded.config.workspace, task, None, None).and_then(|range| range.files());
    let mut all: Vec<String> = changed.unwrap_or_default().into_iter().filter_map(|file| file.look_at).collect();
    let runs = snapshot.history.task(task).map(|known| known.runs.values()).into_iter().flatten();
    for told in runs.rev().take(RUNS).filter_map(|run| Record::load(&layout.run(task, run))).flat_map(|run| run.beside)
    {
        if !all.contains(&told) {
            all.push(told);
        }
    }
    all
}

/// Looks where the branches stand that wait for a yes, and asks again about those that have moved since. `name` is
/// a decision or a task; all of them without one.
fn follow_branches(ctx: &Context, name: Option<&str>) -> Result<(), Failure> {
    let (layout, loaded) = (ctx.project.layout()?, ctx.project.loaded()?);
    let (config, workflow) = (&loaded.config.workspace, &loaded.config.workflow);
    if !workflow.policy().merge_approval {
        return Ok(());
    }
    let snapshot = ctx.read()?.snapshot;
    let seen = snapshot.after(&put_right(&snapshot, workflow));
    let meant = |decision: &&Decision| name.is_none_or(|name| decision.id == name || decision.subject == name);
    for decision in seen.history.decisions.open().into_iter().filter(|d| d.topic == Topic::Merge).filter(meant) {
        let Some(task) = decision.task.as_ref().and_then(|id| seen.queue.get(id)) else { continue };
        // Where git has no answer, the merge will find out, and ask.
        let Ok(Some(tip)) = diff::tip(layout, config, task) else { continue };
        if decision.commit.as_deref() == Some(tip.as_str()) {
            continue;
        }
        let noted = ctx.project.store()?.transact(&mut |now| {
            now.chain(&mut [&mut |seen| put_right(seen, workflow), &mut |seen| {
                decision::moved(seen, workflow, &task.id, &tip)
            }])
        });
        if let Err(error) = noted {
            ctx.ui.warn(&format!("not noted yet: {}", Failure::from(error).sentence()));
        }
    }
    Ok(())
}

fn waits(count: usize) -> String {
    if count == 1 { "1 task waits".into() } else { format!("{count} tasks wait") }
}

/// Describes something that waits, with what deserves a look.
fn entry(ctx: &Context, snapshot: &Snapshot, need: &Need<'_>) -> NeedView {
    let look = need.decision.map(|decision| look_at(ctx, snapshot, decision)).unwrap_or_default();
    NeedView::of(snapshot, need, look)
}

/// Says yes, to each in turn.
pub fn approve(ctx: &Context, args: &Approve) -> Done {
    for id in &args.ids {
        say(ctx, args.dry, id, Word::Approve, args.commit.as_deref())?;
    }
    Ok(0)
}

/// Says no.
pub fn reject(ctx: &Context, args: &Reject) -> Done {
    say(ctx, args.dry, &args.id, Word::Reject(&args.reason), None)
}

/// Answers a question.
pub fn answer(ctx: &Context, args: &Answer) -> Done {
    say(ctx, args.dry, &args.id, Word::Answer(&args.answer.join(" ")), None)
}

fn say(ctx: &Context, dry: Dry, id: &str, word: Word<'_>, commit: Option<&str>) -> Done {
    let (workflow, actor) = (&ctx.project.loaded()?.config.workflow, ctx.actor());
    if word == Word::Approve && !dry.dry_run {
        follow_branches(ctx, Some(id))?;
    }
    let resolved = |snapshot: &Snapshot| {
        decision::resolve(snapshot, workflow, id, word, &actor).and_then(|changes| decision::pinned(changes, commit))
    };
    let (before, answer) = ctx.project.decided(dry.dry_run, resolved)?;
    let changes = answer.map_err(|refusal| undecided(&before, &refusal))?;
    let after = before.after(&changes);
    // The word's own event is the last about a decision; before it stands what was put right.
    let named = changes.events.iter().rev().find_map(|event| match &event.data {
        Data::DecisionResolved(decided) => decided.decision.as_deref(),
        _ => None,
    });
    let decision = named.and_then(|id| after.history.decisions.get(id)).expect("a word that counts closes a decision");
    tell(ctx, &before, &after, decision, dry);
    Ok(0)
}

fn tell(ctx: &Context, before: &Snapshot, after: &Snapshot, decision: &Decision, dry: Dry) {
    let view = DecisionView::of(before, after, decision, dry.dry_run);
    if ctx.ui.json() {
        ctx.ui.value(&view);
        return;
    }
    let word = decision.closed.as_ref().map_or("open", |closed| closed.how.as_str());
    let question = cut(&one_line(&decision.question), 200);
    if ctx.ui.quiet() {
        ctx.ui.line(&decision.id);
    } else if ctx.ui.pretty() {
        ctx.ui.line(&format!("{} {word} · {question}", Tone::Strong.paint(&decision.id)));
    } else {
        ctx.ui.line(&format!("{}\t{word}\t{question}", decision.id));
    }
    if dry.dry_run {
        ctx.ui.say("nothing was changed (--dry-run)");
    }
    match (view.from, view.to) {
        (Some(from), Some(to)) if from != to => ctx.ui.say(&one_line(&format!("{from} → {to}"))),
        _ if decision.topic == Topic::Merge => match size(ctx, decision) {
            Some(size) => ctx.ui.say(&format!("it holds for {size}; another commit asks again")),
            None => ctx.ui.say("it holds for the task as it is now; a change asks again"),
        },
        _ => {}
    }
}
