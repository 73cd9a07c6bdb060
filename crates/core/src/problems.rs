//! What is wrong with a queue as a whole.

use crate::{Problem, Queue, Role, Workflow, queue::Waits};

impl Queue {
    /// Returns everything that is wrong, for `doctor` and `queue validate`: what the file showed, and what the tasks
    /// show together.
    pub fn problems(&self, workflow: &Workflow) -> Vec<Problem> {
        let known = |role: &str| workflow.rule(&Role::new(role)).is_some();
        let mut found = Vec::new();
        for task in self.tasks() {
            let id = &task.id;
            let mut say = |code, message| found.push((Some(id), code, message));
            if !workflow.knows(&task.status) {
                let words = format!("task {id} has the unknown status `{}` and will not be claimed", task.status);
                say("unknown_status", words);
            }
            if let Some(parent) = task.parent.as_ref().filter(|parent| self.find(parent).is_none()) {
                say("missing_parent", format!("task {id} names the parent `{parent}`, which is not in the queue"));
            }
            if let Some(role) = task.role.as_ref().filter(|role| !known(role)) {
                say("unknown_role", format!("task {id} is for the role `{role}`, which is not defined"));
            }
            match self.waits(task) {
                _ if task.status.is_finished() => {}
                Waits::No | Waits::On(..) => {}
                Waits::OnMissing(name) => {
                    say("missing_dependency", format!("task {id} depends on `{name}`, which is not in the queue"));
                }
                Waits::OnCancelled(other) => {
                    say("cancelled_dependency", format!("task {id} depends on {other}, which was cancelled"));
                }
                Waits::InCycle(way) => say("cycle", format!("task {id} waits for itself: {way}")),
            }
        }
        for role in self.wip_limits.keys().filter(|role| !known(role)) {
            found.push((None, "unknown_role", format!("`wip_limits` names the role `{role}`, which is not defined")));
        }
        let found = found.into_iter().map(|(task, code, message)| {
            let task = task.map(ToString::to_string);
            Problem { line: 0, column: 0, task, code, message }
        });
        self.problems.iter().cloned().chain(found).collect()
    }
}
