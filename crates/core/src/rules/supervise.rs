//! What a supervisor does about one worker: a table of states and inputs.
//!
//! ```text
//!   Stopped ──Start──► Starting ──Ready──► Running ──Exited──► Waiting ──Tick──► Starting
//!      ▲                  │                   │ silent            │ too often in a row
//!      └──── Stopping ◄───┴──── Stop ─────────┘                   ▼
//!                                                              Failed
//! ```
//!
//! Times are those of a clock that only goes forward, as durations since any beginning. A worker has one process at
//! most: none is started before the end of the one before it has been seen.

use std::time::Duration;

use crate::text;

/// The patience of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The number of crashes in a row after which a worker is started once more; 3.
    pub restarts: u32,
    /// The time that a worker must have run for its earlier crashes not to count; 60 s.
    pub healthy: Duration,
    /// The time that it may take to become ready; 30 s.
    pub ready: Duration,
    /// The time for which a ready worker may answer nothing; 30 s.
    pub silence: Duration,
    /// The wait before a worker is started again after its first crash; it doubles with each further one.
    pub backoff: Duration,
    /// The longest such wait.
    pub backoff_max: Duration,
    /// The time between TERM and KILL.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            restarts: 3,
            healthy: Duration::from_secs(60),
            ready: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(4),
            stop: Duration::from_secs(30),
        }
    }
}

/// The time that a process gets between TERM and KILL when it answers nothing anyway.
const UNHEARD: Duration = Duration::from_secs(5);

/// The state of a worker, as its supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not run, and is not meant to.
    Stopped,
    /// Its process is there and not ready yet.
    Starting {
        /// The time when it was started.
        since: Duration,
        /// The crashes in a row before this start.
        crashes: u32,
    },
    /// It is ready.
    Running {
        /// The time when it became ready.
        since: Duration,
        /// The crashes in a row before that.
        crashes: u32,
        /// The time since when it has answered nothing.
        silent: Option<Duration>,
    },
    /// It crashed, and is started again at this time.
    Waiting {
        /// The time.
        until: Duration,
        /// The crashes in a row.
        crashes: u32,
    },
    /// Its process has been asked to end.
    Stopping {
        /// The time at which it is killed.
        until: Duration,
        /// The step after its end.
        then: Then,
    },
    /// It crashed too often, or cannot run before a person has acted.
    Failed {
        /// The reason, in words.
        why: String,
        /// Another start changes nothing before a person has acted.
        needs_person: bool,
    },
}

impl State {
    /// Returns the word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting { .. } => "starting",
            Self::Running { silent: None, .. } => "running",
            Self::Running { .. } => "silent",
            Self::Waiting { .. } => "waiting",
            Self::Stopping { .. } => "stopping",
            Self::Failed { .. } => "failed",
        }
    }

    /// Tells whether there is a process.
    pub fn has_process(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Running { .. } | Self::Stopping { .. })
    }

    /// Returns when something is to be done although nothing happens.
    pub fn due(&self, patience: &Patience) -> Option<Duration> {
        match self {
            Self::Starting { since, .. } => Some(*since + patience.ready),
            Self::Waiting { until, .. } | Self::Stopping { until, .. } => Some(*until),
            Self::Stopped | Self::Running { .. } | Self::Failed { .. } => None,
        }
    }
}

/// The step after the end of a process that was asked to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Stop,
    /// A new start at once: somebody asked for it.
    Start,
    /// The same as after a crash, for this reason.
    Crash {
        /// The reason, in words.
        why: String,
        /// The crashes in a row before it.
        crashes: u32,
    },
}

/// An event in the life of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// It is to run.
    Start,
    /// It is not to run.
    Stop,
    /// It is ready.
    Ready,
    /// It answered.
    Answered,
    /// It did not answer in time.
    Silent,
    /// Its process ended.
    Exited(Exit),
    /// It could not be started.
    NotStarted(String),
    /// Time passed.
    Tick,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody of us was its parent, so nobody knows.
    Unknown,
}

impl Exit {
    /// Says what happened, as the end of a sentence about the worker.
    fn words(self) -> String {
        match self {
            Self::Code(code) => format!("it left with {code}"),
            Self::Signal(signal) => format!("it was ended by signal {signal}"),
            Self::Unknown => "it is gone".into(),
        }
    }

    /// Says why another start would change nothing: usage, program, permission or trust, configuration.
    pub fn needs_person(self) -> Option<&'static str> {
        match self {
            Self::Code(64) => Some("its command line is not understood"),
            Self::Code(69) => Some("the program of its agent is missing"),
            Self::Code(77) => Some("a permission or your trust is missing"),
            Self::Code(78) => Some("the configuration cannot work"),
            _ => None,
        }
    }
}

