//! The members of a queue entry.

use serde_json::{Map, Value};

use crate::{QueueLease, Status, Task, TaskId, time::stamp, words::words};

/// The writer of a member of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Rules and workers, while they work on it.
    Rules,
    /// Whoever describes the task: a person, or an agent that proposes it.
    Author,
    /// People alone.
    People,
}

words! {
    /// A member of a queue entry that means something to a rule, or to a person who reads the queue.
    pub enum Member;

    /// Returns who writes it; what else stands in an entry is its author's own.
    written_by: Writer {
        Status = "status", Rules: "The task's status.";
        Agent = "agent", Rules: "The role that acted last.";
        Lease = "lease", Rules: "The claim that holds it.";
        Attempts = "attempts", Rules: "Attempts charged in the present stage.";
        Starts = "starts", Rules: "Starts of agents in all stages.";
        NotBefore = "not_before", Rules: "The time at which it may be claimed again.";
        UpdatedAt = "updated_at", Rules: "Our stamp.";
        BlockedReason = "blocked_reason", Rules: "The reason why it waits for a human.";
        Branch = "branch", Rules: "The branch of its work.";
        MergedCommit = "merged_commit", Rules: "The commit as which it was merged.";
        Tag = "tag", Rules: "The tag on that merge.";
        CompletedAt = "completed_at", Rules: "The time at which it was done.";
        Id = "id", Author: "Its name.";
        Title = "title", Author: "One line for people.";
        Kind = "type", Author: "Story, build, test and the like.";
        Description = "description", Author: "The work to do.";
        Priority = "priority", Author: "Small numbers first.";
        AcceptanceCriteria = "acceptance_criteria", Author: "The statements that must be true afterwards.";
        Dependencies = "dependencies", Author: "The tasks that must be done before it.";
        DependsOn = "depends_on", Author: "The other spelling of the same.";
        Complexity = "complexity", Author: "`S`, `M` or `L`.";
        ObjectiveLink = "objective_link", Author: "What of the sprint's goal it is for.";
        Role = "role", People: "The only role that may take it.";
        Gates = "gates", People: "Gates beside its role's.";
        ExitGates = "exit_gates", People: "Statements that must hold.";
        Budget = "budget", People: "The limit on its cost.";
        Trusted = "trusted", People: "Its text needs no approval.";
        Source = "source", People: "The source of its text.";
        Parent = "parent", People: "The task that it is a part of.";
        ParentTask = "parent_task", People: "The other spelling of the same.";
        Subtasks = "subtasks", People: "Its parts.";
        CreatedAt = "created_at", People: "The time at which it was made.";
        Approval = "approval", People: "A word that only a person may give.";
        Approved = "approved", People: "The same.";
        Simulated = "simulated", People: "The simulated agent worked on it.";
        Metadata = "metadata", People: "A member of the whole queue.";
        WipLimits = "wip_limits", People: "A member of the whole queue.";
        Tasks = "tasks", People: "A member of the whole queue.";
    }
}

impl Member {
    /// Returns those that rules and workers write.
    pub fn of_rules() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|member| member.written_by() == Writer::Rules)
    }
}

impl Task {
    /// Reads an entry that we wrote.
    pub(crate) fn of_entry(id: &TaskId, entry: &Map<String, Value>) -> Self {
        let mut task = Self::new(id.clone(), Status::default());
        for (key, value) in entry {
            if let Some(member) = Member::of_word(key) {
                task.set(member, value);
            }
        }
        task
    }

    /// Returns the entry of a new task, the usual members in the usual order.
    pub(crate) fn entry(&self) -> Map<String, Value> {
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let list = |all: &[String]| (!all.is_empty()).then(|| Value::from(all));
        let members = [
            (Member::Id, Some(self.id.as_str().into())),
            (Member::Title, Some(self.title.as_str().into())),
            (Member::Kind, text(&self.kind)),
            (Member::Status, Some(self.status.as_str().into())),
            (Member::Priority, (self.priority != Self::DEFAULT_PRIORITY).then(|| self.priority.into())),
            (Member::Agent, Some(Value::Null)),
            (Member::Lease, Some(Value::Null)),
            (Member::Dependencies, Some(self.dependencies.as_slice().into())),
            (Member::Parent, text(&self.parent)),
            (Member::Complexity, text(&self.complexity)),
            (Member::ObjectiveLink, text(&self.objective_link)),
            (Member::Description, text(&self.description)),
            (Member::AcceptanceCriteria, Some(self.acceptance_criteria.as_slice().into())),
            (Member::Gates, list(&self.gates)),
            (Member::ExitGates, list(&self.exit_gates)),
            (Member::Trusted, (!self.trusted).then(|| false.into())),
            (Member::Source, text(&self.source).filter(|_| !self.trusted)),
            (Member::CreatedAt, text(&self.created_at)),
            (Member::UpdatedAt, self.updated_at.map(|time| stamp(time).into())),
        ];
        members.into_iter().filter_map(|(member, value)| Some((member.as_str().into(), value?))).collect()
    }

    /// Sets a member to what will stand in the file.
    pub(crate) fn set(&mut self, member: Member, value: &Value) {
        let text = || value.as_str().map(String::from);
        let time = || value.as_str().and_then(|t| t.parse().ok());
        let texts = || {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(|text| text.as_str().map(String::from)).collect::<Vec<_>>()
        };
        let count = || value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        match member {
            Member::Status => self.status = Status::new(text().unwrap_or_default()),
            Member::Agent => self.agent = text(),
            Member::Lease => self.lease = QueueLease::from_text(value.as_str().unwrap_or_default()),
            Member::Attempts => self.attempts = count(),
            Member::Starts => self.starts = count(),
            Member::NotBefore => self.not_before = time(),
            Member::UpdatedAt => self.updated_at = time(),
            Member::BlockedReason => self.blocked_reason = text(),
            Member::Branch => self.branch = text(),
            Member::MergedCommit => self.merged_commit = text(),
            Member::Title => self.title = text().unwrap_or_default(),
            Member::Kind => self.kind = text(),
            Member::Description => self.description = text(),
            Member::Priority => self.priority = value.as_i64().unwrap_or(Self::DEFAULT_PRIORITY),
            Member::AcceptanceCriteria => self.acceptance_criteria = texts(),
            Member::Dependencies => self.dependencies = texts(),
            Member::Complexity => self.complexity = text(),
            Member::Role => self.role = text(),
            Member::Gates => self.gates = texts(),
            Member::ExitGates => self.exit_gates = texts(),
            Member::Trusted => self.trusted = value.as_bool().unwrap_or(true),
            Member::Source => self.source = text(),
            Member::Parent => self.parent = text(),
            Member::CreatedAt => self.created_at = text(),
            Member::ObjectiveLink => self.objective_link = text(),
            Member::CompletedAt => self.completed_at = time(),
            _ => {}
        }
    }
}
