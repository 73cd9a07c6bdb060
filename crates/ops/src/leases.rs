//! Giving back what nobody stands behind any more, or what a person takes away from its owner.

use std::time::Duration;

use crate::{Changed, ErrorKind, Failure, Project, find_id};
use oodatcaa_core::{
    ChangeSet, LeaseState, RunName, Snapshot, Status, TaskId, Token, Workflow,
    event::Actor,
    landing,
    lease::LeaseHealth,
    manual,
    outcome::Retry,
    rescue::{self, Orphan},
    text::{self, duration, many, one_line},
};
use oodatcaa_git::takeover;

/// The time that processes which were asked to end may take to be gone.
const GONE: Duration = Duration::from_secs(10);

impl Project {
    /// Gives a task back whose owner is gone; by `force` also one whose owner is alive: `agree` is asked before its agent
    /// is ended, `None` where that said no.
    pub fn release(
        &self,
        snapshot: &Snapshot,
        id: &str,
        force: bool,
        reason: Option<&str>,
        dry_run: bool,
        agree: impl FnOnce(&str) -> Result<bool, Failure>,
    ) -> Result<Option<(TaskId, Changed)>, Failure> {
        // A lease without a task can be given back as well.
        let id = find_id(&snapshot.queue, id, |id| snapshot.leases.contains_key(id))?;
        let live = |held: &LeaseState| held.health(&snapshot.now) == LeaseHealth::Live;
        if !force && snapshot.leases.get(&id).is_some_and(live) {
            return Err(alive(snapshot, &id));
        }
        let workflow = &self.loaded()?.config.workflow;
        let Some(held) = snapshot.leases.get(&id) else {
            let clear = |now: &Snapshot, _: &_, actor: &_| manual::clear_mark(now, &id, force, reason, actor);
            let changed = self.decide(dry_run, workflow, clear)?;
            return Ok(Some((id, changed)));
        };
        if !live(held) {
            let changed = self.give_back_now(&id, dry_run)?;
            return Ok(Some((id, changed)));
        }
        let token = held.token();
        let question = format!("{} is alive and works on {id}; end its agent and take the task away?", held.owner());
        let mut notes = Vec::new();
        if !dry_run {
            if !agree(&one_line(&question))? {
                return Ok(None);
            }
            let run = snapshot.run_name(&id, token).unwrap_or_else(|| RunName::of(token));
            notes.extend(self.end_processes(&id, &run)?);
        }
        let passed = landing::passed(snapshot, &id);
        let not_landed = match passed {
            Some(commit) if !takeover::has_landed(self.layout()?, &self.loaded()?.config, &id, &commit) => Some(commit),
            _ => None,
        };
        let mut changed = self.decide(dry_run, workflow, |now, workflow, actor| {
            manual::release(now, workflow, &id, token, not_landed.as_deref(), reason.unwrap_or("forced"), actor)
        })?;
        changed.notes = notes;
        Ok(Some((id, changed)))
    }

    /// Gives somebody who is no worker of ours a task for a time, by the rules of every claim.
    pub fn lend(
        &self,
        id: &str,
        role: &str,
        owner: &str,
        ttl: Option<Duration>,
        dry_run: bool,
    ) -> Result<(TaskId, Changed), Failure> {
        let loaded = self.loaded()?;
        let role = loaded.role(role)?;
        let rule = loaded.config.workflow.rule(&role).expect("it was just found");
        if text::one_line(owner) != owner || owner.contains('#') || owner.trim().is_empty() || owner.len() > 200 {
            let message = format!("{owner:?} is no name of an owner: it is one line of at most 200 bytes without `#`");
            return Err(Failure::new(ErrorKind::Usage, message).hint("name another: --owner agent-builder-A"));
        }
        self.decide_on(dry_run, &loaded.config.workflow, id, |snapshot, workflow, id, actor| {
            manual::acquire(snapshot, workflow, id, rule, owner, ttl, actor)
        })
    }

    /// Renews the lease of somebody who is no worker of ours.
    pub fn renew(&self, id: &str, token: Token) -> Result<(TaskId, Changed), Failure> {
        let id = find_id(&self.read()?.snapshot.queue, id, |_| true)?;
        let workflow = &self.loaded()?.config.workflow;
        let changed = self.decide(false, workflow, |snapshot, _, _| manual::beat(snapshot, &id, token))?;
        Ok((id, changed))
    }

