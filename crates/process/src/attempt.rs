//! The worker's end of an attempt: start a shim, tell it what to do, hear what becomes of it.
//!
//! It waits for nothing and decides nothing; the shim does. It only sees to it that there is an end: of a shim
//! that is stopped, or late beyond its limits, it does the work itself.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::process::Signal;

use super::{
    Exit, Invocation, Limits, Report, Stop,
    platform::Handle,
    sweep, tree,
    wire::{self, MODE, Order, Start, TAG},
};
use oodatcaa_sys::identity::Process;

/// How long to look for what a dead shim has left behind.
const SWEEP: Duration = Duration::from_secs(5);

/// Between two looks at a shim.
const PACE: Duration = Duration::from_secs(1);

/// What a shim gets beyond its own limits, before the worker does its work.
const MARGIN: Duration = Duration::from_secs(5);

/// A shim that does not know its work yet. It may be started before there is any, so that its
/// start-up costs an attempt no time; dropped unused, it leaves.
#[derive(Debug)]
pub struct Shim(Child);

impl Shim {
    /// Starts one. `exe` is our own `agent-daemon`; `run_dir` the attempt's directory, if it is known already.
    pub fn spawn(exe: &Path, run_dir: Option<&Path>) -> io::Result<Self> {
        // It works in the root, so that it holds no directory; its program is found from here.
        let mut command = Command::new(std::path::absolute(exe)?);
        command.arg(MODE).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(run_dir) = run_dir {
            command.env(TAG, std::path::absolute(run_dir)?);
        }
        Ok(Self(command.spawn()?))
    }

