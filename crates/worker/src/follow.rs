//! Waiting for a child of an attempt, its agent or one of its gates.

use crossbeam_channel::{at, never, select};

use crate::{heartbeat::AgentStart, output::AgentWatch, run::Run};
use oodatcaa_process::{Attempt, Exit, Report};

/// Which child is waited for.
pub(crate) enum Child<'a> {
    /// The agent, whose start is journalled and whose output is watched where it can be understood.
    Agent(Option<&'a mut AgentWatch>),
    Gate,
}

impl Run {
    /// Waits for the end of a child, renewing the lease all the while.
    ///
    /// This is the only place that waits for a process of an attempt, so every one of them hears stops, beats, and has its
    /// shim looked after.
    pub(crate) fn follow(&mut self, child: &Attempt, mut which: Child<'_>) -> Exit {
        loop {
            let start_due = self.started.as_ref().map_or_else(never, |start| at(start.due));
            let output_due = match &which {
                Child::Agent(Some(watch)) => at(watch.due),
                Child::Agent(None) | Child::Gate => never(),
            };
            select! {
                recv(child.reports()) -> report => match report {
                    Ok(Report::Started { pid, pgid }) => if matches!(which, Child::Agent(_)) {
                        self.started = Some(AgentStart::now(pid, pgid));
                    },
                    Ok(Report::Ended(exit)) => return exit,
                    Err(_) => return Exit::unknown(),
                },
                recv(self.control) -> control => {
                    let how = self.hear(control);
                    child.stop(how);
                }
                recv(start_due) -> _ => self.note_start(),
                // A refused heartbeat stops nothing here: the main loop sees the newer claim as well, and says why.
                recv(at(self.beat_due)) -> _ => { self.heartbeat(); }
                recv(output_due) -> _ => if let Child::Agent(Some(watch)) = &mut which {
                    watch.look(self, child);
                },
                recv(at(child.due())) -> _ => if let Some(why) = child.look() {
                    let id = &self.assignment.task.id;
                    log::warn!(task = id.as_str(); "{id}: ending the attempt from outside: {why}");
                },
            }
        }
    }
}
