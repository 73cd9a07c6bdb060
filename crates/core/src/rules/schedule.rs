//! Tasks and messages that come at a time: which are due, and how one that nobody was up for is made good.
//!
//! A schedule's state is a fold over the journal ([`crate::state::schedules`]), and it fires in the same commit as the task
//! that it makes, whichever worker looks first. So it is kept over restarts, and fires once.

use std::{fmt, time::Duration};

use chrono::{DateTime, LocalResult, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use crate::{
    ChangeSet, Data, EventDraft, Snapshot, TaskId, Workflow,
    deed::Deed,
    event::{Actor, payload::Timed},
    manual::{self, Wanted},
    state::schedules::Ran,
    text,
    time::stamp,
};

/// A run that comes later than this is late: nobody was up when it was due.
const LATE: Duration = Duration::from_secs(5 * 60);

/// A clock that was put back further than this was wrong before; up to it nothing fires twice.
const BELIEVED: Duration = Duration::from_secs(24 * 3_600);

/// So many missed runs are counted.
const MOST: usize = 1_000;

/// The longest text of times.
const LONGEST: usize = 100;

/// Something that is done at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// Its times.
    pub when: When,
    /// The treatment of runs that nobody was up for.
    pub catch_up: CatchUp,
    /// It fires even while its last task is not finished.
    pub overlaps: bool,
    /// Its deed: a task, a message, or both.
    pub then: Deed,
}

/// The times of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// By the clock on the wall.
    Cron(Box<Times>),
    /// So long after the last run.
    Every(Duration),
}

/// The treatment of runs that nobody was up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// The latest of them is made good, once.
    Once,
    /// They are only told.
    None,
}

/// Times by the clock on the wall in a zone.
#[derive(Clone)]
pub struct Times {
    text: String,
    cron: Cron,
    zone: Tz,
    /// After each time, so that not all schedules of the world begin at the full hour.
    offset: Duration,
}

/// The error in a text of times, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTimes(String);

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} +{:?}", self.text, self.zone, self.offset)
    }
}

impl PartialEq for Times {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.zone, self.offset) == (&other.text, other.zone, other.offset)
    }
}

impl Eq for Times {}

/// The fields of a text of times.
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

/// Short texts for usual times.
const NICKNAMES: [&str; 6] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually"];

fn parse(text: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text).ok()
}

/// Returns a time from which texts are tried: none of them names a year, so that any will do.
fn first() -> DateTime<Utc> {
    DateTime::from_timestamp(1_704_067_200, 0).expect("a time")
}

impl Times {
    /// Reads times in the form of cron (`minute hour day month weekday`, or `@daily` and the like). Refuses what never
    /// comes.
    pub fn parse(text: &str, zone: &str) -> Result<Self, BadTimes> {
        let bad = |words: String| Err(BadTimes(words));
        let shown = text::cut(&text::one_line(text), 60);
        let fields: Vec<&str> = text.split_whitespace().collect();
        let is_short = NICKNAMES.contains(&text.trim());
        if text.len() > LONGEST || !is_short && fields.len() != FIELDS.len() {
            return bad(format!(
                "is `{shown}`; expected five fields ({}), or {}",
                FIELDS.join(", "),
                NICKNAMES[..5].join(", ")
            ));
        }
        for (field, name) in fields.iter().zip(FIELDS).filter(|_| !is_short) {
            // A long number would be counted up to.
            let digits = field.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or_default();
            if digits > 2 || parse(&alone(field, name)).is_none() {
                return bad(format!("is `{shown}`; `{}` is no {name}", text::cut(&text::one_line(field), 40)));
            }
        }
        let Some(cron) = parse(text) else { return bad(format!("is `{shown}`, which is no text of times")) };
        let Some(zone) = self::zone(zone) else { return bad(format!("names the zone `{zone}`, which is not known")) };
        let times = Self { text: fields.join(" "), cron, zone, offset: Duration::ZERO };
        match times.next(first()) {
            Some(_) => Ok(times),
            None => bad(format!("is `{shown}`, which never comes")),
        }
    }

    /// Puts each time off by a part of `jitter` that hangs on the name alone, so that it is always the same.
    pub fn put_off(self, jitter: Duration, name: &str) -> Result<Self, BadTimes> {
        let seen: Vec<DateTime<Utc>> = self.upcoming(first(), 8).collect();
        let gaps = seen.windows(2).filter_map(|pair| (pair[1] - pair[0]).to_std().ok());
        if gaps.min().is_some_and(|gap| jitter >= gap) {
            return Err(BadTimes(format!("is {}, and the next run may come before that", text::duration(jitter))));
        }
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let offset = Duration::from_secs(hash % (jitter.as_secs() + 1));
        Ok(Self { offset, ..self })
    }

    /// Tells whether it names its hours. Such a run comes once in a night that has an hour twice; others go on as time
    /// does.
    fn is_of_the_clock(&self) -> bool {
        let hour = self.text.split(' ').nth(1);
        hour.map_or(self.text != NICKNAMES[0], |hour| !hour.contains('*'))
    }

