//! `agentctl queue …`: is the file whole, what may be mended safely, what may stand in it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{
    change::{self, Dry},
    context::Context,
    fail::{self, Done, exit},
    lease,
    ui::{Item, Table, Tone},
};
use oodatcaa_agent::result;
use oodatcaa_config as config;
use oodatcaa_core::{
    ChangeSet, Lease, Problem, QueueLease, RunName, Snapshot, TaskId, Workflow,
    event::Actor,
    external_edits,
    lease::LeaseHealth,
    manual, rescue,
    text::{many, one_line},
};
use oodatcaa_git::takeover;
use oodatcaa_ops::{
    ErrorKind, Failure, quoted,
    view::{MendView, ProblemView, RepairView, ValidationView},
};
use oodatcaa_store::{
    Invalid,
    file::{LONGEST, document::Document},
};
use oodatcaa_sys::files;

/// Verbs of `queue`.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Check the queue file, or another one
    Validate(Validate),
    /// Mend what can be mended safely, after showing it
    Repair(Repair),
    /// Print the JSON Schema of the queue file, or of another of our files
    Schema(Schema),
}

/// Flags of `validate`.
#[derive(Debug, clap::Args)]
pub struct Validate {
    /// The file, or `-` for standard input [default: the project's queue]
    file: Option<PathBuf>,
}

/// Flags of `schema`.
#[derive(Debug, clap::Args)]
pub struct Schema {
    /// Which
    #[arg(value_enum, default_value_t)]
    what: What,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// `SPRINT_QUEUE.json`
    #[default]
    Queue,
    /// A line of `events.jsonl`
    Event,
    /// `.oodatcaa/config.toml`
    Config,
    /// An agent's `result.json`
    Result,
}

/// What `queue repair` is told.
#[derive(Debug, clap::Args)]
pub struct Repair {
    #[command(flatten)]
    dry: Dry,
    /// Of an old queue file that was put back: write what it lacks into it, instead of taking it for the truth
    #[arg(long)]
    from_journal: bool,
}

/// The JSON Schema of the queue file.
pub const QUEUE_SCHEMA: &str = include_str!("../../schema/queue.schema.json");
/// The JSON Schema of an event.
pub const EVENT_SCHEMA: &str = include_str!("../../schema/event.schema.json");

/// Runs a verb of `queue`.
pub fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Validate(args) => validate(ctx, args),
        Verb::Repair(args) => repair(ctx, args),
        Verb::Schema(args) => {
            let config_schema = config::schema();
            ctx.ui.bytes(match args.what {
                What::Queue => QUEUE_SCHEMA.as_bytes(),
                What::Event => EVENT_SCHEMA.as_bytes(),
                What::Config => config_schema.as_bytes(),
                What::Result => result::SCHEMA.as_bytes(),
            });
            Ok(exit::OK)
        }
    }
}

fn validate(ctx: &Context, args: &Validate) -> Done {
    let (path, bytes) = match &args.file {
        Some(file) if file.as_os_str() == "-" => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().take(LONGEST).read_to_end(&mut bytes);
            read.map_err(|error| fail::io("read", Path::new("standard input"), &error))?;
            (PathBuf::from("<stdin>"), bytes)
        }
        Some(file) => (
            file.clone(),
            files::read_named(file, LONGEST)?
                .ok_or_else(|| missing(file, "the project's own: agentctl queue validate"))?,
        ),
        None => {
            let path = ctx.project.layout()?.queue();
            let bytes = files::read(ctx.project.layout()?.root(), &path, LONGEST)?
                .ok_or_else(|| missing(&path, "agentctl init"))?;
            (path, bytes)
        }
    };
    // Any file can be checked anywhere; the project's own roles count where there is a project.
    let workflow = match ctx.project.find_layout()? {
        Some(_) => ctx.workflow().clone(),
        None => Workflow::shipped(),
    };
    let (tasks, problems) = match Document::from_bytes(&path, bytes) {
        Err(invalid) => (None, vec![of_invalid(invalid)]),
        Ok(document) => (Some(document.queue().len()), document.problems(&workflow)),
    };
    tell(ctx, &path, tasks, &problems);
    Ok(if problems.is_empty() { exit::OK } else { exit::NEGATIVE })
}

fn missing(path: &Path, next: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no file {}", quoted(path))).hint(next)
}

fn of_invalid(invalid: Invalid) -> Problem {
    let Invalid { line, column, message, .. } = invalid;
    Problem { line, column, task: None, code: "unreadable", message }
}

