//! What a sprint came to: its tasks, its attempts and their price, as an object and as Markdown.

use std::fmt::Write as _;

use crate::{
    ErrorKind, Failure, Project, ReadModel,
    view::{ReportedView, SprintReportView, SprintView},
};
use oodatcaa_core::{
    Data, Event, Snapshot, Task, Usage, landing,
    state::TaskHistory,
    text::{cut, many, one_line},
    time::stamp,
};
use oodatcaa_store::file::{LONGEST, document::Document};
use oodatcaa_sys::files;

impl Project {
    /// Reports the sprint of the queue, or one that is in the archive.
    pub fn sprint_report(&self, number: Option<u64>) -> Result<SprintReportView, Failure> {
        let mut snapshot = self.read()?.snapshot;
        let here = snapshot.queue.sprint.number;
        if let Some(number) = number.filter(|number| Some(*number) != here) {
            self.take_from_archive(&mut snapshot, number)?;
        }
        let model = ReadModel::new(&snapshot, self.workflow());
        Ok(report(&model, &self.store()?.events(0)?))
    }

    /// Puts the last version of an archived queue in the place of the present one; nobody holds anything of it.
    fn take_from_archive(&self, snapshot: &mut Snapshot, number: u64) -> Result<(), Failure> {
        let layout = self.layout()?;
        let mut last = None;
        for version in 1.. {
            let path = layout.final_queue(number, version);
            match files::read(layout.root(), &path, LONGEST)? {
                Some(bytes) => last = Some((path, bytes)),
                None => break,
            }
        }
        let Some((path, bytes)) = last else {
            let place = layout.sprint_archive(number);
            let message = format!("there is no sprint {number}: neither the queue nor {} has it", place.display());
            return Err(Failure::new(ErrorKind::NotFound, message).hint("agentctl sprint status"));
        };
        snapshot.queue = Document::from_bytes(&path, bytes)?.queue().clone();
        snapshot.leases.clear();
        Ok(())
    }
}

/// Reports a sprint from what was read of it and the whole journal.
pub(super) fn report(model: &ReadModel<'_>, journal: &[Event]) -> SprintReportView {
    let queue = &model.snapshot.queue;
    let events = of_sprint(journal, queue.sprint.number);
    let mut view = SprintReportView {
        sprint: SprintView::of(model),
        since: events.first().map(|event| event.time.into()),
        attempts: 0,
        simulated: 0,
        outcomes: Default::default(),
        failures: Default::default(),
        cost_usd: None,
        unpriced: 0,
        tokens: None,
        seconds: None,
        done: Vec::new(),
        open: Vec::new(),
        cancelled: Vec::new(),
    };
    let mut used = Usage::default();
    for event in events {
        let Data::AttemptFinished(ended) = event.data() else { continue };
        if event.simulated {
            view.simulated += 1;
            continue;
        }
        view.attempts += 1;
        let outcome = ended.outcome.as_deref().unwrap_or("unknown");
        *view.outcomes.entry(one_line(outcome)).or_default() += 1;
        if let Some(class) = &ended.class {
            *view.failures.entry(one_line(class)).or_default() += 1;
        }
        view.unpriced += usize::from(ended.usage.cost_usd.is_none());
        used = used.plus(ended.usage);
    }
    view.cost_usd = used.cost_usd;
    view.seconds = used.seconds;
    view.tokens = (used.tokens_in.is_some() || used.tokens_out.is_some()).then(|| used.tokens());
    for task in queue.tasks() {
        let list = match (task.status.is_done(), task.status.is_finished()) {
            (true, _) => &mut view.done,
            (_, true) => &mut view.cancelled,
            _ => &mut view.open,
        };
        list.push(reported(model, task));
    }
    view
}

fn reported(model: &ReadModel<'_>, task: &Task) -> ReportedView {
    let doubt = || model.snapshot.history.task(&task.id).and_then(TaskHistory::doubt);
    ReportedView {
        id: task.id.clone(),
        title: task.title.clone(),
        status: task.status.to_string(),
        merged_commit: landing::merged(model.snapshot, task),
        note: match task.status.is_finished() {
            false => Some(model.sentence(task)),
            true => doubt().filter(|_| task.status.is_done()),
        },
    }
}

