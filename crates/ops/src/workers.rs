//! The processes that serve a project: who they are, what they use, what they do.

use std::{
    collections::{BTreeMap, HashMap},
    thread,
    time::Duration,
};

use crate::{
    Failure, Project, ReadModel,
    view::{LastEventView, ProcessView},
};
use oodatcaa_core::{Data, Event, LeaseRecord, Role, RoleRule, TaskId, lease::LeaseHealth};
use oodatcaa_fleet::pidfile;
use oodatcaa_process::resources::{self, Resources, Root};

/// Of so many of the last events it is known whose they are.
const RECENT: u64 = 2_000;

/// The time over which CPU time is measured where nothing was measured before.
const MOMENT: Duration = Duration::from_millis(200);

/// A process that serves a role.
struct Found {
    name: String,
    root: Root,
    state: &'static str,
    tasks: Vec<TaskId>,
    /// Its name in the journal, where a lease tells.
    owner: Option<String>,
}

/// Lists the processes that serve a role: those with a pid file, and those with a live lease.
fn find(project: &Project, model: &ReadModel<'_>, role: &Role) -> Vec<Found> {
    let mut found: BTreeMap<u32, Found> = BTreeMap::new();
    let new = |name: &str, pid: u32| Found {
        name: name.to_owned(),
        root: Root { pid, run_dirs: Vec::new() },
        state: "idle",
        tasks: Vec::new(),
        owner: None,
    };
    let Ok(layout) = project.layout() else { return Vec::new() };
    for name in pidfile::names(layout).unwrap_or_default() {
        if pidfile::role_of(&name) == role.as_str()
            && let Ok(pidfile::State::Running(holder)) = pidfile::inspect(layout, &name)
        {
            found.insert(holder.pid, new(&name, holder.pid));
        }
    }
    for (task, held) in &model.snapshot.leases {
        if let LeaseRecord::Ours(lease) = &held.record
            && lease.role == *role
            && held.health(&model.snapshot.now) == LeaseHealth::Live
        {
            let worker = found.entry(lease.pid).or_insert_with(|| new(&lease.owner, lease.pid));
            worker.state = "working";
            worker.owner = Some(lease.owner.clone());
            worker.tasks.push(task.clone());
            worker.root.run_dirs.extend(model.snapshot.run_name(task, lease.token).map(|run| layout.run(task, &run)));
        }
    }
    found.into_values().collect()
}

/// Lists the process ids of those that serve a role.
pub(crate) fn pids(project: &Project, model: &ReadModel<'_>, rule: &RoleRule) -> Vec<u32> {
    find(project, model, &rule.role).into_iter().map(|worker| worker.root.pid).collect()
}

/// Measures workers with everything that their attempts have started, again and again: what they use of a CPU shows from
/// the second time on.
#[derive(Debug, Default)]
pub struct Meter {
    before: HashMap<u32, Resources>,
}

impl Meter {
    /// Returns one that has measured a moment ago, so that what it says next has a share of the CPU; waits for that
    /// moment only where a worker runs.
    pub fn begun(project: &Project, model: &ReadModel<'_>) -> Self {
        let mut meter = Self::default();
        let rules = model.workflow.rules().iter();
        let roots: Vec<Root> =
            rules.flat_map(|rule| find(project, model, &rule.role)).map(|found| found.root).collect();
        if !roots.is_empty() {
            meter.measure(&roots);
            thread::sleep(MOMENT);
        }
        meter
    }

    fn measure(&mut self, roots: &[Root]) -> Vec<(Option<Resources>, Option<f64>)> {
        let now = resources::measure(roots);
        let shares = roots.iter().zip(&now).map(|(root, now)| {
            let now = now.as_ref()?;
            now.cpu_since(self.before.get(&root.pid)?)
        });
        let told: Vec<_> = now.iter().copied().zip(shares).collect();
        self.before = roots.iter().map(|root| root.pid).zip(now).filter_map(|(pid, now)| Some((pid, now?))).collect();
        told
    }

    /// Describes the workers of every role.
    pub(crate) fn workers(
        &mut self,
        project: &Project,
        model: &ReadModel<'_>,
    ) -> Result<BTreeMap<Role, Vec<ProcessView>>, Failure> {
        let mut found: Vec<(&Role, Found)> = Vec::new();
        for rule in model.workflow.rules() {
            found.extend(find(project, model, &rule.role).into_iter().map(|worker| (&rule.role, worker)));
        }
        let mut all: BTreeMap<Role, Vec<ProcessView>> = BTreeMap::new();
        if found.is_empty() {
            return Ok(all);
        }
        let said = Said::of(project, model)?;
        let roots: Vec<Root> = found.iter().map(|(_, worker)| worker.root.clone()).collect();
        for ((role, worker), (now, share)) in found.into_iter().zip(self.measure(&roots)) {
            // It ended between the two looks.
            let Some(now) = now else { continue };
            let last_event = said.last(&worker);
            all.entry(role.clone()).or_default().push(ProcessView {
                pid: worker.root.pid,
                state: if now.stopped { "stopped" } else { worker.state },
                name: worker.name,
                up_seconds: now.up.as_secs(),
                processes: now.processes,
                cpu_percent: share.map(|share| (share * 10.0).round() / 10.0),
                memory_bytes: now.memory,
                tasks: worker.tasks,
                last_event,
            });
        }
        Ok(all)
    }
}

/// The last event of each worker, as far as the end of the journal tells.
struct Said {
    last: HashMap<String, LastEventView>,
    /// The workers that reported their start, by their process.
    started: HashMap<u32, String>,
}

impl Said {
    fn of(project: &Project, model: &ReadModel<'_>) -> Result<Self, Failure> {
        let mut said = Self { last: HashMap::new(), started: HashMap::new() };
        let from = model.snapshot.history.seq.saturating_sub(RECENT);
        project.store()?.replay(from, &mut |event| said.take(&event))?;
        Ok(said)
    }

    fn take(&mut self, event: &Event) {
        let Some(owner) = event.actor.strip_prefix("worker:") else { return };
        if let Data::WorkerStarted(worker) = event.data()
            && let Some(pid) = worker.pid
        {
            self.started.insert(pid, owner.to_owned());
        }
        let (seq, at, task) = (event.seq, event.time.into(), event.task.clone());
        self.last.insert(owner.to_owned(), LastEventView { seq, at, kind: event.kind().as_str(), task });
    }

    fn last(&self, worker: &Found) -> Option<LastEventView> {
        let owner = worker.owner.as_ref().or_else(|| self.started.get(&worker.root.pid))?;
        self.last.get(owner).cloned()
    }
}
