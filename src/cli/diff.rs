//! `agentctl run diff`: what a task or one attempt on it changed.

use super::{
    context::Context,
    fail::{Done, exit},
    ui::{Item, Table, Tone},
};
use oodatcaa_core::text::many_lines;
use oodatcaa_git::diff;
use oodatcaa_ops::{
    runs,
    view::{ChangedFileView, DiffView},
};

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TASK for all of its work, or TASK/TOKEN for one attempt's
    #[arg(value_name = "RUN")]
    run: String,
    /// Only the files, with how many lines came and went
    #[arg(long)]
    stat: bool,
}

/// Prints a diff.
pub fn run(ctx: &Context, args: &Args) -> Done {
    let (layout, snapshot) = (ctx.project.layout()?, ctx.read()?.snapshot);
    let (task, token) = runs::named(&ctx.project, &snapshot, &args.run)?;
    let branch = snapshot.queue.get(&task).and_then(|task| task.branch.as_deref());
    let range = diff::range(layout, &ctx.project.loaded()?.config.workspace, &task, branch, token)?;
    let files = range.files()?;
    if ctx.ui.json() {
        let patch = if args.stat { None } else { Some(String::from_utf8_lossy(&range.patch()?).into_owned()) };
        ctx.ui.value(&DiffView {
            task,
            token,
            files: files.into_iter().map(changed_file).collect(),
            patch,
            from: range.from,
            to: range.to,
            until: range.until,
        });
        return Ok(exit::OK);
    }
    if files.is_empty() {
        ctx.ui.say(&format!("{} changed nothing", args.run));
        return Ok(exit::OK);
    }
    if args.stat || ctx.ui.quiet() {
        let mut table = Table::new("FILE~ | ADDED | REMOVED | NOTE");
        let count = |lines: Option<u64>| lines.map_or("binary".into(), |lines| lines.to_string());
        for file in &files {
            table.row([
                Item::new(&file.path),
                Item::new(count(file.added)).tone(Tone::Good),
                Item::new(count(file.removed)).tone(Tone::Bad),
                Item::new(if file.risky { "risk" } else { "" }).tone(Tone::Warn),
            ]);
        }
        ctx.ui.table(&table);
        return Ok(exit::OK);
    }
    let patch = range.patch()?;
    if !ctx.ui.terminal() {
        ctx.ui.bytes(&patch);
        return Ok(exit::OK);
    }
    for line in many_lines(&String::from_utf8_lossy(&patch)).lines() {
        let tone = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'd', b'i', b'f', b'f', ..] => Tone::Strong,
            [b'+', ..] => Tone::Good,
            [b'-', ..] => Tone::Bad,
            [b'@', ..] => Tone::Busy,
            _ => Tone::Plain,
        };
        ctx.ui.verbatim(&tone.paint(line));
    }
    let risky: Vec<&str> = files.iter().filter_map(|file| file.look_at.as_deref()).collect();
    if !risky.is_empty() {
        ctx.ui.foot(&format!("look at these closely, other programs obey them: {}", risky.join(", ")));
    }
    Ok(exit::OK)
}

fn changed_file(file: diff::FileChange) -> ChangedFileView {
    ChangedFileView { path: file.path, added: file.added, removed: file.removed, risky: file.risky }
}
