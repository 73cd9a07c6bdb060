//! Tasks that come at a time, as people see them.

use crate::{Failure, Project, view::ScheduleView};
use oodatcaa_core::schedule::{CatchUp, Schedule};

/// So many of the next times are shown.
const SHOWN: usize = 3;

impl Project {
    /// Lists the schedules of the configuration, by name, each with its next times.
    pub fn schedules(&self) -> Result<Vec<ScheduleView>, Failure> {
        let (loaded, reading) = (self.loaded()?, self.read()?);
        let (now, known) = (reading.snapshot.now.wall, &reading.snapshot.history.schedules);
        let view = |schedule: &Schedule| {
            // What is remembered of other times says nothing of these.
            let ran = known.get(&schedule.name).filter(|ran| ran.times == schedule.words());
            ScheduleView {
                schedule: schedule.name.clone(),
                times: schedule.words(),
                next: schedule.upcoming(ran, now, SHOWN).into_iter().map(Into::into).collect(),
                counts_from: ran.map(|ran| ran.slot.into()),
                fired_at: ran.and_then(|ran| ran.fired).map(Into::into),
                task: ran.and_then(|ran| ran.task.as_ref()).map(ToString::to_string),
                missed: ran.map_or(0, |ran| ran.missed),
                catch_up: if schedule.catch_up == CatchUp::Once { "once" } else { "none" },
                overlaps: schedule.overlaps,
                title: schedule.task.title.clone(),
            }
        };
        Ok(loaded.config.workflow.policy().schedules.iter().map(view).collect())
    }
}
