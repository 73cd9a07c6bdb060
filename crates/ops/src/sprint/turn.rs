//! How a sprint ends and the next begins: the change of the queue, and the files and the tag that tell of it.
//!
//! The change of the queue is one commit, and it takes nothing away that is not archived in the same step. Everything
//! else is made of what stands there then: a kill between any two steps leaves the old sprint or the new one whole, and
//! the same verb makes what is missing. Nothing that is there is written over.

use std::{io::Write as _, path::Path};

use super::{
    report,
    rotate::{self, Log},
};
use crate::{ErrorKind, Failure, Project, ReadModel, view::SprintTurnView, view::StepView};
use oodatcaa_core::{
    Kind, Snapshot,
    layout::Layout,
    succession::{self, End, Open, Refusal},
    text::{many, one_line},
    time::stamp,
};
use oodatcaa_git::{Tagged, tag};
use oodatcaa_sys::files;

/// The longest log that is looked through.
const LONGEST_LOG: u64 = 64 << 20;

/// The steps that were or would be done.
#[derive(Default)]
struct Steps(Vec<StepView>);

impl Steps {
    fn note(&mut self, what: impl Into<String>, became: &'static str, note: Option<String>) {
        self.0.push(StepView { what: what.into(), became, note });
    }

    /// Notes what became of a step; what fails keeps none of the others from being done.
    fn take(&mut self, what: String, done: Result<(&'static str, Option<String>), Failure>) {
        match done {
            Ok((became, note)) => self.note(what, became, note),
            Err(failure) => self.note(what, "failed", Some(failure.sentence())),
        }
    }
}

impl Project {
    /// Completes the sprint of the queue, or closes it with what is open: archives the queue, and writes log,
    /// retrospective and tag. Done again, it makes what is missing of these.
    pub fn complete_sprint(&self, end: &End<'_>, dry_run: bool) -> Result<SprintTurnView, Failure> {
        let actor = self.actor();
        let (before, answer) = self.decided(dry_run, |snapshot| succession::complete(snapshot, end, &actor))?;
        let changes = answer.map_err(|refusal| refused(&refusal))?;
        let changed = !changes.is_empty();
        let number = before.queue.sprint.number.expect("it was decided about");
        let mut steps = Steps::default();
        let became = match (changed, dry_run) {
            (false, _) => "there",
            (true, true) => "would",
            (true, false) => "written",
        };
        steps.note(self.shown(&self.layout()?.queue())?, became, Some("`status`: completed".into()));
        let after = if dry_run { before.after(&changes) } else { self.read()?.snapshot };
        self.tell_of_the_end(&after, number, dry_run, &mut steps)?;
        let open = succession::open(&after.queue).map(|task| task.id.to_string()).collect();
        let verb = if end.closed { "close" } else { "complete" };
        let (carried, steps) = (Vec::new(), steps.0);
        Ok(SprintTurnView { verb, dry_run, sprint: number, now: number, changed, open, carried, steps })
    }

