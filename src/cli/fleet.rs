//! `agentctl fleet`: starts, stops and shows the workers, and says which way it does so.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::{
    cells::seconds_item,
    context::Context,
    fail::{Done, exit},
    ui::{Item, Table, Tone},
};
use oodatcaa_core::{
    LeaseState, Role,
    event::Actor,
    text::{self, one_line},
};
use oodatcaa_fleet::{
    self as fleet, Backend, Choice, Fleet, FleetError, Happened, Host, Mode, READY_WITHIN, Report, Row, State,
    supervisor::MOST,
};
use oodatcaa_ops::{
    ErrorKind, Failure,
    view::{FleetView, PauseView, UnitsView, WorkerResult, WorkerView},
};
use oodatcaa_store::StoreError;

mod foreground;

/// Flags of `fleet`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start workers that do not run; a role that was paused works again
    Start(Which),
    /// Stop workers: their attempts get some time to end, then they are stopped and given back
    Stop(Which),
    /// Stop workers and start them again
    Restart(Which),
    /// Keep workers in the foreground and show what all of them say; Ctrl-C stops them
    Run(Names),
    /// Set how many workers of a role run, e.g. builder=3, where no systemd keeps them
    Scale(Scale),
    /// Let roles claim nothing until they are resumed; what runs goes on
    Pause(Pause),
    /// Let paused roles claim again
    Resume(Names),
    /// Let workers claim nothing more, and leave when their attempts have ended by themselves
    Drain(Names),
    /// Which workers run, since when, and where their logs are
    Status(Which),
    /// Install the workers as systemd units of this user, or bring the installed ones up to date
    #[command(hide = true)]
    Install(Names),
    /// Stop, disable and remove this project's systemd units
    #[command(hide = true)]
    Uninstall,
}

