//! `agentctl status`: who works on what, what waits, and what needs a human; once or again and again.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use super::{
    cells::{self, seconds_item, title},
    context::Context,
    fail::{Done, exit},
    pool,
    ui::{Item, Key, Table, Tone, Ui},
};
use crossbeam_channel::select;
use oodatcaa_core::{
    TaskId, needs,
    text::{many, one_line, parse_duration},
};
use oodatcaa_ops::{
    Failure, Meter, Project, ReadModel, TaskState,
    view::{StatusView, TaskView},
};
use oodatcaa_store::Reading;

/// Flags of `status`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// Show it again whenever something changed, at least this often
    #[arg(short, long, value_name = "S", num_args = 0..=1, require_equals = true, default_missing_value = "5s", value_parser = parse_duration)]
    watch: Option<Duration>,
    /// Only the workers: their processes, what their trees use, what they did last
    #[arg(short = 'W', long)]
    workers: bool,
}

/// The shortest time between two frames: a person reads no faster, and a busy fleet changes often.
const FRAME: Duration = Duration::from_millis(250);

/// Prints how the fleet stands.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let Some(longest) = args.watch else {
        let reading = ctx.read()?;
        let model = ReadModel::new(&reading.snapshot, ctx.workflow());
        let mut meter = Meter::begun(&ctx.project, &model);
        let status = Screen::of(&ctx.project, &model, &reading, &mut meter)?;
        if ctx.ui.json() {
            ctx.ui.value(&status.view);
        } else {
            status.print(ctx, args.workers);
        }
        return Ok(0);
    };
    let changes = ctx.project.store()?.changes()?;
    let screen = ctx.ui.screen();
    let mut meter = Meter::default();
    while !ctx.ui.closed() {
        let reading = ctx.project.store()?.read()?;
        let model = ReadModel::new(&reading.snapshot, ctx.workflow());
        let status = Screen::of(&ctx.project, &model, &reading, &mut meter)?;
        if ctx.ui.json() {
            ctx.ui.record(&status.view);
        } else {
            ctx.ui.frame(&status.frame(ctx, args.workers));
        }
        let shown = Instant::now();
        // Elapsed times move on by themselves, so a frame follows also when nothing changed.
        let mut key = select! {
            recv(changes) -> _ => None,
            recv(screen.keys()) -> key => key.ok(),
            default(longest.max(FRAME)) => None,
        };
        if key.is_none() {
            // What a person does is answered at once.
            key = screen.keys().recv_timeout(FRAME.saturating_sub(shown.elapsed())).ok();
        }
        match key {
            Some(Key::Quit) => break,
            Some(Key::Interrupted) => return Ok(exit::INTERRUPTED),
            Some(Key::Resized) | None => while changes.try_recv().is_ok() {},
        }
    }
    Ok(0)
}

/// How the fleet stands, and what a person is told of it beside the tables.
pub(super) struct Screen {
    /// The state of the fleet.
    pub view: StatusView,
    /// What waits for a person: how many of each kind.
    needs: BTreeMap<&'static str, usize>,
    /// Pools of quota that are not open.
    limited: Vec<String>,
}

impl Screen {
    /// Describes the fleet as it was at a reading.
    pub(super) fn of(
        project: &Project,
        model: &ReadModel<'_>,
        reading: &Reading,
        meter: &mut Meter,
    ) -> Result<Self, Failure> {
        let view = StatusView::of(project, model, reading, meter)?;
        let mut needs = BTreeMap::new();
        for need in needs::list(model.snapshot, model.workflow, view.invalid.as_deref()) {
            *needs.entry(need.kind()).or_default() += 1;
        }
        Ok(Self { limited: view.pools.iter().filter_map(|pool| pool::sentence(pool, view.at)).collect(), view, needs })
    }

    fn count(&self, state: TaskState) -> usize {
        self.view.states.get(&state).copied().unwrap_or_default()
    }

