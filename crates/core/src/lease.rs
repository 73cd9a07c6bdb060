//! The right to work on a task until it expires.
//!
//! What a lease file looks like on disk, and who holds which flock, the store finds out;
//! the rules here only judge what it found.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Now, QueueLease, Role, RoleRule, RunName, Status, TaskId, Token, text, time::stamp};

/// The identity of a worker: its tag for people and the facts that prove it alive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The tag, e.g. `agent-daemon-builder@host`; never used to decide whether someone lives.
    pub tag: String,
    /// Host name, for people.
    pub host: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The worker's process id.
    pub pid: u32,
    /// The worker's start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub pid_started: u64,
}

/// A lease in our own words; the first of the three dialects, with token and identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The task that it is for.
    pub task_id: TaskId,
    /// The role that works.
    pub role: Role,
    /// The owner's tag.
    pub owner: String,
    /// The fencing token.
    pub token: Token,
    /// The name of the attempt's directory, which the claim made; the token where an older version wrote the lease.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// The number of this try in the present stage, from 1.
    pub attempt: u32,
    /// Wall clock, for people.
    pub started_at: DateTime<Utc>,
    /// The time that it lives without a heartbeat.
    pub ttl_seconds: u64,
    /// Wall clock, for people.
    pub heartbeat_at: DateTime<Utc>,
    /// Host name, for people.
    pub host: String,
    /// The boot in which the monotonic time below counts.
    pub boot_id: String,
    /// The worker.
    pub pid: u32,
    /// The worker's start time in clock ticks since boot.
    pub pid_started: u64,
    /// The agent's process group, once it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgid: Option<u32>,
    /// `CLOCK_MONOTONIC` of the last heartbeat in milliseconds: what the TTL counts by.
    #[serde(default)]
    pub heartbeat_mono_ms: u64,
    /// The name of the agent that works, from the configuration.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// `true` when the simulated agent works.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// The pool of quota that the agent draws from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pool: String,
    /// It tries whether that pool is open again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
    /// Somebody asked for this attempt to be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopRequest>,
    /// The commit as which it is being merged: it is too late to stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing: Option<String>,
}

/// A wish that a running attempt be stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// `human:<name>`.
    pub actor: String,
    /// Their words.
    pub reason: String,
    /// The task was cancelled with it; else it is blocked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

impl StopRequest {
    /// Returns the status that its task goes to.
    pub fn to(&self) -> Status {
        if self.cancel { Status::CANCELLED } else { Status::BLOCKED }
    }
}

impl fmt::Display for StopRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match text::one_line(&self.reason) {
            reason if reason.is_empty() => write!(f, "stopped by {}", self.actor),
            reason => write!(f, "stopped by {}: {reason}", self.actor),
        }
    }
}

impl Lease {
    /// Makes the lease of a first try that begins now, whoever works on it.
    pub fn new(owner: &Owner, rule: &RoleRule, task: &TaskId, token: Token, now: &Now) -> Self {
        Self {
            task_id: task.clone(),
            role: rule.role.clone(),
            owner: owner.tag.clone(),
            token,
            run: String::new(),
            attempt: 1,
            started_at: now.wall,
            ttl_seconds: rule.ttl.as_secs(),
            heartbeat_at: now.wall,
            host: owner.host.clone(),
            boot_id: owner.boot_id.clone(),
            pid: owner.pid,
            pid_started: owner.pid_started,
            pgid: None,
            heartbeat_mono_ms: now.mono_ms(),
            by: String::new(),
            simulated: false,
            pool: String::new(),
            probe: false,
            stop: None,
            landing: None,
        }
    }

    /// Returns the text that stands in the queue's `lease` member.
    pub fn in_queue(&self) -> String {
        format!("{}#{}", self.owner, self.token)
    }

    /// Returns the attempt's directory. A name that cannot be one of this token's counts as none.
    pub fn run_name(&self) -> RunName {
        RunName::parse(&self.run).filter(|name| name.token() == self.token).unwrap_or_else(|| RunName::of(self.token))
    }

    /// Returns the time since the last heartbeat, on the monotonic clock.
    pub fn silence(&self, now: &Now) -> Duration {
        now.mono.saturating_sub(Duration::from_millis(self.heartbeat_mono_ms))
    }

