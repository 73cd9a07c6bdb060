//! The members of a queue entry that we write.

use serde_json::Value;

use crate::{QueueLease, Status, Task};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the member it is named after")]
pub enum Member {
    Status,
    Agent,
    Lease,
    Attempts,
    Starts,
    NotBefore,
    UpdatedAt,
    BlockedReason,
    Branch,
    MergedCommit,
    Tag,
    CompletedAt,
    Title,
    Description,
    Kind,
    Priority,
    Dependencies,
    DependsOn,
    AcceptanceCriteria,
    Gates,
}

impl Member {
    /// Every one of them.
    pub const ALL: [Self; 12] = [
        Self::Status,
        Self::Agent,
        Self::Lease,
        Self::Attempts,
        Self::Starts,
        Self::NotBefore,
        Self::UpdatedAt,
        Self::BlockedReason,
        Self::Branch,
        Self::MergedCommit,
        Self::Tag,
        Self::CompletedAt,
    ];

    /// Returns the member's key in the file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Agent => "agent",
            Self::Lease => "lease",
            Self::Attempts => "attempts",
            Self::Starts => "starts",
            Self::NotBefore => "not_before",
            Self::UpdatedAt => "updated_at",
            Self::BlockedReason => "blocked_reason",
            Self::Branch => "branch",
            Self::MergedCommit => "merged_commit",
            Self::Tag => "tag",
            Self::CompletedAt => "completed_at",
            Self::Title => "title",
            Self::Description => "description",
            Self::Kind => "type",
            Self::Priority => "priority",
            Self::Dependencies => "dependencies",
            Self::DependsOn => "depends_on",
            Self::AcceptanceCriteria => "acceptance_criteria",
            Self::Gates => "gates",
        }
    }
}

impl Task {
    /// Sets a member to what will stand in the file.
    pub(crate) fn set(&mut self, member: Member, value: &Value) {
        let text = || value.as_str().map(String::from);
        let time = || value.as_str().and_then(|t| t.parse().ok());
        let texts = || {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(|text| text.as_str().map(String::from)).collect::<Vec<_>>()
        };
        let count = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        match member {
            Member::Status => self.status = Status::new(text().unwrap_or_default()),
            Member::Agent => self.agent = text(),
            Member::Lease => self.lease = QueueLease::from_text(value.as_str().unwrap_or_default()),
            Member::Attempts => self.attempts = count(value),
            Member::Starts => self.starts = count(value),
            Member::NotBefore => self.not_before = time(),
            Member::UpdatedAt => self.updated_at = time(),
            Member::BlockedReason => self.blocked_reason = text(),
            Member::Branch => self.branch = text(),
            Member::Title => self.title = text().unwrap_or_default(),
            Member::Description => self.description = text(),
            Member::Kind => self.kind = text(),
            Member::Priority => self.priority = value.as_i64().unwrap_or(Self::DEFAULT_PRIORITY),
            Member::Dependencies => self.dependencies = texts(),
            Member::AcceptanceCriteria => self.acceptance_criteria = texts(),
            Member::Gates => self.gates = texts(),
            Member::MergedCommit => self.merged_commit = text(),
            Member::DependsOn | Member::Tag | Member::CompletedAt => {}
        }
    }
}
