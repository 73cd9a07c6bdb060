//! `agentctl status`: who works on what, what waits, and what needs a human; once or again and again.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use crossbeam_channel::select;
use serde_json::{Value, json};

use super::{
    context::Context,
    fail::{Done, exit},
    pool,
    sight::{Sight, State, seconds_item, title},
    ui::{Column, Item, Key, Table, Tone},
};
use oodatcaa_config::AgentKind;
use oodatcaa_core::{
    LeaseRecord, Role, RoleRule, Task, claim, external_edits,
    lease::LeaseHealth,
    needs,
    text::{many, one_line, parse_duration},
    time::stamp,
};
use oodatcaa_fleet::pidfile;
use oodatcaa_ops::Failure;
use oodatcaa_store::Reading;

/// Flags of `status`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Show it again whenever something changed, at the latest after this long
    #[arg(short, long, value_name = "S", num_args = 0..=1, require_equals = true, default_missing_value = "5s", value_parser = parse_duration)]
    watch: Option<Duration>,
}

/// The shortest time between two frames: a person reads no faster, and a busy fleet changes often.
const FRAME: Duration = Duration::from_millis(250);

/// Prints how the fleet stands.
pub fn run(ctx: &Context, args: &Args) -> Done {
    let Some(longest) = args.watch else {
        let reading = ctx.read()?;
        let sight = Sight::new(&reading.snapshot, ctx.workflow());
        let status = Status::of(ctx, &sight, &reading)?;
        if ctx.ui.json() {
            ctx.ui.value(&status.object(&sight));
        } else {
            status.print(ctx, &sight);
        }
        return Ok(0);
    };
    let changes = ctx.store()?.changes()?;
    let screen = ctx.ui.screen();
    while !ctx.ui.closed() {
        let reading = ctx.store()?.read()?;
        let sight = Sight::new(&reading.snapshot, ctx.workflow());
        let status = Status::of(ctx, &sight, &reading)?;
        if ctx.ui.json() {
            ctx.ui.record(&status.object(&sight));
        } else {
            ctx.ui.frame(&status.screen(ctx, &sight));
        }
        let started = Instant::now();
        // Elapsed times move on by themselves, so a frame follows also when nothing changed.
        let key = select! {
            recv(changes) -> _ => None,
            recv(screen.keys()) -> key => key.ok(),
            default(longest.max(FRAME)) => None,
        };
        match key {
            Some(Key::Quit) => break,
            Some(Key::Interrupted) => return Ok(exit::INTERRUPTED),
            Some(Key::Resized) => continue,
            None => {}
        }
        while let Some(left) = FRAME.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
            // What a person does is answered at once.
            select! {
                recv(changes) -> _ => {}
                recv(screen.keys()) -> key => match key {
                    Ok(Key::Quit) => return Ok(0),
                    Ok(Key::Interrupted) => return Ok(exit::INTERRUPTED),
                    Ok(Key::Resized) | Err(_) => break,
                },
                default(left) => {}
            }
        }
        while changes.try_recv().is_ok() {}
    }
    Ok(0)
}

/// Everything that one look tells.
struct Status<'a> {
    project: String,
    sprint: Option<String>,
    roles: Vec<RoleLine<'a>>,
    statuses: BTreeMap<&'a str, usize>,
    states: BTreeMap<State, usize>,
    problems: usize,
    /// What waits for a person: one kind each, in the order of the inbox.
    needs: Vec<&'static str>,
    /// Starts of agents today, and how many are allowed.
    starts: (u32, Option<u32>),
    /// Pools of quota that are not open.
    limited: Vec<String>,
    stopped: Option<String>,
    invalid: Option<String>,
    simulated: bool,
}

struct RoleLine<'a> {
    rule: &'a RoleRule,
    state: &'static str,
    reason: Option<String>,
    workers: Vec<u32>,
    wip: u32,
    limit: u32,
    running: Vec<&'a Task>,
    waiting: usize,
}