    /// Returns the same lease, beaten now.
    #[must_use]
    pub fn beaten(&self, now: &Now) -> Self {
        Self { heartbeat_at: now.wall, heartbeat_mono_ms: now.mono_ms(), ..self.clone() }
    }

    /// Returns how long its life is without a heartbeat.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }
}

/// A lease that a helper script or an old daemon wrote: only its wall-clock TTL counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignLease {
    /// The task in the file, or the file's name.
    pub task_id: TaskId,
    /// Its writer.
    pub owner: String,
    /// The role it names, if any.
    pub role: Option<Role>,
    /// A token, where it has one.
    pub token: Option<Token>,
    /// The end of its TTL; `None` when its times cannot be read.
    pub until: Option<DateTime<Utc>>,
    /// The time at which it was taken, where that can be read.
    pub started_at: Option<DateTime<Utc>>,
    /// The time that it lives without a heartbeat, where that can be read.
    pub ttl: Option<Duration>,
}

impl ForeignLease {
    /// Returns the same lease, beaten now.
    #[must_use]
    pub fn beaten(&self, now: DateTime<Utc>) -> Self {
        let ttl = self.ttl.unwrap_or_default();
        let ttl = chrono::Duration::from_std(ttl).unwrap_or(LONGEST).min(LONGEST);
        Self { until: now.checked_add_signed(ttl), ..self.clone() }
    }

    /// Returns it in the first of the dialects, as helper scripts write it.
    pub fn json(&self) -> Value {
        let ttl = self.ttl.unwrap_or_default();
        let beaten = self.until.and_then(|until| until.checked_sub_signed(chrono::Duration::from_std(ttl).ok()?));
        json!({
            "task_id": self.task_id,
            "role": self.role,
            "owner": self.owner,
            "token": self.token,
            "started_at": self.started_at.map(stamp),
            "ttl_seconds": ttl.as_secs(),
            "heartbeat_at": beaten.map(stamp),
        })
    }
}

/// The content of `.leases/<task>.json`.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are ours")]
#[expect(missing_docs, reason = "what each field is goes without saying")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseRecord {
    /// Written by a worker, with identity.
    Ours(Lease),
    /// Written by somebody else.
    Foreign(ForeignLease),
    /// A file that says nothing we can read; it holds nothing and is reported.
    Broken { task_id: TaskId, reason: String },
}

/// The state of a lease's holder, as the store found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It holds the task's flock, or its process is the one that the lease names.
    Alive,
    /// The proof of its death, in words.
    Dead(String),
    /// Another machine, or no identity: nothing can be proved.
    Unknown,
}

/// A lease and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// The file's content.
    pub record: LeaseRecord,
    /// Its holder.
    pub holder: Holder,
}

/// The state of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseHealth {
    /// Somebody works, or may work.
    Live,
    /// Its owner is gone: rescue at once.
    Dead(String),
    /// Its owner has been silent for the whole TTL: the task is taken over.
    Lost(String),
}

impl LeaseState {
    /// Returns the lease in our own words, if it is one of ours.
    pub fn ours(&self) -> Option<&Lease> {
        if let LeaseRecord::Ours(lease) = &self.record { Some(lease) } else { None }
    }

    /// Returns the greatest token that this file proves to have existed.
    pub fn token(&self) -> Token {
        match &self.record {
            LeaseRecord::Ours(lease) => lease.token,
            LeaseRecord::Foreign(lease) => lease.token.unwrap_or_default(),
            LeaseRecord::Broken { .. } => Token(0),
        }
    }

    /// Returns the role that it counts for.
    pub fn role(&self) -> Option<&Role> {
        match &self.record {
            LeaseRecord::Ours(lease) => Some(&lease.role),
            LeaseRecord::Foreign(lease) => lease.role.as_ref(),
            LeaseRecord::Broken { .. } => None,
        }
    }

    /// Returns the owner's tag, for people.
    pub fn owner(&self) -> &str {
        match &self.record {
            LeaseRecord::Ours(lease) => &lease.owner,
            LeaseRecord::Foreign(lease) => &lease.owner,
            LeaseRecord::Broken { .. } => "unknown",
        }
    }

