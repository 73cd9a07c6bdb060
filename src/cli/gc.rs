//! `agentctl gc`: makes room where finished tasks have left something for long enough.

use std::time::{Duration, SystemTime};

use super::{
    change::Dry,
    context::Context,
    fail::{Done, exit},
    ui::{Column, Item, Table, Tone},
    worktree,
};
use oodatcaa_core::text::{duration, many, parse_duration};
use oodatcaa_git::{
    gc::{self, What},
    prune,
};
use oodatcaa_ops::view::{GcView, OldRefView, OldRunView};

/// Flags of `gc`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long what finished tasks left stays [default: `workspace.keep`]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    keep: Option<Duration>,
    #[command(flatten)]
    dry: Dry,
}

/// Removes worktrees of merged and cancelled tasks, old runs, and old refs of saved work.
pub fn run(ctx: &Context, args: &Args) -> Done {
    let (layout, config) = (ctx.project.layout()?, &ctx.project.loaded()?.config.workspace);
    let dry = args.dry.dry_run;
    let keep = args.keep.unwrap_or(config.keep);
    let reading = ctx.read()?;
    if let Some(invalid) = reading.invalid {
        // What is finished is not known.
        return Err(invalid.into());
    }
    let old = gc::find(layout, &reading.snapshot, keep, SystemTime::now())?;
    if !dry {
        let trees = worktree::sweep(ctx, true)?.iter().filter(|one| one.done.is_ok()).count();
        let total = old.len() + trees;
        if total > 0
            && !ctx.ui.confirm(&format!(
                "remove {}, and {} of runs and saved work older than {}?",
                many(trees, "worktree"),
                many(old.len(), "piece"),
                duration(keep)
            ))?
        {
            ctx.ui.say("nothing was changed");
            return Ok(exit::FAILED);
        }
    }
    let outcome = worktree::sweep(ctx, dry)?;
    let mut freed = 0;
    for one in &old {
        if !dry {
            gc::remove(layout, one)?;
        }
        freed += one.bytes;
    }
    let aside = prune::aside(layout, config)?;
    if ctx.ui.json() {
        let (runs, refs) = old.iter().fold((Vec::new(), Vec::new()), |(mut runs, mut refs), one| {
            let (task, age_seconds) = (one.task.clone(), one.age.as_secs());
            match &one.what {
                What::Run(dir) => {
                    let dir = dir.to_string_lossy().into_owned();
                    runs.push(OldRunView { task, dir, age_seconds, bytes: one.bytes });
                }
                What::Ref { name, commit } => {
                    refs.push(OldRefView { task, reference: name.clone(), commit: commit.clone(), age_seconds });
                }
            }
            (runs, refs)
        });
        ctx.ui.value(&GcView {
            dry_run: dry,
            keep_seconds: keep.as_secs(),
            worktrees: outcome.iter().map(|one| worktree::outcome(one, dry)).collect(),
            runs,
            refs,
            aside: aside.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            bytes: freed,
            free_bytes: prune::free(layout.root()),
        });
        return Ok(exit::OK);
    }
    let mut table = Table::new([Column::flexible("WHAT"), Column::new("BECAME"), Column::flexible("WHY")]);
    for one in &outcome {
        let [task, word, why] = worktree::row(one, dry);
        table.row([Item::new(format!("worktree {}", task.piped())), word, why]);
    }
    for one in &old {
        let what = match &one.what {
            What::Run(dir) => dir.strip_prefix(layout.root()).unwrap_or(dir).to_string_lossy().into_owned(),
            What::Ref { name, .. } => name.clone(),
        };
        let (tone, word) = if dry { (Tone::Warn, "would go") } else { (Tone::Good, "removed") };
        let age = duration(Duration::from_secs(one.age.as_secs()));
        table.row([
            Item::new(what),
            Item::new(word).tone(tone),
            Item::new(format!("{age} old, {} KiB", one.bytes >> 10)),
        ]);
    }
    for path in &aside {
        let why = "put aside because it was no worktree; look at it, then remove it yourself";
        table.row([Item::new(path.to_string_lossy()), Item::new("kept"), Item::new(why)]);
    }
    if table.is_empty() {
        ctx.ui.say("nothing to clear away");
        return Ok(exit::OK);
    }
    ctx.ui.table(&table);
    ctx.ui.say(&format!("{} MiB {}", freed >> 20, if dry { "would be freed" } else { "freed" }));
    Ok(exit::OK)
}