/// A deed of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process.
    Spawn,
    /// Ask it to end.
    Terminate,
    /// End it.
    Kill,
    /// Tell that it crashed and will be started again.
    TellCrash {
        /// The reason, in words.
        why: String,
        /// The wait before the next start.
        wait: Duration,
        /// The crashes in a row.
        crashes: u32,
    },
    /// Tell a person that it is given up.
    TellFailed(String),
    /// Tell that it left by itself, in good order.
    TellLeft,
}

/// Takes one step.
pub fn step(state: &State, input: &Input, now: Duration, patience: &Patience) -> (State, Vec<Action>) {
    use Action as A;
    use Input as I;
    use State as S;
    let starting = |crashes| S::Starting { since: now, crashes };
    let stopping = |within, then| S::Stopping { until: now + within, then };
    let none = Vec::new;
    match (state, input) {
        // Whoever is to run and does not.
        (S::Stopped | S::Failed { .. } | S::Waiting { .. }, I::Start) => (starting(0), vec![A::Spawn]),
        (S::Waiting { until, crashes }, I::Tick) if now >= *until => (starting(*crashes), vec![A::Spawn]),
        (S::Stopped | S::Failed { .. } | S::Waiting { .. }, I::Stop) => (S::Stopped, none()),

        // Whoever runs and is not to, or not like this.
        (S::Starting { .. } | S::Running { .. }, I::Stop) => (stopping(patience.stop, Then::Stop), vec![A::Terminate]),
        // What was said last holds; the process has heard already that it must go.
        (S::Stopping { until, .. }, I::Stop) => (S::Stopping { until: *until, then: Then::Stop }, none()),
        (S::Stopping { until, .. }, I::Start) => (S::Stopping { until: *until, then: Then::Start }, none()),
        // Killed again each time that nothing came of it: a process in the kernel's hands ends when that lets go.
        (S::Stopping { until, then }, I::Tick) if now >= *until => {
            (S::Stopping { until: now + UNHEARD, then: then.clone() }, vec![A::Kill])
        }

        // Its life.
        (S::Starting { crashes, .. }, I::Ready) => (S::Running { since: now, crashes: *crashes, silent: None }, none()),
        (S::Starting { since, crashes }, I::Tick) if now >= *since + patience.ready => {
            let why = format!("it was not ready after {}", text::duration(patience.ready));
            (stopping(UNHEARD, Then::Crash { why, crashes: *crashes }), vec![A::Terminate])
        }
        (S::Running { since, crashes, .. }, I::Answered) => {
            (S::Running { since: *since, crashes: *crashes, silent: None }, none())
        }
        (S::Running { since, crashes, silent }, I::Silent) => match silent {
            Some(from) if now >= *from + patience.silence => {
                let crashes = crashes_before(*since, *crashes, *from, patience);
                let why = format!("it answered nothing for {}", text::duration(patience.silence));
                (stopping(UNHEARD, Then::Crash { why, crashes }), vec![A::Terminate])
            }
            _ => {
                let silent = Some(silent.unwrap_or(now));
                (S::Running { since: *since, crashes: *crashes, silent }, none())
            }
        },

        // Its end.
        (S::Stopping { then, .. }, I::Exited(_)) => match then {
            Then::Stop => (S::Stopped, none()),
            Then::Start => (starting(0), vec![A::Spawn]),
            Then::Crash { why, crashes } => crashed(why.clone(), *crashes, now, patience),
        },
        (S::Starting { .. } | S::Running { .. }, I::Exited(Exit::Code(0))) => (S::Stopped, vec![A::TellLeft]),
        (S::Starting { crashes, .. }, I::Exited(exit)) => ended(*exit, *crashes, now, patience),
        (S::Running { since, crashes, .. }, I::Exited(exit)) => {
            ended(*exit, crashes_before(*since, *crashes, now, patience), now, patience)
        }
        (S::Starting { crashes, .. }, I::NotStarted(why)) => {
            crashed(format!("it could not be started: {why}"), *crashes, now, patience)
        }

        // What comes late, or changes nothing.
        (_, _) => (state.clone(), none()),
    }
}

/// Returns the crashes that still count after a time of health.
fn crashes_before(since: Duration, crashes: u32, until: Duration, patience: &Patience) -> u32 {
    if until >= since + patience.healthy { 0 } else { crashes }
}

fn ended(exit: Exit, crashes: u32, now: Duration, patience: &Patience) -> (State, Vec<Action>) {
    match exit.needs_person() {
        Some(why) => failed(format!("{}: {why}", exit.words()), true),
        None => crashed(exit.words(), crashes, now, patience),
    }
}

