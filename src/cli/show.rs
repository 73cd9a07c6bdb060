//! `agentctl show` and `agentctl why`: one task, everything about it, and what keeps it from moving.

use std::time::Duration;

use super::{
    cells,
    context::Context,
    fail::{Done, exit},
    ui::Tone,
};
use oodatcaa_core::{
    TaskId, Token,
    text::{duration, many_lines, one_line},
};
use oodatcaa_ops::{
    ReadModel, find_task, runs, sandbox,
    view::{FactView, LeaseView, Moment, TaskDetail},
};

/// Flags of `show` and `why`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The task
    #[arg(add = super::shell::tasks())]
    pub id: String,
}

/// Prints one task.
pub(super) fn show(ctx: &Context, args: &Args) -> Done {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let detail = model.detail(find_task(&model.snapshot.queue, &args.id)?);
    if ctx.ui.json() {
        ctx.ui.value(&detail);
        return Ok(exit::OK);
    }
    let (pretty, task) = (ctx.ui.pretty(), &detail.task);
    let facts = facts(ctx, &model, &detail);
    if pretty {
        let title = Tone::Strong.paint(&one_line(cells::title(&task.title)));
        let (sign, tone) = cells::look(task.state);
        ctx.ui.line(&format!("{} {title}", tone.paint(&format!("{sign} {}", task.id))));
    }
    // The title stands above on a terminal.
    ctx.ui.facts(&facts[usize::from(pretty)..]);
    for (heading, text) in [
        ("Description", detail.description.clone().unwrap_or_default()),
        ("Acceptance", list(&detail.acceptance_criteria)),
        ("Exit gates", list(&detail.exit_gates)),
    ] {
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if pretty {
            ctx.ui.line(&format!("\n{}", Tone::Strong.paint(heading)));
            many_lines(text).lines().for_each(|line| ctx.ui.line(&format!("  {line}")));
        } else {
            ctx.ui.line(&format!("{}\t{}", heading.to_lowercase(), one_line(text)));
        }
    }
    ctx.ui.foot(&format!(
        "agentctl why {0} · agentctl run list {0} · agentctl logs {0} · agentctl events tail --task {0}",
        task.id
    ));
    Ok(exit::OK)
}

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n")
}

fn facts(ctx: &Context, model: &ReadModel, detail: &TaskDetail) -> Vec<(&'static str, String)> {
    let task = &detail.task;
    let text = |words: &Option<String>| words.clone().unwrap_or_default();
    let moment = |time: Option<Moment>| time.map(|time| ctx.ui.moment(time.0, model.snapshot.now.wall));
    let relative = |name: &str| match model.snapshot.queue.find(name) {
        Some(other) => format!("{name} ({})", other.status),
        None => format!("{name} (missing)"),
    };
    let relatives = |ids: &[TaskId]| ids.iter().map(|id| relative(id.as_str())).collect::<Vec<_>>().join(", ");
    let role = task.role.as_ref().map(|role| format!(" (role {role})")).unwrap_or_default();
    let simulated = if task.simulated { " · SIMULATED" } else { "" };
    let attempts = (task.attempts > 0).then(|| format!("{} charged in this stage", task.attempts));
    vec![
        ("title", format!("{} {}", task.id, cells::title(&task.title))),
        ("status", format!("{}{role}{simulated}", task.status)),
        ("why", task.why.clone()),
        ("lease", task.lease.as_ref().map(|held| lease(held, task.running_seconds, moment)).unwrap_or_default()),
        ("priority", task.priority.to_string()),
        ("type", text(&task.kind)),
        ("complexity", text(&detail.complexity)),
        ("only for", text(&task.only_role)),
        ("depends on", task.dependencies.iter().map(|name| relative(name)).collect::<Vec<_>>().join(", ")),
        ("needed by", relatives(&detail.dependents)),
        ("parent", text(&task.parent)),
        ("children", relatives(&detail.children)),
        ("attempts", attempts.unwrap_or_default()),
        ("sandbox", sandbox::worked(&ctx.project.records(model.snapshot, &task.id)).unwrap_or_default()),
        ("not before", moment(task.not_before).unwrap_or_default()),
        ("blocked", text(&task.blocked_reason)),
        (
            "last failure",
            detail.failures.last().map(|last| format!("{}: {}", last.role, last.reason)).unwrap_or_default(),
        ),
        ("gates", task.gates.join(", ")),
        ("branch", text(&task.branch)),
        ("merged", text(&detail.merged_commit)),
        ("updated", moment(task.updated_at).unwrap_or_default()),
    ]
}

fn lease(lease: &LeaseView, running: Option<u64>, moment: impl Fn(Option<Moment>) -> Option<String>) -> String {
    let mut words = format!("{} by {}", lease.state, lease.owner);
    // Only a lease of ours tells so much.
    if let (Some(token), Some(attempt), Some(pid), Some(beat)) =
        (lease.token, lease.attempt, lease.pid, moment(lease.heartbeat_at))
    {
        words += &format!(", token {token}, try {attempt}, pid {pid}, heartbeat {beat}");
    }
    if let Some(seconds) = running {
        words += &format!(", for {}", duration(Duration::from_secs(seconds)));
    }
    if let Some(stop) = &lease.stop {
        words += &format!(", asked to stop by {}: {}", stop.actor, stop.reason);
    }
    if let Some(why) = &lease.detail {
        words += &format!(" ({why})");
    }
    words
}

/// Returns the newest attempt on a task.
fn why_token(ctx: &Context, task: &TaskId) -> Option<Token> {
    runs::newest(ctx.project.layout().ok()?, task)
}

/// Prints why a task stands where it stands.
pub(super) fn why(ctx: &Context, args: &Args) -> Done {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let task = find_task(&model.snapshot.queue, &args.id)?;
    let mut why = model.why_view(task);
    // The newest attempt may have met what its sandbox forbids.
    if let (Ok(layout), Some(token)) = (ctx.project.layout(), why_token(ctx, &task.id)) {
        let dir = runs::dir(layout, &reading.snapshot, &task.id, token);
        let refused = sandbox::refused(layout, &dir);
        why.facts.extend(refused.into_iter().map(|text| FactView { ok: None, text }));
    }
    if ctx.ui.json() {
        ctx.ui.value(&why);
        return Ok(0);
    }
    if !ctx.ui.pretty() {
        let columns = [task.id.as_str(), task.status.as_str(), &why.rule, &why.sentence, &why.next];
        ctx.ui.line(&columns.map(one_line).join("\t"));
        return Ok(0);
    }
    let tone = cells::look(why.state).1;
    ctx.ui.line(&format!(
        "{} ({}): {}",
        Tone::Strong.paint(task.id.as_str()),
        tone.paint(&one_line(task.status.as_str())),
        one_line(&why.sentence)
    ));
    for fact in &why.facts {
        let mark = match fact.ok {
            Some(true) => Tone::Good.paint("✓"),
            Some(false) => Tone::Bad.paint("✗"),
            None => Tone::Faint.paint("·"),
        };
        ctx.ui.line(&format!("  {mark} {}", one_line(&fact.text)));
    }
    ctx.ui.line(&format!("  {} {}", Tone::Faint.paint("next:"), one_line(&why.next)));
    Ok(0)
}