/// Which workers, and how.
#[derive(Debug, clap::Args)]
struct Which {
    #[command(flatten)]
    names: Names,
    /// Under systemd, as processes with pid files, or whichever is there
    #[arg(long, default_value = "auto", value_parser = PossibleValuesParser::new(BACKENDS).map(|word| backend(&word)))]
    backend: Backend,
    /// How long a start or stop may take in all
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    wait: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct Names {
    /// The roles; all when none is named
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Scale {
    /// Roles and numbers of workers
    #[arg(value_name = "ROLE=N", required = true, value_parser = scaled)]
    roles: Vec<(String, u32)>,
    /// How long it may take until the new ones are ready
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    wait: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct Pause {
    #[command(flatten)]
    names: Names,
    /// Why, for whoever finds them paused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Reads `ROLE=N`.
fn scaled(word: &str) -> Result<(String, u32), String> {
    let (role, count) = word.split_once('=').ok_or("expected ROLE=N, e.g. builder=3")?;
    match count.parse() {
        Ok(count) if count <= MOST => Ok((role.into(), count)),
        Ok(_) => Err(format!("at most {MOST} workers may serve one role")),
        Err(_) => Err("expected ROLE=N with a number, e.g. builder=3".into()),
    }
}

const BACKENDS: [&str; 3] = ["auto", "systemd", "process"];

fn backend(word: &str) -> Backend {
    match word {
        "systemd" => Backend::Systemd,
        "process" => Backend::Process,
        _ => Backend::Auto,
    }
}

/// How long a daemon takes by itself to stop where no configuration says: the drain and the grace that ship.
const STOP_AFTER: Duration = Duration::from_secs(25);

/// Runs one of the verbs.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let fleet = of_project(ctx)?;
    match &args.verb {
        Verb::Start(which) => start(ctx, &fleet, which),
        Verb::Stop(which) => stop(ctx, &fleet, which),
        Verb::Restart(which) => restart(ctx, &fleet, which),
        Verb::Run(names) => foreground::run(ctx, &fleet, &fleet.roles(&names.roles)?),
        Verb::Scale(args) => scale(ctx, &fleet, args),
        Verb::Pause(args) => pause(ctx, &fleet, args),
        Verb::Resume(names) => resume_only(ctx, &fleet, names),
        Verb::Drain(names) => drain(ctx, &fleet, names),
        Verb::Status(which) => status(ctx, &fleet, which),
        Verb::Install(names) => install(ctx, &fleet, names),
        Verb::Uninstall => uninstall(ctx, &fleet),
    }
}

/// Returns the fleet of the project that the command is in.
fn of_project(ctx: &Context) -> Result<Fleet, Failure> {
    // Stopping works with a broken configuration, too.
    let stop_after = ctx
        .project
        .loaded()
        .map_or(STOP_AFTER, |loaded| loaded.config.fleet.shutdown_timeout + loaded.config.fleet.grace);
    let roles = ctx.workflow().rules().iter().map(|rule| rule.role.clone());
    Ok(Fleet::new(ctx.project.layout()?, Host::here(), roles, stop_after))
}

fn start(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    let choice = fleet.choose(which.backend, &roles)?;
    tell_choice(ctx, &choice);
    Told::default().start(ctx, fleet, which, &choice, &roles)
}

fn stop(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    let choice = fleet.found(which.backend)?;
    tell_choice(ctx, &choice);
    Told::default().stop(ctx, fleet, which.backend, which, &roles)?.end(ctx, fleet, &choice, &roles)
}

fn scale(ctx: &Context, fleet: &Fleet, args: &Scale) -> Done {
    let mut want = BTreeMap::new();
    for (name, count) in &args.roles {
        for role in fleet.roles(std::slice::from_ref(name))? {
            want.insert(role, *count);
        }
    }
    let roles: Vec<Role> = want.keys().cloned().collect();
    let choice = fleet.found(Backend::Auto)?;
    let mut told = Told::default();
    fleet.scale(&want, args.wait.unwrap_or(READY), &mut |report| told.take(ctx, report))?;
    told.end(ctx, fleet, &choice, &roles)
}

fn drain(ctx: &Context, fleet: &Fleet, names: &Names) -> Done {
    let roles = fleet.roles(&names.roles)?;
    let choice = fleet.found(Backend::Auto)?;
    let mut told = Told::default();
    fleet.drain(&roles, &mut |report| told.take(ctx, report))?;
    told.end(ctx, fleet, &choice, &roles)
}

/// Returns the name of the person who gives the command; an agent is none.
fn person(ctx: &Context) -> Result<String, Failure> {
    match ctx.project.actor() {
        Actor::Human(human) => Ok(human),
        actor => Err(Failure::new(ErrorKind::Refused, format!("only a person may do this, and this is {actor}"))),
    }
}

fn pause(ctx: &Context, fleet: &Fleet, args: &Pause) -> Done {
    let (human, store) = (person(ctx)?, ctx.project.store()?);
    for role in fleet.roles(&args.names.roles)? {
        let changed = fleet::pause(store, &role, &human, args.reason.as_deref())?;
        if ctx.ui.json() {
            ctx.ui.record(&PauseView { role, paused: true, changed });
            continue;
        }
        ctx.ui.say(&match changed {
            true => format!("{role} claims nothing until: agentctl fleet resume {role}"),
            false => format!("{role} is paused already"),
        });
    }
    Ok(exit::OK)
}

fn resume_only(ctx: &Context, fleet: &Fleet, names: &Names) -> Done {
    let (human, store) = (person(ctx)?, ctx.project.store()?);
    for role in fleet.roles(&names.roles)? {
        let changed = fleet::resume(store, &role, &human)?;
        if ctx.ui.json() {
            ctx.ui.record(&PauseView { role, paused: false, changed });
            continue;
        }
        ctx.ui.say(&match changed {
            true => format!("{role} works again"),
            false => format!("{role} was not paused"),
        });
    }
    Ok(exit::OK)
}

fn restart(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    // Chosen before anything is stopped: what cannot be started again keeps running.
    let choice = fleet.choose(which.backend, &roles)?;
    tell_choice(ctx, &choice);
    let told = Told::default().stop(ctx, fleet, Backend::Auto, which, &roles)?;
    match told.failed {
        0 => told.start(ctx, fleet, which, &choice, &roles),
        _ => told.end(ctx, fleet, &choice, &roles),
    }
}

/// A little more than a detached daemon gives itself: then it is the daemon that says what was wrong.
const READY: Duration = READY_WITHIN.saturating_add(Duration::from_secs(5));

/// Ends the pauses of roles: a person who starts one has seen why it was paused. An agent is no person.
fn resume(ctx: &Context, roles: &[Role]) {
    let Actor::Human(human) = ctx.project.actor() else { return };
    let store = match ctx.project.store() {
        Ok(store) => store,
        Err(failure) => return ctx.ui.warn(&format!("cannot look at the pauses: {}", failure.sentence())),
    };
    for role in roles {
        match fleet::resume(store, role, &human) {
            Ok(true) => ctx.ui.say(&format!("{role} was paused and works again")),
            Ok(false) => {}
            // A project without a queue has no pauses; its workers say what is missing.
            Err(FleetError::Store(StoreError::Missing(_))) => return,
            Err(error) => {
                return ctx.ui.warn(&format!("cannot look at the pauses: {}", Failure::from(error).sentence()));
            }
        }
    }
}

/// Says why a stop may take a while. What cannot be read is no reason not to stop.
fn tell_attempts(ctx: &Context, roles: &[Role]) {
    let Ok(reading) = ctx.project.store().and_then(|store| Ok(store.read()?)) else { return };
    let held = reading.snapshot.leases.values().filter_map(LeaseState::ours);
    let running = held.filter(|lease| roles.contains(&lease.role)).count();
    let drain = ctx.project.loaded().map_or(STOP_AFTER, |loaded| loaded.config.fleet.shutdown_timeout);
    if running > 0 {
        let (attempts, drain) = (text::many(running, "attempt"), text::duration(drain));
        ctx.ui.say(&format!("{attempts} may end within {drain}; what has not ended by then is stopped and given back"));
    }
}

fn tell_choice(ctx: &Context, choice: &Choice) {
    let mode = match choice.mode {
        Mode::Systemd => "systemd user units",
        Mode::PidFile => "PID files",
    };
    ctx.ui.say(&format!("mode: {mode}, because {}", choice.why));
    for note in &choice.notes {
        ctx.ui.say(&format!("note: {note}"));
    }
}

/// What has been told so far, for the end.
#[derive(Default)]
struct Told {
    failed: usize,
    /// One of them waits for a human.
    human: bool,
    /// Hints that were given for one that failed, without its name.
    hints: BTreeSet<String>,
    workers: Vec<WorkerResult>,
}

impl Told {
    fn start(mut self, ctx: &Context, fleet: &Fleet, which: &Which, choice: &Choice, roles: &[Role]) -> Done {
        resume(ctx, roles);
        fleet.start(choice.mode, roles, which.wait.unwrap_or(READY), &mut |report| self.take(ctx, report))?;
        self.end(ctx, fleet, choice, roles)
    }

    fn stop(
        mut self,
        ctx: &Context,
        fleet: &Fleet,
        backend: Backend,
        which: &Which,
        roles: &[Role],
    ) -> Result<Self, Failure> {
        tell_attempts(ctx, roles);
        fleet.stop(backend, roles, which.wait, &mut |report| self.take(ctx, report))?;
        Ok(self)
    }

    fn take(&mut self, ctx: &Context, report: &Report) {
        let (tone, result, pid, words) = match &report.what {
            Happened::Started { pid } => (Tone::Good, "started", Some(*pid), format!("started, process {pid}")),
            Happened::RunsAlready { pid, mode } => {
                let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
                (Tone::Good, "already_running", *pid, format!("is already running ({}){process}", mode.as_str()))
            }
            Happened::Draining { attempts } => {
                let left = text::many(*attempts, "attempt");
                (Tone::Good, "draining", None, format!("claims nothing more; {left} may end"))
            }
            Happened::Stopped { killed: false } => (Tone::Good, "stopped", None, "stopped".into()),
            Happened::Stopped { killed: true } => {
                (Tone::Warn, "killed", None, "did not stop in time and was killed".into())
            }
            Happened::NotRunning { stale } => {
                let removed = if *stale { "; a stale pid file was removed" } else { "" };
                (Tone::Plain, "not_running", None, format!("not running{removed}"))
            }
            Happened::Failed { why, .. } => (Tone::Bad, "failed", None, one_line(why)),
        };
        let sign = match tone {
            Tone::Good => '✓',
            Tone::Warn => '!',
            Tone::Bad => '✗',
            _ => '·',
        };
        ctx.ui.say(&tone.paint(&format!("{sign} {:<12} {words}", report.name)));
        let mut worker = WorkerResult { name: report.name.clone(), result, pid, error: None, log: None };
        if let Happened::Failed { why, lines, human } = &report.what {
            self.failed += 1;
            self.human |= human;
            (worker.error, worker.log) = (Some(why.clone()), Some(lines.clone()));
            for line in lines {
                // What helps is the same for all that fail in the same way.
                if !is_hint(line) || self.hints.insert(line.replace(&report.name, "ROLE")) {
                    ctx.ui.say(&format!("    {}", one_line(line)));
                }
            }
        }
        self.workers.push(worker);
    }

    fn end(self, ctx: &Context, fleet: &Fleet, choice: &Choice, roles: &[Role]) -> Done {
        let rows = fleet.status(roles)?;
        if ctx.ui.json() {
            ctx.ui.value(&FleetView { results: Some(self.workers), ..view(fleet, choice, &rows, roles)? });
        } else {
            ctx.ui.say(&summary(&rows, roles));
        }
        Ok(match (self.human, self.failed) {
            (true, _) => exit::HUMAN,
            (false, 0) => exit::OK,
            (false, _) => exit::FAILED,
        })
    }
}

fn is_hint(line: &str) -> bool {
    ["hint:", "see:"].iter().any(|word| line.trim_start().starts_with(word))
}

fn status(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    let choice = fleet.found(which.backend)?;
    let mut rows = fleet.status(&roles)?;
    match which.backend {
        Backend::Auto => {}
        Backend::Systemd => rows.retain(|row| row.mode != Some(Mode::PidFile)),
        Backend::Process => rows.retain(|row| row.mode != Some(Mode::Systemd)),
    }
    if ctx.ui.json() {
        ctx.ui.value(&view(fleet, &choice, &rows, &roles)?);
        return Ok(0);
    }
    tell_choice(ctx, &choice);
    match fleet.supervisor()? {
        Some(pid) => ctx.ui.say(&format!("the supervisor, process {pid}, starts again what crashes")),
        None if rows.iter().any(|row| row.mode == Some(Mode::PidFile)) => {
            ctx.ui.say("no supervisor keeps them, so what crashes stays down; to have one: agentctl fleet start");
        }
        None => {}
    }
    let mut table = Table::new("ROLE | STATE | PID? | FOR? | MODE? | SAYS~ | LOG~");
    let below = format!("{}/", ctx.project.layout()?.root().display());
    for row in &rows {
        let (word, tone, why) = state(&row.state);
        let log = row.log.strip_prefix(&below).unwrap_or(&row.log);
        table.row([
            Item::new(&row.name).tone(Tone::Strong),
            Item::new(why.map_or(word.into(), |why| format!("{word}: {why}"))).tone(tone),
            Item::of(row.pid),
            seconds_item(row.up.map(|up| up.as_secs_f64().floor())),
            Item::of(row.mode.map(Mode::as_str)),
            Item::of(row.says.as_deref()),
            Item::new(log).or_piped(&row.log).tone(Tone::Faint),
        ]);
    }
    ctx.ui.table(&table);
    ctx.ui.say(&summary(&rows, &roles));
    Ok(0)
}

/// Returns the word of a state, how it is painted, and why it is so where that is known.
fn state(state: &State) -> (&'static str, Tone, Option<&str>) {
    match state {
        State::Running => ("running", Tone::Good, None),
        State::Starting => ("starting", Tone::Busy, None),
        State::Stopping => ("stopping", Tone::Busy, None),
        State::Stopped => ("stopped", Tone::Faint, None),
        State::Waiting(why) => ("waiting", Tone::Warn, Some(why)),
        State::Failed(why) => ("failed", Tone::Bad, Some(why)),
    }
}

/// Roles with a worker, not workers: a further instance of a role makes no other role run.
fn running(rows: &[Row], roles: &[Role]) -> usize {
    let runs = |role: &&Role| {
        rows.iter().any(|row| row.state == State::Running && fleet::pidfile::role_of(&row.name) == role.as_str())
    };
    roles.iter().filter(runs).count()
}

fn summary(rows: &[Row], roles: &[Role]) -> String {
    let (served, workers) = (running(rows, roles), working(rows));
    let more = if workers > served { format!(", by {}", text::many(workers, "worker")) } else { String::new() };
    format!("Running: {served}/{}{more}", roles.len())
}

fn working(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.state == State::Running).count()
}

fn view(fleet: &Fleet, choice: &Choice, rows: &[Row], roles: &[Role]) -> Result<FleetView, Failure> {
    let worker = |row: &Row| WorkerView {
        name: row.name.clone(),
        role: fleet::pidfile::role_of(&row.name).into(),
        state: state(&row.state).0,
        reason: state(&row.state).2.map(Into::into),
        pid: row.pid,
        up_seconds: row.up.map(|up| up.as_secs()),
        mode: row.mode.map(Mode::as_str),
        says: row.says.clone(),
        log: row.log.clone(),
    };
    Ok(FleetView {
        mode: choice.mode.as_str(),
        why: choice.why.clone(),
        notes: choice.notes.clone(),
        supervisor: fleet.supervisor()?,
        workers: rows.iter().map(worker).collect(),
        running: running(rows, roles),
        workers_running: working(rows),
        roles: roles.len(),
        results: None,
    })
}

fn install(ctx: &Context, fleet: &Fleet, names: &Names) -> Done {
    let roles = fleet.roles(&names.roles)?;
    let mut notes = fleet.install(&roles, true)?;
    if notes.iter().all(|note| !note.starts_with("installed") && !note.starts_with("updated")) {
        notes.insert(0, "the units are installed and up to date".into());
    }
    if ctx.ui.json() {
        ctx.ui.value(&UnitsView { notes, results: None });
        return Ok(0);
    }
    for note in &notes {
        ctx.ui.say(note);
    }
    let units: Vec<String> = roles.iter().map(fleet::units::unit_name).collect();
    let next = include_str!("fleet/installed.txt").replace("{units}", &units.join(" ")).replace("{unit}", &units[0]);
    next.lines().for_each(|line| ctx.ui.say(line));
    Ok(0)
}

fn uninstall(ctx: &Context, fleet: &Fleet) -> Done {
    let mut told = Told::default();
    let notes = fleet.uninstall(&mut |report| told.take(ctx, report))?;
    if ctx.ui.json() {
        ctx.ui.value(&UnitsView { notes, results: Some(told.workers) });
    } else {
        notes.iter().for_each(|note| ctx.ui.say(note));
    }
    Ok(u8::from(told.failed > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_instance_makes_no_other_role_run() {
        let row = |name: &str, state| Row {
            name: name.into(),
            state,
            pid: None,
            up: None,
            mode: None,
            says: None,
            log: String::new(),
        };
        let rows = [row("builder", State::Running), row("builder@two", State::Running), row("tester", State::Stopped)];
        assert_eq!(summary(&rows, &[Role::BUILDER, Role::TESTER]), "Running: 1/2, by 2 workers");
        assert_eq!(summary(&rows[1..], &[Role::BUILDER, Role::TESTER]), "Running: 1/2");
    }

    #[test]
    fn what_helps_is_told_apart_from_what_happened() {
        assert!(is_hint(" hint: agentctl init") && is_hint("  see: agentctl help agents"));
        assert!(!is_hint("error: failed to see: a hint"));
    }
}
