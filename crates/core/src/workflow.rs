//! Who takes which status, works as what, and where the task goes next.
//!
//! The table is data: five roles ship, a project may change them and add its own. What an
//! attempt's outcome means for a task is decided in `settle`, from this table.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Queue, Role, Status, policy::Policy};

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRule {
    /// The role's name; also the name of its prompt file and of its log.
    pub role: Role,
    /// The status that it claims.
    pub takes: Status,
    /// The status while it works.
    pub works: Status,
    /// The status of a task after success.
    pub done: Status,
    /// The status after success of a task with children (the planner's `planning_complete`).
    pub done_with_children: Option<Status>,
    /// The status when attempts are exhausted or the agent says so.
    pub failed: Status,
    /// The status when the agent asks for a new plan; `failed` when absent.
    pub replan: Option<Status>,
    /// The time that a lease lives without a heartbeat.
    pub ttl: Duration,
}

impl RoleRule {
    /// Tells whether it is the last step: what is ready becomes done.
    pub fn merges(&self) -> bool {
        self.takes == Status::READY_FOR_INTEGRATOR && self.done.is_done()
    }
}

/// The whole table, plus the words that no role works with, plus what holds for every role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflow {
    rules: Vec<RoleRule>,
    policy: Policy,
}

/// The error in a table, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadWorkflow(String);

