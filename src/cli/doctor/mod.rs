//! `agentctl doctor`: looks at everything that a fleet needs, says what is wrong, why it matters and what to run.
//!
//! Looking changes nothing. `--fix` does the few things that cannot do harm, and says each before it does it. What can
//! be found stands in `findings.txt`, and who looks for it in [`CHECKS`].

use super::{context::Context, fail::Done, ui::Ui};
use oodatcaa_config::{Config, Loaded, Overrides, World};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Snapshot, Workflow};
use oodatcaa_fleet::{Fleet, Host, units};
use oodatcaa_ops::{Failure, exit, view::CheckView};
use oodatcaa_store::{Desk, LOCK_WAIT, Reading, StoreError, identity};
use oodatcaa_sys::files;

mod adapters;
mod agents;
mod fix;
mod gates;
mod holders;
mod host;
mod journal;
mod leases;
mod project;
mod queue;
mod report;
mod sandbox;
mod service;

use report::Report;

/// The checks, in the order of the groups in the table of findings.
const CHECKS: &[fn(&mut Report<'_>)] = &[
    project::directories,
    project::own_state,
    project::store,
    project::room,
    project::configuration,
    project::foreign_homes,
    project::git,
    queue::check,
    queue::lost_edits,
    journal::check,
    leases::check,
    holders::queue_lock,
    holders::owners,
    agents::check,
    gates::check,
    gates::unproved,
    agents::prompts,
    sandbox::check,
    service::manager,
    service::workers,
    service::other_programs,
    service::pid_files,
    host::clock,
    host::inotify,
    host::open_files,
];

/// Find out what is wrong
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct DoctorArgs {
    /// Mend what can be mended without harm, after showing it
    #[arg(long)]
    fix: bool,

    /// Run every gate on the commit that work starts from
    #[arg(long)]
    gates: bool,
}

/// What the checks look at; gathered once, each part on its own so that one that fails hides no other.
struct DoctorContext<'a> {
    layout: &'a Layout,
    world: World,
    loaded: Result<Loaded, Failure>,
    workflow: Workflow,
    store: Result<Desk, StoreError>,
    reading: Option<Result<Reading, StoreError>>,
    fleet: Fleet,
    host: Host,
    /// One of the project's systemd units, where they are installed.
    unit: Option<String>,
    /// Gates are run, not only looked at.
    tries_gates: bool,
}

impl<'a> DoctorContext<'a> {
    fn new(layout: &'a Layout, world: &World, host: &Host) -> Self {
        let mut loaded = Config::load_in(world, layout, &Overrides::default()).map_err(Failure::from);
        if let Ok(loaded) = &mut loaded {
            oodatcaa_agent::sandbox::confine_hooks(&mut loaded.config, layout);
        }
        let fleet_config = loaded.as_ref().ok().map(|loaded| &loaded.config.fleet);
        let lock_wait = fleet_config.map_or(LOCK_WAIT, |fleet| fleet.lock_wait);
        let stop_after = fleet_config.map(|fleet| fleet.shutdown_timeout + fleet.grace).unwrap_or_default();
        let open = |owner| oodatcaa_store::open(layout.root(), layout, owner, lock_wait);
        // With an identity, as a worker opens it: what would stop a worker shows here.
        let store = open(Some(identity("agentctl-doctor")));
        let reading = match &store {
            Ok(store) => Some(store.read()),
            Err(_) => open(None).ok().map(|store| store.read()),
        };
        // The shipped table where the configuration does not load.
        let workflow = loaded.as_ref().map_or_else(|_| Workflow::shipped(), |loaded| loaded.config.workflow.clone());
        let roles = workflow.rules().iter().map(|rule| rule.role.clone());
        let fleet = Fleet::new(layout, host.clone(), roles, stop_after);
        let units = units::of_project(&host.units(), layout.root()).unwrap_or_default();
        let unit = units.first().and_then(|unit| files::read_text(&host.units(), unit.as_ref(), 1 << 20).ok()?);
        let (world, host) = (world.clone(), host.clone());
        Self { layout, world, loaded, workflow, store, reading, fleet, host, unit, tries_gates: false }
    }

    /// Returns what stands in the files, where it can be read.
    fn snapshot(&self) -> Option<&Snapshot> {
        Some(&self.reading.as_ref()?.as_ref().ok()?.snapshot)
    }

    /// Returns the `PATH` that workers have, and whose it is: the units' own where they are installed, else that of this
    /// terminal.
    fn search_path(&self) -> (String, &'static str) {
        match self.unit.as_deref().and_then(|unit| unit_variable(unit, "PATH")) {
            Some(path) => (path, "the services' PATH"),
            None => (self.host.path.clone(), "PATH"),
        }
    }

    fn checks(&self) -> Vec<CheckView> {
        let mut report = Report { context: self, checks: Vec::new() };
        CHECKS.iter().for_each(|check| check(&mut report));
        report.checks
    }
}

/// Returns what a unit sets for its service.
fn unit_variable(unit: &str, name: &str) -> Option<String> {
    unit.lines().find_map(|line| {
        let value = line.strip_prefix("Environment=")?.trim().trim_matches('"');
        value.strip_prefix(name)?.strip_prefix('=').map(|value| value.replace("%%", "%"))
    })
}

/// Runs the command.
pub(super) fn run(ctx: &Context, args: &DoctorArgs) -> Done {
    run_in(&ctx.ui, &World::of_process(), &Host::here(), ctx.project.layout()?, args)
}

/// Runs the checks in an environment.
fn run_in(ui: &Ui, world: &World, host: &Host, layout: &Layout, args: &DoctorArgs) -> Done {
    let mut context = DoctorContext::new(layout, world, host);
    let mut remedies = fix::find(&context);
    if args.fix {
        for remedy in &remedies {
            ui.say(&format!(" fix   {}", remedy.what()));
            match fix::apply(&context, remedy) {
                Ok(notes) => notes.iter().for_each(|note| ui.say(note)),
                Err(failure) => ui.warn(&failure.to_string()),
            }
        }
        if remedies.is_empty() {
            ui.say("nothing can be mended without you");
        }
        context = DoctorContext::new(layout, world, host);
        remedies.clear();
    }
    context.tries_gates = args.gates;
    let bad = report::show(ui, context.checks(), !remedies.is_empty());
    Ok(if bad { exit::NEGATIVE } else { exit::OK })
}

/// Says an error of a lower floor in one line of a report.
fn sentence(failure: impl Into<Failure>) -> String {
    failure.into().sentence()
}

/// Says an error, with its cause, that is not ours to keep.
fn failed_to(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("failed to {error}{cause}")
}

#[cfg(test)]
mod tests;