    /// Returns the first time after a moment.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = after.with_timezone(&self.zone);
        // An hour that comes twice holds at most sixty times of its second pass.
        for _ in 0..=60 {
            at = self.cron.find_next_occurrence(&at, false).ok()?;
            if at.with_timezone(&Utc) > after && !self.is_again(&at) {
                return Some(at.with_timezone(&Utc));
            }
        }
        None
    }

    /// Tells whether the wall clock has shown this already, as it was put back.
    fn is_again(&self, at: &DateTime<Tz>) -> bool {
        match self.zone.from_local_datetime(&at.naive_local()) {
            LocalResult::Ambiguous(first, _) => self.is_of_the_clock() && *at > first,
            _ => false,
        }
    }

    fn upcoming(&self, after: DateTime<Utc>, most: usize) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        std::iter::successors(self.next(after), |last| self.next(*last)).take(most)
    }

    /// Returns the latest time up to a moment.
    fn previous(&self, upto: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = self.cron.find_previous_occurrence(&upto.with_timezone(&self.zone), true).ok()?;
        for _ in 0..=60 {
            if at.with_timezone(&Utc) <= upto && !self.is_again(&at) {
                return Some(at.with_timezone(&Utc));
            }
            at = self.cron.find_previous_occurrence(&at, false).ok()?;
        }
        None
    }

    /// Returns the latest time up to a moment, and how many came after `last` before it.
    fn latest(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<(DateTime<Utc>, u64)> {
        let slot = self.previous(now).filter(|slot| *slot > last)?;
        let before = self.upcoming(last, MOST).take_while(|time| *time < slot).count();
        Some((slot, before as u64))
    }
}

fn alone(field: &str, name: &str) -> String {
    let all = FIELDS.map(|other| if other == name { field } else { "*" });
    all.join(" ")
}

/// Finds a time zone by its name in the database of zones.
pub fn zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

/// A run that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    /// The time that it is for.
    slot: DateTime<Utc>,
    /// Runs before it that nobody was up for.
    missed: u64,
    late: bool,
}

impl Schedule {
    /// Says its times in words, which change where they do.
    pub fn words(&self) -> String {
        match &self.when {
            When::Cron(times) => format!("{} {}", times.text, times.zone),
            When::Every(every) => format!("every {}", text::duration(*every)),
        }
    }

    /// Returns when it fires next, and after that, as far as that is known: an interval counts from its last run.
    pub fn upcoming(&self, ran: Option<&Ran>, now: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
        match &self.when {
            When::Cron(times) => {
                let offset = chrono::Duration::from_std(times.offset).unwrap_or_default();
                times.upcoming(now - offset, most).map(|time| time + offset).collect()
            }
            When::Every(every) => {
                let every = chrono::Duration::from_std(*every).unwrap_or_default();
                let next = ran.map_or(now, |ran| ran.at) + every;
                std::iter::successors(Some(next.max(now)), |last| Some(*last + every)).take(most).collect()
            }
        }
    }

    fn due(&self, ran: &Ran, now: DateTime<Utc>) -> Option<Due> {
        match &self.when {
            When::Cron(times) => {
                let offset = chrono::Duration::from_std(times.offset).unwrap_or_default();
                let (slot, missed) = times.latest(ran.slot, now - offset)?;
                let waited = (now - (slot + offset)).to_std().unwrap_or_default();
                Some(Due { slot, missed, late: waited > LATE })
            }
            When::Every(every) => {
                let passed = (now - ran.at).to_std().ok()?;
                let over = passed.checked_sub(*every)?;
                let missed = over.as_secs() / every.as_secs().max(1);
                let slot = ran.at + chrono::Duration::from_std(*every).ok()?;
                Some(Due { slot, missed: missed.min(MOST as u64), late: over > LATE.max(*every / 10) })
            }
        }
    }

    /// Returns the id of the task of a run: the same whoever makes it, so that none is made twice.
    fn id(&self, slot: DateTime<Utc>) -> Option<TaskId> {
        TaskId::parse(&format!("{}-{}", self.name, slot.format("%Y%m%d-%H%M"))).ok()
    }

    fn event(&self, data: fn(Timed) -> Data, said: Timed) -> EventDraft {
        let said = Timed { schedule: Some(self.name.clone()), ..said };
        EventDraft::new(data(said), Actor::Policy(format!("schedule {}", self.name)))
    }

