//! `agentctl show` and `agentctl why`: one task, everything about it, and what keeps it from moving.

use super::{cells, context::Context, fail::Done, ui::Tone};
use oodatcaa_core::{
    Task, landing,
    lease::LeaseHealth,
    text::{duration, many_lines, one_line},
};
use oodatcaa_ops::{ReadModel, find_task, view::health_word};

/// Flags of `show` and `why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
}

/// Prints one task.
pub fn show(ctx: &Context, args: &Args) -> Done {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let task = find_task(&model.snapshot.queue, &args.id)?;
    if ctx.ui.json() {
        ctx.ui.value(&model.detail(task));
        return Ok(0);
    }
    let pretty = ctx.ui.pretty();
    let facts = facts(ctx, &model, task);
    if pretty {
        let title = Tone::Strong.paint(&one_line(cells::title(&task.title)));
        let state = model.state(task);
        ctx.ui.line(&format!("{} {title}", cells::tone(state).paint(&format!("{} {}", cells::glyph(state), task.id))));
    }
    // The title stands above on a terminal.
    ctx.ui.facts(&facts[usize::from(pretty)..]);
    for (heading, text) in [
        ("Description", task.description.clone()),
        ("Acceptance", list(&task.acceptance_criteria)),
        ("Exit gates", list(&task.exit_gates)),
    ] {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { continue };
        if pretty {
            ctx.ui.line(&format!("\n{}", Tone::Strong.paint(heading)));
            many_lines(text.trim_end()).lines().for_each(|line| ctx.ui.line(&format!("  {line}")));
        } else {
            ctx.ui.line(&format!("{}\t{}", heading.to_lowercase(), one_line(text.trim_end())));
        }
    }
    ctx.ui.foot(&format!(
        "agentctl why {0} · agentctl run list {0} · agentctl logs {0} · agentctl events tail --task {0}",
        task.id
    ));
    Ok(0)
}

fn list(items: &[String]) -> Option<String> {
    let lines: Vec<String> = items.iter().map(|item| format!("- {item}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn facts(ctx: &Context, model: &ReadModel, task: &Task) -> Vec<(&'static str, String)> {
    let now = model.snapshot.now.wall;
    let queue = &model.snapshot.queue;
    let relatives = |tasks: &[&Task]| {
        tasks.iter().map(|task| format!("{} ({})", task.id, task.status)).collect::<Vec<_>>().join(", ")
    };
    let dependencies = task.dependencies.iter().map(|name| match queue.find(name) {
        Some(other) => format!("{name} ({})", other.status),
        None => format!("{name} (missing)"),
    });
    let children: Vec<&Task> = queue.children(&task.id).collect();
    let dependents = model.dependents();
    let role = model.role(task);
    let status = if role.is_empty() { task.status.to_string() } else { format!("{} (role {role})", task.status) };
    let simulated = if model.simulated(task) { " · SIMULATED" } else { "" };
    let known = model.snapshot.history.task(&task.id);
    vec![
        ("title", format!("{} {}", task.id, cells::title(&task.title))),
        ("status", status + simulated),
        ("why", model.sentence(task)),
        ("lease", lease(ctx, model, task)),
        ("priority", task.priority.to_string()),
        ("type", task.kind.clone().unwrap_or_default()),
        ("complexity", task.complexity.clone().unwrap_or_default()),
        ("only for", task.role.clone().unwrap_or_default()),
        ("depends on", dependencies.collect::<Vec<_>>().join(", ")),
        ("needed by", dependents.get(task.id.as_str()).map(|tasks| relatives(tasks)).unwrap_or_default()),
        ("parent", task.parent.clone().unwrap_or_default()),
        ("children", relatives(&children)),
        (
            "attempts",
            if task.attempts > 0 { format!("{} charged in this stage", task.attempts) } else { String::new() },
        ),
        ("not before", task.not_before.map(|time| ctx.ui.moment(time, now)).unwrap_or_default()),
        ("blocked", task.blocked_reason.clone().unwrap_or_default()),
        (
            "last failure",
            known
                .and_then(|known| known.failures.last())
                .map(|(role, why)| format!("{role}: {why}"))
                .unwrap_or_default(),
        ),
        ("gates", task.gates.join(", ")),
        ("branch", task.branch.clone().unwrap_or_default()),
        ("merged", landing::merged(model.snapshot, task).unwrap_or_default()),
        ("updated", task.updated_at.map(|time| ctx.ui.moment(time, now)).unwrap_or_default()),
    ]
}

fn lease(ctx: &Context, model: &ReadModel, task: &Task) -> String {
    let Some((held, health)) = model.held(task) else { return String::new() };
    let mut words = format!("{} by {}", health_word(&health), held.owner());
    if let Some(lease) = held.ours() {
        let now = model.snapshot.now.wall;
        let beat = ctx.ui.moment(lease.heartbeat_at, now);
        words += &format!(", token {}, try {}, pid {}, heartbeat {beat}", lease.token, lease.attempt, lease.pid);
        if let Some(time) = model.running_for(task) {
            words += &format!(", for {}", duration(std::time::Duration::from_secs(time.as_secs())));
        }
        if let Some(stop) = &lease.stop {
            words += &format!(", asked to stop by {}: {}", stop.actor, stop.reason);
        }
    }
    if let LeaseHealth::Dead(why) | LeaseHealth::Lost(why) = health {
        words += &format!(" ({why})");
    }
    words
}

/// Prints why a task stands where it stands.
pub fn why(ctx: &Context, args: &Args) -> Done {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let task = find_task(&model.snapshot.queue, &args.id)?;
    let why = model.why_view(task);
    if ctx.ui.json() {
        ctx.ui.value(&why);
        return Ok(0);
    }
    if !ctx.ui.pretty() {
        let columns = [task.id.as_str(), task.status.as_str(), &why.rule, &why.sentence, &why.next];
        ctx.ui.line(&columns.map(one_line).join("\t"));
        return Ok(0);
    }
    let tone = cells::tone(model.state(task));
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
