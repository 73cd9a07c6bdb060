//! What the journal tells of schedules: from when each counts, and what it made last.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{Data, Event, TaskId};

/// The last word on a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its times, in words.
    pub times: String,
    /// The time at which those were set.
    pub set_at: DateTime<Utc>,
    /// The last time that was fired for or missed; the one from which it counts before that.
    pub slot: DateTime<Utc>,
    /// The time at which that was noted.
    pub at: DateTime<Utc>,
    /// The time at which it last fired.
    pub fired: Option<DateTime<Utc>>,
    /// The task that it made last.
    pub task: Option<TaskId>,
    /// Runs that were missed since its times were set.
    pub missed: u64,
    /// The reason why a person paused it, may be empty.
    pub paused: Option<String>,
}

/// The fold, by the schedules' names.
pub type Schedules = BTreeMap<String, Ran>;

/// Takes in one more event.
pub(super) fn apply(all: &mut Schedules, event: &Event) {
    let (said, fired) = match event.data() {
        Data::ScheduleSet(said) => {
            let Some(name) = &said.schedule else { return };
            let before = all.remove(name);
            let ran = Ran {
                times: said.times.clone().unwrap_or_default(),
                set_at: event.time,
                slot: event.time,
                at: event.time,
                fired: before.as_ref().and_then(|before| before.fired),
                paused: before.as_ref().and_then(|before| before.paused.clone()),
                task: before.and_then(|before| before.task),
                missed: 0,
            };
            all.insert(name.clone(), ran);
            return;
        }
        Data::SchedulePaused(said) => {
            let name = said.schedule.clone().unwrap_or_default();
            // Before it was first seen: then it has no times, and gets them with its first look.
            let begun = Ran { slot: event.time, at: event.time, ..Ran::default() };
            all.entry(name).or_insert(begun).paused = Some(said.reason.clone().unwrap_or_default());
            return;
        }
        Data::ScheduleResumed(said) if event.sealed => {
            if let Some(ran) = said.schedule.as_ref().and_then(|name| all.get_mut(name)) {
                (ran.paused, ran.slot, ran.at) = (None, event.time, event.time);
            }
            return;
        }
        Data::ScheduleFired(said) => (said, true),
        Data::ScheduleMissed(said) => (said, false),
        _ => return,
    };
    let Some(ran) = said.schedule.as_ref().and_then(|name| all.get_mut(name)) else { return };
    // Of runs before the one that is told next only the number is known.
    if let Some(slot) = said.slot.as_ref().and_then(|slot| slot.parse().ok()) {
        ran.slot = slot;
    }
    ran.at = event.time;
    if fired {
        ran.fired = Some(event.time);
        ran.task = said.made.as_ref().and_then(|id| TaskId::parse(id).ok());
    } else {
        ran.missed = ran.missed.saturating_add(said.missed.unwrap_or(1));
    }
}
