//! What comes at a time, and what follows on what happens, as people see them.

use crate::{
    Failure, Project,
    view::{HandoffView, ScheduleView},
};
use oodatcaa_core::{
    handoff::Handoff,
    schedule::{CatchUp, Schedule},
};

/// So many of the next times are shown.
const SHOWN: usize = 3;

impl Project {
    /// Lists the schedules of the configuration, by name, each with its next times.
    pub fn schedules(&self) -> Result<Vec<ScheduleView>, Failure> {
        let (loaded, reading) = (self.loaded()?, self.read()?);
        let (now, known) = (reading.snapshot.now.wall, &reading.snapshot.history.schedules);
        let view = |schedule: &Schedule| {
            // What is remembered of other times says nothing of these.
            let known = known.get(&schedule.name);
            let ran = known.filter(|ran| ran.times == schedule.words());
            let paused = known.and_then(|ran| ran.paused.clone());
            let next = if paused.is_some() { Vec::new() } else { schedule.upcoming(ran, now, SHOWN) };
            ScheduleView {
                schedule: schedule.name.clone(),
                times: schedule.words(),
                next: next.into_iter().map(Into::into).collect(),
                counts_from: ran.map(|ran| ran.slot.into()),
                fired_at: ran.and_then(|ran| ran.fired).map(Into::into),
                task: ran.and_then(|ran| ran.task.as_ref()).map(ToString::to_string),
                missed: ran.map_or(0, |ran| ran.missed),
                catch_up: if schedule.catch_up == CatchUp::Once { "once" } else { "none" },
                overlaps: schedule.overlaps,
                title: schedule.then.task.as_ref().map(|task| task.title.clone()),
                does: schedule.then.words(),
                paused,
            }
        };
        Ok(loaded.config.workflow.policy().schedules.iter().map(view).collect())
    }

    /// Lists the hand-offs of the configuration, by name.
    pub fn handoffs(&self) -> Result<Vec<HandoffView>, Failure> {
        let (loaded, reading) = (self.loaded()?, self.read()?);
        let known = &reading.snapshot.history.handoffs.rules;
        let view = |rule: &Handoff| {
            let (known, on) = (known.get(&rule.name), rule.on.words());
            HandoffView {
                handoff: rule.name.clone(),
                does: rule.then.words(),
                counts: known.is_some_and(|looked| looked.on == on),
                fired: known.map_or(0, |looked| looked.fired),
                fired_at: known.and_then(|looked| looked.fired_at).map(Into::into),
                task: known.and_then(|looked| looked.task.as_ref()).map(ToString::to_string),
                refused: known.and_then(|looked| looked.refused.clone()),
                on,
            }
        };
        Ok(loaded.config.workflow.policy().handoffs.iter().map(view).collect())
    }
}
