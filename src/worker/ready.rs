//! Before the agent: its worktree, its directory, its prompt.

use std::sync::Arc;

use super::{chain, evidence, run::Run};
use crate::{
    agent::prompt::{self, PromptError},
    domain::{Class, Outcome},
    workspace::{self, Workspace},
};

impl Run {
    /// The task's worktree, where the project works in such; nothing is asked of git otherwise.
    pub(super) fn workspace(&mut self) -> Result<Option<Workspace>, Outcome> {
        let shared = Arc::clone(&self.shared);
        let config = &shared.setup.config.workspace;
        if config.mode == workspace::Mode::Shared {
            return Ok(None);
        }
        let prepared = Workspace::prepare(&shared.setup.layout, config, &self.assignment.task, self.lease().token);
        let workspace =
            prepared.map_err(|error| Outcome::failed(error.class(), format!("failed to {}", chain(&error))))?;
        if workspace.mode() == workspace::Mode::Shared {
            return Ok(None);
        }
        self.assignment.workspace = workspace.path().to_owned();
        self.assignment.task.branch = workspace.branch().map(String::from);
        self.env = workspace.env().clone();
        Ok(Some(workspace))
    }

    pub(super) fn prepare(&mut self) -> Result<(), Outcome> {
        let write = |what: &str, error: std::io::Error| {
            let class = match error.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Class::PermissionDenied
                }
                _ => Class::AgentCrashed,
            };
            Outcome::failed(class, format!("cannot write {what}: {error}"))
        };
        let run_dir = self.assignment.run_dir.clone();
        super::record::make_dir(&run_dir).map_err(|error| write(&run_dir.display().to_string(), error))?;
        let prompt = self.prompt()?;
        let path = self.assignment.prompt_file();
        super::record::write_private(&path, prompt.as_bytes())
            .map_err(|error| write(&path.display().to_string(), error))
    }

    pub(super) fn prompt(&self) -> Result<String, Outcome> {
        let wrong = |reason: String| Outcome::failed(Class::Config, reason);
        let path = self.shared.setup.layout.prompt(self.shared.role());
        let role = self.shared.role();
        let template = match (prompt::load(&path), prompt::shipped(role)) {
            (Ok(template), _) => template,
            (Err(PromptError::Missing { .. }), Some(shipped)) => shipped.into(),
            (Err(error), _) => return Err(wrong(format!("failed to {}", chain(&error)))),
        };
        let facts = self.facts().map_err(wrong)?;
        prompt::render(&template, &self.assignment, &facts)
            .map_err(|error| wrong(format!("{}: failed to {}", path.display(), chain(&error))))
    }

    pub(super) fn facts(&self) -> Result<prompt::PromptFacts, String> {
        let queue = &self.snapshot.queue;
        let layout = &self.shared.setup.layout;
        let dependencies = self
            .assignment
            .task
            .dependencies
            .iter()
            .filter_map(|name| queue.find(name))
            .map(|other| prompt::Related {
                id: other.id.to_string(),
                title: other.title.clone(),
                status: other.status.to_string(),
                summary: super::record::last_summary(layout, &other.id, self.snapshot.highest_token(&other.id))
                    .unwrap_or_default(),
            })
            .collect();
        let children = queue
            .children(&self.assignment.task.id)
            .map(|child| prompt::Related {
                id: child.id.to_string(),
                title: child.title.clone(),
                status: child.status.to_string(),
                summary: String::new(),
            })
            .collect();
        let known = self.snapshot.history.task(&self.assignment.task.id);
        let mut failures: Vec<String> = known
            .map(|known| known.failures.iter().map(|(role, reason)| format!("{role}: {reason}")).collect())
            .unwrap_or_default();
        if let Some(reason) = &self.assignment.task.blocked_reason
            && !failures.iter().any(|failure| failure.ends_with(reason.as_str()))
        {
            failures.push(reason.clone());
        }
        let mut gates = Vec::new();
        for name in evidence::gates(&self.shared, &self.assignment.task) {
            let gate = self.shared.gate(&name).ok_or_else(|| evidence::unknown_gate(&name))?;
            gates.push((name, gate.argv.join(" ")));
        }
        let answers = known.map(|known| known.answers.clone()).unwrap_or_default();
        Ok(prompt::PromptFacts { dependencies, children, failures, answers, gates })
    }
}
