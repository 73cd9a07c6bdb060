//! `agentctl queue …`: is the file whole, what may be mended safely, what may stand in it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{
    change::Dry,
    context::Context,
    fail::{self, Done, exit},
    ui::{Item, Table, Tone},
};
use oodatcaa_agent::result;
use oodatcaa_config as config;
use oodatcaa_core::{
    Problem, Workflow,
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
        ctx.ui.say("nothing to mend; what only an editor can mend is told by: agentctl queue validate");
        return Ok(exit::OK);
    }
    if dry_run {
        ctx.ui.say(&format!("would mend {}", view.mends.len()));
        return Ok(exit::OK);
    }
    if !ctx.ui.agreed(&format!("mend {count} in {}?", ctx.project.layout()?.name()))? {
        return Ok(exit::FAILED);
    }
    let notes = ctx.project.mend(&reading.snapshot, found, args.from_journal)?;
    notes.iter().for_each(|note| ctx.ui.say(note));
    ctx.ui.say(&format!("mended {count}"));
    Ok(exit::OK)
}