    /// Begins the next sprint. Done again after it was cut short, it makes what is missing of the new one's files.
    pub fn new_sprint(&self, with: Open, goal: Option<&str>, dry_run: bool) -> Result<SprintTurnView, Failure> {
        let (actor, workflow) = (self.actor(), &self.loaded()?.config.workflow);
        let mut steps = Steps::default();
        let first = self.read()?.snapshot;
        if let Some(number) = first.queue.sprint.number.filter(|_| first.queue.sprint.is_completed()) {
            // What tells of the old one is complete before it goes.
            succession::begin(&first, workflow, with, goal, &actor).map_err(|refusal| refused(&refusal))?;
            self.tell_of_the_end(&first, number, dry_run, &mut steps)?;
        }
        let decide = |snapshot: &Snapshot| succession::begin(snapshot, workflow, with, goal, &actor);
        let (before, answer) = self.decided(dry_run, decide)?;
        let changes = match answer {
            Ok(changes) => changes,
            Err(Refusal::NotCompleted { number, .. }) if self.is_half_begun(number)? => {
                self.tell_of_the_beginning(number, dry_run, &mut steps)?;
                let (open, carried, steps) = (Vec::new(), Vec::new(), steps.0);
                return Ok(SprintTurnView {
                    verb: "new",
                    dry_run,
                    sprint: number - 1,
                    now: number,
                    changed: false,
                    open,
                    carried,
                    steps,
                });
            }
            Err(refusal) => return Err(refused(&refusal)),
        };
        let sprint = before.queue.sprint.number.expect("it was decided about");
        let now = sprint + 1;
        let became = if dry_run { "would" } else { "written" };
        let gone = many(changes.remove.len(), "entry").replace("entrys", "entries");
        let note = format!("sprint {now}; {gone} left the queue for the archive");
        steps.note(self.shown(&self.layout()?.queue())?, became, Some(note));
        self.tell_of_the_beginning(now, dry_run, &mut steps)?;
        let is_open = |id: &&oodatcaa_core::TaskId| before.queue.get(id).is_some_and(|task| !task.status.is_finished());
        let all_open: Vec<String> = succession::open(&before.queue).map(|task| task.id.to_string()).collect();
        let left: Vec<String> = changes.remove.iter().filter(is_open).map(ToString::to_string).collect();
        let (carried, open) = if with == Open::Carried { (all_open, Vec::new()) } else { (Vec::new(), left) };
        Ok(SprintTurnView { verb: "new", dry_run, sprint, now, changed: true, open, carried, steps: steps.0 })
    }

    /// Tells whether a sprint was begun by us, and cut short before its log was.
    fn is_half_begun(&self, number: u64) -> Result<bool, Failure> {
        let layout = self.layout()?;
        let Some(before) = number.checked_sub(1) else { return Ok(false) };
        let archived = files::look(layout.root(), &layout.final_queue(before, 1))?.is_some();
        if !archived || heads(layout, &layout.sprint_log(), number)? {
            return Ok(false);
        }
        // Once it is worked on, a log without our head is its keeper's.
        let journal = self.store()?.events(0)?;
        let events = report::of_sprint(&journal, Some(number));
        Ok(!events.iter().any(|event| event.kind() == Kind::LeaseAcquired))
    }

    /// Writes everything that tells of the end of a sprint, unless it is there.
    fn tell_of_the_end(&self, after: &Snapshot, number: u64, dry_run: bool, steps: &mut Steps) -> Result<(), Failure> {
        let layout = self.layout()?;
        let archived = self.archive_queue(number, dry_run);
        steps.take(self.shown(&layout.final_queue(number, 1))?, archived);

        let heading = format!("## Sprint {number} Complete");
        let at = after.queue.sprint.completed_at.unwrap_or(after.now.wall);
        let section = format!("\n---\n\n{heading}\n\n**Completed:** {}\n", stamp(at));
        let logged = append(layout, &layout.sprint_log(), "# Sprint Log\n", &heading, &section, dry_run);
        steps.take(self.shown(&layout.sprint_log())?, logged);

        let path = layout.retrospective(number);
        let written = match is_empty(layout, &path)? {
            Some(false) => Ok(("there", None)),
            _ if dry_run => Ok(("would", None)),
            // An empty one is what a script left that failed.
            there => {
                let text = self.retrospective_of(after, number)?;
                let over = there.is_some();
                files::publish(layout.root(), &path, text.as_bytes(), over)
                    .map(|()| ("written", None))
                    .map_err(Failure::from)
            }
        };
        steps.take(self.shown(&path)?, written);

        let name = format!("sprint-{number}-complete");
        let tagged = match dry_run {
            true => Ok(("would", None)),
            false => {
                tag(layout, &name, &self.message_of(after, number)).map_err(Failure::from).map(|tagged| match tagged {
                    Tagged::Made(commit) => ("written", Some(format!("on {}", &commit[..commit.len().min(12)]))),
                    Tagged::There(_) => ("there", None),
                    Tagged::Nothing => ("skipped", Some("there is no git repository with a commit".into())),
                })
            }
        };
        steps.take(format!("tag {name}"), tagged);
        if !dry_run {
            steps.take(self.shown(&layout.archive_index())?, rotate::write_index(layout).map(|became| (became, None)));
        }
        Ok(())
    }

