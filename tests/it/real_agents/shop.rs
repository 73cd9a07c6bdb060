//! A project whose builders are real programs and whose model provider has troubles of its own.

use std::{collections::BTreeMap, fs, path::PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use oodatcaa_process::leftovers;
use serde_json::{Value, json};

use super::{
    programs::{Program, home},
    setup::{agent, repository},
};
use crate::{
    endpoint::{Endpoint, Script, Seen},
    support::{Project, eventually},
};

pub(super) struct Shop {
    pub(super) project: Project,
    pub(super) endpoint: Endpoint,
    /// When the endpoint began to count.
    began: DateTime<Utc>,
    _home: tempfile::TempDir,
    _trees: tempfile::TempDir,
}

impl Shop {
    /// With these programs as agents, the first of them as everybody's; `None` when one is not installed.
    /// `more` is configuration.
    pub(super) fn open(programs: &[Program], script: &str, more: &str) -> Option<Self> {
        Self::open_as(programs, script, more, |_| {})
    }

    /// The same with another environment for the programs.
    pub(super) fn open_as(
        programs: &[Program],
        script: &str,
        more: &str,
        change: impl Fn(&mut BTreeMap<String, String>),
    ) -> Option<Self> {
        let paths: Vec<PathBuf> = programs.iter().map(|program| program.find()).collect::<Option<_>>()?;
        let began = Utc::now();
        let endpoint = Endpoint::start(Script::parse(script).expect("a script"), None).expect("an endpoint");
        let (home, trees) = (home(), tempfile::tempdir().expect("a place for worktrees"));
        let agents = programs.iter().zip(&paths).map(|(program, path)| {
            let mut set = program.environment(&endpoint.url(), home.path());
            // How often it asks again by itself is the adapter's business, and only those who are signed in have a window.
            if *program == Program::Claude {
                set.remove("CLAUDE_CODE_MAX_RETRIES");
                set.remove("ANTHROPIC_API_KEY");
                set.insert("CLAUDE_CODE_OAUTH_TOKEN".into(), "sk-ant-oat01-no-token".into());
            }
            change(&mut set);
            agent(*program, path, &endpoint.url(), set)
        });
        let config = format!(
            "workspace.mode = \"worktree\"\nworkspace.root = \"{}\"\nfleet.agent = \"{}\"\nfleet.grace = \"500ms\"\nfleet.shutdown_timeout = \"1s\"\n\
             retry.backoff = \"100ms\"\n{more}\n{}",
            trees.path().display(),
            programs[0].name(),
            agents.collect::<String>()
        );
        let project = repository();
        fs::write(project.path(".oodatcaa/config.toml"), config).expect("a configuration");
        Some(Self { project, endpoint, began, _home: home, _trees: trees })
    }

    /// A queue of tasks that wait for a builder, so many at one time.
    pub(super) fn queue(&self, wip: u32, tasks: &[&str]) {
        let queue =
            json!({"wip_limits": {"builder": wip}, "tasks": tasks.iter().map(|id| ready(id)).collect::<Vec<_>>()});
        self.project.queue_text(&serde_json::to_string_pretty(&queue).expect("JSON"));
    }

    /// More of them, written into the file by hand while workers run.
    pub(super) fn add(&self, tasks: &[&str]) {
        let mut queue = self.project.json();
        queue["tasks"].as_array_mut().expect("a list").extend(tasks.iter().map(|id| ready(id)));
        let temp = self.project.path(".oodatcaa/work/by-hand");
        fs::write(&temp, serde_json::to_string_pretty(&queue).expect("JSON")).expect("written");
        fs::rename(temp, self.project.queue_file()).expect("renamed");
    }

    /// When a request came.
    pub(super) fn time(&self, seen: &Seen) -> DateTime<Utc> {
        self.began + TimeDelta::milliseconds(i64::try_from(seen.at).expect("not so long"))
    }

    /// Requests for the work on a task: its rule has the task's name.
    pub(super) fn asked_for(&self, task: &str) -> Vec<Seen> {
        self.endpoint.seen().into_iter().filter(|seen| seen.rule.starts_with(task)).collect()
    }

    /// `agentctl` with these arguments: what it printed.
    #[track_caller]
    pub(super) fn agentctl(&self, args: &[&str]) -> String {
        let output = self.project.command("agentctl").args(args).output().expect("agentctl runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "agentctl {args:?}: {said}\n{}", self.said());
        String::from_utf8(output.stdout).expect("text")
    }

    /// Why a task does not move.
    #[track_caller]
    pub(super) fn why(&self, task: &str) -> Value {
        serde_json::from_str(&self.agentctl(&["why", task, "--json"])).expect("an object")
    }

    /// The ends of the attempts on a task, each with its lease's number of the try.
    pub(super) fn ends(&self, task: &str) -> Vec<Value> {
        self.project.events_of("attempt.finished").into_iter().filter(|event| event["task"] == task).collect()
    }

    /// Waits for so many ends of attempts on a task.
    #[track_caller]
    pub(super) fn wait_for_ends(&self, task: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} ends of {task}: {}", self.said()), || {
            Some(self.ends(task)).filter(|ends| ends.len() >= count)
        })
    }

    /// The statuses that a task went through.
    pub(super) fn walked(&self, task: &str) -> Vec<String> {
        let moved = self.project.events_of("task.moved").into_iter().filter(|event| event["task"] == task);
        moved.map(|event| event["data"]["to"].as_str().expect("a status").to_owned()).collect()
    }

    /// The directory of an attempt.
    pub(super) fn run(&self, task: &str, token: u64) -> PathBuf {
        self.project.path(".oodatcaa/runs").join(task).join(token.to_string())
    }

    /// Waits until nothing of an attempt runs any more.
    #[track_caller]
    pub(super) fn wait_for_silence(&self, task: &str, token: u64) {
        let run = self.run(task, token);
        eventually("nothing of the attempt runs", || leftovers(&run).is_empty().then_some(()));
    }

    /// Everything that helps to understand.
    pub(super) fn said(&self) -> String {
        let seen: Vec<String> = self
            .endpoint
            .seen()
            .iter()
            .map(|seen| {
                format!(
                    "{} {} {} {} turn {}: {}",
                    self.time(seen),
                    seen.request,
                    seen.rule,
                    seen.nth,
                    seen.turn,
                    seen.answer
                )
            })
            .collect();
        let events: Vec<String> = self.project.events().iter().map(Value::to_string).collect();
        format!("{}\n{}\n{}", self.project.diagnosis(), events.join("\n"), seen.join("\n"))
    }
}

fn ready(id: &str) -> Value {
    json!({"id": id, "title": format!("build {id}"), "type": "Build", "status": "ready"})
}