    /// Gives the lease of somebody who is no worker of ours back; the task goes to a status that its role may reach.
    pub fn give_up(
        &self,
        id: &str,
        token: Token,
        to: Option<&Status>,
        dry_run: bool,
    ) -> Result<(TaskId, Changed), Failure> {
        let id = find_id(&self.read()?.snapshot.queue, id, |_| true)?;
        let workflow = &self.loaded()?.config.workflow;
        let decide = |snapshot: &Snapshot, workflow: &Workflow, actor: &Actor| {
            manual::give_back(snapshot, workflow, &id, token, to, actor)
        };
        let changed = self.decide(dry_run, workflow, decide)?;
        Ok((id, changed))
    }

    /// Gives back the task of a dead or lost owner, as it stands now.
    pub(crate) fn give_back_now(&self, id: &TaskId, dry_run: bool) -> Result<Changed, Failure> {
        let mut left = rescue::find(&self.read()?.snapshot, &self.loaded()?.config.workflow);
        left.retain(|left| left.task == *id);
        self.give_back(left, dry_run)
    }

    /// Gives back what dead or lost owners held: first what they left is ended and saved, then the tasks.
    pub fn give_back(&self, mut left: Vec<Orphan>, dry_run: bool) -> Result<Changed, Failure> {
        let config = &self.loaded()?.config;
        let notes = if dry_run { Vec::new() } else { self.end_dead(&mut left)? };
        let changed = self.decide(dry_run, &config.workflow, |snapshot, workflow, actor| {
            Ok(rescued(snapshot, workflow, &config.retry, &left, actor))
        })?;
        Ok(Changed { notes, ..changed })
    }

    /// Ends what each left running, saves what it had not committed, and sees what of it has landed. Says what was done.
    pub(crate) fn end_dead(&self, left: &mut [Orphan]) -> Result<Vec<String>, Failure> {
        let mut notes = Vec::new();
        for left in &*left {
            notes.extend(self.end_processes(&left.task, &left.run)?);
        }
        notes.extend(oodatcaa_worker::keep_work(self.layout()?, &self.loaded()?.config, self.store()?, left));
        Ok(notes)
    }

    /// Ends what an attempt left running and sees it gone; says so where there was anything.
    fn end_processes(&self, id: &TaskId, run: &RunName) -> Result<Option<String>, Failure> {
        let (run_dir, token) = (self.layout()?.run(id, run), run.token());
        match oodatcaa_worker::end_attempt(&run_dir, GONE) {
            Ok(0) => Ok(None),
            Ok(ended) => {
                Ok(Some(format!("ended {} that the attempt {id}/{token} had left", many(ended as usize, "process"))))
            }
            Err(pids) => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                let message = format!("processes of the attempt {id}/{token} do not end: {}", pids.join(", "));
                Err(Failure::new(ErrorKind::TimedOut, message)
                    .hint(format!("look at them: ps -o pid,stat,args -p {}", pids.join(","))))
            }
        }
    }
}

/// Decides as a worker does that finds what a dead owner held; the journal names the person who gave it back.
pub(crate) fn rescued(now: &Snapshot, workflow: &Workflow, retry: &Retry, left: &[Orphan], by: &Actor) -> ChangeSet {
    let mut changes = rescue::decide(now, workflow, retry, left, "");
    changes.events.iter_mut().for_each(|event| event.actor = by.clone());
    changes
}

fn alive(snapshot: &Snapshot, id: &TaskId) -> Failure {
    let held = &snapshot.leases[id];
    let owner = one_line(held.owner());
    let failure = match held.ours() {
        None => Failure::new(
            ErrorKind::LeaseHeld,
            format!("{owner} took this lease for a time that is not over, and whether it is alive cannot be told"),
        ),
        Some(lease) => {
            let beat = duration(Duration::from_secs(lease.silence(&snapshot.now).as_secs()));
            let message = format!("{owner} (pid {}) is alive and renewed this lease {beat} ago", lease.pid);
            Failure::new(ErrorKind::LeaseHeld, message)
                .hint(format!("stop the run first: agentctl run stop {id} --reason \"…\""))
        }
    };
    failure.hint(format!("insist: agentctl lease release {id} --force --reason \"…\""))
}
