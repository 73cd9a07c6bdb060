//! Before the agent: its worktree, its directory, its prompt.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
};

use crossbeam_channel::{at, never, select};

use super::{
    chain,
    control::Control,
    evidence,
    record::Record,
    resume::{self, Resume},
    run::Run,
};
use oodatcaa_agent::prompt::{self, PromptError};
use oodatcaa_config::{Commits, Trust, trust};
use oodatcaa_core::{Class, Outcome, state::PATIENCE};
use oodatcaa_git::{self as workspace, Workspace, WorkspaceError, git::GitError};
use oodatcaa_sys::files::{self, Durable, FileError, Why};

/// What to do about a lock of git's that another git holds, or has left behind.
pub(super) fn held(error: &GitError, reason: String) -> String {
    match error.lock() {
        Some(lock) => format!("another git holds {lock}; if none is running, remove that file"),
        None => reason,
    }
}

impl Run {
    /// The task's worktree, where the project works in such; nothing is asked of git otherwise.
    pub(super) fn workspace(&mut self) -> Result<Option<Workspace>, Outcome> {
        let shared = Arc::clone(&self.shared);
        let config = &shared.setup.config.workspace;
        if config.mode == workspace::Mode::Shared {
            return Ok(None);
        }
        let waits = self.snapshot.history.task(&self.lease().task_id).map_or(0, |known| known.waits);
        let wrong = |error: WorkspaceError| {
            let reason = format!("failed to {}", chain(&error));
            match error {
                WorkspaceError::Detached | WorkspaceError::Fetch { away: true, .. } => Outcome::Waits { reason },
                // It may be the network that it lacks: that passes, and pauses nobody.
                WorkspaceError::Hook { cannot: false, .. } if waits < PATIENCE => Outcome::Waits { reason },
                WorkspaceError::Git(ref git) if git.passes() => Outcome::Waits { reason: held(git, reason) },
                error => Outcome::failed(error.class(), reason),
            }
        };
        let (task, token, stop) = (self.assignment.task.clone(), self.lease().token, Arc::clone(&self.halt));
        let run_dir = self.assignment.run_dir.clone();
        let layout = &shared.setup.layout;
        let (leaves, commits, merges) =
            (shared.agent(&self.lease().by).leaves(), self.commits(), self.assignment.rule.merges());
        // A setup command may take minutes, and git as long as the repository is large.
        let prepared = self.beside(|| {
            let mut workspace = Workspace::prepare_until(layout, config, &task, token, &run_dir, &stop)?;
            if workspace.mode() == workspace::Mode::Shared {
                return Ok(None);
            }
            workspace.leave_out(layout, leaves)?;
            if commits {
                workspace.follow_base()?;
            } else if !merges {
                workspace.lend(layout)?;
            }
            Ok(Some(workspace))
        });
        if let Some(stopped) = self.is_stopped() {
            return Err(stopped);
        }
        let Some(workspace) = prepared.map_err(wrong)? else { return Ok(None) };
        self.assignment.workspace = workspace.path().to_owned();
        self.assignment.task.branch = workspace.branch().map(String::from);
        self.env = workspace.env().clone();
        self.saved = workspace.saved_before().map_err(wrong)?;
        // A merge stands on its target as it is now, work on where its branch left the target.
        let target = workspace.target_commit().map_err(wrong)?;
        let commit = match self.assignment.rule.merges() {
            true => target.clone(),
            false => workspace.fork_commit().map_err(wrong)?,
        };
        self.ground = commit
            .zip(workspace::merge::MergeDirs::of(&workspace))
            .map(|(commit, dirs)| super::baseline::Ground { commit, dirs, target });
        Ok(Some(workspace))
    }

    /// Whether what the role changes in a worktree becomes commits of the task's branch.
    pub(super) fn commits(&self) -> bool {
        match self.shared.setup.role.commits {
            Commits::Always => true,
            Commits::Never => false,
            Commits::Auto => self.shared.setup.role.change || self.shared.workflow().builds(&self.assignment.rule),
        }
    }

