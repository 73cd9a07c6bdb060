//! `agentctl doctor`: looks at everything that a fleet needs, says what is wrong, why it matters and what to run.
//!
//! Looking changes nothing. `--fix` does the few things that cannot do harm, and says each before it does it.

use super::{context::Context, fail::Done, ui::Ui};
use oodatcaa_config::{Config, Loaded, Overrides, World};
use oodatcaa_core::Workflow;
use oodatcaa_core::layout::Layout;
use oodatcaa_fleet::{Fleet, Host};
use oodatcaa_ops::{Failure, exit};
use oodatcaa_store::{Desk, LOCK_WAIT, Reading, StoreError, identity};

mod adapters;
mod agents;
pub mod check;
mod fix;
mod gates;
mod holders;
mod host;
mod journal;
mod leases;
mod project;
mod queue;
mod service;

use check::{Check, State};

/// Find out what is wrong
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DoctorArgs {
    /// Mend what can be mended without harm, and say it first
    #[arg(long)]
    pub fix: bool,

    /// Run every gate on the commit that work begins with
    #[arg(long)]
    pub gates: bool,
}

/// What the checks look at; gathered once, each part on its own so that one that fails hides no other.
pub(super) struct DoctorContext<'a> {
    pub(super) layout: &'a Layout,
    pub(super) world: World,
    pub(super) loaded: Result<Loaded, Failure>,
    pub(super) store: Result<Desk, StoreError>,
    pub(super) reading: Option<Result<Reading, StoreError>>,
    pub(super) fleet: Fleet,
    pub(super) host: Host,
    /// Gates are run, not only looked at.
    pub(super) tries_gates: bool,
}

impl<'a> DoctorContext<'a> {
    fn new(layout: &'a Layout, world: World, host: Host) -> Self {
        let loaded = Config::load_in(&world, layout, &Overrides::default()).map_err(Failure::from);
        let lock_wait = loaded.as_ref().map_or(LOCK_WAIT, |l| l.config.fleet.lock_wait);
        let open = |owner| oodatcaa_store::open(layout.root(), layout, owner, lock_wait);
        // With an identity, as a worker opens it: what would stop a worker shows here.
        let store = open(Some(identity("agentctl-doctor")));
        let reading = match &store {
            Ok(store) => Some(store.read()),
            Err(_) => open(None).ok().map(|store| store.read()),
        };
        let stop_after =
            loaded.as_ref().map(|l| l.config.fleet.shutdown_timeout + l.config.fleet.grace).unwrap_or_default();
        let roles: Vec<_> = workflow(&loaded).rules().iter().map(|rule| rule.role.clone()).collect();
        let fleet = Fleet::new(layout, host.clone(), roles, stop_after);
        Self { layout, world, loaded, store, reading, fleet, host, tries_gates: false }
    }

    /// Returns the table of roles; the shipped one where the configuration does not load.
    pub(super) fn workflow(&self) -> Workflow {
        workflow(&self.loaded)
    }

    /// Returns what stands in the files, where it can be read.
    pub(super) fn snapshot(&self) -> Option<&oodatcaa_core::Snapshot> {
        Some(&self.reading.as_ref()?.as_ref().ok()?.snapshot)
    }

    fn checks(&self) -> Vec<Check> {
        [
            project::check(self),
            queue::check(self),
            leases::check(self),
            holders::check(self),
            agents::check(self),
            service::check(self),
            host::check(self),
        ]
        .concat()
    }
}

fn workflow(loaded: &Result<Loaded, Failure>) -> Workflow {
    loaded.as_ref().map_or_else(|_| Workflow::shipped(), |loaded| loaded.config.workflow.clone())
}

/// Runs the command.
pub fn run(ctx: &Context, args: &DoctorArgs) -> Done {
    run_in(&ctx.ui, &World::of_process(), Host::here(), ctx.project.layout()?, args)
}

/// Runs the checks in an environment.
pub fn run_in(ui: &Ui, world: &World, host: Host, layout: &Layout, args: &DoctorArgs) -> Done {
    let mut context = DoctorContext::new(layout, world.clone(), host.clone());
    let mut remedies = fix::find(&context);
    if args.fix {
        for remedy in &remedies {
            ui.say(&format!(" fix   {}", remedy.what()));
            if let Err(failure) = fix::apply(&context, remedy) {
                ui.warn(&failure.to_string());
            }
        }
        if remedies.is_empty() {
            ui.say("nothing to mend without you");
        }
        context = DoctorContext::new(layout, world.clone(), host);
        remedies = fix::find(&context);
    }
    context.tries_gates = args.gates;
    let checks = context.checks();
    check::render(ui, &checks, !args.fix && !remedies.is_empty());
    let bad = checks.iter().any(|check| check.state == State::Bad);
    Ok(if bad { exit::NEGATIVE } else { exit::OK })
}

/// Says an error of a lower floor in one line of a report.
fn sentence(failure: impl Into<Failure>) -> String {
    failure.into().sentence()
}

#[cfg(test)]
mod tests;