    fn headline(&self) -> String {
        let view = &self.view;
        let mut parts = vec![Tone::Strong.paint(&one_line(&view.project))];
        parts.extend(view.sprint.as_ref().map(|sprint| format!("sprint {}", one_line(sprint))));
        let open = view.tasks - self.count(TaskState::Cancelled);
        parts.push(format!("{}/{open} done", self.count(TaskState::Done)));
        let more = [
            (TaskState::Running, "running"),
            (TaskState::Retry, "to be tried again"),
            (TaskState::Stale, "stale"),
            (TaskState::Failed, "failed"),
        ];
        for (state, words) in more.into_iter().filter(|(state, _)| self.count(*state) > 0) {
            parts.push(cells::look(state).1.paint(&format!("{} {words}", self.count(state))));
        }
        match (view.starts.today, view.starts.limit) {
            (0, _) => {}
            (starts, None) => parts.push(format!("{} today", many(starts as usize, "start"))),
            (starts, Some(most)) => {
                let tone = if starts >= most { Tone::Warn } else { Tone::Faint };
                parts.push(tone.paint(&format!("{starts} of {} today", many(most as usize, "start"))));
            }
        }
        if view.problems > 0 {
            parts.push(Tone::Warn.paint(&many(view.problems, "problem")));
        }
        if view.simulated {
            parts.push(Tone::Warn.paint("SIMULATED: no model is called"));
        }
        parts.join(" · ")
    }

