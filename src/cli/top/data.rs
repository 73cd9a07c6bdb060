//! What the screen shows: read by a thread of its own, so that no slow disk and no git stops the drawing.

use std::{
    collections::HashMap,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, select};

use crate::cli::{filter::Filter, status};
use oodatcaa_core::{LeaseState, Snapshot, TaskId, Token, layout::Layout, needs};
use oodatcaa_ops::{
    Failure, Meter, Project, ReadModel, TaskState, runs,
    view::{NeedView, TaskView},
};

/// One reading of the project.
pub(super) struct Data {
    pub(super) status: status::Screen,
    /// Those that pass the filter, what runs first.
    pub(super) tasks: Vec<TaskView>,
    pub(super) needs: Vec<NeedView>,
    pub(super) snapshot: Snapshot,
}

/// The tasks that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) filter: String,
    /// Done and cancelled ones as well.
    pub(super) all: bool,
}

/// No two readings are closer together.
const PACE: Duration = Duration::from_millis(250);

/// The longest time between readings while something runs: elapsed times and resource use change by themselves.
const BUSY: Duration = Duration::from_secs(2);

/// The longest time between readings while nothing happens.
const IDLE: Duration = Duration::from_secs(30);

/// Reads on until nobody listens.
pub(super) fn read_on(root: PathBuf, asked: Receiver<Asked>, out: Sender<Result<Data, String>>) -> std::io::Result<()> {
    let read = move || {
        let project = Project::new(Some(root));
        let mut reader = Reader { project, meter: Meter::default(), known: HashMap::new() };
        let changes = match reader.project.store().and_then(|store| Ok(store.changes()?)) {
            Ok(changes) => changes,
            Err(failure) => return drop(out.send(Err(failure.sentence()))),
        };
        let mut wanted = Asked::default();
        loop {
            let begun = Instant::now();
            let data = reader.read(&wanted);
            let runs = data.as_ref().is_ok_and(|data| data.tasks.iter().any(|task| task.state == TaskState::Running));
            if out.send(data.map_err(|failure| failure.sentence())).is_err() {
                return;
            }
            select! {
                recv(asked) -> next => match next {
                    Ok(next) => { wanted = next; continue; }
                    Err(_) => return,
                },
                recv(changes) -> _ => {}
                default(if runs { BUSY } else { IDLE }) => {}
            }
            // Whatever comes in a burst is read once.
            match asked.recv_timeout(PACE.saturating_sub(begun.elapsed())) {
                Ok(next) => wanted = next,
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => while changes.try_recv().is_ok() {},
            }
        }
    };
    thread::Builder::new().name("reader".into()).spawn(read).map(drop)
}

/// Reads one project again and again.
struct Reader {
    project: Project,
    meter: Meter,
    /// Needs that have been described, by their ids and commits: git is asked once about each.
    known: HashMap<(String, Option<String>), NeedView>,
}

impl Reader {
    fn read(&mut self, asked: &Asked) -> Result<Data, Failure> {
        let Self { project, meter, known } = self;
        let reading = project.read()?;
        let model = ReadModel::new(&reading.snapshot, project.workflow());
        let status = status::Screen::of(project, &model, &reading, meter)?;
        let terms: Vec<&str> = asked.filter.split_whitespace().collect();
        let filter = Filter::parse(&model, terms.iter().copied())?;
        let finished = asked.all || filter.wants_finished();
        let passing = model.in_order().into_iter().filter(|task| finished || !task.status.is_finished());
        let mut tasks: Vec<TaskView> =
            passing.filter(|task| filter.passes(&model, task)).map(|task| model.task(task)).collect();
        tasks.sort_by_key(|task| rank(task.state));
        let invalid = reading.invalid.as_ref().map(ToString::to_string);
        let mut described = HashMap::new();
        let needs = needs::list(&reading.snapshot, model.workflow, invalid.as_deref()).into_iter().map(|need| {
            let key = (need.id(), need.decision.and_then(|decision| decision.commit.clone()));
            let view = known.remove(&key).filter(|view| view.next == need.next && view.question.question == need.words);
            let view = view.unwrap_or_else(|| project.need(&reading.snapshot, &need));
            described.insert(key, view.clone());
            view
        });
        let needs = needs.collect();
        *known = described;
        Ok(Data { status, tasks, needs, snapshot: reading.snapshot.clone() })
    }
}

/// Orders tasks: what runs, what needs somebody, what is in trouble, what waits, what is over.
fn rank(state: TaskState) -> u8 {
    match state {
        TaskState::Running => 0,
        TaskState::NeedsYou => 1,
        TaskState::Failed | TaskState::Stale => 2,
        TaskState::Retry => 3,
        TaskState::Waiting => 4,
        TaskState::Done | TaskState::Cancelled => 5,
    }
}

impl Data {
    /// Reads once.
    #[cfg(test)]
    pub(super) fn once(project: Project, asked: &Asked) -> Result<Self, Failure> {
        Reader { project, meter: Meter::default(), known: HashMap::new() }.read(asked)
    }

    /// Returns the attempt whose output is shown for a task: the one that runs, or the last that has any.
    pub(super) fn attempt(&self, layout: &Layout, task: &TaskId) -> Option<(Token, PathBuf)> {
        let log = |token: Token| (token, runs::dir(layout, &self.snapshot, task, token).join("stdout.log"));
        if let Some(running) = self.snapshot.leases.get(task).map(LeaseState::token) {
            return Some(log(running));
        }
        let tokens = runs::tokens(layout, task);
        let with_output = tokens.iter().rev().map(|token| log(*token)).find(|(_, path)| path.is_file());
        with_output.or_else(|| tokens.last().map(|token| log(*token)))
    }

    /// Returns the need that a task waits for.
    pub(super) fn need_of(&self, task: &TaskId) -> Option<&NeedView> {
        self.needs.iter().find(|need| need.question.task.as_ref() == Some(task))
    }
}
