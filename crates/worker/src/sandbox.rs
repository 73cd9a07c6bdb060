//! The confinement of what runs for an attempt: the profile before, the report after, its own directories in between.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{resume, run::Run};
use oodatcaa_agent::sandbox::{self, Place, Private, Program, ThisMachine};
use oodatcaa_config::{Caches, Sandbox, SandboxMode};
use oodatcaa_core::{Class, Outcome, text};
use oodatcaa_process::{
    Ended, Exit, Invocation,
    confine::{Profile, Report},
};

/// A program that is to be confined. Its directories in the place of `/tmp` go with this.
pub(crate) struct Confined {
    /// The directory of its run, which it cannot write to.
    dir: PathBuf,
    /// The profile; none where a person has turned the sandbox off.
    profile: Option<Profile>,
    /// Variables that belong to it.
    env: BTreeMap<String, String>,
    /// The places that it may write beside its workspace, in words.
    writable: Vec<String>,
    private: Private,
}

impl Confined {
    /// Decides how the agent of an attempt is confined.
    pub(crate) fn agent(run: &mut Run) -> Result<Self, Outcome> {
        let shared = Arc::clone(&run.shared);
        let agent = shared.agent(&run.lease().by);
        let sandbox = shared.setup.config.sandbox(agent.name(), shared.role());
        needs_slot(run, &sandbox)?;
        let program = Program::of_role(&run.assignment.rule, &shared.setup.role);
        let mut place = Self::place(run, program, &run.assignment.run_dir);
        place.top = top(run, &run.assignment.workspace);
        place.own = agent.own_places(run.assignment.home.as_deref());
        if agent.simulated() {
            // It counts how often it has been called by what it left in earlier attempts on the task.
            place.own.read.extend(run.assignment.run_dir.parent().map(Path::to_owned));
        }
        let mut confined = Self::new(&sandbox, place, &run.assignment.run_dir)?;
        confined.env.retain(|name, _| !agent.sets(name));
        Ok(confined)
    }

    /// Decides how a gate is confined that runs in a directory; `dir` is that of its run.
    pub(crate) fn gate(run: &mut Run, name: &str, cwd: &Path, dir: &Path) -> Result<Self, Outcome> {
        let sandbox = run.shared.setup.config.sandbox_of_gate(run.shared.role(), name);
        needs_slot(run, &sandbox)?;
        let mut place = Self::place(run, Program::Gate, dir);
        place.top = top(run, cwd);
        place.own_git = None;
        Self::new(&sandbox, place, dir)
    }

    fn place(run: &Run, program: Program, dir: &Path) -> Place {
        Place {
            program,
            own_git: run.assignment.own_git.clone(),
            run_dir: Some(run.assignment.run_dir.clone()),
            slot: run.slot.as_ref().map(|(slot, _)| slot.clone()),
            private: Private::of(dir),
            git: run.git.clone().or_else(|| run.shared.place().git.clone()),
            ..run.shared.place().clone()
        }
    }

    fn new(sandbox: &Sandbox, place: Place, dir: &Path) -> Result<Self, Outcome> {
        let refused = |why: String| Outcome::failed(Class::Sandbox, format!("it cannot {why}"));
        let prepared = if sandbox.mode == SandboxMode::Off { Ok(()) } else { place.make_room() };
        prepared.map_err(|error| refused(format!("be confined: {error}")))?;
        let confinement = sandbox::confine(sandbox, &place, &ThisMachine).map_err(refused)?;
        let writable = confinement.writable(&place);
        let sandbox::Confinement { profile, env } = confinement;
        Ok(Self { dir: dir.to_owned(), profile, env, writable, private: place.private })
    }

    /// Returns where it may write beside its workspace, for its prompt.
    pub(crate) fn writable(&self) -> &[String] {
        &self.writable
    }

    /// Tells whether anything confines it.
    pub(crate) fn is_on(&self) -> bool {
        self.profile.is_some()
    }

    /// Tells whether it stands in the place of a sandbox that the program may bring.
    pub(crate) fn replaces_others(&self) -> bool {
        self.profile.as_ref().is_some_and(|profile| !profile.nested)
    }

    /// Writes the profile, makes what belongs to it, and has the program start by it.
    pub(crate) fn dress(&mut self, invocation: &mut Invocation) -> Result<(), Outcome> {
        let Some(profile) = &mut self.profile else { return Ok(()) };
        let written = self.private.prepare().and_then(|()| profile.write(&self.dir));
        let written = written
            .map_err(|error| Outcome::failed(Class::Sandbox, format!("its sandbox cannot be prepared: {error}")))?;
        invocation.confine = Some(written);
        invocation.env.append(&mut self.env);
        Ok(())
    }

    /// Reads what became of it, once the program has ended. Without a report it has not run confined, whatever its end
    /// says; only one that was stopped, or never started, has an end of its own.
    pub(crate) fn report(&self, exit: &Exit) -> Result<Option<Report>, Outcome> {
        if self.profile.is_none() || matches!(exit.ended, Ended::NotStarted { .. }) {
            return Ok(None);
        }
        match Report::ran(&self.dir) {
            Ok(report) => match report.exec {
                Some(error) => {
                    let reason = format!("its program cannot be executed: {}", text::one_line(&error));
                    Err(Outcome::failed(Class::AgentNotFound, reason))
                }
                None => Ok(Some(report)),
            },
            Err(_) if exit.stopped.is_some() => Ok(None),
            Err(why) => {
                Err(Outcome::failed(Class::Sandbox, format!("it did not run, because it could not be confined: {why}")))
            }
        }
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if self.profile.is_some()
            && let Err(error) = self.private.remove()
        {
            log::warn!("{} stays: {error}", self.private.tmp().display());
        }
    }
}

/// Sees to it that there is a place for caches that are nobody else's.
fn needs_slot(run: &mut Run, sandbox: &Sandbox) -> Result<(), Outcome> {
    let needs = sandbox.mode != SandboxMode::Off && sandbox.caches == Caches::Own;
    if needs { resume::take_slot(run, None).map(drop) } else { Ok(()) }
}

/// Returns the top of the checkout that a project lies in at this path.
fn top(run: &Run, project: &Path) -> PathBuf {
    project.ancestors().nth(run.prefix.components().count()).unwrap_or(project).to_owned()
}
