//! `attempt.json`, our own record of an attempt.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Observation, result::Answer};
use oodatcaa_core::{Lease, Outcome, Role, Snapshot, Task, TaskId, Token, layout::Layout, text};
use oodatcaa_process::Exit;
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
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When it was over, before it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// Seconds between the two, on the monotonic clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Program and arguments.
    #[serde(default)]
    pub argv: Vec<String>,
    /// The names of the variables that it was given; never their values.
    #[serde(default)]
    pub env: Vec<String>,
    /// How the program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The gates that ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateRecord>,
    /// What the agent's output told: session, tokens, cost, turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Observation>,
    /// The session of an earlier attempt that it went on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<String>,
    /// Where the agent's program kept its own state, where that was not the user's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,
    /// What the workspace held at its end, in a form that can be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// How the agent answered the task's acceptance criteria.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<Answer>,
    /// Choices that the agent says it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// What it wanted others to know: for whom, and its words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// What to look at before a merge: files that other programs, agents or CI obey, tests that went, and all of
    /// `beside`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risky: Vec<String>,
    /// What the agent did beside its work, which no diff of its branch shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
    /// `done`, `failed`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The class of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What it says to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip, default = "Instant::now")]
    since: Instant,
}

/// One gate that ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GateRecord {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it let the task go.
    pub ok: bool,
    /// How it ended.
    pub words: String,
    /// How long it took.
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
            finished_at: None,
            seconds: None,
            argv: Vec::new(),
            env: Vec::new(),
            exit: None,
            gates: Vec::new(),
            seen: None,
            resumed: None,
            home: None,
            content: None,
            criteria: Vec::new(),
            decisions: Vec::new(),
            messages: Vec::new(),
            risky: Vec::new(),
            beside: Vec::new(),
            outcome: None,
            class: None,
            summary: None,
            since: Instant::now(),
        }
    }

    /// Records how the attempt ended.
    pub fn finish(&mut self, outcome: &Outcome) {
        let seconds = self.since.elapsed();
        self.state = "finished".into();
        self.finished_at = chrono::Duration::from_std(seconds).ok().map(|passed| self.started_at + passed);
        self.seconds = Some((seconds.as_secs_f64() * 1000.0).round() / 1000.0);
        self.outcome = Some(outcome.word().into());
        self.summary = Some(text::cut(outcome.words(), 4_000)).filter(|words| !words.is_empty());
        if let Outcome::Failed { class, .. } = outcome {
            self.class = Some(class.to_string());
        }
    }

    /// Writes the record into the attempt's directory.
    pub fn save(&self, dir: &Path) -> Result<(), FileError> {
        let mut json = serde_json::to_vec_pretty(self).expect("plain members");
        json.push(b'\n');
        files::write_atomic(Layout::root_of(dir), &dir.join("attempt.json"), &json, Durable::No)
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