impl<'a> Status<'a> {
    fn of(ctx: &Context, sight: &Sight<'a>, reading: &Reading) -> Result<Self, Failure> {
        let layout = ctx.layout()?;
        let queue = &sight.snapshot.queue;
        let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
        let mut states: BTreeMap<State, usize> = BTreeMap::new();
        let mut running: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        for task in queue.tasks() {
            let state = sight.state(task);
            *statuses.entry(task.status.as_str()).or_default() += 1;
            *states.entry(state).or_default() += 1;
            let leased_as = sight.held(task).and_then(|(held, _)| held.role()).map(Role::as_str);
            let role = leased_as.unwrap_or_else(|| sight.role(task));
            match state {
                State::Running | State::Stale => running.entry(role).or_default().push(task),
                State::Waiting | State::Retry => *waiting.entry(role).or_default() += 1,
                _ => {}
            }
        }
        let roles = sight.workflow.rules().iter().map(|rule| {
            let role = &rule.role;
            let workers = workers(ctx, sight, rule);
            let running = running.remove(role.as_str()).unwrap_or_default();
            let pause = sight.snapshot.history.paused(role);
            let live = running.iter().any(|task| sight.state(task) == State::Running);
            let state = match (live, pause, workers.is_empty()) {
                (true, ..) => "working",
                (_, Some(_), _) => "paused",
                (_, _, false) => "idle",
                (_, _, true) => "stopped",
            };
            RoleLine {
                rule,
                state,
                reason: pause.map(|pause| format!("{}: {}", pause.class, pause.reason)),
                workers,
                wip: claim::wip(sight.snapshot, rule),
                limit: sight.workflow.wip_limit(queue, role),
                running,
                waiting: waiting.get(role.as_str()).copied().unwrap_or_default(),
            }
        });
        let mut leases = sight.snapshot.leases.values().filter_map(|held| held.ours());
        let invalid = reading.invalid.as_ref().map(ToString::to_string);
        let needs = needs::list(sight.snapshot, sight.workflow, invalid.as_deref());
        Ok(Self {
            project: layout.name(),
            sprint: queue.sprint.clone(),
            roles: roles.collect(),
            statuses,
            states,
            problems: queue.problems(sight.workflow).len(),
            needs: needs.iter().map(needs::Need::kind).collect(),
            starts: (
                sight.snapshot.starts_on(sight.snapshot.now.wall.date_naive(), None),
                sight.workflow.policy().budgets.day.starts,
            ),
            limited: pool::sentences(sight.snapshot),
            stopped: external_edits::behind(sight.snapshot).map(|behind| behind.reason),
            invalid,
            simulated: leases.any(|lease| lease.simulated) || will_simulate(ctx),
        })
    }

    fn count(&self, state: State) -> usize {
        self.states.get(&state).copied().unwrap_or_default()
    }

    fn total(&self) -> usize {
        self.states.values().sum()
    }

    fn headline(&self) -> String {
        let mut line = Tone::Strong.paint(&one_line(&self.project));
        if let Some(sprint) = &self.sprint {
            write!(line, " · sprint {}", one_line(sprint)).expect("a string takes it");
        }
        let open = self.total() - self.count(State::Cancelled);
        write!(line, " · {}/{open} done", self.count(State::Done)).expect("a string takes it");
        let more = [
            (State::Running, "running"),
            (State::Retry, "to be tried again"),
            (State::Stale, "stale"),
            (State::Failed, "failed"),
        ];
        for (state, words) in more {
            if self.count(state) > 0 {
                let words = format!("{} {words}", self.count(state));
                write!(line, " · {}", state.tone().paint(&words)).expect("a string takes it");
            }
        }
        match self.starts {
            (0, _) => {}
            (starts, None) => write!(line, " · {} today", many(starts as usize, "start")).expect("a string takes it"),
            (starts, Some(most)) => {
                let tone = if starts >= most { Tone::Warn } else { Tone::Faint };
                let words = tone.paint(&format!("{starts} of {} today", many(most as usize, "start")));
                write!(line, " · {words}").expect("a string takes it");
            }
        }
        if self.problems > 0 {
            let problems = if self.problems == 1 { "1 problem" } else { &format!("{} problems", self.problems) };
            write!(line, " · {}", Tone::Warn.paint(problems)).expect("a string takes it");
        }
        if self.simulated {
            write!(line, " · {}", Tone::Warn.paint("SIMULATED: no model is called")).expect("a string takes it");
        }
        line
    }

