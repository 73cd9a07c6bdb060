//! `agentctl gc`: makes room where finished tasks have left something for long enough.

use std::{path::Path, time::Duration};

use super::{
    change::Dry,
    context::Context,
    fail::{Done, exit},
    ui::{Item, Table},
    worktree,
};
use oodatcaa_core::text::{duration, many, parse_duration};
use oodatcaa_ops::view::OldRunView;

/// Flags of `gc`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long to keep what finished tasks left [default: `workspace.keep`]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    keep: Option<Duration>,
    #[command(flatten)]
    dry: Dry,
}

/// Removes worktrees of merged and cancelled tasks, old runs, and old refs of saved work.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let dry = args.dry.dry_run;
    let keep = args.keep.unwrap_or(ctx.project.loaded()?.config.workspace.keep);
    let reading = ctx.read()?;
    if let Some(invalid) = reading.invalid {
        // What is finished is not known.
        return Err(invalid.into());
    }
    if !dry {
        let would = ctx.project.clear_away(&reading.snapshot, keep, true)?;
        let trees = would.worktrees.iter().filter(|one| one.removed).count();
        let pieces = would.runs.len() + would.refs.len();
        let question = format!(
            "remove {}, and {} of runs and saved work older than {}?",
            many(trees, "worktree"),
            many(pieces, "piece"),
            duration(keep)
        );
        if trees + pieces > 0 && !ctx.ui.agreed(&question)? {
            return Ok(exit::FAILED);
        }
    }
    let done = ctx.project.clear_away(&reading.snapshot, keep, dry)?;
    if ctx.ui.json() {
        ctx.ui.value(&done);
        return Ok(exit::OK);
    }
    let mut table = Table::new("WHAT~ | BECAME | WHY~");
    for one in &done.worktrees {
        let [task, word, why] = worktree::row(one);
        table.row([Item::new(format!("worktree {}", task.piped())), word, why]);
    }
    let root = ctx.project.layout()?.root();
    let run = |run: &OldRunView| {
        let dir = Path::new(&run.dir);
        (dir.strip_prefix(root).unwrap_or(dir).display().to_string(), run.age_seconds, run.bytes)
    };
    let saved = done.refs.iter().map(|saved| (saved.reference.clone(), saved.age_seconds, 0));
    for (what, age, bytes) in done.runs.iter().map(run).chain(saved) {
        let (tone, word) = worktree::went(dry);
        let why = format!("{} old, {} KiB", duration(Duration::from_secs(age)), bytes >> 10);
        table.row([Item::new(what), Item::new(word).tone(tone), Item::new(why)]);
    }
    for path in &done.aside {
        let why = "put aside because it was not a worktree; look at it, then remove it yourself";
        table.row([Item::new(path), Item::new("kept"), Item::new(why)]);
    }
    if table.is_empty() {
        ctx.ui.say("nothing to remove");
        return Ok(exit::OK);
    }
    ctx.ui.table(&table);
    ctx.ui.say(&format!("{} MiB {}", done.bytes >> 20, if dry { "would be freed" } else { "freed" }));
    Ok(exit::OK)
}