    /// Judges it at this moment.
    pub fn health(&self, now: &Now) -> LeaseHealth {
        match &self.record {
            LeaseRecord::Broken { reason, .. } => LeaseHealth::Dead(format!("the lease file is unreadable: {reason}")),
            LeaseRecord::Foreign(lease) => match lease.until {
                Some(until) if lasts(now.wall, until) => LeaseHealth::Live,
                Some(until) if now.wall < until => LeaseHealth::Lost(format!(
                    "it says that it lasts until {}, and a lease whose owner cannot be checked lasts a day at most",
                    until.format("%Y-%m-%dT%H:%M:%SZ")
                )),
                Some(until) => LeaseHealth::Lost(format!("its TTL ended at {}", until.format("%Y-%m-%dT%H:%M:%SZ"))),
                None => LeaseHealth::Dead("its times cannot be read".into()),
            },
            LeaseRecord::Ours(lease) => match &self.holder {
                Holder::Dead(proof) => LeaseHealth::Dead(proof.clone()),
                // Monotonic times of another boot mean nothing here; such a holder is
                // either Dead (same machine) or a stranger whose wall clock must serve.
                Holder::Unknown => {
                    let ttl = chrono::Duration::from_std(lease.ttl()).unwrap_or(LONGEST).min(LONGEST);
                    let until = lease.heartbeat_at.checked_add_signed(ttl).unwrap_or(DateTime::<Utc>::MAX_UTC);
                    if lasts(now.wall, until) { LeaseHealth::Live } else { LeaseHealth::Lost(silent_for(lease.ttl())) }
                }
                Holder::Alive if lease.silence(now) > lease.ttl() => LeaseHealth::Lost(silent_for(lease.silence(now))),
                Holder::Alive => LeaseHealth::Live,
            },
        }
    }
}

impl QueueLease {
    /// Returns the owner of an old inline lease, while its TTL is not over.
    pub fn live_owner(&self, now: DateTime<Utc>) -> Option<&str> {
        match self {
            Self::Inline { owner, until: Some(until) } if lasts(now, *until) => Some(owner),
            _ => None,
        }
    }
}

/// The longest that a lease counts of whose holder only its own words are known.
pub const LONGEST: chrono::Duration = chrono::Duration::hours(24);

/// The time by which the clock of its writer may be ahead of ours.
const AHEAD: chrono::Duration = chrono::Duration::minutes(1);

/// Tells whether a lease counts that says to last until then. Nobody holds a task for ever by writing a far time.
fn lasts(now: DateTime<Utc>, until: DateTime<Utc>) -> bool {
    now < until && until <= now + LONGEST + AHEAD
}

