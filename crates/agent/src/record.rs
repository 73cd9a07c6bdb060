//! `attempt.json`, our own record of an attempt.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Observation,
    result::{Answer, Mail},
};
use oodatcaa_core::{Lease, Outcome, Role, Snapshot, Task, TaskId, Token, layout::Layout, text};
use oodatcaa_process::{Exit, confine};
use oodatcaa_sys::files::{self, Durable, FileError};

/// `attempt.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The schema's name.
    pub schema: String,
    /// The task.
    pub task: TaskId,
    /// Its title when it was claimed.
    pub title: String,
    /// The role.
    pub role: Role,
    /// The fencing token.
    pub token: Token,
    /// The number of the try in its stage.
    pub attempt: u32,
    /// The worker.
    pub owner: String,
    /// The agent's name in the configuration.
    pub by: String,
    /// The simulated agent.
    #[serde(default)]
    pub simulated: bool,
    /// `running` or `finished`.
    pub state: String,
    /// The time of its claim.
    pub started_at: DateTime<Utc>,
    /// Program and arguments.
    #[serde(default)]
    pub argv: Vec<String>,
    /// The names of the variables that it was given; never their values.
    #[serde(default)]
    pub env: Vec<String>,
    /// The findings so far.
    #[serde(flatten)]
    pub found: Findings,
    #[serde(skip, default = "Instant::now")]
    since: Instant,
}

/// The findings on an attempt. They stand in the record itself, as far as there are any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// The time when it was over, before it was settled.
    pub finished_at: Option<DateTime<Utc>>,
    /// Seconds from its claim to its end, on the monotonic clock.
    pub seconds: Option<f64>,
    /// The end of the program.
    pub exit: Option<Exit>,
    /// The gates that ran.
    pub gates: Vec<GateRecord>,
    /// The findings in the agent's output: session, tokens, cost, turns.
    pub seen: Option<Observation>,
    /// The session of an earlier attempt that it went on with.
    pub resumed: Option<String>,
    /// The directory of the state of the agent's program, where that was not the user's own.
    pub home: Option<PathBuf>,
    /// The report of the sandbox that it ran in; absent where a person said that nothing is confined.
    pub confined: Option<confine::Report>,
    /// The content of the workspace at its end, in a form that can be compared.
    pub content: Option<String>,
    /// The agent's answers to the task's acceptance criteria.
    pub criteria: Vec<Answer>,
    /// Choices that the agent says it made.
    pub decisions: Vec<String>,
    /// The agent's messages to others: for whom, and its words.
    pub messages: Vec<String>,
    /// The same, to be sent.
    pub mail: Vec<Mail>,
    /// Things to look at before a merge: files that other programs, agents or CI obey, tests that went, and all of
    /// `beside`.
    pub risky: Vec<String>,
    /// The agent's deeds beside its work, which no diff of its branch shows.
    pub beside: Vec<String>,
    /// `done`, `failed`, …
    pub outcome: Option<String>,
    /// The class of failure.
    pub class: Option<String>,
    /// The summary for people.
    pub summary: Option<String>,
}

/// One gate that ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GateRecord {
    /// Its name in the configuration.
    pub name: String,
    /// `true` where it let the task go.
    pub ok: bool,
    /// Its end, in words.
    pub words: String,
    /// Its time.
    pub millis: u64,
}

impl Record {
    /// Begins the record of an attempt.
    pub fn new(task: &Task, lease: &Lease) -> Self {
        Self {
            schema: "oodatcaa/attempt.v1".into(),
            task: task.id.clone(),
            title: text::cut(&task.title, 500),
            role: lease.role.clone(),
            token: lease.token,
            attempt: lease.attempt,
            owner: lease.owner.clone(),
            by: lease.by.clone(),
            simulated: lease.simulated,
            state: "running".into(),
            started_at: lease.started_at,
            argv: Vec::new(),
            env: Vec::new(),
            found: Findings::default(),
            since: Instant::now(),
        }
    }

    /// Records how the attempt ended.
    pub fn finish(&mut self, outcome: &Outcome) {
        let seconds = self.since.elapsed();
        self.state = "finished".into();
        let found = &mut self.found;
        found.finished_at = chrono::Duration::from_std(seconds).ok().map(|passed| self.started_at + passed);
        found.seconds = Some((seconds.as_secs_f64() * 1000.0).round() / 1000.0);
        found.outcome = Some(outcome.word().into());
        found.summary = Some(text::cut(outcome.words(), 4_000)).filter(|words| !words.is_empty());
        if let Outcome::Failed { class, .. } = outcome {
            found.class = Some(class.to_string());
        }
    }

    /// Writes the record into the attempt's directory.
    pub fn save(&self, dir: &Path) -> Result<(), FileError> {
        let mut json = serde_json::to_value(self).expect("plain members");
        // What is not known is left out; what was executed always stands there.
        let is_known = |value: &Value| !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty());
        let members = json.as_object_mut().expect("it is a structure");
        members.retain(|name, value| is_known(value) || ["argv", "env"].contains(&name.as_str()));
        let text = format!("{json:#}\n");
        files::write_atomic(Layout::root_of(dir), &dir.join("attempt.json"), text.as_bytes(), Durable::No)
    }

    /// Reads the records of earlier attempts on a lease's task, the newest first. Only directories that the journal names
    /// are believed.
    pub fn earlier(layout: &Layout, snapshot: &Snapshot, lease: &Lease) -> impl Iterator<Item = Self> {
        let (layout, id, mine) = (layout.clone(), lease.task_id.clone(), lease.token);
        let known = snapshot.history.task(&id).map(|known| known.runs.clone()).unwrap_or_default();
        let names = known.into_values().rev().filter(move |name| name.token() < mine);
        names.filter_map(move |name| Self::load(&layout.run(&id, &name)))
    }

    /// Reads the record of an attempt; `None` when there is none, or none that can be read.
    pub fn load(dir: &Path) -> Option<Self> {
        let bytes = files::read(Layout::root_of(dir), &dir.join("attempt.json"), files::RECORD).ok()??;
        serde_json::from_slice(&bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assignment;

    #[test]
    fn a_record_says_what_is_known_and_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let assignment = assignment(dir.path());
        let mut record = Record::new(&assignment.task, &assignment.lease);
        let written = |record: &Record| {
            record.save(&assignment.run_dir).expect("saved");
            std::fs::read_to_string(assignment.run_dir.join("attempt.json")).expect("there")
        };
        let begun = written(&record);
        assert!(begun.ends_with("  \"argv\": [],\n  \"env\": []\n}\n"), "{begun}");
        record.found.seen = Some(Observation { session: Some("s".into()), ..Observation::default() });
        record.found.decisions.push("plain".into());
        record.finish(&Outcome::Done { summary: "did it".into(), tasks: Vec::new() });
        let ended = written(&record);
        assert!(ended.contains("\"model\": null"), "what an agent did not tell is told: {ended}");
        for absent in ["exit", "gates", "home", "class"] {
            assert!(!ended.contains(&format!("  \"{absent}\":")), "{absent}: {ended}");
        }
        let read = Record::load(&assignment.run_dir).expect("it can be read");
        assert_eq!((read.state.as_str(), read.found.outcome.as_deref()), ("finished", Some("done")));
        assert_eq!((read.found.seen, read.found.decisions), (record.found.seen, record.found.decisions));
    }
}
