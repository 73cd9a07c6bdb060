//! What a person does from the screen: the same operation that a command runs, and that command in words.

use oodatcaa_core::{
    decision::Word,
    text::{cut, one_line, shell_word},
};
use oodatcaa_ops::{Failure, Project, runs, view::NeedView};

/// An act on what is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Say yes, to the commit that was shown where it is about one.
    Approve { id: String, commit: Option<String> },
    /// Say no.
    Reject { id: String, reason: String },
    /// Answer an agent's question.
    Answer { id: String, text: String },
    /// Have a task tried again.
    Retry { task: String },
    /// Ask that the attempt on a task stop.
    Stop { task: String, reason: String },
}

impl Act {
    /// Returns the yes to something that waits.
    pub(super) fn approve(need: &NeedView) -> Self {
        Self::Approve { id: need.question.id.clone(), commit: need.question.commit.clone() }
    }

    /// Returns the command that does the same.
    pub(super) fn command(&self) -> String {
        let words = |words: &str| shell_word(&one_line(words));
        match self {
            Self::Approve { id, commit: None } => format!("agentctl approve {}", words(id)),
            Self::Approve { id, commit: Some(commit) } => {
                let commit: String = commit.chars().take(12).collect();
                format!("agentctl approve {} --commit {}", words(id), words(&commit))
            }
            Self::Reject { id, reason } => format!("agentctl reject {} --reason {}", words(id), words(reason)),
            Self::Answer { id, text } => format!("agentctl answer {} {}", words(id), words(text)),
            Self::Retry { task } => format!("agentctl task retry {}", words(task)),
            Self::Stop { task, reason } => format!("agentctl run stop {} --reason {}", words(task), words(reason)),
        }
    }

    /// Returns the same act with the words that were typed.
    pub(super) fn with(self, typed: &str) -> Self {
        let typed = typed.trim().to_owned();
        match self {
            Self::Reject { id, .. } => Self::Reject { id, reason: typed },
            Self::Answer { id, .. } => Self::Answer { id, text: typed },
            Self::Stop { task, .. } => Self::Stop { task, reason: typed },
            other => other,
        }
    }

    /// Tells whether words must be typed first.
    pub(super) fn wants_words(&self) -> bool {
        matches!(self, Self::Reject { .. } | Self::Answer { .. } | Self::Stop { .. })
    }

    /// Does it; says in a few words what became of it.
    pub(super) fn run(&self, project: &Project) -> Result<String, Failure> {
        let resolve = |id: &str, word: Word<'_>, commit: Option<&str>| {
            let view = project.resolve(id, word, commit, false)?;
            Ok(match (&view.from, &view.to) {
                (Some(from), Some(to)) if from != to => format!("{}: {from} → {to}", view.question.state),
                _ => view.question.state,
            })
        };
        match self {
            Self::Approve { id, commit } => resolve(id, Word::Approve, commit.as_deref()),
            Self::Reject { id, reason } => resolve(id, Word::Reject(reason), None),
            Self::Answer { id, text } => resolve(id, Word::Answer(text), None),
            Self::Retry { task } => {
                let events = project.store()?.events(0)?;
                let (id, changed) = project.retry(task, &events, None, false)?;
                let view = changed.view(project.workflow(), "retry", &id, false);
                let to = view.to.map(|to| to.to_string()).unwrap_or_default();
                Ok(if view.changed { format!("it is `{to}` now") } else { format!("it is `{to}` already") })
            }
            Self::Stop { task, reason } => {
                let snapshot = project.read()?.snapshot;
                let named = runs::named(project, &snapshot, task)?;
                let view = project.stop(&snapshot, named, reason, None, false, || Ok(true))?;
                let asked = view.is_some_and(|view| view.changed);
                Ok(if asked { "it was asked to stop".into() } else { "it is stopping already".into() })
            }
        }
    }
}

/// Says what became of an act.
pub(super) fn told(act: &Act, done: &Result<String, Failure>) -> (bool, String) {
    match done {
        Ok(words) => (true, format!("ran: {}: {}", act.command(), one_line(words))),
        Err(failure) => (false, format!("{}: {}", act.command(), cut(&one_line(&failure.sentence()), 400))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_is_a_command_that_parses() {
        let acts = [
            Act::Approve { id: "P1.1".into(), commit: None },
            Act::Approve { id: "P1.1".into(), commit: Some("c0ffee0123456789".into()) },
            Act::Reject { id: "P1.1".into(), reason: "not 'this' way".into() },
            Act::Answer { id: "P1.2".into(), text: "2, drop it".into() },
            Act::Retry { task: "P1".into() },
            Act::Stop { task: "P1".into(), reason: "$(wrong)".into() },
        ];
        for act in acts {
            let line = act.command();
            let split = std::process::Command::new("sh")
                .args(["-c", &format!("printf '%s\\n' {line}")])
                .output()
                .expect("sh is there");
            let words = String::from_utf8(split.stdout).expect("UTF-8");
            let parsed = crate::cli::command().try_get_matches_from(words.lines());
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }
}