    /// Decides what it does now.
    fn decide(&self, snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
        let now = snapshot.now.wall;
        let known = snapshot.history.schedules.get(&self.name);
        let begins = |reason: &str| {
            let said = Timed { times: Some(self.words()), reason: Some(reason.into()), ..Timed::default() };
            ChangeSet::told([self.event(Data::ScheduleSet, said)])
        };
        let Some(ran) = known else { return begins("it is new") };
        if ran.times != self.words() {
            let is_old = workflow.policy().is_older_than(ran.set_at, now);
            return if is_old { ChangeSet::none() } else { begins("its times were changed") };
        }
        if (ran.slot.max(ran.at) - now).to_std().is_ok_and(|ahead| ahead > BELIEVED) {
            return begins("the clock was put back");
        }
        if ran.paused.is_some() {
            return ChangeSet::none();
        }
        let Some(Due { slot, missed, late }) = self.due(ran, now) else { return ChangeSet::none() };
        let open = ran.task.as_ref().and_then(|id| snapshot.queue.get(id)).filter(|task| !task.status.is_finished());
        let holds = match open {
            Some(task) if !self.overlaps => Some(format!("its last task, {}, is `{}`", task.id, task.status)),
            _ if late && self.catch_up == CatchUp::None => Some("nobody was up when it was due".into()),
            _ => None,
        };
        let made = match holds {
            Some(why) => Err(why),
            None => self.fire(snapshot, workflow, slot),
        };
        let missing = |missed: u64, slot: Option<DateTime<Utc>>, why: &str| {
            let (slot, reason) = (slot.map(stamp), Some(text::cut(why, 500)));
            self.event(Data::ScheduleMissed, Timed { slot, missed: Some(missed), reason, ..Timed::default() })
        };
        let mut changes = ChangeSet::none();
        match made {
            Ok((id, made)) => {
                if missed > 0 {
                    changes.event(missing(missed, None, "nobody was up when they were due"));
                }
                changes.then(made);
                let made = id.map(|id| id.to_string());
                let said = Timed { slot: Some(stamp(slot)), made, late, ..Timed::default() };
                changes.event(self.event(Data::ScheduleFired, said));
            }
            Err(why) => changes.event(missing(missed + 1, Some(slot), &why)),
        }
        changes
    }

    /// Does what a run does; answers with the task that it made.
    fn fire(
        &self,
        snapshot: &Snapshot,
        workflow: &Workflow,
        slot: DateTime<Utc>,
    ) -> Result<(Option<TaskId>, ChangeSet), String> {
        let (mut changes, mut made) = (ChangeSet::none(), None);
        let from = format!("schedule {}", self.name);
        if let Some(wanted) = &self.then.task {
            let id = self.id(slot).ok_or("its name is too long for a task")?;
            // A crash may have left it without the word in the journal.
            if snapshot.queue.get(&id).is_none() {
                let wanted = Wanted { id: Some(id.to_string()), ..wanted.clone() };
                let added = manual::add(snapshot, workflow, &wanted, &Actor::Policy(from.clone()));
                changes.then(added.map_err(|refusal| refusal.to_string())?);
            }
            made = Some(id);
        }
        if let Some(note) = &self.then.message {
            changes.event(note.send(&from, made.as_ref()));
        }
        Ok((made, changes))
    }
}

/// Lets a schedule fire no more, until it is resumed. Nothing, where that is so already.
pub fn pause(snapshot: &Snapshot, name: &str, reason: Option<&str>, actor: &Actor) -> ChangeSet {
    match snapshot.history.schedules.get(name) {
        Some(ran) if ran.paused.is_some() => ChangeSet::none(),
        _ => told(Data::SchedulePaused, name, reason, actor),
    }
}

/// Lets a schedule fire again: it counts from now on. Nothing, where it is not paused.
pub fn resume(snapshot: &Snapshot, name: &str, actor: &Actor) -> ChangeSet {
    match snapshot.history.schedules.get(name) {
        Some(ran) if ran.paused.is_some() => told(Data::ScheduleResumed, name, None, actor),
        _ => ChangeSet::none(),
    }
}

fn told(data: fn(Timed) -> Data, name: &str, reason: Option<&str>, actor: &Actor) -> ChangeSet {
    let said = Timed { schedule: Some(name.into()), reason: reason.map(String::from), ..Timed::default() };
    ChangeSet::told([EventDraft::new(data(said), actor.clone())])
}

/// Fires what is due.
pub fn decide(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let mut all: Option<(Snapshot, ChangeSet)> = None;
    for schedule in &workflow.policy().schedules {
        let changes = schedule.decide(all.as_ref().map_or(snapshot, |(seen, _)| seen), workflow);
        if !changes.is_empty() {
            let (seen, said) = all.get_or_insert_with(|| (snapshot.clone(), ChangeSet::none()));
            seen.advance(&changes);
            said.then(changes);
        }
    }
    all.map(|(_, said)| said).unwrap_or_default()
}

/// Returns when the next schedule fires, for whoever waits for it. One that is due already is no reason to wake: something
/// holds it, and would hold it again.
pub fn next(snapshot: &Snapshot, workflow: &Workflow) -> Option<DateTime<Utc>> {
    let schedules = workflow.policy().schedules.iter();
    let next = |schedule: &Schedule| {
        let ran = snapshot.history.schedules.get(&schedule.name);
        let goes_on = ran.is_none_or(|ran| ran.paused.is_none());
        schedule.upcoming(ran, snapshot.now.wall, 1).first().copied().filter(|_| goes_on)
    };
    schedules.filter_map(next).filter(|time| *time > snapshot.now.wall).min()
}

#[cfg(test)]
mod tests;
