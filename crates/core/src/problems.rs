//! What is wrong with a queue as a whole.

use crate::{Problem, Queue, Role, Task, Workflow, queue::Waits};

impl Queue {
    /// Returns everything that is wrong, for `doctor` and `queue validate`: what the file showed, and what the tasks
    /// show together.
    pub fn problems(&self, workflow: &Workflow) -> Vec<Problem> {
        let mut all = self.problems.clone();
        let mut say = |task: &Task, code, message| {
            all.push(Problem { line: 0, column: 0, task: Some(task.id.to_string()), code, message });
        };
        for task in self.tasks() {
            if !workflow.knows(&task.status) {
                say(
                    task,
                    "unknown_status",
                    format!("task {} has the unknown status `{}` and will not be claimed", task.id, task.status),
                );
            }
            if let Some(parent) = &task.parent
                && self.find(parent).is_none()
            {
                say(
                    task,
                    "missing_parent",
                    format!("task {} names the parent `{parent}`, which is not in the queue", task.id),
                );
            }
            if let Some(role) = &task.role
                && workflow.rule(&Role::new(role.as_str())).is_none()
            {
                say(task, "unknown_role", format!("task {} is for the role `{role}`, which is not defined", task.id));
            }
            if task.status.is_finished() {
                continue;
            }
            match self.waits(task) {
                Waits::No | Waits::On(..) => {}
                Waits::OnMissing(name) => {
                    say(
                        task,
                        "missing_dependency",
                        format!("task {} depends on `{name}`, which is not in the queue", task.id),
                    );
                }
                Waits::OnCancelled(other) => {
                    say(
                        task,
                        "cancelled_dependency",
                        format!("task {} depends on {other}, which was cancelled", task.id),
                    );
                }
                Waits::InCycle(way) => {
                    say(task, "cycle", format!("task {} waits for itself: {way}", task.id));
                }
            }
        }
        for role in self.wip_limits.keys() {
            if workflow.rule(&Role::new(role.as_str())).is_none() {
                all.push(Problem {
                    line: 0,
                    column: 0,
                    task: None,
                    code: "unknown_role",
                    message: format!("`wip_limits` names the role `{role}`, which is not defined"),
                });
            }
        }
        all
    }
}