fn tell(ctx: &Context, path: &Path, tasks: Option<usize>, problems: &[Problem]) {
    if ctx.ui.json() {
        ctx.ui.value(&ValidationView {
            file: path.display().to_string(),
            ok: problems.is_empty(),
            readable: tasks.is_some(),
            tasks,
            problems: problems.iter().map(problem_view).collect(),
        });
        return;
    }
    for problem in problems {
        let place = match problem.line {
            0 => path.display().to_string(),
            line => format!("{}:{line}:{}", path.display(), problem.column),
        };
        let (place, message) = (one_line(&place), one_line(&problem.message));
        ctx.ui.line(&format!("{place}: {}: {message}", Tone::Warn.paint(problem.code)));
    }
    let path = path.display();
    let Some(tasks) = tasks else {
        return ctx.ui.say(&format!("{path} cannot be read; until it can, nothing is claimed"));
    };
    let tasks = many(tasks, "task");
    match problems.len() {
        0 => ctx.ui.say(&format!("{path}: {tasks}, no problems")),
        n => ctx.ui.say(&format!("{path}: {tasks}, {}", many(n, "problem"))),
    }
}

fn problem_view(problem: &Problem) -> ProblemView {
    ProblemView {
        line: Some(problem.line).filter(|&line| line > 0),
        column: Some(problem.column).filter(|&column| column > 0),
        task: problem.task.clone(),
        code: problem.code,
        message: problem.message.clone(),
    }
}

/// One thing that can be mended without guessing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mend {
    /// A lease file of a dead owner, or one whose task is gone.
    Lease(rescue::Orphan),
    /// A `lease` text that no lease file stands behind.
    Mark(TaskId, String),
    /// An old queue file that was put back, to be taken for the truth.
    Old(external_edits::Behind),
}

impl Mend {
    fn words(&self) -> (&'static str, String, String) {
        match self {
            Self::Lease(left) => ("lease", left.task.to_string(), format!("give it back: {}", left.reason)),
            Self::Mark(id, text) => ("mark", id.to_string(), format!("clear `lease`, now {text:?}, of nobody")),
            Self::Old(behind) => (
                "old_file",
                behind.task.to_string(),
                format!(
                    "take the queue file as it stands for the truth ({}), or, with --from-journal, write what it lacks into it: {}",
                    many(behind.count, "task"),
                    behind.reason
                ),
            ),
        }
    }
}

/// Finds what can be mended without guessing.
fn mends(snapshot: &Snapshot, workflow: &Workflow) -> Vec<Mend> {
    let mut all: Vec<Mend> = rescue::find(snapshot, workflow).into_iter().map(Mend::Lease).collect();
    let alive = |held: &oodatcaa_core::LeaseState| held.health(&snapshot.now) == LeaseHealth::Live;
    for (id, held) in &snapshot.leases {
        // A foreign lease on nothing holds nothing; a living worker's is its own business.
        if snapshot.queue.get(id).is_none() && alive(held) && held.ours().is_none() {
            all.push(Mend::Lease(rescue::Orphan {
                task: id.clone(),
                token: held.token(),
                run: held.ours().map_or_else(|| RunName::of(held.token()), Lease::run_name),
                role: None,
                reason: "there is no such task".into(),
                died: false,
                lease: true,
                beat: None,
                landed: None,
            }));
        }
    }
    for task in snapshot.queue.tasks() {
        let found = all.iter().any(|mend| matches!(mend, Mend::Lease(left) if left.task == task.id));
        if found || snapshot.leases.contains_key(&task.id) {
            continue;
        }
        let text = match &task.lease {
            QueueLease::None => continue,
            QueueLease::Inline { until: Some(until), .. } if snapshot.now.wall < *until => continue,
            QueueLease::Ours { owner, token } => format!("{owner}#{token}"),
            QueueLease::Inline { owner, .. } => owner.clone(),
            QueueLease::Other(text) => text.clone(),
        };
        all.push(Mend::Mark(task.id.clone(), one_line(&text)));
    }
    all.extend(external_edits::behind(snapshot).map(Mend::Old));
    all
}

