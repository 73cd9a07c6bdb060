//! The payloads of events, one structure per kind: all that an event says beyond actor, time and subject.
//!
//! Journals outlive versions. A member that is missing, or of a type that it should not have, counts as absent; one that
//! this version does not know stays in `rest` and is written back as it was.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{lenient::members, usage::Usage};
use crate::{Class, Lease, Status, Task, text};

macro_rules! payloads {
    ($($(#[$about:meta])* $name:ident { $($members:tt)* } $(with { $($more:tt)* })?;)*) => {$(
        members! {
            $(#[$about])*
            $name { $($members)* }
            with {
                $($($more)*)?
                /// The members that this version does not know, and the seal.
                rest: Map<String, Value>,
            }
        }
    )*};
}

payloads! {
    /// A task appeared, moved or changed, by us or by others.
    TaskChange {
        /// The status before.
        from: Option<Status>,
        /// The status after.
        to: Option<Status>,
        /// The title of a new task.
        title: Option<String>,
        /// The verb of ours by which a human did it.
        verb: Option<String>,
        /// The reason.
        reason: Option<String>,
        /// We wrote it into the queue, and left our stamp there.
        stamped: bool,
        /// The mark that tells the task from another under its id ([`crate::Task::origin`]).
        origin: Option<String>,
        /// The members that were set.
        set: Option<Map<String, Value>>,
        /// The whole entry of a task that was added.
        entry: Option<Map<String, Value>>,
        /// The task that it was added for.
        parent: Option<String>,
        /// The members of a proposal that were not taken, because only people, rules and workers set them.
        left_out: Texts,
        /// It is another task under an id that was used before.
        reused: bool,
        /// Others took the task out of the queue.
        gone: bool,
        /// Others did it while an attempt was at work on the task.
        during_attempt: bool,
        /// It is told after a crash, by what was found.
        rebuilt: bool,
    };

    /// A task was claimed.
    Claimed {
        /// The owner's tag.
        owner: Option<String>,
        /// The time that the lease lives without a heartbeat.
        ttl_seconds: Option<u64>,
        /// The agent's name.
        by: Option<String>,
        /// The pool that the agent draws from.
        pool: Option<String>,
        /// It tries whether that pool is open again.
        probe: bool,
        /// The name of the attempt's directory, where it is not the token alone.
        run: Option<String>,
        /// The mark that tells the task from another under its id.
        origin: Option<String>,
        /// It merges, and starts no agent.
        merge: bool,
        /// It is its gates, and starts no agent.
        agentless: bool,
        /// It is told after a crash, by what was found.
        rebuilt: bool,
    };

    /// A task was taken back from an owner that is dead, lost or silenced.
    Rescued {
        /// The owner's tag.
        owner: Option<String>,
        /// The proof, in words.
        reason: Option<String>,
        /// The owner is dead, not only silent: the task may have taken it down.
        died: Option<bool>,
        /// The commit as which the task had been merged.
        landed: Option<String>,
        /// A human took it away from an owner who lives.
        forced: bool,
    };

    /// An agent was started.
    Started {
        /// Its process.
        pid: Option<u32>,
        /// Its name.
        by: Option<String>,
        /// The time of the start, where it is told later.
        at: Option<String>,
    };

    /// What an agent could not do that ran confined.
    Sandboxed {
        /// The guarantees that it ran with, by their words.
        guarantees: Texts,
        /// The means that gave them.
        mechanism: Option<String>,
    };

    /// The end of an attempt. Its worker reports what was used up and made; the settlement adds what follows.
    Ended {
        /// The word of its outcome.
        outcome: Option<String>,
        /// The class of its failure.
        class: Option<String>,
        /// For people and for the next prompt.
        reason: Option<String>,
        /// It counts as an attempt of the stage.
        charged: bool,
        /// The next prompt tells it.
        failure: bool,
        /// A passing trouble, tried again without a charge.
        transient: bool,
        /// The provider took no work, or something stood in the way before it was asked.
        turned_away: bool,
        /// A task that another role failed at was mended.
        adapted: bool,
        /// It used up the budget of one attempt, and no other.
        overrun: bool,
        /// Some of the files of a conflict.
        files: Texts,
        /// The status that its agent set in the queue file.
        set_itself: Option<String>,
        /// The status in which the task stays, whatever it came to; `gone` where it is not in the queue.
        stands: Option<String>,
        /// The commit as which the task had been merged.
        landed: Option<String>,
        /// The pool whose window `resets_at` ends.
        pool: Option<String>,
        /// The token that superseded it.
        newest: Option<u64>,
        /// It is told after a crash, by what was found.
        rebuilt: bool,
        /// The session's name, by which it can be resumed.
        session: Option<String>,
        /// The commit at which the branch of the work stood when it ended.
        head: Option<String>,
        /// Of a merge, the commit that brought it.
        commit: Option<String>,
        /// The tag on a merge.
        tag: Option<String>,
        /// The end of its account's window, as the provider said.
        resets_at: Option<DateTime<Utc>>,
        /// The branch of the work.
        branch: Option<String>,
    } with {
        /// Its consumption.
        usage: Usage,
    };

    /// A gate ran.
    GateRun {
        /// Its name.
        gate: Option<String>,
        /// It said yes.
        ok: Option<bool>,
        /// The number of the try, where there are several.
        tried: Option<String>,
        /// Its end, in words.
        exit: Option<String>,
    };

    /// A merge is about to become the target.
    Landing {
        /// The commit that the target becomes.
        commit: Option<String>,
    };

    /// A human is asked.
    Asked {
        /// The id of the decision.
        decision: Option<String>,
        /// Its subject, in one word.
        kind: Option<String>,
        /// The question.
        question: Option<String>,
        /// The fingerprint of what it is about.
        content: Option<String>,
        /// The commit that it is about.
        commit: Option<String>,
        /// The answer that holds after the deadline.
        default: Option<String>,
        /// The deadline for an answer.
        deadline: Option<String>,
        /// Answers to pick from by number.
        options: Texts,
        /// The status that the task goes back to when it is answered.
        back: Option<Status>,
    };

    /// A decision ended, by a human's word or without one.
    Decided {
        /// The id of the decision.
        decision: Option<String>,
        /// Its subject, in one word.
        kind: Option<String>,
        /// Its end, in one word.
        verdict: Option<String>,
        /// The fingerprint of what was decided about.
        content: Option<String>,
        /// The commit that was approved, or at which the branch stands now.
        commit: Option<String>,
        /// The reason of a rejection or withdrawal.
        reason: Option<String>,
        /// The answer.
        answer: Option<String>,
        /// The default that holds because the deadline is over.
        applied: Option<String>,
    };

    /// Mail of an agent.
    Mail {
        /// Its sender.
        from: Option<String>,
        /// `decision` or `message`.
        what: Option<String>,
        /// The receiver of a message that stands in the journal: a mailbox has its own lines.
        to: Option<String>,
        /// The words.
        text: Option<String>,
        /// The kind, in one word of the sender's.
        kind: Option<String>,
        /// Its urgency, 1 (first) to 10.
        priority: Option<u8>,
        /// The thread that it belongs to.
        thread: Option<String>,
        /// The time for which it is of use.
        ttl_seconds: Option<u64>,
        /// The name under which a mailbox takes it once.
        key: Option<String>,
    };

    /// A step in the life of a message, in the file of its mailbox.
    Step {
        /// The number of the message.
        letter: Option<u64>,
        /// Whoever took it: their tag.
        owner: Option<String>,
        /// Their machine.
        host: Option<String>,
        /// Its boot.
        boot_id: Option<String>,
        /// Their process.
        pid: Option<u32>,
        /// Its start time in clock ticks since boot.
        pid_started: Option<u64>,
        /// It had been delivered before, to somebody who died.
        again: bool,
        /// The reason, in words.
        reason: Option<String>,
    };

    /// A worker crashed.
    Crash {
        /// Its name.
        worker: Option<String>,
        /// Its end, in words.
        reason: Option<String>,
        /// The crashes in a row.
        crashes: Option<u64>,
        /// The wait before it is started again, in milliseconds.
        wait_ms: Option<u64>,
    };

    /// A worker came, goes or left.
    Worker {
        /// Its name.
        name: Option<String>,
        /// Its process.
        pid: Option<u32>,
        /// The names of its agents.
        agent: Option<String>,
        /// The pools that it draws from.
        pools: Option<Texts>,
        /// The agents that it cannot use, and why not.
        lacks: Map<String, Value>,
        /// The number of attempts that it still has.
        running: Option<u64>,
    };

    /// A role claims nothing until a human resumes it.
    Paused {
        /// The class of failure that caused it.
        class: Option<String>,
        /// For people.
        reason: Option<String>,
    };

    /// A paused role works again.
    Resumed {
        /// The reason of the pause.
        paused_for: Option<String>,
    };

    /// News of a pool of quota.
    Quota {
        /// The pool.
        pool: Option<String>,
        /// The time until which nothing is asked of it.
        until: Option<String>,
        /// The class of the failure that showed it.
        class: Option<String>,
        /// The provider said until when.
        stated: Option<bool>,
        /// Limits in a row.
        limits: Option<u64>,
        /// The provider's words.
        reason: Option<String>,
    };

    /// News of a schedule.
    Timed {
        /// Its name.
        schedule: Option<String>,
        /// Its times, in words.
        times: Option<String>,
        /// The time that the run is for.
        slot: Option<String>,
        /// The task that was made.
        made: Option<String>,
        /// The number of runs that were missed.
        missed: Option<u64>,
        /// It came later than it should have.
        late: bool,
        /// For people.
        reason: Option<String>,
    };

    /// News of a hand-off.
    Handed {
        /// The name of its rule.
        handoff: Option<String>,
        /// The events that the rule answers, in words.
        on: Option<String>,
        /// The number of the event that it answered.
        of: Option<u64>,
        /// The deed, in words.
        did: Option<String>,
        /// The task that was made.
        made: Option<String>,
        /// The number of hand-offs in a row that led to that task.
        depth: Option<u64>,
        /// For people.
        reason: Option<String>,
    };

    /// The queue file cannot be read.
    Unreadable {
        /// The line.
        line: Option<usize>,
        /// The column.
        column: Option<usize>,
        /// The error.
        message: Option<String>,
    };

    /// The queue file can be read.
    Readable {
        /// The statuses that count as the truth from now on, by task.
        statuses: Option<Map<String, Value>>,
        /// The mark that tells each task from another under its id.
        origins: Option<Map<String, Value>>,
        /// The number of the sprint that counts from now on.
        sprint: Option<u64>,
        /// A further finding.
        note: Option<String>,
    };

    /// A sprint ended, or began.
    SprintChange {
        /// Its number.
        sprint: Option<u64>,
        /// Its id.
        id: Option<String>,
        /// What it is for.
        goal: Option<String>,
        /// The number of the one before it.
        previous: Option<u64>,
        /// The tasks at its end.
        total: Option<u64>,
        /// Those that were done.
        done: Option<u64>,
        /// Those that were cancelled.
        cancelled: Option<u64>,
        /// Those that were open: at the end of a sprint, or left behind by the next one.
        open: Texts,
        /// The tasks that came along from the sprint before.
        carried: Texts,
        /// The tasks that left the queue.
        gone: Texts,
        /// It was completed although tasks were open that should be done first.
        forced: bool,
        /// It was given up, or ended with what was open.
        closed: bool,
        /// The reason.
        reason: Option<String>,
    };

    /// A budget is used up, or nearly.
    Spending {
        /// `warning` or `stop`.
        level: Option<String>,
        /// `task`, `role` or `day`.
        scope: Option<String>,
        /// The owner of the budget.
        subject: Option<String>,
        /// The unit of the amounts.
        unit: Option<String>,
        /// The amount spent.
        spent: Option<Value>,
        /// The limit.
        limit: Option<Value>,
    };

    /// Nothing more.
    Bare {};
}

/// A list of texts; what is no text in it is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Texts(pub Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<Value>::deserialize(deserializer)?.into_iter();
        let texts = all.filter_map(|item| if let Value::String(text) = item { Some(text) } else { None });
        Ok(Self(texts.collect()))
    }
}

impl TaskChange {
    /// Adds what is told of a task that appeared.
    #[must_use]
    pub(crate) fn of_new(self, task: &Task) -> Self {
        let (to, title) = (Some(task.status.clone()), Some(text::cut(&task.title, 200)));
        Self { to, title, origin: Some(task.origin()), ..self }
    }
}

impl Step {
    /// Speaks of a message.
    pub(crate) fn of(letter: u64) -> Self {
        Self { letter: Some(letter), ..Self::default() }
    }
}

impl Ended {
    /// Returns the class of the failure, where it is one that this version knows.
    pub fn known_class(&self) -> Option<Class> {
        self.class.as_deref()?.parse().ok()
    }
}

impl From<&Lease> for Claimed {
    fn from(lease: &Lease) -> Self {
        Self {
            owner: Some(lease.owner.clone()),
            ttl_seconds: Some(lease.ttl_seconds),
            by: Some(lease.by.clone()),
            pool: Some(lease.pool.clone()),
            probe: lease.probe,
            run: Some(lease.run.clone()).filter(|run| !run.is_empty()),
            ..Self::default()
        }
    }
}
