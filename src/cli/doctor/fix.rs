//! What `doctor --fix` may do: only what any worker would do as well, or what nobody can miss.

use std::{path::PathBuf, time::Duration};

use super::{DoctorContext, service};
use oodatcaa_core::{
    lease::LeaseHealth,
    outcome::Retry,
    rescue::{self, Orphan},
    text::one_line,
};
use oodatcaa_fleet::pidfile;
use oodatcaa_git::takeover;
use oodatcaa_ops::{ErrorKind, Failure};
use oodatcaa_process as process;
use oodatcaa_sys::files;

/// How long processes that a dead worker left may take to end.
const GONE: Duration = Duration::from_secs(5);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Create a directory that is missing.
    Directory(PathBuf),
    /// Give back what a dead owner held.
    GiveBack(Orphan),
    /// Remove a pid file that nobody holds.
    PidFile(String),
}

impl Remedy {
    /// Says what will be done.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Directory(path) => format!("create {}", path.display()),
            Self::GiveBack(left) if left.lease => {
                format!("remove the lease of {} and give the task back ({})", left.task, one_line(&left.reason))
            }
            Self::GiveBack(left) => format!("give {} back ({})", left.task, one_line(&left.reason)),
            Self::PidFile(name) => format!("remove the stale pid file of {name}"),
        }
    }
}

/// Finds everything that can be mended without a person.
pub(super) fn find(context: &DoctorContext<'_>) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let missing = [context.layout.work(), context.layout.prompts()];
    remedies.extend(missing.into_iter().filter(|dir| dir.symlink_metadata().is_err()).map(Remedy::Directory));
    remedies.extend(service::stale_pid_files(context.layout).into_iter().map(Remedy::PidFile));
    if let (Some(snapshot), true) = (context.snapshot(), context.store.is_ok()) {
        let whole = context.reading.as_ref().is_some_and(|reading| matches!(reading, Ok(r) if r.invalid.is_none()));
        // Who is silent and lives is a worker's business, or a human's.
        let lost = |left: &Orphan| {
            let held = snapshot.leases.get(&left.task);
            held.is_some_and(|held| held.ours().is_some() && matches!(held.health(&snapshot.now), LeaseHealth::Lost(_)))
        };
        let left = rescue::find(snapshot, &context.workflow).into_iter().filter(|left| whole && !lost(left));
        remedies.extend(left.map(Remedy::GiveBack));
    }
    remedies
}

/// Does it.
pub(super) fn apply(context: &DoctorContext<'_>, remedy: &Remedy) -> Result<(), Failure> {
    match remedy {
        Remedy::Directory(path) => Ok(files::make_dir(context.layout.root(), path)?),
        Remedy::PidFile(name) => pidfile::clean(context.layout, name).map(drop).map_err(Failure::from),
        Remedy::GiveBack(left) => give_back(context, left),
    }
}

/// Gives a task back as a worker does: first ends what the dead owner left running.
fn give_back(context: &DoctorContext<'_>, left: &Orphan) -> Result<(), Failure> {
    let Ok(store) = &context.store else { return Ok(()) };
    let run = context.layout.run(&left.task, &left.run);
    let dir = run.join("gates");
    let gates = files::list(context.layout.root(), &dir, 10_000).ok().flatten().unwrap_or_default();
    let gates = gates.into_iter().map(|entry| dir.join(entry.name));
    for tag in std::iter::once(run.clone()).chain(gates) {
        if let Err(pids) = process::end_leftovers(&tag, GONE) {
            let pids = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            let message = format!("processes of the dead owner of {} do not end", left.task);
            return Err(Failure::new(ErrorKind::TimedOut, message).hint(format!("look at them: ps -fp {pids}")));
        }
    }
    let retry = context.loaded.as_ref().map_or_else(|_| Retry::default(), |loaded| loaded.config.retry.clone());
    let mut ended = [left.clone()];
    if let (Ok(loaded), Ok(seen)) = (&context.loaded, store.read()) {
        takeover::see_what_landed(context.layout, &loaded.config, Some(&seen.snapshot), &mut ended);
    }
    store.transact(&mut |snapshot| rescue::decide(snapshot, &context.workflow, &retry, &ended, "agentctl-doctor"))?;
    Ok(())
}