fn silent_for(time: Duration) -> String {
    format!("no heartbeat for {}", crate::text::duration(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{lease, now_at};

    #[test]
    fn who_asked_for_an_end_is_told_with_what_they_said_if_anything() {
        let said = |reason: &str| StopRequest { actor: "human:me".into(), reason: reason.into(), cancel: false };
        assert_eq!(said("not\nnow").to_string(), "stopped by human:me: not now");
        assert_eq!(said("").to_string(), "stopped by human:me");
        assert_eq!(
            (said("").to(), StopRequest { cancel: true, ..said("") }.to()),
            (Status::BLOCKED, Status::CANCELLED)
        );
    }

    #[test]
    fn a_lease_of_a_script_is_written_as_scripts_read_it_with_the_time_of_its_last_beat() {
        let lease = ForeignLease {
            task_id: crate::tests::id("T1"),
            owner: "me".into(),
            role: Some(Role::BUILDER),
            token: Some(Token(3)),
            until: Some(now_at(600).wall),
            started_at: Some(now_at(0).wall),
            ttl: Some(Duration::from_secs(500)),
        };
        let (started, beaten) = (stamp(now_at(0).wall), stamp(now_at(100).wall));
        let expected = json!({"task_id": "T1", "role": "builder", "owner": "me", "token": 3,
            "started_at": started, "ttl_seconds": 500, "heartbeat_at": beaten});
        assert_eq!(lease.json(), expected);
    }

    fn held(holder: Holder) -> LeaseState {
        LeaseState { record: LeaseRecord::Ours(lease("T1", &Role::BUILDER, 3)), holder }
    }

    #[test]
    fn a_lease_lives_while_its_holder_lives_and_beats() {
        assert_eq!(held(Holder::Alive).health(&now_at(1_000 + 600)), LeaseHealth::Live);
    }

    #[test]
    fn a_dead_holder_needs_no_ttl() {
        assert_eq!(held(Holder::Dead("pid gone".into())).health(&now_at(1_000)), LeaseHealth::Dead("pid gone".into()));
    }

    #[test]
    fn a_silent_holder_is_lost_after_its_ttl() {
        assert_eq!(
            held(Holder::Alive).health(&now_at(1_000 + 601)),
            LeaseHealth::Lost("no heartbeat for 10m1s".into())
        );
    }

    #[test]
    fn the_wall_clock_expires_nothing_of_a_living_holder() {
        let mut now = now_at(1_000 + 5);
        now.wall += chrono::Duration::days(365);
        assert_eq!(held(Holder::Alive).health(&now), LeaseHealth::Live);
        now.wall -= chrono::Duration::days(800);
        assert_eq!(held(Holder::Alive).health(&now), LeaseHealth::Live);
    }

    #[test]
    fn a_lease_of_another_machine_counts_by_the_wall_clock_alone() {
        let at = |seconds| held(Holder::Unknown).health(&now_at(seconds));
        assert_eq!(at(1_000 + 599), LeaseHealth::Live);
        assert_eq!(at(1_000 + 600), LeaseHealth::Lost("no heartbeat for 10m".into()));
        assert_eq!(at(1_000 + 601), LeaseHealth::Lost("no heartbeat for 10m".into()));
    }

    #[test]
    fn times_beyond_all_bounds_are_no_end_of_the_worker() {
        let mut lease = lease("T1", &Role::BUILDER, 3);
        (lease.heartbeat_at, lease.ttl_seconds) = (DateTime::<Utc>::MAX_UTC, u64::MAX);
        let held = LeaseState { record: LeaseRecord::Ours(lease), holder: Holder::Unknown };
        assert!(matches!(held.health(&now_at(1_000)), LeaseHealth::Lost(_)), "and it holds nothing for ever");
    }

    #[test]
    fn a_beat_tells_both_clocks_and_nothing_else() {
        let (before, now) = (lease("T1", &Role::BUILDER, 3), now_at(1_007));
        let after = before.beaten(&now);
        assert_eq!((after.heartbeat_at, after.heartbeat_mono_ms), (now.wall, now.mono_ms()));
        let undone = Lease { heartbeat_at: before.heartbeat_at, heartbeat_mono_ms: before.heartbeat_mono_ms, ..after };
        assert_eq!(undone, before);
    }

    #[test]
    fn every_lease_names_its_owner() {
        let task_id = TaskId::parse("T1").expect("a good id");
        let foreign = ForeignLease {
            task_id: task_id.clone(),
            owner: "lease.sh".into(),
            role: None,
            token: None,
            until: None,
            started_at: None,
            ttl: None,
        };
        for (record, owner) in [
            (LeaseRecord::Ours(lease("T1", &Role::BUILDER, 3)), "w@h"),
            (LeaseRecord::Foreign(foreign), "lease.sh"),
            (LeaseRecord::Broken { task_id, reason: "x".into() }, "unknown"),
        ] {
            assert_eq!(LeaseState { record, holder: Holder::Unknown }.owner(), owner);
        }
    }

    #[test]
    fn a_helpers_lease_counts_by_its_own_wall_clock() {
        let now = now_at(1_000);
        let foreign = |until| LeaseState {
            record: LeaseRecord::Foreign(ForeignLease {
                task_id: TaskId::parse("T1").expect("a good id"),
                owner: "lease.sh".into(),
                role: None,
                token: None,
                until,
                started_at: None,
                ttl: None,
            }),
            holder: Holder::Unknown,
        };
        assert_eq!(foreign(Some(now.wall + chrono::Duration::seconds(1))).health(&now), LeaseHealth::Live);
        let ended = foreign(Some(now.wall)).health(&now);
        assert!(matches!(&ended, LeaseHealth::Lost(why) if why.starts_with("its TTL ended at ")), "{ended:?}");
        assert!(matches!(foreign(None).health(&now), LeaseHealth::Dead(_)));
        let far = |hours| foreign(Some(now.wall + chrono::Duration::hours(hours))).health(&now);
        assert_eq!(far(24), LeaseHealth::Live);
        for hours in [25, 24 * 366 * 4, 24 * 366 * 7_000] {
            assert!(matches!(far(hours), LeaseHealth::Lost(why) if why.contains("a day at most")), "{hours}");
        }
    }
}
