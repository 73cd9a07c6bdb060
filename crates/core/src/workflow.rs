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
    /// Its purpose.
    pub duty: Duty,
}

/// The purpose of a role, beside its way through the statuses: whatever a rule would otherwise ask of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// It is the last step: branches of tasks that it takes are merged by our own code.
    pub merges: bool,
    /// Its work is what tasks are about. Parts of a plan begin with it.
    pub builds: bool,
    /// The types of tasks whose work begins with it, each also as the beginning of a word; [`Duty::REST`] for those that
    /// no role names.
    pub begins: Vec<String>,
    /// The type of a task that is added in the status that it takes.
    pub kind: Option<String>,
    /// It works without an agent: an attempt is its gates.
    pub agentless: bool,
}

impl Duty {
    /// Stands in `begins` for every type that no role names.
    pub const REST: &str = "*";

    fn takes_the_rest(&self) -> bool {
        self.begins.iter().any(|kind| kind == Self::REST)
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
            duty: Duty::default(),
        };
        let begins = |kind: &str, begins: &[&str]| Duty {
            begins: begins.iter().map(|&kind| kind.into()).collect(),
            kind: Some(kind.into()),
            ..Duty::default()
        };
        use Status as S;
        Self {
            policy: Policy::default(),
            rules: vec![
                RoleRule {
                    done_with_children: Some(S::PLANNING_COMPLETE),
                    duty: begins("Story", &[Duty::REST]),
                    ..row(Role::PLANNER, S::NEEDS_PLAN, S::PLANNING, S::READY, S::NEEDS_MANUAL, minutes(30))
                },
                RoleRule {
                    duty: Duty { builds: true, ..begins("Build", &["Build", "Implement"]) },
                    ..row(Role::BUILDER, S::READY, S::IN_PROGRESS, S::AWAITING_TEST, S::NEEDS_ADAPT, minutes(90))
                },
                RoleRule {
                    duty: begins("Test", &["Test"]),
                    ..row(
                        Role::TESTER,
                        S::AWAITING_TEST,
                        S::TESTING,
                        S::READY_FOR_INTEGRATOR,
                        S::NEEDS_ADAPT,
                        minutes(45),
                    )
                },
                RoleRule {
                    replan: Some(S::NEEDS_PLAN),
                    ..row(Role::REFINER, S::NEEDS_ADAPT, S::ADAPTING, S::READY, S::NEEDS_MANUAL, minutes(45))
                },
                RoleRule {
                    duty: Duty { merges: true, ..Duty::default() },
                    ..row(
                        Role::INTEGRATOR,
                        S::READY_FOR_INTEGRATOR,
                        S::INTEGRATING,
                        S::DONE,
                        S::NEEDS_ADAPT,
                        minutes(30),
                    )
                },
            ],
        }
    }

    /// Checks a table: one working status per role, nothing taken that is being worked in, one role that merges.
    pub fn new(rules: Vec<RoleRule>) -> Result<Self, BadWorkflow> {
        for (at, rule) in rules.iter().enumerate() {
            let RoleRule { role, takes, works, done, duty, .. } = rule;
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
            let undone = (duty.merges && !done.is_done()).then(|| {
                format!("role `{role}` merges and sends tasks on to `{done}`; what is merged is `done` (or: `merges = false`)")
            });
            // Whoever may merge must have waited for a person's word, and one role is asked about that.
            let again = rules[..at].iter().find_map(|other| match other {
                other if other.duty.merges && duty.merges => {
                    Some(format!("roles `{}` and `{role}` both merge; one role does", other.role))
                }
                other if other.duty.takes_the_rest() && duty.takes_the_rest() => Some(format!(
                    "tasks of all other types begin (`begins = [\"*\"]`) with both `{}` and `{role}`",
                    other.role
                )),
                _ => None,
            });
            if let Some(words) = name.or(finished).or(twice).or(taken).or(undone).or(again) {
                return Err(BadWorkflow(words));
            }
        }
        Ok(Self { rules, policy: Policy::default() })
    }

    /// Tells what a further role would mean: the reason why it cannot work, or what is worth knowing of it.
    pub fn admits(&self, rule: &RoleRule) -> Result<Vec<String>, BadWorkflow> {
        let with = Self::new(self.rules.iter().chain([rule]).cloned().collect())?;
        let (role, takes) = (&rule.role, &rule.takes);
        let ways = [
            ("done", Some(&rule.done)),
            ("done_with_children", rule.done_with_children.as_ref()),
            ("failed", Some(&rule.failed)),
            ("replan", rule.replan.as_ref()),
        ];
        for (key, to) in ways.into_iter().filter_map(|(key, to)| Some((key, to?))) {
            let why = match with.working(to) {
                Some(other) => format!("which `{}` works in, and only its claim may set", other.role),
                None if to == takes => "which it takes: it would have its own tasks again and again".into(),
                None if !with.leads_on(to) => {
                    "which no role takes and which ends nothing: tasks would stay there (needs_manual asks a human)"
                        .into()
                }
                None => continue,
            };
            return Err(BadWorkflow(format!("role `{role}` has `{key} = \"{to}\"`, {why}")));
        }
        let mut notes: Vec<String> = self
            .taking(takes)
            .map(|other| format!("`{takes}` is taken by `{}` as well: whoever comes first gets a task", other.role))
            .collect();
        let leads = |other: &RoleRule| {
            let to = [Some(&other.done), Some(&other.failed), other.done_with_children.as_ref(), other.replan.as_ref()];
            other.role != *role && to.contains(&Some(takes))
        };
        if !self.rules.iter().any(leads) && self.taking(takes).next().is_none() {
            notes.push(format!(
                "no role sends tasks to `{takes}` yet: set `done` of one to it, or add them there (agentctl add TITLE --status {takes})"
            ));
        }
        Ok(notes)
    }

    /// Tells whether something comes of a task in this status: a role takes it, it has ended, or a human is asked.
    fn leads_on(&self, status: &Status) -> bool {
        let aside = [Status::BLOCKED, Status::NEEDS_MANUAL, Status::FAILED];
        self.taking(status).next().is_some()
            || status.is_finished()
            || aside.contains(status)
            || self.is_planned(status)
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

    /// Notes when it was read ([`Policy::read_at`]).
    pub fn read_at(mut self, time: chrono::DateTime<chrono::Utc>) -> Self {
        self.policy.read_at = time;
        self
    }

    /// Returns what holds for every role.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Tells whether a role would merge the task's branch, so that no agent is started.
    pub fn merges(&self, rule: &RoleRule, task: &crate::Task) -> bool {
        self.policy.merges && rule.duty.merges && task.branch.is_some()
    }

    /// Tells whether an attempt of a role on a task starts an agent: not where it merges, and not where it is its gates.
    pub fn starts_agent(&self, rule: &RoleRule, task: &crate::Task) -> bool {
        !rule.duty.agentless && !self.merges(rule, task)
    }

    /// Returns the row of the role that merges.
    pub fn merging(&self) -> Option<&RoleRule> {
        self.rules.iter().find(|rule| rule.duty.merges)
    }

    /// Returns the row of the role that builds, the first where there are more.
    pub fn building(&self) -> Option<&RoleRule> {
        self.rules.iter().find(|rule| rule.duty.builds)
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
    pub(crate) fn mends(&self, rule: &RoleRule) -> bool {
        self.rules.iter().any(|other| other.role != rule.role && other.failed == rule.takes)
    }

    /// Tells whether that is all that a role does: what waits for it has failed before.
    pub fn adapts(&self, rule: &RoleRule) -> bool {
        self.mends(rule) && !self.makes(rule)
    }

    /// Tells whether a role makes what tasks are about: it builds, or takes the same tasks as one that does.
    pub(crate) fn makes(&self, rule: &RoleRule) -> bool {
        self.rules.iter().any(|other| other.duty.builds && other.takes == rule.takes)
    }

    /// Tells whether a role's changes are work: it builds, or mends what was built. Others look at it.
    pub fn builds(&self, rule: &RoleRule) -> bool {
        self.makes(rule) || self.adapts(rule)
    }

    /// Returns where the work of a task starts when nothing holds it any more: with the role that names its type, else,
    /// for a part of a plan, with the one that builds.
    pub fn start(&self, task: &crate::Task, queue: &Queue) -> Status {
        let names_it = |rule: &&RoleRule| {
            let mut kinds = rule.duty.begins.iter().filter(|kind| *kind != Duty::REST);
            kinds.any(|kind| task.is_of(&kind.to_ascii_lowercase()))
        };
        match self.rules.iter().find(names_it) {
            Some(rule) => rule.takes.clone(),
            None if queue.children(&task.id).len() > 0 => self.planned(),
            None if task.parent.is_some() => self.work(),
            None => self.entry(),
        }
    }

    /// Returns the status of a new task of which nothing more is said.
    pub fn entry(&self) -> Status {
        let first = self.rules.iter().find(|rule| rule.duty.takes_the_rest());
        first.map_or(Status::NEEDS_PLAN, |rule| rule.takes.clone())
    }

    /// Returns the status in which a task is built.
    pub fn work(&self) -> Status {
        self.building().map_or(Status::READY, |rule| rule.takes.clone())
    }

    /// Returns the status of a task that has been planned and waits for its parts.
    fn planned(&self) -> Status {
        let mut own = self.rules.iter().filter_map(|rule| rule.done_with_children.as_ref());
        own.find(|status| self.is_planned(status)).cloned().unwrap_or(Status::PLANNING_COMPLETE)
    }

    /// Tells whether a task in this status waits for its parts, and for nothing else.
    pub fn is_planned(&self, status: &Status) -> bool {
        let mut own = self.rules.iter().filter_map(|rule| rule.done_with_children.as_ref());
        let is_taken = || self.taking(status).next().is_some();
        *status == Status::PLANNING_COMPLETE || own.any(|own| own == status) && !status.is_finished() && !is_taken()
    }

    /// Returns the type of a task that is added in this status, where nobody says it.
    pub(crate) fn kind(&self, status: &Status) -> Option<&str> {
        self.rules.iter().filter(|rule| rule.takes == *status).find_map(|rule| rule.duty.kind.as_deref())
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
    fn what_a_role_is_for_stands_in_the_table_and_not_in_its_name() {
        let mut rules = Workflow::shipped().rules().to_vec();
        for (rule, name) in rules.iter_mut().zip(["a", "b", "c", "d", "e"]) {
            rule.role = Role::new(name);
            for status in [&mut rule.takes, &mut rule.works, &mut rule.done, &mut rule.failed] {
                if !status.is_done() && *status != Status::NEEDS_MANUAL {
                    *status = Status::new(format!("my_{status}"));
                }
            }
            rule.done_with_children =
                rule.done_with_children.as_ref().map(|status| Status::new(format!("my_{status}")));
        }
        let flow = Workflow::new(rules).expect("a good table");
        let role = |rule: Option<&RoleRule>| rule.map(|rule| rule.role.to_string()).unwrap_or_default();
        assert_eq!((role(flow.merging()), role(flow.building())), ("e".into(), "b".into()));
        let builds: Vec<&str> = flow.rules().iter().filter(|rule| flow.builds(rule)).map(|r| r.role.as_str()).collect();
        assert_eq!(builds, ["b", "d"]);
        assert_eq!((flow.entry().as_str(), flow.work().as_str()), ("my_needs_plan", "my_ready"));
        assert!(flow.is_planned(&Status::new("my_planning_complete")) && !flow.is_planned(&flow.work()));
        let kinds = ["my_needs_plan", "my_ready", "my_awaiting_test", "my_needs_adapt"];
        assert_eq!(kinds.map(|s| flow.kind(&Status::new(s))), [Some("Story"), Some("Build"), Some("Test"), None]);

        let task = |id: &str, kind: Option<&str>, parent: Option<&str>| crate::Task {
            kind: kind.map(Into::into),
            parent: parent.map(Into::into),
            ..crate::tests::task(id, Status::BLOCKED)
        };
        let tasks = vec![
            task("A", Some("Implementation"), None),
            task("B", Some("testing"), Some("A")),
            task("C", Some("Story"), Some("A")),
            task("P", Some("Story"), None),
            task("Q", None, Some("P")),
            task("R", Some("Story"), None),
        ];
        let seen = crate::tests::snapshot(tasks);
        let start = |id: &str| flow.start(seen.queue.find(id).expect("there"), &seen.queue).to_string();
        assert_eq!(
            ["A", "B", "C", "P", "Q", "R"].map(start),
            ["my_ready", "my_awaiting_test", "my_ready", "my_planning_complete", "my_ready", "my_needs_plan"]
        );
    }

    #[test]
    fn one_role_merges_and_what_is_merged_is_done() {
        let shipped = Workflow::shipped();
        let with = |change: fn(&mut Vec<RoleRule>)| {
            let mut rules = shipped.rules().to_vec();
            change(&mut rules);
            Workflow::new(rules).expect_err("refused").to_string()
        };
        let words = "roles `tester` and `integrator` both merge; one role does";
        let done = |rules: &mut Vec<RoleRule>| {
            rules[2].duty.merges = true;
            rules[2].done = Status::DONE;
        };
        assert_eq!(with(done), words);
        let words = "role `integrator` merges and sends tasks on to `released`; what is merged is `done` (or: `merges = false`)";
        assert_eq!(with(|rules| rules[4].done = Status::new("released")), words);
        let words = "tasks of all other types begin (`begins = [\"*\"]`) with both `planner` and `refiner`";
        assert_eq!(with(|rules| rules[3].duty.begins = vec!["*".into()]), words);
    }

    #[test]
    fn a_further_role_that_cannot_work_is_refused_with_the_reason() {
        let flow = Workflow::shipped();
        let rule = |takes: &str, works: &str, done: &str, failed: &str| RoleRule {
            role: Role::new("reviewer"),
            takes: Status::new(takes),
            works: Status::new(works),
            done: Status::new(done),
            failed: Status::new(failed),
            done_with_children: None,
            duty: Duty::default(),
            ..flow.rules()[0].clone()
        };
        let why = |takes, works, done, failed| flow.admits(&rule(takes, works, done, failed)).map_err(|bad| bad.0);
        let of_its_own =
            "roles `builder` and `reviewer` both work as `in_progress`; each role needs a working status of its own";
        let nowhere = "role `reviewer` has `done = \"seen\"`, which no role takes and which ends nothing: tasks would stay there (needs_manual asks a human)";
        let again = "role `reviewer` has `failed = \"a\"`, which it takes: it would have its own tasks again and again";
        let claimed = "role `reviewer` has `done = \"testing\"`, which `tester` works in, and only its claim may set";
        let alone = "no role sends tasks to `a` yet: set `done` of one to it, or add them there (agentctl add TITLE --status a)";
        let both = "`awaiting_test` is taken by `tester` as well: whoever comes first gets a task";
        for (made, said) in [
            (why("a", "in_progress", "done", "needs_adapt"), Err(of_its_own)),
            (why("a", "b", "seen", "needs_adapt"), Err(nowhere)),
            (why("a", "b", "done", "a"), Err(again)),
            (why("a", "b", "testing", "needs_adapt"), Err(claimed)),
            (why("a", "b", "awaiting_test", "needs_manual"), Ok(vec![alone])),
            (why("awaiting_test", "b", "ready_for_integrator", "needs_adapt"), Ok(vec![both])),
        ] {
            assert_eq!(made.as_ref().map(|all| all.iter().map(String::as_str).collect()).map_err(String::as_str), said);
        }
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
