//! `agentctl fleet`: starts, stops and shows the workers, and says which way it does so.

use std::{collections::BTreeSet, time::Duration};

use super::{
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
};
use oodatcaa_ops::{
    Failure,
    view::{FleetView, UnitsView, WorkerResult, WorkerView},
};
use oodatcaa_store::StoreError;

/// Flags of `fleet`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start workers that do not run; a role that was paused works again
    Start(Which),
    /// Stop workers: their attempts may end first, then they are stopped and given back
    Stop(Which),
    /// Stop workers and start them again
    Restart(Which),
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
    #[arg(long, value_enum, default_value_t)]
    backend: Way,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    #[default]
    Auto,
    Systemd,
    Process,
}

impl From<Way> for Backend {
    fn from(way: Way) -> Self {
        match way {
            Way::Auto => Self::Auto,
            Way::Systemd => Self::Systemd,
            Way::Process => Self::Process,
        }
    }
}

/// How long a daemon takes by itself to stop where no configuration says: the drain and the grace that ship.
const STOP_AFTER: Duration = Duration::from_secs(25);

/// Runs one of the verbs.
pub fn run(ctx: &Context, args: &Args) -> Done {
    let fleet = of_project(ctx)?;
    match &args.verb {
        Verb::Start(which) => start(ctx, &fleet, which),
        Verb::Stop(which) => stop(ctx, &fleet, which),
        Verb::Restart(which) => restart(ctx, &fleet, which),
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
    let choice = fleet.choose(which.backend.into(), &roles)?;
    tell_choice(ctx, &choice);
    resume(ctx, &roles);
    let mut told = Told::default();
    fleet.start(choice.mode, &roles, which.wait.unwrap_or(READY), &mut |report| told.take(ctx, report))?;
    told.end(ctx, fleet, &choice, &roles)
}

fn stop(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    let choice = fleet.found(which.backend.into())?;
    tell_choice(ctx, &choice);
    tell_attempts(ctx, &roles);
    let mut told = Told::default();
    fleet.stop(which.backend.into(), &roles, which.wait, &mut |report| told.take(ctx, report))?;
    told.end(ctx, fleet, &choice, &roles)
}

fn restart(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    // Chosen before anything is stopped: what cannot be started again keeps running.
    let choice = fleet.choose(which.backend.into(), &roles)?;
    tell_choice(ctx, &choice);
    tell_attempts(ctx, &roles);
    let mut told = Told::default();
    fleet.stop(Backend::Auto, &roles, which.wait, &mut |report| told.take(ctx, report))?;
    if told.failed == 0 {
        resume(ctx, &roles);
        fleet.start(choice.mode, &roles, which.wait.unwrap_or(READY), &mut |report| told.take(ctx, report))?;
    }
    told.end(ctx, fleet, &choice, &roles)
}

/// A little more than a detached daemon gives itself: then it is the daemon that says what was wrong.
const READY: Duration = READY_WITHIN.saturating_add(Duration::from_secs(5));

/// Ends the pauses of roles: a person who starts one has seen why it was paused. An agent is no person.
fn resume(ctx: &Context, roles: &[Role]) {
    let Actor::Human(human) = ctx.actor() else { return };
    let store = match ctx.project.store() {
        Ok(store) => store,
        Err(failure) => return ctx.ui.warn(&format!("pauses are not looked at: {}", failure.sentence())),
    };
    for role in roles {
        match fleet::resume(store, role, &human) {
            Ok(true) => ctx.ui.say(&format!("{role} was paused and works again")),
            Ok(false) => {}
            // A project without a queue has no pauses; its workers say what is missing.
            Err(FleetError::Store(StoreError::Missing(_))) => return,
            Err(error) => {
                return ctx.ui.warn(&format!("pauses are not looked at: {}", Failure::from(error).sentence()));
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
    match running {
        0 => {}
        1 => ctx.ui.say(&format!("1 attempt may end within {}, else it is given back", text::duration(drain))),
        n => ctx.ui.say(&format!("{n} attempts may end within {}, else they are given back", text::duration(drain))),
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
    fn take(&mut self, ctx: &Context, report: &Report) {
        let name = format!("{:<12}", report.name);
        let (word, pid) = match &report.what {
            Happened::Started { pid } => ("started", Some(*pid)),
            Happened::RunsAlready { pid, .. } => ("already_running", *pid),
            Happened::Stopped { killed: false } => ("stopped", None),
            Happened::Stopped { killed: true } => ("killed", None),
            Happened::NotRunning { .. } => ("not_running", None),
            Happened::Failed { .. } => ("failed", None),
        };
        let mut worker = WorkerResult { name: report.name.clone(), result: word, pid, error: None, log: None };
        match &report.what {
            Happened::Started { pid } => ctx.ui.say(&good(&format!("{name} started, process {pid}"))),
            Happened::RunsAlready { pid, mode } => {
                let pid = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
                ctx.ui.say(&good(&format!("{name} runs already ({}){pid}", mode.as_str())));
            }
            Happened::Stopped { killed: false } => ctx.ui.say(&good(&format!("{name} stopped"))),
            Happened::Stopped { killed: true } => {
                ctx.ui.say(&Tone::Warn.paint(&format!("! {name} did not stop in time and was killed")));
            }
            Happened::NotRunning { stale: false } => ctx.ui.say(&format!("· {name} not running")),
            Happened::NotRunning { stale: true } => {
                ctx.ui.say(&format!("· {name} not running; a stale pid file was removed"));
            }
            Happened::Failed { why, lines, human } => {
                self.failed += 1;
                self.human |= human;
                (worker.error, worker.log) = (Some(why.clone()), Some(lines.clone()));
                ctx.ui.say(&Tone::Bad.paint(&format!("✗ {name} {}", one_line(why))));
                for line in lines {
                    // What helps is the same for all that fail in the same way.
                    if is_hint(line) && !self.hints.insert(line.replace(&report.name, "ROLE")) {
                        continue;
                    }
                    ctx.ui.say(&format!("    {}", one_line(line)));
                }
            }
        }
        self.workers.push(worker);
    }

    fn end(self, ctx: &Context, fleet: &Fleet, choice: &Choice, roles: &[Role]) -> Done {
        let rows = fleet.status(roles)?;
        if ctx.ui.json() {
            ctx.ui.value(&FleetView { results: Some(self.workers), ..view(choice, &rows, roles) });
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

fn good(line: &str) -> String {
    Tone::Good.paint(&format!("✓ {line}"))
}

fn status(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    let choice = fleet.found(which.backend.into())?;
    let mut rows = fleet.status(&roles)?;
    match which.backend {
        Way::Auto => {}
        Way::Systemd => rows.retain(|row| row.mode != Some(Mode::PidFile)),
        Way::Process => rows.retain(|row| row.mode != Some(Mode::Systemd)),
    }
    if ctx.ui.json() {
        ctx.ui.value(&view(&choice, &rows, &roles));
        return Ok(0);
    }
    tell_choice(ctx, &choice);
    let mut table = Table::new("ROLE | STATE | PID? | FOR? | MODE? | SAYS~ | LOG~");
    let below = format!("{}/", ctx.project.layout()?.root().display());
    for row in &rows {
        let seconds = row.up.map(|up| up.as_secs());
        table.row([
            Item::new(&row.name).tone(Tone::Strong),
            Item::new(state_words(&row.state)).tone(tone(&row.state)),
            Item::of(row.pid),
            Item::new(seconds.map(|s| text::duration(Duration::from_secs(s))).unwrap_or_default())
                .or_piped(seconds.map(|seconds| seconds.to_string()).unwrap_or_default()),
            Item::of(row.mode.map(Mode::as_str)),
            Item::of(row.says.as_deref()),
            Item::new(row.log.strip_prefix(&below).unwrap_or(&row.log)).or_piped(&row.log).tone(Tone::Faint),
        ]);
    }
    ctx.ui.table(&table);
    ctx.ui.say(&summary(&rows, &roles));
    Ok(0)
}

fn state_word(state: &State) -> &'static str {
    match state {
        State::Running => "running",
        State::Starting => "starting",
        State::Stopping => "stopping",
        State::Stopped => "stopped",
        State::Failed(_) => "failed",
    }
}

fn state_words(state: &State) -> String {
    match state {
        State::Failed(why) => format!("failed: {why}"),
        state => state_word(state).into(),
    }
}

fn tone(state: &State) -> Tone {
    match state {
        State::Running => Tone::Good,
        State::Starting | State::Stopping => Tone::Busy,
        State::Stopped => Tone::Faint,
        State::Failed(_) => Tone::Bad,
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

fn view(choice: &Choice, rows: &[Row], roles: &[Role]) -> FleetView {
    let worker = |row: &Row| WorkerView {
        name: row.name.clone(),
        role: fleet::pidfile::role_of(&row.name).into(),
        state: state_word(&row.state),
        reason: match &row.state {
            State::Failed(why) => Some(why.clone()),
            _ => None,
        },
        pid: row.pid,
        up_seconds: row.up.map(|up| up.as_secs()),
        mode: row.mode.map(Mode::as_str),
        says: row.says.clone(),
        log: row.log.clone(),
    };
    FleetView {
        mode: choice.mode.as_str(),
        why: choice.why.clone(),
        notes: choice.notes.clone(),
        workers: rows.iter().map(worker).collect(),
        running: running(rows, roles),
        workers_running: working(rows),
        roles: roles.len(),
        results: None,
    }
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
    ctx.ui.say("next:");
    ctx.ui.say("  start them now:               agentctl fleet start");
    ctx.ui.say(&format!("  start them when you log in:   systemctl --user enable {}", units.join(" ")));
    ctx.ui.say(&format!("  follow what one says:         journalctl --user -f -u {}", units[0]));
    ctx.ui.say("  take them away again:         systemd/uninstall-services.sh");
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