    /// Does something that may take long on a thread beside, and renews the lease all the while (R12); `halt` is set when
    /// somebody asks for the end.
    pub(super) fn beside<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let (tell, told) = crossbeam_channel::bounded::<()>(1);
            let work = scope.spawn(move || {
                let done = work();
                drop(tell);
                done
            });
            loop {
                select! {
                    recv(told) -> _ => break,
                    recv(self.control) -> control => {
                        self.halt.store(true, Ordering::Relaxed);
                        match control {
                            Ok(Control::Stop(_, why)) => drop(self.stopped.get_or_insert(why).clone()),
                            Err(_) => self.control = never(),
                        }
                    }
                    recv(at(self.beat_due)) -> _ => { self.heartbeat(); }
                }
            }
            work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A place for the program's own state, and the session to go on with, where there are such.
    fn try_resume(&mut self, workspace: Option<&Workspace>) -> Result<Option<Resume>, Outcome> {
        let shared = Arc::clone(&self.shared);
        let (layout, agent) = (&shared.setup.layout, shared.agent(&self.lease().by));
        let now = if agent.can_resume() { resume::content(workspace) } else { None };
        let mut resume = resume::find(self.earlier(), self.lease(), agent, now.as_deref());
        if agent.wants_home() {
            let wanted = resume.as_ref().and_then(|resume| resume.home.clone());
            let slot = resume::take(layout, shared.role(), &self.lease().by, wanted.as_deref()).map_err(|error| {
                let what = format!("cannot have a directory for the state of {}: {error}", self.lease().by);
                Outcome::failed(Class::PermissionDenied, what)
            })?;
            // Its sessions lie there.
            resume = resume.filter(|resume| resume.home.as_ref() == Some(&slot.path));
            agent.prepare_home(&slot.path).map_err(|error| {
                let what = format!("{} cannot be made ready for {}: {error}", slot.path.display(), self.lease().by);
                Outcome::failed(Class::PermissionDenied, what)
            })?;
            self.assignment.home = Some(slot.path.clone());
            self.record.home = Some(slot.path.clone());
            self.slot = Some(slot);
        }
        if let Some(resume) = &resume {
            self.assignment.resume = Some(resume.session.clone());
            self.record.resumed = Some(resume.session.clone());
        }
        Ok(resume)
    }

    /// That the claim could make the attempt's directory; if not, what stands in its way.
    pub(super) fn has_its_directory(&self) -> Result<(), Outcome> {
        let run_dir = &self.assignment.run_dir;
        if run_dir.is_dir() {
            return Ok(());
        }
        let above = run_dir.parent().expect("it lies below its task's");
        match files::make_dir(self.shared.setup.layout.root(), above) {
            Err(FileError { path, why: Why::Refused(what), .. }) => {
                let what = what.strip_prefix("it ").unwrap_or(&what);
                let words = format!("cannot write {}: {} {what}; move it away", run_dir.display(), path.display());
                Err(Outcome::failed(Class::PermissionDenied, words))
            }
            Err(error) => Err(cannot_write(&run_dir.display().to_string(), &error.into())),
            Ok(()) => {
                let words = format!("{} could not be made when the task was claimed", run_dir.display());
                Err(Outcome::failed(Class::AgentCrashed, words))
            }
        }
    }

    /// What earlier attempts on the task noted, the newest first; the journal names their directories (R27).
    fn earlier(&self) -> impl Iterator<Item = Record> {
        let (layout, id) = (self.shared.setup.layout.clone(), self.assignment.task.id.clone());
        let known = self.snapshot.history.task(&id).map(|known| known.runs.clone()).unwrap_or_default();
        let mine = self.lease().token;
        let names = known.into_values().rev().filter(move |name| name.token() < mine);
        names.filter_map(move |name| Record::load(&layout.run(&id, &name)))
    }

    pub(super) fn prepare(&mut self, workspace: Option<&Workspace>) -> Result<(), Outcome> {
        let shared = Arc::clone(&self.shared);
        let root = shared.setup.layout.root();
        let resume = self.try_resume(workspace)?;
        let prompt = match &resume {
            Some(resume) => self.prompt_to_go_on(resume)?,
            None => self.prompt()?,
        };
        let path = self.assignment.prompt_file();
        files::write_atomic(root, &path, prompt.as_bytes(), Durable::No)
            .map_err(|error| cannot_write(&path.display().to_string(), &error.into()))
    }

    pub(super) fn prompt(&self) -> Result<String, Outcome> {
        let wrong = |reason: String| Outcome::failed(Class::Config, reason);
        let path = self.shared.setup.layout.prompt(self.shared.role());
        let role = self.shared.role();
        let shipped = prompt::shipped(role);
        let template = match (prompt::load(&path), shipped) {
            (Ok(template), _) if self.is_allowed(&template)? => template,
            // Nobody looked at the project's words: those that ship are used.
            (Ok(_), Some(shipped)) => shipped.into(),
            (Ok(_), None) => return Err(wrong(format!("{} is not trusted: agentctl config trust", path.display()))),
            (Err(PromptError::Missing { .. }), Some(shipped)) => shipped.into(),
            (Err(error), _) => return Err(wrong(format!("failed to {}", chain(&error)))),
        };
        let facts = self.facts().map_err(wrong)?;
        prompt::render(&template, &self.assignment, &facts)
            .map_err(|error| wrong(format!("{}: failed to {}", path.display(), chain(&error))))
    }