/// Returns the events of a sprint: those after its beginning, up to the beginning of the next.
pub(super) fn of_sprint(journal: &[Event], number: Option<u64>) -> &[Event] {
    let begins = |event: &Event, is: &dyn Fn(u64) -> bool| match event.data() {
        Data::SprintStarted(change) => change.sprint.is_some_and(is),
        _ => false,
    };
    let Some(number) = number else { return journal };
    let from = journal.iter().rposition(|event| begins(event, &|began| began == number)).unwrap_or_default();
    let to = journal[from..].iter().position(|event| begins(event, &|began| began > number));
    &journal[from..to.map_or(journal.len(), |to| from + to)]
}

/// Writes text of others so that it is words in Markdown, whatever it holds, on one line.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in cut(&one_line(text), 300).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

/// Writes a report as Markdown, from the second heading on.
pub(super) fn markdown(view: &SprintReportView) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes it");
    let progress = &view.sprint.progress;
    let unknown = || "—".to_owned();
    line("## Metrics\n".into());
    line(format!("- **Total tasks:** {}", progress.total_tasks));
    line(format!("- **Completed:** {}", progress.completed));
    line(format!("- **Cancelled:** {}", progress.cancelled));
    line(format!("- **Open:** {}", view.open.len()));
    let rate = progress.percentage.map_or_else(unknown, |percent| format!("{percent}% of those not cancelled"));
    line(format!("- **Success rate:** {rate}"));
    let simulated = match view.simulated {
        0 => String::new(),
        count => format!(", and {} that no model worked on", many(count, "simulated attempt")),
    };
    line(format!("- **Attempts:** {}{simulated}", view.attempts));
    let words = |counts: &std::collections::BTreeMap<String, usize>| {
        let words: Vec<String> = counts.iter().map(|(word, count)| format!("{} {count}", plain(word))).collect();
        words.join(", ")
    };
    if !view.outcomes.is_empty() {
        line(format!("- **Outcomes:** {}", words(&view.outcomes)));
    }
    if !view.failures.is_empty() {
        line(format!("- **Failures:** {}", words(&view.failures)));
    }
    let unpriced = match view.unpriced {
        0 => String::new(),
        count => format!(" ({} of unknown price)", many(count, "attempt")),
    };
    line(format!("- **Cost:** {}{unpriced}", view.cost_usd.map_or_else(unknown, |usd| format!("${usd:.2}"))));
    line(format!("- **Tokens:** {}", view.tokens.map_or_else(unknown, |tokens| tokens.to_string())));
    if !view.sprint.exit_criteria.is_empty() {
        line("\n## Exit criteria\n".into());
        for one in &view.sprint.exit_criteria {
            let mark = if one.status == "done" || one.status == "completed" { "x" } else { " " };
            line(format!("- [{mark}] {} ({}%, {})", plain(&one.name), one.progress, plain(&one.status)));
        }
    }
    let lists = [("Done", &view.done), ("Open", &view.open), ("Cancelled", &view.cancelled)];
    for (heading, tasks) in lists.into_iter().filter(|(_, tasks)| !tasks.is_empty()) {
        line(format!("\n## {heading}\n"));
        for task in tasks {
            let commit = task.merged_commit.as_deref().map(|commit| format!(" ({})", cut(commit, 12)));
            let status = if heading == "Open" { format!(", `{}`", one_line(&task.status)) } else { String::new() };
            let note = task.note.as_deref().map(|note| format!(": {}", plain(note))).unwrap_or_default();
            line(format!("- {}: {}{}{status}{note}", task.id, plain(&task.title), commit.unwrap_or_default()));
        }
    }
    text
}

impl SprintReportView {
    /// Writes it as a document of its own.
    pub fn markdown(&self) -> String {
        let sprint = &self.sprint;
        let name = sprint.number.map(|number| number.to_string()).or_else(|| sprint.id.clone());
        let said = |text: &Option<String>| text.as_deref().map_or_else(|| "—".to_owned(), plain);
        let since = self.since.map(|since| format!(" since {}", stamp(since.0))).unwrap_or_default();
        format!(
            "# Sprint {} report\n\n**Sprint ID:** {}  \n**Status:** {}  \n**Goal:** {}  \n**Journal:** as of {}{since}\n\n{}",
            name.as_deref().map_or_else(|| "—".into(), plain),
            said(&sprint.id),
            said(&sprint.status),
            said(&sprint.goal),
            stamp(sprint.at.0),
            markdown(self),
        )
    }
}