fn repair(ctx: &Context, args: &Repair) -> Done {
    let dry = args.dry;
    let loaded = ctx.project.loaded()?;
    let workflow = &loaded.config.workflow;
    let reading = ctx.project.store()?.read()?;
    if let Some(invalid) = reading.invalid {
        return Err(Failure::from(invalid).hint("mend it in an editor; nothing here guesses what was meant"));
    }
    let found = mends(&reading.snapshot, workflow);
    if ctx.ui.json() {
        let view = |mend: &Mend| {
            let (what, task, message) = mend.words();
            MendView { what, task, message }
        };
        ctx.ui.value(&RepairView { dry_run: dry.dry_run, mends: found.iter().map(view).collect() });
    } else {
        let mut table = Table::new("WHAT | TASK | MEND~");
        for mend in &found {
            let (what, task, words) = mend.words();
            table.row([Item::new(what).tone(Tone::Warn), Item::new(task), Item::new(words)]);
        }
        if !table.is_empty() {
            ctx.ui.table(&table);
        }
    }
    if found.is_empty() {
        ctx.ui.say("nothing to mend; what only an editor can mend is told by: agentctl queue validate");
        return Ok(exit::OK);
    }
    if dry.dry_run {
        ctx.ui.say(&format!("would mend {}", found.len()));
        return Ok(exit::OK);
    }
    if !ctx.ui.agreed(&format!("mend {} in {}?", count(found.len()), ctx.project.layout()?.name()))? {
        return Ok(exit::FAILED);
    }
    let of_lease = |mend: &Mend| if let Mend::Lease(left) = mend { Some(left.clone()) } else { None };
    let mut lefts: Vec<rescue::Orphan> = found.iter().filter_map(of_lease).collect();
    for left in &lefts {
        lease::end_processes(ctx, &left.task, &left.run)?;
    }
    takeover::see_what_landed(ctx.project.layout()?, &loaded.config, Some(&reading.snapshot), &mut lefts);
    let retry = &loaded.config.retry;
    change::decide(ctx, dry, |snapshot, workflow, actor| {
        let mut wanted = mends(snapshot, workflow);
        wanted.retain(|mend| confirmed(mend, &found));
        for mend in &mut wanted {
            if let Mend::Lease(now) = mend
                && let Some(asked) = lefts.iter().find(|left| left.is(now))
            {
                now.landed.clone_from(&asked.landed);
            }
        }
        Ok(mend(snapshot, workflow, retry, &wanted, args.from_journal, actor))
    })?;
    ctx.ui.say(&format!("mended {}", count(found.len())));
    Ok(exit::OK)
}

fn count(things: usize) -> String {
    many(things, "thing")
}

/// Tells whether this was shown and agreed to; what has changed since is left alone.
fn confirmed(mend: &Mend, shown: &[Mend]) -> bool {
    shown.iter().any(|other| match (mend, other) {
        (Mend::Lease(now), Mend::Lease(then)) => now.task == then.task && now.token == then.token,
        (Mend::Old(now), Mend::Old(then)) => now.task == then.task,
        (now, then) => now == then,
    })
}

fn mend(
    snapshot: &Snapshot,
    workflow: &Workflow,
    retry: &oodatcaa_core::outcome::Retry,
    wanted: &[Mend],
    from_journal: bool,
    actor: &Actor,
) -> ChangeSet {
    let human = |mut changes: ChangeSet| {
        changes.events.iter_mut().for_each(|event| event.actor = actor.clone());
        changes
    };
    let lefts: Vec<rescue::Orphan> = wanted
        .iter()
        .filter_map(|mend| match mend {
            Mend::Lease(left) => Some(left.clone()),
            _ => None,
        })
        .collect();
    snapshot.chain(&mut [
        // The old file first: what is decided after it is decided on the new truth.
        &mut |seen| {
            let mut changes = ChangeSet::none();
            if wanted.iter().any(|mend| matches!(mend, Mend::Old(_))) {
                match from_journal {
                    true => changes = external_edits::restore(seen, actor),
                    false => changes.event(external_edits::baseline(seen, actor.clone())),
                }
            }
            changes
        },
        &mut |seen| human(rescue::decide(seen, workflow, retry, &lefts, "")),
        &mut |seen| {
            let mut changes = ChangeSet::none();
            for left in lefts.iter().filter(|left| seen.queue.get(&left.task).is_none()) {
                if seen.leases.contains_key(&left.task) {
                    changes.then(
                        manual::release(seen, workflow, &left.task, left.token, None, &left.reason, actor)
                            .unwrap_or_default(),
                    );
                }
            }
            changes
        },
        &mut |seen| {
            let mut changes = ChangeSet::none();
            for mend in wanted {
                if let Mend::Mark(id, _) = mend {
                    changes.then(manual::clear_mark(seen, id, false, Some("repair"), actor).unwrap_or_default());
                }
            }
            changes
        },
    ])
}
