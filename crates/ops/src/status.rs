//! How the fleet stands: its tasks, its roles and their workers, put together from one reading.

use std::collections::BTreeMap;

use crate::{
    Failure, Meter, Project, ReadModel, TaskState,
    view::{PoolView, RoleView, StartsView, StatusView, TaskView},
};
use oodatcaa_config::AgentKind;
use oodatcaa_core::{Role, Task, claim, external_edits, needs};
use oodatcaa_store::Reading;

impl StatusView {
    /// Describes the fleet as it was at a reading, and what its workers use now.
    pub fn of(project: &Project, model: &ReadModel<'_>, reading: &Reading, meter: &mut Meter) -> Result<Self, Failure> {
        let mut processes = meter.workers(project, model)?;
        let (queue, history) = (&model.snapshot.queue, &model.snapshot.history);
        let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
        let mut states: BTreeMap<TaskState, usize> = TaskState::ALL.iter().map(|state| (*state, 0)).collect();
        let mut running: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        for task in queue.tasks() {
            let state = model.state(task);
            *statuses.entry(task.status.to_string()).or_default() += 1;
            *states.entry(state).or_default() += 1;
            let leased_as = model.held(task).and_then(|(held, _)| held.role()).map(Role::as_str);
            let role = leased_as.unwrap_or_else(|| model.role(task));
            match state {
                TaskState::Running | TaskState::Stale => running.entry(role).or_default().push(task),
                TaskState::Waiting | TaskState::Retry => *waiting.entry(role).or_default() += 1,
                _ => {}
            }
        }
        let roles = model.workflow.rules().iter().map(|rule| {
            let role = &rule.role;
            let processes = processes.remove(role).unwrap_or_default();
            let workers: Vec<u32> = processes.iter().map(|process| process.pid).collect();
            let running: Vec<TaskView> =
                running.remove(role.as_str()).unwrap_or_default().into_iter().map(|task| model.task(task)).collect();
            let pause = history.paused(role);
            let is_working = running.iter().any(|task| task.state == TaskState::Running);
            RoleView {
                role: role.clone(),
                state: match (is_working, pause, workers.is_empty()) {
                    (true, ..) => "working",
                    (_, Some(_), _) => "paused",
                    (_, _, false) => "idle",
                    (_, _, true) => "stopped",
                },
                reason: pause.map(|pause| format!("{}: {}", pause.class, pause.reason)),
                workers,
                processes,
                wip: claim::wip(model.snapshot, rule),
                wip_limit: model.workflow.wip_limit(queue, role),
                waiting: waiting.get(role.as_str()).copied().unwrap_or_default(),
                running,
            }
        });
        let invalid = reading.invalid.as_ref().map(ToString::to_string);
        let now = model.snapshot.now.wall;
        let mut leases = model.snapshot.leases.values().filter_map(|held| held.ours());
        Ok(Self {
            at: now.into(),
            project: project.layout()?.name(),
            sprint: queue.sprint.name(),
            tasks: queue.len(),
            roles: roles.collect(),
            states,
            statuses,
            problems: queue.problems(model.workflow).len(),
            inbox: needs::list(model.snapshot, model.workflow, invalid.as_deref()).len(),
            starts: StartsView {
                today: model.snapshot.starts_on(now.date_naive(), None),
                limit: model.workflow.policy().budgets.day.starts,
            },
            pools: PoolView::all(model.snapshot),
            claiming_stopped: external_edits::behind(model.snapshot).map(|behind| behind.reason),
            invalid,
            simulated: leases.any(|lease| lease.simulated) || will_simulate(project),
            seq: history.seq,
        })
    }
}

/// Tells whether a role's agent is the simulated one: also while nobody works, nothing that is shown is real then.
fn will_simulate(project: &Project) -> bool {
    let Ok(loaded) = project.loaded() else { return false };
    let mut roles = loaded.config.workflow.rules().iter();
    roles.any(|rule| loaded.agent(&rule.role).is_ok_and(|(_, agent)| agent.kind == AgentKind::Sim))
}