    /// Returns the shim's process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Gives it its work. `wake` is a file that it touches when the tree is gone and so is this worker.
    /// An error means that nothing was started.
    pub fn run(
        mut self,
        run_dir: &Path,
        invocation: &Invocation,
        limits: &Limits,
        wake: Option<&Path>,
    ) -> io::Result<Attempt> {
        let start = Start {
            run_dir: std::path::absolute(run_dir)?,
            invocation: invocation.clone(),
            limits: *limits,
            wake: wake.map(std::path::absolute).transpose()?,
        };
        let outputs = [invocation.stdout.clone(), invocation.stderr.clone()];
        let run_dir = start.run_dir.clone();
        let order = wire::line(&Order::Start(Box::new(start)))?;

        let mut stdin = self.0.stdin.take().expect("a shim runs once, and its standard input is a pipe");
        let said = BufReader::new(self.0.stdout.take().expect("a shim's standard output is a pipe"));
        let shim = self.pid();
        let handle = Handle::open(shim);
        let (sender, reports) = unbounded();
        let (began, family) = (Instant::now(), Family::default());
        let listener = Listener { shim: self, said, run_dir, outputs, began, family: Arc::clone(&family), sender };
        // Before the order: a thread that cannot be started must not leave an agent unheard.
        thread::Builder::new().name("attempt".into()).spawn(move || listener.listen())?;
        // Without the whole line it starts nothing, and leaves when its input ends.
        stdin.write_all(&order)?;
        let watched = Watched {
            next: Instant::now() + PACE,
            deadline: limits.wall().map(|wall| began + wall + limits.grace + MARGIN),
            grace: limits.grace,
            looks: 0,
            stops: 0,
            family,
        };
        Ok(Attempt { stdin, handle, shim, reports, watched: RefCell::new(watched) })
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // It keeps nothing, yet or any more, so nothing is lost by the short way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One execution of one agent. Dropping it before its end is what the worker's death is: the tree ends within a second.
pub struct Attempt {
    stdin: ChildStdin,
    handle: Option<Handle>,
    shim: u32,
    reports: Receiver<Report>,
    watched: RefCell<Watched>,
}

/// Who was seen below a shim, for the case that it dies before them.
type Family = Arc<Mutex<HashSet<(u32, u64)>>>;

/// What the worker itself sees to, whatever becomes of the shim.
struct Watched {
    next: Instant,
    /// When the shim must have come to an end.
    deadline: Option<Instant>,
    grace: Duration,
    looks: u32,
    /// At how many looks in a row it was stopped.
    stops: u32,
    family: Family,
}

impl Watched {
    fn due(&self) -> Instant {
        self.deadline.map_or(self.next, |deadline| deadline.min(self.next))
    }

    fn hurry(&mut self, stop: Stop) {
        let patience = if stop == Stop::Now { Duration::ZERO } else { self.grace };
        let latest = Instant::now() + patience + MARGIN;
        self.deadline = Some(self.deadline.map_or(latest, |deadline| deadline.min(latest)));
    }
}

impl Attempt {
    /// Starts an attempt. `shim` is our own `agent-daemon`; `run_dir` is the attempt's directory.
    pub fn start(shim: &Path, run_dir: &Path, invocation: &Invocation, limits: &Limits) -> io::Result<Self> {
        Shim::spawn(shim, Some(run_dir))?.run(run_dir, invocation, limits, None)
    }

    /// Returns what becomes of it. Exactly one [`Report::Ended`] comes, always, as the last one.
    pub fn reports(&self) -> &Receiver<Report> {
        &self.reports
    }

    /// Returns the shim's process id.
    pub fn shim(&self) -> u32 {
        self.shim
    }

    /// Returns when [`Attempt::look`] is to be called next.
    pub fn due(&self) -> Instant {
        self.watched.borrow().due()
    }

    /// Looks after the shim, which may have been stopped, or be unable to go on: one that is stopped is woken, and
    /// at the second look, or past the deadline, its work is done here. Answers why, when that is so.
    pub fn look(&self) -> Option<&'static str> {
        let now = Instant::now();
        let mut watched = self.watched.borrow_mut();
        if now < watched.due() {
            return None;
        }
        watched.next = now + PACE;
        let stopped = Process::look(self.shim).is_some_and(|seen| seen.stopped);
        watched.stops = if stopped { watched.stops + 1 } else { 0 };
        // All processes are looked at for it, so not each time.
        if stopped || watched.looks.is_multiple_of(2) {
            let below = tree::descendants(self.shim);
            let mut family = watched.family.lock().unwrap_or_else(PoisonError::into_inner);
            *family = below.iter().filter(|seen| !seen.dead).map(Process::identity).collect();
        }
        watched.looks = watched.looks.wrapping_add(1);
        // Its own limits come first: this is for a shim that hangs.
        let late = watched.deadline.is_some_and(|deadline| now >= deadline);
        if late || watched.stops > 1 {
            watched.deadline = None;
            // The listener needs this long at most; to kill again meanwhile would find nobody.
            watched.next = now + SWEEP + MARGIN;
            self.end_shim();
            return Some(if late { "its shim did not end it in time" } else { "its shim was stopped" });
        }
        if stopped {
            self.wake();
        }
        None
    }

    /// Kills the shim; the listener does the rest as soon as it is dead.
    fn end_shim(&self) {
        if let Some(handle) = &self.handle {
            handle.send(Signal::KILL);
        }
    }

    /// Ends it; [`Report::Ended`] follows. The hard stop may follow the gentle one.
    pub fn stop(&self, stop: Stop) {
        self.watched.borrow_mut().hurry(stop);
        if let Ok(line) = wire::line(&Order::Stop(stop)) {
            // A shim that cannot hear this any more has ended, or is reported by the listener.
            let _ = (&self.stdin).write_all(&line);
        }
        self.wake();
    }

    /// Continues the shim, which an agent may have stopped: it must hear what it is told.
    fn wake(&self) {
        if let Some(handle) = &self.handle {
            handle.send(Signal::CONT);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Hears a shim out and reaps it.
struct Listener {
    shim: Shim,
    said: BufReader<ChildStdout>,
    run_dir: PathBuf,
    outputs: [PathBuf; 2],
    began: Instant,
    family: Family,
    sender: Sender<Report>,
}

impl Listener {
    fn listen(mut self) {
        let mut line = String::new();
        while self.said.read_line(&mut line).is_ok_and(|length| length > 0) {
            if let Ok(report) = serde_json::from_str::<Report>(&line) {
                let ended = matches!(report, Report::Ended(_));
                let _ = self.sender.send(report);
                if ended {
                    // Not killed at once: it may have to touch a file yet.
                    let _ = self.shim.0.wait();
                    return;
                }
            }
            line.clear();
        }
        let exit = self.finish_dead();
        let _ = self.sender.send(Report::Ended(exit));
    }

    /// Does a dead shim's work. While it is not reaped its number, and so its session's, is nobody else's.
    fn finish_dead(&mut self) -> Exit {
        let _ = self.shim.0.kill();
        let family = std::mem::take(&mut *self.family.lock().unwrap_or_else(PoisonError::into_inner));
        let leftovers = sweep::end_session(&self.run_dir, self.shim.pid(), family, SWEEP);
        let leftovers = leftovers.unwrap_or_else(|still| u32::try_from(still.len()).unwrap_or(u32::MAX));
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
        wire::read_exit(&self.run_dir).unwrap_or_else(|| Exit {
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            leftovers,
            output: [size(&self.outputs[0]), size(&self.outputs[1])],
            ..Exit::unknown()
        })
    }
}