    fn table(&self, sight: &Sight) -> Table {
        let mut table = Table::new([
            Column::new("ROLE"),
            Column::new("STATE"),
            Column::new("WIP"),
            Column::optional("WAITING"),
            Column::flexible("TASK"),
            Column::optional("TRY"),
            Column::optional("FOR"),
            Column::flexible("NOTE"),
        ]);
        for line in &self.roles {
            let role = line.rule.role.as_str();
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
                    Item::new(format!("{}/{}", line.wip, line.limit)),
                    Item::new(line.waiting.to_string()),
                ]
            };
            let mut running = line.running.iter();
            let rest = |task: Option<&&Task>, note: Option<&str>| match task {
                None => [Item::default(), Item::default(), Item::default(), Item::new(note.unwrap_or_default())],
                Some(task) => {
                    let words = note.map_or_else(|| Self::note(sight, task), String::from);
                    [
                        Item::new(format!("{} {}", task.id, title(task))),
                        Item::new(sight.try_number(task).to_string()),
                        seconds_item(sight.running_for(task)),
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

    fn note(sight: &Sight, task: &Task) -> String {
        let Some((held, health)) = sight.held(task) else { return "no lease; the next worker gives it back".into() };
        let by = held
            .ours()
            .map_or_else(|| held.owner(), |lease| if lease.by.is_empty() { &lease.owner } else { &lease.by });
        let sim = if sight.simulated(task) { "SIM " } else { "" };
        match (health, held.ours().and_then(|lease| lease.stop.as_ref())) {
            (LeaseHealth::Live, None) => format!("{sim}{by}"),
            (LeaseHealth::Live, Some(stop)) => format!("{sim}{by}, stopping: {}", stop.reason),
            (LeaseHealth::Dead(why) | LeaseHealth::Lost(why), _) => format!("{sim}{why}"),
        }
    }

    fn banners(&self) -> Vec<String> {
        let mut banners = Vec::new();
        if let Some(stopped) = &self.stopped {
            banners
                .push(format!("claiming is stopped: {}; look and confirm: agentctl queue repair", one_line(stopped)));
        }
        if !self.needs.is_empty() {
            let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
            self.needs.iter().for_each(|kind| *kinds.entry(kind).or_default() += 1);
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            banners.push(format!("{} ({}): agentctl inbox", needs_you(self.needs.len()), kinds.join(", ")));
        }
        banners.extend(self.limited.iter().cloned());
        banners
    }

    fn print(&self, ctx: &Context, sight: &Sight) {
        self.banners().iter().for_each(|banner| ctx.ui.warn(banner));
        if ctx.ui.pretty() && !ctx.ui.quiet() {
            ctx.ui.line(&self.headline());
        }
        ctx.ui.table(&self.table(sight));
        ctx.ui.foot(match (self.needs.len(), self.problems) {
            (0, 0) if self.roles.iter().any(|line| line.state == "stopped") => {
                "agentctl fleet start · agentctl ls · agentctl status --watch"
            }
            (0, 0) => "agentctl ls · agentctl status --watch · agentctl logs ID -f",
            (0, _) => "agentctl queue validate · agentctl ls · agentctl status --watch",
            _ => "agentctl inbox · agentctl ls is:needs_you · agentctl why ID",
        });
    }

    fn screen(&self, ctx: &Context, sight: &Sight) -> String {
        let mut screen = String::new();
        if ctx.ui.terminal() {
            let now = sight.snapshot.now.wall.format("%H:%M:%SZ");
            let headline = format!("{}  {}", self.headline(), Tone::Faint.paint(&now.to_string()));
            writeln!(screen, "{}", ctx.ui.wrapped(&headline)).expect("a string takes it");
            let banners = self.banners().into_iter().chain(self.invalid.iter().map(|invalid| one_line(invalid)));
            for banner in banners {
                writeln!(screen, "{}", Tone::Warn.paint(&ctx.ui.wrapped(&banner))).expect("a string takes it");
            }
            screen.push_str(&ctx.ui.aligned(&self.table(sight)));
            if let Some(height) = ctx.ui.height() {
                // One row is left for the cursor.
                screen = screen.lines().take(height.saturating_sub(1)).map(|line| format!("{line}\n")).collect();
            }
        } else {
            screen.push_str(&self.table(sight).tabbed());
            screen.push('\n');
        }
        screen
    }

    fn object(&self, sight: &Sight) -> Value {
        let roles = self.roles.iter().map(|line| {
            json!({
                "role": line.rule.role,
                "state": line.state,
                "reason": line.reason,
                "workers": line.workers,
                "wip": line.wip,
                "wip_limit": line.limit,
                "waiting": line.waiting,
                "running": line.running.iter().map(|task| sight.task(task)).collect::<Vec<_>>(),
            })
        });
        let states: serde_json::Map<String, Value> =
            State::ALL.iter().map(|state| (state.word().into(), self.count(*state).into())).collect();
        json!({
            "schema": "oodatcaa/status.v1",
            "at": stamp(sight.snapshot.now.wall),
            "project": self.project,
            "sprint": self.sprint,
            "tasks": self.total(),
            "states": states,
            "statuses": self.statuses,
            "roles": roles.collect::<Vec<_>>(),
            "problems": self.problems,
            "inbox": self.needs.len(),
            "starts": {"today": self.starts.0, "limit": self.starts.1},
            "pools": pool::objects(sight.snapshot),
            "claiming_stopped": self.stopped,
            "invalid": self.invalid,
            "simulated": self.simulated,
            "seq": sight.snapshot.history.seq,
        })
    }
}

/// Whether a role's agent is the simulated one: also while nobody works, nothing that is shown is real.
fn will_simulate(ctx: &Context) -> bool {
    let Ok(loaded) = ctx.loaded() else { return false };
    let mut roles = loaded.config.workflow.rules().iter();
    roles.any(|rule| loaded.agent(&rule.role).is_ok_and(|(_, agent)| agent.kind == AgentKind::Sim))
}

fn needs_you(count: usize) -> String {
    if count == 1 { "1 thing needs you".into() } else { format!("{count} things need you") }
}

/// The processes that serve a role: those with a pid file, and those with a live lease.
fn workers(ctx: &Context, sight: &Sight, rule: &RoleRule) -> Vec<u32> {
    let mut pids: Vec<u32> = Vec::new();
    if let Ok(layout) = ctx.layout() {
        for name in pidfile::names(layout).unwrap_or_default() {
            if pidfile::role_of(&name) == rule.role.as_str()
                && let Ok(pidfile::State::Running(holder)) = pidfile::inspect(layout, &name)
            {
                pids.push(holder.pid);
            }
        }
    }
    for held in sight.snapshot.leases.values() {
        if let LeaseRecord::Ours(lease) = &held.record
            && lease.role == rule.role
            && held.health(&sight.snapshot.now) == LeaseHealth::Live
        {
            pids.push(lease.pid);
        }
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}