    /// Returns the roles and what they work on, one a row.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new("ROLE | STATE | WIP | WAITING? | TASK~ | TRY? | FOR? | NOTE~");
        for line in &self.view.roles {
            let role = line.role.as_str();
            let tone = match line.state {
                "working" => Tone::Busy,
                "paused" => Tone::Warn,
                "idle" => Tone::Good,
                _ => Tone::Faint,
            };
            let head = || {
                [
                    Item::new(role).tone(Tone::Strong),
                    Item::new(line.state).tone(tone),
                    Item::new(format!("{}/{}", line.wip, line.wip_limit)),
                    Item::new(line.waiting.to_string()),
                ]
            };
            let mut running = line.running.iter();
            let rest = |task: Option<&TaskView>, note: Option<&str>| match task {
                None => [Item::default(), Item::default(), Item::default(), Item::new(note.unwrap_or_default())],
                Some(task) => {
                    let words = note.map_or_else(|| Self::note(task), String::from);
                    [
                        Item::new(format!("{} {}", task.id, title(&task.title))),
                        Item::new(task.try_number().to_string()),
                        seconds_item(task.running_seconds.map(|seconds| seconds as f64)),
                        Item::new(words),
                    ]
                }
            };
            let note = line.reason.as_deref().or((line.state == "stopped").then_some("no worker runs"));
            let first = rest(running.next(), note);
            table.row([head().as_slice(), first.as_slice()].concat());
            for task in running {
                table.row([head().as_slice(), rest(Some(task), None).as_slice()].concat());
            }
        }
        table
    }

    /// Returns the workers, one a row; empty where none runs.
    pub(super) fn workers(&self, ui: &Ui) -> Table {
        let mut table = Table::new("WORKER | PID | STATE | UP | CPU | MEM | PROCS? | TASK? | LAST~");
        for worker in self.view.roles.iter().flat_map(|line| &line.processes) {
            let tone = match worker.state {
                "working" => Tone::Busy,
                "idle" => Tone::Good,
                _ => Tone::Warn,
            };
            let tasks: Vec<&str> = worker.tasks.iter().map(TaskId::as_str).collect();
            let last = worker.last_event.as_ref().map(|last| {
                let about = last.task.as_ref().map(|task| format!(" {task}")).unwrap_or_default();
                let at = ui.moment(last.at.0, self.view.at.0);
                Item::new(format!("{}{about}, {at}", last.kind)).or_piped(format!("{}{about} {at}", last.kind))
            });
            table.row([
                Item::new(&worker.name).tone(Tone::Strong),
                Item::new(worker.pid),
                Item::new(worker.state).tone(tone),
                seconds_item(Some(worker.up_seconds as f64)),
                cells::percent(worker.cpu_percent),
                cells::bytes(worker.memory_bytes),
                Item::new(worker.processes),
                Item::new(tasks.join(" ")),
                last.unwrap_or_default(),
            ]);
        }
        table
    }

    fn note(task: &TaskView) -> String {
        let Some(lease) = &task.lease else { return "no lease; the next worker gives it back".into() };
        let by = lease.agent.as_ref().unwrap_or(&lease.owner);
        let sim = if task.simulated { "SIM " } else { "" };
        match (&lease.detail, &lease.stop) {
            (None, None) => format!("{sim}{by}"),
            (None, Some(stop)) => format!("{sim}{by}, stopping: {}", stop.reason),
            (Some(why), _) => format!("{sim}{why}"),
        }
    }

    /// Returns what a person is told above the tables.
    pub(super) fn banners(&self) -> Vec<String> {
        let mut banners = Vec::new();
        if let Some(stopped) = &self.view.claiming_stopped {
            banners
                .push(format!("claiming is stopped: {}; look and confirm: agentctl queue repair", one_line(stopped)));
        }
        if !self.needs.is_empty() {
            let kinds: Vec<String> = self.needs.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            banners.push(format!("{} ({}): agentctl inbox", needs_you(self.view.inbox), kinds.join(", ")));
        }
        banners.extend(self.limited.iter().cloned());
        banners
    }

    fn print(&self, ctx: &Context, workers: bool) {
        if workers {
            let table = self.workers(&ctx.ui);
            if table.is_empty() {
                ctx.ui.say("no worker runs");
            } else {
                ctx.ui.table(&table);
            }
            return;
        }
        self.banners().iter().for_each(|banner| ctx.ui.warn(banner));
        if ctx.ui.pretty() && !ctx.ui.quiet() {
            ctx.ui.line(&self.headline());
        }
        ctx.ui.table(&self.table());
        let table = self.workers(&ctx.ui);
        if ctx.ui.pretty() && !ctx.ui.quiet() && !table.is_empty() {
            ctx.ui.line("");
            ctx.ui.table(&table);
        }
        ctx.ui.foot(match (self.view.inbox, self.view.problems) {
            (0, 0) if self.view.roles.iter().any(|line| line.state == "stopped") => {
                "agentctl fleet start · agentctl ls · agentctl status --watch"
            }
            (0, 0) => "agentctl ls · agentctl status --watch · agentctl logs ID -f",
            (0, _) => "agentctl queue validate · agentctl ls · agentctl status --watch",
            _ => "agentctl inbox · agentctl ls is:needs_you · agentctl why ID",
        });
    }

    fn frame(&self, ctx: &Context, workers: bool) -> String {
        let mut screen = String::new();
        if ctx.ui.terminal() {
            let now = self.view.at.0.format("%H:%M:%SZ");
            let headline = format!("{}  {}", self.headline(), Tone::Faint.paint(&now.to_string()));
            writeln!(screen, "{}", ctx.ui.wrapped(&headline)).expect("a string takes it");
            let banners = self.banners().into_iter().chain(self.view.invalid.iter().map(|invalid| one_line(invalid)));
            for banner in banners {
                writeln!(screen, "{}", Tone::Warn.paint(&ctx.ui.wrapped(&banner))).expect("a string takes it");
            }
            if !workers {
                screen.push_str(&ctx.ui.aligned(&self.table()));
            }
            let table = self.workers(&ctx.ui);
            if !table.is_empty() {
                screen.push_str(if workers { "" } else { "\n" });
                screen.push_str(&ctx.ui.aligned(&table));
            }
            if let Some(height) = ctx.ui.height() {
                // One row is left for the cursor.
                screen = screen.lines().take(height.saturating_sub(1)).map(|line| format!("{line}\n")).collect();
            }
        } else {
            let table = if workers { self.workers(&ctx.ui) } else { self.table() };
            screen.push_str(&table.tabbed());
            screen.push('\n');
        }
        screen
    }
}

fn needs_you(count: usize) -> String {
    if count == 1 { "1 thing needs you".into() } else { format!("{count} things need you") }
}