fn crashed(why: String, before: u32, now: Duration, patience: &Patience) -> (State, Vec<Action>) {
    let crashes = before + 1;
    if crashes > patience.restarts {
        let times = text::many(crashes as usize, "time");
        return failed(format!("it crashed {times} in a row; the last time {why}"), false);
    }
    let wait = patience.backoff.saturating_mul(1 << before.min(20)).min(patience.backoff_max);
    let told = Action::TellCrash { why, wait, crashes };
    (State::Waiting { until: now + wait, crashes }, vec![told])
}

fn failed(why: String, needs_person: bool) -> (State, Vec<Action>) {
    (State::Failed { why: why.clone(), needs_person }, vec![Action::TellFailed(why)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience = Patience {
        restarts: 3,
        healthy: Duration::from_secs(60),
        ready: Duration::from_secs(30),
        silence: Duration::from_secs(30),
        backoff: Duration::from_millis(500),
        backoff_max: Duration::from_secs(4),
        stop: Duration::from_secs(20),
    };

    /// A worker and its clock.
    struct Worker(State, Duration);

    impl Worker {
        fn new() -> Self {
            Self(State::Stopped, Duration::from_secs(1000))
        }

        fn after(&mut self, wait: Duration, input: &Input) -> Vec<Action> {
            self.1 += wait;
            let (state, actions) = step(&self.0, input, self.1, &PATIENCE);
            self.0 = state;
            actions
        }

        fn now(&mut self, input: &Input) -> Vec<Action> {
            self.after(Duration::ZERO, input)
        }

        /// Waits for what is due and does it.
        fn due(&mut self) -> Vec<Action> {
            let due = self.0.due(&PATIENCE).expect("something is due");
            self.after(due.saturating_sub(self.1), &Input::Tick)
        }
    }

    const KILLED: Input = Input::Exited(Exit::Signal(9));

    #[test]
    fn a_worker_that_crashes_is_back_soon_and_after_the_fourth_time_in_a_row_a_person_is_told() {
        let mut worker = Worker::new();
        assert_eq!(worker.now(&Input::Start), [Action::Spawn]);
        for (crash, wait) in [(1, 500), (2, 1000), (3, 2000)] {
            assert_eq!(worker.now(&Input::Ready), []);
            // It lives a second longer than its start takes, each time.
            let told = worker.after(Duration::from_secs(1), &KILLED);
            let wait = Duration::from_millis(wait);
            let why = "it was ended by signal 9".to_owned();
            assert_eq!(told, [Action::TellCrash { why, wait, crashes: crash }]);
            assert_eq!(worker.due(), [Action::Spawn]);
        }
        worker.now(&Input::Ready);
        let told = worker.after(Duration::from_secs(1), &KILLED);
        let why = "it crashed 4 times in a row; the last time it was ended by signal 9".to_owned();
        assert_eq!(told, [Action::TellFailed(why.clone())]);
        assert_eq!((&worker.0, worker.0.due(&PATIENCE)), (&State::Failed { why, needs_person: false }, None));
        assert_eq!(worker.after(Duration::from_secs(9999), &Input::Tick), []);
        assert_eq!(worker.now(&Input::Start), [Action::Spawn], "a person may try again");
    }

    #[test]
    fn crashes_before_a_healthy_time_do_not_count() {
        let mut worker = Worker::new();
        worker.now(&Input::Start);
        for _ in 0..50 {
            worker.now(&Input::Ready);
            let told = worker.after(PATIENCE.healthy, &KILLED);
            assert!(matches!(told[..], [Action::TellCrash { crashes: 1, .. }]), "{told:?}");
            assert_eq!(worker.due(), [Action::Spawn]);
        }
    }

    #[test]
    fn what_another_start_would_not_mend_is_given_up_at_once() {
        for code in [64, 69, 77, 78] {
            let mut worker = Worker::new();
            worker.now(&Input::Start);
            let told = worker.now(&Input::Exited(Exit::Code(code)));
            assert!(matches!(told[..], [Action::TellFailed(_)]), "{code}: {told:?}");
        }
        for code in [1, 65, 70, 73, 74, 75, 101] {
            let mut worker = Worker::new();
            worker.now(&Input::Start);
            let told = worker.now(&Input::Exited(Exit::Code(code)));
            assert!(matches!(told[..], [Action::TellCrash { .. }]), "{code}: {told:?}");
        }
    }

    #[test]
    fn whoever_was_asked_to_leave_by_somebody_else_is_not_started_again() {
        let mut worker = Worker::new();
        worker.now(&Input::Start);
        worker.now(&Input::Ready);
        assert_eq!(worker.now(&Input::Exited(Exit::Code(0))), [Action::TellLeft]);
        assert_eq!(worker.0, State::Stopped);
    }

    #[test]
    fn a_worker_that_is_never_ready_is_ended_and_counts_as_crashed() {
        let mut worker = Worker::new();
        worker.now(&Input::Start);
        assert_eq!(worker.after(Duration::from_secs(29), &Input::Tick), []);
        assert_eq!(worker.due(), [Action::Terminate]);
        assert_eq!(worker.due(), [Action::Kill]);
        let told = worker.now(&KILLED);
        let why = "it was not ready after 30s".to_owned();
        assert_eq!(told, [Action::TellCrash { why, wait: PATIENCE.backoff, crashes: 1 }]);
    }

    #[test]
    fn a_worker_that_answers_nothing_for_a_moment_is_not_ended() {
        let mut worker = Worker::new();
        worker.now(&Input::Start);
        worker.now(&Input::Ready);
        let five = Duration::from_secs(5);
        assert_eq!(worker.after(five, &Input::Silent), []);
        assert_eq!(worker.0.as_str(), "silent");
        assert_eq!(worker.after(five, &Input::Answered), []);
        assert_eq!(worker.0.as_str(), "running", "one answer is enough");
        for _ in 0..6 {
            assert_eq!(worker.after(five, &Input::Silent), []);
        }
        assert_eq!(worker.after(five, &Input::Silent), [Action::Terminate]);
        assert_eq!(worker.due(), [Action::Kill]);
        let told = worker.now(&KILLED);
        assert!(
            matches!(&told[..], [Action::TellCrash { why, .. }] if why == "it answered nothing for 30s"),
            "{told:?}"
        );
    }

    #[test]
    fn the_last_word_counts_while_a_process_still_ends() {
        let mut worker = Worker::new();
        worker.now(&Input::Start);
        worker.now(&Input::Ready);
        assert_eq!(worker.now(&Input::Stop), [Action::Terminate]);
        assert_eq!(worker.now(&Input::Start), [], "not while the old one is there");
        assert_eq!(worker.now(&Input::Exited(Exit::Code(0))), [Action::Spawn]);
        worker.now(&Input::Ready);
        assert_eq!(worker.now(&Input::Stop), [Action::Terminate]);
        assert_eq!(worker.now(&Input::Start), []);
        assert_eq!(worker.now(&Input::Stop), []);
        assert_eq!(worker.now(&Input::Exited(Exit::Code(0))), []);
        assert_eq!(worker.0, State::Stopped);
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Start),
            Just(Input::Stop),
            Just(Input::Ready),
            Just(Input::Answered),
            Just(Input::Silent),
            (0..80_i32).prop_map(|code| Input::Exited(Exit::Code(code))),
            Just(KILLED),
            Just(Input::Exited(Exit::Unknown)),
            Just(Input::NotStarted("no room".into())),
            Just(Input::Tick),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order.
        #[test]
        fn a_worker_has_one_process_at_most_and_is_not_started_without_end(
            steps in proptest::collection::vec((inputs(), 0..40_000_u64), 1..200)
        ) {
            let mut worker = Worker::new();
            let (mut processes, mut starts_in_a_row, mut ready_at) = (0_u32, 0_u32, None);
            for (input, wait) in steps {
                // A process that is not there does not end; one that could not be started was none.
                if matches!(input, Input::Exited(_)) && processes == 0 {
                    continue;
                }
                if matches!(input, Input::NotStarted(_)) && !matches!(worker.0, State::Starting { .. }) {
                    continue;
                }
                let before = worker.0.clone();
                let actions = worker.after(Duration::from_millis(wait), &input);
                match input {
                    Input::Exited(_) | Input::NotStarted(_) => {
                        processes = 0;
                        if ready_at.is_some_and(|at| worker.1 >= at + PATIENCE.healthy) {
                            starts_in_a_row = 0;
                        }
                        ready_at = None;
                    }
                    Input::Ready if matches!(before, State::Starting { .. }) => ready_at = Some(worker.1),
                    Input::Start => starts_in_a_row = 0,
                    _ => {}
                }
                for action in &actions {
                    if *action == Action::Spawn {
                        prop_assert_eq!(processes, 0, "{:?} {:?}", before, input);
                        processes += 1;
                        starts_in_a_row += 1;
                    }
                }
                prop_assert!(starts_in_a_row <= PATIENCE.restarts + 1, "{:?}", worker.0);
                prop_assert_eq!(worker.0.has_process(), processes == 1, "{:?} by {:?}", worker.0, input);
                // Whatever is neither over nor well is looked at again.
                let waits = matches!(worker.0, State::Starting { .. } | State::Waiting { .. } | State::Stopping { .. });
                prop_assert_eq!(worker.0.due(&PATIENCE).is_some(), waits);
            }
        }
    }
}
