//! `agentctl task edit|prio|dep`: what a person changes about a task that stays where it is.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    change::{Dry, Targets, change, change_each, decide_on, tell},
    context::{Context, input},
    fail::Done,
};
use oodatcaa_core::{
    manual::{self, TaskPatch},
    text::one_line,
};
use oodatcaa_ops::{ErrorKind, Failure};

/// What is said of a task that is added or edited.
#[derive(Debug, clap::Args)]
pub(super) struct Said {
    /// What is to be done, in Markdown
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    description: Option<String>,
    /// Read the description from a file, or from standard input (`-`)
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What must be true afterwards; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub accept: Vec<String>,
    /// The type: Story, Build, Test, … [default of a new task: by its status]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Small numbers first [default of a new task: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i64>,
    /// A configured gate that it must pass beside its role's; may be repeated
    #[arg(long = "gate", value_name = "NAME")]
    pub gates: Vec<String>,
}

impl Said {
    /// Returns the description that was given, in words or as a file.
    pub(super) fn description(&self) -> Result<Option<String>, Failure> {
        match &self.file {
            Some(file) => Ok(Some(read_text(file)?.trim_end().into())),
            None => Ok(self.description.clone()),
        }
    }

    /// Refuses gates that nobody configured.
    pub(super) fn check_gates(&self, ctx: &Context) -> Result<(), Failure> {
        if self.gates.is_empty() {
            return Ok(());
        }
        let gates = &ctx.project.loaded()?.config.gates;
        let Some(gate) = self.gates.iter().find(|gate| !gates.contains_key(*gate)) else { return Ok(()) };
        let there: Vec<&str> = gates.keys().map(String::as_str).collect();
        let there = if there.is_empty() { "none".into() } else { there.join(", ") };
        let message = format!("there is no gate `{}`; configured are: {there}", one_line(gate));
        Err(Failure::new(ErrorKind::Usage, message)
            .hint("gates of a project count once it is trusted: agentctl config trust"))
    }
}

/// Flags of `edit`.
#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// One line that says what is wanted
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `prio`.
#[derive(Debug, clap::Args)]
pub(super) struct Prio {
    /// Tasks or filter terms, then the priority: small numbers first
    #[arg(required = true, num_args = 2.., value_names = ["ID|FILTER", "N"], allow_negative_numbers = true, add = super::shell::tasks())]
    words: Vec<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Verbs of `dep`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Dep {
    /// Let a task wait for others
    Add(Depend),
    /// Let a task no longer wait for others
    Rm(Depend),
}

/// Flags of `dep add` and `dep rm`.
#[derive(Debug, clap::Args)]
pub(super) struct Depend {
    /// The task that waits
    #[arg(add = super::shell::tasks())]
    id: String,
    /// The tasks that it waits for
    #[arg(required = true, value_name = "ON", add = super::shell::tasks())]
    on: Vec<String>,
    #[command(flatten)]
    dry: Dry,
}

/// No description is longer.
const LONGEST: u64 = 16 << 20;

fn read_text(file: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::io("read the description from", file, &error);
    let bytes = input(file, LONGEST)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    String::from_utf8(bytes).map_err(|bad| failed(io::Error::other(bad)))
}

/// Changes what is said of a task.
pub(super) fn edit(ctx: &Context, args: &Edit) -> Done {
    let said = &args.said;
    said.check_gates(ctx)?;
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    let changes = TaskPatch {
        title: args.title.clone(),
        description: said.description()?,
        kind: said.kind.clone(),
        priority: said.priority,
        dependencies: None,
        acceptance_criteria: some(&said.accept),
        gates: some(&said.gates),
    };
    if changes == TaskPatch::default() {
        return Err(Failure::new(ErrorKind::Usage, "nothing to change was given").hint("agentctl help task edit"));
    }
    let (id, changed) =
        decide_on(ctx, args.dry, &args.id, |snapshot, _, id, actor| manual::edit(snapshot, id, &changes, actor))?;
    if !changed.changes.is_empty() && changed.before.leases.contains_key(&id) {
        ctx.ui.warn("it is being worked on; the running attempt was given the old text");
    }
    tell(ctx, "edit", &id, &changed, args.dry)
}

/// Changes the priority of tasks.
pub(super) fn prio(ctx: &Context, args: &Prio) -> Done {
    let (number, ids) = args.words.split_last().expect("clap wants two");
    let priority = number.parse().map_err(|_| {
        Failure::new(ErrorKind::Usage, format!("`{number}` is not a priority; it comes last, as a whole number"))
            .hint("agentctl task prio T001 T002 5")
    })?;
    let changes = TaskPatch { priority: Some(priority), ..TaskPatch::default() };
    let targets = Targets { ids: ids.to_vec(), dry: args.dry };
    change_each(ctx, &targets, "prio", |snapshot, _, id, actor| manual::edit(snapshot, id, &changes, actor))
}

/// Changes what a task waits for.
pub(super) fn dep(ctx: &Context, verb: &Dep) -> Done {
    match verb {
        Dep::Add(Depend { id, on, dry }) => {
            change(ctx, *dry, "dep add", id, |snapshot, _, id, actor| manual::depend(snapshot, id, on, actor))
        }
        Dep::Rm(Depend { id, on, dry }) => {
            change(ctx, *dry, "dep rm", id, |snapshot, _, id, actor| manual::undepend(snapshot, id, on, actor))
        }
    }
}
