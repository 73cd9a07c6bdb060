//! `agentctl inbox`, `approve`, `reject`, `answer`: what waits for a human, and the human's word on it.

use super::{
    change::Dry,
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_core::{
    decision::Word,
    needs,
    state::decisions::Topic,
    text::{cut, one_line},
};
use oodatcaa_ops::{
    sandbox::UNCONFINED,
    view::{Moment, NeedView, Question},
};

/// Flags of `approve`.
#[derive(Debug, clap::Args)]
pub(super) struct Approve {
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
pub(super) struct Reject {
    /// A decision, or a task that waits for one
    id: String,
    /// Why; the next attempt is told
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `answer`.
#[derive(Debug, clap::Args)]
pub(super) struct Answer {
    /// A question, or the task that waits for its answer
    id: String,
    /// The answer, or the number of an option that was offered
    #[arg(required = true, value_name = "TEXT|NUMBER")]
    answer: Vec<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `inbox`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct List {
    /// Exit with 4 when anything waits, for scripts and prompts
    #[arg(long)]
    check: bool,
}

/// Prints what waits for a person.
pub(super) fn list(ctx: &Context, args: &List) -> Done {
    let workflow = ctx.workflow();
    let reading = ctx.read()?;
    let invalid = reading.invalid.map(|error| error.to_string());
    // What is shown here can be decided. Where nothing can be written it is shown all the same.
    let (snapshot, trouble) = ctx.project.ask(reading.snapshot, None)?;
    if let Some(failure) = trouble {
        ctx.ui.warn(&format!("not journalled yet: {}", failure.sentence()));
    }
    let needs = needs::list(&snapshot, workflow, invalid.as_deref());
    let views: Vec<NeedView> = needs.iter().map(|need| ctx.project.need(&snapshot, need)).collect();
    let moment = |time: Option<Moment>| Item::of(time.map(|time| ctx.ui.moment(time.0, snapshot.now.wall)));
    let rows = needs.iter().zip(&views).map(|(need, view)| {
        [
            Item::new(&view.question.id).tone(Tone::Strong),
            Item::new(&view.question.kind).tone(Tone::Warn),
            Item::new(what(ctx, &need.words, view)).tone(if is_unconfined(view) { Tone::Bad } else { Tone::Plain }),
            Item::new(&view.next).tone(Tone::Faint),
            moment(view.question.asked_at),
            moment(view.question.deadline),
        ]
    });
    let foot =
        "agentctl approve ID · agentctl reject ID --reason … · agentctl answer ID TEXT|NUMBER · agentctl show TASK";
    ctx.ui.list(&views, "ID | KIND | WHAT~ | NEXT~ | SINCE? | DEADLINE?", rows, "nothing waits for you", foot)?;
    Ok(if args.check && !needs.is_empty() { exit::HUMAN } else { exit::OK })
}

/// Tells whether work that waits for a yes was done without a sandbox.
fn is_unconfined(view: &NeedView) -> bool {
    view.worked.as_ref().is_some_and(|worked| worked.starts_with(UNCONFINED))
}

/// Says what is asked, how much a merge brings, what to look at, and how many tasks wait for it.
fn what(ctx: &Context, words: &str, view: &NeedView) -> String {
    let mut what = cut(&one_line(words), 500);
    if let Some(size) = size(ctx, &view.question) {
        what.push_str(&format!("{}{size}", if words.ends_with('?') { " " } else { ", " }));
    }
    if !view.look_at.is_empty() {
        what.push_str(&format!("; look at {}", cut(&one_line(&view.look_at.join(", ")), 300)));
    }
    if let Some(worked) = &view.worked {
        what.push_str(&format!("; {worked}"));
    }
    match view.tasks.len() {
        1 if view.question.task.is_none() => what.push_str("; 1 task waits for it"),
        0 | 1 => {}
        waiting => what.push_str(&format!("; {waiting} tasks wait for it")),
    }
    what
}

fn size(ctx: &Context, question: &Question) -> Option<String> {
    let is_merge = question.kind == Topic::Merge.as_str();
    is_merge.then(|| ctx.project.merge_size(question.task.as_ref(), question.commit.as_deref())).flatten()
}

/// Says yes, to each in turn.
pub(super) fn approve(ctx: &Context, args: &Approve) -> Done {
    for id in &args.ids {
        say(ctx, args.dry, id, Word::Approve, args.commit.as_deref())?;
    }
    Ok(exit::OK)
}

/// Says no.
pub(super) fn reject(ctx: &Context, args: &Reject) -> Done {
    say(ctx, args.dry, &args.id, Word::Reject(&args.reason), None)
}

/// Answers a question.
pub(super) fn answer(ctx: &Context, args: &Answer) -> Done {
    say(ctx, args.dry, &args.id, Word::Answer(&args.answer.join(" ")), None)
}

fn say(ctx: &Context, dry: Dry, id: &str, word: Word<'_>, commit: Option<&str>) -> Done {
    let view = ctx.project.resolve(id, word, commit, dry.dry_run)?;
    let Question { id, question, state, kind, .. } = &view.question;
    let question = cut(&one_line(question), 200);
    if !ctx.ui.outcome(&view, id, &format!("{state} · {question}"), &[state, &question]) {
        return Ok(exit::OK);
    }
    if dry.dry_run {
        ctx.ui.say("nothing was changed (--dry-run)");
    }
    match (&view.from, &view.to) {
        (Some(from), Some(to)) if from != to => ctx.ui.say(&one_line(&format!("{from} → {to}"))),
        _ if kind == Topic::Merge.as_str() => match size(ctx, &view.question) {
            Some(size) => ctx.ui.say(&format!("it holds for {size}; for another commit you are asked again")),
            None => ctx.ui.say("it holds for the task as it is now; after a change you are asked again"),
        },
        _ => {}
    }
    Ok(exit::OK)
}