    /// Archives the queue as it stands, unless it is archived.
    fn archive_queue(&self, number: u64, dry_run: bool) -> Result<(&'static str, Option<String>), Failure> {
        let layout = self.layout()?;
        if dry_run {
            return Ok(("would", None));
        }
        let bytes = files::read(layout.root(), &layout.queue(), oodatcaa_store::file::LONGEST)?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorKind::QueueMissing, "there is no queue file"))?;
        for version in 1..=999 {
            let path = layout.final_queue(number, version);
            match files::read(layout.root(), &path, oodatcaa_store::file::LONGEST)? {
                Some(there) if there == bytes => return Ok(("there", None)),
                Some(_) => {}
                None => {
                    files::publish(layout.root(), &path, &bytes, false)?;
                    let further = (version > 1).then(|| format!("as {}", shown_name(&path)));
                    return Ok(("written", further));
                }
            }
        }
        let place = layout.sprint_archive(number);
        Err(Failure::new(ErrorKind::Failed, format!("{} holds 999 versions of the queue", place.display()))
            .hint("move some of them away"))
    }

    fn retrospective_of(&self, after: &Snapshot, number: u64) -> Result<String, Failure> {
        let model = ReadModel::new(after, self.workflow());
        let view = report::report(&model, &self.store()?.events(0)?);
        let sprint = &view.sprint;
        let said = |text: &Option<String>| text.as_deref().map_or_else(|| "—".to_owned(), report::plain);
        let at = sprint.completed_at.unwrap_or(sprint.at);
        Ok(format!(
            "# Sprint {number} Retrospective\n\n**Sprint ID:** {}  \n**Completed:** {}  \n**Status:** {}  \n**Goal:** {}\n\n{}",
            said(&sprint.id),
            stamp(at.0),
            said(&sprint.status),
            said(&sprint.goal),
            report::markdown(&view)
        ))
    }

    fn message_of(&self, after: &Snapshot, number: u64) -> String {
        let model = ReadModel::new(after, self.workflow());
        let sprint = crate::view::SprintView::of(&model);
        let goal = sprint.goal.as_deref().map(|goal| format!("Goal: {}\n", one_line(goal))).unwrap_or_default();
        let open = succession::open(&after.queue).count();
        format!(
            "Sprint {number} Complete\n\nCompleted: {} of {}, {} cancelled, {open} open\n{goal}Date: {}\n",
            sprint.progress.completed,
            many(sprint.progress.total_tasks, "task"),
            sprint.progress.cancelled,
            stamp(sprint.completed_at.unwrap_or(sprint.at).0)
        )
    }

    /// Puts the logs of the old sprint into its archive and begins those of the new one, unless that is done.
    fn tell_of_the_beginning(&self, number: u64, dry_run: bool, steps: &mut Steps) -> Result<(), Failure> {
        let layout = self.layout()?;
        let sprint = self.read()?.snapshot.queue.sprint.clone();
        let id = sprint.id.as_deref().map_or_else(|| "—".into(), report::plain);
        let started = sprint.created.map(stamp).unwrap_or_default();
        let before = number.saturating_sub(1);
        let goal = layout.sprint_goal();
        if files::look(layout.root(), &goal)?.is_some() {
            let heading = format!("## Sprint {number}");
            let said =
                sprint.goal.as_deref().map_or_else(|| "To be defined: agentctl sprint plan".into(), report::plain);
            let status = sprint.status.as_deref().unwrap_or("planning");
            let section = format!(
                "\n---\n\n{heading}\n\n**Status:** `{status}`  \n**Sprint ID:** {id}  \n**Started:** {started}\n\n{said}\n"
            );
            let told = append(layout, &goal, "", &heading, &section, dry_run);
            steps.take(self.shown(&goal)?, told);
        }
        // The sprint's own log last: as long as it is the old one, all of this is done again.
        for log in [Log::Agent, Log::Plan, Log::Sprint] {
            let path = log.path(layout);
            let begun = || -> Result<(&'static str, Option<String>), Failure> {
                if heads(layout, &path, number)? {
                    return Ok(("there", None));
                }
                let is_there = files::look(layout.root(), &path)?.is_some();
                let was_there = is_there || rotate::archives(layout, before, log)?.next().is_some();
                // Who keeps no such log gets none; the sprint's own is written by us.
                if !was_there && log != Log::Sprint {
                    return Ok(("skipped", Some("there was none".into())));
                }
                if dry_run {
                    return Ok(("would", None));
                }
                let moved = match is_there {
                    true => Some(rotate::put_aside(layout, before, log)?),
                    false => None,
                };
                let text = format!(
                    "# {}\n\n**Sprint:** {number}  \n**Sprint ID:** {id}  \n**Started:** {started}\n\n---\n",
                    log.title()
                );
                files::publish(layout.root(), &path, text.as_bytes(), false)?;
                Ok(("written", moved.map(|to| format!("the old one is {}", shown_name(&to)))))
            };
            steps.take(self.shown(&path)?, begun());
        }
        if !dry_run {
            steps.take(self.shown(&layout.archive_index())?, rotate::write_index(layout).map(|became| (became, None)));
        }
        Ok(())
    }
}

