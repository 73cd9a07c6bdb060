//! The journal as Markdown, for those who read it so: `AGENT_LOG.md`, a report for each task and role, and their index.
//!
//! Rendered again it changes nothing. What a person or an agent wrote stays as it is: entries are added beside theirs,
//! a report that is not ours is left alone, and of the index only our own part is written anew.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    report::{of_sprint, plain},
    rotate::{Log, is_newest_first, starts_of_entries},
};
use crate::{ErrorKind, Failure, Project, view::RenderedView};
use oodatcaa_core::{
    Data, Event, Role, Snapshot, Task, TaskId, Token,
    event::payload::{Ended, GateRun, Mail},
    text::{cut, duration, one_line},
    time::stamp,
};
use oodatcaa_sys::files;

/// No log is longer.
const LONGEST: u64 = 256 << 20;

/// The first line of a report of ours.
const OURS: &str = "<!-- made by `agentctl sprint render` from the journal; what you write here is lost: remove this line to keep it -->";

/// Around our part of the index.
const BEGIN: &str = "<!-- oodatcaa:begin -->";
const END: &str = "<!-- oodatcaa:end -->";

impl Project {
    /// Adds what the journal tells of the present sprint to the log, the reports and their index.
    pub fn render_logs(&self, dry_run: bool) -> Result<Vec<RenderedView>, Failure> {
        let snapshot = self.read()?.snapshot;
        let journal = self.store()?.events(0)?;
        let events = of_sprint(&journal, snapshot.queue.sprint.number);
        let mut all = vec![self.render_agent_log(&snapshot, events, dry_run)?];
        let works = works(events);
        let mut rows = Vec::new();
        for ((task, role), work) in &works {
            let story = snapshot.queue.get(task).and_then(|task| task.parent.clone());
            let story = story.and_then(|story| TaskId::parse(&story).ok()).unwrap_or_else(|| task.clone());
            let Ok(file) = TaskId::parse(&format!("{role}_{task}")) else { continue };
            let path = self.layout()?.reports().join(story.as_str()).join(format!("{file}.md"));
            let text = work.report(&snapshot, task, role);
            let there = files::read(self.layout()?.root(), &path, LONGEST)?;
            let is_ours = there.as_deref().is_none_or(|there| there.starts_with(OURS.as_bytes()));
            let became = match (is_ours, there.as_deref() == Some(text.as_bytes()), dry_run) {
                (false, ..) => "theirs",
                (_, true, _) => "there",
                (.., true) => "would",
                _ => {
                    files::publish(self.layout()?.root(), &path, text.as_bytes(), true)?;
                    "written"
                }
            };
            let shown = self.shown(&path)?;
            rows.push(work.row(&snapshot, task, role, &shown));
            all.push(RenderedView { file: shown, became, entries: work.attempts, dry_run });
        }
        if !rows.is_empty() {
            all.push(self.render_index(&rows, dry_run)?);
        }
        Ok(all)
    }

    /// Adds the entries that the log lacks, at the end where its newest are.
    fn render_agent_log(&self, snapshot: &Snapshot, events: &[Event], dry_run: bool) -> Result<RenderedView, Failure> {
        let layout = self.layout()?;
        let path = layout.agent_log();
        let there = files::read(layout.root(), &path, LONGEST)?;
        let text = match &there {
            Some(bytes) => String::from_utf8(bytes.clone()).map_err(|_| {
                Failure::new(ErrorKind::Failed, format!("{} is not UTF-8 text", path.display())).hint("mend it by hand")
            })?,
            None => {
                let number = snapshot.queue.sprint.number.map_or_else(|| "—".into(), |number| number.to_string());
                format!("# {}\n\n**Sprint:** {number}\n\n---\n\n", Log::Agent.title())
            }
        };
        let last = text.lines().filter_map(marked).max().unwrap_or_default();
        let entries: Vec<String> =
            events.iter().filter(|event| event.seq > last).filter_map(|event| entry(snapshot, event)).collect();
        let mut view = RenderedView { file: self.shown(&path)?, became: "there", entries: entries.len(), dry_run };
        if entries.is_empty() {
            return Ok(view);
        }
        let starts = starts_of_entries(&text);
        let grows_upward = starts.len() < 2 || is_newest_first(&text);
        let with = match (grows_upward, starts.first()) {
            (true, first) => {
                let (head, body) = text.split_at(first.copied().unwrap_or(text.len()));
                let gap = if head.is_empty() || head.ends_with("\n\n") { "" } else { "\n" };
                format!("{head}{gap}{}{body}", entries.iter().rev().map(String::as_str).collect::<String>())
            }
            (false, _) => {
                let gap = if text.ends_with("\n\n") { "" } else { "\n" };
                format!("{text}{gap}{}", entries.concat())
            }
        };
        view.became = if dry_run { "would" } else { "written" };
        if dry_run {
            return Ok(view);
        }
        if files::read(layout.root(), &path, LONGEST)? != there {
            let message = format!("{} was written to meanwhile; it is as it was", view.file);
            return Err(Failure::new(ErrorKind::QueueContended, message).hint("do it again: agentctl sprint render"));
        }
        files::publish(layout.root(), &path, with.as_bytes(), there.is_some())?;
        Ok(view)
    }