    /// Whether the user lets this text instruct agents. What changes under a worker that was started with it is no
    /// reason for other words: the role waits until the user has looked.
    fn is_allowed(&self, template: &str) -> Result<bool, Outcome> {
        let (setup, role) = (&self.shared.setup, self.shared.role());
        let allowed = trust::allows_prompt(&setup.layout, role.as_str(), template);
        let path = || setup.layout.prompt(role).display().to_string();
        match (allowed, setup.config.trust) {
            (Ok(true), _) => Ok(true),
            (Ok(false), Trust::Trusted) => {
                let what = "or the configuration has changed since you trusted the project";
                Err(Outcome::failed(Class::Config, format!("{} {what}: agentctl config trust", path())))
            }
            (Err(error), Trust::Trusted) => {
                Err(Outcome::failed(Class::Config, format!("{}: failed to {}", path(), chain(&error))))
            }
            (Ok(false) | Err(_), _) => Ok(false),
        }
    }

    /// What the session does not know yet, and nothing else.
    fn prompt_to_go_on(&self, resume: &Resume) -> Result<String, Outcome> {
        let wrong = |reason: String| Outcome::failed(Class::Config, reason);
        let facts = self.facts().map_err(wrong)?;
        prompt::go_on(&self.assignment, &facts, &resume.words)
            .map_err(|error| wrong(format!("failed to {}", chain(&error))))
    }

    /// What the role that had the task before said of its work.
    fn handed(&self) -> Option<prompt::Handed> {
        let last =
            self.earlier().take(20).find(|record| matches!(record.outcome.as_deref(), Some("done" | "no_change")))?;
        (last.role != self.lease().role).then(|| prompt::Handed {
            role: last.role.to_string(),
            nothing: last.outcome.as_deref() == Some("no_change"),
            summary: last.summary.unwrap_or_default(),
            said: last.decisions.iter().chain(&last.messages).cloned().collect(),
            risky: last.risky,
        })
    }

    pub(super) fn facts(&self) -> Result<prompt::PromptFacts, String> {
        let queue = &self.snapshot.queue;
        let layout = &self.shared.setup.layout;
        let dependencies = self
            .assignment
            .task
            .dependencies
            .iter()
            .filter_map(|name| queue.find(name))
            .map(|other| prompt::Related {
                id: other.id.to_string(),
                title: other.title.clone(),
                status: other.status.to_string(),
                summary: super::record::last_summary(layout, &self.snapshot, &other.id).unwrap_or_default(),
            })
            .collect();
        let children = queue
            .children(&self.assignment.task.id)
            .map(|child| prompt::Related {
                id: child.id.to_string(),
                title: child.title.clone(),
                status: child.status.to_string(),
                summary: String::new(),
            })
            .collect();
        let known = self.snapshot.history.task(&self.assignment.task.id);
        let mut failures: Vec<String> = known
            .map(|known| known.failures.iter().map(|(role, reason)| format!("{role}: {reason}")).collect())
            .unwrap_or_default();
        if let Some(reason) = &self.assignment.task.blocked_reason
            && !failures.iter().any(|failure| failure.ends_with(reason.as_str()))
        {
            failures.push(reason.clone());
        }
        if self.commits() {
            failures.extend(self.saved.iter().cloned());
        }
        let mut gates = Vec::new();
        for name in evidence::gates(&self.shared, &self.assignment.task) {
            let gate = self.shared.gate(&name).ok_or_else(|| evidence::unknown_gate(&name))?;
            gates.push((name, gate.argv.join(" ")));
        }
        let answers = known.map(|known| known.answers.clone()).unwrap_or_default();
        Ok(prompt::PromptFacts { dependencies, children, failures, answers, handed: self.handed(), gates })
    }
}

fn cannot_write(what: &str, error: &std::io::Error) -> Outcome {
    let class = match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => Class::PermissionDenied,
        _ => Class::AgentCrashed,
    };
    Outcome::failed(class, format!("cannot write {what}: {error}"))
}
