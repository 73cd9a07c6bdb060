//! What a task's work changed, as a diff to look through before a yes.

use ratatui::text::Line;

use super::sgr;
use crate::cli::diff;
use oodatcaa_core::{TaskId, text::many_lines};
use oodatcaa_ops::{Failure, Project};

/// So much of a diff is shown.
const BYTES: usize = 1 << 20;

/// The diff of one task's work.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) task: TaskId,
    pub(super) lines: Vec<Line<'static>>,
}

impl Changes {
    /// Returns the command that prints it.
    pub(super) fn command(task: &TaskId) -> String {
        format!("agentctl run diff {task}")
    }

    /// Asks git.
    pub(super) fn read(project: &Project, task: TaskId) -> Result<Self, Failure> {
        let snapshot = project.read()?.snapshot;
        let patch = diff::range(project, &snapshot, &task, None)?.patch()?;
        let shown = &patch[..patch.len().min(BYTES)];
        let text = many_lines(&String::from_utf8_lossy(shown));
        let mut lines: Vec<Line<'static>> = text.lines().map(|line| sgr::line(&diff::tone(line).paint(line))).collect();
        if lines.is_empty() {
            lines.push(sgr::line("nothing was changed"));
        }
        if patch.len() > shown.len() {
            lines.push(sgr::line(&format!("… the rest: {}", Self::command(&task))));
        }
        Ok(Self { task, lines })
    }
}