    /// Writes our part of the index.
    fn render_index(&self, rows: &[String], dry_run: bool) -> Result<RenderedView, Failure> {
        let layout = self.layout()?;
        let path = layout.reports_index();
        let there = files::read(layout.root(), &path, LONGEST)?;
        let text = String::from_utf8_lossy(there.as_deref().unwrap_or(b"# Agent Reports\n")).into_owned();
        let ours = format!(
            "{BEGIN}\n| Task | Role | Ended | Outcome | Report |\n|------|------|-------|---------|--------|\n{}{END}",
            rows.concat()
        );
        let with = match (text.find(BEGIN), text.find(END)) {
            (Some(from), Some(to)) if from < to => format!("{}{ours}{}", &text[..from], &text[to + END.len()..]),
            _ => format!("{}\n\n{ours}\n", text.trim_end()),
        };
        let became = match (there.as_deref() == Some(with.as_bytes()), dry_run) {
            (true, _) => "there",
            (_, true) => "would",
            _ => {
                files::publish(layout.root(), &path, with.as_bytes(), true)?;
                "written"
            }
        };
        Ok(RenderedView { file: self.shown(&path)?, became, entries: rows.len(), dry_run })
    }
}

/// Reads the number of the event that an entry of ours is made of.
fn marked(line: &str) -> Option<u64> {
    line.trim().strip_prefix("<!-- event ")?.strip_suffix(" -->")?.parse().ok()
}

/// Returns the words of a message, with whom it is for.
fn spoken(mail: &Mail) -> Option<String> {
    let to = mail.to.as_ref().map(|to| format!("{to}: ")).unwrap_or_default();
    mail.text.as_ref().map(|text| format!("{to}{text}"))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Writes an event as an entry of the log; `None` for what moves no task and no sprint, and says nothing to anybody.
fn entry(snapshot: &Snapshot, event: &Event) -> Option<String> {
    let (action, from, to, reason) = match event.data() {
        Data::TaskCreated(change) => ("Task added", None, change.to.as_ref(), change.reason.clone()),
        Data::TaskMoved(change) => ("Task moved", change.from.as_ref(), change.to.as_ref(), change.reason.clone()),
        Data::TaskObserved(change) if change.gone => ("Taken out of the queue", change.from.as_ref(), None, None),
        Data::TaskObserved(change) => ("Changed in the queue file", change.from.as_ref(), change.to.as_ref(), None),
        Data::MessageSent(mail) if mail.what.as_deref() == Some("decision") => {
            ("Decision recorded", None, None, spoken(mail))
        }
        Data::MessageSent(mail) => ("Message", None, None, spoken(mail)),
        Data::DecisionRequested(asked) => ("A person is asked", None, None, asked.question.clone()),
        Data::DecisionResolved(decided) => ("A person has decided", None, None, decided.verdict.clone()),
        Data::SprintCompleted(change) => ("Sprint completed", None, None, change.reason.clone()),
        Data::SprintStarted(change) => ("Sprint begun", None, None, change.goal.clone()),
        _ => return None,
    };
    let who = match (&event.role, event.actor.split_once(':')) {
        (Some(role), _) => capital(role.as_str()),
        (None, Some((kind, _))) => capital(kind),
        (None, None) => capital(&event.actor),
    };
    let about = match &event.task {
        Some(id) => {
            let title = snapshot.queue.get(id).map(|task| format!(" {}", plain(&task.title)));
            format!("{id}{}", title.unwrap_or_default())
        }
        None => "Sprint".into(),
    };
    let mut text = format!("## {} | {} | {about}\n\n", stamp(event.time), plain(&who));
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes it");
    line(format!("**AGENT:** {}  ", plain(&event.actor)));
    if let Some(id) = &event.task {
        line(format!("**TASK:** {id}  "));
    }
    let attempt = match (event.attempt, event.token) {
        (Some(attempt), Some(Token(token))) => format!(" (attempt {attempt}, token {token})"),
        _ => String::new(),
    };
    let simulated = if event.simulated { ", simulated" } else { "" };
    line(format!("**ACTION:** {action}{attempt}{simulated}  "));
    let word = |status: Option<&oodatcaa_core::Status>| {
        status.map_or_else(|| "—".into(), |status| format!("`{}`", one_line(status.as_str()).replace('`', "'")))
    };
    if from.is_some() || to.is_some() {
        line(format!("**STATUS:** {} → {}  ", word(from), word(to)));
    }
    if let Some(reason) = reason {
        line(format!("\n{}", plain(&reason)));
    }
    line(format!("\n<!-- event {} -->\n\n---\n", event.seq));
    Some(text)
}

/// The work of a role on a task.
#[derive(Default)]
struct Work<'a> {
    attempts: usize,
    claimed: Option<(Token, DateTime<Utc>)>,
    ended: Option<(&'a Event, &'a Ended)>,
    gates: Vec<&'a GateRun>,
    mail: Vec<String>,
}

