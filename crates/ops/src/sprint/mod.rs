//! Sprints as people run them: how one stands, and how it ends and the next begins.

mod plan;
mod render;
mod report;
mod rotate;
mod turn;

pub use plan::Plan;
pub use rotate::Rotation;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Failure, Project, ReadModel,
    view::{CriterionView, ProgressView, SprintTaskView, SprintView, SprintWipView},
};
use oodatcaa_core::{
    Status, Task, claim,
    sprint::{self, Progress},
    succession,
    time::stamp,
};
use oodatcaa_sys::files;

/// So many tasks are shown that were done last, and that are claimed next.
const SHOWN: usize = 3;

impl SprintView {
    /// Describes the sprint of a reading. Its counters of `metadata` are not asked.
    pub fn of(model: &ReadModel<'_>) -> Self {
        let (snapshot, workflow) = (model.snapshot, model.workflow);
        let (queue, sprint) = (&snapshot.queue, &snapshot.queue.sprint);
        let wip = workflow.rules().iter().map(|rule| {
            let (current, limit) = (claim::wip(snapshot, rule), workflow.wip_limit(queue, &rule.role));
            let utilization = current.saturating_mul(100).checked_div(limit);
            SprintWipView { role: rule.role.clone(), current, limit, utilization }
        });
        let criteria = sprint::criteria(queue, workflow).into_iter().map(|criterion| CriterionView {
            name: criterion.name.into(),
            status: criterion.status.to_string(),
            progress: criterion.percent,
            tasks: criterion.tasks.iter().map(|task| task.id.clone()).collect(),
        });
        let mut next: Vec<&Task> = match succession::is_over(snapshot) {
            true => Vec::new(),
            false => workflow.rules().iter().flat_map(|rule| claim::candidates(snapshot, workflow, rule)).collect(),
        };
        next.sort_by_cached_key(|task| queue.rank(task));
        next.dedup_by_key(|task| task.place);
        next.truncate(SHOWN);
        let brief = |task: &Task| SprintTaskView {
            id: task.id.clone(),
            title: task.title.clone(),
            status: task.status.to_string(),
            completed_at: task.completed_at.map(Into::into),
        };
        Self {
            at: snapshot.now.wall.into(),
            number: sprint.number,
            id: sprint.id.clone(),
            status: sprint.status.clone(),
            goal: sprint.goal.clone(),
            completed_at: sprint.completed_at.map(Into::into),
            progress: ProgressView::of(&Progress::of(queue)),
            wip: wip.collect(),
            exit_criteria: criteria.collect(),
            recent: sprint::recent(queue, SHOWN).into_iter().map(brief).collect(),
            next: next.into_iter().map(brief).collect(),
        }
    }

    /// Returns the same in the form of `SPRINT_STATUS.json`, which programs of the old fleet read.
    fn file(&self) -> Value {
        let count = |status: Status| self.progress.statuses.get(status.as_str()).copied().unwrap_or_default();
        let wip = self.wip.iter().map(|role| {
            let SprintWipView { role, current, limit, utilization } = role;
            (role.to_string(), json!({ "current": current, "limit": limit, "utilization": utilization }))
        });
        let criterion =
            |one: &CriterionView| json!({ "name": one.name, "status": one.status, "progress": one.progress });
        json!({
            "sprint_id": self.id,
            "sprint_number": self.number,
            "status": self.status,
            "generated_at": stamp(self.at.0),
            "progress": {
                "total_tasks": self.progress.total_tasks,
                "completed": self.progress.completed,
                "in_progress": count(Status::IN_PROGRESS),
                "ready": count(Status::READY),
                "blocked": count(Status::BLOCKED),
                "needs_plan": count(Status::NEEDS_PLAN),
                "planning": count(Status::PLANNING),
                "awaiting_test": count(Status::AWAITING_TEST),
                "cancelled": self.progress.cancelled,
                "percentage": self.progress.percentage,
            },
            "wip": wip.collect::<Map<_, _>>(),
            "exit_criteria": self.exit_criteria.iter().map(criterion).collect::<Vec<_>>(),
        })
    }
}

impl ProgressView {
    /// Describes what was counted.
    fn of(progress: &Progress) -> Self {
        let statuses = progress.statuses.iter().map(|(status, count)| (status.to_string(), *count));
        Self {
            total_tasks: progress.total,
            completed: progress.done,
            cancelled: progress.cancelled,
            percentage: progress.percent(),
            statuses: statuses.collect(),
        }
    }
}

impl Project {
    /// Writes `SPRINT_STATUS.json` for programs that read it.
    pub fn write_sprint_status(&self, view: &SprintView) -> Result<(), Failure> {
        let layout = self.layout()?;
        Ok(files::publish(layout.root(), &layout.sprint_status(), pretty(&view.file()).as_bytes(), true)?)
    }
}

/// Writes an object as people read it.
fn pretty(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("a JSON value can be written");
    format!("{text}\n")
}
