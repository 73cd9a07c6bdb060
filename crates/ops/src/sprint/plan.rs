//! The plan of a sprint, as far as code can make it: what of the objective is open, and a task for a planner.
//!
//! Nothing is invented: the goal is a person's, the exit criteria are the words of the objective.

use crate::{ErrorKind, Failure, Project, view::SprintPlanView};
use oodatcaa_core::{
    Snapshot, Status, Task, Workflow,
    event::Actor,
    manual::{self, Wanted},
    objective::{self, SuccessCriterion},
    succession,
    text::{cut, many, one_line},
};
use oodatcaa_sys::files;

/// No objective is longer.
const LONGEST: u64 = 1 << 20;

/// The input of a plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The goal of the sprint, in a person's words.
    pub goal: Option<String>,
    /// So many open criteria become its exit criteria.
    pub most: usize,
    /// Add the task that plans it.
    pub add: bool,
}

impl Project {
    /// Proposes what the sprint is for, and the task that plans it; adds that task where it is asked to.
    pub fn plan_sprint(&self, plan: &Plan) -> Result<SprintPlanView, Failure> {
        let layout = self.layout()?;
        let path = self.shown(&layout.objective())?;
        let Some(text) = files::read_text(layout.root(), &layout.objective(), LONGEST)? else {
            return Err(Failure::new(ErrorKind::NotFound, format!("there is no {path}"))
                .hint("write what must be true in the end, one `- [ ] …` a line, below `## Success Criteria`")
                .see("sprint"));
        };
        let all = objective::criteria(&text);
        let open: Vec<&SuccessCriterion> = all.iter().filter(|criterion| !criterion.met).collect();
        let snapshot = self.read()?.snapshot;
        let sprint = &snapshot.queue.sprint;
        let name = sprint.number.map_or_else(|| "the sprint".into(), |number| format!("sprint {number}"));
        let goal = plan.goal.clone().or_else(|| sprint.goal.clone());
        let exit: Vec<&SuccessCriterion> = open.iter().copied().take(plan.most).collect();
        let begin = format!("Plan {name}");
        let words = goal.as_deref().map(|goal| format!(": {}", one_line(goal))).unwrap_or_default();
        let wanted = Wanted {
            title: cut(&format!("{begin}{words}"), Task::LONGEST_TITLE),
            kind: Some("Story".into()),
            status: Some(Status::NEEDS_PLAN),
            description: Some(described(&path, &all, &exit)),
            acceptance_criteria: exit.iter().map(|criterion| criterion.words.clone()).collect(),
            ..Wanted::default()
        };
        let is_it = |task: &&Task| {
            !task.status.is_finished()
                && task.title.strip_prefix(&begin).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let there = snapshot.queue.tasks().find(is_it).map(|task| task.id.clone());
        let mut view = SprintPlanView {
            objective: path,
            criteria: all.len(),
            met: all.len() - open.len(),
            percentage: (100 * (all.len() - open.len())).checked_div(all.len()),
            sprint: sprint.number,
            goal,
            exit_criteria: wanted.acceptance_criteria.clone(),
            title: wanted.title.clone(),
            description: wanted.description.clone().unwrap_or_default(),
            task: there.clone(),
            added: false,
        };
        if !plan.add || there.is_some() {
            return Ok(view);
        }
        if exit.is_empty() {
            let message = match all.len() {
                0 => format!("{} names no success criterion", view.objective),
                count => format!("every success criterion is met, {count} of {count}: there is nothing to plan"),
            };
            return Err(Failure::new(ErrorKind::Refused, message).hint("agentctl sprint plan").see("sprint"));
        }
        if succession::is_over(&snapshot) {
            let message = format!("{name} is completed");
            return Err(Failure::new(ErrorKind::Refused, message).hint("agentctl sprint new").see("sprint"));
        }
        let workflow = &self.loaded()?.config.workflow;
        let decide = |snapshot: &Snapshot, workflow: &Workflow, actor: &Actor| {
            let mut changes = manual::add(snapshot, workflow, &wanted, actor)?;
            changes.then(succession::planned(snapshot, plan.goal.as_deref(), actor));
            Ok(changes)
        };
        let changed = self.decide(false, workflow, decide)?;
        view.task = changed.changes.add.first().map(|new| new.task.id.clone());
        view.added = true;
        Ok(view)
    }
}

fn described(path: &str, all: &[SuccessCriterion], exit: &[&SuccessCriterion]) -> String {
    let met = all.iter().filter(|criterion| criterion.met).count();
    let mut text = format!(
        "The objective is {path}; {met} of {} {} met. What this sprint is to reach of it:\n",
        many(all.len(), "success criterion").replace("criterions", "criteria"),
        if met == 1 { "is" } else { "are" }
    );
    for criterion in exit {
        text.push_str(&format!("\n- {}", criterion.words));
        criterion.details.iter().for_each(|detail| text.push_str(&format!("\n  - {detail}")));
    }
    text.push_str(
        "\n\nPropose 3 to 8 tasks that reach it, each with acceptance criteria that can be checked. Give each \
         `objective_link` with the words of the criterion that it is for.",
    );
    text
}
