//! `agentctl fleet`: starts, stops and shows the workers, and says which way it does so.

use std::{collections::BTreeMap, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::{context::Context, fail::Done};
use oodatcaa_core::{Role, text};
use oodatcaa_fleet::{self as fleet, Backend, Fleet, Host, READY_WITHIN, supervisor};
use oodatcaa_ops::{Failure, view::UnitsView};

use told::{Told, tell_choice};

mod foreground;
mod pauses;
mod state;
mod told;

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
    #[arg(value_name = "ROLE=N", required = true, value_parser = supervisor::wanted)]
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
        Verb::Pause(args) => pauses::pause(ctx, &fleet, args),
        Verb::Resume(names) => pauses::resume(ctx, &fleet, names),
        Verb::Drain(names) => drain(ctx, &fleet, names),
        Verb::Status(which) => state::status(ctx, &fleet, which),
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
