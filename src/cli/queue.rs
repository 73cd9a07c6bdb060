//! `agentctl queue …`: is the file whole, what may be mended safely, what may stand in it.

use std::path::PathBuf;

use super::{
    change::Dry,
    context::{Context, input},
    fail::{Done, exit},
    ui::{Item, Table, Tone},
};
use oodatcaa_agent::result;
use oodatcaa_config as config;
use oodatcaa_core::{
    Problem,
    text::{many, one_line},
};
use oodatcaa_ops::{
    ErrorKind, Failure, Mends, quoted,
    view::{ProblemView, RepairView, ValidationView},
};
use oodatcaa_store::{
    Invalid,
    file::{LONGEST, document::Document},
};
use oodatcaa_sys::files;

/// Verbs of `queue`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Check the queue file, or another one
    Validate(Validate),
    /// Mend what can be mended safely, after showing it
    Repair(Repair),
    /// Print the JSON Schema of the queue file, or of another of our files
    Schema(Schema),
}

/// Flags of `validate`.
#[derive(Debug, clap::Args)]
pub(super) struct Validate {
    /// The file, or `-` for standard input [default: the project's queue]
    file: Option<PathBuf>,
}

/// Flags of `schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// Which
    #[arg(value_enum, default_value_t)]
    what: What,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum What {
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
pub(super) struct Repair {
    #[command(flatten)]
    dry: Dry,
    /// When an old queue file was put back: add what it lacks, instead of taking the file as the truth
    #[arg(long)]
    from_journal: bool,
}

/// The JSON Schema of the queue file.
const QUEUE_SCHEMA: &str = include_str!("../../schema/queue.schema.json");
/// The JSON Schema of an event.
const EVENT_SCHEMA: &str = include_str!("../../schema/event.schema.json");

/// Runs a verb of `queue`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
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
    let (path, bytes, next) = match &args.file {
        Some(file) => (file.clone(), input(file, LONGEST)?, "the project's own: agentctl queue validate"),
        None => {
            let layout = ctx.project.layout()?;
            (layout.queue(), files::read(layout.root(), &layout.queue(), LONGEST)?, "agentctl init")
        }
    };
    let missing = || Failure::new(ErrorKind::NotFound, format!("there is no file {}", quoted(&path))).hint(next);
    let (tasks, problems) = match Document::from_bytes(&path, bytes.ok_or_else(missing)?) {
        Err(Invalid { line, column, message, .. }) => {
            (None, vec![Problem { line, column, task: None, code: "unreadable", message }])
        }
        // Any file can be checked anywhere; the project's own roles count where there is a project.
        Ok(document) => (Some(document.queue().len()), document.problems(ctx.workflow())),
    };
    let view = ValidationView {
        file: if path.as_os_str() == "-" { "<stdin>".into() } else { path.display().to_string() },
        ok: problems.is_empty(),
        readable: tasks.is_some(),
        tasks,
        problems: problems.into_iter().map(problem_view).collect(),
    };
    if ctx.ui.json() {
        ctx.ui.value(&view);
    } else {
        tell(ctx, &view);
    }
    Ok(if view.ok { exit::OK } else { exit::NEGATIVE })
}

fn problem_view(problem: Problem) -> ProblemView {
    let Problem { line, column, task, code, message } = problem;
    let known = |number: usize| Some(number).filter(|&number| number > 0);
    ProblemView { line: known(line), column: known(column), task, code, message }
}

fn tell(ctx: &Context, view: &ValidationView) {
    let file = &view.file;
    for problem in &view.problems {
        let place = match (problem.line, problem.column) {
            (None, _) => file.clone(),
            (Some(line), column) => format!("{file}:{line}:{}", column.unwrap_or_default()),
        };
        let (place, message) = (one_line(&place), one_line(&problem.message));
        ctx.ui.line(&format!("{place}: {}: {message}", Tone::Warn.paint(problem.code)));
    }
    ctx.ui.say(&match (view.tasks, view.problems.len()) {
        (None, _) => format!("{file} cannot be read; until it can, nothing is claimed"),
        (Some(tasks), 0) => format!("{file}: {}, no problems", many(tasks, "task")),
        (Some(tasks), problems) => format!("{file}: {}, {}", many(tasks, "task"), many(problems, "problem")),
    });
}

fn repair(ctx: &Context, args: &Repair) -> Done {
    let dry_run = args.dry.dry_run;
    let reading = ctx.project.read()?;
    if let Some(invalid) = reading.invalid {
        return Err(Failure::from(invalid).hint("mend it in an editor; nothing here guesses what was meant"));
    }
    let found = Mends::find(&reading.snapshot, &ctx.project.loaded()?.config.workflow);
    let view = RepairView { dry_run, mends: found.views() };
    if ctx.ui.json() {
        ctx.ui.value(&view);
    } else if !view.mends.is_empty() {
        let mut table = Table::new("WHAT | TASK | MEND~");
        for mend in &view.mends {
            table.row([Item::new(mend.what).tone(Tone::Warn), Item::new(&mend.task), Item::new(&mend.message)]);
        }
        ctx.ui.table(&table);
    }
    let count = many(view.mends.len(), "thing");
    if view.mends.is_empty() {
        ctx.ui.say("nothing to mend here; what only an editor can mend is shown by: agentctl queue validate");
        return Ok(exit::OK);
    }
    if dry_run {
        ctx.ui.say(&format!("would mend {}", view.mends.len()));
        return Ok(exit::OK);
    }
    if !ctx.ui.agreed(&format!("mend {count} in {}?", ctx.project.layout()?.name()))? {
        return Ok(exit::FAILED);
    }
    let notes = ctx.project.mend(found, args.from_journal)?;
    notes.iter().for_each(|note| ctx.ui.say(note));
    ctx.ui.say(&format!("mended {count}"));
    Ok(exit::OK)
}