impl Workflow {
    /// Returns the five roles that ship.
    pub fn shipped() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let row = |role, takes, works, done, failed, ttl| RoleRule {
            role,
            takes,
            works,
            done,
            done_with_children: None,
            failed,
            replan: None,
            ttl,
        };
        use Status as S;
        Self {
            policy: Policy::default(),
            rules: vec![
                RoleRule {
                    done_with_children: Some(S::PLANNING_COMPLETE),
                    ..row(Role::PLANNER, S::NEEDS_PLAN, S::PLANNING, S::READY, S::NEEDS_MANUAL, minutes(30))
                },
                row(Role::BUILDER, S::READY, S::IN_PROGRESS, S::AWAITING_TEST, S::NEEDS_ADAPT, minutes(90)),
                row(Role::TESTER, S::AWAITING_TEST, S::TESTING, S::READY_FOR_INTEGRATOR, S::NEEDS_ADAPT, minutes(45)),
                RoleRule {
                    replan: Some(S::NEEDS_PLAN),
                    ..row(Role::REFINER, S::NEEDS_ADAPT, S::ADAPTING, S::READY, S::NEEDS_MANUAL, minutes(45))
                },
                row(Role::INTEGRATOR, S::READY_FOR_INTEGRATOR, S::INTEGRATING, S::DONE, S::NEEDS_ADAPT, minutes(30)),
            ],
        }
    }

    /// Checks a table: one working status per role, nothing taken that is being worked in.
    pub fn new(rules: Vec<RoleRule>) -> Result<Self, BadWorkflow> {
        for (at, rule) in rules.iter().enumerate() {
            let RoleRule { role, takes, works, .. } = rule;
            let name = crate::TaskId::parse(role.as_str()).err().map(|bad| format!("role name `{role}` {bad}"));
            let finished = [takes, works].into_iter().find(|status| status.is_finished());
            let finished = finished.map(|status| format!("role `{role}` uses `{status}`, which ends a task"));
            let twice = rules[..at].iter().find_map(|other| match other {
                other if other.role == *role => Some(format!("role `{role}` is defined twice")),
                // A task in it would belong to both.
                other if other.works == *works => Some(format!(
                    "roles `{}` and `{role}` both work as `{works}`; each role needs a working status of its own",
                    other.role
                )),
                _ => None,
            });
            let taken = rules.iter().find(|other| other.takes == *works).map(|other| {
                format!("status `{works}` is a working status and is also taken by role `{}`", other.role)
            });
            if let Some(words) = name.or(finished).or(twice).or(taken) {
                return Err(BadWorkflow(words));
            }
        }
        Ok(Self { rules, policy: Policy::default() })
    }

    /// Returns how many tasks a role may work on at once: what the queue says, within the policy.
    pub fn wip_limit(&self, queue: &Queue, role: &Role) -> u32 {
        queue.wip_limit(role).min(self.policy.most_at_once)
    }

    /// Returns the same table under this policy.
    #[must_use]
    pub fn under(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Returns what holds for every role.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Tells whether a role would merge the task's branch, so that no agent is started.
    pub fn merges(&self, rule: &RoleRule, task: &crate::Task) -> bool {
        self.policy.merges && rule.merges() && task.branch.is_some()
    }

    /// Returns the row of the role that merges.
    pub fn merging(&self) -> Option<&RoleRule> {
        self.rule(&Role::INTEGRATOR)
    }

    /// Returns every row, in the order of the table.
    pub fn rules(&self) -> &[RoleRule] {
        &self.rules
    }

    /// Returns the row of a role.
    pub fn rule(&self, role: &Role) -> Option<&RoleRule> {
        self.rules.iter().find(|rule| rule.role == *role)
    }

    /// Returns the role that works in this status.
    pub fn working(&self, status: &Status) -> Option<&RoleRule> {
        self.rules.iter().find(|rule| rule.works == *status)
    }

    /// Returns the roles that take this status; more than one where a project says so.
    pub fn taking<'a>(&'a self, status: &'a Status) -> impl Iterator<Item = &'a RoleRule> {
        self.rules.iter().filter(move |rule| rule.takes == *status)
    }

    /// Tells whether a role mends what another role failed at, as it takes that role's `failed` status.
    pub fn adapts(&self, rule: &RoleRule) -> bool {
        self.rules.iter().any(|other| other.role != rule.role && other.failed == rule.takes)
    }

    /// Tells whether a role's changes are work: it builds, or mends what was built. Others look at it.
    pub fn builds(&self, rule: &RoleRule) -> bool {
        rule.takes == Status::READY || self.adapts(rule)
    }

    /// Returns where the work of a task starts when nothing holds it any more.
    pub fn start(&self, task: &crate::Task, queue: &Queue) -> Status {
        if task.is_of("build") || task.is_of("implement") {
            Status::READY
        } else if task.is_of("test") {
            Status::AWAITING_TEST
        } else if queue.children(&task.id).len() > 0 {
            Status::PLANNING_COMPLETE
        } else if task.parent.is_some() {
            Status::READY
        } else {
            Status::NEEDS_PLAN
        }
    }

    /// Tells whether the table or the fixed further words define this status.
    pub fn knows(&self, status: &Status) -> bool {
        let replan = || self.rules.iter().filter_map(|rule| rule.replan.as_ref());
        self.words().chain(replan()).chain(&[Status::COMPLETED, Status::PLANNING_COMPLETE]).any(|word| word == status)
    }

    fn words(&self) -> impl Iterator<Item = &Status> {
        let rows = self.rules.iter().flat_map(|rule| {
            let from = [&rule.takes, &rule.works].into_iter();
            from.chain(&rule.done_with_children).chain([&rule.done, &rule.failed])
        });
        rows.chain(&[Status::BLOCKED, Status::NEEDS_MANUAL, Status::FAILED, Status::CANCELLED, Status::DONE])
    }

    /// Tells whether a status keeps a task from being worked on, which is safe whoever set it; so is a word that nobody
    /// knows.
    pub(crate) fn holds_back(&self, status: &Status) -> bool {
        let aside = [Status::CANCELLED, Status::BLOCKED, Status::NEEDS_MANUAL, Status::FAILED];
        aside.contains(status) || !self.knows(status)
    }

    /// Returns the words for people to choose from, in the order of the table, without repeats.
    pub fn statuses(&self) -> Vec<Status> {
        let mut all: Vec<Status> = Vec::new();
        for status in self.words() {
            if !all.contains(status) {
                all.push(status.clone());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_the_contracts() {
        let rows: Vec<String> = Workflow::shipped()
            .rules()
            .iter()
            .map(|r| format!("{} {} {} {} {} {}m", r.role, r.takes, r.works, r.done, r.failed, r.ttl.as_secs() / 60))
            .collect();
        assert_eq!(
            rows,
            [
                "planner needs_plan planning ready needs_manual 30m",
                "builder ready in_progress awaiting_test needs_adapt 90m",
                "tester awaiting_test testing ready_for_integrator needs_adapt 45m",
                "refiner needs_adapt adapting ready needs_manual 45m",
                "integrator ready_for_integrator integrating done needs_adapt 30m",
            ]
        );
    }

    #[test]
    fn the_shipped_table_passes_its_own_check() {
        let shipped = Workflow::shipped();
        assert_eq!(Workflow::new(shipped.rules().to_vec()), Ok(shipped));
    }

    #[test]
    fn two_roles_may_not_share_a_working_status() {
        let mut rules = Workflow::shipped().rules().to_vec();
        let mut extra = rules[1].clone();
        extra.role = Role::new("reviewer");
        rules.push(extra);
        let words =
            "roles `builder` and `reviewer` both work as `in_progress`; each role needs a working status of its own";
        assert_eq!(Workflow::new(rules), Err(BadWorkflow(words.into())));
    }

    #[test]
    fn a_working_status_may_not_be_taken() {
        let mut rules = Workflow::shipped().rules().to_vec();
        rules[2].takes = Status::IN_PROGRESS;
        let words = "status `in_progress` is a working status and is also taken by role `tester`";
        assert_eq!(Workflow::new(rules), Err(BadWorkflow(words.into())));
    }
}