fn shown_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Tells whether a file is empty; `None` where there is none.
fn is_empty(layout: &Layout, path: &Path) -> Result<Option<bool>, Failure> {
    Ok(files::look(layout.root(), path)?.map(|meta| meta.len() == 0))
}

/// Tells whether a log is the one of this sprint, as its head says.
fn heads(layout: &Layout, path: &Path, number: u64) -> Result<bool, Failure> {
    let text = files::read(layout.root(), path, LONGEST_LOG)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let said = text.lines().take(20).find_map(|line| line.trim().strip_prefix("**Sprint:**"));
    Ok(said.is_some_and(|said| said.trim() == number.to_string()))
}

/// Adds a section to the end of a log, unless its heading is there; makes the log where there is none.
fn append(
    layout: &Layout,
    path: &Path,
    first: &str,
    heading: &str,
    section: &str,
    dry_run: bool,
) -> Result<(&'static str, Option<String>), Failure> {
    let there = files::read(layout.root(), path, LONGEST_LOG)?;
    let text = String::from_utf8_lossy(there.as_deref().unwrap_or_default());
    let is_told = |line: &str| line.trim_end() == heading || line.starts_with(&format!("{heading}:"));
    if text.lines().any(is_told) {
        return Ok(("there", None));
    }
    if dry_run {
        return Ok(("would", None));
    }
    if there.is_none() {
        files::publish(layout.root(), path, format!("{first}{section}").as_bytes(), false)?;
    } else {
        // At the end, in one write: what others add at this moment stays.
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let mut file = files::append(layout.root(), path)?;
        file.write_all(format!("{gap}{section}").as_bytes()).map_err(|error| Failure::io("append to", path, &error))?;
        file.sync_all().map_err(|error| Failure::io("append to", path, &error))?;
    }
    Ok(("written", None))
}

/// Returns the failure for a sprint that is not ended, or not begun.
fn refused(refusal: &Refusal) -> Failure {
    let failure = Failure::new(ErrorKind::Refused, one_line(&refusal.to_string())).see("sprint");
    match refusal {
        Refusal::NoNumber => failure.hint("give it one: \"sprint\": 1, in .oodatcaa/work/SPRINT_QUEUE.json"),
        Refusal::Behind(_) => failure.hint("agentctl queue repair"),
        Refusal::Critical(_) => failure
            .hint("see what holds them: agentctl ls 'prio:<4'")
            .hint("insist: agentctl sprint complete --force")
            .hint("end it with what is open: agentctl sprint close --reason \"…\""),
        Refusal::NotCompleted { .. } => failure.hint("agentctl sprint complete"),
        Refusal::Active(ids) => {
            let first = ids.first().map(ToString::to_string).unwrap_or_default();
            failure.hint(format!("wait for them, or stop one: agentctl run stop {first} --reason \"…\""))
        }
        Refusal::Open(_) => failure
            .hint("take them along: agentctl sprint new --rollover")
            .hint("leave them in the archive: agentctl sprint new --leave"),
    }
}
