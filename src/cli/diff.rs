//! `agentctl run diff`: what a task or one attempt on it changed.

use super::{
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_core::{Snapshot, TaskId, Token, text::many_lines};
use oodatcaa_git::diff;
use oodatcaa_ops::{
    Failure, Project, runs,
    view::{ChangedFileView, DiffView},
};

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// TASK for all of its work, or TASK/TOKEN for one attempt's
    #[arg(value_name = "RUN")]
    run: String,
    /// Only the files, with how many lines were added and removed
    #[arg(long)]
    stat: bool,
}

/// Prints a diff.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let snapshot = ctx.read()?.snapshot;
    let (task, token) = runs::named(&ctx.project, &snapshot, &args.run)?;
    let range = range(&ctx.project, &snapshot, &task, token)?;
    let files = range.files()?;
    let risky: Vec<String> = files.iter().filter_map(|file| file.look_at.clone()).collect();
    let file = |file: diff::FileChange| ChangedFileView {
        path: file.path,
        added: file.added,
        removed: file.removed,
        risky: file.risky,
    };
    let files: Vec<ChangedFileView> = files.into_iter().map(file).collect();
    if ctx.ui.json() {
        let patch = if args.stat { None } else { Some(String::from_utf8_lossy(&range.patch()?).into_owned()) };
        ctx.ui.value(&DiffView { task, token, files, patch, from: range.from, to: range.to, until: range.until });
        return Ok(exit::OK);
    }
    let none = format!("{} changed nothing", args.run);
    if files.is_empty() || args.stat || ctx.ui.quiet() {
        let count = |lines: Option<u64>| lines.map_or("binary".into(), |lines| lines.to_string());
        let rows = files.iter().map(|file| {
            [
                Item::new(&file.path),
                Item::new(count(file.added)).tone(Tone::Good),
                Item::new(count(file.removed)).tone(Tone::Bad),
                Item::new(if file.risky { "risk" } else { "" }).tone(Tone::Warn),
            ]
        });
        return ctx.ui.list(&files, "FILE~ | ADDED | REMOVED | NOTE", rows, &none, "");
    }
    let patch = range.patch()?;
    if !ctx.ui.terminal() {
        ctx.ui.bytes(&patch);
        return Ok(exit::OK);
    }
    for line in many_lines(&String::from_utf8_lossy(&patch)).lines() {
        ctx.ui.verbatim(&tone(line).paint(line));
    }
    if !risky.is_empty() {
        ctx.ui.foot(&format!("look at these closely, other programs act on them: {}", risky.join(", ")));
    }
    Ok(exit::OK)
}

/// Finds what a task or one attempt on it changed.
pub(super) fn range(
    project: &Project,
    snapshot: &Snapshot,
    task: &TaskId,
    token: Option<Token>,
) -> Result<diff::Range, Failure> {
    let branch = snapshot.queue.get(task).and_then(|task| task.branch.as_deref());
    Ok(diff::range(project.layout()?, &project.loaded()?.config.workspace, task, branch, token)?)
}

/// Returns how a line of a diff is painted.
pub(super) fn tone(line: &str) -> Tone {
    match line.as_bytes() {
        [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'd', b'i', b'f', b'f', ..] => Tone::Strong,
        [b'+', ..] => Tone::Good,
        [b'-', ..] => Tone::Bad,
        [b'@', ..] => Tone::Busy,
        _ => Tone::Plain,
    }
}