/// Sorts the events by task and role; those without an end are not told.
fn works(events: &[Event]) -> BTreeMap<(TaskId, Role), Work<'_>> {
    let mut works: BTreeMap<(TaskId, Role), Work<'_>> = BTreeMap::new();
    for event in events {
        let (Some(task), Some(role)) = (&event.task, &event.role) else { continue };
        let work = works.entry((task.clone(), role.clone())).or_default();
        match event.data() {
            Data::LeaseAcquired(_) => {
                work.claimed = event.token.map(|token| (token, event.time));
                (work.gates, work.mail) = (Vec::new(), Vec::new());
            }
            Data::GateFinished(gate) => work.gates.push(gate),
            Data::MessageSent(mail) => work.mail.extend(spoken(mail)),
            Data::AttemptFinished(ended) => {
                work.attempts += 1;
                work.ended = Some((event, ended));
            }
            _ => {}
        }
    }
    works.retain(|_, work| work.ended.is_some());
    works
}

impl Work<'_> {
    fn report(&self, snapshot: &Snapshot, id: &TaskId, role: &Role) -> String {
        let (event, ended) = self.ended.expect("others are not reported");
        let task = snapshot.queue.get(id);
        let unknown = || "—".to_owned();
        let started = self.claimed.filter(|(token, _)| Some(*token) == event.token).map(|(_, time)| time);
        let seconds = ended.usage.seconds;
        let took = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(duration);
        let title = task.map_or_else(unknown, |task| plain(&task.title));
        let status = task.map_or_else(unknown, |task| format!("`{}`", one_line(task.status.as_str())));
        let mut text = format!("{OURS}\n# Agent Completion Report: {id}\n\n");
        let mut line = |words: String| writeln!(text, "{words}").expect("a string takes it");
        line(format!("**Task:** {title}  "));
        line(format!("**Agent:** {}{}  ", capital(role.as_str()), if event.simulated { " (simulated)" } else { "" }));
        line(format!("**Status:** {status}  "));
        line(format!("**Started:** {}  ", started.map_or_else(unknown, stamp)));
        line(format!("**Completed:** {}  ", stamp(event.time)));
        line(format!("**Duration:** {}  ", took.unwrap_or_else(unknown)));
        let said = |text: Option<&String>| text.map_or_else(unknown, |text| plain(text));
        line(format!(
            "\n## Objective\n\n{}",
            task.and_then(|task| task.description.as_ref()).map_or(title, |text| plain(text))
        ));
        let class = ended.class.as_deref().map(|class| format!(" ({})", plain(class))).unwrap_or_default();
        line(format!("\n## Outcome\n\n{}{class}: {}", said(ended.outcome.as_ref()), said(ended.reason.as_ref())));
        line("\n## Metrics\n".into());
        line(format!("- **Attempts:** {}", self.attempts));
        let tokens =
            (ended.usage.tokens_in.is_some() || ended.usage.tokens_out.is_some()).then(|| ended.usage.tokens());
        line(format!("- **Tokens:** {}", tokens.map_or_else(unknown, |tokens| tokens.to_string())));
        line(format!("- **Cost:** {}", ended.usage.cost_usd.map_or_else(unknown, |usd| format!("${usd:.2}"))));
        if !self.gates.is_empty() {
            line("\n## Quality Gates\n".into());
            for gate in &self.gates {
                let became = match gate.ok {
                    Some(true) => "passed",
                    Some(false) => "failed",
                    None => "—",
                };
                let exit = gate.exit.as_deref().map(|exit| format!(" ({})", plain(exit))).unwrap_or_default();
                line(format!("- **{}:** {became}{exit}", said(gate.gate.as_ref())));
            }
        }
        if !self.mail.is_empty() {
            line("\n## Handoff Notes\n".into());
            self.mail.iter().for_each(|words| line(format!("- {}", plain(words))));
        }
        line("\n## References\n".into());
        line(format!("- **Branch:** {}", said(ended.branch.as_ref().or(task.and_then(|task| task.branch.as_ref())))));
        let commit = ended.commit.as_ref().or(ended.head.as_ref()).map(|commit| cut(commit, 12));
        line(format!("- **Commit:** {}", said(commit.as_ref())));
        let parent = task.and_then(|task: &Task| task.parent.as_ref());
        line(format!("- **Parent task:** {}", said(parent)));
        text
    }

    fn row(&self, snapshot: &Snapshot, id: &TaskId, role: &Role, path: &str) -> String {
        let (event, ended) = self.ended.expect("others are not reported");
        let title = snapshot.queue.get(id).map(|task| format!(" {}", plain(&task.title))).unwrap_or_default();
        let outcome = ended.outcome.as_deref().map_or_else(|| "—".into(), plain);
        let below = path.strip_prefix(".oodatcaa/work/").unwrap_or(path);
        let simulated = if event.simulated { " (simulated)" } else { "" };
        format!("| {id}{title} | {role} | {} | {outcome}{simulated} | [{id}]({below}) |\n", stamp(event.time))
    }
}
