//! `agentctl ls`: the tasks, in the order in which they are claimed, each with why it stands where it stands.

use super::{
    cells,
    context::Context,
    fail::Done,
    filter::Filter,
    ui::{Item, Tone},
};
use oodatcaa_core::text::{cut, many, one_line};
use oodatcaa_ops::{ReadModel, view::TaskView};

/// The order of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Order {
    /// As they are claimed: priority, then position in the file.
    #[default]
    Priority,
    /// As they are in the file.
    File,
    /// The last changed first.
    Updated,
}

/// Flags of `ls`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// Terms that must all hold: role:R, status:S, is:STATE, prio:<N, -is:STATE, or words of the title
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// Only tasks in these statuses
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Only tasks that these roles have to do now
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    role: Vec<String>,
    /// Done and cancelled tasks as well
    #[arg(short, long)]
    all: bool,
    /// The order of the rows
    #[arg(long, value_enum, default_value_t)]
    sort: Order,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

/// Prints the tasks that pass.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let flags = [("role", &args.role), ("status", &args.status)].into_iter().filter(|(_, names)| !names.is_empty());
    let flags: Vec<String> = flags.map(|(key, names)| format!("{key}:{}", names.join(","))).collect();
    let filter = Filter::parse(&model, args.filter.iter().chain(&flags).map(String::as_str))?;
    let finished = args.all || filter.wants_finished();

    let mut tasks = model.in_order();
    match args.sort {
        Order::Priority => {}
        Order::File => tasks.sort_by_key(|task| task.place),
        Order::Updated => tasks.sort_by_key(|task| std::cmp::Reverse(task.updated_at)),
    }
    tasks.retain(|task| (finished || !task.status.is_finished()) && filter.passes(&model, task));
    let found = tasks.len();
    tasks.truncate(args.limit.unwrap_or(usize::MAX));

    let problems = &model.snapshot.queue.problems;
    if let Some(first) = problems.first().filter(|_| !ctx.ui.json()) {
        let first = one_line(&cut(&first.to_string(), 300));
        ctx.ui.warn(&match problems.len() - 1 {
            0 => format!("the queue file: {first}"),
            more => format!("the queue file: {first}; and {}: agentctl queue validate", many(more, "more problem")),
        });
    }
    let hidden = model.snapshot.queue.len() - found;
    let none = match (model.snapshot.queue.is_empty(), finished) {
        (true, _) if !problems.is_empty() => "no task of the queue can be used".into(),
        (true, _) => "the queue is empty; add a task: agentctl add \"…\" --accept \"…\"".into(),
        (_, false) => format!("nothing to show; {hidden} more with --all or another filter"),
        (_, true) => format!("none of the {hidden} tasks matches the filter"),
    };
    let more = if hidden > 0 { format!("{hidden} more with --all · ") } else { String::new() };
    let foot = format!("{more}agentctl show ID · agentctl why ID · agentctl logs ID -f");
    let views: Vec<TaskView> = tasks.into_iter().map(|task| model.task(task)).collect();
    let rows = views.iter().map(|task| {
        [
            cells::id_item(task),
            Item::new(&task.status).tone(cells::look(task.state).1),
            Item::of(task.role.as_ref()),
            Item::new(task.priority),
            Item::new(cells::title(&task.title)),
            Item::new(&task.why).tone(Tone::Faint),
        ]
    });
    ctx.ui.list(&views, "ID | STATUS | ROLE? | PRIO? | TITLE~ | WHY~", rows, &none, &foot)
}
